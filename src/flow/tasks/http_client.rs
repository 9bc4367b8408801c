//! Downloading a file.

use std::path::Path;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Entries, properties};
use crate::http::{self, SourceUrl};

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
        let (code, length) = run.interrupt.or(download(&url, headers, &path)).await?;
        let uri = path.display().to_string();
        Ok([("uri", json!(uri)), ("code", json!(code)), ("length", json!(length))]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect())
    }
}

async fn download(url: &SourceUrl, headers: HeaderMap, path: &Path) -> Result<(u16, u64)> {
    let mut response = http::get(url, headers).await?;
    let code = response.status().as_u16();
    let content_length = response.content_length();
    let write_error = |cause| Error::file("write", path, cause);
    let mut file = tokio::fs::File::create(path).await.map_err(write_error)?;
    let mut length = 0;
    while let Some(chunk) = http::chunk(&mut response, url, http::IDLE_TIMEOUT).await? {
        length += chunk.len() as u64;
        file.write_all(&chunk).await.map_err(write_error)?;
    }
    file.flush().await.map_err(write_error)?;
    match content_length {
        Some(content_length) if content_length != length => {
            let text = format!("{url} sent {length} of {content_length} bytes");
            Err(Error::new(Kind::Unreachable, text))
        }
        _ => Ok((code, length)),
    }
}
