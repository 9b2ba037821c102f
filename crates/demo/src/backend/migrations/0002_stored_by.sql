-- Expand: a version that does not know the column leaves it to the default.
ALTER TABLE datapoints ADD COLUMN stored_by text NOT NULL DEFAULT 'unknown';
