-- Lists those of the dates $3 for which the flow $1 has run successfully as its trigger $2 does, with the inputs $4.
-- Locks nothing. May be run again.
SELECT DISTINCT trigger_date
FROM taxi_etl.runs
WHERE pipeline = $1 AND trigger ->> 'id' = $2 AND trigger_date = ANY ($3)
    AND status IN ('succeeded', 'warning') AND inputs @> $4
