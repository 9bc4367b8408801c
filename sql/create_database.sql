-- Creates the embedded server's database. Not to be run again: it fails where the database exists.
-- Locks: the template against connections, while it is copied.
CREATE DATABASE {{ database }}
