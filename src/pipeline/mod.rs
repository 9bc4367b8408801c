//! Pipelines, declared in YAML whose grammar follows Kestra's flows:
//!
//! ```text
//! document ─► flow ─► inputs ─┬─► execution          any flow: its tasks, one by one
//! nodes with  typed,  checked,└─► plan ─► run        the built-in load: every value filled in before
//! positions   whole   complete                       the first byte moves, many months side by side
//! ```
//!
//! Each step checks all that it can, so that a fault is reported as early as possible.

pub mod backfill;
pub mod decode;
pub mod document;
pub mod execution;
pub mod expression;
pub mod flow;
pub mod inputs;
pub mod labels;
pub mod months;
pub mod plan;
pub mod retry;
pub mod run;
pub mod schema;
pub mod task;
pub mod tasks;
pub mod topology;
pub mod trigger;
