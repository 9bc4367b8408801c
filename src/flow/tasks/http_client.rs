//! Downloading a file.

use std::path::Path;
use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde_json::json;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;

use crate::error::{Detail, Error, Kind, Result};
use crate::extract::source::Body;
use crate::extract::transfer::{Requests, RetryPolicy};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::http_request::Call;
use crate::flow::yaml::decode::properties;
use crate::http::{self, SourceUrl};
use crate::report::event::Level;
use crate::report::failure;

/// The status of a download that succeeded.
const OK: u16 = 200;

properties! {
    /// Downloads a file.
    pub(crate) struct Download as "a Download task" {
        /// Whether an empty response is an error.
        "failOnEmptyResponse" => fail_on_empty_response: bool = true,
        /// The name of the stored file.
        "saveAs" => save_as: Option<Template> = None,
        with {
            /// The request.
            call: Call,
        }
    }
}

impl Download {
    /// Downloads the file to the run's storage. A plain GET request is repeated and resumed if the connection breaks.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let url = self.call.address(run)?;
        let name = run.fill_optional(self.save_as.as_ref())?.or_else(|| file_name(&url));
        let path = run.context.storage.new_file(&name.unwrap_or_else(|| "download".to_owned()))?;
        let saved = match self.call.is_plain_get() {
            true => {
                let headers = self.call.headers(run, &url)?;
                let idle_timeout = self.call.idle_timeout(run);
                run.interrupt.or(download(run, &url, headers, idle_timeout, &path)).await?
            }
            false => {
                let response = self.call.send(run, &url).await?;
                run.interrupt.or(save_response(&url, response, self.call.idle_timeout(run), &path)).await?
            }
        };
        if saved.length == 0 && !self.fail_on_empty_response {
            run.log(Level::Warning, &format!("{url} returned an empty response"));
        } else if saved.length == 0 && !self.call.allows_failure() {
            let text = format!("{url} returned an empty response");
            return Err(Error::new(Kind::Data, text)
                .hint("set `failOnEmptyResponse: false` if the response may be empty"));
        }
        let uri = path.display().to_string();
        Ok([("uri", json!(uri)), ("code", json!(saved.code)), ("length", json!(saved.length))]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect())
    }
}

/// The last part of the address's path.
fn file_name(url: &SourceUrl) -> Option<String> {
    let url = url::Url::parse(url.expose()).ok()?;
    let last = url.path_segments()?.next_back()?.to_owned();
    Some(last).filter(|last| !last.is_empty())
}

/// What a download says about its response.
struct Saved {
    code: u16,
    length: u64,
}

/// Writes the body of a response to the file.
async fn save_response(
    url: &SourceUrl,
    mut response: Response,
    idle_timeout: Duration,
    path: &Path,
) -> Result<Saved> {
    let write_error = |cause| Error::file("write", path, cause);
    let code = response.status().as_u16();
    let mut file = tokio::fs::File::create(path).await.map_err(write_error)?;
    let mut length = 0;
    while let Some(chunk) = http::chunk(&mut response, url, idle_timeout).await? {
        file.write_all(&chunk).await.map_err(write_error)?;
        length += chunk.len() as u64;
    }
    file.flush().await.map_err(write_error)?;
    Ok(Saved { code, length })
}

/// Downloads the file, and returns its length. If the file changes at the source while it is read, the download
/// restarts, as often as the retry policy allows.
async fn download(
    run: &TaskRun<'_>,
    url: &SourceUrl,
    headers: HeaderMap,
    idle_timeout: Duration,
    path: &Path,
) -> Result<Saved> {
    let retry_policy = RetryPolicy { idle_timeout, ..run.context.retry_policy };
    let report = run.reports();
    let mut retries = retry_policy.retries;
    loop {
        let requests = Requests::new(url, retry_policy, &report).with_headers(headers.clone());
        match save(url, requests, path).await {
            Err(error) if retries > 0 && error.detail() == Some(Detail::SourceChanged) => {
                report.notice(&format!("{}; restarting the download", failure::line(&error)));
                retries -= 1;
            }
            result => return result.map(|length| Saved { code: OK, length }),
        }
    }
}

async fn save(url: &SourceUrl, requests: Requests, path: &Path) -> Result<u64> {
    let mut body = Body::request(url, requests).await?;
    let write_error = |cause| Error::file("write", path, cause);
    let mut file = tokio::fs::File::create(path).await.map_err(write_error)?;
    while let Some(chunk) = body.chunk().await? {
        file.write_all(&chunk).await.map_err(write_error)?;
    }
    file.flush().await.map_err(write_error)?;
    let found = hex::encode(body.received.sha256.finalize());
    match body.description.sha256 {
        Some(expected) if expected != found => {
            let text = format!("{url} has the wrong SHA-256: expected {expected}, found {found}");
            Err(Error::new(Kind::Data, text))
        }
        _ => Ok(body.received.length_bytes),
    }
}
