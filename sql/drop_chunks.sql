-- Drops chunks that are no longer needed.
-- Locks: the chunks, which no other run uses. May be run again.
DROP TABLE IF EXISTS {{ chunks | join(', ') }}
