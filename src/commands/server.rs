//! `taxi up`, `taxi status`, `taxi down`: manual control of the embedded server.

use crate::error::Result;
use crate::provision::{Provisioner, State, Status};
use crate::report::Report;
use crate::report::output::End;

/// Starts the server and returns its URL.
pub async fn up(provisioner: &Provisioner, report: &dyn Report) -> Result<End> {
    let up = provisioner.up(report).await?;
    End::new(&up.status, |status| status.database_url.clone().unwrap_or_default())
}

/// Returns the server's state.
pub async fn status(provisioner: &Provisioner) -> Result<End> {
    End::new(&provisioner.status().await?, text)
}

/// Stops the server and returns its state.
pub async fn down(provisioner: &Provisioner, report: &dyn Report) -> Result<End> {
    End::new(&provisioner.down(report).await?, text)
}

fn text(status: &Status) -> String {
    let state = match status.state {
        State::Running => "running",
        State::Starting => "starting",
        State::Stopped => "stopped",
        State::Absent => "not created yet",
    };
    let version =
        status.version.as_ref().map(|version| format!(" (PostgreSQL {version})")).unwrap_or_default();
    let url = status.database_url.as_ref().map(|url| format!("\n{url}")).unwrap_or_default();
    format!("{state}{version}, data in {}{url}", status.data_dir.display())
}
