-- Settings of the load's transaction: memory for one hash table over a month's keys, and no compiling of
-- statements that run once. Locks nothing. May be run again.
SET LOCAL work_mem = '256MB';
SET LOCAL jit = off;
