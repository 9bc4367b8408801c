//! The contents of a flow's file, checked and typed: the flow, its inputs, tasks and triggers.

pub(crate) mod flow;
pub(crate) mod inputs;
pub(crate) mod labels;
pub(crate) mod retry;
pub(crate) mod task;
pub(crate) mod topology;
pub(crate) mod trigger;
pub(crate) mod values;
