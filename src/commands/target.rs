//! The database that a command uses: the database in its settings, or the embedded server, which is started
//! first.

use std::path::PathBuf;

use tokio_postgres::Client;

use crate::database::session;
use crate::database::settings::Settings;
use crate::error::Result;
use crate::ledger::schema;
use crate::month::sessions::Sessions;
use crate::provision::{Provisioner, ServerState};
use crate::report::Report;

/// Opens the database to load into: upgrades the ledger's tables and opens the first pair of sessions.
pub(crate) async fn open(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<(Settings, Sessions)> {
    let settings = match database {
        Some(settings) => settings,
        None => provisioner.bring_up(report).await?,
    };
    let mut sessions = Sessions::open(&settings, report).await?;
    session::while_answering(&settings, schema::upgrade(&mut sessions.load)).await?;
    Ok((settings, sessions))
}

/// Opens one session for a command that only reads, and returns it with the settings. `None` if the embedded
/// server was never created: then the ledger does not exist.
pub(crate) async fn open_read_only(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<Option<(Settings, Client)>> {
    let settings = match database {
        Some(settings) => settings,
        None if provisioner.status().await?.state == ServerState::Absent => return Ok(None),
        None => provisioner.bring_up(report).await?,
    };
    let client = session::connect(&settings, report).await?;
    Ok(Some((settings, client)))
}

/// Returns the database, with the directory of the server's programs if it is on the embedded server, which is started.
pub(crate) async fn server(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<(Settings, Option<PathBuf>)> {
    match database {
        Some(settings) => Ok((settings, None)),
        None => {
            let settings = provisioner.bring_up(report).await?;
            Ok((settings, Some(provisioner.up(report).await?.binaries.dir)))
        }
    }
}
