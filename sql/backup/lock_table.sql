-- Keeps a table and its partitions as they are. Loads that attach a partition wait: they write rows that are visible in
-- the snapshots of other sessions.
-- Locks: the table and its partitions against schema changes (ACCESS SHARE), until the transaction ends. May be run again.
LOCK TABLE {{ table }} IN ACCESS SHARE MODE
