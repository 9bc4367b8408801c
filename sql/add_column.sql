-- Adds a column for values of a file that the table has no column for. First waits for the loads into
-- the table that have begun, because they hold a lock on it until they end; the name of their lock is {{ lock }}.
-- Locks: the columns of the table against loads, and the table against all access (ACCESS EXCLUSIVE), for an instant; it
-- waits for the second for at most {{ lock_timeout }}. Run as one transaction. May be run again: it then does nothing.
SELECT pg_advisory_xact_lock(hashtextextended({{ lock }}, 0));
SELECT set_config('lock_timeout', '{{ lock_timeout }}', true);
ALTER TABLE {{ table }} ADD COLUMN IF NOT EXISTS {{ column }} {{ column_type }}
