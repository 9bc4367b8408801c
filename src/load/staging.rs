//! The tables that a load's rows enter first. Each is of the load's transaction: nobody else ever sees it, and it goes with the
//! transaction, however that ends.

use tokio_postgres::Transaction;
use uuid::Uuid;

use super::locks;
use super::target::{NewPartition, Route};
use crate::database::failure;
use crate::database::identifier::{TableName, literal, quote};
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::transform::duplicates::Candidates;

/// A staging table.
pub struct StagingTable {
    /// Its name.
    pub name: TableName,
    /// The rows that it took.
    pub rows: u64,
    kind: StagingKind,
    is_created: bool,
}

enum StagingKind {
    /// It becomes a partition.
    Partition { owner: Option<String> },
    /// All of a file is merged from it.
    MergedFile,
    /// A few rows are merged from it: an unlogged table of a server that crashes is one more file for its recovery to reset.
    FewRows,
}

/// Where a file's rows go first.
pub struct Staging {
    /// Takes the rows of the file's month, or all.
    pub main: StagingTable,
    /// Takes the rows outside of the month, if they go apart.
    pub out_of_period: Option<StagingTable>,
}

impl Staging {
    /// The staging tables for a `route`. A merge takes all rows of a file from one table.
    pub fn new(route: &Route, run: Uuid) -> Self {
        let name = TableName::of("taxi_etl", &format!("staging_{}", locks::of_run(run)));
        let table = |name, kind| StagingTable { name, rows: 0, kind, is_created: false };
        match route {
            Route::Attach(NewPartition { name: partition, owner }) => Self {
                main: table(partition.clone(), StagingKind::Partition { owner: owner.clone() }),
                out_of_period: Some(table(name, StagingKind::FewRows)),
            },
            Route::Merge(_) => Self { main: table(name, StagingKind::MergedFile), out_of_period: None },
        }
    }

    /// The one for rows inside or outside of the month.
    pub fn for_rows(&mut self, in_period: bool) -> &mut StagingTable {
        match &mut self.out_of_period {
            Some(table) if !in_period => table,
            _ => &mut self.main,
        }
    }

    /// The rows that both took.
    pub fn rows(&self) -> u64 {
        self.main.rows + self.out_of_period.as_ref().map_or(0, |table| table.rows)
    }

    /// The staged rows less the distinct keys among them. Only the `candidates` can be keys that repeat.
    pub async fn count_duplicate_keys(
        &self,
        transaction: &Transaction<'_>,
        identifiers: &minijinja::Value,
        candidates: Candidates,
    ) -> Result<u64> {
        let keys = candidates.keys();
        if keys.as_ref().is_some_and(Vec::is_empty) {
            return Ok(0);
        }
        let tables: Vec<String> = [Some(&self.main), self.out_of_period.as_ref()]
            .into_iter()
            .flatten()
            .filter(|table| table.is_created)
            .map(|table| table.name.quoted())
            .collect();
        let count = statement::render(
            "count_duplicate_keys.sql",
            &minijinja::context! { tables, ..identifiers.clone() },
        )?;
        let keys: Option<Vec<String>> = keys
            .map(|keys| keys.iter().map(|key| String::from_utf8_lossy(&key.text()).into_owned()).collect());
        let failed = |cause| failure::statement("cannot count the keys that the file repeats", cause);
        Ok(transaction.query_one(&count, &[&keys]).await.map_err(failed)?.get::<_, i64>(0).unsigned_abs())
    }
}

impl StagingTable {
    /// Creates it, unless it exists.
    pub async fn create(
        &mut self,
        transaction: &Transaction<'_>,
        identifiers: &minijinja::Value,
        filename: &str,
    ) -> Result<()> {
        if self.is_created {
            return Ok(());
        }
        let (file, owner, unlogged) = match &self.kind {
            StagingKind::Partition { owner } => ("create_partition.sql", owner.as_deref().map(quote), false),
            StagingKind::MergedFile => ("create_staging_table.sql", None, true),
            StagingKind::FewRows => ("create_staging_table.sql", None, false),
        };
        let identifiers = minijinja::context! {
            staging => self.name.quoted(),
            filename => literal(filename),
            owner,
            unlogged,
            ..identifiers.clone()
        };
        let create = statement::render(file, &identifiers)?;
        let failed = |cause| failure::statement(format!("cannot create staging table {}", self.name), cause);
        transaction.batch_execute(&create).await.map_err(failed)?;
        self.is_created = true;
        Ok(())
    }

    /// Adds the rows that a COPY `sent`, if the server says that it took as many.
    pub fn add_rows(&mut self, sent: u64, taken: u64) -> Result<()> {
        if sent != taken {
            let text = format!("{sent} rows were sent to staging table {}, which took {taken}", self.name);
            return Err(Error::new(Kind::Internal, text));
        }
        self.rows += sent;
        Ok(())
    }

    /// Drops it.
    pub async fn drop(self, transaction: &Transaction<'_>) -> Result<()> {
        if !self.is_created {
            return Ok(());
        }
        let staging = self.name.quoted();
        let drop = statement::render("drop_staging_table.sql", &minijinja::context! { staging })?;
        let failed = |cause| failure::statement(format!("cannot drop staging table {}", self.name), cause);
        transaction.batch_execute(&drop).await.map_err(failed)
    }
}
