//! The values of options: how they are parsed, and their defaults. An empty text, as from an environment variable
//! that is set but empty, means the default.

use std::str::FromStr;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp, ToSpan as _, Zoned};

use crate::flow::expression::dates;
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::month::calendar::Month;

/// Default lock timeout.
pub(crate) const DEFAULT_LOCK_TIMEOUT: &str = "60s";

/// Default idle timeout of a source and of a database.
pub(crate) const DEFAULT_IDLE_TIMEOUT: &str = "60s";
/// Default number of retries after a failed request to the source.
pub(crate) const DEFAULT_RETRIES: &str = "5";
const MAX_RETRIES: u32 = 100;

/// Parses a lock timeout.
pub(crate) fn lock_timeout(text: &str) -> Result<Duration, String> {
    duration(if text.is_empty() { DEFAULT_LOCK_TIMEOUT } else { text })
}

/// Parses an idle timeout.
pub(crate) fn idle_timeout(text: &str) -> Result<Duration, String> {
    match duration(if text.is_empty() { DEFAULT_IDLE_TIMEOUT } else { text })? {
        Duration::ZERO => Err("the timeout must be greater than zero".to_owned()),
        timeout => Ok(timeout),
    }
}

/// Parses a number of retries.
pub(crate) fn retries(text: &str) -> Result<u32, String> {
    let count = if text.is_empty() { DEFAULT_RETRIES } else { text }.parse().ok();
    count
        .filter(|count| *count <= MAX_RETRIES)
        .ok_or_else(|| format!("expected a whole number from 0 to {MAX_RETRIES}"))
}

/// Parses a duration: a number of seconds, or a text such as `90s`, `5m`, `1h 30m` or `PT5M`.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration: SignedDuration =
        text.parse().map_err(|_| "expected a time such as 90s or 5m".to_owned())?;
    duration.try_into().map_err(|_| "the time must not be negative".to_owned())
}

/// An age on the command line, such as `90d` or `6mo`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age(Span);

impl Age {
    /// The time that is this long ago.
    pub(crate) fn before_now(self) -> crate::error::Result<Timestamp> {
        let then = Zoned::now().checked_sub(self.0).map_err(|cause| {
            let text = "--older-than is too long";
            crate::error::Error::new(crate::error::Kind::Usage, text).because(cause)
        })?;
        Ok(then.timestamp())
    }
}

impl FromStr for Age {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<Span>() {
            Ok(span) if !span.is_negative() => Ok(Self(span)),
            _ => Err("expected an age such as 90d, 12w, 6mo or 1y".to_owned()),
        }
    }
}

/// A parser of taxi types: those that the built-in flow supports, in upper or lower case.
pub(crate) fn taxi() -> impl TypedValueParser<Value = String> {
    one_of(taxi_types())
}

/// Like [`taxi`], and also `all`.
pub(crate) fn taxi_or_all() -> impl TypedValueParser<Value = String> {
    one_of(taxi_types().into_iter().chain(["all".to_owned()]).collect())
}

fn one_of(names: Vec<String>) -> impl TypedValueParser<Value = String> {
    PossibleValuesParser::new(names).map(|name| name.to_lowercase())
}

fn taxi_types() -> Vec<String> {
    // cannot fail: a test reads the built-in flow
    Flow::builtin(plan::PIPELINE).map(|flow| flow.taxi_types().to_vec()).unwrap_or_default()
}

/// The first year of which the agency has taxi trips.
const FIRST_YEAR: i16 = 2009;

/// Parses a year of taxi trips: from 2009 to the current one.
pub(crate) fn year(text: &str) -> Result<u16, String> {
    let year = text.parse().ok().filter(|year| has_trips(*year));
    let year = year.and_then(|year| u16::try_from(year).ok());
    year.ok_or_else(|| format!("expected a year from {FIRST_YEAR} to {}", this_year()))
}

/// Refuses a month in a year of which there can be no trips.
pub(crate) fn check_month(month: Month) -> Result<(), String> {
    match has_trips(month.start().year()) {
        true => Ok(()),
        false => {
            Err(format!("no taxi trips in {month}: expected a month from {FIRST_YEAR} to {}", this_year()))
        }
    }
}

fn has_trips(year: i16) -> bool {
    (FIRST_YEAR..=this_year()).contains(&year)
}

fn this_year() -> i16 {
    Zoned::now().year()
}

/// A date on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Day(pub(crate) Zoned);

impl FromStr for Day {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        dates::read(text).map(Self)
    }
}

/// A name and a value on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// The name.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}

/// The beginning of a range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum First {
    /// A month.
    Month(Month),
    /// A date.
    Date(RangeDate),
}

impl FromStr for First {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.parse(), text.parse::<RangeDate>()) {
            (Ok(month), _) => Ok(Self::Month(month)),
            (Err(_), Ok(date)) => Ok(Self::Date(date)),
            (Err(message), Err(_)) => Err(message),
        }
    }
}

/// The end of a range.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Last {
    /// A month.
    Month(Month),
    /// A date.
    Date(RangeDate),
    /// For months, the month before the current one, because a month is published some time after it ends. For
    /// dates, now.
    Latest,
}

impl FromStr for Last {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.parse(), text.parse()) {
            ("latest", ..) => Ok(Self::Latest),
            (_, Ok(month), _) => Ok(Self::Month(month)),
            (_, Err(_), Ok(date)) => Ok(Self::Date(date)),
            (_, Err(message), Err(_)) => Err(format!("{message} or \"latest\"")),
        }
    }
}

/// A date, with or without a time and a zone.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RangeDate(String);

impl RangeDate {
    /// The start of the date. `zone` applies if the date has no zone of its own.
    pub(crate) fn start(&self, zone: &TimeZone) -> Result<Zoned, String> {
        dates::read_in(&self.0, zone)
    }

    /// The end of the date: for a day, its last nanosecond; with a time, that time.
    pub(crate) fn end(&self, zone: &TimeZone) -> Result<Zoned, String> {
        let start = self.start(zone)?;
        match self.0.contains(['T', ' ']) {
            true => Ok(start),
            false => Ok(start.saturating_add(1.day()).saturating_sub(1.nanosecond())),
        }
    }
}

impl FromStr for RangeDate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        dates::read(text).map(|_| Self(text.trim().to_owned()))
    }
}

/// The value of `--month`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MonthOfYear {
    /// A month from 1 to 12.
    Number(u8),
    /// The month before the current one.
    Previous,
}

impl FromStr for MonthOfYear {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number @ 1..=12) => Ok(Self::Number(number)),
            _ if text == "previous" => Ok(Self::Previous),
            _ => Err("expected a month from 1 to 12 or \"previous\"".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_taxi_types_are_those_of_the_built_in_flow() {
        assert_eq!(taxi_types(), ["yellow", "green", "fhv", "fhvhv"]);
    }

    #[test]
    fn a_text_that_is_not_a_month_is_refused() {
        assert_eq!("latest".parse(), Ok(Last::Latest));
        for text in ["0", "13", "last", ""] {
            assert!(text.parse::<MonthOfYear>().is_err(), "{text}");
        }
    }
}
