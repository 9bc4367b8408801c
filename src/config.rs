//! The settings of one invocation: what was typed, else the environment, else the default; resolved once.

use crate::database::settings::Settings;
use crate::error::Result;

/// The database of `--database-url` or `DATABASE_URL`; `None` is taxi's own, and an empty URL as good as none.
pub fn database(url: Option<&str>) -> Result<Option<Settings>> {
    url.filter(|url| !url.is_empty()).map(Settings::parse).transpose()
}

/// The base of `--source` or `TAXI_SOURCE`, without a slash at its end; `None` leaves the pipeline's default.
pub fn source_base(source: Option<&str>) -> Option<String> {
    match source.map(|base| (base, base.trim_end_matches('/'))) {
        None | Some(("", _)) => None,
        // "/" is a directory too
        Some((_, "")) => Some("/.".to_owned()),
        Some((_, base)) => Some(base.to_owned()),
    }
}
