-- Renames a database that no session uses.
-- Locks: the database against connections, until the transaction ends. Cannot be run again.
ALTER DATABASE {{ database }} RENAME TO {{ new_name }}
