//! From a CSV record to a row: values of the columns' types, and the row's key. Pure: no I/O, no clock.

pub mod float8;
pub mod integer;
pub mod repeats;
pub mod row;
pub mod row_key;
pub mod timestamp;
pub mod value;
