//! MERGE: the staged rows whose key the target does not hold, into the target.

use tokio_postgres::Transaction;

use crate::database::failure;
use crate::database::identifier::{TableName, quote};
use crate::database::statement;
use crate::error::Result;
use crate::load::schema::column_list;
use crate::transform::row::Column;

/// Where rows are moved from and to, and by which key.
pub struct Merge<'a> {
    /// The target table.
    pub table: &'a TableName,
    /// The table that holds the file's rows.
    pub staging_table: &'a TableName,
    /// The columns of both.
    pub columns: &'a [Column],
    /// The column that holds the row key.
    pub key_column: &'a str,
}

impl Merge<'_> {
    /// The staged rows less the distinct keys among them.
    pub async fn count_duplicate_keys(&self, transaction: &Transaction<'_>) -> Result<u64> {
        let query = statement::render("count_duplicate_keys.sql", &self.identifiers())?;
        let row = transaction.query_one(&query, &[]).await.map_err(|cause| {
            failure::statement(format!("cannot count the duplicate keys of {}", self.staging_table), cause)
        })?;
        Ok(row.get::<_, i64>(0).unsigned_abs())
    }

    /// Inserts what is new; returns how many rows that were.
    pub async fn run(&self, transaction: &Transaction<'_>) -> Result<u64> {
        let merge = statement::render("merge.sql", &self.identifiers())?;
        transaction.execute(&merge, &[]).await.map_err(|cause| {
            failure::statement(format!("merge into target table {} failed", self.table), cause)
        })
    }

    fn identifiers(&self) -> minijinja::Value {
        minijinja::context! {
            table => self.table.quoted(),
            staging_table => self.staging_table.quoted(),
            key_column => quote(&self.key_column.to_lowercase()),
            columns => column_list(self.columns, ""),
            staged_columns => column_list(self.columns, "staged."),
        }
    }
}
