//! `double precision`: parses a cell to a value, and formats the value as the server prints it.
//!
//! The server prints the shortest decimal that reads back as the same value, as found by the Ryū algorithm. There
//! are two differences from Rust's own shortest form: a decimal exactly on the border between two values is not
//! used, and of two equally near decimals the even one is used. Hexadecimal floats and `nan(...)` are refused
//! here, although the server's C library reads them.

use super::integer;

/// A double distinguishes all decimals of up to this many significant digits (C's `DBL_DIG`). A text with no
/// more digits and without superfluous zeros is already the shortest form.
const EXACT_DIGITS: usize = 15;

/// Powers of ten, each exact as a double.
const POWERS_OF_TEN: [f64; EXACT_DIGITS + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// Parses `cell` as the server parses a `double precision`.
///
/// Returns `None` if the cell is not a number, or if the number is too large or too small for a double.
pub(crate) fn parse(cell: &[u8]) -> Option<f64> {
    let cell = cell.trim_ascii();
    if let Some(value) = parse_plain(cell) {
        return Some(value);
    }
    let value: f64 = std::str::from_utf8(cell).ok()?.parse().ok()?;
    if value.is_infinite() && cell.iter().any(u8::is_ascii_digit) {
        return None; // out of range: the server does not round to infinity
    }
    if value == 0.0 && mantissa(cell).iter().any(|byte| matches!(byte, b'1'..=b'9')) {
        return None; // out of range: the server does not round to zero
    }
    Some(value)
}

/// Parses a plain decimal with so few digits that the digits and their power of ten are both exact doubles: one
/// division then rounds correctly. Nearly every cell of a real file takes this path, at less than half the cost of
/// the general one.
fn parse_plain(cell: &[u8]) -> Option<f64> {
    let (sign, digits) = match cell {
        [b'-', rest @ ..] => (-1.0, rest),
        _ => (1.0, cell),
    };
    let (mut number, mut count, mut point) = (0_u64, 0, None);
    for byte in digits {
        match byte {
            b'0'..=b'9' if count < EXACT_DIGITS => {
                number = number * 10 + u64::from(byte - b'0');
                count += 1;
            }
            b'.' if point.is_none() => point = Some(count),
            _ => return None,
        }
    }
    let scale = point.map_or(0, |point| count - point);
    (count > 0).then(|| sign * (number as f64 / POWERS_OF_TEN[scale]))
}

/// Appends the server's text for `value`, which [`parse`] read from `cell`.
pub(crate) fn append_text(cell: &[u8], value: f64, text: &mut Vec<u8>) {
    if !append_exact(cell.trim_ascii(), text) {
        append_shortest(value, text);
    }
}

/// Appends the server's text for `value`.
pub(crate) fn append_value(value: f64, text: &mut Vec<u8>) {
    if !append_short(value, text) {
        append_shortest(value, text);
    }
}

/// Appends the text of a value that is a decimal of few digits, as nearly all values of real files are, at a fraction
/// of the cost of the general way. Returns `false` and appends nothing for other values.
///
/// A decimal of at most [`EXACT_DIGITS`] digits that reads back as the value is the only one: two of them never read
/// as the same double. Without its zeros, it is the shortest.
fn append_short(value: f64, text: &mut Vec<u8>) -> bool {
    const LIMIT: f64 = POWERS_OF_TEN[EXACT_DIGITS];
    let size = value.abs();
    // smaller and larger values have an exponent
    if value != 0.0 && !(1e-4..LIMIT).contains(&size) {
        return false;
    }
    for scale in [2, 5] {
        let power = POWERS_OF_TEN[scale];
        let digits = (size * power).round();
        if digits < LIMIT && digits / power == size {
            if value.is_sign_negative() {
                text.push(b'-');
            }
            append_scaled(digits as u64, scale, text);
            return true;
        }
    }
    false
}

/// Appends `digits` with `scale` of them after the decimal point, without superfluous zeros.
fn append_scaled(digits: u64, scale: usize, text: &mut Vec<u8>) {
    let power = POWERS_OF_TEN[scale] as u64;
    let (whole, mut fraction) = (digits / power, digits % power);
    integer::append_text(whole as i64, text);
    if fraction == 0 {
        return;
    }
    text.push(b'.');
    let start = text.len();
    text.resize(start + scale, b'0');
    for digit in text[start..].iter_mut().rev() {
        *digit += (fraction % 10) as u8;
        fraction /= 10;
    }
    while text.last() == Some(&b'0') {
        text.pop();
    }
}

fn mantissa(cell: &[u8]) -> &[u8] {
    let end = cell.iter().position(|byte| matches!(byte, b'e' | b'E')).unwrap_or(cell.len());
    &cell[..end]
}

/// Appends the canonical form of a plain decimal by dropping its superfluous zeros: `.20` becomes `0.2`.
///
/// Nearly every cell of a real file takes this path, at a tenth of the cost of formatting the value. Returns
/// `false` and appends nothing if the text is not plain, or too long for the result to be exact.
fn append_exact(cell: &[u8], text: &mut Vec<u8>) -> bool {
    let (negative, digits) = match cell {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, cell),
    };
    let point = memchr::memchr(b'.', digits);
    let (whole, fraction) = match point {
        Some(point) => (&digits[..point], &digits[point + 1..]),
        None => (digits, &digits[digits.len()..]),
    };
    let whole = &whole[whole.iter().take_while(|byte| **byte == b'0').count()..];
    let kept = fraction.iter().rposition(|byte| *byte != b'0').map_or(0, |last| last + 1);
    let fraction = &fraction[..kept];

    // The server writes an exponent from 1e15 up and below 1e-4. Otherwise a fraction has few leading zeros, so
    // counting them as significant digits is harmless.
    let tiny = whole.is_empty() && fraction.starts_with(b"0000");
    let plain = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    if !plain || tiny || whole.len() + fraction.len() > EXACT_DIGITS {
        return false;
    }
    if negative {
        text.push(b'-');
    }
    text.extend_from_slice(if whole.is_empty() { b"0" } else { whole });
    if !fraction.is_empty() {
        text.push(b'.');
        text.extend_from_slice(fraction);
    }
    true
}

/// Appends the server's text for any `value`.
pub(crate) fn append_shortest(value: f64, text: &mut Vec<u8>) {
    if value.is_nan() {
        return text.extend_from_slice(b"NaN");
    }
    if value.is_sign_negative() {
        text.push(b'-');
    }
    if value.is_infinite() {
        return text.extend_from_slice(b"Infinity");
    }
    if value == 0.0 {
        return text.push(b'0');
    }
    let Decimal { digits, exponent } = Decimal::shortest(value.abs());
    let digits = digits.as_bytes();
    match exponent {
        -4..0 => {
            text.extend_from_slice(b"0.");
            text.resize(text.len() + exponent.unsigned_abs() as usize - 1, b'0');
            text.extend_from_slice(digits);
        }
        0..15 => {
            let whole = exponent as usize + 1;
            if digits.len() <= whole {
                text.extend_from_slice(digits);
                text.resize(text.len() + whole - digits.len(), b'0');
            } else {
                text.extend_from_slice(&digits[..whole]);
                text.push(b'.');
                text.extend_from_slice(&digits[whole..]);
            }
        }
        _ => {
            text.push(digits[0]);
            if digits.len() > 1 {
                text.push(b'.');
                text.extend_from_slice(&digits[1..]);
            }
            let sign = if exponent < 0 { '-' } else { '+' };
            text.extend_from_slice(format!("e{sign}{:02}", exponent.abs()).as_bytes());
        }
    }
}

/// A positive decimal: `d.ddd` times ten to the power of `exponent`. `digits` has no point and no trailing zeros.
struct Decimal {
    digits: String,
    exponent: i32,
}

impl Decimal {
    /// The decimal that the server prints for `value`, which must be finite and positive.
    fn shortest(value: f64) -> Self {
        let shortest = Self::from_scientific(&format!("{value:e}"));
        // Rounding to the same number of digits picks the even one of two equally near decimals. If the result
        // does not read back as the value (next to a power of two), the shortest form itself may be correct; otherwise
        // one more digit is enough.
        for precision in shortest.digits.len() - 1..17 {
            let rounded = Self::from_scientific(&format!("{value:.precision$e}"));
            if rounded.lies_within(value) {
                return rounded;
            }
            if precision + 1 == shortest.digits.len() && shortest.lies_within(value) {
                return shortest;
            }
        }
        shortest
    }

    fn from_scientific(text: &str) -> Self {
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let mut digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
        digits.truncate(digits.trim_end_matches('0').len());
        Self { digits, exponent: exponent.parse().unwrap_or(0) }
    }

    /// Whether this decimal lies strictly between the borders of the interval that reads as `value`.
    ///
    /// A decimal on a border fails the test, since the smallest step outwards leads to the neighbouring value. The
    /// step tested here is forty digits after the last one: smaller than the distance between any border and any
    /// decimal of seventeen digits that is not on it.
    fn lies_within(&self, value: f64) -> bool {
        let reads_as_value = |digits: &str, tail: &str| {
            let mut text = String::with_capacity(80);
            let (first, rest) = digits.split_at(1);
            let _ =
                std::fmt::Write::write_fmt(&mut text, format_args!("{first}.{rest}{tail}e{}", self.exponent));
            text.parse() == Ok(value)
        };
        let above = "0".repeat(39) + "1";
        let below = "9".repeat(40);
        reads_as_value(&self.digits, &above) && reads_as_value(&predecessor(&self.digits), &below)
    }
}

/// The digits minus one in the last place. The last digit must not be zero.
fn predecessor(digits: &str) -> String {
    let mut digits = digits.to_owned();
    if let Some(last) = digits.pop() {
        digits.push(char::from(last as u8 - 1));
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(cell: &str) -> Option<String> {
        let mut text = Vec::new();
        append_text(cell.as_bytes(), parse(cell.as_bytes())?, &mut text);
        Some(String::from_utf8(text).unwrap())
    }

    #[test]
    fn prints_what_the_server_prints() {
        for (cell, text) in [
            (".20", "0.2"),
            ("1.50", "1.5"),
            ("8", "8"),
            ("008.000", "8"),
            ("-0", "-0"),
            ("+.0", "0"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1e15", "1e+15"),
            ("123456789012345", "123456789012345"),
            ("1234567890123456", "1.234567890123456e+15"),
            ("1e23", "9.999999999999999e+22"),
            ("5e-324", "5e-324"),
            ("2.98023223876953125e-8", "2.9802322387695312e-08"),
            (" 1.5\t", "1.5"),
            ("nan", "NaN"),
            ("-inf", "-Infinity"),
        ] {
            assert_eq!(printed(cell).as_deref(), Some(text), "{cell}");
        }
    }

    #[test]
    fn the_fast_path_and_the_general_path_read_the_same_value() {
        for cell in
            ["0", "-0", ".2", "8.", "-11.80", "999999999999999", "0.00000000000001", "123456.789012345"]
        {
            let bits = cell.parse::<f64>().unwrap().to_bits();
            assert_eq!(parse_plain(cell.as_bytes()).map(f64::to_bits), Some(bits), "{cell}");
        }
        for cell in ["", ".", "-", "1.2.3", "1e3", "0000000000000001", "+1"] {
            assert_eq!(parse_plain(cell.as_bytes()), None, "{cell}");
        }
    }

    #[test]
    fn the_fast_path_and_the_general_path_print_the_same_text() {
        let mut values =
            vec![0.0, -0.0, 8.0, 0.2, 1.5, -11.8, 0.1 + 0.2, 1e15, 999_999_999_999_999.0, 1e-4, 1e-5];
        values.extend((0..200_000).map(|number| f64::from(number) / 1000.0));
        values.extend((1..2000).map(|number| 1.0 / f64::from(number)));
        values.extend((0..600).map(|power| 1.1_f64.powi(power)));
        for value in values {
            let (mut fast, mut general) = (Vec::new(), Vec::new());
            append_value(value, &mut fast);
            append_shortest(value, &mut general);
            assert_eq!(String::from_utf8(fast), String::from_utf8(general), "{value:e}");
        }
    }

    #[test]
    fn refuses_what_the_server_refuses() {
        for cell in ["", ".", "-", "1,5", "1e400", "-1e400", "1e-400", "0x1p3", "1 2", "1_000"] {
            assert_eq!(printed(cell), None, "{cell}");
        }
    }
}
