-- Waits for this session's turn to insert many rows, of those that take turns under the name $1. Two that insert at once would
-- fill the target's pages with rows of two months, and the index over its times, which knows stretches of pages, would
-- tell neither from the other.
-- Locks: an advisory lock of the session, until end_turns.sql. To be run once for each of these.
SELECT pg_advisory_lock(hashtextextended($1, 0))
