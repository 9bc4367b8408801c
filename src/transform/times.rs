//! The times of a file's rows: nearly all are inside the file's month, a few are outside. In real files, every row
//! has a time.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::ToSpan as _;
use jiff::civil;
use jiff::tz::TimeZone;

use super::timestamp::{LocalTime, Timestamp, parse_timestamp};
use crate::error::{Error, Kind, Result};

/// Maximum number of times to list individually in a statement.
pub(crate) const TIMES_LIMIT: usize = 1000;

/// The month that nearly all rows of a file belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Period {
    /// The column that holds a row's time.
    pub(crate) time_column: String,
    /// The time zone of the file's times; `None` if it is unknown.
    pub(crate) time_zone: Option<TimeZone>,
    /// From the first instant of the month up to the first instant of the next one, exclusive.
    pub(crate) range: Range<Timestamp>,
    /// The first day of the month.
    pub(crate) first_day: civil::Date,
    /// The first day of the next month.
    pub(crate) next_first_day: civil::Date,
}

impl Period {
    /// The period of a month written like `2021-01`.
    pub(crate) fn of_month(time_column: &str, month: &str) -> Result<Self> {
        let refuse = || {
            Error::new(
                Kind::Configuration,
                format!("invalid month {month:?}: expected a month such as 2021-01"),
            )
        };
        let first_day: civil::Date = format!("{month}-01").parse().map_err(|_| refuse())?;
        let next_first_day = first_day.checked_add(1.month()).map_err(|_| refuse())?;
        let midnight = |day: civil::Date| parse_timestamp(day.to_string().as_bytes()).ok_or_else(refuse);
        let range = midnight(first_day)?..midnight(next_first_day)?;
        Ok(Self { time_column: time_column.to_owned(), time_zone: None, range, first_day, next_first_day })
    }

    /// A time of the file as the parameter of a statement.
    pub(crate) fn local(&self, time: Timestamp) -> LocalTime {
        LocalTime { time, zone: self.time_zone.clone().unwrap_or(TimeZone::UTC) }
    }

    /// The first instant of the month and of the next month, as the parameters of a statement.
    pub(crate) fn bounds(&self) -> [LocalTime; 2] {
        [self.local(self.range.start), self.local(self.range.end)]
    }

    /// The suffix that the month's partition adds to the table's name: `_2021_01`.
    pub(crate) fn suffix(&self) -> String {
        self.first_day.strftime("_%Y_%m").to_string()
    }

    /// Whether a row with this time is inside the month. A row without a time is outside.
    pub(crate) fn contains(&self, time: Option<Timestamp>) -> bool {
        time.is_some_and(|time| self.range.contains(&time))
    }
}

/// The times of a file's out-of-period rows.
#[derive(Clone, Debug, Default)]
pub(crate) struct TimesOutside {
    /// All distinct times, complete only up to [`TIMES_LIMIT`].
    listed: BTreeSet<Timestamp>,
    /// The earliest and the latest time.
    span: Option<(Timestamp, Timestamp)>,
    some_without_time: bool,
}

impl TimesOutside {
    /// Adds a row's time, or the fact that it has none.
    pub(crate) fn note(&mut self, time: Option<Timestamp>) {
        let Some(time) = time else {
            self.some_without_time = true;
            return;
        };
        let (first, last) = self.span.unwrap_or((time, time));
        self.span = Some((first.min(time), last.max(time)));
        if self.listed.len() <= TIMES_LIMIT {
            self.listed.insert(time);
        }
    }

    /// All distinct times; `None` if there are more than [`TIMES_LIMIT`].
    pub(crate) fn listed(&self) -> Option<Vec<Timestamp>> {
        (self.listed.len() <= TIMES_LIMIT).then(|| self.listed.iter().copied().collect())
    }

    /// The earliest and the latest time.
    pub(crate) const fn span(&self) -> Option<(Timestamp, Timestamp)> {
        self.span
    }

    /// Whether any row has no time.
    pub(crate) const fn some_without_time(&self) -> bool {
        self.some_without_time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        parse_timestamp(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_months_period_ends_where_the_next_begins() {
        for (month, from, until) in
            [("2020-02", "2020-02-01", "2020-03-01"), ("1999-12", "1999-12-01", "2000-01-01")]
        {
            assert_eq!(Period::of_month("t", month).unwrap().range, at(from)..at(until));
        }
        for text in ["2020", "2020-13", "20-01", ""] {
            let error = Period::of_month("t", text).unwrap_err().to_string();
            assert!(error.contains("expected a month such as 2021-01"), "{error}");
        }
    }

    #[test]
    fn a_partition_is_named_after_the_month() {
        assert_eq!(Period::of_month("t", "2020-02").unwrap().suffix(), "_2020_02");
    }

    #[test]
    fn times_are_listed_up_to_the_limit() {
        let mut times = TimesOutside::default();
        assert_eq!((times.listed(), times.span()), (Some(vec![]), None));
        [3, 1, 2, 1].into_iter().for_each(|time| times.note(Some(Timestamp(time))));
        assert_eq!(times.listed(), Some([1, 2, 3].map(Timestamp).to_vec()));
        (0..2 * TIMES_LIMIT as i64).for_each(|time| times.note(Some(Timestamp(time))));
        assert_eq!(times.listed(), None);
        assert_eq!(times.span(), Some((Timestamp(0), Timestamp(2 * TIMES_LIMIT as i64 - 1))));
        assert!(!times.some_without_time());
        times.note(None);
        assert!(times.some_without_time());
    }
}
