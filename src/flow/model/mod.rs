//! The contents of a flow's file, checked and typed: the flow, its inputs, tasks and triggers.

pub(crate) mod aliases;
pub(crate) mod checks;
pub(crate) mod conditions;
pub(crate) mod ending;
pub(crate) mod flow;
pub(crate) mod input_types;
pub(crate) mod input_values;
pub(crate) mod inputs;
pub(crate) mod labels;
pub(crate) mod names;
pub(crate) mod pairs;
pub(crate) mod retry;
pub(crate) mod services;
pub(crate) mod task;
pub(crate) mod topology;
pub(crate) mod trigger;
mod trigger_inputs;
pub(crate) mod values;
