//! The other form of a month: the agency publishes Parquet, and the course's release has the same months as CSV.
//!
//! The forms have the same rows, but not the same keys: `VendorID` is a part of the key, and many rows lack it in the CSV.
//! A target that holds one form would get those rows a second time from the other. A load of the other form is
//! therefore refused, unless it replaces the rows.

use tokio_postgres::{Client, GenericClient};

use super::candidates::Candidate;
use super::job::Job;
use super::options::{IfLoaded, Options};
use crate::database::failure;
use crate::database::statement::render;
use crate::error::{Error, Kind, Result};
use crate::ledger::history;
use crate::load::tables;

impl Job {
    /// The name of the month's file in the other form; `None` if the file has neither form's name.
    pub(super) fn other_form(&self) -> Option<String> {
        let (stem, form) = self.filename.rsplit_once('.')?;
        match form {
            "csv" => Some(format!("{stem}.parquet")),
            "parquet" => Some(format!("{stem}.csv")),
            _ => None,
        }
    }

    /// The job under each name that the month's file can have in the ledger: first its own, then that of the other form.
    pub(crate) fn in_each_form(self) -> [Self; 2] {
        // the published counts are those of the file that the job names
        let other = Candidate {
            filename: self.other_form().unwrap_or_else(|| format!("{}.parquet", self.filename)),
            published_rows: None,
            ..self.file.clone()
        };
        [self.clone(), Self { file: other, ..self }]
    }

    /// Refuses the load if the target holds the month in its other form, and the load does not replace it.
    pub(super) async fn check_other_form(
        &self,
        ledger: &impl GenericClient,
        client: &Client,
        options: &Options,
    ) -> Result<()> {
        let Some(other) = self.other_form().filter(|_| options.if_loaded != IfLoaded::Replace) else {
            return Ok(());
        };
        let is_loaded = history::previous_load(ledger, &self.table, &other).await?.is_some();
        if !is_loaded && !self.holds(client, &other).await? {
            return Ok(());
        }
        let (table, filename) = (&self.table, &self.filename);
        let text = format!(
            "{table} holds the month as {other}: rows of {filename} would be inserted a second time, because the two forms of \
             a month differ in values that are part of the row key, such as VendorID"
        );
        Err(Error::new(Kind::Configuration, text)
            .hint(format!("use --if-loaded replace to replace the rows of {other}")))
    }

    /// Whether the target has rows of the file `filename` in the month.
    async fn holds(&self, client: &Client, filename: &str) -> Result<bool> {
        if !tables::exists(client, &self.table).await? {
            return Ok(false);
        }
        let holds = render!("holds_file.sql", &self.names())?;
        let [start, end] = self.period.bounds();
        let row = client.query_one(&holds, &[&filename, &start, &end]).await;
        let what = format!("cannot search {} for rows of {filename}", self.table);
        Ok(row.map_err(|cause| failure::statement(what, cause))?.get(0))
    }

    /// The files whose rows the load replaces.
    pub(super) fn replaced(&self, options: &Options) -> Vec<String> {
        match options.if_loaded {
            IfLoaded::Replace => [self.filename.clone()].into_iter().chain(self.other_form()).collect(),
            IfLoaded::Skip | IfLoaded::Merge => Vec::new(),
        }
    }
}
