//! The task types, one file per family: their properties and their actions.

pub(crate) mod batch;
pub(crate) mod builtin;
pub(crate) mod calls;
pub(crate) mod container;
pub(crate) mod control;
pub(crate) mod copy;
pub(crate) mod dbt;
pub(crate) mod files;
pub(crate) mod flowable;
pub(crate) mod form;
pub(crate) mod git;
pub(crate) mod http_client;
pub(crate) mod http_request;
pub(crate) mod kv;
pub(crate) mod lines;
pub(crate) mod load;
pub(crate) mod lookup;
pub(crate) mod node;
pub(crate) mod process;
pub(crate) mod python;
pub(crate) mod query;
pub(crate) mod script;
pub(crate) mod serdes;
pub(crate) mod shell;
pub(crate) mod stored_files;
pub(crate) mod working_directory;
