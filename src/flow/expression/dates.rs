//! Dates in expressions: parsed from ISO 8601, written with their offset, shifted by Java's units.

use jiff::civil::Time;
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
pub(crate) fn in_zone(date: &Zoned, name: &str) -> Result<Zoned, String> {
    zone(name).map(|zone| date.with_time_zone(zone))
}

/// A time zone: a name like `Europe/Paris`, or an offset like `+01:00`.
pub(crate) fn zone(name: &str) -> Result<TimeZone, String> {
    let unknown = || format!("unknown time zone {name:?}");
    if name == "Z" {
        return Ok(TimeZone::UTC);
    }
    if !name.starts_with(['+', '-']) {
        return TimeZone::get(name).map_err(|_| unknown());
    }
    let offset = jiff::fmt::strtime::parse("%:z", name).ok().and_then(|parsed| parsed.offset());
    offset.map(TimeZone::fixed).ok_or_else(unknown)
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

#[cfg(test)]
mod tests {
    use super::*;

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
