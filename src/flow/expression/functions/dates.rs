//! Functions and filters on dates.

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use super::{Call, Result, integer, refuse};
use crate::flow::expression::{dates, patterns};

/// Formats of `date` that have a name.
const NAMED: [(&str, &str); 8] = [
    ("iso", "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX"),
    ("iso_sec", "yyyy-MM-dd'T'HH:mm:ssXXX"),
    ("sql", "yyyy-MM-dd HH:mm:ss.SSSSSS"),
    ("sql_seq", "yyyy-MM-dd HH:mm:ss"),
    ("iso_local_date", "yyyy-MM-dd"),
    ("iso_ordinal_date", "yyyy-DDD"),
    ("rfc_1123_date_time", "EEE, d MMM yyyy HH:mm:ss ZZ"),
    ("iso_date", "yyyy-MM-ddXXX"),
];

pub(crate) fn now(call: &Call<'_, '_, '_>) -> Result {
    let now = Zoned::now();
    let now = match call.optional_text(1)? {
        Some(zone) => dates::in_zone(&now, &zone).map_err(refuse)?,
        None => now,
    };
    written(call, &now, call.optional_text(0)?)
}

pub(crate) fn date(call: &Call<'_, '_, '_>) -> Result {
    refuse_locale(call, 4)?;
    let date = read(call, 2, 3)?;
    written(call, &date, call.optional_text(1)?)
}

pub(crate) fn date_add(call: &Call<'_, '_, '_>) -> Result {
    refuse_locale(call, 6)?;
    let (amount, unit) = (call.integer(1)?, call.text(2)?);
    let date = dates::add(&read(call, 4, 5)?, amount, &unit).map_err(refuse)?;
    written(call, &date, call.optional_text(3)?)
}

/// The date as text: by a pattern, by a named format, or as expressions store it.
fn written(call: &Call<'_, '_, '_>, date: &Zoned, format: Option<String>) -> Result {
    let Some(format) = format else { return Ok(call.library.date_text(date).into()) };
    let pattern =
        NAMED.iter().find(|(name, _)| *name == format).map_or(format.as_str(), |(_, pattern)| pattern);
    patterns::format(date, pattern).map(Into::into).map_err(refuse)
}

/// Month names are English here, and so they are in Kestra unless the server says otherwise.
fn refuse_locale(call: &Call<'_, '_, '_>, index: usize) -> Result<()> {
    match call.optional_text(index)? {
        Some(locale) if !locale.starts_with("en") => {
            Err(refuse(format!("the locale {locale:?} is not supported: dates are in English")))
        }
        _ => Ok(()),
    }
}

/// The value as a date in the zone of the argument `zone_at`, else in its own. A number counts seconds since 1970.
fn read(call: &Call<'_, '_, '_>, zone_at: usize, format_at: usize) -> Result<Zoned> {
    let (value, zone) = (call.value(0), call.optional_text(zone_at)?);
    let zone = zone.map(|name| dates::zone(&name)).transpose().map_err(refuse)?;
    let local = zone.clone().unwrap_or_else(TimeZone::system);
    let date =
        match (integer(&value), call.optional_text(format_at)?) {
            (Some(seconds), None) => Timestamp::from_second(seconds)
                .map(|timestamp| timestamp.to_zoned(local))
                .map_err(|_| refuse(format!("{seconds} seconds since 1970 are out of range")))?,
            (_, None) => {
                let text = call.text(0)?;
                let date = dates::read_in(&text, &local).map_err(refuse)?;
                call.library.zone_of(&text).map_or(date.clone(), |zone| date.with_time_zone(zone))
            }
            (_, Some(format)) => {
                let pattern = NAMED
                    .iter()
                    .find(|(name, _)| *name == format)
                    .map_or(format.as_str(), |(_, pattern)| pattern);
                patterns::parse(&call.text(0)?, pattern, &local).map_err(refuse)?
            }
        };
    Ok(zone.map_or(date.clone(), |zone| date.with_time_zone(zone)))
}

pub(crate) fn timestamp(call: &Call<'_, '_, '_>) -> Result {
    Ok(read(call, 1, 2)?.timestamp().as_second().into())
}

pub(crate) fn timestamp_milli(call: &Call<'_, '_, '_>) -> Result {
    Ok(read(call, 1, 2)?.timestamp().as_millisecond().into())
}

pub(crate) fn timestamp_micro(call: &Call<'_, '_, '_>) -> Result {
    Ok(read(call, 1, 2)?.timestamp().as_microsecond().into())
}

pub(crate) fn timestamp_nano(call: &Call<'_, '_, '_>) -> Result {
    Ok(read(call, 1, 2)?.timestamp().as_nanosecond().into())
}

/// The date of a calendar function.
fn day(call: &Call<'_, '_, '_>) -> Result<Zoned> {
    dates::read(&call.text(0)?).map_err(refuse)
}

pub(crate) fn day_of_month(call: &Call<'_, '_, '_>) -> Result {
    Ok(day(call)?.day().into())
}

pub(crate) fn month_of_year(call: &Call<'_, '_, '_>) -> Result {
    Ok(day(call)?.month().into())
}

pub(crate) fn hour_of_day(call: &Call<'_, '_, '_>) -> Result {
    Ok(day(call)?.hour().into())
}

pub(crate) fn day_of_week(call: &Call<'_, '_, '_>) -> Result {
    Ok(name(day(call)?.weekday()).into())
}

pub(crate) fn is_weekend(call: &Call<'_, '_, '_>) -> Result {
    Ok(matches!(day(call)?.weekday(), Weekday::Saturday | Weekday::Sunday).into())
}

pub(crate) fn is_day_week_in_month(call: &Call<'_, '_, '_>) -> Result {
    let (day, weekday, position) = (day(call)?, call.text(1)?, call.text(2)?);
    const DAYS: [&str; 7] = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY"];
    if !DAYS.contains(&weekday.as_str()) {
        return Err(refuse(format!("unknown day {weekday:?}: expected one of {}", DAYS.join(", "))));
    }
    let week = (day.day() - 1) / 7;
    let is_position = match position.as_str() {
        "FIRST" => week == 0,
        "SECOND" => week == 1,
        "THIRD" => week == 2,
        "FOURTH" => week == 3,
        "LAST" => day.day() + 7 > day.days_in_month(),
        _ => {
            let expected = "expected FIRST, SECOND, THIRD, FOURTH or LAST";
            return Err(refuse(format!("unknown position {position:?}: {expected}")));
        }
    };
    Ok((name(day.weekday()) == weekday && is_position).into())
}

fn name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Monday => "MONDAY",
        Weekday::Tuesday => "TUESDAY",
        Weekday::Wednesday => "WEDNESDAY",
        Weekday::Thursday => "THURSDAY",
        Weekday::Friday => "FRIDAY",
        Weekday::Saturday => "SATURDAY",
        Weekday::Sunday => "SUNDAY",
    }
}

#[cfg(test)]
mod tests {
    use crate::flow::expression::tests::value_of;

    #[test]
    fn dates_are_read_written_and_shifted() {
        for (expression, expected) in [
            ("now(timeZone='Europe/Paris') | date('VV')", "Europe/Paris"),
            ("'2020-01-15T12:00:00Z' | date('VV z', timeZone='Europe/Paris')", "Europe/Paris CET"),
            ("'2020-07-15T12:00:00Z' | date('z HH', timeZone='Europe/Paris')", "CEST 14"),
            ("'2020-07-15T12:00:00Z' | dateAdd(1, 'DAYS', timeZone='America/New_York') | date('z')", "EDT"),
            ("'15/03/2020' | date('yyyy-MM-dd', existingFormat='dd/MM/yyyy')", "2020-03-15"),
            ("'Mar 5, 2020 7:05 PM' | date(existingFormat='MMM d, yyyy h:mm a', format='HH:mm')", "19:05"),
            (
                "'20200315T0910' | date('iso_sec', timeZone='UTC', existingFormat=\"yyyyMMdd'T'HHmm\")",
                "2020-03-15T09:10:00Z",
            ),
            ("'2020-03-15T09:10:00.5Z' | date('sql')", "2020-03-15 09:10:00.500000"),
            ("1583020800 | date('yyyy-MM-dd', timeZone='UTC')", "2020-03-01"),
            ("'2020-03-01' | timestamp(timeZone='America/New_York')", "1583038800"),
            ("isDayWeekInMonth('2020-03-30', 'MONDAY', 'LAST')", "true"),
            ("isWeekend('2020-03-16')", "false"),
        ] {
            assert_eq!(value_of(expression).as_deref(), Ok(expected), "{expression}");
        }
        for expression in [
            "'15.03.2020' | date('yyyy', existingFormat='dd/MM/yyyy')",
            "'2020-03-01' | date('MMMM', locale='fr')",
            "'2020-03-01' | date('yyyy', timeZone='Mars/Crater')",
        ] {
            assert!(value_of(expression).is_err(), "{expression}");
        }
    }
}
