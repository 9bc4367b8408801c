//! `timestamp` and `date`: parses ISO 8601 text to the server's binary value, and formats the value as ISO text as
//! the server does.
//!
//! Only `YYYY-MM-DD` and `YYYY-MM-DD HH:MM:SS[.ffffff]` are accepted (`T` may replace the space). The server also
//! accepts other forms (`1/2/2021`, month names, time zones), but their meaning depends on its settings. They are
//! refused, not guessed.

use std::error::Error;
use std::io::Write as _;

use bytes::{BufMut as _, BytesMut};
use jiff::tz::TimeZone;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
/// Days from 1970-01-01 to 2000-01-01, the server's epoch.
const SERVER_EPOCH_DAYS: i64 = 10_957;
/// Length of `YYYY-MM-DD`.
const DATE_LENGTH: usize = 10;
/// 10000-01-01, the first instant whose year has more than four digits.
const YEAR_10000: Timestamp = Timestamp(2_921_940 * SECONDS_PER_DAY * MICROSECONDS_PER_SECOND);

/// A `timestamp` without time zone, as the server stores it: microseconds since 2000-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(pub(crate) i64);

impl Timestamp {
    /// The server's `timestamp with time zone` for this local time in `zone`: microseconds since 2000-01-01 UTC. As for
    /// the server, a time that the clocks show twice in autumn is the later one, and a time that they skip in spring is
    /// read by the clock before the change.
    pub(crate) fn in_zone(self, zone: &TimeZone) -> Self {
        let microseconds =
            zone.to_ambiguous_timestamp(self.to_civil()).later().map(|time| time.as_microsecond());
        // out of range only in the last hours of the year 9999
        Self(
            microseconds
                .unwrap_or(i64::MAX)
                .saturating_sub(SERVER_EPOCH_DAYS * SECONDS_PER_DAY * MICROSECONDS_PER_SECOND),
        )
    }

    /// The local time in `zone` at this point in time, which counts from 2000-01-01 UTC.
    pub(crate) fn local_in(self, zone: &TimeZone) -> Self {
        let epoch = SERVER_EPOCH_DAYS * SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;
        let offset = jiff::Timestamp::from_microsecond(self.0.saturating_add(epoch))
            .map_or(0, |time| zone.to_offset(time).seconds());
        Self(self.0.saturating_add(i64::from(offset) * MICROSECONDS_PER_SECOND))
    }

    fn to_civil(self) -> jiff::civil::DateTime {
        let epoch = jiff::civil::date(2000, 1, 1).at(0, 0, 0, 0);
        epoch.saturating_add(jiff::SignedDuration::from_micros(self.0))
    }
}

/// A local time as the parameter of a statement. The server takes the type from the column that it is compared with: the
/// time is converted if that is a `timestamp with time zone`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LocalTime {
    /// The local time.
    pub(crate) time: Timestamp,
    /// Its time zone.
    pub(crate) zone: TimeZone,
}

impl ToSql for LocalTime {
    fn to_sql(&self, column_type: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let is_zoned = *column_type == Type::TIMESTAMPTZ;
        out.put_i64(if is_zoned { self.time.in_zone(&self.zone).0 } else { self.time.0 });
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMP, TIMESTAMPTZ);
    to_sql_checked!();
}

impl ToSql for Timestamp {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_i64(self.0);
        Ok(IsNull::No)
    }

    accepts!(TIMESTAMP);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Timestamp {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(i64::from_be_bytes(raw.try_into()?)))
    }

    accepts!(TIMESTAMP);
}

/// Parses a `timestamp`; `None` if the cell is not one in an accepted form.
pub fn parse_timestamp(cell: &[u8]) -> Option<Timestamp> {
    let (date, rest) = cell.trim_ascii().split_at_checked(DATE_LENGTH)?;
    let days = days_since_server_epoch(date)?;
    let mut microseconds = 0;
    if let [b' ' | b'T', time @ ..] = rest {
        microseconds = microseconds_of_day(time)?;
    } else if !rest.is_empty() {
        return None;
    }
    let value = Timestamp(days * SECONDS_PER_DAY * MICROSECONDS_PER_SECOND + microseconds);
    // rounding may carry into the year 10000
    (value < YEAR_10000).then_some(value)
}

/// Appends the server's text for `value`, which [`parse_timestamp`] read from `cell`. Nearly every
/// cell is already canonical, and is then appended unchanged.
pub fn append_timestamp(cell: &[u8], value: Timestamp, text: &mut Vec<u8>) {
    let cell = cell.trim_ascii();
    match &cell[DATE_LENGTH..] {
        [b' ', clock @ ..] if clock.len() == 8 => text.extend_from_slice(cell),
        [] => {
            text.extend_from_slice(cell);
            text.extend_from_slice(b" 00:00:00");
        }
        _ => {
            let _ = write!(text, "{}", value.to_civil().strftime("%Y-%m-%d %H:%M:%S%.f"));
        }
    }
}

/// Appends the server's text for `value`, which must lie in the years 1 to 9999.
pub(crate) fn append_value(value: Timestamp, text: &mut Vec<u8>) {
    let microseconds_per_day = SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;
    append_day(value.0.div_euclid(microseconds_per_day), text);
    let clock = value.0.rem_euclid(microseconds_per_day);
    let (seconds, mut fraction) = (clock / MICROSECONDS_PER_SECOND, clock % MICROSECONDS_PER_SECOND);
    for (mark, number) in [(b' ', seconds / 3600), (b':', seconds / 60 % 60), (b':', seconds % 60)] {
        text.push(mark);
        append_two_digits(number, text);
    }
    if fraction > 0 {
        let mut unit = MICROSECONDS_PER_SECOND / 10;
        text.push(b'.');
        while fraction > 0 {
            text.push(b'0' + (fraction / unit) as u8);
            fraction %= unit;
            unit /= 10;
        }
    }
}

/// Appends a day as `YYYY-MM-DD`, given as days since 2000-01-01.
pub(crate) fn append_day(days: i64, text: &mut Vec<u8>) {
    // the inverse of days_since_server_epoch
    let shifted = days + 719_468 + SERVER_EPOCH_DAYS;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    append_two_digits(year / 100, text);
    append_two_digits(year % 100, text);
    for number in [month, day] {
        text.push(b'-');
        append_two_digits(number, text);
    }
}

fn append_two_digits(number: i64, text: &mut Vec<u8>) {
    text.extend_from_slice(&[b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8]);
}

/// The day that begins at this time; `None` at any other time than midnight.
pub(crate) fn whole_days(value: Timestamp) -> Option<i32> {
    let microseconds_per_day = SECONDS_PER_DAY * MICROSECONDS_PER_SECOND;
    (value.0 % microseconds_per_day == 0).then(|| i32::try_from(value.0 / microseconds_per_day).ok())?
}

/// Parses a `date` to days since 2000-01-01. The server's text for it is the trimmed cell.
pub fn parse_date(cell: &[u8]) -> Option<i32> {
    i32::try_from(days_since_server_epoch(cell.trim_ascii())?).ok()
}

/// Parses the `YYYY-MM-DD` of a day that exists. There is no year 0.
fn days_since_server_epoch(date: &[u8]) -> Option<i64> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return None };
    let year = two_digits(*y1, *y2)? * 100 + two_digits(*y3, *y4)?;
    let month = two_digits(*m1, *m2)?;
    let day = two_digits(*d1, *d2)?;
    if year == 0 || !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    // Counts in 400-year eras whose years begin in March, so that the leap day is the last day of its year.
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let era = shifted_year / 400;
    let year_of_era = shifted_year % 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468 - SERVER_EPOCH_DAYS)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Parses `HH:MM:SS` with an optional fraction. The server reads the fraction as a double and rounds half to even.
fn microseconds_of_day(time: &[u8]) -> Option<i64> {
    let (clock, fraction) = time.split_at_checked(8)?;
    let [h1, h2, b':', m1, m2, b':', s1, s2] = clock else { return None };
    let (hour, minute, second) = (two_digits(*h1, *h2)?, two_digits(*m1, *m2)?, two_digits(*s1, *s2)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(seconds * MICROSECONDS_PER_SECOND + microseconds_of_fraction(fraction)?)
}

fn microseconds_of_fraction(fraction: &[u8]) -> Option<i64> {
    match fraction {
        [] => Some(0),
        [b'.', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) => {
            let seconds: f64 = std::str::from_utf8(fraction).ok()?.parse().ok()?;
            Some((seconds * MICROSECONDS_PER_SECOND as f64).round_ties_even() as i64)
        }
        _ => None,
    }
}

fn two_digits(tens: u8, ones: u8) -> Option<i64> {
    (tens.is_ascii_digit() && ones.is_ascii_digit())
        .then(|| i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timestamp(cell: &str) -> Option<(i64, String)> {
        let (mut text, mut of_value) = (Vec::new(), Vec::new());
        let value = parse_timestamp(cell.as_bytes())?;
        append_timestamp(cell.as_bytes(), value, &mut text);
        append_value(value, &mut of_value);
        assert_eq!(text, of_value, "{cell}");
        Some((value.0, String::from_utf8(text).unwrap()))
    }

    #[test]
    fn reads_iso_timestamps() {
        for (cell, value, text) in [
            ("2000-01-01 00:00:00", 0, "2000-01-01 00:00:00"),
            ("2021-01-01 00:30:10", 662_776_210_000_000, "2021-01-01 00:30:10"),
            ("1999-12-31T23:59:59", -1_000_000, "1999-12-31 23:59:59"),
            ("2000-02-29", 5_097_600_000_000, "2000-02-29 00:00:00"),
            ("2000-01-01 00:00:00.250000", 250_000, "2000-01-01 00:00:00.25"),
            ("2000-01-01 00:00:00.0000005", 0, "2000-01-01 00:00:00"),
            ("1999-12-31 23:59:59.9999999", 0, "2000-01-01 00:00:00"),
            ("9999-12-31 23:59:59.999999", YEAR_10000.0 - 1, "9999-12-31 23:59:59.999999"),
        ] {
            assert_eq!(timestamp(cell), Some((value, text.to_owned())), "{cell}");
        }
    }

    #[test]
    fn refuses_invalid_dates_and_other_forms() {
        for cell in [
            "",
            "2021-02-29",
            "2021-13-01",
            "0000-01-01",
            "2021-01-01 24:00:00",
            "2021-01-01 00:00:60",
            "1/1/2021 0:30",
            "2021-01-01 00:30",
            "2021-01-01 00:30:10.",
            "2021-01-01 00:30:10Z",
            "2021-01-01  00:30:10",
            "9999-12-31 23:59:59.9999999",
            "20210101",
            "2021-0",
        ] {
            assert_eq!(timestamp(cell), None, "{cell}");
        }
    }
}
