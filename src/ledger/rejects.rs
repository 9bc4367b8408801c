//! The records that a run left out, beside the run.

use serde::Serialize;
use tokio_postgres::{Client, GenericClient, Row};
use uuid::Uuid;

use crate::database::{failure, statement};
use crate::error::Result;
use crate::transform::reject::Reject;

/// A record that was left out, as the ledger has it.
#[derive(Clone, Debug, Serialize)]
pub struct Rejected {
    /// The line on which it begins.
    pub line: i64,
    /// The column that does not take its cell.
    pub column: Option<String>,
    /// Why it was left out.
    pub reason: String,
    /// Its text, cut.
    pub text: String,
}

/// Writes what the `run` left out of a file, in the caller's transaction.
pub async fn record(
    client: &impl GenericClient,
    run: Uuid,
    filename: &str,
    rejects: &[Reject],
) -> Result<()> {
    let lines: Vec<i64> = rejects.iter().map(|reject| reject.line as i64).collect();
    let columns: Vec<Option<&str>> = rejects.iter().map(|reject| reject.column.as_deref()).collect();
    let reasons: Vec<&str> = rejects.iter().map(|reject| reject.reason.as_str()).collect();
    let texts: Vec<&str> = rejects.iter().map(|reject| reject.text.as_str()).collect();
    let insert = statement::render("ledger/record_rejects.sql", &minijinja::context! {})?;
    let inserted = client.execute(&insert, &[&run, &filename, &lines, &columns, &reasons, &texts]).await;
    let failed = |cause| failure::statement("cannot write the rejected rows into taxi_etl.rejects", cause);
    inserted.map(drop).map_err(failed)
}

/// What a run left out, in the order of the file.
pub async fn list(client: &Client, run: Uuid) -> Result<Vec<Rejected>> {
    let query = statement::render("ledger/list_rejects.sql", &minijinja::context! {})?;
    let rows = client.query(&query, &[&run]).await;
    let rejected = |row: &Row| Rejected {
        line: row.get("line"),
        column: row.get("column_name"),
        reason: row.get("reason"),
        text: row.get("raw"),
    };
    let failed = |cause| failure::statement("cannot read taxi_etl.rejects", cause);
    Ok(rows.map_err(failed)?.iter().map(rejected).collect())
}
