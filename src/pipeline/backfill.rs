//! A backfill: many plans, each one a run of its own, several at a time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::plan::Plan;
use super::run::Load;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::load::Options;
use crate::load::sessions::Sessions;
use crate::report::summary::{Outcome, Summary};
use crate::report::{Event, Report};

/// The load outcome of one plan.
pub type Ended = (Summary, Option<Error>);

/// The settings of a backfill.
pub struct Backfill {
    /// The database to load into.
    pub settings: Settings,
    /// The options of every load.
    pub options: Options,
    /// How many plans run at the same time.
    pub jobs: usize,
    /// Whether to start no further plans after a failure.
    pub fail_fast: bool,
    /// Whether the range ends at `latest`. If so, a month that is not published yet is not a failure.
    pub to_latest: bool,
}

/// State that the workers share.
struct Shared {
    backfill: Backfill,
    interrupt: Interrupt,
    report: Arc<dyn Report>,
    plans: Mutex<VecDeque<(usize, Plan)>>,
    ended: Mutex<Vec<(usize, Ended)>>,
    some_failed: AtomicBool,
}

impl Backfill {
    /// Runs the plans and returns their load outcomes in the order of the plans. The first worker uses `sessions`.
    pub async fn run(
        self,
        plans: Vec<Plan>,
        sessions: Sessions,
        interrupt: &Interrupt,
        report: Arc<dyn Report>,
    ) -> Result<Vec<Ended>> {
        report.emit(None, Event::RangeBegan(plans.len()));
        let not_begun: Vec<Ended> = plans.iter().map(|plan| (plan.summary(), None)).collect();
        let workers = self.jobs.min(plans.len());
        let shared = Arc::new(Shared {
            backfill: self,
            interrupt: interrupt.clone(),
            report,
            plans: Mutex::new(plans.into_iter().enumerate().collect()),
            ended: Mutex::default(),
            some_failed: AtomicBool::new(false),
        });
        let mut first = Some(sessions);
        let workers: Vec<_> =
            (0..workers).map(|_| tokio::spawn(Arc::clone(&shared).work(first.take()))).collect();
        for worker in workers {
            worker
                .await
                .map_err(|cause| Error::new(Kind::Internal, "a worker's task failed").because(cause))?;
        }
        let mut all = not_begun;
        for (index, ended) in lock(&shared.ended).drain(..) {
            all[index] = ended;
        }
        Ok(all)
    }
}

impl Shared {
    async fn work(self: Arc<Self>, mut sessions: Option<Sessions>) {
        while let Some((index, plan)) = self.next() {
            let load = Load::new(plan, self.backfill.options, true, Arc::clone(&self.report));
            // the server may have been restarted since the previous month
            let usable = sessions.take().filter(|sessions| !sessions.is_closed());
            let connected = match usable {
                Some(usable) => Ok(usable),
                None => self.interrupt.or(Sessions::open(&self.backfill.settings)).await,
            };
            let ended = match connected {
                Ok(connected) => {
                    let (summary, error, left) = load.finish(connected, &self.interrupt).await;
                    sessions = left;
                    (summary, error)
                }
                Err(error) => load.fail(error),
            };
            let missing = ended.0.status == Outcome::NotPublished && !self.backfill.to_latest;
            if missing || ended.0.status == Outcome::Failed {
                self.some_failed.store(true, Ordering::Relaxed);
            }
            self.report.emit(Some(&ended.0.filename), Event::MonthEnded(&ended.0.line()));
            lock(&self.ended).push((index, ended));
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
