-- Drops the chunks that this transaction has created.
-- Locks: the chunks, which nobody else knows. Not to be run again.
DROP TABLE {{ chunks | join(', ') }}
