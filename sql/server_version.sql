-- The server's version; that it answers at all is what "ready" means. Locks nothing.
SHOW server_version
