-- Settings of the session that stages: a chunk that a crash loses is lost with its load anyway, so none waits for the disk.
-- Locks nothing. May be run again.
SET synchronous_commit = off
