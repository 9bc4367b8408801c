-- Resets a session: removes its temporary tables, settings and session locks. Cannot be run in a transaction.
-- Locks nothing. May be run again.
DISCARD ALL
