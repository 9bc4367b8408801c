//! Resolves the settings of one invocation once: from the command line, else the environment, else the default.

use std::time::Duration;

use jiff::SignedDuration;

use crate::cli::{DatabaseArgs, PatienceArgs, RunArgs};
use crate::database::environment;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::extract::transfer::Patience;
use crate::load::{IfLoaded, Options};

/// Returns the database of `--database-url` or `DATABASE_URL`, else the one that libpq's environment variables
/// name. `None` means taxi's embedded server. An empty URL counts as not given.
pub fn database(args: &DatabaseArgs) -> Result<Option<Settings>> {
    let url = args.database_url.as_deref().filter(|url| !url.is_empty());
    let is_given = url.is_some() || environment::names_a_database();
    let settings = is_given.then(|| Settings::complete(url)).transpose()?;
    Ok(settings.map(|settings| settings.with_silence(args.database_timeout)))
}

/// Returns the base of `--source` or `TAXI_SOURCE`, without a trailing slash. `None` keeps the pipeline's default.
pub fn source_base(source: Option<&str>) -> Result<Option<String>> {
    let Some(given) = source.filter(|base| !base.is_empty()) else { return Ok(None) };
    Source::parse(given)?;
    let base = given.trim_end_matches('/');
    // the root directory "/" must not become empty
    Ok(Some(if base.is_empty() { "/." } else { base }.to_owned()))
}

/// Returns the load options. Refuses options that contradict each other.
pub fn options(args: &RunArgs) -> Result<Options> {
    if args.force && args.if_loaded == IfLoaded::Skip {
        return Err(Error::new(Kind::Usage, "--force and --if-loaded skip contradict each other"));
    }
    let patience = patience(&args.patience);
    Ok(Options { force: args.force, if_loaded: args.if_loaded, lock_timeout: args.lock_timeout, patience })
}

/// Returns the timeout and retry settings for the source.
pub fn patience(args: &PatienceArgs) -> Patience {
    Patience { silence: args.source_timeout, retries: args.retries }
}

/// Default lock timeout.
pub const DEFAULT_LOCK_TIMEOUT: &str = "60s";

/// Default idle timeout of a source and of a database.
pub const DEFAULT_SILENCE: &str = "60s";
/// Default number of retries after a failed request to the source.
pub const DEFAULT_RETRIES: &str = "5";
const MOST_RETRIES: u32 = 100;

/// Parses a lock timeout. An empty text means the default.
pub fn lock_timeout(text: &str) -> Result<Duration, String> {
    duration(if text.is_empty() { DEFAULT_LOCK_TIMEOUT } else { text })
}

/// Parses an idle timeout. An empty text means the default.
pub fn silence(text: &str) -> Result<Duration, String> {
    match duration(if text.is_empty() { DEFAULT_SILENCE } else { text })? {
        Duration::ZERO => Err("the timeout must be greater than zero".to_owned()),
        timeout => Ok(timeout),
    }
}

/// Parses a number of retries. An empty text means the default.
pub fn retries(text: &str) -> Result<u32, String> {
    let count = if text.is_empty() { DEFAULT_RETRIES } else { text }.parse().ok();
    count
        .filter(|count| *count <= MOST_RETRIES)
        .ok_or_else(|| format!("this is no number up to {MOST_RETRIES}"))
}

/// Parses a duration: a number of seconds, or a text such as `90s`, `5m`, `1h 30m` or `PT5M`.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(Duration::from_secs(seconds));
    }
    let duration: SignedDuration = text.parse().map_err(|_| "this is no time like 90s or 5m".to_owned())?;
    duration.try_into().map_err(|_| "a time is not negative".to_owned())
}
