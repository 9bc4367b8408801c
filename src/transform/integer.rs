//! The integer types: parses a cell to a value. The server's text for it is the plain decimal form of the value.
//!
//! Files written by pandas contain `1.0` where the published files contain `1`. A number whose fraction is all
//! zeros is therefore read as an integer, although the server would refuse it. Any other fraction is refused.

/// Parses an integer; `None` if the cell is not one, or does not fit into 64 bits.
pub(crate) fn parse(cell: &[u8]) -> Option<i64> {
    let cell = cell.trim_ascii();
    let digits = match memchr::memchr(b'.', cell) {
        Some(point) if is_zeros(&cell[point + 1..]) => &cell[..point],
        Some(_) => return None,
        None => cell,
    };
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends the plain decimal form of `value`.
pub(crate) fn append_text(value: i64, text: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut start = digits.len();
    let mut rest = value.unsigned_abs();
    while rest > 0 || start == digits.len() {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    if value < 0 {
        text.push(b'-');
    }
    text.extend_from_slice(&digits[start..]);
}

fn is_zeros(fraction: &[u8]) -> bool {
    !fraction.is_empty() && fraction.iter().all(|byte| *byte == b'0')
}

#[cfg(test)]
mod tests {
    use super::{append_text, parse};

    #[test]
    fn prints_every_digit_and_the_sign() {
        for value in [0, 7, -7, 10, 263, i64::MAX, i64::MIN] {
            let mut text = Vec::new();
            append_text(value, &mut text);
            assert_eq!(String::from_utf8(text).unwrap(), value.to_string());
        }
    }

    #[test]
    fn reads_integers_and_whole_decimals() {
        for (cell, value) in
            [("1", 1), ("-007", -7), ("+5", 5), ("1.0", 1), ("-0", 0), (" 2147483647 ", 2_147_483_647)]
        {
            assert_eq!(parse(cell.as_bytes()), Some(value), "{cell}");
        }
    }

    #[test]
    fn refuses_fractions_words_and_numbers_out_of_range() {
        for cell in ["", "1.5", "1.", ".0", "x", "9223372036854775808", "1e3", "1 2", "--1"] {
            assert_eq!(parse(cell.as_bytes()), None, "{cell}");
        }
    }
}
