-- Returns the statement that creates the database $1 with the encoding and the locale of the database $2. Returns no row
-- if the server does not have the database $2.
-- Locks nothing. May be run again.
SELECT format(
    'CREATE DATABASE %I TEMPLATE template0 ENCODING %L LC_COLLATE %L LC_CTYPE %L%s',
    $1::text, pg_encoding_to_char(encoding), datcollate, datctype,
    CASE datlocprovider
        WHEN 'i' THEN format(' LOCALE_PROVIDER icu ICU_LOCALE %L', locale)
        WHEN 'b' THEN format(' LOCALE_PROVIDER builtin BUILTIN_LOCALE %L', locale)
        ELSE ' LOCALE_PROVIDER libc'
    END
)
FROM pg_database,
    -- the name of the column depends on the version of the server
    coalesce(to_jsonb(pg_database) ->> 'datlocale', to_jsonb(pg_database) ->> 'daticulocale') AS locale
WHERE datname = $2
