-- Drops the detached partition.
-- Locks: the partition against all access (ACCESS EXCLUSIVE), until the transaction ends. Cannot be run again.
DROP TABLE {{ partition }}
