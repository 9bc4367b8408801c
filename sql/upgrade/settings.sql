-- The properties of the data directory that initdb sets and pg_upgrade requires to be equal.
-- Locks nothing. May be run again.
SELECT
    current_setting('data_checksums') = 'on' AS data_checksums,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'wal_segment_size') AS wal_segment_bytes
