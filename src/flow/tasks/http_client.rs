//! Downloading a file.

use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use sha2::Digest as _;
use tokio::io::AsyncWriteExt as _;

use crate::error::{Detail, Error, Kind, Result};
use crate::extract::source::Body;
use crate::extract::transfer::Requests;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Entries, properties};
use crate::http::SourceUrl;
use crate::report::failure;

/// The status of a download that succeeded.
const OK: u16 = 200;

properties! {
    /// Downloads a file.
    pub(crate) struct Download as "a Download task" {
        /// The file's URL.
        "uri" => uri: Template,
        /// Request headers.
        "headers" => headers: Entries<Template> = Entries::default(),
    }
}

impl Download {
    /// Downloads the file to the run's storage.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let url = SourceUrl::new(run.fill(&self.uri)?);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers.0 {
            let text = run.fill(value)?;
            let invalid =
                |_| run.fault(value.position, format!("invalid name or value of the HTTP header {name:?}"));
            let name: HeaderName = name.parse().map_err(|_| invalid(()))?;
            let mut value: HeaderValue = text.parse().map_err(|_| invalid(()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let name = url::Url::parse(url.expose()).ok().and_then(|url| {
            let last = url.path_segments()?.next_back()?;
            Some(last.to_owned()).filter(|last| !last.is_empty())
        });
        let path = run.context.storage.new_file(&name.unwrap_or_else(|| "download".to_owned()))?;
        let length = run.interrupt.or(download(run, &url, headers, &path)).await?;
        let uri = path.display().to_string();
        Ok([("uri", json!(uri)), ("code", json!(OK)), ("length", json!(length))]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect())
    }
}

/// Downloads the file, and returns its length. If the file changes at the source while it is read, the download
/// restarts, as often as the retry policy allows.
async fn download(run: &TaskRun<'_>, url: &SourceUrl, headers: HeaderMap, path: &Path) -> Result<u64> {
    let (retry_policy, report) = (run.context.retry_policy, run.reports());
    let mut retries = retry_policy.retries;
    loop {
        let requests = Requests::new(url, retry_policy, &report).with_headers(headers.clone());
        match save(url, requests, path).await {
            Err(error) if retries > 0 && error.detail() == Some(Detail::SourceChanged) => {
                report.notice(&format!("{}; restarting the download", failure::line(&error)));
                retries -= 1;
            }
            result => return result,
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
