-- Settings of every session. Each statement sees what other sessions have committed, whatever the database's
-- default isolation is. The server detects a dead client within two minutes and releases its locks.
-- Locks nothing. May be run again.
SET default_transaction_isolation = 'read committed';
SET tcp_keepalives_idle = 60;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 6;
