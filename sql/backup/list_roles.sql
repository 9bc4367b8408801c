-- Lists the roles that own objects of the database, or have privileges on them. Leaves out the system's.
-- Locks nothing. May be run again.
WITH objects AS (
    SELECT 'pg_class'::regclass AS classid, oid, relnamespace AS namespace, relowner AS owner, relacl AS acl FROM pg_class
    UNION ALL
    SELECT 'pg_proc'::regclass, oid, pronamespace, proowner, proacl FROM pg_proc
    UNION ALL
    SELECT 'pg_type'::regclass, oid, typnamespace, typowner, typacl FROM pg_type
    UNION ALL
    SELECT 'pg_namespace'::regclass, oid, oid, nspowner, nspacl FROM pg_namespace
), own AS (
    SELECT owner, acl FROM objects
    JOIN pg_namespace ON pg_namespace.oid = namespace
    WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
        AND NOT EXISTS (
            SELECT FROM pg_depend
            WHERE pg_depend.classid = objects.classid AND objid = objects.oid AND deptype = 'e'
        )
    UNION ALL
    SELECT defaclrole, defaclacl FROM pg_default_acl
), roles AS (
    SELECT owner AS oid FROM own
    UNION
    SELECT grantee FROM own, aclexplode(acl)
)
SELECT rolname::text FROM roles JOIN pg_roles USING (oid) WHERE rolname !~ '^pg_' ORDER BY 1
