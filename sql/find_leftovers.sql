-- The chunks of runs that were killed: those of no run that is alive.
-- Locks: the advisory locks of these runs, until the transaction ends. May be run again.
WITH chunk AS MATERIALIZED (
    SELECT relname::text AS name, substring(relname FROM '^staging_([0-9a-f]{32})_[0-9]+$') AS run
    FROM pg_class
    WHERE relnamespace = to_regnamespace('taxi_etl') AND relkind = 'r' AND pg_has_role(relowner, 'USAGE')
)
SELECT name FROM chunk WHERE run IS NOT NULL AND pg_try_advisory_xact_lock(hashtextextended(run, 0))
