//! `taxi up`, `taxi status`, `taxi down`: manual control of the embedded server.

use std::future::Future;
use std::time::Duration;

use tokio_postgres::Client;

use crate::cli::DownArgs;
use crate::database::session;
use crate::database::settings::Settings;
use crate::database::url::DatabaseUrl;
use crate::error::{Error, Kind, Result};
use crate::ledger::RunStatus;
use crate::ledger::history::{self, Filter, RecordedRun};
use crate::provision::{Provisioner, ServerState, ServerStatus};
use crate::report::output::CommandOutput;
use crate::report::{Report, failure};

/// How many runs an error names.
const LISTED_RUNS: u32 = 20;
/// How long the ledger may take to answer.
const LEDGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Starts the server and returns its URL.
pub(crate) async fn up(provisioner: &Provisioner, report: &dyn Report) -> Result<CommandOutput> {
    let up = provisioner.up(report).await?;
    CommandOutput::new(&up.status, |status| {
        status.database_url.as_ref().map(DatabaseUrl::expose).unwrap_or_default().to_owned()
    })
}

/// Returns the server's state.
pub(crate) async fn status(provisioner: &Provisioner) -> Result<CommandOutput> {
    CommandOutput::new(&provisioner.status().await?, text)
}

/// Stops the server and returns its state. Refuses to end runs, unless `--force` is given.
pub(crate) async fn down(
    args: &DownArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<CommandOutput> {
    if let Some(url) = provisioner.status().await?.database_url {
        match (args.force, runs_in_progress(&url).await) {
            (false, runs) => refuse(runs, "--force")?,
            (true, Ok((client, runs))) if !runs.is_empty() => {
                if let Err(error) = in_time(history::end_runs(&client)).await {
                    report
                        .notice(&format!("the next load marks the runs as lost: {}", failure::line(&error)));
                }
            }
            // the server can be stopped even if its ledger cannot be read
            (true, _) => {}
        }
    }
    CommandOutput::new(&provisioner.down(report).await?, text)
}

/// Returns an error if runs use the server, or if that cannot be checked.
pub(crate) async fn refuse_runs(provisioner: &Provisioner) -> Result<()> {
    match provisioner.status().await?.database_url {
        Some(url) => refuse(runs_in_progress(&url).await, "'taxi down --force'"),
        None => Ok(()),
    }
}

/// The error if there are runs, or if they cannot be read. `force` is what ends them.
fn refuse(runs: Result<(Client, Vec<RecordedRun>)>, force: &str) -> Result<()> {
    match runs {
        Ok((_, runs)) if runs.is_empty() => Ok(()),
        Ok((_, runs)) => Err(in_use(&runs, force)),
        Err(error) => {
            let error = error.within("cannot check whether loads use the server");
            Err(error.hint(format!("use {force} to stop the server without this check")))
        }
    }
}

/// The runs that use the server, and a session on it.
async fn runs_in_progress(url: &DatabaseUrl) -> Result<(Client, Vec<RecordedRun>)> {
    let settings = Settings::parse(&format!("{}?sslmode=disable", url.expose()))?;
    let mut client = session::connect_again(&settings).await?;
    let filter = Filter { status: Some(RunStatus::Running), limit: LISTED_RUNS, ..Filter::default() };
    let runs = in_time(history::list(&mut client, &filter)).await?;
    Ok((client, runs))
}

/// Runs `work` on the ledger, which another session may have locked.
async fn in_time<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(LEDGER_TIMEOUT, work).await.unwrap_or_else(|_elapsed| {
        Err(Error::new(Kind::LockHeld, format!("the ledger has not answered for {LEDGER_TIMEOUT:?}")))
    })
}

fn in_use(runs: &[RecordedRun], force: &str) -> Error {
    let described = runs.iter().map(|run| {
        let what = run.filename.as_ref().unwrap_or(&run.pipeline);
        let (host, pid) = (run.host.as_deref().unwrap_or_default(), run.pid.unwrap_or_default());
        format!("{what} (run {}) on host {host} (pid {pid}) since {:.0}", run.run_id, run.started_at)
    });
    let described: Vec<String> = described.collect();
    Error::new(Kind::LockHeld, "the embedded server is in use by runs").because(described.join("\n  ")).hint(
        format!(
            "wait until they have ended, or use {force} to end them: the next load loads their months again"
        ),
    )
}

/// The state as text.
pub(crate) fn text(status: &ServerStatus) -> String {
    let state = match status.state {
        ServerState::Running => "running",
        ServerState::Starting => "starting",
        ServerState::Stopped => "stopped",
        ServerState::Absent => "not created yet",
    };
    let version =
        status.version.as_ref().map(|version| format!(" (PostgreSQL {version})")).unwrap_or_default();
    let url = status.database_url.as_ref().map(|url| format!("\n{}", url.expose())).unwrap_or_default();
    format!("{state}{version}, data in {}{url}", status.data_dir.display())
}
