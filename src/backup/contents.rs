//! What a database holds: rows and digests of the files in the targets, and rows of all other tables.

use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Transaction};

use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement::{render, sql};
use crate::error::Result;
use crate::ledger::schema;

/// What a database holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// The run history; `None` if there is none.
    pub(crate) ledger: Option<Ledger>,
    /// The tables that loads have filled.
    pub(crate) targets: Vec<Target>,
    /// All other tables.
    pub(crate) other_tables: Vec<Table>,
}

/// The run history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ledger {
    /// The version of its tables.
    pub(crate) version: usize,
    /// The number of runs.
    pub(crate) runs: u64,
}

/// A table that loads have filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// The table's name.
    pub(crate) table: String,
    /// Its files.
    pub(crate) files: Vec<FileRows>,
}

/// The rows of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRows {
    /// The file's name; `None` for rows without one.
    pub(crate) filename: Option<String>,
    /// Number of rows.
    pub(crate) rows: u64,
    /// The sum of the hashes of the rows.
    pub(crate) digest: String,
}

/// Another table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// The table's name.
    pub(crate) table: String,
    /// Number of rows.
    pub(crate) rows: u64,
}

/// The tables that loads have filled, as the run history names them, and the version of the run history.
pub(crate) struct Known {
    version: usize,
    targets: Vec<TableName>,
}

impl Known {
    /// Reads the run history.
    pub(crate) async fn read(client: &Client) -> Result<Self> {
        let version = schema::applied_version(client).await?;
        if version == 0 {
            return Ok(Self { version, targets: Vec::new() });
        }
        let rows = client.query(sql!("backup/list_targets.sql"), &[]).await;
        let rows = rows.map_err(|cause| failure::statement("cannot read taxi_etl.runs", cause))?;
        let targets = rows.iter().map(|row| Ok(TableName::parse(row.get(0))?.in_schema()));
        Ok(Self { version, targets: targets.collect::<Result<_>>()? })
    }

    /// Prevents loads from attaching partitions until the transaction ends. Must be called before the transaction takes
    /// its snapshot: rows that a load attaches are visible in earlier snapshots.
    pub(crate) async fn lock(&self, transaction: &Transaction<'_>, existing: &[TableRow]) -> Result<()> {
        for TableRow { name, .. } in existing.iter().filter(|table| self.targets.contains(&table.name)) {
            let lock = render!("backup/lock_table.sql", &minijinja::context! { table => name.quoted() })?;
            let locked = transaction.batch_execute(&lock).await;
            locked.map_err(|cause| failure::statement(format!("cannot lock table {name}"), cause))?;
        }
        Ok(())
    }
}

/// A table of the database.
pub(crate) struct TableRow {
    name: TableName,
    has_filename: bool,
}

/// Lists the tables of the database.
pub(crate) async fn tables(client: &impl tokio_postgres::GenericClient) -> Result<Vec<TableRow>> {
    let rows = client.query(sql!("backup/list_tables.sql"), &[]).await;
    let rows = rows.map_err(|cause| failure::statement("cannot list the tables of the database", cause))?;
    let table = |row: &tokio_postgres::Row| TableRow {
        name: TableName::of(row.get(0), row.get(1)),
        has_filename: row.get(2),
    };
    Ok(rows.iter().map(table).collect())
}

/// Counts the rows of all tables in the transaction's snapshot.
pub(crate) async fn read(transaction: &Transaction<'_>, known: &Known) -> Result<Contents> {
    let mut contents = Contents::default();
    for TableRow { name, has_filename } in tables(transaction).await? {
        let failed = |cause| failure::statement(format!("cannot count the rows of table {name}"), cause);
        let names = minijinja::context! { table => name.quoted() };
        let table = name.to_string();
        if has_filename && known.targets.contains(&name) {
            let digest = render!("backup/digest_files.sql", &names)?;
            let rows = transaction.query(&digest, &[]).await.map_err(failed)?;
            let file = |row: &tokio_postgres::Row| FileRows {
                filename: row.get(0),
                rows: row.get::<_, i64>(1).unsigned_abs(),
                digest: row.get(2),
            };
            contents.targets.push(Target { table, files: rows.iter().map(file).collect() });
        } else {
            let count = render!("backup/count_rows.sql", &names)?;
            let row = transaction.query_one(&count, &[]).await.map_err(failed)?;
            contents.other_tables.push(Table { table, rows: row.get::<_, i64>(0).unsigned_abs() });
        }
    }
    if known.version > 0 {
        let runs = contents.other_tables.iter().find(|table| table.table == "taxi_etl.runs");
        contents.ledger = Some(Ledger { version: known.version, runs: runs.map_or(0, |table| table.rows) });
    }
    Ok(contents)
}

/// Reads what a database holds that no other session uses.
pub(crate) async fn read_all(client: &mut Client) -> Result<Contents> {
    let failed = |cause| failure::statement("cannot read the restored database", cause);
    let known = Known::read(client).await?;
    let transaction = client.transaction().await.map_err(failed)?;
    transaction.batch_execute(sql!("backup/session.sql")).await.map_err(failed)?;
    let contents = read(&transaction, &known).await?;
    transaction.commit().await.map_err(failed)?;
    Ok(contents)
}

impl Contents {
    /// Number of rows in all tables.
    pub(crate) fn rows(&self) -> u64 {
        let files = self.targets.iter().flat_map(|target| &target.files).map(|file| file.rows);
        files.chain(self.other_tables.iter().map(|table| table.rows)).sum()
    }

    /// Number of files in the targets.
    pub(crate) fn files(&self) -> usize {
        self.targets.iter().map(|target| target.files.len()).sum()
    }

    /// Describes what `self`, the manifest's contents, and `found` do not share.
    pub(crate) fn differences(&self, found: &Self) -> Vec<String> {
        let mut differences = Vec::new();
        let (expected, found) = (self.lines(), found.lines());
        for (name, value) in &expected {
            match found.iter().find(|(other, _)| other == name) {
                None => differences.push(format!("{name} is missing")),
                Some((_, other)) if other != value => {
                    differences.push(format!("{name} has {other}; expected {value}"));
                }
                Some(_) => {}
            }
        }
        let is_new = |(name, _): &&(String, String)| expected.iter().all(|(other, _)| other != name);
        differences
            .extend(found.iter().filter(is_new).map(|(name, _)| format!("{name} is not in the manifest")));
        differences
    }

    fn lines(&self) -> Vec<(String, String)> {
        let files = self.targets.iter().flat_map(|Target { table, files }| {
            files.iter().map(move |file| {
                let name = file.filename.as_deref().unwrap_or("rows without a file name");
                (format!("{name} in {table}"), format!("{} rows with the digest {}", file.rows, file.digest))
            })
        });
        let others = self.other_tables.iter();
        let others = others.map(|table| (format!("table {}", table.table), format!("{} rows", table.rows)));
        let version =
            |ledger: &Ledger| ("the run history".to_owned(), format!("the version {}", ledger.version));
        files.chain(others).chain(self.ledger.as_ref().map(version)).collect()
    }
}
