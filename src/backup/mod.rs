//! Backup and restore of a whole database, with pg_dump and pg_restore.
//!
//! ```text
//! <database>-<UTC time>/
//!   manifest.json   versions, and what the database held: rows and digests
//!   dump/           the dump, in the directory format of pg_dump
//! ```
//!
//! The manifest is read in the snapshot of the dump. A restore fills a new database, compares it with the manifest, and
//! then swaps the names of the new and the old database.

pub(crate) mod beside;
pub(crate) mod contents;
pub(crate) mod directory;
pub(crate) mod dump;
pub(crate) mod manifest;
pub(crate) mod programs;
pub(crate) mod restore;
