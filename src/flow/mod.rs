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
//! Each step checks as much as it can, so that errors are reported early.

pub(crate) mod context;
pub(crate) mod expression;
pub(crate) mod model;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod tasks;
pub mod yaml;

/// Checks a flow and returns all of its faults. `name` is the file name that the faults show.
pub fn check(name: &str, text: &str) -> Result<(), yaml::document::Faults> {
    model::flow::Flow::check(name, text).map(drop)
}
