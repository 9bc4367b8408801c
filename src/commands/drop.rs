//! `taxi drop`: removes loaded months from the target.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::sync::Arc;

use indicatif::HumanCount;
use serde::Serialize;

use super::{settings, target};
use crate::cli::DropArgs;
use crate::database::session;
use crate::error::{Error, Kind, Result};
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::interrupt::Interrupt;
use crate::month::drop::{self, LoadedFile};
use crate::month::job::Job;
use crate::month::sessions::Sessions;
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::output::CommandOutput;
use crate::report::table;

#[derive(Serialize)]
struct DropResult {
    status: &'static str,
    rows_dropped: u64,
    files: Vec<LoadedFile>,
}

/// Removes the months, after the user has confirmed it.
pub(crate) async fn run(
    args: &DropArgs,
    provisioner: &Provisioner,
    interrupt: &Interrupt,
    report: Arc<dyn Report>,
) -> Result<CommandOutput> {
    if !args.yes && !args.plan && !std::io::stdin().is_terminal() {
        return Err(Error::new(
            Kind::Usage,
            "'taxi drop' asks before it removes rows, but stdin is not a terminal",
        )
        .hint("use --yes to remove the rows without a question, or --plan to list them"));
    }
    let jobs = jobs(args)?;
    let report = report.as_ref();
    let opened = target::open_read_only(settings::database(&args.database)?, provisioner, report);
    let Some((settings, mut client)) = interrupt.or(opened).await? else {
        return output("nothing", Vec::new());
    };
    let preview = session::while_answering(&settings, drop::preview(&mut client, &jobs));
    let files = interrupt.or(preview).await?;
    if args.plan || files.is_empty() {
        return output(if files.is_empty() { "nothing" } else { "planned" }, files);
    }
    if !args.yes {
        confirm(&files, interrupt).await?;
    }
    let mut sessions = interrupt.or(Sessions::open(&settings, report)).await?;
    let tokens = [sessions.load.cancel_token(), sessions.control.cancel_token()];
    let server_pids = sessions.server_pids;
    let dropping = drop::run(&mut sessions, &jobs, args.lock.lock_timeout, report);
    let dropped = interrupt.or(session::while_answering(&settings, dropping)).await;
    if dropped.is_err() && interrupt.raised().is_some() {
        // the transaction rolls back now, and not at the end of its statement
        session::terminate(&settings, &tokens, &server_pids).await?;
    }
    output("dropped", dropped?)
}

/// The jobs of the months, of which only the files' names and months are used.
fn jobs(args: &DropArgs) -> Result<Vec<Job>> {
    let flow = Flow::builtin(plan::PIPELINE)?;
    let job = |month| Ok(plan::of_month(&flow, &args.taxi, month, None, 0)?.job);
    let jobs: Vec<Job> = args.months.months().map(job).collect::<Result<_>>()?;
    Ok(jobs.into_iter().flat_map(Job::in_each_form).collect())
}

/// Asks on the terminal. Fails unless the answer is yes.
async fn confirm(files: &[LoadedFile], interrupt: &Interrupt) -> Result<()> {
    let rows: u64 = files.iter().map(|file| file.rows).sum();
    let question = format!("{}\nRemove these {} rows? [y/N] ", text_of(files), HumanCount(rows));
    let asked = anstream::stderr().write_all(question.as_bytes()).and_then(|()| anstream::stderr().flush());
    asked.map_err(|cause| Error::new(Kind::Io, "cannot write to stderr").because(cause))?;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    // a thread of its own: the process does not wait for it if a signal arrives
    std::thread::spawn(move || {
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer).map(|_| answer);
        let _ = sender.send(read);
    });
    let answer = async {
        let unread = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::new(Kind::Io, "cannot read the answer from stdin").because(cause)
        };
        receiver.await.map_err(|cause| unread(cause.into()))?.map_err(|cause| unread(cause.into()))
    };
    match interrupt.or(answer).await?.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Error::new(Kind::Usage, "nothing was removed: the answer was not yes")),
    }
}

fn output(status: &'static str, files: Vec<LoadedFile>) -> Result<CommandOutput> {
    let rows_dropped = if status == "dropped" { files.iter().map(|file| file.rows).sum() } else { 0 };
    CommandOutput::new(&DropResult { status, rows_dropped, files }, |result| match result.status {
        "nothing" => "nothing to remove: none of these months is loaded".to_owned(),
        "planned" => text_of(&result.files),
        _ => format!("{}\n{} rows removed", text_of(&result.files), HumanCount(result.rows_dropped)),
    })
}

fn text_of(files: &[LoadedFile]) -> String {
    let rows = files.iter().flat_map(|file| {
        let held = file.partitions.iter().map(|held| {
            let is_whole = file.dropped_partition.as_deref() == Some(held.partition.as_str());
            let action = match (is_whole, file.rows_moved) {
                (false, _) => "rows deleted".to_owned(),
                (true, 0) => "partition dropped".to_owned(),
                (true, moved) => {
                    format!("partition dropped, {} rows of other files kept", HumanCount(moved))
                }
            };
            [file.filename.clone(), held.partition.clone(), HumanCount(held.rows).to_string(), action]
        });
        let without_rows = file.partitions.is_empty().then(|| {
            [file.filename.clone(), file.table.clone(), "0".to_owned(), "no rows in the target".to_owned()]
        });
        held.chain(without_rows).collect::<Vec<_>>()
    });
    table::text(Some(["file", "partition", "rows", ""]), rows, &[2])
}
