-- Gives a session back as new: without temporary tables, settings, locks of the session. Not to be run in a transaction.
-- Locks nothing. May be run again.
DISCARD ALL
