//! The integer types: text in, the value and its canonical text out.
//!
//! Files written by pandas hold `1.0` where the published ones hold `1`: a fraction of zeros only is read as the
//! integer it is, although the server would refuse it. Any other fraction is refused.

use std::io::Write as _;

/// Reads an integer of at most the width of `T` and appends the server's text for it.
pub fn parse<T: TryFrom<i64>>(cell: &[u8], text: &mut Vec<u8>) -> Option<T> {
    let cell = cell.trim_ascii();
    let digits = match memchr::memchr(b'.', cell) {
        Some(point) if is_zeros(&cell[point + 1..]) => &cell[..point],
        Some(_) => return None,
        None => cell,
    };
    let value: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let narrow = T::try_from(value).ok()?;
    let _ = write!(text, "{value}");
    Some(narrow)
}

fn is_zeros(fraction: &[u8]) -> bool {
    !fraction.is_empty() && fraction.iter().all(|byte| *byte == b'0')
}

#[cfg(test)]
mod tests {
    fn int4(cell: &str) -> Option<(i32, String)> {
        let mut text = Vec::new();
        super::parse(cell.as_bytes(), &mut text).map(|value| (value, String::from_utf8(text).unwrap()))
    }

    #[test]
    fn reads_integers_and_whole_decimals() {
        for (cell, value) in
            [("1", 1), ("-007", -7), ("+5", 5), ("1.0", 1), ("-0", 0), (" 2147483647 ", i32::MAX)]
        {
            assert_eq!(int4(cell), Some((value, value.to_string())), "{cell}");
        }
    }

    #[test]
    fn refuses_fractions_words_and_what_does_not_fit() {
        for cell in ["", "1.5", "1.", ".0", "x", "2147483648", "1e3", "1 2", "--1"] {
            assert_eq!(int4(cell), None, "{cell}");
        }
    }
}
