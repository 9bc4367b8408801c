//! The database that a command uses: the given one, or the embedded server, which is started first.

use tokio_postgres::Client;

use crate::database::session;
use crate::database::settings::Settings;
use crate::error::Result;
use crate::ledger::schema;
use crate::load::sessions::Sessions;
use crate::provision::{Provisioner, State};
use crate::report::Report;

/// Opens the database to load into: upgrades the ledger's tables and opens the first pair of sessions.
pub async fn open(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<(Settings, Sessions)> {
    let settings = match database {
        Some(settings) => settings,
        None => provisioner.bring_up(report).await?,
    };
    let mut sessions = Sessions::open(&settings).await?;
    session::attended(&settings, schema::upgrade(&mut sessions.load)).await?;
    Ok((settings, sessions))
}

/// Opens one session for a command that only reads, and returns the settings with it. `None` if the embedded
/// server was never created: there is nothing to read then.
pub async fn look(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<Option<(Settings, Client)>> {
    let settings = match database {
        Some(settings) => settings,
        None if provisioner.status().await?.state == State::Absent => return Ok(None),
        None => provisioner.bring_up(report).await?,
    };
    let client = session::connect(&settings).await?;
    Ok(Some((settings, client)))
}
