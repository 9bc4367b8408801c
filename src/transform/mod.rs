//! Converts CSV records to rows: typed column values and row keys, in batches ready for COPY.

pub mod batch;
pub mod duplicates;
pub mod float8;
pub mod integer;
pub mod reject;
pub mod row;
pub mod row_key;
pub mod times;
pub mod timestamp;
pub mod value;
