//! The rows that a run rejected, stored in the ledger.

use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row};
use uuid::Uuid;

use crate::database::failure;
use crate::database::statement::sql;
use crate::error::Result;
use crate::transform::reject::Reject;

/// A rejected row, as recorded in the ledger.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Rejected {
    /// The line of the unzipped file on which the row begins.
    pub(crate) line: i64,
    /// The column whose cell is invalid; `None` if the row as a whole is.
    pub(crate) column: Option<String>,
    /// Why the row was rejected.
    pub(crate) reason: String,
    /// The row's text; a long text is truncated.
    pub(crate) text: String,
}

/// Records the rows of a file that the `run` rejected, in the caller's transaction.
pub(crate) async fn record(
    client: &impl GenericClient,
    run: Uuid,
    filename: &str,
    rejects: &[Reject],
) -> Result<()> {
    let lines: Vec<i64> = rejects.iter().map(|reject| reject.line as i64).collect();
    let columns: Vec<Option<&str>> = rejects.iter().map(|reject| reject.column.as_deref()).collect();
    let reasons: Vec<&str> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let texts: Vec<&str> = rejects.iter().map(|reject| reject.text.as_str()).collect();
    let inserted = client
        .execute(sql!("ledger/record_rejects.sql"), &[&run, &filename, &lines, &columns, &reasons, &texts])
        .await;
    let failed = |cause| failure::statement("cannot write the rejected rows into taxi_etl.rejects", cause);
    inserted.map(drop).map_err(failed)
}

/// Lists the rows that a run rejected, in the order of the file.
pub(crate) async fn list(client: &Client, run: Uuid) -> Result<Vec<Rejected>> {
    let rows = client.query(sql!("ledger/list_rejects.sql"), &[&run]).await;
    let rejected = |row: &Row| Rejected {
        line: row.get("line"),
        column: row.get("column_name"),
        reason: row.get("reason"),
        text: row.get("raw"),
    };
    let failed = |cause| failure::statement("cannot read taxi_etl.rejects", cause);
    Ok(rows.map_err(failed)?.iter().map(rejected).collect())
}
