//! Checks whether the source can be reached and has the files.

use std::sync::Arc;
use std::time::Duration;

use indicatif::HumanBytes;

use super::Findings;
use crate::error::Kind;
use crate::extract::description::Description;
use crate::extract::source::Source;
use crate::extract::transfer::RetryPolicy;
use crate::report::Report;
use crate::report::forward::Quiet;

const RETRY_POLICY: RetryPolicy = RetryPolicy { idle_timeout: Duration::from_secs(15), retries: 0 };

/// Looks for a file of each taxi type. A month that is not published is no problem; a source with none of the
/// files is a warning.
pub(crate) async fn check(files: &[(String, &Source)], findings: &mut Findings) {
    let report: Arc<dyn Report> = Arc::new(Quiet);
    let mut missing = Vec::new();
    for (taxi, source) in files {
        match source.describe(RETRY_POLICY, &report).await {
            Ok(description) => found(taxi, source, &description, findings),
            Err(error) if error.kind() == Kind::NotPublished => missing.push(source.address()),
            Err(error) => {
                let fix =
                    "--source (or TAXI_SOURCE) names the directory or address that holds yellow/ and green/";
                return findings.fail("source", &error, fix);
            }
        }
    }
    let none = format!("it can be reached, and has no {}", missing.join(", no "));
    match missing.len() {
        0 => {}
        count if count == files.len() => findings.warn(
            "source",
            none,
            "see that it is laid out as <base>/<taxi>/<taxi>_tripdata_<year>-<month>.csv.gz, if these are published there",
        ),
        _ => findings.ok("source", none),
    }
}

fn found(taxi: &str, source: &Source, description: &Description, findings: &mut Findings) {
    let name = format!("source, {taxi}");
    let length = description.length_bytes.map(|length| format!(" of {}", HumanBytes(length)));
    let said = format!("{}{}", source.address(), length.unwrap_or_default());
    match (&description.etag, &description.last_modified) {
        (None, None) => findings.warn(
            name,
            format!(
                "{said}, without ETag and Last-Modified: what is loaded cannot be told from what has changed"
            ),
            "let the server send one of them, or every backfill downloads everything",
        ),
        _ => findings.ok(name, said),
    }
}
