//! One file into one table: the stages put together.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_postgres::{Client, GenericClient, Transaction};

use super::copy::Copy;
use super::locks::Lock;
use super::merge::{Merge, Merged};
use super::schema::{column_list, columns_to_fill};
use super::sessions::Sessions;
use super::time_index::TimeIndex;
use super::{IfLoaded, Options, duplicates, locks, merge};
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
use crate::transform::batch::{self, Batch, Sorting, Transformed};
use crate::transform::row::{Column, Computed, RowEncoder};
use crate::transform::times::Period;

/// What to load, and where to.
#[derive(Clone, Debug)]
pub struct Job {
    /// The gzipped CSV.
    pub source: Source,
    /// The time in which nearly all of its rows lie.
    pub period: Period,
    /// How many rows the file had when it was published, where that is known.
    pub published_rows: Option<u64>,
    /// The name that the rows carry.
    pub filename: String,
    /// The target table.
    pub table: TableName,
    /// The table whose shape the tables have that take the rows which are to be merged.
    pub staging_table: TableName,
    /// The computed columns.
    pub computed: Computed,
    /// The file's SHA-256 in lower-case hex, where it is known.
    pub sha256: Option<String>,
    /// How many of its rows may be left out.
    pub max_rejects: u32,
}

/// How a job ended that did not fail.
pub enum Ended {
    /// The file's rows are in the target.
    Loaded(Loaded),
    /// They were already, loaded by this run.
    Skipped(uuid::Uuid),
}

/// What the source and the ledger say of a file together.
enum Found {
    /// It is to be loaded.
    Body(Box<Body>),
    /// It was, by this run.
    Loaded(uuid::Uuid),
}

impl Job {
    /// Loads the file in one transaction and records `run` in it, unless the ledger says that there is nothing to do.
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
        let columns = columns_to_fill(
            &sessions.load,
            &self.table,
            Some(&self.staging_table),
            &self.computed,
            &self.period.time_column,
        )
        .await?;
        let names = Names { identifiers: self.identifiers(&columns), columns };
        locks::bound(&sessions.aside, options.lock_timeout, false).await?;
        let phases = run.phases.clone();
        let mut again = options.patience.retries;
        loop {
            let ended = self.load(&mut sessions.load, &sessions.aside, &names, run, options, report).await;
            match &ended {
                Err(error) if again > 0 && transfer::is_changed(error) => {
                    report.notice(&format!("{}; starting over", failure::line(error)));
                    // the ledger has this one; what comes now may end as no run at all
                    run.record_failure(&sessions.aside, error).await?;
                    run.begin_again(phases.clone());
                    again -= 1;
                }
                Err(error) if again > 0 && merge::is_overtaken(error) => {
                    report.notice(&format!("{}; starting over", failure::line(error)));
                    run.phases = phases.clone();
                    again -= 1;
                }
                _ => return ended,
            }
        }
    }

    async fn load(
        &self,
        client: &mut Client,
        aside: &Client,
        names: &Names,
        run: &mut Run,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Ended> {
        let failed = |cause| database_failure(format!("the load into {} failed", self.table), cause);
        let transaction = client.transaction().await.map_err(failed)?;
        let phase = report.begin(Phase::Prepare, None);
        self.begin(&transaction, run.id, names).await?;
        history::mark_lost(aside).await?;
        let month =
            Lock::of_month(&self.table, self.period.range.start, &self.filename, options.lock_timeout);
        locks::take(&transaction, aside, &month, report.as_ref()).await?;
        let earlier = history::latest_success(&transaction, &self.table, &self.filename).await?;
        let known = match earlier {
            Some(earlier)
                if options.force || self.still_holds(&transaction, &earlier, &names.identifiers).await? =>
            {
                Some(earlier)
            }
            _ => None,
        };
        // after the locks: a server does not keep a download waiting for as long as another load may take
        let mut body = match self.open(known.as_ref(), options, report).await? {
            Found::Body(body) => *body,
            Found::Loaded(by) => {
                run.phases.end(phase, "nothing to do");
                return Ok(Ended::Skipped(by));
            }
        };
        run.source = Some((self.source.address(), body.description.clone()));
        run.record_start(aside).await?;
        if self.max_rejects > 0 {
            // a right that is missing shows before all the work
            rejects::record(&transaction, run.id, &self.filename, &[]).await?;
        }
        let replaces = options.if_loaded == IfLoaded::Replace;
        let mut rows_deleted = 0;
        if replaces {
            drop(body);
            rows_deleted = self.delete_file(&transaction, names).await?;
            body = self.source.open(options.patience, report).await?;
            run.source = Some((self.source.address(), body.description.clone()));
        }
        let held = known.and_then(|known| known.rows_in_period).filter(|_| !replaces);
        let (mut merge, sorting) =
            Merge::begin(&transaction, &self.table, &self.period, &names.identifiers, held).await?;
        run.phases.end(phase, "done");

        let progress = Progress { total_bytes: body.description.length_bytes, ..Progress::default() };
        let phase = report.begin(Phase::Load, Some(&progress));
        let expected = [self.sha256.clone(), body.description.sha256.clone()];
        let (stream, batches) = self.start_stream(body, names, sorting, &progress).await?;
        let copy = Copy {
            transaction: &transaction,
            table: &self.table,
            staging_table: &self.staging_table,
            run: run.id,
            identifiers: &names.identifiers,
            straight: merge.period_is_free().then_some(&options.turn),
        };
        let mut index = TimeIndex::new(aside, &self.table);
        let copied = copy.run(batches, &mut index).await?;
        let rows_copied = copied.rows;
        merge.begin_with(copied).await?;
        index.summarize().await?;
        let task_failed = |cause| Error::new(Kind::Internal, "a stage's task failed").because(cause);
        let downloaded = stream.download.await.map_err(task_failed)?;
        let transformed = stream.transform.await.map_err(task_failed)?;
        if let Some(expected) = expected.iter().flatten().find(|expected| **expected != downloaded.sha256) {
            let (address, found) = (self.source.address(), &downloaded.sha256);
            let text = format!("{address} has the SHA-256 {found}, and should have {expected}");
            return Err(Error::new(Kind::Data, text));
        }
        let rows_staged = rows_copied + transformed.rows_known;
        let rows_rejected = transformed.rejects.len() as u64;
        let detail = match rows_rejected {
            0 => format!("{rows_staged} rows staged"),
            rejected => format!("{rows_staged} rows staged, {rejected} rejected"),
        };
        run.phases.end(phase, &detail);

        let phase = report.begin(Phase::CountDuplicates, None);
        let duplicate_keys = transformed.known_again
            + duplicates::count(&transaction, &merge, &self.period, &names.identifiers, transformed.repeats)
                .await?;
        run.phases.end(phase, &format!("{duplicate_keys} rows repeat a key"));

        let phase = report.begin(Phase::Commit, None);
        locks::take(&transaction, aside, &Lock::of_table(&self.table), report.as_ref()).await?;
        locks::bound(&transaction, options.lock_timeout, true).await?;
        let Merged { rows_inserted, stray_times } = merge.finish().await?;
        let rows_matched = rows_staged - rows_inserted;
        let rows_in_period = match held {
            // what is known spares a look at the month
            Some(rows) if rows_inserted == 0 => rows,
            None if rows_matched == 0 => transformed.rows_in_period,
            _ => self.count_held(&transaction, &names.identifiers).await?,
        };
        let loaded = Loaded {
            rows_read: rows_staged + rows_rejected,
            rows_staged,
            rows_inserted,
            rows_matched,
            rows_rejected,
            rows_deleted,
            rows_in_period,
            stray_times,
            duplicate_keys,
            csv_bytes: transformed.csv_bytes,
            downloaded_bytes: downloaded.length_bytes,
            sha256: downloaded.sha256,
        };
        if rows_deleted > 0 {
            history::forget_matched(&transaction, &self.table, &self.filename).await?;
        }
        if rows_rejected > 0 {
            rejects::record(&transaction, run.id, &self.filename, &transformed.rejects).await?;
        }
        run.record_success(&transaction, &loaded).await?;
        run.committing.store(true, Ordering::Relaxed);
        transaction.commit().await.map_err(|cause| {
            database_failure(format!("the commit of the load into {} failed", self.table), cause)
                .hint("whether it took effect is in taxi_etl.runs; loading again is safe in either case")
        })?;
        run.phases.end(phase, &format!("{rows_inserted} rows inserted"));
        Ok(Ended::Loaded(loaded))
    }

    /// Opens the source, unless it has the file that is `known` still, or is not to be asked.
    async fn open(
        &self,
        known: Option<&Earlier>,
        options: &Options,
        report: &Arc<dyn Report>,
    ) -> Result<Found> {
        let patience = options.patience;
        let Some(known) = known.filter(|_| !options.force) else {
            return Ok(Found::Body(Box::new(self.source.open(patience, report).await?)));
        };
        if options.if_loaded == IfLoaded::Skip {
            return Ok(Found::Loaded(known.run_id));
        }
        if known.address != self.source.address() {
            return Ok(Found::Body(Box::new(self.source.open(patience, report).await?)));
        }
        Ok(match self.source.open_unless(&known.description, patience, report).await? {
            Some(body) => Found::Body(Box::new(body)),
            None => Found::Loaded(known.run_id),
        })
    }

    /// Whether the target still holds what an earlier run left of the file.
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

    /// How many rows of the file the target holds in the file's own month.
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

    /// The names that statements are filled with, quoted.
    pub(super) fn identifiers(&self, columns: &[Column]) -> minijinja::Value {
        minijinja::context! {
            table => self.table.quoted(),
            staging_table => self.staging_table.quoted(),
            key_column => quote(&self.computed.key_column.to_lowercase()),
            time_column => quote(&self.period.time_column.to_lowercase()),
            filename_column => quote(&self.computed.filename_column.to_lowercase()),
            columns => column_list(columns, ""),
            staged_columns => column_list(columns, "staged."),
        }
    }

    /// Sets the transaction up and tells others that the run is alive.
    async fn begin(&self, transaction: &Transaction<'_>, run: uuid::Uuid, names: &Names) -> Result<()> {
        let failed = |cause| database_failure("cannot prepare the session that loads", cause);
        let settings = statement::render("session.sql", &names.identifiers)?;
        transaction.batch_execute(&settings).await.map_err(failed)?;
        let mark = statement::render("mark_run.sql", &names.identifiers)?;
        transaction.execute(&mark, &[&locks::of_run(run)]).await.map(drop).map_err(failed)
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
        let (transform, batches) =
            batch::start(records, encoder, sorting, self.max_rejects, Arc::clone(&progress.rows));
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
