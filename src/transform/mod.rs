//! Converts the rows of a file to rows of the target: typed column values and row keys, in batches ready for COPY.

pub(crate) mod batch;
pub(crate) mod cell;
pub mod duplicates;
pub(crate) mod float8;
pub(crate) mod integer;
pub(crate) mod lines;
pub(crate) mod numeric;
pub(crate) mod reject;
pub mod row;
pub mod row_key;
pub(crate) mod times;
pub mod timestamp;
pub mod value;
