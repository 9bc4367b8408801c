//! `taxi doctor`: checks what could prevent a load, and suggests a fix for each problem.

use serde::Serialize;

use super::settings;
use crate::cli::DoctorArgs;
use crate::doctor::{Check, CheckLevel, Findings, database, embedded, source};
use crate::error::{Error, Kind, Result};
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::month::calendar::Month;
use crate::month::job::Job;
use crate::month::plan::Plan;
use crate::provision::Provisioner;
use crate::report::failure::Failure;
use crate::report::output::CommandOutput;
use crate::report::table;

/// The month whose file is requested from the source. Both the test data and the course's site have this
/// file.
const MONTH: (u16, u8) = (2021, 1);

#[derive(Serialize)]
struct Diagnosis {
    status: CheckLevel,
    checks: Vec<Check>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Checks everything that a load needs, without changing anything.
pub(crate) async fn run(args: DoctorArgs, provisioner: &Provisioner) -> Result<CommandOutput> {
    let flow = Flow::builtin(plan::PIPELINE)?;
    let given = settings::source(args.source.source.as_ref());
    let month = Month::new(MONTH.0, MONTH.1)
        .ok_or_else(|| Error::new(Kind::Internal, "the month of the source check is invalid"))?;
    let plans =
        flow.selected_types(&args.taxi).into_iter().map(|taxi| plan::of_month(&flow, taxi, month, given, 0));
    let plans: Vec<Plan> = plans.collect::<Result<_>>()?;
    let jobs: Vec<&Job> = plans.iter().map(|plan| &plan.job).collect();

    let mut findings = Findings::default();
    let settings = match settings::database(&args.database) {
        Ok(Some(settings)) => Some(settings),
        Ok(None) => embedded::check(provisioner, &mut findings).await,
        Err(error) => {
            findings.fail("settings", &error, "correct --database-url or the PG* variables");
            None
        }
    };
    if let Some(settings) = settings {
        database::check(&settings, &jobs, &mut findings).await;
    }
    source::check(plans, &mut findings).await;
    conclude(findings.into_checks())
}

fn conclude(checks: Vec<Check>) -> Result<CommandOutput> {
    let has = |level| checks.iter().any(|check| check.level == level);
    let status = match () {
        () if has(CheckLevel::Failed) => CheckLevel::Failed,
        () if has(CheckLevel::Warning) => CheckLevel::Warning,
        () => CheckLevel::Ok,
    };
    let failed: Vec<&Check> = checks.iter().filter(|check| check.level == CheckLevel::Failed).collect();
    let error = failed.first().map(|first| {
        let names: Vec<&str> = failed.iter().map(|check| check.name.as_str()).collect();
        let text = format!("{} of {} checks failed: {}", failed.len(), checks.len(), names.join(", "));
        Error::new(first.kind.unwrap_or(Kind::Internal), text)
    });
    let diagnosis = Diagnosis { status, checks, error: error.as_ref().map(Failure::of) };
    Ok(CommandOutput::new(&diagnosis, text)?.with_error(error))
}

fn text(diagnosis: &Diagnosis) -> String {
    let rows = diagnosis.checks.iter().map(|check| {
        let mark = match check.level {
            CheckLevel::Ok => "✓ ok",
            CheckLevel::Warning => "! warning",
            CheckLevel::Failed => "✗ failed",
        };
        let fix = check.fix.as_ref().map(|fix| format!("\nfix: {fix}")).unwrap_or_default();
        [mark.to_owned(), format!("{}: {}{fix}", check.name, check.message)]
    });
    table::text(None, rows, &[])
}
