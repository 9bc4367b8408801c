//! A job: which file to load, and into which table.

use crate::database::identifier::{TableName, quote};
use crate::extract::source::Source;
use crate::load::columns::column_list;
use crate::transform::row::{Column, Computed, without_filename};
use crate::transform::times::Period;

/// What to load, and into which table.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The source of the gzipped CSV file.
    pub(crate) source: Source,
    /// The file's month, in which nearly all of its rows lie.
    pub(crate) period: Period,
    /// Number of rows that the file had when it was published, if known.
    pub(crate) published_rows: Option<u64>,
    /// The file name that is stored with each row.
    pub(crate) filename: String,
    /// The target table.
    pub(crate) table: TableName,
    /// The columns that are computed: the row key and the file name.
    pub(crate) computed: Computed,
    /// The file's expected SHA-256 in lower-case hex, if known.
    pub(crate) sha256: Option<String>,
    /// Maximum number of rows that may be rejected.
    pub(crate) max_rejects: u32,
}

impl Job {
    /// Returns the quoted names for the statement templates, without the columns to fill.
    pub(crate) fn names(&self) -> minijinja::Value {
        minijinja::context! {
            table => self.table.quoted(),
            first_day => self.period.first_day.to_string(),
            next_first_day => self.period.next_first_day.to_string(),
            key_column => quote(&self.computed.key_column.to_lowercase()),
            time_column => quote(&self.period.time_column.to_lowercase()),
            filename_column => quote(&self.computed.filename_column.to_lowercase()),
        }
    }

    /// Returns the quoted names with those of the `columns` to fill.
    pub(crate) fn names_with_columns(&self, columns: &[Column]) -> minijinja::Value {
        minijinja::context! {
            columns => column_list(columns, ""),
            file_columns => column_list(&without_filename(columns, &self.computed), ""),
            staged_columns => column_list(columns, "staged."),
            ..self.names()
        }
    }
}
