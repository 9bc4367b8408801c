-- Collects the planner's statistics of all tables of the database. pg_upgrade does not move all of them.
-- Locks: each table in turn, against other maintenance only. May be run again.
ANALYZE
