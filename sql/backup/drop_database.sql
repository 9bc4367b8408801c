-- Drops a database that a restore has made or replaced, and ends the sessions that use it.
-- Locks: the database against connections. May be run again: it then does nothing.
DROP DATABASE IF EXISTS {{ database }} WITH (FORCE)
