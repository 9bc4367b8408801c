//! Runs flows in Kestra's syntax:
//!
//! ```text
//! yaml ──────────► model ─────────────► run ──────────────────────────► summary
//! nodes with       flow, tasks,         tasks in order, conditions,      outputs, labels,
//! positions        inputs, triggers     attempts, timeouts,              task runs
//!                                       expressions
//!                  └──► plan            the built-in flow becomes a load: every expression is evaluated before
//!                                       the first byte moves, and many months run side by side
//! ```
//!
//! A dry run ends before the tasks. A replay and a test give a run the results of tasks that then do not run.
//!
//! Each step checks as much as it can, so that errors are reported early.

pub(crate) mod context;
pub(crate) mod dry_run;
pub(crate) mod expression;
pub(crate) mod model;
pub(crate) mod plan;
pub(crate) mod reference;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod sources;
pub(crate) mod tasks;
pub(crate) mod testing;
pub mod yaml;

/// Checks a flow and returns all of its faults. `name` is the file name that the faults show.
pub fn check(name: &str, text: &str) -> Result<(), yaml::document::Faults> {
    model::flow::Flow::check(name, text).map(drop)
}
