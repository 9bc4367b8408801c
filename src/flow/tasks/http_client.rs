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
    pub(crate) struct Download as "a download" {
        /// The file's URL.
        "uri" => uri: Template,
        /// Request headers.
        "headers" => headers: Entries<Template> = Entries::default(),
    }
}

impl Download {
    /// Downloads the file to the run's storage.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let address = SourceUrl::new(run.fill(&self.uri)?);
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers.0 {
            let text = run.fill(value)?;
            let refuse = |_| run.fault(value.position, format!("{name} is not a header of HTTP"));
            let name: HeaderName = name.parse().map_err(|_| refuse(()))?;
            let mut value: HeaderValue = text.parse().map_err(|_| refuse(()))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let name = url::Url::parse(address.expose()).ok().and_then(|url| {
            let last = url.path_segments()?.next_back()?;
            Some(last.to_owned()).filter(|last| !last.is_empty())
        });
        let path = run.context.storage.new_file(&name.unwrap_or_else(|| "download".to_owned()))?;
        let (code, length) = run.interrupt.or(download(&address, headers, &path)).await?;
        let uri = path.display().to_string();
        Ok([("uri", json!(uri)), ("code", json!(code)), ("length", json!(length))]
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect())
    }
}

async fn download(address: &SourceUrl, headers: HeaderMap, path: &Path) -> Result<(u16, u64)> {
    let mut response = http::get(address, headers).await?;
    let code = response.status().as_u16();
    let announced = response.content_length();
    let unwritable = |cause| Error::file("write", path, cause);
    let mut file = tokio::fs::File::create(path).await.map_err(unwritable)?;
    let mut length = 0;
    while let Some(chunk) = http::chunk(&mut response, address, http::IDLE_TIMEOUT).await? {
        length += chunk.len() as u64;
        file.write_all(&chunk).await.map_err(unwritable)?;
    }
    file.flush().await.map_err(unwritable)?;
    match announced {
        Some(announced) if announced != length => {
            let text = format!("{address} sent {length} of {announced} bytes");
            Err(Error::new(Kind::Unreachable, text))
        }
        _ => Ok((code, length)),
    }
}
