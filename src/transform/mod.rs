//! From CSV records to rows: values of the columns' types, and each row's key, in batches ready for COPY.

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
