-- Inserts the rows of a chunk that are known to have no match.
-- Locks: the target against changes of its shape (ROW EXCLUSIVE). Not to be run again: it would insert again.
INSERT INTO {{ table }} ({{ columns }}) SELECT {{ staged_columns }} FROM {{ chunk }} AS staged
