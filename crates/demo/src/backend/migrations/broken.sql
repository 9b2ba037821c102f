-- Only in builds with DEMO_FAULT=bad-migration: does real work first, then fails on the data.
ALTER TABLE datapoints RENAME COLUMN value TO reading;
ALTER TABLE datapoints ADD CONSTRAINT impossible CHECK (seq < 0);
