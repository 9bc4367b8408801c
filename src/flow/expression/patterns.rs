//! Patterns of Java's `DateTimeFormatter`: dates are written and read by them.
//!
//! Refused: pattern letters that are not listed here. They are an error, not output.

use jiff::Zoned;
use jiff::civil::Time;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

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
        if matches!(first, '[' | ']') {
            // an optional part, which a date always has
            continue;
        }
        if matches!(first, '{' | '}' | '#') {
            return Err(format!("reserved character {first:?} in the date pattern {pattern:?}"));
        }
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

/// A part of a pattern: a letter, as often as it stands there.
fn field(date: &Zoned, letter: char, count: usize) -> Option<String> {
    match letter {
        'G' | 'y' | 'u' | 'M' | 'L' | 'd' | 'D' | 'Q' | 'q' | 'w' | 'E' | 'e' => {
            day_field(date, letter, count)
        }
        'V' | 'v' | 'z' | 'O' | 'X' | 'x' | 'Z' => zone_field(date, letter, count),
        _ => time_field(date, letter, count),
    }
}

fn number(value: i64, count: usize) -> Option<String> {
    Some(format!("{value:0count$}"))
}

fn day_field(date: &Zoned, letter: char, count: usize) -> Option<String> {
    let named = |pattern: &str| strtime::format(pattern, date).ok();
    let quarter = (i64::from(date.month()) + 2) / 3;
    match (letter, count) {
        ('G', 1..=3) => Some(if date.year() > 0 { "AD" } else { "BC" }.to_owned()),
        ('y' | 'u', 2) => Some(format!("{:02}", date.year().rem_euclid(100))),
        ('y' | 'u', _) => number(date.year().into(), count),
        ('M' | 'L', 1 | 2) => number(date.month().into(), count),
        ('M' | 'L', 3) => named("%b"),
        ('M' | 'L', 4) => named("%B"),
        ('M' | 'L', 5) => named("%B").map(|name| name.chars().take(1).collect()),
        ('d', 1 | 2) => number(date.day().into(), count),
        ('D', 1..=3) => number(date.day_of_year().into(), count),
        ('Q' | 'q', 1 | 2) => number(quarter, count),
        ('Q' | 'q', 3) => Some(format!("Q{quarter}")),
        ('w', 1 | 2) => number(date.date().iso_week_date().week().into(), count),
        ('E', 1..=3) => named("%a"),
        ('E', 4) => named("%A"),
        ('E', 5) => named("%A").map(|name| name.chars().take(1).collect()),
        ('e', 1) => number(date.weekday().to_monday_one_offset().into(), count),
        _ => None,
    }
}

fn time_field(date: &Zoned, letter: char, count: usize) -> Option<String> {
    let hour = i64::from(date.hour());
    let nanoseconds = i64::from(date.subsec_nanosecond());
    let second_of_day = hour * 3600 + i64::from(date.minute()) * 60 + i64::from(date.second());
    match (letter, count) {
        ('H', 1 | 2) => number(hour, count),
        ('k', 1 | 2) => number((hour + 23) % 24 + 1, count),
        ('K', 1 | 2) => number(hour % 12, count),
        ('h', 1 | 2) => number((hour + 11) % 12 + 1, count),
        ('a', 1..=3) => Some(if hour < 12 { "AM" } else { "PM" }.to_owned()),
        ('m', 1 | 2) => number(date.minute().into(), count),
        ('s', 1 | 2) => number(date.second().into(), count),
        ('S', 1..=9) => Some(format!("{nanoseconds:09}")[..count].to_owned()),
        ('A', _) => number(second_of_day * 1000 + nanoseconds / 1_000_000, count),
        ('n', _) => number(nanoseconds, count),
        ('N', _) => number(second_of_day * 1_000_000_000 + nanoseconds, count),
        _ => None,
    }
}

fn zone_field(date: &Zoned, letter: char, count: usize) -> Option<String> {
    match (letter, count) {
        ('V', 2) => Some(zone_id(date)),
        // Java writes the offset if the zone has no name
        ('z', 1..=3) if date.time_zone().iana_name().is_none() => Some(offset(date, true, ":")),
        ('z', 1..=3) => Some(date.time_zone().to_offset_info(date.timestamp()).abbreviation().to_owned()),
        ('O', 1) => Some(gmt(date, false)),
        ('O', 4) | ('Z', 4) => Some(gmt(date, true)),
        ('X', 1) => Some(short_offset(date, true)),
        ('x', 1) => Some(short_offset(date, false)),
        ('X', 2 | 4) => Some(offset(date, true, "")),
        ('X', 3 | 5) | ('Z', 5) => Some(offset(date, true, ":")),
        ('x', 2 | 4) | ('Z', 1..=3) => Some(offset(date, false, "")),
        ('x', 3 | 5) => Some(offset(date, false, ":")),
        _ => None,
    }
}

/// The id of the time zone, or the offset of a date without one.
fn zone_id(date: &Zoned) -> String {
    date.time_zone().iana_name().map_or_else(|| offset(date, true, ":"), str::to_owned)
}

/// `GMT+1`, or `GMT+01:00` in the long form.
fn gmt(date: &Zoned, is_long: bool) -> String {
    match (date.offset().seconds(), is_long) {
        (0, _) => "GMT".to_owned(),
        (_, true) => format!("GMT{}", offset(date, false, ":")),
        (seconds, false) => {
            let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
            let rest = if minutes % 60 == 0 { String::new() } else { format!(":{:02}", minutes % 60) };
            format!("GMT{sign}{}{rest}", minutes / 60)
        }
    }
}

/// The offset, with minutes only if there are any.
fn short_offset(date: &Zoned, zulu: bool) -> String {
    let offset = offset(date, zulu, "");
    offset.strip_suffix("00").filter(|rest| rest.len() > 1).map(str::to_owned).unwrap_or(offset)
}

fn offset(date: &Zoned, zulu: bool, separator: &str) -> String {
    let seconds = date.offset().seconds();
    if zulu && seconds == 0 {
        return "Z".to_owned();
    }
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
}

/// Reads a date by a pattern of Java's `DateTimeFormatter`. `zone` applies if the text has no offset and no zone.
pub(crate) fn parse(text: &str, pattern: &str, zone: &TimeZone) -> Result<Zoned, String> {
    let invalid = || format!("the date {text:?} does not have the format {pattern:?}");
    let format = strptime(pattern)?;
    // `Z` stands for the offset of UTC
    let zulu = text.strip_suffix('Z').zip(format.strip_suffix("%:z").or_else(|| format.strip_suffix("%z")));
    let parsed = match zulu {
        Some((text, format)) => strtime::parse(format, text),
        None => strtime::parse(&format, text),
    };
    let parsed = parsed.map_err(|_| invalid())?;
    let time = parsed.to_time().unwrap_or_else(|_| Time::midnight());
    let local = parsed.to_date().map_err(|_| invalid())?.to_datetime(time);
    let zone = match (parsed.iana_time_zone(), parsed.offset()) {
        _ if zulu.is_some() => TimeZone::UTC,
        (Some(name), _) => TimeZone::get(name).map_err(|_| invalid())?,
        (None, Some(offset)) => TimeZone::fixed(offset),
        (None, None) => zone.clone(),
    };
    local.to_zoned(zone).map_err(|_| invalid())
}

/// The pattern in the notation of `strptime`.
fn strptime(pattern: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        if first == '\'' {
            let mut text = String::new();
            rest = literal(&rest[1..], &mut text)
                .ok_or_else(|| format!("missing closing ' in the date pattern {pattern:?}"))?;
            out.push_str(&text.replace('%', "%%"));
            continue;
        }
        let count = rest.chars().take_while(|letter| *letter == first).count();
        rest = &rest[count * first.len_utf8()..];
        out.push_str(match (first, count) {
            ('y' | 'u', 2) => "%y",
            ('y' | 'u', _) => "%Y",
            ('M' | 'L', 1 | 2) => "%m",
            ('M' | 'L', 3) => "%b",
            ('M' | 'L', 4) => "%B",
            ('d', 1 | 2) => "%d",
            ('D', 1..=3) => "%j",
            ('E', 1..=3) => "%a",
            ('E', 4) => "%A",
            ('H', 1 | 2) => "%H",
            ('h', 1 | 2) => "%I",
            ('a', 1) => "%p",
            ('m', 1 | 2) => "%M",
            ('s', 1 | 2) => "%S",
            ('S', 1..=9) => "%f",
            ('V', 2) => "%Q",
            ('X' | 'x', 3) | ('Z', 5) => "%:z",
            ('X' | 'x', 2) | ('Z', 1..=3) => "%z",
            ('%', _) => "%%",
            _ if !first.is_ascii_alphabetic() && !matches!(first, '[' | ']' | '{' | '}' | '#') => {
                out.extend(std::iter::repeat_n(first, count));
                continue;
            }
            _ => {
                let part = String::from(first).repeat(count);
                return Err(format!(
                    "unsupported part {part:?} in the date pattern {pattern:?} of existingFormat"
                ));
            }
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::expression::dates::read;

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
            ("QQQ MMMMM EEEEE", "Q1 M S"),
            ("k K A", "9 9 32707123"),
            ("VV z O OOOO", "+01:00 +01:00 GMT+1 GMT+01:00"),
            ("X XX x Z ZZZZZ", "+01 +0100 +01 +0100 +01:00"),
            ("[yyyy]", "2020"),
        ] {
            assert_eq!(format(&date, pattern).as_deref(), Ok(text), "{pattern}");
        }
        assert!(format(&date, "yyyy-bb").unwrap_err().contains("\"bb\""));
        assert!(format(&date, "'yyyy").is_err());
    }
}
