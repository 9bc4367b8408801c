//! Pipelines, declared in YAML whose grammar follows Kestra's flows:
//!
//! ```text
//! document ─► flow ─► inputs ─► plan ─► run
//! nodes with  typed,  checked,  every   the stages,
//! positions   whole   complete  value   one task
//!                               filled  after the other
//! ```
//!
//! Each step refuses what it can judge, so that a fault is reported before the first byte moves.

pub mod backfill;
pub mod document;
pub mod expression;
pub mod flow;
pub mod inputs;
pub mod months;
pub mod plan;
pub mod run;
pub mod task;
