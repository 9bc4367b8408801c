//! Reads YAML into nodes with positions, and decodes the nodes into types.

pub(crate) mod decode;
pub mod document;
pub(crate) mod hints;
pub(crate) mod values;
