//! The task types, one file per family: their properties and their actions.

pub(crate) mod builtin;
pub(crate) mod copy;
pub(crate) mod dbt;
pub(crate) mod flowable;
pub(crate) mod http_client;
pub(crate) mod load;
pub(crate) mod process;
pub(crate) mod query;
pub(crate) mod shell;
