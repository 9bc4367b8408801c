//! When a file's rows happened: nearly all within its own period, a few elsewhere, in real files none without a time.
//!
//! A load reads only those stretches of the target, so it has to know them: they are noted as the rows pass.

use std::collections::BTreeSet;
use std::ops::Range;

use jiff::ToSpan as _;
use jiff::civil;

use super::timestamp::{Timestamp, parse_timestamp};
use crate::error::{Error, Kind, Result};

/// No more times than these are listed one by one in a statement.
pub const TIMES_LIMIT: usize = 1000;

/// The time in which nearly all rows of a file lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Period {
    /// The column that holds a row's time, a `timestamp`.
    pub time_column: String,
    /// From the first instant of it to before the first after it.
    pub range: Range<Timestamp>,
}

impl Period {
    /// The month written `2021-01`.
    pub fn of_month(time_column: &str, month: &str) -> Result<Self> {
        let refuse = || Error::new(Kind::Configuration, format!("{month:?} is not a month like 2021-01"));
        let first: civil::Date = format!("{month}-01").parse().map_err(|_| refuse())?;
        let next = first.checked_add(1.month()).map_err(|_| refuse())?;
        let midnight = |day: civil::Date| parse_timestamp(day.to_string().as_bytes()).ok_or_else(refuse);
        Ok(Self { time_column: time_column.to_owned(), range: midnight(first)?..midnight(next)? })
    }
}

/// Where rows of one sort lie in time.
#[derive(Clone, Debug)]
pub enum Times {
    /// In the file's period, from the first time to the last.
    Inside(Option<Span>),
    /// Anywhere.
    Anywhere {
        /// The first times to be met; all, while they are few.
        listed: BTreeSet<Timestamp>,
        /// From the first to the last.
        span: Option<Span>,
        /// Whether a row has no time.
        some_without: bool,
    },
}

/// The earliest and the latest of some times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The earliest.
    pub first: Timestamp,
    /// The latest, which is within.
    pub last: Timestamp,
}

/// Bounds of the times of some rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bounds {
    /// Each has one of these times, which are no more than [`TIMES_LIMIT`].
    Times(Vec<Timestamp>),
    /// Each has a time in this span.
    Span(Span),
    /// Some have no time.
    None,
}

impl Times {
    /// Of no rows yet, which will be of the file's period.
    pub const fn inside() -> Self {
        Self::Inside(None)
    }

    /// Of no rows yet, which may be of any time.
    pub const fn anywhere() -> Self {
        Self::Anywhere { listed: BTreeSet::new(), span: None, some_without: false }
    }

    /// Notes a row's time, if it has one.
    pub fn note(&mut self, time: Option<Timestamp>) {
        let (Self::Inside(span) | Self::Anywhere { span, .. }) = self;
        if let Some(time) = time {
            *span = Some(match *span {
                Some(Span { first, last }) => Span { first: first.min(time), last: last.max(time) },
                None => Span { first: time, last: time },
            });
        }
        if let Self::Anywhere { listed, some_without, .. } = self {
            match time {
                Some(time) if listed.len() <= TIMES_LIMIT => _ = listed.insert(time),
                Some(_) => {}
                None => *some_without = true,
            }
        }
    }

    /// Notes all that `other` has noted.
    pub fn join(&mut self, other: Self) {
        let (Self::Inside(span) | Self::Anywhere { span, .. }) = &other;
        for time in span.iter().flat_map(|span| [span.first, span.last]) {
            self.note(Some(time));
        }
        if let Self::Anywhere { listed, some_without, .. } = other {
            listed.into_iter().for_each(|time| self.note(Some(time)));
            if some_without {
                self.note(None);
            }
        }
    }

    /// The narrowest bounds that are known.
    pub fn bounds(&self) -> Bounds {
        match self {
            Self::Anywhere { some_without: true, .. } => Bounds::None,
            Self::Anywhere { listed, .. } if listed.len() <= TIMES_LIMIT => {
                Bounds::Times(listed.iter().copied().collect())
            }
            Self::Inside(Some(span)) | Self::Anywhere { span: Some(span), .. } => Bounds::Span(*span),
            Self::Inside(None) | Self::Anywhere { span: None, .. } => Bounds::Times(Vec::new()),
        }
    }

    /// Whether both are of one sort.
    pub fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
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
        for no_month in ["2020", "2020-13", "20-01", ""] {
            let error = Period::of_month("t", no_month).unwrap_err().to_string();
            assert!(error.contains("is not a month like 2021-01"), "{error}");
        }
    }

    #[test]
    fn bounds_are_times_while_those_are_few() {
        let mut times = Times::anywhere();
        assert_eq!(times.bounds(), Bounds::Times(vec![]));
        [3, 1, 2, 1].into_iter().for_each(|time| times.note(Some(Timestamp(time))));
        assert_eq!(times.bounds(), Bounds::Times([1, 2, 3].map(Timestamp).to_vec()));
        let mut more = Times::anywhere();
        (0..2 * TIMES_LIMIT as i64).for_each(|time| more.note(Some(Timestamp(time))));
        times.join(more);
        let (first, last) = (Timestamp(0), Timestamp(2 * TIMES_LIMIT as i64 - 1));
        assert_eq!(times.bounds(), Bounds::Span(Span { first, last }));
        times.note(None);
        assert_eq!(times.bounds(), Bounds::None);
    }

    #[test]
    fn bounds_of_rows_of_the_period_are_their_span() {
        let mut times = Times::inside();
        [5, 3].into_iter().for_each(|time| times.note(Some(Timestamp(time))));
        let mut more = Times::inside();
        more.note(Some(Timestamp(9)));
        times.join(more);
        assert_eq!(times.bounds(), Bounds::Span(Span { first: Timestamp(3), last: Timestamp(9) }));
    }
}
