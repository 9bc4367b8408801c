//! `taxi run`: runs a flow once.

use std::sync::Arc;

use jiff::Zoned;

use super::{inputs_file, runs, settings};
use crate::cli::FlowRunArgs;
use crate::database::session;
use crate::error::{Error, Kind, Result};
use crate::flow::context::databases::{Databases, keep_password};
use crate::flow::context::runners::Runners;
use crate::flow::dry_run;
use crate::flow::model::flow::Flow;
use crate::flow::run::presets::Presets;
use crate::flow::run::{Execution, FlowSummary, Request, replay};
use crate::interrupt::Interrupt;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;
use crate::report::table;
use crate::secrets::Secrets;

/// Reads the flow, runs it and returns its summary.
pub(crate) async fn run(
    args: FlowRunArgs,
    provisioner: Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    let flow = Arc::new(Flow::read(&args.flow)?);
    flow.note_lines().for_each(|note| report.notice(&note));
    let mut request = request(flow, &args)?;
    let databases = Databases::new(settings::database(&args.database)?, provisioner);
    if let (Some(from), Some(run_id)) = (&args.from, &args.run_id) {
        let earlier = async {
            let (settings, mut client) = replay::open_history(&request, &databases, report.as_ref()).await?;
            session::while_answering(&settings, runs::find(&mut client, run_id)).await
        };
        let earlier = interrupt.or(earlier).await?;
        request = replay::continued(request, from, &earlier)?;
    }
    let (summary, error) = match Execution::begin(request.clone(), databases, interrupt, report).await {
        Ok(mut execution) => execution.finish(interrupt).await,
        Err(error) => (FlowSummary::of(&request, Some(&error)), Some(error)),
    };
    Ok(CommandOutput::new(&summary, text)?.with_error(error).with_files(summary.loads))
}

/// Prints the tasks with their values, and runs nothing.
pub(crate) fn dry_run(args: &FlowRunArgs) -> Result<CommandOutput> {
    let flow = Arc::new(Flow::read(&args.flow)?);
    let request = request(flow, args)?;
    // the password may be in a property of a task
    if let Some(database) = settings::database(&args.database)? {
        keep_password(&database, &request.secrets);
    }
    let (plan, error) = dry_run::plan(&request)?;
    Ok(CommandOutput::new(&plan, dry_run::text)?.with_error(error))
}

/// The run that the command line requests. With a trigger, the run gets the inputs of the trigger and,
/// without --trigger-date, its latest date.
fn request(flow: Arc<Flow>, args: &FlowRunArgs) -> Result<Request> {
    let (mut inputs, mut labels, secrets) = (Vec::new(), Vec::new(), Secrets::from_environment());
    let mut trigger_date = args.trigger_date.as_ref().map(|date| date.0.clone());
    if let Some(id) = &args.trigger {
        let trigger = flow.trigger(id)?;
        if trigger.disabled {
            return Err(Error::new(Kind::Usage, format!("the trigger {id} is disabled")));
        }
        let date = trigger_date.or_else(|| trigger.date_before(&Zoned::now())).ok_or_else(|| {
            Error::new(Kind::Usage, format!("the trigger {id} has no date before now"))
                .hint("use --trigger-date to set the date")
        })?;
        inputs.extend(flow.trigger_inputs(trigger, &date, &secrets)?);
        labels = trigger.labels_for(&date);
        trigger_date = Some(date);
    }
    inputs.extend(inputs_file::read(args.inputs_file.as_deref())?);
    inputs.extend(args.inputs.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
    labels.extend(args.labels.iter().map(|pair| (pair.name.clone(), pair.value.clone())));
    Ok(Request {
        flow,
        path: args.flow.clone(),
        inputs,
        labels,
        trigger: args.trigger.clone(),
        trigger_date,
        lock_timeout: args.lock.lock_timeout,
        retry_policy: settings::retry_policy(&args.retry),
        runners: Runners::new(args.runner.runner),
        part_of: None,
        secrets,
        presets: Presets::default(),
    })
}

fn text(summary: &FlowSummary) -> String {
    if summary.run_id.is_none() || summary.error.is_some() {
        return String::new();
    }
    let rows = summary.tasks.iter().map(|task| {
        let took = task.finished_at.map(|end| end.duration_since(task.started_at).as_secs_f64());
        let name = match &task.value {
            Some(value) => format!("{}[{value}]", task.task_id),
            None => task.task_id.clone(),
        };
        let took = took.map(|seconds| format!("{seconds:.3} s")).unwrap_or_default();
        [name, task.status.name().to_owned(), took]
    });
    let run = summary.run_id.map(|run| format!(" (run {run})")).unwrap_or_default();
    let table = table::text(None, rows, &[2]);
    let replay_of = summary.replay_of.map(|run| format!(", continues {run}")).unwrap_or_default();
    let outputs: String = summary.outputs.iter().map(|(name, value)| format!("\n{name} = {value}")).collect();
    let (flow, status, seconds) = (&summary.flow, summary.status.name(), summary.seconds);
    format!("{flow} {status}{run}{replay_of}\n{table}\ntotal {seconds:.3} s{outputs}")
}
