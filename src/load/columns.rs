//! Reads the tables' columns from the database's catalog, so that the code does not repeat them.

use tokio_postgres::Client;

use crate::database::failure;
use crate::database::identifier::{TableName, quote};
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::transform::row::{Column, Computed};
use crate::transform::value::ColumnType;

/// Returns the columns that a load fills: all columns of the target that are not generated.
pub(crate) async fn columns_to_fill(
    client: &Client,
    table: &TableName,
    computed: &Computed,
    time_column: &str,
) -> Result<Vec<Column>> {
    let columns = describe(client, table).await?;
    for (name, column_type) in [
        (computed.key_column.as_str(), ColumnType::Text),
        (computed.filename_column.as_str(), ColumnType::Text),
        (time_column, ColumnType::Timestamp),
    ] {
        let column = columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        if column.is_none_or(|column| column.column_type != column_type) {
            let type_name = column_type.name();
            let text = format!(
                "target table {table} has no column {name} of type {type_name}, which the pipeline requires"
            );
            return Err(Error::new(Kind::Configuration, text));
        }
    }
    Ok(columns)
}

/// Formats the names as a statement's column list, each name after `prefix`.
pub(crate) fn column_list(columns: &[Column], prefix: &str) -> String {
    columns.iter().map(|column| format!("{prefix}{}", quote(&column.name))).collect::<Vec<_>>().join(", ")
}

async fn describe(client: &Client, table: &TableName) -> Result<Vec<Column>> {
    let rows = client
        .query(sql!("describe_table.sql"), &[&table.quoted()])
        .await
        .map_err(|cause| failure::statement(format!("cannot read the columns of table {table}"), cause))?;
    if rows.is_empty() {
        return Err(Error::new(Kind::Configuration, format!("table {table} does not exist")));
    }
    rows.iter()
        .map(|row| {
            let (name, oid, modifier): (String, u32, i32) = (row.get(0), row.get(1), row.get(2));
            let column_type = ColumnType::from_catalog(oid, modifier).ok_or_else(|| {
                let type_name: String = row.get(3);
                let text = format!("column {name} of table {table} has the type {type_name}, which loads do not support");
                Error::new(Kind::Configuration, text).hint(
                    "supported types: text, varchar, smallint, integer, bigint, double precision, date and timestamp",
                )
            })?;
            Ok(Column { name, column_type })
        })
        .collect()
}
