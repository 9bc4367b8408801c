//! Loads one file into one table, in three steps of one transaction:
//!
//! ```text
//! prepare                          stream                              commit
//! lock the month, decide, open     download, decompress, parse,        add the rows to the target,
//! the source, inspect the target   encode, COPY into staging tables    record the success, COMMIT
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::decision::Decision;
use super::file::Opening;
use super::job::Job;
use super::options::Options;
use super::sessions::Sessions;
use crate::database::failure as database_failure;
use crate::database::locks::{self, Lock};
use crate::database::statement::sql;
use crate::error::{Detail, Error, Kind, Result};
use crate::extract::download::Downloaded;
use crate::extract::rows::Place;
use crate::extract::source::Body;
use crate::ledger::history::{self, PreviousLoad};
use crate::ledger::rejects;
use crate::ledger::run::Run;
use crate::load::columns::TableColumns;
use crate::load::staging::Staging;
use crate::load::target::{self, Route};
use crate::load::transaction::{Load, count_held};
use crate::load::{self, copy, repeated_keys};
use crate::report::load_counts::LoadCounts;
use crate::report::phase::{Phase, Progress};
use crate::report::{Report, failure};
use crate::transform::batch::Transformed;

/// Outcome of a load that did not fail.
pub(crate) enum LoadOutcome {
    /// This run has loaded the file.
    Loaded(LoadCounts),
    /// The file was already loaded, by this run.
    Skipped(PreviousLoad),
}

/// The state that the three steps share.
struct Steps<'a> {
    job: &'a Job,
    options: &'a Options,
    run: &'a mut Run,
    report: &'a Arc<dyn Report>,
}

/// A whole file that is staged on the server, but not in the target yet.
struct Staged {
    staging: Staging,
    transformed: Transformed,
    downloaded: Downloaded,
    /// Number of rows that were staged, with those that repeat a key.
    rows_staged: u64,
    duplicate_keys: u64,
}

/// Loads the file of `job` and records `run` in one transaction, unless there is nothing to do. If the file changes
/// at the source while it is read, the load restarts, as often as the retry policy allows.
pub(crate) async fn run(
    job: &Job,
    sessions: &mut Sessions,
    run: &mut Run,
    options: &Options,
    report: &Arc<dyn Report>,
) -> Result<LoadOutcome> {
    run.filename = Some(job.filename.clone());
    run.table = Some(job.table.clone());
    run.server_pid = Some(sessions.server_pids[0]);
    // before everything else: a load into another kind of table, or one without the required columns, cannot succeed
    TableColumns::read(&sessions.load, &job.table, &job.computed, &job.period).await?;
    locks::set_timeout(&sessions.control, options.lock_timeout, false).await?;
    let phases = run.phases.clone();
    let mut retries = options.retry_policy.retries;
    loop {
        let mut steps = Steps { job, options, run, report };
        match steps.load(sessions).await {
            Err(error) if retries > 0 && error.detail() == Some(Detail::SourceChanged) => {
                report.notice(&format!("{}; restarting the load", failure::line(&error)));
                // record this attempt as failed: the next one may find nothing to do, and then records no run
                run.record_failure(&sessions.control, &error).await?;
                run.begin_again(phases.clone());
                retries -= 1;
            }
            outcome => return outcome,
        }
    }
}

impl Steps<'_> {
    async fn load(&mut self, sessions: &mut Sessions) -> Result<LoadOutcome> {
        let table = &self.job.table;
        let begun = sessions.load.transaction().await;
        let transaction = begun.map_err(|cause| {
            database_failure::statement(
                format!("cannot begin the transaction of the load into {table}"),
                cause,
            )
        })?;
        let (mut load, body) = match self.prepare(&transaction, &sessions.control).await? {
            Ok(prepared) => prepared,
            Err(previous) => return Ok(LoadOutcome::Skipped(previous)),
        };
        let staged = self.stream(&mut load, body).await?;
        let phase = self.report.begin(Phase::Commit, None);
        self.run.record_progress(load.control).await?;
        let counts = self.add(&load, staged).await?;
        self.run.committing.store(true, Ordering::Relaxed);
        transaction.commit().await.map_err(|cause| {
            database_failure::statement(format!("cannot commit the load into {table}"), cause).hint(
                "taxi_etl.runs shows whether the commit took effect; it is safe to load again in either case",
            )
        })?;
        self.run.phases.end(phase, &format!("{} rows inserted", counts.rows_inserted));
        Ok(LoadOutcome::Loaded(counts))
    }

    /// Waits for other loads of the month, decides whether there is anything to do, opens the source and inspects
    /// the target. The inner error is the load that has already loaded the file.
    async fn prepare<'a>(
        &mut self,
        transaction: &'a Transaction<'a>,
        control: &'a Client,
    ) -> Result<Result<(Load<'a>, Body), PreviousLoad>>
    where
        Self: 'a,
    {
        let Self { job, options, report, .. } = *self;
        let phase = report.begin(Phase::Prepare, None);
        begin(transaction, self.run.id).await?;
        history::mark_lost(control).await?;
        let month = Lock::of_month(&job.table, job.period.range.start, &job.filename, options.lock_timeout);
        locks::take(transaction, control, &month, report.as_ref()).await?;
        let decision = job.decide(transaction, control, options).await?;
        let was_loaded = options.force || !matches!(decision, Decision::Load { again: false });
        // after the locks: the source could close the download while this load waits for another load
        let opened = match decision {
            Decision::Skip(previous) => Err(previous),
            Decision::Load { .. } => Ok(job.source.open(options.retry_policy, report).await?),
            Decision::LoadIfChanged(previous) => {
                let changed = job.source.open_unless(&previous.description, options.retry_policy, report);
                changed.await?.ok_or(previous)
            }
        };
        let body = match opened {
            Ok(body) => body,
            Err(previous) => {
                self.run.phases.end(phase, "nothing to do");
                return Ok(Err(previous));
            }
        };
        self.run.source = Some((job.source.address(), body.description.clone()));
        self.run.record_start(control).await?;
        if job.max_rejects > 0 {
            // fails now, before all the work, if a privilege is missing
            rejects::record(transaction, self.run.id, &job.filename, &[]).await?;
        }
        let target = target::inspect(control, &job.table, &job.period, &job.computed.key_column).await?;
        let detail = match &target.route {
            Route::Attach(partition) => format!("the month becomes the partition {}", partition.name),
            Route::Merge(reason) => format!("the rows are merged: {reason}"),
        };
        self.run.phases.end(phase, &detail);
        let load = Load {
            transaction,
            control,
            server_pid: self.run.server_pid.unwrap_or_default(),
            table: &job.table,
            target,
            period: &job.period,
            filename: &job.filename,
            names: job.names(),
            was_loaded,
            replaces: job.replaced(options),
            place: Place::default(),
            lock_timeout: options.lock_timeout,
            report: report.as_ref(),
        };
        Ok(Ok((load, body)))
    }

    /// Streams the file into the staging tables.
    async fn stream(&mut self, load: &mut Load<'_>, body: Body) -> Result<Staged> {
        let job = self.job;
        let progress = Progress { total_bytes: body.description.length_bytes, ..Progress::default() };
        let phase = self.report.begin(Phase::Load, Some(&progress));
        self.run.record_progress(load.control).await?;
        let expected = [job.sha256.clone(), body.description.sha256.clone()];
        let new_columns = &mut self.run.new_columns;
        let opening = Opening { job, options: self.options, load, progress: &progress, new_columns };
        let stages = opening.start(body).await?;
        let mut staging = Staging::new(&load.target.route, self.run.id);
        copy::copy_all(load, &mut staging, stages.batches).await?;
        let task_failed = |cause| Error::new(Kind::Internal, "the task of a stage failed").because(cause);
        let downloaded = stages.download.await.map_err(task_failed)?;
        let mut transformed = stages.transform.await.map_err(task_failed)?;
        if let Some(expected) = expected.iter().flatten().find(|expected| **expected != downloaded.sha256) {
            let (address, found) = (job.source.address(), &downloaded.sha256);
            let text = format!("{address} has the wrong SHA-256: expected {expected}, found {found}");
            return Err(Error::new(Kind::Data, text));
        }
        let detail = match transformed.rejects.len() {
            0 => format!("{} rows staged", staging.rows()),
            rejected => format!("{} rows staged, {rejected} rejected", staging.rows()),
        };
        self.run.phases.end(phase, &detail);
        if transformed.rows_with_extra_cells > 0 {
            let rows = transformed.rows_with_extra_cells;
            load.report.notice(&format!("left out empty cells after the last column, in {rows} rows"));
        }
        let phase = self.report.begin(Phase::CountDuplicates, None);
        self.run.record_progress(load.control).await?;
        let rows_staged = staging.rows();
        let candidates = std::mem::take(&mut transformed.duplicates);
        let action = self.options.on_repeated_key;
        let duplicate_keys = repeated_keys::handle(load, &mut staging, candidates, action).await?;
        self.run.phases.end(phase, &format!("{duplicate_keys} rows repeat a key"));
        Ok(Staged { staging, transformed, downloaded, rows_staged, duplicate_keys })
    }

    /// Adds the staged rows to the target, and records the success in the ledger. After that, only the commit remains.
    async fn add(&mut self, load: &Load<'_>, staged: Staged) -> Result<LoadCounts> {
        let Staged { staging, transformed, downloaded, rows_staged, duplicate_keys } = staged;
        let rows_rejected = transformed.rejects.len() as u64;
        let added = load::add(load, &staging, &transformed).await?;
        // if repeated keys were left out, it is not known in which month
        let rows_in_period = match added.rows_in_period.filter(|_| staging.rows() == rows_staged) {
            Some(rows) => rows,
            None => count_held(load.transaction, load.table, load.filename, load.period, &load.names).await?,
        };
        let counts = LoadCounts {
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
        for replaced in load.replaces.iter().filter(|_| added.rows_deleted > 0) {
            history::forget_matched(load.transaction, load.table, replaced).await?;
        }
        for other in load.replaces.iter().filter(|replaced| *replaced != load.filename) {
            history::mark_dropped(load.transaction, load.table, other).await?;
        }
        if rows_rejected > 0 {
            rejects::record(load.transaction, self.run.id, load.filename, &transformed.rejects).await?;
        }
        self.run.record_success(load.transaction, &counts).await?;
        Ok(counts)
    }
}

/// Sets up the transaction, and takes the lock that shows other runs that this run is alive.
async fn begin(transaction: &Transaction<'_>, run: Uuid) -> Result<()> {
    let failed = |cause| database_failure::statement("cannot set up the session of the load", cause);
    transaction.batch_execute(sql!("session.sql")).await.map_err(failed)?;
    transaction.execute(sql!("mark_run.sql"), &[&locks::of_run(run)]).await.map(drop).map_err(failed)
}
