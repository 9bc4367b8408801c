-- The server's version. A server that answers this query is ready. Locks nothing. May be run again.
SHOW server_version
