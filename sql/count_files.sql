-- How many rows of each of the files $1 the target holds, wherever they lie in time: all of the target is read.
-- Locks nothing.
SELECT {{ filename_column }}, count(*) FROM {{ table }} WHERE {{ filename_column }} = ANY ($1) GROUP BY {{ filename_column }}
