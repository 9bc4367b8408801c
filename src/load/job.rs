//! Loads one file into one table: connects the stages, from the download to the commit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, GenericClient, Transaction};
use uuid::Uuid;

use super::attach::Attach;
use super::locks::Lock;
use super::merge::Merge;
use super::schema::{column_list, columns_to_fill};
use super::sessions::Sessions;
use super::staging::Staging;
use super::target::{self, Route, Target};
use super::{IfLoaded, Options, copy, locks};
use crate::database::failure::statement as database_failure;
use crate::database::identifier::{TableName, quote};
use crate::database::statement;
use crate::error::{Error, Kind, Result};
use crate::extract::download::{self, Downloaded};
use crate::extract::gunzip;
use crate::extract::records::Records;
use crate::extract::source::{Body, Source};
use crate::extract::transfer;
use crate::ledger::history::{self, Earlier};
use crate::ledger::rejects;
use crate::ledger::run::Run;
use crate::report::loaded::Loaded;
use crate::report::phase::{Phase, Progress};
use crate::report::{Report, failure};
use crate::transform::batch::{self, Batch, Transformed};
use crate::transform::row::{Column, Computed, RowEncoder, without_filename};
use crate::transform::times::Period;

/// What to load, and into which table.
#[derive(Clone, Debug)]
pub struct Job {
    /// The source of the gzipped CSV file.
    pub source: Source,
    /// The file's month, in which nearly all of its rows lie.
    pub period: Period,
    /// Number of rows that the file had when it was published, if known.
    pub published_rows: Option<u64>,
    /// The file name that is stored with each row.
    pub filename: String,
    /// The target table.
    pub table: TableName,
    /// The columns that are computed: the row key and the file name.
    pub computed: Computed,
    /// The file's expected SHA-256 in lower-case hex, if known.
    pub sha256: Option<String>,
    /// Maximum number of rows that may be rejected.
    pub max_rejects: u32,
}

/// Load outcome of a job that did not fail.
pub enum Ended {
    /// This run has loaded the file.
    Loaded(Loaded),
    /// The file was already loaded, by the run with this ID.
    Skipped(Uuid),
}

/// A load in progress.
struct Load<'a> {
    job: &'a Job,
    transaction: &'a Transaction<'a>,
    /// The control connection: for statements that must not be part of the transaction, or cannot wait for it.
    control: &'a Client,
    names: &'a Names,
    run: &'a mut Run,
    options: &'a Options,
    report: &'a Arc<dyn Report>,
}

/// Result of the preparation, before the first row is read.
struct Prepared {
    body: Body,
    target: Target,
    /// Whether the ledger has a previous load of the file, or `--force` says that there may have been one.
    was_loaded: bool,
}

/// A whole file that is staged on the server, but not in the target yet.
struct Staged {
    staging: Staging,
    target: Target,
    was_loaded: bool,
    transformed: Transformed,
    downloaded: Downloaded,
    duplicate_keys: u64,
}

/// Result of adding a file's rows to the target.
struct Added {
    rows_inserted: u64,
    rows_deleted: u64,
    /// Number of the target's rows under the file's name in its month, if it follows from the other counts.
    rows_in_period: Option<u64>,
}

impl Job {
    /// Loads the file and records `run` in one transaction, unless the ledger shows that there is nothing to do.
    pub async fn run(
        &self,
        sessions: &mut Sessions,
        run: &mut Run,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Ended> {
        run.filename = Some(self.filename.clone());
        run.table = Some(self.table.clone());
        run.server_pid = Some(sessions.numbers[0]);
        let columns =
            columns_to_fill(&sessions.load, &self.table, &self.computed, &self.period.time_column).await?;
        let names = Names { identifiers: self.identifiers(&columns), columns };
        locks::bound(&sessions.control, options.lock_timeout, false).await?;
        let phases = run.phases.clone();
        let mut again = options.patience.retries;
        loop {
            let ended = self.load(sessions, &names, run, options, report).await;
            match &ended {
                Err(error) if again > 0 && transfer::is_changed(error) => {
                    report.notice(&format!("{}; starting over", failure::line(error)));
                    // record this attempt as failed: the next one may find nothing to do, and then records no run
                    run.record_failure(&sessions.control, error).await?;
                    run.begin_again(phases.clone());
                    again -= 1;
                }
                _ => return ended,
            }
        }
    }

    async fn load(
        &self,
        sessions: &mut Sessions,
        names: &Names,
        run: &mut Run,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Ended> {
        let began = sessions.load.transaction().await;
        let transaction =
            began.map_err(|cause| database_failure(format!("the load into {} failed", self.table), cause))?;
        let control = &sessions.control;
        let mut load = Load { job: self, transaction: &transaction, control, names, run, options, report };
        let prepared = match load.prepare().await? {
            Ok(prepared) => prepared,
            Err(loaded_by) => return Ok(Ended::Skipped(loaded_by)),
        };
        let staged = load.stream(prepared).await?;
        let phase = report.begin(Phase::Commit, None);
        let loaded = load.add(staged).await?;
        run.committing.store(true, Ordering::Relaxed);
        transaction.commit().await.map_err(|cause| {
            database_failure(format!("the commit of the load into {} failed", self.table), cause)
                .hint("whether it took effect is in taxi_etl.runs; loading again is safe in either case")
        })?;
        run.phases.end(phase, &format!("{} rows inserted", loaded.rows_inserted));
        Ok(Ended::Loaded(loaded))
    }

    /// Opens the source, unless it still has the `known` file. The inner error is the ID of the run that loaded
    /// that file.
    async fn open(
        &self,
        known: Option<&Earlier>,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Result<Body, Uuid>> {
        match known {
            Some(known) if options.if_loaded == IfLoaded::Skip => Ok(Err(known.run_id)),
            Some(known) if known.address == self.source.address() => {
                let opened = self.source.open_unless(&known.description, options.patience, report).await?;
                Ok(opened.ok_or(known.run_id))
            }
            _ => self.source.open(options.patience, report).await.map(Ok),
        }
    }

    /// Whether the target still holds at least as many rows of the file in its month as after the previous load.
    pub(super) async fn still_holds(
        &self,
        client: &impl GenericClient,
        earlier: &Earlier,
        identifiers: &minijinja::Value,
    ) -> Result<bool> {
        Ok(match earlier.rows_in_period {
            Some(rows) => self.count_held(client, identifiers).await? >= rows,
            None => false,
        })
    }

    /// Counts the file's rows that the target holds in the file's own month.
    pub(super) async fn count_held(
        &self,
        client: &impl GenericClient,
        identifiers: &minijinja::Value,
    ) -> Result<u64> {
        let count = statement::render("count_held.sql", identifiers)?;
        let range = &self.period.range;
        let counted = client.query_one(&count, &[&self.filename, &range.start, &range.end]).await;
        let what = format!("cannot count the rows of {} in {}", self.filename, self.table);
        Ok(counted.map_err(|cause| database_failure(what, cause))?.get::<_, i64>(0).unsigned_abs())
    }

    async fn delete_file(&self, transaction: &Transaction<'_>, names: &Names) -> Result<u64> {
        let delete = statement::render("delete_file.sql", &names.identifiers)?;
        let what = format!("cannot delete the rows of {} from {}", self.filename, self.table);
        transaction.execute(&delete, &[&self.filename]).await.map_err(|cause| database_failure(what, cause))
    }

    /// Returns the quoted names for the statement templates.
    pub(super) fn identifiers(&self, columns: &[Column]) -> minijinja::Value {
        minijinja::context! {
            table => self.table.quoted(),
            first_day => self.period.first_day.to_string(),
            next_first_day => self.period.next_first_day.to_string(),
            key_column => quote(&self.computed.key_column.to_lowercase()),
            time_column => quote(&self.period.time_column.to_lowercase()),
            filename_column => quote(&self.computed.filename_column.to_lowercase()),
            columns => column_list(columns, ""),
            file_columns => column_list(&without_filename(columns, &self.computed), ""),
            staged_columns => column_list(columns, "staged."),
        }
    }
}

impl Load<'_> {
    /// Waits for other loads of the month, checks the ledger and the source for whether there is anything to do,
    /// and inspects the target. The inner error is the ID of the run that has already loaded the file.
    async fn prepare(&mut self) -> Result<Result<Prepared, Uuid>> {
        let Self { job, transaction, control, options, report, .. } = *self;
        let phase = report.begin(Phase::Prepare, None);
        self.begin().await?;
        history::mark_lost(control).await?;
        let month = Lock::of_month(&job.table, job.period.range.start, &job.filename, options.lock_timeout);
        locks::take(transaction, control, &month, report.as_ref()).await?;
        let earlier = history::latest_success(transaction, &job.table, &job.filename).await?;
        let was_loaded = options.force || earlier.is_some();
        // not in the transaction: it would keep its locks on the partitions that this query reads, and other loads
        // need an exclusive lock on the default partition
        let known = match earlier.filter(|_| !options.force) {
            Some(earlier) if job.still_holds(control, &earlier, &self.names.identifiers).await? => {
                Some(earlier)
            }
            _ => None,
        };
        // after the locks: the source would not keep the download open for as long as another load may take
        let body = match job.open(known.as_ref(), options, report).await? {
            Ok(body) => body,
            Err(loaded_by) => {
                self.run.phases.end(phase, "nothing to do");
                return Ok(Err(loaded_by));
            }
        };
        self.run.source = Some((job.source.address(), body.description.clone()));
        self.run.record_start(control).await?;
        if job.max_rejects > 0 {
            // makes a missing privilege fail now, before all the work
            rejects::record(transaction, self.run.id, &job.filename, &[]).await?;
        }
        let target = target::inspect(control, &job.table, &job.period).await?;
        let detail = match &target.route {
            Route::Attach(partition) => format!("the month becomes the partition {}", partition.name),
            Route::Merge(reason) => format!("the rows are merged: {reason}"),
        };
        self.run.phases.end(phase, &detail);
        Ok(Ok(Prepared { body, target, was_loaded }))
    }

    /// Sets up the transaction, and takes the lock that shows other runs that this run is alive.
    async fn begin(&self) -> Result<()> {
        let failed = |cause| database_failure("cannot prepare the session that loads", cause);
        let settings = statement::render("session.sql", &self.names.identifiers)?;
        self.transaction.batch_execute(&settings).await.map_err(failed)?;
        let mark = statement::render("mark_run.sql", &self.names.identifiers)?;
        self.transaction.execute(&mark, &[&locks::of_run(self.run.id)]).await.map(drop).map_err(failed)
    }

    /// Streams the file into the staging tables.
    async fn stream(&mut self, prepared: Prepared) -> Result<Staged> {
        let Prepared { body, target, was_loaded } = prepared;
        let (job, identifiers) = (self.job, &self.names.identifiers);
        let progress = Progress { total_bytes: body.description.length_bytes, ..Progress::default() };
        let phase = self.report.begin(Phase::Load, Some(&progress));
        let expected = [job.sha256.clone(), body.description.sha256.clone()];
        let (stream, batches) = job.start_stream(body, self.names, &progress).await?;
        let mut staging = Staging::new(&target.route, self.run.id);
        copy::copy_all(self.transaction, &mut staging, identifiers, &job.filename, batches).await?;
        let task_failed = |cause| Error::new(Kind::Internal, "a stage's task failed").because(cause);
        let downloaded = stream.download.await.map_err(task_failed)?;
        let mut transformed = stream.transform.await.map_err(task_failed)?;
        if let Some(expected) = expected.iter().flatten().find(|expected| **expected != downloaded.sha256) {
            let (address, found) = (job.source.address(), &downloaded.sha256);
            let text = format!("{address} has the SHA-256 {found}, and should have {expected}");
            return Err(Error::new(Kind::Data, text));
        }
        let detail = match transformed.rejects.len() {
            0 => format!("{} rows staged", staging.rows()),
            rejected => format!("{} rows staged, {rejected} rejected", staging.rows()),
        };
        self.run.phases.end(phase, &detail);
        let phase = self.report.begin(Phase::CountDuplicates, None);
        let candidates = std::mem::take(&mut transformed.duplicates);
        let duplicate_keys = staging.count_duplicate_keys(self.transaction, identifiers, candidates).await?;
        self.run.phases.end(phase, &format!("{duplicate_keys} rows repeat a key"));
        Ok(Staged { staging, target, was_loaded, transformed, downloaded, duplicate_keys })
    }

    /// Adds the staged rows to the target, and records the success in the ledger. Only the commit remains.
    async fn add(&mut self, staged: Staged) -> Result<Loaded> {
        let (job, transaction) = (self.job, self.transaction);
        let Staged { staging, target, was_loaded, transformed, downloaded, duplicate_keys } = staged;
        let rows_staged = staging.rows();
        let rows_rejected = transformed.rejects.len() as u64;
        let added = match &target.route {
            Route::Attach(_) => self.attach(staging, &target, was_loaded, &transformed).await?,
            Route::Merge(_) => self.merge(staging, &target, was_loaded, &transformed).await?,
        };
        let rows_in_period = match added.rows_in_period {
            Some(rows) => rows,
            None => job.count_held(transaction, &self.names.identifiers).await?,
        };
        let loaded = Loaded {
            rows_read: rows_staged + rows_rejected,
            rows_staged,
            rows_inserted: added.rows_inserted,
            rows_matched: rows_staged - added.rows_inserted,
            rows_rejected,
            rows_deleted: added.rows_deleted,
            rows_in_period,
            duplicate_keys,
            csv_bytes: transformed.csv_bytes,
            downloaded_bytes: downloaded.length_bytes,
            sha256: downloaded.sha256,
        };
        if added.rows_deleted > 0 {
            history::forget_matched(transaction, &job.table, &job.filename).await?;
        }
        if rows_rejected > 0 {
            rejects::record(transaction, self.run.id, &job.filename, &transformed.rejects).await?;
        }
        self.run.record_success(transaction, &loaded).await?;
        Ok(loaded)
    }

    /// Attaches the staging table as the month's partition, and merges the out-of-period rows.
    async fn attach(
        &self,
        staging: Staging,
        target: &Target,
        was_loaded: bool,
        transformed: &Transformed,
    ) -> Result<Added> {
        let Self { job, transaction, control, report, .. } = *self;
        let session = self.run.server_pid.unwrap_or_default();
        let (table, identifiers) = (&job.table, &self.names.identifiers);
        let attach = Attach::new(
            transaction,
            (control, session),
            table,
            &staging.main,
            &job.period,
            &job.filename,
            identifiers,
        );
        attach.create_indexes().await?;
        let (rows_deleted, was_loaded) = self.begin_to_add(target, was_loaded).await?;
        // before the merge, so that the file's own out-of-period rows cannot match
        let mut rows_matched = attach.delete_matched_elsewhere(was_loaded).await?;
        let mut rows_inserted = staging.main.rows;
        if let Some(outside) = staging.out_of_period {
            let merge = self.merge_into(target, was_loaded);
            rows_inserted += merge.out_of_period(&outside, &transformed.outside).await?;
            outside.drop(transaction).await?;
        }
        let attached = attach.run(self.options.lock_timeout, report.as_ref()).await?;
        rows_matched += attached.rows_matched;
        Ok(Added {
            rows_inserted: rows_inserted - rows_matched,
            rows_deleted,
            rows_in_period: Some(transformed.rows_in_period - rows_matched + attached.rows_of_file_moved),
        })
    }

    /// Merges all staged rows into the target.
    async fn merge(
        &self,
        staging: Staging,
        target: &Target,
        was_loaded: bool,
        transformed: &Transformed,
    ) -> Result<Added> {
        let (rows_deleted, was_loaded) = self.begin_to_add(target, was_loaded).await?;
        let merge = self.merge_into(target, was_loaded);
        let rows_inserted = merge.whole_file(&staging.main, &transformed.outside).await?;
        // rows that match may be under another file's name, and rows of an earlier version of the file may be there too
        let is_as_staged = rows_inserted == staging.main.rows && !was_loaded && target.triggers.is_empty();
        let rows_in_period = is_as_staged.then_some(transformed.rows_in_period);
        staging.main.drop(self.transaction).await?;
        Ok(Added { rows_inserted, rows_deleted, rows_in_period })
    }

    const fn merge_into<'a>(&'a self, target: &'a Target, was_loaded: bool) -> Merge<'a> {
        Merge {
            transaction: self.transaction,
            table: &self.job.table,
            target,
            period: &self.job.period,
            identifiers: &self.names.identifiers,
            was_loaded,
        }
    }

    /// Waits until no other load is adding rows to the table. If the file's rows are to be replaced, deletes them.
    /// Returns the number of deleted rows, and whether the target may still hold rows of the file.
    async fn begin_to_add(&self, target: &Target, was_loaded: bool) -> Result<(u64, bool)> {
        let Self { job, transaction, control, options, report, .. } = *self;
        locks::take(transaction, control, &Lock::of_table(&job.table), report.as_ref()).await?;
        locks::bound(transaction, options.lock_timeout, true).await?;
        match options.if_loaded {
            IfLoaded::Replace => {
                let deleted = job.delete_file(transaction, self.names).await?;
                if !target.triggers.is_empty() {
                    self.check_deleted(target).await?;
                }
                Ok((deleted, false))
            }
            IfLoaded::Skip | IfLoaded::Merge => Ok((0, was_loaded)),
        }
    }

    /// Fails if a trigger has kept rows of the file from being deleted.
    async fn check_deleted(&self, target: &Target) -> Result<()> {
        let table = &self.job.table;
        let count = statement::render("count_files.sql", &self.names.identifiers)?;
        let left = self.transaction.query(&count, &[&[&self.job.filename].as_slice()]).await;
        let left =
            left.map_err(|cause| database_failure(format!("cannot count the rows of {table}"), cause))?;
        if left.is_empty() {
            return Ok(());
        }
        let names = target.triggers.join(", ");
        let text = format!(
            "rows of {} were not deleted from {table}, which has triggers: {names}",
            self.job.filename
        );
        Err(Error::new(Kind::Configuration, text).hint("disable the trigger, or load with --if-loaded merge"))
    }
}

impl Job {
    /// Starts the stages from the download to the encoded rows.
    async fn start_stream(
        &self,
        body: Body,
        names: &Names,
        progress: &Progress,
    ) -> Result<(Stream, mpsc::Receiver<Result<Batch>>)> {
        let address = body.address.clone();
        let (download, compressed) = download::start(body, Arc::clone(&progress.bytes));
        let mut records = Records::new(gunzip::start(compressed, address.clone()), address.clone());
        let header = records.header().await?;
        let encoder = RowEncoder::new(&names.columns, &self.computed, &self.period.time_column, &header)
            .map_err(|error| Error::new(Kind::Data, format!("{address}, line 1: {error}")))?;
        let (transform, batches) =
            batch::start(records, encoder, self.period.clone(), self.max_rejects, Arc::clone(&progress.rows));
        Ok((Stream { download, transform }, batches))
    }
}

/// The columns to fill, and the quoted names for the statement templates.
struct Names {
    columns: Vec<Column>,
    identifiers: minijinja::Value,
}

/// The tasks of the running stages.
struct Stream {
    download: JoinHandle<Downloaded>,
    transform: JoinHandle<Transformed>,
}
