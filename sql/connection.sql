-- Settings of every session: what others commit is seen as it comes, whatever the database's default is, and a client
-- that has gone without a word is noticed within two minutes, so that its locks are let go.
-- Locks nothing. May be run again.
SET default_transaction_isolation = 'read committed';
SET tcp_keepalives_idle = 60;
SET tcp_keepalives_interval = 10;
SET tcp_keepalives_count = 6;
