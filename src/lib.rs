//! Loads the NYC taxi CSVs into PostgreSQL: the library behind the `taxi` command.
//!
//! ```text
//! provision ──► extract ───────────────► transform ──► load ────────────────────────────► report
//! bring the     download .csv.gz,        md5 row key   COPY into new staging tables,      rows, phases,
//! target up     gunzip, parse records    per record    MERGE into the target,             progress, JSON,
//! first                                                ledger row in the same transaction run history
//! ```
//!
//! [`pipeline`] says what is loaded where, [`commands`] ties it to the command line.

pub mod cli;
pub mod commands;
pub mod config;
pub mod database;
pub mod doctor;
pub mod error;
pub mod extract;
pub mod http;
pub mod interrupt;
pub mod ledger;
pub mod load;
pub mod orchestrator;
pub mod pipeline;
pub mod provision;
pub mod report;
pub mod secrets;
pub mod transform;
