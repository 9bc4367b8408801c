//! Loads the NYC taxi CSV files into PostgreSQL: the library behind the `taxi` command.
//!
//! ```text
//! provision ──► extract ───────────────► transform ──► load ───────────────────────────► report
//! bring the     download .csv.gz,        md5 row key   COPY into an empty staging table,  rows, phases,
//! target up     gunzip, parse records    per record    then ATTACH it as the month's      progress, JSON,
//! first                                                partition, or MERGE it             run history
//! ```
//!
//! [`pipeline`] defines which files are loaded into which tables. [`commands`] implements the subcommands.

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
