//! Creates the tables that do not exist yet.
//!
//! What exists is not touched and its creation not even attempted: a role that may only load needs no right to
//! create tables beside the target.

use tokio_postgres::Client;

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::Result;

/// Whether there is this table.
pub async fn exists(client: &Client, table: &TableName) -> Result<bool> {
    let exists = statement::render("table_exists.sql", &minijinja::context! {})?;
    let row = client.query_one(&exists, &[&table.quoted()]).await;
    Ok(row.map_err(|cause| failure::statement(format!("cannot look for table {table}"), cause))?.get(0))
}

/// Creates the two tables unless they exist: the target by `sql/<file>`, the staging table in its likeness.
pub async fn create_both(
    client: &mut Client,
    table: &TableName,
    staging_table: &TableName,
    file: &str,
) -> Result<()> {
    let identifiers = minijinja::context! {
        table => table.quoted(),
        staging_table => staging_table.quoted(),
    };
    create_missing(client, table, file, &identifiers).await?;
    create_missing(client, staging_table, "staging_table.sql", &identifiers).await
}

/// Runs `sql/<file>` unless `table` exists already.
async fn create_missing(
    client: &mut Client,
    table: &TableName,
    file: &str,
    identifiers: &minijinja::Value,
) -> Result<()> {
    let failed = |cause| failure::statement(format!("cannot create table {table}"), cause);
    if exists(client, table).await? {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(failed)?;
    let lock = statement::render("lock_creation.sql", &minijinja::context! {})?;
    transaction.batch_execute(&lock).await.map_err(failed)?;
    transaction.batch_execute(&statement::render(file, identifiers)?).await.map_err(failed)?;
    transaction.commit().await.map_err(failed)
}
