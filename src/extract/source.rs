//! The source of a file: a directory or a web server, laid out like the course's release site.
//!
//! In: the address that the pipeline rendered. Out: a stream of the file's raw bytes, and the source's description
//! of the file. Refused: a response status other than success, a body that does not have the announced length, an
//! unknown URL scheme.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use sha2::Digest as _;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::description::{Description, Received};
use super::format::LONGEST_SIGNATURE_BYTES;
use super::transfer::{Requests, RetryPolicy, Transfer};
use crate::error::{Error, Kind, Result};
use crate::http::{self, SourceUrl};
use crate::report::Report;

const READ_SIZE_BYTES: usize = 64 * 1024;

/// A file at a source, not yet opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// A local file.
    File(PathBuf),
    /// An address that is fetched with GET.
    Http(SourceUrl),
}

/// A file opened for reading.
pub(crate) struct Body {
    /// The source's description of the file.
    pub(crate) description: Description,
    /// The address without secrets, for messages.
    pub(crate) address: String,
    /// Length and digest of the bytes read so far.
    pub(crate) received: Received,
    /// The first bytes, if they were read to recognize the format and not yet returned.
    start: Option<Bytes>,
    content: Content,
}

enum Content {
    File(File, PathBuf),
    Http(Box<Transfer>),
}

impl Source {
    /// Parses an address. `http://` and `https://` addresses are fetched; `file://` addresses and plain paths are
    /// local files. Other schemes are refused.
    pub(crate) fn parse(address: &str) -> Result<Self> {
        let Some((scheme, rest)) = address.split_once("://") else {
            return Ok(Self::File(PathBuf::from(address)));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "https" => match url::Url::parse(address) {
                Ok(_) => Ok(Self::Http(SourceUrl::new(address))),
                Err(cause) => {
                    let text = format!("the source {} is not a valid URL", SourceUrl::new(address));
                    Err(Error::new(Kind::Configuration, text).because(cause))
                }
            },
            "file" => Ok(Self::File(PathBuf::from(rest))),
            scheme if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(Error::new(Kind::Configuration, format!("unknown URL scheme {scheme:?} in the source"))
                    .hint("set --source to a directory or to an http:// or https:// URL"))
            }
            _ => Ok(Self::File(PathBuf::from(address))),
        }
    }

    /// The address without secrets, for messages and the ledger.
    pub(crate) fn address(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Http(address) => address.to_string(),
        }
    }

    /// Opens the file without reading its first byte. For a web server, `retry_policy` sets the idle timeout and the
    /// number of retries, and `report` receives a notice of each retry.
    pub(crate) async fn open(&self, retry_policy: RetryPolicy, report: &Arc<dyn Report>) -> Result<Body> {
        match self {
            Self::File(path) => open_file(path).await,
            Self::Http(address) => Body::request(address, Requests::new(address, retry_policy, report)).await,
        }
    }

    /// Opens the file, or returns `None` if it is still the file described by `known`.
    ///
    /// A web server gets one conditional request. It sends no body if its file is still the same.
    pub(crate) async fn open_unless(
        &self,
        known: &Description,
        retry_policy: RetryPolicy,
        report: &Arc<dyn Report>,
    ) -> Result<Option<Body>> {
        let body = match self {
            Self::File(path) => open_file(path).await?,
            Self::Http(address) => {
                let mut requests = Requests::new(address, retry_policy, report);
                let response = requests.ask(Method::GET, known.conditions()).await?;
                if response.status() == StatusCode::NOT_MODIFIED {
                    return Ok(None);
                }
                Body::of(address, requests, http::accept(address, response).await?)
            }
        };
        Ok((!known.is_of_same_file(&body.description)).then_some(body))
    }

    /// Returns the source's description of the file without reading the content.
    pub(crate) async fn describe(
        &self,
        retry_policy: RetryPolicy,
        report: &Arc<dyn Report>,
    ) -> Result<Description> {
        match self {
            Self::File(path) => Ok(open_file(path).await?.description),
            Self::Http(address) => {
                let mut requests = Requests::new(address, retry_policy, report);
                let mut response = requests.ask(Method::HEAD, HeaderMap::new()).await?;
                let head_may_be_refused =
                    [StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
                if head_may_be_refused.contains(&response.status()) {
                    // signed URLs are often valid for GET only; the body is not read
                    response = requests.ask(Method::GET, HeaderMap::new()).await?;
                }
                Ok(Description::of(http::accept(address, response).await?.headers()))
            }
        }
    }
}

async fn open_file(path: &Path) -> Result<Body> {
    // check the metadata first: opening a named pipe would block until a writer opens it
    let metadata = tokio::fs::metadata(path).await.map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => missing_file(path, cause),
        _ => Error::file("read", path, cause),
    })?;
    if !metadata.is_file() {
        return Err(Error::new(Kind::Configuration, format!("{} is not a file", path.display())));
    }
    let file = File::open(path).await.map_err(|cause| Error::file("read", path, cause))?;
    let modified = metadata.modified().ok().and_then(|time| jiff::Timestamp::try_from(time).ok());
    let description = Description {
        length_bytes: Some(metadata.len()),
        etag: None,
        last_modified: modified.map(|time| time.to_string()),
        sha256: None,
    };
    let address = path.display().to_string();
    let content = Content::File(file, path.to_owned());
    Ok(Body { description, address, received: Received::default(), start: None, content })
}

/// Distinguishes a missing month from a missing source directory.
fn missing_file(path: &Path, cause: std::io::Error) -> Error {
    let base = path.parent().and_then(Path::parent).unwrap_or(path);
    if base.as_os_str().is_empty() || base.is_dir() {
        return Error::new(
            Kind::NotPublished,
            format!("the source does not have the file {}", path.display()),
        )
        .because(cause);
    }
    not_a_directory(base)
}

/// The error for a source that is neither a URL nor a directory.
pub(crate) fn not_a_directory(base: &Path) -> Error {
    Error::new(Kind::Configuration, format!("the source {} is not a directory", base.display()))
        .hint("set --source (or TAXI_SOURCE) to a directory or an address of the files, or to course or tlc")
}

impl Body {
    /// Sends a GET request for `address`, and returns the file without reading its first byte.
    pub(crate) async fn request(address: &SourceUrl, mut requests: Requests) -> Result<Self> {
        let response = requests.ask(Method::GET, HeaderMap::new()).await?;
        Ok(Self::of(address, requests, http::accept(address, response).await?))
    }

    fn of(address: &SourceUrl, requests: Requests, response: reqwest::Response) -> Self {
        let description = Description::of(response.headers());
        let content = Content::Http(Box::new(Transfer::new(requests, response, &description)));
        Self {
            description,
            address: address.to_string(),
            received: Received::default(),
            start: None,
            content,
        }
    }

    /// The first bytes of the file, as many as it takes to recognize its format. The next chunk begins with them.
    pub(crate) async fn start(&mut self) -> Result<&[u8]> {
        let mut start = BytesMut::new();
        while start.len() < LONGEST_SIGNATURE_BYTES {
            let Some(chunk) = self.chunk().await? else { break };
            start.extend_from_slice(&chunk);
        }
        Ok(self.start.insert(start.freeze()))
    }

    /// The file itself, if it is on this machine. It can be read at any position.
    pub(crate) async fn local_file(&self) -> Result<Option<std::fs::File>> {
        let Content::File(file, path) = &self.content else { return Ok(None) };
        let file = file.try_clone().await.map_err(|cause| Error::file("read", path, cause))?;
        Ok(Some(file.into_std().await))
    }

    /// Returns the next bytes, or `None` at the end of the file.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>> {
        if let Some(start) = self.start.take().filter(|start| !start.is_empty()) {
            return Ok(Some(start));
        }
        let chunk = match &mut self.content {
            Content::Http(transfer) => transfer.chunk(&self.received, &self.description).await?,
            Content::File(file, path) => {
                let mut buffer = BytesMut::with_capacity(READ_SIZE_BYTES);
                let read =
                    file.read_buf(&mut buffer).await.map_err(|cause| Error::file("read", path, cause))?;
                (read > 0).then(|| buffer.freeze())
            }
        };
        if let Some(chunk) = &chunk {
            self.received.length_bytes += chunk.len() as u64;
            self.received.sha256.update(chunk);
        }
        Ok(chunk)
    }
}
