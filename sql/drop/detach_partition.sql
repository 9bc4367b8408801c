-- Detaches the month's partition.
-- Locks: the target, its default partition and the month's partition against all access (ACCESS EXCLUSIVE), until the
-- transaction ends. Cannot be run again: it fails if the table is not attached.
ALTER TABLE {{ table }} DETACH PARTITION {{ partition }}
