-- Lists the statements that add the CHECK constraints of the target $1 to the staging table $2 (quoted names).
-- Locks nothing. May be run again.
SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', $2::text, conname, pg_get_constraintdef(oid))
FROM pg_constraint
WHERE conrelid = to_regclass($1) AND contype = 'c' AND NOT connoinherit
