//! The settings of one invocation: what was typed, else the environment, else the default; resolved once.

use crate::database::settings::Settings;
use crate::error::Result;
use crate::extract::source::Source;

/// The database of `--database-url` or `DATABASE_URL`; `None` is taxi's own, and an empty URL as good as none.
pub fn database(url: Option<&str>) -> Result<Option<Settings>> {
    url.filter(|url| !url.is_empty()).map(Settings::parse).transpose()
}

/// The base of `--source` or `TAXI_SOURCE`, without a slash at its end; `None` leaves the pipeline's default.
pub fn source_base(source: Option<&str>) -> Result<Option<String>> {
    let Some(given) = source.filter(|base| !base.is_empty()) else { return Ok(None) };
    Source::parse(given)?;
    let base = given.trim_end_matches('/');
    // "/" is a directory too
    Ok(Some(if base.is_empty() { "/." } else { base }.to_owned()))
}
