//! Runs flows in Kestra's syntax:
//!
//! ```text
//! yaml ──────────► model ─────────────► run ──────────────────────────► summary
//! nodes with       flow, tasks,         tasks in order, conditions,      outputs, labels,
//! positions        inputs, triggers     attempts, timeouts; the          task runs
//!                                       expressions are filled in
//!                  └──► plan            the built-in flow becomes a load: every value is filled in before the
//!                                       first byte moves, and many months run side by side
//! ```
//!
//! Each step checks all that it can, so that an error is reported as early as possible.

pub(crate) mod context;
pub(crate) mod expression;
pub(crate) mod model;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod tasks;
pub mod yaml;

/// Checks a flow, and returns all of its faults. `name` is the file name shown in them.
pub fn check(name: &str, text: &str) -> Result<(), yaml::document::Faults> {
    model::flow::Flow::check(name, text).map(drop)
}
