-- Creates the role that loads and the database that it owns. The image runs this file once, as the superuser, when the
-- volume is empty. LOADER_USER and LOADER_PASSWORD come from the secret taxi-database.
-- Locks nothing that another session uses. It may not be run again: the role and the database then exist.
\getenv loader LOADER_USER
\getenv password LOADER_PASSWORD
CREATE ROLE :"loader" LOGIN PASSWORD :'password';
CREATE DATABASE ny_taxi OWNER :"loader";
REVOKE ALL ON DATABASE ny_taxi FROM PUBLIC;
