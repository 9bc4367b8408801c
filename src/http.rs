//! The one HTTP client: for the source's months and for the server's binaries.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response, StatusCode};

use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest silence in the middle of a transfer; the transfer as a whole may take as long as it needs.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

static CLIENT: OnceLock<Client> = OnceLock::new();

/// The client: it follows redirects, honours the proxy variables, keeps connections, and gives up on silence.
pub fn client() -> Result<Client> {
    match CLIENT.get() {
        Some(client) => Ok(client.clone()),
        None => make_client().map(|client| CLIENT.get_or_init(|| client).clone()),
    }
}

fn make_client() -> Result<Client> {
    // No other provider can have been installed: this is the one place that does.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("taxi-etl/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .build()
        .map_err(|cause| {
            Error::new(Kind::Configuration, "cannot set up HTTP")
                .because(cause)
                .hint("where no CA certificates are found, install the package ca-certificates")
        })
}

/// Starts a GET of `address` and checks the status of the answer.
pub async fn get(client: &Client, address: &str) -> Result<Response> {
    let response = send(client, Method::GET, address, HeaderMap::new()).await?;
    accept(address, response)
}

/// Sends a request and returns whatever is answered.
pub async fn send(client: &Client, method: Method, address: &str, headers: HeaderMap) -> Result<Response> {
    client.request(method, address).headers(headers).send().await.map_err(|cause| {
        let kind = if cause.is_builder() { Kind::Configuration } else { Kind::Unreachable };
        Error::new(kind, format!("cannot reach {}", redact(address))).because(cause.without_url())
    })
}

/// Refuses an answer that is no success.
pub fn accept(address: &str, response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Kind::NotPublished,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Kind::Authentication
        }
        _ => Kind::Unreachable,
    };
    Err(Error::new(kind, format!("{} answered {status}", redact(address))))
}

/// The failure of a transfer that had begun.
pub fn broken_off(address: &str, cause: reqwest::Error) -> Error {
    Error::new(Kind::Unreachable, format!("the download of {} broke off", redact(address)))
        .because(cause.without_url())
}

/// An address as it may be shown and recorded: without user, password, and the signature in its query.
pub fn redact(address: &str) -> String {
    let Ok(mut url) = url::Url::parse(address) else { return redact_unreadable(address) };
    // both refuse only addresses that cannot have a user anyway
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if url.query().is_some() {
        url.set_query(Some("…"));
    }
    url.into()
}

/// What no parser reads is shown without all that could be a user, a password or a query.
fn redact_unreadable(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let rest = rest.rsplit_once('@').map_or(rest, |(_, behind)| behind);
    format!("{scheme}://{}", rest.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::redact;

    #[test]
    fn addresses_are_shown_without_their_secrets() {
        assert_eq!(redact("https://user:secret@host/a.gz"), "https://host/a.gz");
        assert!(!redact("https://host/a.gz?X-Signature=secret").contains("secret"));
        assert_eq!(redact("http://user:secret@host:99999/a.gz?token=secret"), "http://host:99999/a.gz");
        assert_eq!(redact("testdata/yellow"), "testdata/yellow");
    }
}
