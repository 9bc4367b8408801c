//! The ledger's tables: created if they are missing, upgraded if they are older than this program's version.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient};

use crate::database::statement::sql;
use crate::database::{failure, locks};
use crate::error::{Error, Kind, Result};

/// The migrations in `sql/ledger/`, each from one version to the next. The first creates the tables.
const MIGRATIONS: [&str; 5] = [
    sql!("ledger/1_runs.sql"),
    sql!("ledger/2_history.sql"),
    sql!("ledger/3_tasks.sql"),
    sql!("ledger/4_rejects.sql"),
    sql!("ledger/5_partitions.sql"),
];

/// How long an upgrade waits for running loads.
const UPGRADE_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The schema state: the version of the ledger's tables, compared with this program's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SchemaState {
    /// There are no tables.
    Absent,
    /// The tables are older. The next load upgrades them, if its role may.
    Older,
    /// The tables have this program's version.
    Current,
    /// The tables were created or upgraded by a newer program.
    Newer,
}

/// Reads the schema state.
pub(crate) async fn state(client: &Client) -> Result<SchemaState> {
    Ok(match version(client).await.map_err(unreadable)? {
        0 => SchemaState::Absent,
        version if version < MIGRATIONS.len() => SchemaState::Older,
        version if version > MIGRATIONS.len() => SchemaState::Newer,
        _ => SchemaState::Current,
    })
}

/// Creates or upgrades the tables. Tables of this program's version are not changed, and only the right to read
/// them is needed.
pub(crate) async fn upgrade(client: &mut Client) -> Result<()> {
    let failed = |cause| {
        failure::statement("cannot prepare the ledger, the tables of the schema taxi_etl", cause)
            .hint("the role that owns the database has to run taxi once")
    };
    let transaction = client.transaction().await.map_err(failed)?;
    if version(&transaction).await.map_err(failed)? != MIGRATIONS.len() {
        locks::bound(&transaction, UPGRADE_LOCK_TIMEOUT, true).await?;
        transaction.batch_execute(sql!("lock_creation.sql")).await.map_err(failed)?;
        let found = version(&transaction).await.map_err(failed)?;
        let missing = MIGRATIONS.get(found..).ok_or_else(|| {
            let known = MIGRATIONS.len();
            let text =
                format!("the ledger in the schema taxi_etl is of version {found}, this taxi knows {known}");
            Error::new(Kind::Configuration, text).hint("a newer taxi has been here: use that one")
        })?;
        for migration in missing {
            transaction.batch_execute(migration).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Upgrades existing tables for a command that only reads, and creates none. Returns whether there are tables.
pub(crate) async fn upgrade_existing(client: &mut Client) -> Result<bool> {
    let exists = version(client).await.map_err(unreadable)? > 0;
    if exists {
        upgrade(client).await?;
    }
    Ok(exists)
}

fn unreadable(cause: tokio_postgres::Error) -> Error {
    failure::statement("cannot look for the ledger", cause)
}

/// The version of the tables: the number of migrations that were applied, 0 if there are no tables.
async fn version(client: &impl GenericClient) -> Result<usize, tokio_postgres::Error> {
    let found = client.query_one(sql!("ledger/find_ledger.sql"), &[]).await?;
    match (found.get(0), found.get(1)) {
        (false, _) => Ok(0),
        (true, false) => Ok(1),
        (true, true) => {
            let version: i32 = client.query_one(sql!("ledger/read_version.sql"), &[]).await?.get(0);
            Ok(usize::try_from(version).unwrap_or(usize::MAX))
        }
    }
}
