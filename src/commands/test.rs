//! `taxi test`: runs the tests of flows.

use std::sync::Arc;

use serde::Serialize;

use super::settings;
use crate::cli::TestArgs;
use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::Databases;
use crate::flow::context::runners::Runners;
use crate::flow::run::Request;
use crate::flow::run::presets::Presets;
use crate::flow::testing::{self, CaseStatus, SuiteResult, junit};
use crate::interrupt::Interrupt;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::failure::Failure;
use crate::report::output::CommandOutput;
use crate::secrets::Secrets;

#[derive(Serialize)]
struct Tested {
    status: &'static str,
    succeeded: usize,
    failed: usize,
    skipped: usize,
    suites: Vec<SuiteResult>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Runs the test cases of each file, one after another.
pub(crate) async fn run(
    args: &TestArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    let database = settings::database(&args.database)?;
    // all files are checked before anything runs
    let files = args.tests.iter().map(|path| testing::read(path)).collect::<Result<Vec<_>>>()?;
    let mut suites = Vec::new();
    for (path, (suite, flow, flow_path)) in std::iter::zip(&args.tests, files) {
        let mut cases = Vec::new();
        for case in &suite.cases {
            let mut case = case.clone();
            case.disabled |= suite.disabled;
            let request = Request {
                flow: Arc::clone(&flow),
                path: flow_path.clone(),
                inputs: Vec::new(),
                labels: Vec::new(),
                trigger: None,
                trigger_date: None,
                lock_timeout: args.lock.lock_timeout,
                retry_policy: settings::retry_policy(&args.retry),
                runners: Runners::new(None),
                part_of: None,
                secrets: Secrets::from_environment(),
                presets: Presets::default(),
            };
            // test cases do not affect each other: each one chooses its databases
            let databases = Databases::new(database.clone(), provisioner.clone());
            cases.push(testing::run(&case, request, databases, interrupt, Arc::clone(&report)).await?);
        }
        let file = path.display().to_string();
        suites.push(SuiteResult { file, id: suite.id.0, flow: flow.name(), cases });
    }
    if let Some(path) = &args.junit {
        std::fs::write(path, junit::xml(&suites)).map_err(|cause| Error::file("write", path, cause))?;
    }
    let count = |status: CaseStatus| {
        suites.iter().flat_map(|suite| &suite.cases).filter(|case| case.status == status).count()
    };
    let (succeeded, failed) = (count(CaseStatus::Succeeded), count(CaseStatus::Failed));
    let error = (failed > 0).then(|| {
        Error::new(Kind::TaskFailed, format!("{failed} of {} test cases failed", succeeded + failed))
    });
    let tested = Tested {
        status: if error.is_some() { "failed" } else { "succeeded" },
        succeeded,
        failed,
        skipped: count(CaseStatus::Skipped),
        suites,
        error: error.as_ref().map(Failure::of),
    };
    Ok(CommandOutput::new(&tested, text)?.with_error(error))
}

fn text(tested: &Tested) -> String {
    let mut lines = Vec::new();
    for suite in &tested.suites {
        lines.push(format!("{}: {}", suite.file, suite.flow));
        for case in &suite.cases {
            let status = match case.status {
                CaseStatus::Succeeded => "succeeded",
                CaseStatus::Failed => "failed",
                CaseStatus::Skipped => "skipped",
            };
            lines.push(format!("  {} {status}, {:.3} s", case.id, case.seconds));
            lines.extend(case.faults().map(|fault| format!("    {}", fault.replace('\n', "\n    "))));
        }
    }
    let Tested { succeeded, failed, skipped, .. } = tested;
    lines.push(format!("{succeeded} succeeded, {failed} failed, {skipped} skipped"));
    lines.join("\n")
}
