//! The types of task that a flow may have.

use super::expression::Template;

/// One task of a flow.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name within the flow.
    pub id: String,
    /// What it does, and with what.
    pub task_type: TaskType,
}

/// What a task does; the texts are filled in when the run is planned.
#[derive(Clone, Debug)]
pub enum TaskType {
    /// Runs a file of `sql/` unless the tables exist.
    CreateTables {
        /// The file's name.
        sql: Template,
        /// The target table.
        table: Template,
        /// The staging table.
        staging_table: Template,
    },
    /// Streams a gzipped CSV into the target.
    LoadCsv(Box<LoadCsv>),
}

/// A gzipped CSV and where its rows go.
#[derive(Clone, Debug)]
pub struct LoadCsv {
    /// The file's address or path.
    pub from: Template,
    /// The target table.
    pub table: Template,
    /// The staging table.
    pub staging_table: Template,
    /// The column that holds a row's time.
    pub time_column: Template,
    /// The month, `2021-01`, in which nearly all rows of the file lie.
    pub period: Template,
    /// How many rows the file had when it was published; empty where that is not known.
    pub published_rows: Option<Template>,
    /// The name that the rows carry.
    pub filename: Template,
    /// The column that takes it.
    pub filename_column: Template,
    /// The column that takes the row key.
    pub row_key_column: Template,
    /// The columns that make the key, in order.
    pub row_key: Vec<Template>,
}

impl TaskType {
    /// The type's name in a flow.
    pub const CREATE_TABLES: &str = "taxi.postgresql.CreateTables";
    /// The type's name in a flow.
    pub const LOAD_CSV: &str = "taxi.postgresql.LoadCsv";
}
