-- Returns the number of pages of a staging table.
-- Locks nothing. May be run again.
SELECT pg_relation_size('{{ staging }}'::regclass) / current_setting('block_size')::bigint
