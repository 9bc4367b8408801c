//! From CSV records to rows: values of the columns' types, and each row's key, in batches ready for COPY.

pub mod batch;
pub mod float8;
pub mod integer;
pub mod known;
pub mod reject;
pub mod repeats;
pub mod row;
pub mod row_key;
pub mod times;
pub mod timestamp;
pub mod value;
