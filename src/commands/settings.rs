//! Resolves the settings of a command: from the command line, else the environment, else the default.

use crate::cli::{BackfillArgs, Command, DatabaseArgs, LoadArgs, RetryArgs, RunArgs};
use crate::database::environment;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::extract::transfer::RetryPolicy;
use crate::flow::model::flow::Flow;
use crate::flow::sources::SourceList;
use crate::http::SourceUrl;
use crate::month::options::{IfLoaded, Options};
use crate::provision::Provisioner;
use crate::provision::home::Home;

/// What the source is if none is given.
const COURSE: &str = "course";

/// Returns the database of `--database-url` or `DATABASE_URL`, else the database that libpq's environment
/// variables name. `None` means taxi's embedded server. An empty URL counts as not set.
pub(crate) fn database(args: &DatabaseArgs) -> Result<Option<Settings>> {
    let url = args.database_url.as_ref().filter(|url| !url.expose().is_empty());
    let is_given = url.is_some() || environment::names_a_database();
    let settings = is_given.then(|| Settings::complete(url)).transpose()?;
    Ok(settings.map(|settings| {
        settings
            .with_idle_timeout(args.database_timeout)
            .with_password_command(args.password_command.as_ref())
    }))
}

/// Returns the text of `--source` or `TAXI_SOURCE`. `None` keeps the pipeline's default.
pub(crate) fn source(source: Option<&SourceUrl>) -> Option<&SourceUrl> {
    source.filter(|source| !source.expose().is_empty())
}

/// Like [`source`], and refuses a source that cannot hold months, such as a directory that does not exist: a command
/// checks this before it starts anything.
pub(crate) fn existing_source<'a>(
    flow: &Flow,
    given: Option<&'a SourceUrl>,
) -> Result<Option<&'a SourceUrl>> {
    let given = source(given);
    if let Some(source) = given {
        SourceList::parse(source.expose(), flow.sources()).check()?;
    }
    Ok(given)
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
        lock_timeout: args.lock.lock_timeout,
        retry_policy,
        blank_lines: args.file.blank_lines,
        encoding: args.file.encoding,
        new_columns: args.file.new_columns,
        on_repeated_key: args.file.on_repeated_key,
    })
}

/// Returns the timeout and retry settings for the source.
pub(crate) fn retry_policy(args: &RetryArgs) -> RetryPolicy {
    RetryPolicy { idle_timeout: args.source_timeout, retries: args.retries }
}

/// The settings that a load, a backfill or a flow uses, without passwords, for `--verbose`.
pub(crate) fn describe(command: &Command, provisioner: &Provisioner) -> Result<Vec<String>> {
    let (database_args, retry, lock_timeout, source) = match command {
        Command::Load(LoadArgs { run, .. }) | Command::Backfill(BackfillArgs { run, flow: None, .. }) => {
            let source = source(run.source.source.as_ref());
            let source = source.map_or_else(|| COURSE.to_owned(), ToString::to_string);
            (&run.database, &run.retry, run.lock.lock_timeout, Some(source))
        }
        Command::Backfill(BackfillArgs { run, .. }) => {
            (&run.database, &run.retry, run.lock.lock_timeout, None)
        }
        Command::Zones(args) => {
            let source =
                source(args.source.source.as_ref()).map_or_else(|| COURSE.to_owned(), ToString::to_string);
            (&args.database, &args.retry, args.lock.lock_timeout, Some(source))
        }
        Command::Run(args) => (&args.database, &args.retry, args.lock.lock_timeout, None),
        _ => return Ok(Vec::new()),
    };
    let database = match database(database_args)? {
        Some(settings) => {
            let user = settings.config().get_user().map(|user| format!(" as {user}")).unwrap_or_default();
            format!("{}{user}, sslmode {}", settings.address(), settings.ssl_mode())
        }
        None => {
            let home = Home::resolve(provisioner.home.as_deref())?;
            format!("the embedded server in {}", home.path().display())
        }
    };
    let timeouts = format!(
        "timeouts: source {:?}, database {:?}, locks {lock_timeout:?}; {} retries",
        retry.source_timeout, database_args.database_timeout, retry.retries
    );
    let source = source.map(|source| format!("source: {source}"));
    let version = format!("version: {}", env!("CARGO_PKG_VERSION"));
    Ok([Some(version), Some(format!("database: {database}")), source, Some(timeouts)]
        .into_iter()
        .flatten()
        .collect())
}
