//! Dates in expressions: parsed from ISO 8601, formatted by Java's patterns, shifted by Java's units.
//!
//! Refused: pattern letters that are not listed here. They are an error, not output.

use jiff::civil::Time;
use jiff::fmt::strtime;
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, ToSpan as _, Zoned};

/// Parses a date, with or without time and zone. The default is the local time zone.
pub(crate) fn read(text: &str) -> Result<Zoned, String> {
    read_in(text, &TimeZone::system())
}

/// Parses a date in `zone`, unless it names a zone or offset itself.
pub(crate) fn read_in(text: &str, zone: &TimeZone) -> Result<Zoned, String> {
    let invalid = || format!("expected a date like 2020-03-01 or 2020-03-01T09:00:00Z, found {text:?}");
    let pieces = Pieces::parse(text.trim()).map_err(|_| invalid())?;
    let local = pieces.date().to_datetime(pieces.time().unwrap_or(Time::midnight()));
    let offset = match pieces.offset() {
        Some(PiecesOffset::Zulu) => Some(TimeZone::UTC),
        Some(PiecesOffset::Numeric(numeric)) => Some(TimeZone::fixed(numeric.offset())),
        _ => None,
    };
    let named = pieces.to_time_zone().map_err(|_| invalid())?;
    let zone = named.or(offset).unwrap_or_else(|| zone.clone());
    local.to_zoned(zone).map_err(|_| invalid())
}

/// Formats a date as expressions store it: ISO 8601 with an offset.
pub(crate) fn text(date: &Zoned) -> String {
    date.strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string()
}

/// Formats a timestamp as expressions store it: ISO 8601 in UTC.
pub(crate) fn text_of(timestamp: Timestamp) -> String {
    text(&timestamp.to_zoned(TimeZone::UTC)).replace("+00:00", "Z")
}

/// Converts the date to another time zone, like `Europe/Paris`.
pub(crate) fn in_zone(date: &Zoned, zone: &str) -> Result<Zoned, String> {
    date.in_tz(zone).map_err(|_| format!("unknown time zone {zone:?}"))
}

/// Adds `amount` of a unit of Java's `ChronoUnit`, like `DAYS`.
pub(crate) fn add(date: &Zoned, amount: i64, unit: &str) -> Result<Zoned, String> {
    let span: Span = match unit.to_ascii_uppercase().as_str() {
        "NANOS" => Span::new().try_nanoseconds(amount),
        "MICROS" => Span::new().try_microseconds(amount),
        "MILLIS" => Span::new().try_milliseconds(amount),
        "SECONDS" => Span::new().try_seconds(amount),
        "MINUTES" => Span::new().try_minutes(amount),
        "HOURS" => Span::new().try_hours(amount),
        "HALF_DAYS" => 12.hours().checked_mul(amount),
        "DAYS" => Span::new().try_days(amount),
        "WEEKS" => Span::new().try_weeks(amount),
        "MONTHS" => Span::new().try_months(amount),
        "YEARS" => Span::new().try_years(amount),
        "DECADES" => 10.years().checked_mul(amount),
        other => return Err(format!("unknown unit of time {other:?}: expected a unit like DAYS or MONTHS")),
    }
    .map_err(|_| format!("{amount} {unit} is out of range"))?;
    date.checked_add(span)
        .map_err(|_| format!("cannot add {amount} {unit} to {date}: the result is out of range"))
}

/// Formats the date by a pattern of Java's `DateTimeFormatter`.
pub(crate) fn format(date: &Zoned, pattern: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            rest = literal(&rest[1..], &mut out)
                .ok_or_else(|| format!("missing closing ' in the date pattern {pattern:?}"))?;
            continue;
        }
        let count = rest.chars().take_while(|letter| *letter == first).count();
        rest = &rest[count * first.len_utf8()..];
        if first.is_ascii_alphabetic() {
            out.push_str(&field(date, first, count).ok_or_else(|| {
                let part = String::from(first).repeat(count);
                format!("unsupported part {part:?} in the date pattern {pattern:?}")
            })?);
        } else {
            out.extend(std::iter::repeat_n(first, count));
        }
    }
    Ok(out)
}

/// Copies a quoted literal, in which `''` is one quote. Returns the text after it, or `None` if it is not closed.
fn literal<'a>(rest: &'a str, out: &mut String) -> Option<&'a str> {
    if let Some(rest) = rest.strip_prefix('\'') {
        out.push('\'');
        return Some(rest);
    }
    let mut rest = rest;
    loop {
        let (text, after) = rest.split_once('\'')?;
        out.push_str(text);
        match after.strip_prefix('\'') {
            Some(after) => {
                out.push('\'');
                rest = after;
            }
            None => return Some(after),
        }
    }
}

fn field(date: &Zoned, letter: char, count: usize) -> Option<String> {
    let number = |value: i64| Some(format!("{value:0count$}"));
    let strftime = |pattern: &str| strtime::format(pattern, date).ok();
    match (letter, count) {
        ('y' | 'u', 2) => Some(format!("{:02}", date.year().rem_euclid(100))),
        ('y' | 'u', _) => number(date.year().into()),
        ('M' | 'L', 1 | 2) => number(date.month().into()),
        ('M' | 'L', 3) => strftime("%b"),
        ('M' | 'L', 4) => strftime("%B"),
        ('d', 1 | 2) => number(date.day().into()),
        ('D', 1..=3) => number(date.day_of_year().into()),
        ('Q' | 'q', 1 | 2) => number((i64::from(date.month()) + 2) / 3),
        ('w', 1 | 2) => number(date.date().iso_week_date().week().into()),
        ('E', 1..=3) => strftime("%a"),
        ('E', 4) => strftime("%A"),
        ('e', 1) => number(date.weekday().to_monday_one_offset().into()),
        ('H', 1 | 2) => number(date.hour().into()),
        ('h', 1 | 2) => number((i64::from(date.hour()) + 11) % 12 + 1),
        ('a', 1) => strftime("%p"),
        ('m', 1 | 2) => number(date.minute().into()),
        ('s', 1 | 2) => number(date.second().into()),
        ('S', 1..=9) => Some(format!("{:09}", date.subsec_nanosecond())[..count].to_owned()),
        ('V', 2) => Some(date.time_zone().iana_name().map_or_else(|| offset(date, true, ":"), str::to_owned)),
        ('z', 1..=3) => strftime("%Z"),
        ('X', 2) => Some(offset(date, true, "")),
        ('X', 3) => Some(offset(date, true, ":")),
        ('x' | 'Z', 2) | ('Z', 1 | 3) => Some(offset(date, false, "")),
        ('x', 3) => Some(offset(date, false, ":")),
        _ => None,
    }
}

fn offset(date: &Zoned, zulu: bool, separator: &str) -> String {
    let seconds = date.offset().seconds();
    if zulu && seconds == 0 {
        return "Z".to_owned();
    }
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn date_patterns_follow_java() {
        let date = read("2020-03-01T09:05:07.123+01:00").unwrap();
        for (pattern, text) in [
            ("yyyy-MM", "2020-03"),
            ("yyyy-MM-dd'T'HH:mm:ss.SSSSSS", "2020-03-01T09:05:07.123000"),
            ("d.M.yy", "1.3.20"),
            ("EEEE, MMMM d", "Sunday, March 1"),
            ("h 'o''clock' a", "9 o'clock AM"),
            ("''yy''", "'20'"),
            ("XXX", "+01:00"),
            ("Q/D/w", "1/61/9"),
        ] {
            assert_eq!(format(&date, pattern).as_deref(), Ok(text), "{pattern}");
        }
        assert!(format(&date, "yyyy-bb").unwrap_err().contains("\"bb\""));
        assert!(format(&date, "'yyyy").is_err());
    }

    #[test]
    fn dates_are_parsed_with_and_without_a_time_zone() {
        for (given, expected) in [
            ("2020-03-01T00:00:00Z", "2020-03-01T00:00:00+00:00"),
            ("2020-03-01T09:00:00+01:00[Europe/Paris]", "2020-03-01T09:00:00+01:00"),
            ("2020-03-01T09:00:00.25-05:00", "2020-03-01T09:00:00.25-05:00"),
        ] {
            assert_eq!(text(&read(given).unwrap()), expected);
        }
        assert!(read("2020-03-01").is_ok());
        assert!(read("yesterday").is_err());
    }

    #[test]
    fn units_of_time_follow_java() {
        let date = read("2020-03-31T00:00:00Z").unwrap();
        assert_eq!(text(&add(&date, -1, "MONTHS").unwrap()), "2020-02-29T00:00:00+00:00");
        assert_eq!(text(&add(&date, 3, "HALF_DAYS").unwrap()), "2020-04-01T12:00:00+00:00");
        assert!(add(&date, 1, "MOONS").is_err());
        assert!(add(&date, i64::MAX, "YEARS").is_err());
    }
}
