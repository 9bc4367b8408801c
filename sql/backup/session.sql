-- Settings of the transaction that reads a database for a manifest: values have the same text everywhere, and policies
-- that hide rows are an error.
-- Locks nothing. May be run again.
SET LOCAL datestyle = 'ISO, MDY';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL row_security = off;
SET LOCAL jit = off
