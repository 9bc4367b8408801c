//! One file into one table: the stages put together.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, Transaction};

use super::copy::copy;
use super::ledger::Run;
use super::merge::{Merge, Period};
use super::schema::{column_list, columns_to_fill};
use crate::database::failure;
use crate::database::identifier::TableName;
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::extract::download::{self, Downloaded};
use crate::extract::gunzip;
use crate::extract::records::Records;
use crate::extract::source::{Body, Source};
use crate::report::Report;
use crate::report::loaded::Loaded;
use crate::report::phase::{Phase, Progress};
use crate::transform::repeats::Repeats;
use crate::transform::row::{Column, Computed, RowEncoder};

/// How long a load waits for another one's staging table before it says so.
const SILENT_WAIT: Duration = Duration::from_secs(1);

/// What to load, and where to.
#[derive(Clone, Debug)]
pub struct Job {
    /// The gzipped CSV.
    pub source: Source,
    /// The time in which nearly all of its rows lie.
    pub period: Period,
    /// The name that the rows carry.
    pub filename: String,
    /// The target table.
    pub table: TableName,
    /// The table that takes the file's rows first.
    pub staging_table: TableName,
    /// The computed columns.
    pub computed: Computed,
}

impl Job {
    /// Loads the file in one transaction and records `run` in it.
    pub async fn run(&self, client: &mut Client, run: &mut Run, report: &dyn Report) -> Result<Loaded> {
        run.filename = Some(self.filename.clone());
        run.table = Some(self.table.clone());
        let columns = columns_to_fill(
            client,
            &self.table,
            &self.staging_table,
            &self.computed,
            &self.period.time_column,
        )
        .await?;
        let failed = |cause| failure::statement(format!("the load into {} failed", self.table), cause);
        let transaction = client.transaction().await.map_err(failed)?;
        let phase = report.begin(Phase::Prepare, None);
        self.take_staging_table(&transaction, report).await?;
        // opened last: a server does not keep a download waiting for as long as another load may take
        let body = self.source.open().await?;
        run.source = Some((self.source.address(), body.description.clone()));
        run.phases.end(phase, "done");

        let progress = Progress { total_bytes: body.description.length_bytes, ..Progress::default() };
        let phase = report.begin(Phase::Copy, Some(&progress));
        let staged = self.copy(&transaction, &columns, body, &progress).await?;
        run.phases.end(phase, &format!("{} rows staged", staged.rows));

        let merge = Merge {
            table: &self.table,
            staging_table: &self.staging_table,
            columns: &columns,
            key_column: &self.computed.key_column,
            period: &self.period,
        };
        let phase = report.begin(Phase::CountDuplicates, None);
        let duplicate_keys = merge.count_duplicate_keys(&transaction, staged.repeats).await?;
        run.phases.end(phase, &format!("{duplicate_keys} rows repeat a key"));

        let phase = report.begin(Phase::Merge, None);
        let rows_inserted = merge.run(&transaction).await?;
        run.phases.end(phase, &format!("{rows_inserted} rows inserted"));

        let loaded = Loaded {
            rows_read: staged.rows,
            rows_staged: staged.rows,
            rows_inserted,
            rows_matched: staged.rows - rows_inserted,
            rows_rejected: 0,
            duplicate_keys,
            csv_bytes: staged.csv_bytes,
            downloaded_bytes: staged.downloaded.length_bytes,
            sha256: staged.downloaded.sha256,
        };
        let phase = report.begin(Phase::Commit, None);
        run.record_success(&transaction, &loaded).await?;
        transaction.commit().await.map_err(|cause| {
            failure::statement(format!("the commit of the load into {} failed", self.table), cause)
                .hint("whether it took effect is in taxi_etl.runs; loading again is safe in either case")
        })?;
        run.phases.end(phase, "done");
        Ok(loaded)
    }

    /// Locks and empties the staging table.
    async fn take_staging_table(&self, transaction: &Transaction<'_>, report: &dyn Report) -> Result<()> {
        let what = format!("cannot empty staging table {}", self.staging_table);
        let failed = |cause| failure::statement(what.clone(), cause);
        let identifiers = minijinja::context! { staging_table => self.staging_table.quoted() };
        let settings = statement::render("session.sql", &identifiers)?;
        transaction.batch_execute(&settings).await.map_err(failed)?;

        let lock = statement::render("lock_staging.sql", &identifiers)?;
        let mut locked = std::pin::pin!(transaction.batch_execute(&lock));
        match tokio::time::timeout(SILENT_WAIT, &mut locked).await {
            Ok(result) => result,
            Err(_elapsed) => {
                report.notice(&format!(
                    "waiting for staging table {}, which another session has locked",
                    self.staging_table
                ));
                locked.await
            }
        }
        .map_err(failed)?;
        let truncate = statement::render("truncate_staging.sql", &identifiers)?;
        transaction.batch_execute(&truncate).await.map_err(failed)
    }

    /// Streams the file into the staging table.
    async fn copy(
        &self,
        transaction: &Transaction<'_>,
        columns: &[Column],
        body: Body,
        progress: &Progress,
    ) -> Result<Staged> {
        let address = body.address.clone();
        let (download, compressed) = download::start(body, Arc::clone(&progress.bytes));
        let mut records = Records::new(gunzip::start(compressed, address.clone()), address.clone());
        let header = records.header().await?;
        let mut encoder = RowEncoder::new(columns, &self.computed, &header, &self.filename)
            .map_err(|error| Error::new(Kind::Data, format!("{address}, line 1: {error}")))?;

        let identifiers = minijinja::context! {
            staging_table => self.staging_table.quoted(),
            columns => column_list(columns, ""),
        };
        let statement = statement::render("copy_into_staging.sql", &identifiers)?;
        let sink = transaction.copy_in(&statement).await.map_err(|cause| {
            failure::statement(format!("copy into staging table {} failed", self.staging_table), cause)
        })?;
        let (rows, repeats) =
            copy(&mut records, &mut encoder, sink, &self.staging_table, &progress.rows).await?;
        let downloaded = download
            .await
            .map_err(|cause| Error::new(Kind::Internal, "the download's task failed").because(cause))?;
        Ok(Staged { rows, repeats, csv_bytes: records.bytes_read(), downloaded })
    }
}

struct Staged {
    rows: u64,
    repeats: Repeats,
    csv_bytes: u64,
    downloaded: Downloaded,
}
