-- Settings of the load's transaction: hash joins, with memory for the keys of a large month, since a planner without statistics
-- may take nested loops for cheap and sorts for cheaper than a hash table; no compiling of statements that run once.
-- Locks nothing. May be run again.
SET LOCAL work_mem = '96MB';
SET LOCAL jit = off;
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
