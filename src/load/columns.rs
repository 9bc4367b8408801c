//! Reads the target's columns from the database's catalog, and finds those that a file fills.

use tokio_postgres::{Client, GenericClient, Row};

use crate::database::failure;
use crate::database::identifier::{TableName, quote};
use crate::database::statement::sql;
use crate::error::{Error, Kind, Result};
use crate::extract::rows::FileColumn;
use crate::transform::row::{Column, Computed};
use crate::transform::row_key::KEY_LENGTH;
use crate::transform::times::Period;
use crate::transform::value::ColumnType;

/// The columns of the target, without generated columns.
pub(crate) struct TableColumns {
    table: TableName,
    columns: Vec<TableColumn>,
}

struct TableColumn {
    name: String,
    /// The type, if loads support it.
    column_type: Option<ColumnType>,
    /// The type's name in the catalog.
    type_name: String,
    not_null: bool,
    has_default: bool,
}

impl TableColumns {
    /// Reads the columns of `table`. Refuses a view or another relation that is not a table, and a table without the
    /// columns that every load fills.
    pub(crate) async fn read(
        client: &Client,
        table: &TableName,
        computed: &Computed,
        period: &Period,
    ) -> Result<Self> {
        let failed = |cause| failure::statement(format!("cannot read the columns of table {table}"), cause);
        let rows = client.query(sql!("describe_table.sql"), &[&table.quoted()]).await.map_err(failed)?;
        let refuse = |text: String| Err(Error::new(Kind::Configuration, text));
        match rows.first() {
            None => return refuse(format!("table {table} does not exist")),
            Some(row) if !row.get::<_, bool>("is_table") => {
                let kind: String = row.get("kind");
                return refuse(format!("{table} is {kind}: a load needs an ordinary or a partitioned table"));
            }
            Some(_) => {}
        }
        let columns = Self { table: table.clone(), columns: rows.iter().map(TableColumn::of).collect() };
        columns.require(&computed.key_column, "text", holds_names)?;
        columns.require(&computed.filename_column, "text", holds_names)?;
        columns.require(&period.time_column, "timestamp", is_time)?;
        let in_key =
            |column: &&TableColumn| computed.key_of.iter().any(|name| column.name.eq_ignore_ascii_case(name));
        for column in columns.columns.iter().filter(in_key) {
            column.to_fill(table, false)?;
        }
        Ok(columns)
    }

    /// Returns the columns that a load fills from a file with these columns: those that the file has, and the computed
    /// ones. The others take their defaults. `may_be_null` holds the names of those that have no default. Refuses
    /// columns of a type that loads do not support and, unless triggers may fill them (`has_triggers`), columns that
    /// are NOT NULL without a default and a value.
    pub(crate) fn filled_from(
        &self,
        file: &[FileColumn],
        computed: &Computed,
        period: &Period,
        has_triggers: bool,
    ) -> Result<Filled> {
        let is_computed = |name: &str| {
            name == computed.key_column.to_lowercase() || name == computed.filename_column.to_lowercase()
        };
        let mut filled = Filled { columns: Vec::new(), without_value: Vec::new() };
        for column in &self.columns {
            let name = column.name.to_lowercase();
            if is_computed(&name) || file.iter().any(|column| column.name == name) {
                let filled_column = column.to_fill(&self.table, has_triggers)?;
                if filled_column.column_type == ColumnType::TimestampTz && period.time_zone.is_none() {
                    return Err(column.without_time_zone(&self.table));
                }
                filled.columns.push(filled_column);
            } else if !column.has_default && column.not_null && !has_triggers {
                let text = format!(
                    "column {} of table {} is NOT NULL and has no default, and the file does not have the column",
                    column.name, self.table
                );
                return Err(Error::new(Kind::Configuration, text)
                    .hint("give the column a default, or drop its NOT NULL constraint"));
            } else if !column.has_default {
                filled.without_value.push(column.name.clone());
            }
        }
        Ok(filled)
    }

    /// The names of the columns with a type that loads do not support. A file that has such a column is refused.
    pub(crate) fn unsupported(&self) -> Vec<&str> {
        let unsupported = self.columns.iter().filter(|column| column.column_type.is_none());
        unsupported.map(|column| column.name.as_str()).collect()
    }

    /// Number of columns.
    pub(crate) fn count(&self) -> usize {
        self.columns.len()
    }

    /// The file's columns that the table does not have.
    pub(crate) fn unknown(&self, file: &[FileColumn]) -> Vec<FileColumn> {
        let is_known = |name: &str| self.columns.iter().any(|column| column.name.to_lowercase() == name);
        file.iter().filter(|column| !is_known(&column.name)).cloned().collect()
    }

    fn require(&self, name: &str, type_name: &str, fits: fn(&TableColumn) -> bool) -> Result<()> {
        let column = self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        if column.is_some_and(fits) {
            return Ok(());
        }
        let text = format!(
            "target table {} has no column {name} of type {type_name}, which the pipeline requires",
            self.table
        );
        Err(Error::new(Kind::Configuration, text))
    }
}

/// The columns that a load fills.
pub(crate) struct Filled {
    /// The columns.
    pub(crate) columns: Vec<Column>,
    /// The names of the columns that the file does not have, and that have no default: they are NULL.
    pub(crate) without_value: Vec<String>,
}

impl TableColumn {
    fn of(row: &Row) -> Self {
        Self {
            name: row.get(0),
            column_type: ColumnType::from_catalog(row.get(1), row.get(2)),
            type_name: row.get(3),
            not_null: row.get(4),
            has_default: row.get(5),
        }
    }

    fn without_time_zone(&self, table: &TableName) -> Error {
        let Self { name, type_name, .. } = self;
        let text = format!(
            "column {name} of table {table} has the type {type_name}, and the time zone of the file's times is unknown"
        );
        Error::new(Kind::Configuration, text)
            .hint("set timeZone of the task, for example to America/New_York")
    }

    fn to_fill(&self, table: &TableName, has_triggers: bool) -> Result<Column> {
        let Some(column_type) = self.column_type else {
            let Self { name, type_name, .. } = self;
            let text = format!(
                "column {name} of table {table} has the type {type_name}, which loads do not support"
            );
            return Err(Error::new(Kind::Configuration, text).hint(
                "supported types: text, varchar, char, smallint, integer, bigint, numeric, real, double precision, \
                 boolean, date, timestamp, timestamptz, and domains over them",
            ));
        };
        Ok(Column { name: self.name.clone(), column_type, not_null: self.not_null && !has_triggers })
    }
}

/// Whether the column holds row keys and file names unchanged. `char(n)` does not: it pads them with blanks.
fn holds_names(column: &TableColumn) -> bool {
    match column.column_type {
        Some(ColumnType::LimitedText(limit)) => {
            limit as usize >= KEY_LENGTH && !column.type_name.starts_with("character(")
        }
        other => other == Some(ColumnType::Text),
    }
}

fn is_time(column: &TableColumn) -> bool {
    matches!(column.column_type, Some(ColumnType::Timestamp | ColumnType::TimestampTz))
}

/// The columns of a table that can be filled, as a statement's column list.
pub(crate) async fn fillable(client: &impl GenericClient, table: &TableName) -> Result<String> {
    let listed = client.query_one(sql!("list_columns.sql"), &[&table.quoted()]).await;
    let failed = |cause| failure::statement(format!("cannot read the columns of table {table}"), cause);
    Ok(listed.map_err(failed)?.get(0))
}

/// Formats the names as a statement's column list, each name after `prefix`.
pub(crate) fn column_list(columns: &[Column], prefix: &str) -> String {
    columns.iter().map(|column| format!("{prefix}{}", quote(&column.name))).collect::<Vec<_>>().join(", ")
}
