//! From records to rows in the target, all or nothing:
//!
//! ```text
//! BEGIN ─► lock, TRUNCATE staging ─► COPY ─► count duplicates ─► MERGE ─► ledger row ─► COMMIT
//! ```
//!
//! One transaction holds it all. Its lock on the staging table keeps two loads apart, and the server drops both
//! when the client dies, so a load that is killed leaves neither rows nor locks nor half a staging table.

pub mod copy;
pub mod job;
pub mod ledger;
pub mod merge;
pub mod schema;
pub mod tables;
