-- Counts the target's rows of each of the files $1, whatever their time. Reads the whole target.
-- Locks nothing. May be run again.
SELECT {{ filename_column }}, count(*) FROM {{ table }} WHERE {{ filename_column }} = ANY ($1) GROUP BY {{ filename_column }}
