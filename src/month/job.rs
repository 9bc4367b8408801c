//! A job: which file to load, and into which table.

use std::ops::Deref;

use super::candidates::Candidate;
use crate::database::identifier::{TableName, quote};
use crate::extract::rows::FileColumn;
use crate::load::columns::column_list;
use crate::load::new_columns::LaterColumn;
use crate::transform::row::{Column, Computed, without_filename};
use crate::transform::times::Period;

/// What to load, and into which table.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    /// The file to load.
    pub(crate) file: Candidate,
    /// The files that are loaded instead, if `file` does not exist: the first that does.
    pub(crate) other_files: Vec<Candidate>,
    /// What to do if none of the files exists.
    pub(crate) if_missing: Option<String>,
    /// The file's month, in which nearly all of its rows lie.
    pub(crate) period: Period,
    /// The target table.
    pub(crate) table: TableName,
    /// The columns that are computed: the row key and the file name.
    pub(crate) computed: Computed,
    /// The file's expected SHA-256 in lower-case hex, if known.
    pub(crate) sha256: Option<String>,
    /// Maximum number of rows that may be rejected.
    pub(crate) max_rejects: u32,
    /// Names of columns in some files, and the names of these columns in the table.
    pub(crate) column_names: Vec<(String, String)>,
    /// The columns that the data set has had since some month.
    pub(crate) later_columns: Vec<LaterColumn>,
}

impl Deref for Job {
    type Target = Candidate;

    fn deref(&self) -> &Candidate {
        &self.file
    }
}

impl Job {
    /// Gives the columns of a file the names that they have in the table.
    pub(crate) fn rename(&self, file: &mut [FileColumn]) {
        for column in file {
            let name = self.column_names.iter().find(|(name, _)| name.to_lowercase() == column.name);
            if let Some((_, in_table)) = name {
                column.name = in_table.to_lowercase();
            }
        }
    }

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
