//! The columns of a Parquet file as its footer declares them, for reports.

use parquet::basic::{LogicalType, TimeUnit, Type};
use parquet::schema::types::ColumnDescriptor;

use super::footer::Footer;
use super::kind::Kind;

impl Footer {
    /// Number of rows.
    pub(crate) fn row_count(&self) -> u64 {
        self.metadata.file_metadata().num_rows().unsigned_abs()
    }

    /// The columns with their types, in the order of the file.
    pub(crate) fn typed_columns(&self) -> Vec<(String, String)> {
        let schema = self.metadata.file_metadata().schema_descr();
        let typed = |column: &super::footer::Column| {
            let words = column.leaf.map_or_else(|| "nested".to_owned(), |leaf| words(&schema.column(leaf)));
            (column.name.clone(), words)
        };
        self.columns.iter().map(typed).collect()
    }
}

/// The type of a column in words, by the names that pyarrow has for the types.
fn words(column: &ColumnDescriptor) -> String {
    let physical = column.physical_type();
    match Kind::of(column) {
        Kind::Null => "null".to_owned(),
        Kind::Text => "string".to_owned(),
        Kind::Date => "date".to_owned(),
        Kind::Unsigned if physical == Type::INT32 => "uint32".to_owned(),
        Kind::Unsigned => "uint64".to_owned(),
        Kind::Decimal { scale } => format!("decimal with {scale} digits after the point"),
        Kind::Time { is_instant, .. } => {
            let unit = match column.logical_type_ref() {
                Some(LogicalType::Timestamp(time)) => match time.unit {
                    TimeUnit::MILLIS => "ms",
                    TimeUnit::MICROS => "us",
                    TimeUnit::NANOS => "ns",
                },
                _ if physical == Type::INT96 => "int96",
                _ => "us",
            };
            format!("timestamp[{unit}{}]", if is_instant { ", UTC" } else { "" })
        }
        Kind::Boolean | Kind::Integer | Kind::Real | Kind::Double | Kind::Unsupported => {
            physical.to_string().to_lowercase()
        }
    }
}
