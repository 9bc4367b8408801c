-- Makes loads of one table go one after the other; waits while another load has the table.
-- Locks: the staging table against all but readers, until the transaction ends. May be run again.
LOCK TABLE {{ staging_table }} IN EXCLUSIVE MODE
