//! The reader of Parquet files ends with rows or with an error, whatever the bytes are. A panic within the `parquet`
//! crate is caught and becomes an error; libFuzzer reports it all the same, since it aborts on the panic itself.

#![no_main]

use std::sync::LazyLock;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use taxi_etl::extract::parquet::rows::ParquetRows;
use taxi_etl::extract::rows::{FileColumn, Row as _};
use taxi_etl::transform::row::{Column, Computed, Layout, RowEncoder};
use taxi_etl::transform::value::ColumnType;
use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime"));

/// A table with a column of each type in turn for the columns of the file.
fn encoder(file: &[FileColumn]) -> Option<RowEncoder> {
    let types = [ColumnType::Text, ColumnType::Integer, ColumnType::Double, ColumnType::Timestamp, ColumnType::Date];
    let column = |name: &str, column_type| Column { name: name.to_owned(), column_type, not_null: false };
    let mut columns = vec![column("key", ColumnType::Text), column("filename", ColumnType::Text)];
    columns.extend(file.iter().zip(types.into_iter().cycle()).map(|(of_file, kind)| column(&of_file.name, kind)));
    let computed = Computed {
        key_column: "key".to_owned(),
        key_of: file.first().map(|first| first.name.clone()).into_iter().collect(),
        filename_column: "filename".to_owned(),
    };
    RowEncoder::new(&Layout::new(columns, computed, "time"), file).ok()
}

fuzz_target!(|file: &[u8]| {
    RUNTIME.block_on(async {
        let Ok((columns, mut rows)) = ParquetRows::of_bytes(Bytes::copy_from_slice(file), "file") else { return };
        let mut encoder = encoder(&columns);
        let mut tuple = Vec::new();
        while let Ok(true) = rows.next().await {
            let row = rows.current();
            (0..row.width()).for_each(|position| _ = row.cell(position));
            tuple.clear();
            encoder.as_mut().map(|encoder| encoder.encode(row, &mut tuple));
        }
    });
});
