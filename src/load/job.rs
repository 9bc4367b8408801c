//! One file into one table: the stages put together.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, Transaction};

use super::duplicates;
use super::ledger::Run;
use super::merge::Merge;
use super::schema::{column_list, columns_to_fill};
use super::staging::Staging;
use crate::database::failure::statement as database_failure;
use crate::database::identifier::{TableName, quote};
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::extract::download::{self, Downloaded};
use crate::extract::gunzip;
use crate::extract::records::Records;
use crate::extract::source::{Body, Source};
use crate::report::loaded::Loaded;
use crate::report::phase::{Phase, Progress};
use crate::report::{Report, failure};
use crate::transform::batch::{self, Batch, Sorting, Transformed};
use crate::transform::row::{Column, Computed, RowEncoder};
use crate::transform::times::Period;

/// How long a load waits for another one of its table before it says so.
const SILENT_WAIT: Duration = Duration::from_secs(1);
/// Chunks that may be staged before they are moved: they cost the server's disk, not memory.
const CHUNKS_AHEAD: usize = 8;

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
    /// The table whose shape the chunks have that take the file's rows first.
    pub staging_table: TableName,
    /// The computed columns.
    pub computed: Computed,
}

/// The two connections of a load.
pub struct Sessions {
    /// The one of the load's transaction.
    pub load: Client,
    /// The one that stages.
    pub staging: Client,
}

impl Job {
    /// Loads the file in one transaction and records `run` in it.
    pub async fn run(&self, sessions: &mut Sessions, run: &mut Run, report: &dyn Report) -> Result<Loaded> {
        run.filename = Some(self.filename.clone());
        run.table = Some(self.table.clone());
        let columns = columns_to_fill(
            &sessions.load,
            &self.table,
            &self.staging_table,
            &self.computed,
            &self.period.time_column,
        )
        .await?;
        let names = Names { identifiers: self.identifiers(&columns), columns };
        let mut staging =
            Staging::new(&mut sessions.staging, &self.staging_table, run.id, &names.identifiers);
        let loaded = self.load(&mut sessions.load, &mut staging, &names, run, report).await;
        // the transaction has ended by now, and lets its chunks go
        let dropped = staging.drop_chunks().await;
        if let (Ok(_), Err(error)) = (&loaded, dropped) {
            report.notice(&format!("{}; the next load does", failure::plain(&error)));
        }
        loaded
    }

    async fn load(
        &self,
        client: &mut Client,
        staging: &mut Staging<'_>,
        names: &Names,
        run: &mut Run,
        report: &dyn Report,
    ) -> Result<Loaded> {
        let failed = |cause| database_failure(format!("the load into {} failed", self.table), cause);
        let transaction = client.transaction().await.map_err(failed)?;
        let phase = report.begin(Phase::Prepare, None);
        self.take_table(&transaction, staging.run(), names, report).await?;
        staging.begin().await?;
        let mut merge = Merge::begin(&transaction, &self.table, &self.period, &names.identifiers).await?;
        // opened last: a server does not keep a download waiting for as long as another load may take
        let body = self.source.open().await?;
        run.source = Some((self.source.address(), body.description.clone()));
        run.phases.end(phase, "done");

        let progress = Progress { total_bytes: body.description.length_bytes, ..Progress::default() };
        let phase = report.begin(Phase::Load, Some(&progress));
        let (stream, batches) = self.start_stream(body, names, merge.sorting(), &progress).await?;
        let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD);
        let stage = staging.fill(batches, merge.chunk_rows(), &progress.rows, sender);
        let move_chunks = async {
            while let Some(chunk) = chunks.recv().await {
                merge.chunk(&chunk).await?;
            }
            merge.finish().await
        };
        let (rows_staged, rows_inserted) = tokio::try_join!(stage, move_chunks)?;
        let task_failed = |cause| Error::new(Kind::Internal, "a stage's task failed").because(cause);
        let downloaded = stream.download.await.map_err(task_failed)?;
        let transformed = stream.transform.await.map_err(task_failed)?;
        run.phases.end(phase, &format!("{rows_staged} rows staged, {rows_inserted} inserted"));

        let phase = report.begin(Phase::CountDuplicates, None);
        let duplicate_keys =
            duplicates::count(&transaction, staging, &names.identifiers, transformed.repeats).await?;
        run.phases.end(phase, &format!("{duplicate_keys} rows repeat a key"));

        let loaded = Loaded {
            rows_read: rows_staged,
            rows_staged,
            rows_inserted,
            rows_matched: rows_staged - rows_inserted,
            rows_rejected: 0,
            duplicate_keys,
            csv_bytes: transformed.csv_bytes,
            downloaded_bytes: downloaded.length_bytes,
            sha256: downloaded.sha256,
        };
        let phase = report.begin(Phase::Commit, None);
        run.record_success(&transaction, &loaded).await?;
        transaction.commit().await.map_err(|cause| {
            database_failure(format!("the commit of the load into {} failed", self.table), cause)
                .hint("whether it took effect is in taxi_etl.runs; loading again is safe in either case")
        })?;
        run.phases.end(phase, "done");
        Ok(loaded)
    }

    /// The names that statements are filled with, quoted.
    fn identifiers(&self, columns: &[Column]) -> minijinja::Value {
        minijinja::context! {
            table => self.table.quoted(),
            staging_table => self.staging_table.quoted(),
            key_column => quote(&self.computed.key_column.to_lowercase()),
            time_column => quote(&self.period.time_column.to_lowercase()),
            columns => column_list(columns, ""),
            staged_columns => column_list(columns, "staged."),
        }
    }

    /// Keeps other loads of the table away until the transaction ends.
    async fn take_table(
        &self,
        transaction: &Transaction<'_>,
        run: &str,
        names: &Names,
        report: &dyn Report,
    ) -> Result<()> {
        let what = format!("cannot lock staging table {}", self.staging_table);
        let failed = |cause| database_failure(what.clone(), cause);
        let settings = statement::render("session.sql", &names.identifiers)?;
        transaction.batch_execute(&settings).await.map_err(failed)?;
        let mark = statement::render("mark_run.sql", &names.identifiers)?;
        transaction.execute(&mark, &[&run]).await.map_err(failed)?;

        let lock = statement::render("lock_staging.sql", &names.identifiers)?;
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
        .map_err(failed)
    }

    /// Starts the stages from download to row.
    async fn start_stream(
        &self,
        body: Body,
        names: &Names,
        sorting: Sorting,
        progress: &Progress,
    ) -> Result<(Stream, mpsc::Receiver<Result<Batch>>)> {
        let address = body.address.clone();
        let (download, compressed) = download::start(body, Arc::clone(&progress.bytes));
        let mut records = Records::new(gunzip::start(compressed, address.clone()), address.clone());
        let header = records.header().await?;
        let time_column = &self.period.time_column;
        let encoder = RowEncoder::new(&names.columns, &self.computed, time_column, &header, &self.filename)
            .map_err(|error| Error::new(Kind::Data, format!("{address}, line 1: {error}")))?;
        let (transform, batches) = batch::start(records, encoder, sorting);
        Ok((Stream { download, transform }, batches))
    }
}

/// The columns to fill, and the names that statements are filled with.
struct Names {
    columns: Vec<Column>,
    identifiers: minijinja::Value,
}

/// The stages under way.
struct Stream {
    download: JoinHandle<Downloaded>,
    transform: JoinHandle<Transformed>,
}
