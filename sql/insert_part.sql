-- Inserts the staged rows from the place $1 up to the place $2, exclusive, to find out whether the target accepts them.
-- The caller rolls back. Rows whose key the target holds are skipped if a unique index says so.
-- Locks: the target against schema changes (ROW EXCLUSIVE), until the rollback. May be run again.
INSERT INTO {{ table }} ({{ columns }})
SELECT {{ columns }} FROM {{ staging }} WHERE ctid >= $1::text::tid AND ctid < $2::text::tid
ON CONFLICT DO NOTHING
