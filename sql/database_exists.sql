-- Whether the server has the database $1. Locks nothing.
SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)
