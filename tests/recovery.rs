//! Recovery to a point in time, as docs/backup.md describes it.
