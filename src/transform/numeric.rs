//! `numeric`: parses a decimal to the server's binary form.
//!
//! The server rounds the value to the column's scale, as it does for a text. A value that would exceed the column's
//! precision is refused here, with its line. `NaN` and infinities are refused.

/// Largest exponent that a cell may have. The server allows more, but no amount of money does.
const EXPONENT_LIMIT: i32 = 300;
/// Decimal digits in one digit of the binary form, which has base 10,000.
const GROUP: usize = 4;
const POSITIVE: u16 = 0;
const NEGATIVE: u16 = 0x4000;

/// A decimal: its digits, and how many of them are before the decimal point.
pub(crate) struct Decimal {
    is_negative: bool,
    /// The digits without leading zeros, as numbers.
    digits: Vec<u8>,
    /// Number of digits before the decimal point; negative for leading zeros after the point.
    whole: i32,
}

impl Decimal {
    /// Parses a decimal number with an optional exponent; `None` if the cell is not one.
    pub(crate) fn parse(cell: &[u8]) -> Option<Self> {
        let cell = cell.trim_ascii();
        let (is_negative, unsigned) = match cell {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            _ => (false, cell),
        };
        let (mantissa, exponent) = match unsigned.iter().position(|byte| matches!(byte, b'e' | b'E')) {
            Some(at) => (&unsigned[..at], std::str::from_utf8(&unsigned[at + 1..]).ok()?.parse().ok()?),
            None => (unsigned, 0),
        };
        let point = memchr::memchr(b'.', mantissa).unwrap_or(mantissa.len());
        let fraction = mantissa.get(point + 1..).unwrap_or_default();
        let digits: Vec<u8> =
            mantissa[..point].iter().chain(fraction).map(|byte| byte.wrapping_sub(b'0')).collect();
        if digits.is_empty() || digits.iter().any(|digit| *digit > 9) || i32::abs(exponent) > EXPONENT_LIMIT {
            return None;
        }
        let zeros = digits.iter().take_while(|digit| **digit == 0).count();
        let whole = i32::try_from(point).ok()? - i32::try_from(zeros).ok()? + exponent;
        Some(Self { is_negative, digits: digits[zeros..].to_vec(), whole })
    }

    /// Whether the value, rounded to `scale` digits after the point, has at most `precision` digits.
    pub(crate) fn fits(&self, precision: u16, scale: u16) -> bool {
        let limit = i32::from(precision) - i32::from(scale);
        if self.digits.is_empty() || self.whole < limit {
            return true;
        }
        // only rounding up can carry into one more digit: 99.995 is 100.00
        let kept = usize::try_from(self.whole + i32::from(scale)).unwrap_or_default();
        let is_carried = || {
            self.digits.get(kept).is_some_and(|digit| *digit >= 5)
                && self.digits[..kept].iter().all(|digit| *digit == 9)
        };
        self.whole == limit && !is_carried()
    }

    /// Appends the binary form, without its length.
    pub(crate) fn append(&self, field: &mut Vec<u8>) {
        // align the digits to groups of four around the decimal point
        let group = GROUP as i32;
        let lead = usize::try_from((-self.whole).rem_euclid(group)).unwrap_or_default();
        let mut aligned = vec![0; lead];
        aligned.extend(&self.digits);
        aligned.resize(aligned.len().next_multiple_of(GROUP), 0);
        let groups: Vec<i16> = aligned
            .chunks(GROUP)
            .map(|digits| digits.iter().fold(0, |group, digit| group * 10 + i16::from(*digit)))
            .collect();
        let weight = (self.whole + lead as i32) / group - 1;
        let scale = (self.digits.len() as i32 - self.whole).max(0);
        let sign = if self.is_negative && !self.digits.is_empty() { NEGATIVE } else { POSITIVE };
        field.extend_from_slice(&(groups.len() as i16).to_be_bytes());
        field.extend_from_slice(&(weight as i16).to_be_bytes());
        field.extend_from_slice(&sign.to_be_bytes());
        field.extend_from_slice(&(scale as i16).to_be_bytes());
        groups.iter().for_each(|group| field.extend_from_slice(&group.to_be_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn rounded_values_must_fit_the_precision() {
        for (cell, precision, scale, fits) in [
            ("99.99", 4, 2, true),
            ("99.994", 4, 2, true),
            ("99.995", 4, 2, false),
            ("-99.995", 4, 2, false),
            ("100", 4, 2, false),
            ("0.004", 2, 2, true),
            ("0.995", 2, 2, false),
            ("1", 2, 2, false),
            ("000012.5", 4, 2, true),
            ("9.95e1", 4, 2, true),
            ("0", 1, 1, true),
        ] {
            let decimal = Decimal::parse(cell.as_bytes()).unwrap();
            assert_eq!(decimal.fits(precision, scale), fits, "{cell} as numeric({precision},{scale})");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for cell in ["", ".", "x", "1e", "1e999", "NaN", "Infinity", "1_0", "--1", "0x1f", "1.2.3"] {
            assert!(Decimal::parse(cell.as_bytes()).is_none(), "{cell}");
        }
    }
}
