//! What the values of a column mean: the physical type of the file together with its annotation.

use parquet::basic::{ConvertedType, LogicalType, TimeUnit, Type};
use parquet::schema::types::ColumnDescriptor;

/// What the values of a column mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The column has no values.
    Null,
    Boolean,
    Integer,
    Unsigned,
    Real,
    Double,
    Text,
    Date,
    /// A time, in units of which a second has `per_second`, in UTC if `is_instant`.
    Time {
        per_second: i64,
        is_instant: bool,
    },
    Decimal {
        scale: u8,
    },
    /// A type that no column of a table can hold.
    Unsupported,
}

impl Kind {
    /// The kind of a column that is not nested.
    pub(super) fn of(column: &ColumnDescriptor) -> Self {
        let physical = column.physical_type();
        match (column.logical_type_ref(), physical) {
            (Some(LogicalType::Unknown), _) => Self::Null,
            (Some(LogicalType::Integer(integer)), Type::INT32 | Type::INT64) if !integer.is_signed => {
                Self::Unsigned
            }
            (Some(LogicalType::Integer(_)), Type::INT32 | Type::INT64) => Self::Integer,
            (Some(LogicalType::Date), Type::INT32) => Self::Date,
            (Some(LogicalType::Timestamp(time)), Type::INT64) => Self::Time {
                per_second: match time.unit {
                    TimeUnit::MILLIS => 1_000,
                    TimeUnit::MICROS => 1_000_000,
                    TimeUnit::NANOS => 1_000_000_000,
                },
                is_instant: time.is_adjusted_to_u_t_c,
            },
            (Some(LogicalType::Decimal(decimal)), _) => Self::decimal(decimal.scale, column),
            (Some(LogicalType::String | LogicalType::Enum | LogicalType::Json), Type::BYTE_ARRAY) => {
                Self::Text
            }
            (Some(_), _) => Self::Unsupported,
            (None, _) => Self::without_logical_type(column, physical),
        }
    }

    /// The kind by the older form of annotation, or by none. In the older form, times are always in UTC.
    fn without_logical_type(column: &ColumnDescriptor, physical: Type) -> Self {
        let instant = |per_second| Self::Time { per_second, is_instant: true };
        match (column.converted_type(), physical) {
            (ConvertedType::DATE, Type::INT32) => Self::Date,
            (ConvertedType::TIMESTAMP_MILLIS, Type::INT64) => instant(1_000),
            (ConvertedType::TIMESTAMP_MICROS, Type::INT64) => instant(1_000_000),
            (ConvertedType::DECIMAL, _) => Self::decimal(column.type_scale(), column),
            (ConvertedType::UINT_8 | ConvertedType::UINT_16, Type::INT32)
            | (ConvertedType::UINT_32, Type::INT32)
            | (ConvertedType::UINT_64, Type::INT64) => Self::Unsigned,
            (ConvertedType::INT_8 | ConvertedType::INT_16 | ConvertedType::INT_32, Type::INT32)
            | (ConvertedType::INT_64, Type::INT64)
            | (ConvertedType::NONE, Type::INT32 | Type::INT64) => Self::Integer,
            (
                ConvertedType::NONE | ConvertedType::UTF8 | ConvertedType::ENUM | ConvertedType::JSON,
                Type::BYTE_ARRAY,
            ) => Self::Text,
            (ConvertedType::NONE, Type::BOOLEAN) => Self::Boolean,
            (ConvertedType::NONE, Type::FLOAT) => Self::Real,
            (ConvertedType::NONE, Type::DOUBLE) => Self::Double,
            // a form of time that is no longer written, in nanoseconds
            (ConvertedType::NONE, Type::INT96) => Self::Time { per_second: 1_000_000_000, is_instant: false },
            _ => Self::Unsupported,
        }
    }

    fn decimal(scale: i32, column: &ColumnDescriptor) -> Self {
        let is_supported = matches!(
            column.physical_type(),
            Type::INT32 | Type::INT64 | Type::BYTE_ARRAY | Type::FIXED_LEN_BYTE_ARRAY
        );
        match u8::try_from(scale) {
            Ok(scale) if is_supported && scale <= 38 => Self::Decimal { scale },
            _ => Self::Unsupported,
        }
    }
}
