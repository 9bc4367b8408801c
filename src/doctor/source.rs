//! Checks whether the source is reachable and has the files.

use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanBytes;

use super::Findings;
use crate::error::Kind;
use crate::extract::description::Description;
use crate::extract::source::Source;
use crate::extract::transfer::RetryPolicy;
use crate::month::options::Options;
use crate::month::plan::Plan;
use crate::report::Report;
use crate::report::forward::Quiet;

const RETRY_POLICY: RetryPolicy = RetryPolicy { idle_timeout: Duration::from_secs(15), retries: 0 };

/// Looks for a file of each taxi type. A file that is missing is a warning: the source may have other months.
pub(crate) async fn check(plans: Vec<Plan>, findings: &mut Findings) {
    let report: Arc<dyn Report> = Arc::new(Quiet);
    let options = Options { retry_policy: RETRY_POLICY, ..Options::default() };
    let mut missing = Vec::new();
    for Plan { taxi, mut job, .. } in plans {
        let found = match job.find_file(None, &options, &report).await {
            Ok(()) => job.source.describe(RETRY_POLICY, &report).await,
            Err(error) => Err(error),
        };
        match found {
            Ok(description) => check_description(&taxi, &job.source, &description, findings),
            Err(error) if error.kind() == Kind::NotPublished => missing.push(job.source.address()),
            Err(error) => {
                let fix = "set --source (or TAXI_SOURCE) to a directory or an address of the files";
                return findings.fail("source", &error, fix);
            }
        }
    }
    if !missing.is_empty() {
        findings.warn(
            "source",
            format!("the source is reachable but does not have {}", missing.join(" or ")),
            "check the layout of the source, if it has these months: docs/configuration.md lists the layouts",
        );
    }
}

fn check_description(taxi: &str, source: &Source, description: &Description, findings: &mut Findings) {
    let name = format!("source, {taxi}");
    let length = description.length_bytes.map(|length| format!(" of {}", HumanBytes(length)));
    let message = format!("{}{}", source.address(), length.unwrap_or_default());
    match (&description.etag, &description.last_modified) {
        (None, None) => findings.warn(
            name,
            format!(
                "{message}, without ETag and Last-Modified: taxi cannot tell whether a loaded file has changed"
            ),
            "configure the server to send one of these headers; without them, every backfill downloads every file",
        ),
        _ => findings.ok(name, message),
    }
}
