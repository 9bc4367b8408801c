-- Lists the statements that give the database $2 the owner, the settings and the privileges of the database $1. A dump
-- does not restore them.
-- Locks nothing. May be run again.
WITH old AS (
    SELECT oid, datdba, datacl FROM pg_database WHERE datname = $1
)
SELECT format('ALTER DATABASE %I OWNER TO %I', $2::text, pg_get_userbyid(datdba))
FROM old WHERE pg_get_userbyid(datdba) <> current_user
UNION ALL
SELECT format(
    'ALTER %s SET %I TO %s',
    CASE setrole
        WHEN 0 THEN format('DATABASE %I', $2::text)
        ELSE format('ROLE %I IN DATABASE %I', pg_get_userbyid(setrole), $2::text)
    END,
    name,
    CASE
        -- the values of these are lists, which are stored as they are written
        WHEN name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries', 'session_preload_libraries') THEN value
        ELSE quote_literal(value)
    END
)
FROM old
JOIN pg_db_role_setting ON setdatabase = old.oid,
    unnest(setconfig) AS setting,
    split_part(setting, '=', 1) AS name,
    substr(setting, length(name) + 2) AS value
UNION ALL
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', $2::text) FROM old WHERE datacl IS NOT NULL
UNION ALL
SELECT format(
    'GRANT %s ON DATABASE %I TO %s%s',
    privilege_type, $2::text, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
    CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
)
FROM old, aclexplode(datacl)
