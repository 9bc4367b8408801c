-- Creates an empty database. Cannot be run again: it fails if the database exists.
-- Locks: the template database against connections, while the server copies it.
CREATE DATABASE {{ database }} TEMPLATE template0 ENCODING 'UTF8'
