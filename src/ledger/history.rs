//! What the ledger tells: what is loaded, which runs there were.

use jiff::Timestamp;
use tokio_postgres::GenericClient;
use uuid::Uuid;

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::Result;
use crate::extract::source::Description;

/// A file's last successful load.
#[derive(Clone, Debug)]
pub struct Earlier {
    /// The run.
    pub run_id: Uuid,
    /// Where the file came from.
    pub address: String,
    /// Which file it was.
    pub description: Description,
    /// How many rows of it the target held in the file's own month; unknown of runs by old versions of taxi.
    pub rows_in_period: Option<u64>,
    /// When it committed.
    pub finished_at: Timestamp,
}

/// The last successful load of the file into the table, if there was one.
pub async fn latest_success(
    client: &impl GenericClient,
    table: &TableName,
    filename: &str,
) -> Result<Option<Earlier>> {
    let query = statement::render("ledger/latest_success.sql", &minijinja::context! {})?;
    let found = client
        .query_opt(&query, &[&table.to_string(), &filename])
        .await
        .map_err(|cause| failure::statement("cannot read taxi_etl.runs", cause))?;
    let unsigned = |number: Option<i64>| number.map(i64::unsigned_abs);
    Ok(found.map(|row| Earlier {
        run_id: row.get("run_id"),
        address: row.get::<_, Option<String>>("source_address").unwrap_or_default(),
        description: Description {
            length_bytes: unsigned(row.get("source_length_bytes")),
            etag: row.get("source_etag"),
            last_modified: row.get("source_last_modified"),
        },
        rows_in_period: unsigned(row.get("rows_in_period")),
        finished_at: row.get("finished_at"),
    }))
}
