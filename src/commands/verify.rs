//! `taxi verify`: compares the rows in the target with the loaded rows, and the loaded rows with the
//! published rows.

use indicatif::HumanCount;
use serde::Serialize;

use super::{settings, target};
use crate::cli::VerifyArgs;
use crate::database::session;
use crate::error::{Error, Kind, Result};
use crate::flow::model::flow::Flow;
use crate::flow::plan;
use crate::month::calendar::Month;
use crate::month::job::Job;
use crate::month::plan::Plan;
use crate::month::verify::{self, Verdict, VerifiedFile};
use crate::provision::Provisioner;
use crate::report::Report;
use crate::report::failure::Failure;
use crate::report::output::CommandOutput;
use crate::report::table;

#[derive(Serialize)]
struct Verified {
    status: &'static str,
    files: Vec<VerifiedFile>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Failure>,
}

/// Compares the row counts of the target, the ledger and the publisher, file by file.
pub(crate) async fn run(
    args: VerifyArgs,
    provisioner: &Provisioner,
    report: &dyn Report,
) -> Result<CommandOutput> {
    let flow = Flow::builtin(plan::PIPELINE)?;
    let months: Vec<Month> = args.months.months().collect();
    let database = settings::database(&args.database)?;
    let opened = target::open_read_only(database, provisioner, report).await?;
    let (settings, mut client) = opened.ok_or_else(|| {
        Error::new(Kind::Mismatch, "the embedded server does not exist yet, so it holds no files")
            .hint("use 'taxi load' to load a file, or --database-url to verify your own database")
    })?;
    let mut files = Vec::new();
    for taxi in flow.selected_types(&args.taxi) {
        let plans = months.iter().map(|month| plan::of_month(&flow, taxi, *month, None, 0));
        let plans: Vec<Plan> = plans.collect::<Result<_>>()?;
        let jobs: Vec<Job> = plans.into_iter().map(|plan| plan.job).collect();
        files.extend(session::while_answering(&settings, verify::check(&mut client, jobs)).await?);
    }
    let error = mismatch(&files, &args);
    let is_unknown = files.iter().all(|file| file.verdict == Verdict::Unknown);
    let status = match &error {
        Some(_) => "failed",
        None if is_unknown => "unknown",
        None => "verified",
    };
    let verified = Verified { status, files, error: error.as_ref().map(Failure::of) };
    Ok(CommandOutput::new(&verified, text)?.with_error(error))
}

/// The error if files are not loaded, or have other rows than they should: two different problems, each with its fix.
fn mismatch(files: &[VerifiedFile], args: &VerifyArgs) -> Option<Error> {
    let missing = files.iter().filter(|file| file.verdict == Verdict::NotLoaded).count();
    let wrong = files.iter().filter(|file| file.verdict.is_mismatch()).count() - missing;
    let count = |files: usize, verb: [&str; 2]| match files {
        1 => format!("1 file {}", verb[0]),
        _ => format!("{files} files {}", verb[1]),
    };
    let missing_text = count(missing, ["is not loaded", "are not loaded"]);
    let wrong_text = count(wrong, ["has missing or extra rows", "have missing or extra rows"]);
    let (taxi, year) = (args.taxi.join(","), args.months.year);
    let (first, last) = args.months.month.map_or((1, 12), |month| (month, month));
    let load = format!("taxi backfill --taxi {taxi} --from {year}-{first:02} --to {year}-{last:02}");
    let load_missing = format!("use '{load}' to load the missing files");
    let replace = format!("use '{load} --force --if-loaded replace' to replace the rows of the files");
    let replace_one = "use 'taxi load' with --force --if-loaded replace to replace the rows of a file";
    let (text, hint) = match (missing, wrong) {
        (0, 0) => return None,
        (_, 0) => (missing_text, load_missing),
        (0, _) if wrong == files.len() => (wrong_text, replace),
        (0, _) => (wrong_text, replace_one.to_owned()),
        _ => (format!("{wrong_text}, and {missing_text}"), format!("{load_missing}; {replace_one}")),
    };
    let text = format!("{text}, of {}", count(files.len(), ["checked"; 2]));
    Some(Error::new(Kind::Mismatch, text).hint(hint))
}

fn text(verified: &Verified) -> String {
    let figure = |figure: Option<u64>| figure.map(|rows| HumanCount(rows).to_string()).unwrap_or_default();
    let rows = verified.files.iter().map(|file| {
        [
            file.filename.clone(),
            figure(Some(file.rows_in_target)),
            figure(file.rows_in_ledger),
            figure(file.rows_published),
            match file.rows_rejected {
                0 => file.verdict.words().to_owned(),
                rejected => format!("{}, {rejected} rows rejected", file.verdict.words()),
            },
        ]
    });
    table::text(Some(["file", "in target", "in ledger", "published", ""]), rows, &[1, 2, 3])
}
