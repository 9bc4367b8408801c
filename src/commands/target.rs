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
        None => bring_up(provisioner, report).await?,
    };
    let mut sessions = Sessions::open(&settings).await?;
    schema::upgrade(&mut sessions.load).await?;
    Ok((settings, sessions))
}

/// A session to look around in; `None` where the embedded server was never created, so that there is nothing to see.
pub async fn look(
    database: Option<Settings>,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<Option<Client>> {
    let settings = match database {
        Some(settings) => settings,
        None if provisioner.status().await?.state == State::Absent => return Ok(None),
        None => bring_up(provisioner, report).await?,
    };
    Ok(Some(session::connect(&settings).await?))
}

async fn bring_up(provisioner: &Provisioner, report: &dyn Report) -> Result<Settings> {
    let up = provisioner.up(report).await?;
    if up.started {
        let address = format!("127.0.0.1:{}/{}", up.connection.port, up.connection.database);
        report.notice(&format!(
            "started PostgreSQL at {address}, which stays up: connect with 'taxi psql', stop it with 'taxi down'"
        ));
    }
    Settings::parse(&up.connection.url())
}
