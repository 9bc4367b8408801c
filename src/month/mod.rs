//! Loads one month of one taxi type: decides whether to load it, loads it, and verifies the loaded rows:
//!
//! ```text
//! plan ─► decision ─► load: prepare ─► stream ─► commit      one file, one transaction
//!                     run: the load with its record, signals and clean-up
//!                     backfill: many runs, several at a time
//! verify                                                     compares the target with the ledger
//! ```

pub(crate) mod backfill;
pub(crate) mod calendar;
pub(crate) mod candidates;
pub(crate) mod decision;
pub(crate) mod drift;
pub(crate) mod drop;
mod file;
pub(crate) mod job;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod options;
mod other_form;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod verify;
