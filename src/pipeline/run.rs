//! A run: the steps of a plan, one after the other, recorded however they end.

use std::time::Instant;

use super::plan::{Plan, Step};
use crate::error::{Error, Kind, Result};
use crate::load::job::Sessions;
use crate::load::ledger::Run;
use crate::load::tables;
use crate::report::loaded::Loaded;
use crate::report::phase::{Phase, Phases};
use crate::report::summary::{Heading, Summary};
use crate::report::{Report, failure};

/// What happened before the run and counts as part of it.
pub struct Before {
    /// When the command began.
    pub began: Instant,
    /// The phases so far.
    pub phases: Phases,
    /// Whether the load was asked for whatever the ledger says.
    pub forced: bool,
}

/// Runs the plan against the database behind `sessions`.
pub async fn run(
    plan: Plan,
    sessions: &mut Sessions,
    before: Before,
    report: &dyn Report,
) -> Result<Summary> {
    Run::create_ledger(&mut sessions.load).await?;
    let taxi = plan.inputs.get("taxi").unwrap_or_default().to_owned();
    let mut run = Run::begin(plan.pipeline, plan.inputs.into_pairs(), before.forced);
    run.phases = before.phases;
    match run_steps(&plan.steps, sessions, &mut run, report).await {
        Ok(loaded) => {
            let heading = Heading {
                run_id: run.id,
                taxi,
                filename: run.filename.unwrap_or_default(),
                table: run.table.map(|table| table.to_string()).unwrap_or_default(),
            };
            Ok(Summary::new(heading, loaded, run.phases, before.began.elapsed()))
        }
        Err(error) => {
            // The load's own error is the one to report; that it could not be recorded is worth a notice.
            if let Err(unrecorded) = run.record_failure(&sessions.load, &error).await {
                report
                    .notice(&format!("the failed run is not in the ledger: {}", failure::plain(&unrecorded)));
            }
            Err(error)
        }
    }
}

async fn run_steps(
    steps: &[Step],
    sessions: &mut Sessions,
    run: &mut Run,
    report: &dyn Report,
) -> Result<Loaded> {
    let mut loaded = None;
    for step in steps {
        match step {
            Step::CreateTables { sql, table, staging_table } => {
                let phase = report.begin(Phase::CreateTables, None);
                let identifiers = minijinja::context! {
                    table => table.quoted(),
                    staging_table => staging_table.quoted(),
                };
                tables::create_missing(&mut sessions.load, table, sql, &identifiers).await?;
                tables::create_missing(&mut sessions.load, staging_table, "staging_table.sql", &identifiers)
                    .await?;
                run.phases.end(phase, "done");
            }
            Step::LoadCsv(job) => loaded = Some(job.run(sessions, run, report).await?),
        }
    }
    loaded.ok_or_else(|| Error::new(Kind::Configuration, "the pipeline loads nothing"))
}
