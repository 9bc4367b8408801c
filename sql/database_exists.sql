-- Whether the server has the database $1. Locks nothing. May be run again.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)
