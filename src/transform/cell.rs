//! The text of a cell: what the server prints for its value.

use std::io::Write as _;

use super::timestamp::{self, Timestamp};
use super::{float8, integer};
use crate::extract::rows::{Cell, Unfit};

/// Appends the text of the cell. NULL has none. A number in single precision is printed in double precision, and a value
/// that no column can hold is printed as the file has it: both are for messages only.
pub(crate) fn append_text(cell: Cell<'_>, text: &mut Vec<u8>) {
    let _ = match cell {
        Cell::Null => Ok(()),
        Cell::Text(cell) => {
            text.extend_from_slice(cell);
            Ok(())
        }
        Cell::Integer(value) => {
            integer::append_text(value, text);
            Ok(())
        }
        Cell::Double(value) => {
            float8::append_value(value, text);
            Ok(())
        }
        Cell::Real(value) => write!(text, "{value}"),
        Cell::Decimal { unscaled, scale } => {
            append_decimal(*unscaled, scale, text);
            Ok(())
        }
        Cell::Boolean(value) => write!(text, "{value}"),
        Cell::Date(days) => {
            timestamp::append_day(days.into(), text);
            Ok(())
        }
        Cell::Timestamp(value) => {
            timestamp::append_value(Timestamp(value), text);
            Ok(())
        }
        Cell::Instant(value) => {
            timestamp::append_value(Timestamp(value), text);
            write!(text, "+00")
        }
        Cell::Unfit { reason: Unfit::Nanoseconds | Unfit::Era, value } => write!(text, "{value}"),
        Cell::Unfit { reason: Unfit::Unsigned, value } => write!(text, "{}", value as u64),
        Cell::Unfit { reason: Unfit::LongText, value } => write!(text, "{value} bytes"),
    };
}

fn append_decimal(unscaled: i128, scale: u8, text: &mut Vec<u8>) {
    let digits = unscaled.unsigned_abs().to_string();
    let scale = usize::from(scale);
    if unscaled < 0 {
        text.push(b'-');
    }
    let whole = digits.len().saturating_sub(scale);
    text.extend_from_slice(if whole == 0 { b"0" } else { &digits.as_bytes()[..whole] });
    if scale > 0 {
        text.push(b'.');
        text.resize(text.len() + scale.saturating_sub(digits.len()), b'0');
        text.extend_from_slice(&digits.as_bytes()[whole..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_keep_their_scale() {
        for (unscaled, scale, text) in
            [(1250, 2, "12.50"), (-5, 3, "-0.005"), (7, 0, "7"), (0, 2, "0.00"), (100, 2, "1.00")]
        {
            let mut printed = Vec::new();
            append_text(Cell::Decimal { unscaled: &unscaled, scale }, &mut printed);
            assert_eq!(String::from_utf8(printed).unwrap(), text);
        }
    }
}
