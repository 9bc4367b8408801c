-- Lists the roles of $1 that the server does not have.
-- Locks nothing. May be run again.
SELECT name FROM unnest($1::text[]) AS name WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) ORDER BY 1
