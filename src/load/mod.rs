//! From records to rows in the target, all or nothing:
//!
//! ```text
//! staging:        COPY a chunk ─► COPY the next ───► ...                                      ─► drop the chunks
//!                       └─────────────┐
//! load:     BEGIN, lock ─► INSERT or MERGE the chunk ─► the next ─► ... ─► ledger row ─► COMMIT
//! ```
//!
//! Two connections: one stages, the other moves what is staged into the target, in one transaction that ends with the
//! ledger's row. Its locks keep two loads of a table apart, and the server drops them with the transaction when the
//! client dies, so a load that is killed leaves no rows and no locks; the chunks that it leaves the next load drops.

pub mod copy;
pub mod duplicates;
pub mod job;
pub mod ledger;
pub mod merge;
pub mod schema;
pub mod staging;
pub mod tables;
