-- The databases of the server that may hold data of users.
-- Locks nothing. May be run again.
SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate ORDER BY datname
