//! `taxi up`, `taxi status`, `taxi down`: manual control of the embedded server.

use crate::database::url::DatabaseUrl;
use crate::error::Result;
use crate::provision::{Provisioner, ServerState, ServerStatus};
use crate::report::Report;
use crate::report::output::CommandOutput;

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

/// Stops the server and returns its state.
pub(crate) async fn down(provisioner: &Provisioner, report: &dyn Report) -> Result<CommandOutput> {
    CommandOutput::new(&provisioner.down(report).await?, text)
}

fn text(status: &ServerStatus) -> String {
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
