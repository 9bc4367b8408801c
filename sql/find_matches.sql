-- In one look at the target, at the times $2: whether it holds the key of a stray, and whether another transaction, no older
-- than $1, has committed the key of a row of the file's own period that this one has inserted; where all of the period counts,
-- also from $3 to before $4.
-- Locks nothing. May be run again.
WITH present AS MATERIALIZED (
    SELECT
        {{ key_column }} AS key,
        xmin = pg_current_xact_id()::xid AS is_own,
        age(xmin) <= age($1::text::xid) AS is_recent
    FROM {{ table }}
    WHERE {{ time_column }} = ANY ($2) OR {{ time_column }} IS NULL
        {% if all_times %} OR {{ time_column }} >= $3 AND {{ time_column }} < $4 {% endif %}
)
SELECT
    {% for stray in strays %}
    EXISTS (
        SELECT FROM {{ stray }} AS stray JOIN present ON present.key = stray.{{ key_column }} AND NOT present.is_own
    ) OR
    {% endfor %}
    false,
    EXISTS (
        SELECT FROM present AS own JOIN present AS other
        ON other.key = own.key AND own.is_own AND NOT other.is_own AND other.is_recent
    )
