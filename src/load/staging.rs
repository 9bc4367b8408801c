//! The staging tables, which receive the rows of a load first. The load's transaction creates them, and no other
//! session can see them. Before the commit, the load attaches or drops each table. A rollback removes all of them.

use uuid::Uuid;

use super::target::{NewPartition, Route};
use super::transaction::Load;
use crate::database::identifier::{TableName, literal, quote};
use crate::database::statement::render;
use crate::database::{failure, locks};
use crate::error::{Error, Kind, Result};
use crate::transform::lines::Lines;

/// A staging table.
pub(crate) struct StagingTable {
    /// The table's name.
    pub(crate) name: TableName,
    /// Number of rows copied into the table.
    pub(crate) rows: u64,
    /// The lines of the rows, in the order of the COPY.
    pub(crate) lines: Lines,
    kind: StagingKind,
    is_created: bool,
}

enum StagingKind {
    /// The table becomes a partition.
    Partition { owner: Option<String> },
    /// The load merges all rows of a file from the table. The table is unlogged.
    MergedFile,
    /// The load merges a few rows from the table. The table is logged: after a server crash, recovery has to reset
    /// each unlogged table.
    FewRows,
}

/// The staging tables of one load.
pub(crate) struct Staging {
    /// Receives the rows of the file's month, or all rows.
    pub(crate) main: StagingTable,
    /// Receives the out-of-period rows, if they are staged separately.
    pub(crate) out_of_period: Option<StagingTable>,
}

impl Staging {
    /// Returns the staging tables for a `route`. For a merge, one table receives all rows of the file.
    pub(crate) fn new(route: &Route, run: Uuid) -> Self {
        let name = TableName::of("taxi_etl", &format!("staging_{}", locks::of_run(run)));
        let table =
            |name, kind| StagingTable { name, rows: 0, lines: Lines::default(), kind, is_created: false };
        match route {
            Route::Attach(NewPartition { name: partition, owner }) => Self {
                main: table(partition.clone(), StagingKind::Partition { owner: owner.clone() }),
                out_of_period: Some(table(name, StagingKind::FewRows)),
            },
            Route::Merge(_) => Self { main: table(name, StagingKind::MergedFile), out_of_period: None },
        }
    }

    /// Returns the table for rows inside (`in_period`) or outside the file's month.
    pub(crate) fn for_rows(&mut self, in_period: bool) -> &mut StagingTable {
        match &mut self.out_of_period {
            Some(table) if !in_period => table,
            _ => &mut self.main,
        }
    }

    /// Number of rows copied into both tables.
    pub(crate) fn rows(&self) -> u64 {
        self.main.rows + self.out_of_period.as_ref().map_or(0, |table| table.rows)
    }

    /// The tables that have been created.
    pub(crate) fn created(&self) -> impl Iterator<Item = &StagingTable> {
        [Some(&self.main), self.out_of_period.as_ref()].into_iter().flatten().filter(|table| table.is_created)
    }

    /// As [`Staging::created`].
    pub(crate) fn created_mut(&mut self) -> impl Iterator<Item = &mut StagingTable> {
        [Some(&mut self.main), self.out_of_period.as_mut()]
            .into_iter()
            .flatten()
            .filter(|table| table.is_created)
    }
}

impl StagingTable {
    /// Creates the table, unless it has been created already.
    pub(crate) async fn create(&mut self, load: &Load<'_>) -> Result<()> {
        if self.is_created {
            return Ok(());
        }
        let filename = literal(load.filename);
        let create = match &self.kind {
            StagingKind::Partition { owner } => {
                let owner = owner.as_deref().map(quote);
                let names = minijinja::context! { filename, owner, ..load.names_with(&self.name) };
                render!("create_partition.sql", &names)?
            }
            StagingKind::MergedFile | StagingKind::FewRows => {
                let unlogged = matches!(self.kind, StagingKind::MergedFile);
                let names = minijinja::context! { filename, unlogged, ..load.names_with(&self.name) };
                render!("create_staging_table.sql", &names)?
            }
        };
        let failed = |cause| failure::statement(format!("cannot create staging table {}", self.name), cause);
        load.transaction.batch_execute(&create).await.map_err(failed)?;
        self.is_created = true;
        Ok(())
    }

    /// Adds the number of rows that a COPY `sent` to the count. Fails if the server `copied` a different number.
    pub(crate) fn add_rows(&mut self, lines: &Lines, sent: u64, copied: u64) -> Result<()> {
        if sent != copied {
            let text =
                format!("sent {sent} rows to staging table {}, but the server copied {copied}", self.name);
            return Err(Error::new(Kind::Internal, text));
        }
        self.rows += sent;
        self.lines.append(lines);
        Ok(())
    }

    /// Whether the table becomes a partition.
    pub(crate) fn is_partition(&self) -> bool {
        matches!(self.kind, StagingKind::Partition { .. })
    }

    /// Takes deleted rows from the count. The lines of the other rows are no longer known by their number.
    pub(crate) fn remove_rows(&mut self, deleted: u64) {
        if deleted > 0 {
            self.rows -= deleted;
            self.lines = Lines::default();
        }
    }

    /// Drops the table, if it has been created.
    pub(crate) async fn drop(&self, load: &Load<'_>) -> Result<()> {
        if !self.is_created {
            return Ok(());
        }
        let drop = render!("drop_staging_table.sql", &load.names_with(&self.name))?;
        let failed = |cause| failure::statement(format!("cannot drop staging table {}", self.name), cause);
        load.transaction.batch_execute(&drop).await.map_err(failed)
    }
}
