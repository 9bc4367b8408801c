//! Usage lines, and errors of the command line: how they are printed, and hints that turn a wrong form into the right
//! one.

use std::ffi::OsString;
use std::io::Write as _;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::error::{Error, Kind};
use crate::report::output::{CommandOutput, write_line};

/// The forms of `taxi load`.
pub(super) const LOAD: &str = "taxi load [OPTIONS] --taxi <TAXI> --year <YEAR> --month <MONTH>
       taxi load [OPTIONS] --taxi <TAXI> --month previous
       taxi load [OPTIONS] <FILE|URL>";
/// The forms of `taxi backfill`.
pub(super) const BACKFILL: &str = "taxi backfill [OPTIONS] --taxi <TAXI> --from <MONTH> --to <MONTH>
       taxi backfill [OPTIONS] <FLOW> --trigger <ID> --from <MONTH|DATE> --to <MONTH|DATE>";

/// Fixes the usage lines. In errors, clap would otherwise list the options that environment variables set.
pub(super) fn fix(command: clap::Command) -> clap::Command {
    let mut command = command.mut_subcommands(fix);
    let usage = command.render_usage().to_string();
    command.override_usage(usage.trim_start_matches("Usage: ").to_owned())
}

/// Prints the error, or the help that was asked for, and returns the exit code. Although the arguments could not be
/// parsed, `--output json` is recognized: then the error is also printed as JSON.
pub fn report(mut error: clap::Error, arguments: &[OsString]) -> u8 {
    let has_message =
        error.use_stderr() && error.kind() != ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    if !has_message {
        // a closed stdout is no failure: the reader has left
        let _ = error.print();
        return if error.use_stderr() { Kind::Usage.exit_code() } else { 0 };
    }
    let given = Given(arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect());
    if let Some(hint) = hint(&error, &given) {
        error.remove(ContextKind::SuggestedArg);
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    let text = error.render().to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let text = text.replace("\n\n  tip: ", "\n  hint: ").replace("\n  tip: ", "\n  hint: ");
    // the exit code reports the error even if stderr or stdout is closed
    let _ = write!(anstream::stderr(), "taxi: error: {text}");
    if given.value("--output").as_deref() == Some("json") {
        let mut parts = text.split("\n\n").next().unwrap_or_default().split("\n  hint: ");
        let failed = Error::new(Kind::Usage, parts.next().unwrap_or_default());
        let failed = match parts.next() {
            Some(hint) => failed.hint(hint),
            None => failed,
        };
        let _ = write_line(&CommandOutput::failed(failed).json);
    }
    Kind::Usage.exit_code()
}

/// The arguments as they were given.
struct Given(Vec<String>);

impl Given {
    /// The subcommand.
    fn command(&self) -> &str {
        self.0.get(1).map(String::as_str).unwrap_or_default()
    }

    /// The value of an option: `--name value` or `--name=value`.
    fn value(&self, name: &str) -> Option<String> {
        let after = |(index, argument): (usize, &String)| match argument.strip_prefix(name)?.strip_prefix('=')
        {
            Some(value) => Some(value.to_owned()),
            None => (argument == name).then(|| self.0.get(index + 1).cloned())?,
        };
        self.0.iter().enumerate().find_map(after)
    }

    /// `--taxi` with its value, or with a placeholder.
    fn taxi(&self) -> String {
        format!("--taxi {}", self.value("--taxi").unwrap_or_else(|| "TAXI".to_owned()))
    }
}

/// The right form of what was probably meant.
fn hint(error: &clap::Error, given: &Given) -> Option<String> {
    let context = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    // as in "--month <MONTH>"
    let argument = context(ContextKind::InvalidArg).split(' ').next().unwrap_or_default();
    match error.kind() {
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            of_value(given.command(), argument, context(ContextKind::InvalidValue))
        }
        ErrorKind::UnknownArgument => of_unknown_option(argument, given),
        ErrorKind::MissingRequiredArgument if given.command() == "load" => {
            let year = given.value("--year").filter(|_| given.value("--month").is_none())?;
            let range = range(&year, None)?;
            Some(format!("use --month, or 'taxi backfill {} {range}' for the whole year", given.taxi()))
        }
        _ => None,
    }
}

fn of_value(command: &str, argument: &str, value: &str) -> Option<String> {
    match (command, argument) {
        ("load", "--taxi") if value.eq_ignore_ascii_case("all") => {
            Some("use 'taxi backfill --taxi all' to load all taxi types".to_owned())
        }
        ("load" | "verify", "--month" | "--year") => {
            let (year, month) = year_and_month(value)?;
            Some(format!("use --year {year} --month {month}"))
        }
        (_, "--from" | "--to") => {
            let (year, month) = match year_and_month(value) {
                Some(found) => found,
                None => (year(value)?, if argument == "--from" { 1 } else { 12 }),
            };
            Some(format!("use {argument} {year}-{month:02}"))
        }
        ("runs", "<RUN_ID>") => Some("use 'taxi runs' to list the ids".to_owned()),
        _ => None,
    }
}

fn of_unknown_option(argument: &str, given: &Given) -> Option<String> {
    match (given.command(), argument) {
        ("backfill", "--year" | "--month") => {
            let month = given.value("--month");
            let range = given.value("--year").and_then(|year| range(&year, month.as_deref()));
            let range = range.unwrap_or_else(|| "--from and --to with months like 2020-01".to_owned());
            Some(format!("use {range}"))
        }
        ("load", "--from" | "--to") => Some("use 'taxi backfill' to load a range of months".to_owned()),
        ("verify", "--from" | "--to") => {
            Some("use --year to verify a year, and --month to verify one of its months".to_owned())
        }
        _ => None,
    }
}

/// The options that select a year, or a month of it, in a backfill.
fn range(year: &str, month: Option<&str>) -> Option<String> {
    let year = self::year(year)?;
    let (first, last) = match month.map(str::parse) {
        Some(Ok(month @ 1..=12)) => (month, month),
        Some(_) => return None,
        None => (1, 12),
    };
    Some(format!("--from {year}-{first:02} --to {year}-{last:02}"))
}

/// Reads a text that looks like a year and a month: `2021-01`, `2021-1` or `2021/01`.
fn year_and_month(text: &str) -> Option<(u16, u8)> {
    let (year, month) = text.split_once(['-', '/'])?;
    Some((self::year(year)?, month.parse().ok().filter(|month| (1..=12).contains(month))?))
}

fn year(text: &str) -> Option<u16> {
    text.parse().ok().filter(|year| (1000..=9999).contains(year))
}
