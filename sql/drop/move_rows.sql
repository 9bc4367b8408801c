-- Moves the rows of other files than $1 from the detached partition back into the target, whose default partition takes
-- them.
-- Locks: nothing that DETACH has not locked. Must not be run again: it would insert the rows twice.
INSERT INTO {{ table }} ({{ all_columns }})
SELECT {{ all_columns }} FROM {{ partition }} WHERE ({{ filename_column }} = ANY ($1)) IS NOT TRUE
