-- Ends this session's turn, also where an error has ended the transaction that it was taken in.
-- Locks nothing. May be run again.
SELECT pg_advisory_unlock_all()
