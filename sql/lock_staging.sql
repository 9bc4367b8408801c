-- Takes the staging table for this load alone; waits while another load has it.
-- Locks: the staging table, until the transaction ends. May be run again.
LOCK TABLE {{ staging_table }} IN ACCESS EXCLUSIVE MODE
