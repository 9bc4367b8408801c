//! The encoder never panics. It accepts the server's text form of each accepted cell, with the same value and
//! the same key.

#![no_main]

use libfuzzer_sys::fuzz_target;
use taxi_etl::extract::csv::records::Record;
use taxi_etl::extract::rows::{Cell, FileColumn};
use taxi_etl::transform::row::{Column, Computed, Layout, RowEncoder};
use taxi_etl::transform::value::ColumnType;

const TYPES: [ColumnType; 12] = [
    ColumnType::Text,
    ColumnType::LimitedText(4),
    ColumnType::Real,
    ColumnType::Numeric(Some((6, 2))),
    ColumnType::Numeric(None),
    ColumnType::Boolean,
    ColumnType::SmallInt,
    ColumnType::Integer,
    ColumnType::BigInt,
    ColumnType::Double,
    ColumnType::Date,
    ColumnType::Timestamp,
];

fn row(cell: &[u8], column_type: ColumnType) -> Option<Vec<u8>> {
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, not_null: false };
    let columns =
        vec![column("key", ColumnType::Text), column("file", ColumnType::Text), column("cell", column_type)];
    let computed = Computed {
        key_column: "key".to_owned(),
        key_of: vec!["cell".to_owned()],
        filename_column: "file".to_owned(),
    };
    let header = [FileColumn::new("cell")];
    let mut encoder = RowEncoder::new(&Layout::new(columns, computed, "cell"), &header).expect("the header is valid");
    let mut tuple = Vec::new();
    encoder.encode(&Record::from_iter([cell]), &mut tuple).ok().map(|_| tuple)
}

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, cell) = input;
    let column_type = TYPES[usize::from(choice) % TYPES.len()];
    let mut text = Vec::new();
    if column_type.encode(Cell::Text(cell), &mut Vec::new(), Some(&mut text)).is_ok() {
        assert_eq!(row(cell, column_type), row(&text, column_type), "{column_type:?}: {cell:?} and {text:?}");
    }
});
