//! Months, and ranges of them.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{ToSpan as _, Zoned};

use super::expression::dates;

/// A month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Month(Date);

impl Month {
    /// Creates a month. `None` if it does not exist.
    pub fn new(year: u16, month: u8) -> Option<Self> {
        let (year, month) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?);
        Date::new(year, month, 1).ok().map(Self)
    }

    /// The month before the current one, by the local clock.
    pub fn previous() -> Self {
        Self(Zoned::now().date().first_of_month().saturating_sub(1.month()))
    }

    /// The first day of the month.
    pub const fn start(self) -> Date {
        self.0
    }

    /// The year, in four digits.
    pub fn year(self) -> String {
        format!("{:04}", self.0.year())
    }

    /// The number of the month, in two digits.
    pub fn month(self) -> String {
        format!("{:02}", self.0.month())
    }

    /// The months from this one to `last`, both included. Empty if `last` is earlier.
    pub fn to(self, last: Self) -> impl Iterator<Item = Self> {
        self.0.series(1.month()).map(Self).take_while(move |month| *month <= last)
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.year(), self.month())
    }
}

impl FromStr for Month {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let month = || {
            let (year, month) = text.split_once('-')?;
            let digits = year.len() == 4 && month.len() == 2;
            Self::new(year.parse().ok().filter(|_| digits)?, month.parse().ok()?)
        };
        month().ok_or_else(|| "this is not a month like 2021-01".to_owned())
    }
}

/// The beginning of a range.
#[derive(Clone, Debug, PartialEq)]
pub enum First {
    /// A month.
    Month(Month),
    /// A date.
    Date(Given),
}

impl FromStr for First {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text.parse(), text.parse::<Given>()) {
            (Ok(month), _) => Ok(Self::Month(month)),
            (Err(_), Ok(date)) => Ok(Self::Date(date)),
            (Err(why), Err(_)) => Err(why),
        }
    }
}

/// The end of a range.
#[derive(Clone, Debug, PartialEq)]
pub enum Last {
    /// A month.
    Month(Month),
    /// A date.
    Date(Given),
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
            (_, Err(why), Err(_)) => Err(format!("{why}, nor \"latest\"")),
        }
    }
}

/// A date, with or without a time and a zone.
#[derive(Clone, Debug, PartialEq)]
pub struct Given(String);

impl Given {
    /// The start of the date. `zone` applies if the date has no zone of its own.
    pub fn start(&self, zone: &TimeZone) -> Result<Zoned, String> {
        dates::read_in(&self.0, zone)
    }

    /// The end of the date: for a day, its last nanosecond; with a time, that time.
    pub fn end(&self, zone: &TimeZone) -> Result<Zoned, String> {
        let start = self.start(zone)?;
        match self.0.contains(['T', ' ']) {
            true => Ok(start),
            false => Ok(start.saturating_add(1.day()).saturating_sub(1.nanosecond())),
        }
    }
}

impl FromStr for Given {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        dates::read(text).map(|_| Self(text.trim().to_owned()))
    }
}

/// The value of `--month`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MonthOfYear {
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
            _ => Err("this is not a month from 1 to 12, nor \"previous\"".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_both_its_ends() {
        let month = |text: &str| text.parse::<Month>().unwrap();
        let names = |from: &str, to: &str| {
            month(from).to(month(to)).map(|month| month.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("2019-11", "2020-02"), ["2019-11", "2019-12", "2020-01", "2020-02"]);
        assert_eq!(names("2020-02", "2020-02"), ["2020-02"]);
        assert_eq!(names("2020-02", "2020-01"), [""; 0]);
    }

    #[test]
    fn what_is_no_month_is_refused() {
        for text in ["2020", "2020-13", "2020-00", "20-01", "2020-1", "2020-01-01", "latest", ""] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
        assert_eq!("latest".parse(), Ok(Last::Latest));
        for text in ["0", "13", "last", ""] {
            assert!(text.parse::<MonthOfYear>().is_err(), "{text}");
        }
    }
}
