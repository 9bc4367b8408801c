//! `taxi runs show --follow`: waits until a run has ended, and reports what the ledger records in the meantime.

use std::collections::HashMap;
use std::time::Duration;

use jiff::tz::TimeZone;
use tokio_postgres::Client;
use uuid::Uuid;

use crate::database::session;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::ledger::RunStatus;
use crate::ledger::history::{self, Filter, RecordedRun, RecordedTask};
use crate::ledger::rejects;
use crate::report::Report;
use crate::report::log::Line;

/// How often the ledger is read.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Reports the run's phases and tasks as they are recorded, and returns the run as it ended. A run whose process is
/// gone has ended too: the ledger reads as lost.
pub(crate) async fn to_the_end(
    mut run: RecordedRun,
    settings: &Settings,
    client: &mut Client,
    report: &dyn Report,
) -> Result<RecordedRun> {
    let is_running = |run: &RecordedRun| run.status == RunStatus::Running.name();
    if !is_running(&run) {
        return Ok(run);
    }
    let mut seen = Seen::default();
    loop {
        seen.report_new(&run, report);
        if !is_running(&run) {
            return Ok(run);
        }
        tokio::time::sleep(POLL_INTERVAL).await;
        run = session::while_answering(settings, read(client, run.run_id)).await?;
    }
}

async fn read(client: &mut Client, run_id: Uuid) -> Result<RecordedRun> {
    let filter = Filter { run_ids: Some((run_id, run_id)), limit: 1, ..Filter::default() };
    let mut run = history::list(client, &filter).await?.pop().ok_or_else(|| {
        Error::new(Kind::Data, format!("somebody has deleted the run {run_id} from the ledger"))
    })?;
    run.tasks = history::tasks(client, run_id).await?;
    run.rejects = rejects::list(client, run_id).await?;
    Ok(run)
}

/// What was reported already.
#[derive(Default)]
struct Seen {
    lines: usize,
    tasks: HashMap<Uuid, String>,
}

impl Seen {
    fn report_new(&mut self, run: &RecordedRun, report: &dyn Report) {
        // the run's own log repeats what happened to its tasks
        let lines = run.log.iter().skip(self.lines).filter(|line| line.task.is_none());
        lines.for_each(|line| report.notice(&timed(line)));
        self.lines = run.log.len();
        for task in &run.tasks {
            if self.tasks.get(&task.task_run_id) != Some(&task.status) {
                report.notice(&state_of(task));
                self.tasks.insert(task.task_run_id, task.status.clone());
            }
        }
    }
}

fn timed(line: &Line) -> String {
    let time = line.at.to_zoned(TimeZone::system()).strftime("%H:%M:%S");
    format!("{time} {}", line.words())
}

fn state_of(task: &RecordedTask) -> String {
    let at = task.finished_at.unwrap_or(task.started_at);
    let time = at.to_zoned(TimeZone::system()).strftime("%H:%M:%S");
    let value = task.value.as_ref().map(|value| format!("[{value}]")).unwrap_or_default();
    let error = task.error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{time} {}{value}: {}{error}", task.task_id, task.status)
}
