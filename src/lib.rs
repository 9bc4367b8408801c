//! Loads the NYC taxi files, CSV and Parquet, into PostgreSQL: the library behind the `taxi` command.
//!
//! ```text
//! provision ──► extract ───────────────► transform ──► load ───────────────────────────► report
//! bring the     download, rows of CSV    md5 row key   COPY into an empty staging table,  rows, phases,
//! target up     or of Parquet            per row       then ATTACH it as the month's      progress, JSON,
//! first                                                partition, or MERGE it             run history
//! ```
//!
//! Two modules use these stages: [`month`] loads one month, or many in a backfill; [`flow`] runs the flows that people
//! write in Kestra's syntax. [`commands`] implements the subcommands, and [`ledger`] records every run.

pub(crate) mod backup;
pub mod cli;
pub mod commands;
pub mod database;
pub(crate) mod doctor;
pub mod error;
pub mod extract;
pub mod flow;
pub(crate) mod http;
pub(crate) mod interrupt;
pub(crate) mod ledger;
pub(crate) mod load;
pub(crate) mod month;
pub(crate) mod orchestrator;
pub(crate) mod provision;
pub mod report;
pub(crate) mod secrets;
pub mod transform;
