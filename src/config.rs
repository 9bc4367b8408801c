//! The settings of one invocation: what was typed, else the environment, else the default; resolved once.

use crate::database::settings::Settings;
use crate::error::Result;

/// Which database a load goes to.
#[derive(Clone)]
pub enum Database {
    /// One that the user runs.
    Given(Settings),
    /// taxi's own.
    Embedded,
}

impl Database {
    /// The database of `--database-url` or `DATABASE_URL`; an empty one is as good as none.
    pub fn resolve(url: Option<&str>) -> Result<Self> {
        match url {
            None | Some("") => Ok(Self::Embedded),
            Some(url) => Settings::parse(url).map(Self::Given),
        }
    }
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
