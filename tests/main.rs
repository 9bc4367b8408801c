//! Tests of what taxi promises, against a real server.
//!
//! The tests share one server. The first test that needs it starts it with `taxi up`, and it stops when this
//! process ends. Each test has its own database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by panicking"
)]

mod backfill;
mod backup;
mod bad_input;
mod columns;
mod command_line;
mod connections;
mod containers;
mod dbt;
mod doctor;
mod download_limits;
mod downloads;
mod drift;
mod drop;
mod dry_runs;
mod fault_injection;
mod flow_containers;
mod flow_diagnostics;
mod flow_downloads;
mod flow_ends;
mod flow_environment;
mod flow_git;
mod flow_grammar;
mod flow_scripts;
mod flow_secrets;
mod flow_sessions;
mod flow_tasks;
mod flow_tests;
mod flows;
mod follow;
mod for_hire;
mod growth;
mod history;
mod hostile_text;
mod kills;
mod kubernetes;
mod kubernetes_jobs;
mod loads;
mod locks;
mod odd_files;
mod orchestrators;
mod parquet;
mod partitions;
mod passwords;
mod poolers;
mod prune;
mod readme;
mod recovery;
mod rejects;
mod replays;
mod reports;
mod restore;
mod row_keys;
mod secrets;
mod server;
mod server_log;
mod servers;
mod signals;
mod single_files;
mod sources;
mod stack;
mod support;
mod targets;
mod tasks;
mod terminals;
mod tls;
mod upgrade;
mod versions;
mod zones;
