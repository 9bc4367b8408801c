//! Functions, filters and tests on numbers.

use std::cmp::Ordering;

use minijinja::Value as Data;

use super::{Call, Result, integer, refuse, shown};

pub(crate) fn abs(call: &Call<'_, '_, '_>) -> Result {
    match integer(&call.value(0)) {
        Some(number) => Ok(number.saturating_abs().into()),
        None => Ok(f64::try_from(call.value(0))?.abs().into()),
    }
}

pub(crate) fn max(call: &Call<'_, '_, '_>) -> Result {
    extreme(call, Ordering::Greater)
}

pub(crate) fn min(call: &Call<'_, '_, '_>) -> Result {
    extreme(call, Ordering::Less)
}

fn extreme(call: &Call<'_, '_, '_>, wanted: Ordering) -> Result {
    let mut values = call.values().iter();
    let first = values.next().ok_or_else(|| refuse("max() and min() need at least one argument"))?;
    Ok(values.fold(first, |best, value| if value.cmp(best) == wanted { value } else { best }).clone())
}

pub(crate) fn is_even(call: &Call<'_, '_, '_>) -> Result {
    Ok((call.integer(0)? % 2 == 0).into())
}

pub(crate) fn is_odd(call: &Call<'_, '_, '_>) -> Result {
    Ok((call.integer(0)? % 2 != 0).into())
}

/// Parses a number. Refused: a number that the type cannot hold exactly, as Java prints it.
pub(crate) fn number(call: &Call<'_, '_, '_>) -> Result {
    let (text, kind) = (call.text(0)?, call.optional_text(1)?);
    let refused =
        || refuse(format!("{text:?} is not a number of the type {}", kind.as_deref().unwrap_or("INT")));
    let whole = || text.parse::<i64>().map(Data::from).ok();
    match kind.as_deref() {
        Some("INT") => text.parse::<i32>().map(Data::from).ok(),
        Some("LONG") => whole(),
        Some("BIGINTEGER") => text.parse::<i128>().map(Data::from).ok(),
        Some("FLOAT") => single(&text),
        Some("DOUBLE") => text.parse::<f64>().map(Data::from).ok(),
        Some("BIGDECIMAL") => whole().or_else(|| exact(&text)),
        None => whole().or_else(|| text.parse::<i128>().map(Data::from).ok()).or_else(|| fraction(&text)),
        Some(other) => {
            return Err(refuse(format!(
                "unknown type {other:?} of number: expected INT, LONG, FLOAT, DOUBLE, BIGINTEGER or BIGDECIMAL"
            )));
        }
    }
    .ok_or_else(refused)
}

/// A number of single precision, as its shortest decimal.
fn single(text: &str) -> Option<Data> {
    let number: f32 = text.parse().ok().filter(|number: &f32| number.is_finite())?;
    number.to_string().parse::<f64>().ok().map(Data::from)
}

/// A decimal that a number of double precision holds exactly as written.
fn exact(text: &str) -> Option<Data> {
    let number: f64 = text.parse().ok()?;
    (number.to_string() == text).then(|| Data::from(number))
}

/// Java's choice for a number without a type: single precision up to 7 decimals, double up to 16.
fn fraction(text: &str) -> Option<Data> {
    let decimals = text.split_once('.')?.1;
    match decimals.bytes().all(|digit| digit.is_ascii_digit()).then_some(decimals.len())? {
        1..=7 => single(text),
        8..=16 => text.parse::<f64>().ok().map(Data::from),
        _ => None,
    }
}

/// Formats a number by a pattern of Java's `DecimalFormat`, rounded half to even.
pub(crate) fn number_format(call: &Call<'_, '_, '_>) -> Result {
    let number = f64::try_from(call.value(0))
        .map_err(|_| refuse(format!("numberFormat expects a number, found {}", shown(&call.value(0)))))?;
    let pattern = call.optional_text(1)?.unwrap_or_else(|| "#,##0.###".to_owned());
    let pattern = DecimalPattern::parse(&pattern)
        .ok_or_else(|| refuse(format!("unsupported pattern {pattern:?} of numberFormat")))?;
    Ok(pattern.format(number).into())
}

/// A pattern such as `#,##0.00 km`.
struct DecimalPattern<'a> {
    prefix: &'a str,
    suffix: &'a str,
    /// Size of the groups of digits; 0 without groups.
    group: usize,
    min_digits: usize,
    min_decimals: usize,
    max_decimals: usize,
}

impl<'a> DecimalPattern<'a> {
    /// `None` for what is not supported: exponents, quotes, subpatterns for negative numbers.
    fn parse(pattern: &'a str) -> Option<Self> {
        let is_digit = |letter: char| matches!(letter, '#' | '0' | ',' | '.');
        let start = pattern.find(is_digit)?;
        let end = pattern.rfind(is_digit)? + 1;
        let (prefix, digits, suffix) = (&pattern[..start], &pattern[start..end], &pattern[end..]);
        let special = |text: &str| text.contains(['\'', ';', '¤', '‰', '-']) || text.starts_with('E');
        if !digits.chars().all(is_digit) || special(prefix) || special(suffix) || prefix.contains('%') {
            return None;
        }
        let (whole, decimals) = digits.split_once('.').unwrap_or((digits, ""));
        let group = whole.rsplit_once(',').map_or(0, |(_, group)| group.len());
        let whole: String = whole.chars().filter(|letter| *letter != ',').collect();
        let in_order = !whole.contains("0#") && !decimals.contains("#0") && !decimals.contains(['.', ',']);
        in_order.then_some(Self {
            prefix,
            suffix,
            group,
            min_digits: whole.matches('0').count(),
            min_decimals: decimals.matches('0').count(),
            max_decimals: decimals.len(),
        })
    }

    fn format(&self, number: f64) -> String {
        let number = if self.suffix.contains('%') { number * 100.0 } else { number };
        let rounded = format!("{:.*}", self.max_decimals, number.abs());
        let (whole, decimals) = rounded.split_once('.').unwrap_or((&rounded, ""));
        let whole = whole.trim_start_matches('0');
        let mut decimals = decimals.trim_end_matches('0').to_owned();
        while decimals.len() < self.min_decimals {
            decimals.push('0');
        }
        // Java prints one digit of 0 if the pattern asks for none at all
        let min_digits = if self.min_digits == 0 && decimals.is_empty() { 1 } else { self.min_digits };
        let whole = format!("{whole:0>min_digits$}");
        let is_zero = whole.bytes().chain(decimals.bytes()).all(|digit| digit == b'0');
        let sign = if number < 0.0 && !is_zero { "-" } else { "" };
        let point = if decimals.is_empty() { "" } else { "." };
        format!("{sign}{}{}{point}{decimals}{}", self.prefix, self.grouped(&whole), self.suffix)
    }

    fn grouped(&self, digits: &str) -> String {
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if self.group > 0 && index > 0 && (digits.len() - index).is_multiple_of(self.group) {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::expression::tests::value_of;

    #[test]
    fn numbers_follow_java() {
        for (expression, expected) in [
            ("3.141592653 | numberFormat('#.##')", "3.14"),
            ("0.5 | numberFormat('#')", "0"),
            ("1.5 | numberFormat('#')", "2"),
            ("2.5 | numberFormat('0')", "2"),
            ("0.25 | numberFormat('#.#')", ".2"),
            ("7 | numberFormat('000')", "007"),
            ("1234.5 | numberFormat", "1,234.5"),
            ("-1234567 | numberFormat('#,###')", "-1,234,567"),
            ("0.256 | numberFormat('0.0%')", "25.6%"),
            ("12 | numberFormat('$ 0.00')", "$ 12.00"),
            ("'12.3' | number", "12.3"),
            ("'1234567.891' | number", "1234567.9"),
            ("'1234567.891' | number('DOUBLE')", "1234567.891"),
            ("'9223372036854775808' | number('BIGINTEGER')", "9223372036854775808"),
            ("'007' | number('INT') + 1", "8"),
            ("max('a', 'c', 'b')", "c"),
            ("-3 is odd", "true"),
            ("3 is not even", "true"),
        ] {
            assert_eq!(value_of(expression).as_deref(), Ok(expected), "{expression}");
        }
        for expression in
            ["'a' | number", "'1.5' | number('INT')", "1 | numberFormat('0.0E0')", "'x' is even", "max()"]
        {
            assert!(value_of(expression).is_err(), "{expression}");
        }
    }
}
