//! `taxi runs prune`: deletes old runs from the run history.

use indicatif::HumanCount;
use serde::Serialize;

use super::{settings, target};
use crate::cli::PruneArgs;
use crate::database::session;
use crate::error::Result;
use crate::ledger::prune::{self, Pruned, Retention};
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;

#[derive(Serialize)]
struct PruneResult {
    status: &'static str,
    #[serde(flatten)]
    pruned: Pruned,
}

/// Deletes the runs, or lists them with `--plan`.
pub(crate) async fn run(
    args: &PruneArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<CommandOutput> {
    let retention = Retention { before: args.older_than.before_now()?, keep_last: args.keep_last };
    let database = settings::database(&args.database)?;
    let pruned = match target::open_read_only(database, provisioner, report).await? {
        None => Pruned::default(),
        Some((settings, mut client)) => {
            let work = async {
                match args.plan {
                    true => prune::preview(&mut client, &retention).await,
                    false => prune::prune(&mut client, &retention).await,
                }
            };
            session::while_answering(&settings, work).await?
        }
    };
    let status = if args.plan { "planned" } else { "pruned" };
    CommandOutput::new(&PruneResult { status, pruned }, text)
}

fn text(result: &PruneResult) -> String {
    let Pruned { runs_by_status, task_runs, rejects, runs } = &result.pruned;
    let verb = if result.status == "planned" { "would be deleted" } else { "deleted" };
    let by_status: Vec<String> =
        runs_by_status.iter().map(|(status, count)| format!("{} {status}", HumanCount(*count))).collect();
    let details = if by_status.is_empty() { String::new() } else { format!(" ({})", by_status.join(", ")) };
    let count = runs.len() as u64;
    let since = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) => {
            let day = |run: &prune::PrunedRun| run.started_at.strftime("%Y-%m-%d").to_string();
            format!(", from {} to {}", day(first), day(last))
        }
        _ => String::new(),
    };
    format!(
        "{} runs{details}{since}, {} task runs and {} rejected rows {verb}",
        HumanCount(count),
        HumanCount(*task_runs),
        HumanCount(*rejects)
    )
}
