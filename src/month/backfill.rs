//! A backfill: many plans, each with its own run, several at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::options::Options;
use super::plan::Plan;
use super::run::MonthRun;
use super::sessions::Sessions;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::report::summary::{FileSummary, Outcome};
use crate::report::{Event, Report};

/// The result of one plan: its summary, and the error if the load failed.
pub(crate) type PlanResult = (FileSummary, Option<Error>);

/// The settings of a backfill.
pub(crate) struct Backfill {
    /// The database to load into.
    pub(crate) settings: Settings,
    /// The options of every load.
    pub(crate) options: Options,
    /// How many plans run at the same time.
    pub(crate) jobs: usize,
    /// Whether to start no further plans after a failure.
    pub(crate) fail_fast: bool,
    /// Whether the range ends at `latest`. If so, a month that is not published yet is not a failure.
    pub(crate) to_latest: bool,
}

/// State that the workers share.
struct Workers {
    backfill: Backfill,
    interrupt: Interrupt,
    report: Arc<dyn Report>,
    plans: Mutex<VecDeque<(usize, Plan)>>,
    results: Mutex<Vec<(usize, PlanResult)>>,
    some_failed: AtomicBool,
}

impl Backfill {
    /// Runs the plans and returns their results in the order of the plans. The first worker uses `sessions`.
    pub(crate) async fn run(
        self,
        plans: Vec<Plan>,
        sessions: Sessions,
        interrupt: &Interrupt,
        report: Arc<dyn Report>,
    ) -> Result<Vec<PlanResult>> {
        report.emit(None, Event::RangeBegan(plans.len()));
        let mut all: Vec<PlanResult> = plans.iter().map(|plan| (plan.summary(), None)).collect();
        let workers = self.jobs.min(plans.len());
        let shared = Arc::new(Workers {
            backfill: self,
            interrupt: interrupt.clone(),
            report,
            plans: Mutex::new(plans.into_iter().enumerate().collect()),
            results: Mutex::default(),
            some_failed: AtomicBool::new(false),
        });
        let mut first = Some(sessions);
        let workers: Vec<_> =
            (0..workers).map(|_| tokio::spawn(Arc::clone(&shared).work(first.take()))).collect();
        for worker in workers {
            worker
                .await
                .map_err(|cause| Error::new(Kind::Internal, "a worker task failed").because(cause))?;
        }
        for (index, result) in lock(&shared.results).drain(..) {
            all[index] = result;
        }
        Ok(all)
    }
}

impl Workers {
    async fn work(self: Arc<Self>, mut sessions: Option<Sessions>) {
        while let Some((index, plan)) = self.next() {
            let run = MonthRun::new(plan, self.backfill.options, true, Arc::clone(&self.report));
            // the server may have been restarted since the previous month
            let open_sessions = sessions.take().filter(|sessions| !sessions.is_closed());
            let connected = match open_sessions {
                Some(open_sessions) => Ok(open_sessions),
                None => {
                    let report = run.report();
                    self.interrupt.or(Sessions::open(&self.backfill.settings, report.as_ref())).await
                }
            };
            let result = match connected {
                Ok(connected) => {
                    let (summary, error, returned_sessions) = run.finish(connected, &self.interrupt).await;
                    sessions = returned_sessions;
                    (summary, error)
                }
                Err(error) => run.fail(error),
            };
            let missing = result.0.status == Outcome::NotPublished && !self.backfill.to_latest;
            if missing || result.0.status == Outcome::Failed {
                self.some_failed.store(true, Ordering::Relaxed);
            }
            let line = result.0.line();
            let event = match result.0.status {
                Outcome::Cancelled => Event::MonthCancelled,
                _ => Event::MonthEnded(&line),
            };
            self.report.emit(Some(&result.0.filename), event);
            lock(&self.results).push((index, result));
        }
    }

    fn next(&self) -> Option<(usize, Plan)> {
        let stop = self.backfill.fail_fast && self.some_failed.load(Ordering::Relaxed);
        if stop || self.interrupt.raised().is_some() { None } else { lock(&self.plans).pop_front() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
