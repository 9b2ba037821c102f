-- Contract: from here on every writer has to say who it is, which revision 2 already does.
ALTER TABLE datapoints ALTER COLUMN stored_by DROP DEFAULT;
