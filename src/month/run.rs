//! The run of a plan: creates the target table, loads the file, and records whether the run succeeded or failed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::job::Job;
use super::load::{self, LoadOutcome};
use super::options::Options;
use super::plan::Plan;
use super::sessions::Sessions;
use crate::database::session;
use crate::error::{Detail, Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::ledger::run::Run;
use crate::load::tables;
use crate::report::failure::Failure;
use crate::report::log::{Log, RunReport};
use crate::report::phase::{Phase, seconds};
use crate::report::summary::{FileSummary, Outcome};
use crate::report::{Report, failure};
use crate::secrets::Secrets;

/// Time limit for rolling back a cancelled run and recording it. The process must exit within five seconds of the
/// signal: one second is left for what is in progress when the signal arrives.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(4);

/// A plan that is being run.
pub(crate) struct MonthRun {
    table_sql: Option<String>,
    job: Job,
    summary: FileSummary,
    run: Run,
    options: Options,
    began: Instant,
    one_of_several: bool,
    /// The report of the command.
    outer: Arc<dyn Report>,
    /// The report of this run, which names the file.
    report: Arc<dyn Report>,
}

impl MonthRun {
    /// Prepares a run of `plan`. Its events go to `report`, with the file name if the run is `one_of_several`.
    pub(crate) fn new(plan: Plan, options: Options, one_of_several: bool, report: Arc<dyn Report>) -> Self {
        let log = Log::default();
        let summary = plan.summary();
        let outer = report;
        let file = one_of_several.then(|| summary.filename.clone());
        let report = Arc::new(RunReport { outer: Arc::clone(&outer), file, log: log.clone() });
        let mut run = Run::begin(plan.pipeline, plan.inputs, log);
        (run.forced, run.if_loaded) = (options.force, Some(options.if_loaded.name()));
        Self {
            table_sql: plan.table_sql,
            job: plan.job,
            summary,
            run,
            options,
            began: Instant::now(),
            one_of_several,
            outer,
            report,
        }
    }

    /// Makes this load a task of the flow run `run`. The flow's `secrets` are masked in the recorded run.
    #[must_use]
    pub(crate) fn within_flow_run(mut self, run: uuid::Uuid, secrets: Secrets) -> Self {
        self.run.part_of = Some(run);
        self.run.secrets = secrets;
        self
    }

    /// The report of this run, for what happens before the load begins.
    pub(crate) fn report(&self) -> Arc<dyn Report> {
        Arc::clone(&self.report)
    }

    /// Runs `connecting` as the run's connect phase.
    pub(crate) async fn connect<T>(
        &mut self,
        connecting: impl AsyncFnOnce(&dyn Report) -> Result<T>,
    ) -> Result<T> {
        let report = self.report.as_ref();
        let phase = report.begin(Phase::Connect, None);
        let connected = connecting(report).await?;
        self.run.phases.end(phase, "done");
        Ok(connected)
    }

    /// Ends a run that failed before the load began. Returns the summary and the error.
    pub(crate) fn fail(self, error: Error) -> (FileSummary, Option<Error>) {
        let status = Outcome::of(&error);
        let seconds = seconds(self.began.elapsed());
        (FileSummary { status, seconds, error: Some(Failure::of(&error)), ..self.summary }, Some(error))
    }

    /// Loads the file on `sessions`. Returns the summary, and the error if the load failed.
    ///
    /// Also returns the sessions, unless a signal or an unresponsive server ended the run.
    pub(crate) async fn finish(
        mut self,
        mut sessions: Sessions,
        interrupt: &Interrupt,
    ) -> (FileSummary, Option<Error>, Option<Sessions>) {
        let committing = Arc::clone(&self.run.committing);
        let signal = async {
            let signal = interrupt.wait().await;
            let deadline = Instant::now() + CANCEL_TIMEOUT;
            if committing.load(Ordering::Relaxed) {
                // wait for the commit: a run that commits must not be reported as cancelled
                tokio::time::sleep(CANCEL_TIMEOUT / 2).await;
            }
            (signal, deadline)
        };
        let settings = sessions.settings().clone();
        let loading = session::while_answering(&settings, self.load(&mut sessions));
        let (outcome, deadline) = tokio::select! {
            biased;
            outcome = loading => (outcome, Instant::now() + CANCEL_TIMEOUT),
            (signal, deadline) = signal => (Err(signal), deadline),
        };
        let mut summary = self.summary.clone();
        let is_lost = outcome.as_ref().is_err_and(|error| error.detail() == Some(Detail::ServerLost));
        let mut sessions = Some(sessions).filter(|_| !is_lost);
        let error = match outcome {
            Ok(LoadOutcome::Loaded(loaded)) => {
                summary.status = Outcome::Loaded;
                summary.run_id = Some(self.run.id);
                summary.rows = loaded;
                None
            }
            Ok(LoadOutcome::Skipped(previous)) => {
                summary.status = Outcome::Skipped;
                summary.run_id = Some(previous.run_id);
                summary.rows.rows_in_period = previous.rows_in_period.unwrap_or_default();
                None
            }
            Err(error) => {
                let error = self.job.explain(error);
                summary.status = Outcome::of(&error);
                // do not record a file that the source does not have: a daily cron job would fill the history
                if summary.status != Outcome::NotPublished {
                    summary.run_id = Some(self.run.id);
                    self.clean_up(&mut sessions, &error, deadline).await;
                }
                summary.error = Some(Failure::of(&error));
                Some(error)
            }
        };
        summary.phases = self.run.phases;
        summary.seconds = seconds(self.began.elapsed());
        (summary, error, sessions)
    }

    /// Rolls back what the run has done on the server, and records its failure in the ledger.
    async fn clean_up(&self, sessions: &mut Option<Sessions>, error: &Error, deadline: Instant) {
        let report = self.report.as_ref();
        let record = async {
            if matches!(error.kind(), Kind::Interrupted | Kind::Terminated | Kind::TimedOut)
                && let Some(cancelled) = sessions.take()
            {
                // the command itself announces a signal, once for all its loads
                if error.kind() == Kind::TimedOut {
                    report.notice(&format!("{}: rolling back", error.kind().meaning()));
                }
                let client = cancelled.cancel(self.run.id).await?;
                return self.run.record_failure(&client, error).await;
            }
            let Some(sessions) = sessions else {
                report.notice(match self.run.committing.load(Ordering::Relaxed) {
                    true => "taxi_etl.runs shows whether the commit took effect; it is safe to load again in either case",
                    false => "the next load marks this run as lost in the ledger",
                });
                return Ok(true);
            };
            match self.run.record_failure(&sessions.load, error).await {
                // the connection of the load may be the one that failed
                Err(_) => self.run.record_failure(&sessions.control, error).await,
                recorded => recorded,
            }
        };
        // the caller reports the run's own error; a failure to record it is only a notice
        match tokio::time::timeout_at(deadline.into(), record).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => report.notice("the run was already committed: its rows are in the target"),
            Ok(Err(record_error)) => {
                report.notice(&format!(
                    "cannot record the end of the run in the ledger: {}",
                    failure::line(&record_error)
                ));
            }
            Err(_elapsed) => {
                report
                    .notice("cannot record the end of the run in the ledger: the database does not respond");
            }
        }
    }

    async fn load(&mut self, sessions: &mut Sessions) -> Result<LoadOutcome> {
        self.job.find_file(Some(&sessions.control), &self.options, &self.report).await?;
        if self.summary.filename != self.job.filename {
            self.summary.filename.clone_from(&self.job.filename);
            let file = self.one_of_several.then(|| self.job.filename.clone());
            let (outer, log) = (Arc::clone(&self.outer), self.run.log.clone());
            self.report = Arc::new(RunReport { outer, file, log });
        }
        if let Some(file) = &self.table_sql {
            let phase = self.report.begin(Phase::CreateTables, None);
            tables::create(&mut sessions.load, &self.job.table, file).await?;
            self.run.phases.end(phase, "done");
        }
        Box::pin(load::run(&self.job, sessions, &mut self.run, &self.options, &self.report)).await
    }
}
