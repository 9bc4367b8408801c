//! Creates the target table if it does not exist.
//!
//! An existing table is not changed, and no CREATE is attempted: a role that only loads needs no privilege to
//! create tables in the schema of the target.

use tokio_postgres::{Client, GenericClient, Transaction};

use crate::database::failure;
use crate::database::identifier::{NAME_LIMIT_BYTES, TableName, quote};
use crate::database::statement::{self, render, sql};
use crate::error::{Error, Kind, Result};

/// Length of the longest suffix that a partition's name adds to the table's name: `_default`, `_2021_01`.
const SUFFIX_BYTES: usize = 8;

/// Whether the table exists.
pub(crate) async fn exists(client: &impl GenericClient, table: &TableName) -> Result<bool> {
    let row = client.query_one(sql!("table_exists.sql"), &[&table.quoted()]).await;
    Ok(row
        .map_err(|cause| failure::statement(format!("cannot check whether table {table} exists"), cause))?
        .get(0))
}

/// Creates the table with `sql/tables/<file>` unless it exists. Adds a default partition if the table is partitioned by
/// ranges.
pub(crate) async fn create(client: &mut Client, table: &TableName, file: &str) -> Result<()> {
    let failed = |cause| failure::statement(format!("cannot create table {table}"), cause);
    if exists(client, table).await? {
        return Ok(());
    }
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(sql!("lock_creation.sql")).await.map_err(failed)?;
    if !exists(&transaction, table).await? {
        let create = statement::create_table(file, table)?;
        transaction.batch_execute(&create).await.map_err(failed)?;
        create_default_partition(&transaction, table).await?;
    }
    transaction.commit().await.map_err(failed)
}

async fn create_default_partition(transaction: &Transaction<'_>, table: &TableName) -> Result<()> {
    let failed = |cause| failure::statement(format!("cannot create the default partition of {table}"), cause);
    let Some(row) =
        transaction.query_opt(sql!("find_partition_column.sql"), &[&table.quoted()]).await.map_err(failed)?
    else {
        return Ok(());
    };
    let (time_column, table_schema, name): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    let schema = format!("{table_schema}_partitions");
    if schema.len() > NAME_LIMIT_BYTES || name.len() + SUFFIX_BYTES > NAME_LIMIT_BYTES {
        let text = format!(
            "the table name {table} is too long: the names of its partitions are up to {SUFFIX_BYTES} bytes longer"
        );
        let hint = format!("use a shorter name; PostgreSQL limits names to {NAME_LIMIT_BYTES} bytes");
        return Err(Error::new(Kind::Configuration, text).hint(hint));
    }
    let identifiers = minijinja::context! {
        table => table.quoted(),
        schema => quote(&schema),
        default_partition => TableName::of(&schema, &format!("{name}_default")).quoted(),
        time_column,
        creates_schema => !row.get::<_, bool>(3),
    };
    let create = render!("create_default_partition.sql", &identifiers)?;
    transaction.batch_execute(&create).await.map_err(failed)
}
