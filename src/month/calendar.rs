//! Months of a year.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::{ToSpan as _, Zoned};

/// A month of a year.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Month(Date);

impl Month {
    /// Creates a month. Returns `None` if it does not exist.
    pub(crate) fn new(year: u16, month: u8) -> Option<Self> {
        let (year, month) = (i16::try_from(year).ok()?, i8::try_from(month).ok()?);
        Date::new(year, month, 1).ok().map(Self)
    }

    /// The month before the current one, by the local clock.
    pub(crate) fn previous() -> Self {
        Self(Zoned::now().date().first_of_month().saturating_sub(1.month()))
    }

    /// The first day of the month.
    pub(crate) const fn start(self) -> Date {
        self.0
    }

    /// The year, in four digits.
    pub(crate) fn year(self) -> String {
        format!("{:04}", self.0.year())
    }

    /// The number of the month, in two digits.
    pub(crate) fn month(self) -> String {
        format!("{:02}", self.0.month())
    }

    /// The months from this one to `last`, both included. Empty if `last` is earlier.
    pub(crate) fn to(self, last: Self) -> impl Iterator<Item = Self> {
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
        month().ok_or_else(|| "expected a month such as 2021-01".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_its_first_and_last_month() {
        let month = |text: &str| text.parse::<Month>().unwrap();
        let names = |from: &str, to: &str| {
            month(from).to(month(to)).map(|month| month.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(names("2019-11", "2020-02"), ["2019-11", "2019-12", "2020-01", "2020-02"]);
        assert_eq!(names("2020-02", "2020-02"), ["2020-02"]);
        assert_eq!(names("2020-02", "2020-01"), [""; 0]);
    }

    #[test]
    fn a_text_that_is_not_a_month_is_refused() {
        for text in ["2020", "2020-13", "2020-00", "20-01", "2020-1", "2020-01-01", "latest", ""] {
            assert!(text.parse::<Month>().is_err(), "{text}");
        }
    }
}
