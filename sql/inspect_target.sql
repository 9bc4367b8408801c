-- Returns the properties that decide how a load's rows reach the table $1 (a quoted name):
-- * whether the table is partitioned by ranges of the column $2
-- * the partition that overlaps the period from $3 (inclusive) to $4 (exclusive), and whether its bounds are equal to
--   that period
-- * the schema and the name of a new partition for the period (the table's name followed by $5), and whether the name
--   is taken or too long
-- * whether taxi made the table: its default partition is where taxi creates it
-- * the owner of the table, and whether this role may create and attach partitions
-- * whether the table has identity columns, and a unique index of the key column $6, alone or with the column $2
-- * the table's triggers, rules and row-level security, the foreign keys that reference it, and the publications that
--   publish its rows under its own name
-- Locks: the partitions against schema changes (ACCESS SHARE), until the transaction ends. Must not be run in the
-- load's own transaction: other loads need an exclusive lock on the default partition. May be run again.
WITH target AS (
    SELECT
        pg_class.oid, relname, relowner, relnamespace,
        EXISTS (
            SELECT FROM pg_partitioned_table
            JOIN pg_attribute ON attrelid = partrelid AND attnum = partattrs[0]
            WHERE partrelid = pg_class.oid AND partstrat = 'r' AND partnatts = 1 AND lower(attname) = $2
                AND atttypid = 'timestamp'::regtype
        ) AS is_partitioned
    FROM pg_class
    WHERE pg_class.oid = to_regclass($1)
), partitions AS (
    SELECT
        partition.relname, partition.relnamespace,
        pg_get_expr(partition.relpartbound, partition.oid) AS bound,
        regexp_match(
            pg_get_expr(partition.relpartbound, partition.oid),
            '^FOR VALUES FROM [(](?:MINVALUE|''(.*)'')[)] TO [(](?:MAXVALUE|''(.*)'')[)]$'
        ) AS ends
    FROM target
    JOIN pg_inherits ON inhparent = target.oid
    JOIN pg_class AS partition ON partition.oid = inhrelid
    WHERE is_partitioned
), overlapping AS (
    SELECT
        relname,
        ends[1] IS NOT NULL AND ends[1]::timestamp = $3 AND ends[2] IS NOT NULL AND ends[2]::timestamp = $4 AS is_equal
    FROM partitions
    WHERE ends IS NOT NULL
        AND coalesce(ends[1]::timestamp, '-infinity') < $4 AND coalesce(ends[2]::timestamp, 'infinity') > $3
), home AS (
    -- the schema of the default partition, or else the schema of the table
    SELECT coalesce((SELECT relnamespace FROM partitions WHERE bound = 'DEFAULT'), target.relnamespace) AS oid FROM target
)
SELECT
    is_partitioned,
    (SELECT relname::text FROM overlapping ORDER BY is_equal DESC LIMIT 1) AS partition,
    (SELECT coalesce(bool_or(is_equal), false) FROM overlapping) AS is_equal,
    (SELECT nspname::text FROM pg_namespace WHERE oid = home.oid) AS schema_name,
    EXISTS (
        SELECT FROM partitions JOIN pg_namespace ON pg_namespace.oid = partitions.relnamespace
        WHERE bound = 'DEFAULT' AND partitions.relname = target.relname || '_default'
            AND nspname = (SELECT nspname FROM pg_namespace WHERE oid = target.relnamespace) || '_partitions'
    ) AS is_made_by_taxi,
    relname || $5 AS partition_name,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = home.oid AND pg_class.relname = target.relname || $5) AS is_taken,
    pg_get_userbyid(relowner)::text AS owner,
    pg_get_userbyid(relowner) = current_user AS is_owner,
    pg_has_role(relowner, 'USAGE') AS may_attach,
    has_schema_privilege(home.oid, 'CREATE') AND has_schema_privilege(relowner, home.oid, 'CREATE') AS may_create,
    octet_length(relname || $5) > 63 AS is_too_long,
    EXISTS (SELECT FROM pg_attribute WHERE attrelid = target.oid AND attidentity <> '' AND NOT attisdropped) AS has_identity,
    (
        SELECT index.relname::text FROM pg_index
        JOIN pg_class AS index ON index.oid = indexrelid
        WHERE indrelid = target.oid AND indisunique AND indisvalid AND indpred IS NULL AND indexprs IS NULL
            AND (
                SELECT bool_or(lower(attname) = $6) AND bool_and(lower(attname) IN ($6, $2))
                FROM unnest(indkey) WITH ORDINALITY AS part (number, nth)
                JOIN pg_attribute ON attrelid = target.oid AND attnum = part.number
                WHERE nth <= indnkeyatts
            )
        LIMIT 1
    ) AS unique_index,
    ARRAY(
        SELECT conrelid::regclass::text FROM pg_constraint
        WHERE contype = 'f' AND confrelid = target.oid
        ORDER BY 1
    ) AS referring,
    ARRAY(
        SELECT pubname::text FROM pg_publication
        WHERE pubviaroot AND (
            puballtables
            OR EXISTS (SELECT FROM pg_publication_rel WHERE prpubid = pg_publication.oid AND prrelid = target.oid)
            OR EXISTS (
                SELECT FROM pg_publication_namespace WHERE pnpubid = pg_publication.oid AND pnnspid = target.relnamespace
            )
        )
        ORDER BY 1
    ) AS publications,
    ARRAY(
        SELECT DISTINCT tgname::text FROM pg_trigger
        WHERE tgrelid IN (SELECT target.oid UNION SELECT relid FROM pg_partition_tree(target.oid))
            -- the trigger fires on INSERT or DELETE, and is not disabled
            AND NOT tgisinternal AND tgenabled IN ('O', 'A') AND tgtype & (4 | 8) <> 0
        ORDER BY 1
    ) AS triggers,
    ARRAY(SELECT rulename::text FROM pg_rewrite WHERE ev_class = target.oid AND rulename <> '_RETURN' ORDER BY 1) AS rules,
    row_security_active(target.oid) AS has_policies
FROM target, home
