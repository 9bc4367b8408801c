-- Lets the planner know that the target's rows lie in the order of their times and have a key each: without, it would
-- not use the index over the times, and sort where it should hash. A table that is not this role's is left alone.
-- Locks: the target against other such maintenance, until the transaction ends. May be run again.
ANALYZE {{ table }} ({{ time_column }}, {{ key_column }})
