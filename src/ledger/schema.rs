//! The ledger's tables: created where there are none, brought up to this program's version where they are older.

use std::time::Duration;

use tokio_postgres::{Client, GenericClient};

use crate::database::{failure, statement};
use crate::error::{Error, Kind, Result};
use crate::load::locks;

/// The files of `sql/ledger/` that lead from one version to the next, the first from nothing.
const STEPS: [&str; 5] = [
    "ledger/1_runs.sql",
    "ledger/2_history.sql",
    "ledger/3_tasks.sql",
    "ledger/4_rejects.sql",
    "ledger/5_partitions.sql",
];

/// How long an upgrade waits for loads under way.
const UPGRADE_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// How the ledger's tables stand to this program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There are none.
    Absent,
    /// The next load upgrades them, if it may.
    Older,
    /// They are of this version.
    Current,
    /// A newer program has been here.
    Newer,
}

/// Looks how they stand.
pub async fn standing(client: &Client) -> Result<Standing> {
    Ok(match version(client).await.map_err(unreadable)? {
        0 => Standing::Absent,
        version if version < STEPS.len() => Standing::Older,
        version if version > STEPS.len() => Standing::Newer,
        _ => Standing::Current,
    })
}

/// Creates or upgrades the tables. What is of this version is not touched and needs no right but to read.
pub async fn upgrade(client: &mut Client) -> Result<()> {
    let failed = |cause| {
        failure::statement("cannot prepare the ledger, the tables of the schema taxi_etl", cause)
            .hint("the role that owns the database has to run taxi once")
    };
    let transaction = client.transaction().await.map_err(failed)?;
    if version(&transaction).await.map_err(failed)? != STEPS.len() {
        locks::bound(&transaction, UPGRADE_LOCK_TIMEOUT, true).await?;
        let lock = statement::render("lock_creation.sql", &minijinja::context! {})?;
        transaction.batch_execute(&lock).await.map_err(failed)?;
        let found = version(&transaction).await.map_err(failed)?;
        let missing = STEPS.get(found..).ok_or_else(|| {
            let known = STEPS.len();
            let text =
                format!("the ledger in the schema taxi_etl is of version {found}, this taxi knows {known}");
            Error::new(Kind::Configuration, text).hint("a newer taxi has been here: use that one")
        })?;
        for step in missing {
            let step = statement::render(step, &minijinja::context! {})?;
            transaction.batch_execute(&step).await.map_err(failed)?;
        }
    }
    transaction.commit().await.map_err(failed)
}

/// Upgrades the tables for those who only read, and creates none; returns whether there are any.
pub async fn upgrade_existing(client: &mut Client) -> Result<bool> {
    let exists = version(client).await.map_err(unreadable)? > 0;
    if exists {
        upgrade(client).await?;
    }
    Ok(exists)
}

fn unreadable(cause: tokio_postgres::Error) -> Error {
    failure::statement("cannot look for the ledger", cause)
}

/// The version of the tables, as a number of steps.
async fn version(client: &impl GenericClient) -> Result<usize, tokio_postgres::Error> {
    let found = client.query_one(FIND, &[]).await?;
    match (found.get(0), found.get(1)) {
        (false, _) => Ok(0),
        (true, false) => Ok(1),
        (true, true) => {
            let version: i32 = client.query_one(READ, &[]).await?.get(0);
            Ok(usize::try_from(version).unwrap_or(usize::MAX))
        }
    }
}

const FIND: &str = include_str!("../../sql/ledger/find_ledger.sql");
const READ: &str = include_str!("../../sql/ledger/read_version.sql");
