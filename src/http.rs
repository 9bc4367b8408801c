//! The single HTTP client, used for source files, the server's binaries and the downloads of a flow.

pub(crate) mod exchange;

use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use reqwest::{Client, Method, Response, StatusCode};
use url::Url;

use crate::error::{Error, Kind, Result};
use exchange::Exchange;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Default idle timeout: the longest wait for a response, or for more bytes of its body. The transfer as a whole
/// has no time limit.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// An address of a source or a download: a URL or a path. Messages show it without user, password and query; a
/// query may hold a signature.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SourceUrl(String);

impl SourceUrl {
    /// An address as the user wrote it.
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self(address.into())
    }

    /// Whether the address has a user, a password or a query, which may hold a signature.
    fn has_credentials(&self) -> bool {
        Url::parse(&self.0)
            .is_ok_and(|url| !url.username().is_empty() || url.password().is_some() || url.query().is_some())
    }

    /// The address, without user, password and query if it has one of them.
    pub(crate) fn without_credentials(&self) -> String {
        match Url::parse(&self.0) {
            Ok(_) if !self.has_credentials() => self.0.clone(),
            _ => self.to_string(),
        }
    }

    /// Splits a list of sources before the last of its addresses.
    fn split_list(&self) -> Option<(Self, Self)> {
        let (before, _) = self.0.rsplit_once("://")?;
        let (first, _) = before.rsplit_once(',')?;
        let rest = self.0.get(first.len() + 1..)?;
        Some((Self::new(first), Self::new(rest)))
    }

    /// The whole address, with its secrets. It must not be printed or recorded.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for SourceUrl {
    type Err = Infallible;

    fn from_str(address: &str) -> Result<Self, Infallible> {
        Ok(Self::new(address))
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // of several sources, each is shown on its own
        if let Some((first, rest)) = self.split_list() {
            return write!(f, "{first},{rest}");
        }
        let Ok(mut url) = Url::parse(&self.0) else {
            // not a valid URL: leave out everything that could be a user, a password or a query
            let Some((scheme, rest)) = self.0.split_once("://") else { return f.write_str(&self.0) };
            let rest = rest.rsplit_once('@').map_or(rest, |(_, after)| after);
            return write!(f, "{scheme}://{}", rest.split('?').next().unwrap_or_default());
        };
        // these calls only fail for addresses that cannot have a user
        let _ = url.set_username("");
        let _ = url.set_password(None);
        if url.query().is_some() {
            url.set_query(Some("…"));
        }
        // the placeholders of a template
        f.write_str(&url.as_str().replace("%7B", "{").replace("%7D", "}"))
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SourceUrl").field(&self.to_string()).finish()
    }
}

/// How much of an error's body is read, and how long to wait for it.
const ERROR_BODY_LIMIT_BYTES: usize = 4096;
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);

static CLIENT: OnceLock<Client> = OnceLock::new();

/// Returns the shared client, or one of its own for another connect timeout. It uses the proxy variables and reuses
/// connections. It follows no redirects: [`exchange`] does.
fn client(connect_timeout: Duration) -> Result<Client> {
    match CLIENT.get() {
        _ if connect_timeout != CONNECT_TIMEOUT => build_client(connect_timeout),
        Some(client) => Ok(client.clone()),
        None => build_client(connect_timeout).map(|client| CLIENT.get_or_init(|| client).clone()),
    }
}

fn build_client(connect_timeout: Duration) -> Result<Client> {
    // This is the only place that installs a provider, so the call cannot fail.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("taxi-etl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(connect_timeout)
        .redirect(Policy::none())
        .build()
        .map_err(|cause| {
            Error::new(Kind::Configuration, "cannot set up the HTTP client")
                .because(cause)
                .hint("if this machine has no CA certificates, install the package ca-certificates")
        })
}

/// Sends a GET request for `address` and checks the status of the response.
pub(crate) async fn get(address: &SourceUrl, headers: HeaderMap) -> Result<Response> {
    let response = send(Method::GET, address, headers, IDLE_TIMEOUT).await?;
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(refusal(address, status)) }
}

/// Sends a request and returns the response, whatever its status. Fails if none arrives within `idle_timeout`.
pub(crate) async fn send(
    method: Method,
    address: &SourceUrl,
    headers: HeaderMap,
    idle_timeout: Duration,
) -> Result<Response> {
    Exchange { headers, idle_timeout, ..Exchange::new(method, address) }.send().await
}

/// Returns the next bytes of a response's body, or `None` at the end. Fails if none arrive within `idle_timeout`.
pub(crate) async fn chunk(
    response: &mut Response,
    address: &SourceUrl,
    idle_timeout: Duration,
) -> Result<Option<Bytes>> {
    match tokio::time::timeout(idle_timeout, response.chunk()).await {
        Ok(read) => read.map_err(|cause| interrupted(address).because(cause.without_url())),
        Err(_elapsed) => Err(interrupted(address).because(format!("received no data for {idle_timeout:?}"))),
    }
}

/// Whether the server's certificate was refused, which a retry cannot fix.
fn is_certificate_error(cause: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(cause);
    while let Some(error) = next {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(rustls::Error::InvalidCertificate(_)) = inner.and_then(|error| error.downcast_ref()) {
            return true;
        }
        next = error.source();
    }
    false
}

/// Returns `response` if it has the whole file, otherwise an error. A part (206), an empty response (204) or one that
/// is not ready (202) is not the file.
pub(crate) async fn accept(address: &SourceUrl, response: Response) -> Result<Response> {
    match response.status() {
        StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => Ok(response),
        StatusCode::FORBIDDEN if !address.has_credentials() && hides_missing_files(response).await => {
            let text =
                format!("{address} returned 403 Forbidden, as object stores do for files that do not exist");
            Err(Error::new(Kind::NotPublished, text))
        }
        status => Err(refusal(address, status)),
    }
}

/// Whether a 403 is the answer of an object store (S3, Google Cloud Storage, CloudFront) to a request for an object
/// that does not exist, if the bucket may not be listed. With credentials, it would mean that they are wrong.
async fn hides_missing_files(mut response: Response) -> bool {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < ERROR_BODY_LIMIT_BYTES
            && let Ok(Some(chunk)) = response.chunk().await
        {
            body.extend_from_slice(&chunk);
        }
    };
    let _ = tokio::time::timeout(ERROR_BODY_TIMEOUT, reading).await;
    let body = String::from_utf8_lossy(&body);
    ["<Code>AccessDenied</Code>", "<Code>NoSuchKey</Code>"].iter().any(|code| body.contains(code))
}

/// The error for a response with this status.
pub(crate) fn refusal(address: &SourceUrl, status: StatusCode) -> Error {
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Kind::NotPublished,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Kind::Authentication
        }
        status if is_transient(status) => Kind::Unreachable,
        _ => Kind::Configuration,
    };
    Error::new(kind, format!("{address} returned {status}"))
}

/// Whether the status is transient: the same request may succeed later.
pub(crate) fn is_transient(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        status => status.is_server_error(),
    }
}

/// The error for a transfer that was interrupted after it had started.
pub(crate) fn interrupted(address: &SourceUrl) -> Error {
    Error::new(Kind::Unreachable, format!("the download of {address} was interrupted"))
}

#[cfg(test)]
mod tests {
    use super::SourceUrl;

    #[test]
    fn addresses_are_displayed_without_secrets() {
        let shown = |address: &str| SourceUrl::new(address).to_string();
        assert_eq!(shown("https://user:secret@host/a.gz"), "https://host/a.gz");
        assert!(!shown("https://host/a.gz?X-Signature=secret").contains("secret"));
        assert_eq!(shown("http://user:secret@host:99999/a.gz?token=secret"), "http://host:99999/a.gz");
        assert_eq!(shown("testdata/yellow"), "testdata/yellow");
        assert_eq!(
            shown("tlc,https://u:secret@h/a,http://u:secret@h/b,course"),
            "tlc,https://h/a,http://h/b,course"
        );
        assert_eq!(format!("{:?}", SourceUrl::new("http://u:secret@host/a")), "SourceUrl(\"http://host/a\")");
    }
}
