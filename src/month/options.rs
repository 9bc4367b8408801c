//! The options that apply to every load.

use std::time::Duration;

use crate::extract::csv::dialect::BlankLines;
use crate::extract::csv::encoding::Encoding;
use crate::extract::csv::gunzip::CsvForm;
use crate::extract::transfer::RetryPolicy;
use crate::load::new_columns::NewColumns;
use crate::load::repeated_keys::OnRepeatedKey;

/// What to do if the file has changed at the source since it was loaded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum IfLoaded {
    /// Leave the target unchanged, and do not query the source.
    Skip,
    /// Insert the rows that are new.
    #[default]
    Merge,
    /// Replace the rows of the loaded file with those of the new file, in one transaction.
    Replace,
}

impl IfLoaded {
    /// The stable name that the ledger uses.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Merge => "merge",
            Self::Replace => "replace",
        }
    }
}

/// Options that apply to every load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Options {
    /// Load a file even if it is already loaded.
    pub(crate) force: bool,
    /// What to do if the file has changed at the source since it was loaded.
    pub(crate) if_loaded: IfLoaded,
    /// Maximum time to wait for a lock that another run or session holds.
    pub(crate) lock_timeout: Duration,
    /// Timeout and retry settings for the source.
    pub(crate) retry_policy: RetryPolicy,
    /// What to do with blank lines of a file.
    pub(crate) blank_lines: BlankLines,
    /// The encoding of the text of a CSV file.
    pub(crate) encoding: Encoding,
    /// What to do with columns of a file that the table does not have. `None` adds those that the pipeline knows to a
    /// table that taxi made, and refuses a file with others.
    pub(crate) new_columns: Option<NewColumns>,
    /// What to do with rows that repeat the key of an earlier row. `None` keeps them, unless the table has a unique
    /// index of the key.
    pub(crate) on_repeated_key: Option<OnRepeatedKey>,
}

impl Options {
    /// What a CSV file may have that others have not.
    pub(crate) fn csv_form(&self) -> CsvForm {
        CsvForm { blank_lines: self.blank_lines, encoding: self.encoding }
    }
}
