-- Settings of the load's transaction. Memory for a hash table over the keys of a large month in the target, and too
-- little for one over the staged rows in full: the planner takes the two for the same and the second is half as fast.
-- No compiling of statements that run once. Locks nothing. May be run again.
SET LOCAL work_mem = '96MB';
SET LOCAL jit = off;
