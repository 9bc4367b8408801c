//! One month of one taxi type, from the question whether it has to be loaded to the check of what was loaded:
//!
//! ```text
//! plan ─► decision ─► load: prepare ─► stream ─► commit      one file, one transaction
//!                     run: the load with its record, signals and clean-up
//!                     backfill: many runs, several side by side
//! verify                                                     compares the target with the ledger
//! ```

pub(crate) mod backfill;
pub(crate) mod calendar;
pub(crate) mod decision;
pub(crate) mod job;
pub(crate) mod load;
pub(crate) mod options;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod sessions;
pub(crate) mod verify;
