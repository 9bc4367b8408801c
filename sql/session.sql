-- Settings of the load's transaction: memory for a hash table over the keys of a large month, no compiling of statements
-- that run once, and no nested loops, which a planner without statistics may take for cheap.
-- Locks nothing. May be run again.
SET LOCAL work_mem = '96MB';
SET LOCAL jit = off;
SET LOCAL enable_nestloop = off;
