//! Resolves the settings of a command: from the command line, else the environment, else the default.

use crate::cli::{DatabaseArgs, RetryArgs, RunArgs};
use crate::database::environment;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::extract::source::Source;
use crate::extract::transfer::RetryPolicy;
use crate::http::SourceUrl;
use crate::month::options::{IfLoaded, Options};

/// Returns the database of `--database-url` or `DATABASE_URL`, else the database that libpq's environment
/// variables name. `None` means taxi's embedded server. An empty URL counts as not set.
pub(crate) fn database(args: &DatabaseArgs) -> Result<Option<Settings>> {
    let url = args.database_url.as_ref().filter(|url| !url.expose().is_empty());
    let is_given = url.is_some() || environment::names_a_database();
    let settings = is_given.then(|| Settings::complete(url)).transpose()?;
    Ok(settings.map(|settings| settings.with_idle_timeout(args.database_timeout)))
}

/// Returns the base URL of `--source` or `TAXI_SOURCE`, without a trailing slash. `None` keeps the pipeline's
/// default.
pub(crate) fn source_base(source: Option<&SourceUrl>) -> Result<Option<SourceUrl>> {
    let Some(base) = source.map(SourceUrl::expose).filter(|base| !base.is_empty()) else { return Ok(None) };
    Source::parse(base)?;
    let base = base.trim_end_matches('/');
    // the root directory "/" must not become empty
    Ok(Some(SourceUrl::new(if base.is_empty() { "/." } else { base })))
}

/// Returns the load options. Refuses options that cannot be combined.
pub(crate) fn options(args: &RunArgs) -> Result<Options> {
    if args.force && args.if_loaded == IfLoaded::Skip {
        return Err(Error::new(Kind::Usage, "--force cannot be combined with --if-loaded skip"));
    }
    let retry_policy = retry_policy(&args.retry);
    Ok(Options {
        force: args.force,
        if_loaded: args.if_loaded,
        lock_timeout: args.lock_timeout,
        retry_policy,
        blank_lines: args.file.blank_lines,
        new_columns: args.file.new_columns,
        on_repeated_key: args.file.on_repeated_key,
    })
}

/// Returns the timeout and retry settings for the source.
pub(crate) fn retry_policy(args: &RetryArgs) -> RetryPolicy {
    RetryPolicy { idle_timeout: args.source_timeout, retries: args.retries }
}
