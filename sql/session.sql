-- Settings of the load's transaction. Joins are hash joins, with enough memory for the keys of a large month.
-- Without statistics, the planner may wrongly estimate that nested loops or sorts are cheaper than a hash table.
-- JIT compilation is off, because each statement runs once. The server writes pages to disk while rows arrive: the
-- commit, which waits for the disk, then takes half the time.
-- Locks nothing. May be run again.
SET LOCAL work_mem = '96MB';
SET LOCAL jit = off;
SET LOCAL enable_nestloop = off;
SET LOCAL enable_mergejoin = off;
SET LOCAL backend_flush_after = '1MB';
