//! The ledger's tables: created if they are missing, upgraded if they are older than this program's version.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient};

use crate::database::statement::sql;
use crate::database::{failure, locks};
use crate::error::{Error, Kind, Result};

/// The migrations in `sql/ledger/`, each from one version to the next. The first creates the tables.
const MIGRATIONS: [&str; 10] = [
    sql!("ledger/1_runs.sql"),
    sql!("ledger/2_history.sql"),
    sql!("ledger/3_tasks.sql"),
    sql!("ledger/4_rejects.sql"),
    sql!("ledger/5_partitions.sql"),
    sql!("ledger/6_keys.sql"),
    sql!("ledger/7_drops.sql"),
    sql!("ledger/8_replays.sql"),
    sql!("ledger/9_key_values.sql"),
    sql!("ledger/10_new_columns.sql"),
];

/// How long an upgrade waits for running loads.
const UPGRADE_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The schema state: the version of the ledger's tables, compared with this program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaState {
    /// The tables do not exist.
    Absent,
    /// The tables are older. The next load upgrades them, if its role has the privileges.
    Older,
    /// The tables have this program's version.
    Current,
    /// The tables were created or upgraded by a newer program.
    Newer,
}

/// Reads the schema state. Fails if the tables contradict each other.
pub(crate) async fn state(client: &Client) -> Result<SchemaState> {
    Ok(match version(client).await.map_err(read_error)? {
        0 => SchemaState::Absent,
        version if version < MIGRATIONS.len() => SchemaState::Older,
        version if version > MIGRATIONS.len() => SchemaState::Newer,
        _ => SchemaState::Current,
    })
}

/// The version of the tables, 0 if they do not exist. Fails if the tables contradict each other.
pub(crate) async fn applied_version(client: &Client) -> Result<usize> {
    version(client).await.map_err(read_error)
}

/// Creates or upgrades the tables. If the tables have this program's version, the function changes nothing and needs
/// only the privilege to read them.
pub(crate) async fn upgrade(client: &mut Client) -> Result<()> {
    let failed = |cause| {
        let what = "cannot check or upgrade the ledger (the tables in the schema taxi_etl)";
        let error = failure::statement(what, cause);
        match error.kind() {
            Kind::Authentication => error.hint("run taxi once as the role that owns the database"),
            Kind::LockHeld => error.hint("an upgrade of the ledger waits for running loads: run the command again when they have ended"),
            _ => error,
        }
    };
    let transaction = client.transaction().await.map_err(failed)?;
    let unread = |fault| match fault {
        Fault::Query(cause) => failed(cause),
        Fault::Damaged(error) => error,
    };
    if version(&transaction).await.map_err(unread)? != MIGRATIONS.len() {
        locks::set_timeout(&transaction, UPGRADE_LOCK_TIMEOUT, true).await?;
        transaction.batch_execute(sql!("lock_creation.sql")).await.map_err(failed)?;
        let found = version(&transaction).await.map_err(unread)?;
        let missing = MIGRATIONS.get(found..).ok_or_else(|| {
            let supported = MIGRATIONS.len();
            let text = format!(
                "the ledger in the schema taxi_etl has version {found}, but this taxi supports version {supported}"
            );
            Error::new(Kind::Configuration, text)
                .hint("a newer version of taxi has upgraded the ledger; use that version")
        })?;
        for migration in missing {
            transaction.batch_execute(migration).await.map_err(|cause| match failed(cause) {
                // the statements fit the tables of each version
                error if error.kind() == Kind::Configuration && found > 0 => damaged(&format!(
                    "the tables do not have the version {found} that taxi_etl.ledger_version contains"
                ))
                .because(error),
                error => error,
            })?;
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Upgrades existing tables for a command that only reads, and does not create them. Returns whether they exist.
pub(crate) async fn upgrade_existing(client: &mut Client) -> Result<bool> {
    let exists = version(client).await.map_err(read_error)? > 0;
    if exists {
        upgrade(client).await?;
    }
    Ok(exists)
}

/// Why the version of the tables is not known.
enum Fault {
    /// A query failed.
    Query(tokio_postgres::Error),
    /// The tables contradict each other: somebody has changed or dropped one of them.
    Damaged(Error),
}

impl From<tokio_postgres::Error> for Fault {
    fn from(cause: tokio_postgres::Error) -> Self {
        Self::Query(cause)
    }
}

fn read_error(fault: Fault) -> Error {
    match fault {
        Fault::Query(cause) => failure::statement("cannot check whether the ledger exists", cause),
        Fault::Damaged(error) => error,
    }
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Configuration, format!("the ledger is damaged: {what}")).hint(
        "restore the schema taxi_etl from a backup; if there is none, rename it: taxi creates an empty ledger, and \
         loads that find their rows in the target insert nothing",
    )
}

/// The version of the tables: the number of migrations that were applied, 0 if the tables do not exist.
async fn version(client: &impl GenericClient) -> Result<usize, Fault> {
    let found = client.query_one(sql!("ledger/find_ledger.sql"), &[]).await?;
    let damaged = |what: &str| Err(Fault::Damaged(damaged(what)));
    match (found.get(0), found.get(1)) {
        (false, false) => Ok(0),
        (true, false) => Ok(1),
        (false, true) => damaged("the table taxi_etl.runs is missing, but taxi_etl.ledger_version exists"),
        (true, true) => {
            let rows = client.query(sql!("ledger/read_version.sql"), &[]).await?;
            let [row] = rows.as_slice() else {
                return damaged(&format!(
                    "the table taxi_etl.ledger_version has {} rows; expected one row with the version of the tables",
                    rows.len()
                ));
            };
            match row.try_get::<_, i32>(0) {
                // the first version had no such table
                Ok(version) if version < 2 => damaged(&format!(
                    "the table taxi_etl.ledger_version contains the version {version}, which has no such table"
                )),
                Ok(version) => Ok(usize::try_from(version).unwrap_or(usize::MAX)),
                Err(cause) => {
                    damaged(&format!("cannot read the version in taxi_etl.ledger_version: {cause}"))
                }
            }
        }
    }
}
