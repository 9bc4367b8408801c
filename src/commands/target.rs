//! The database that a command works on: the given one, or the embedded server's, brought up first.

use tokio_postgres::Client;

use crate::database::session;
use crate::database::settings::Settings;
use crate::error::Result;
use crate::ledger::schema;
use crate::load::sessions::Sessions;
use crate::provision::{Provisioner, State};
use crate::report::Report;

/// The database to load into, with the ledger's tables in it, and a first pair of sessions.
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

/// A session to look around in, with what it leads to; `None` where the embedded server was never created, so that there is nothing to see.
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
