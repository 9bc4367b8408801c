//! The one HTTP client: for the source's months and for the server's binaries.

use std::error::Error as StdError;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response, StatusCode};

use crate::error::{Error, Kind, Result};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a server may be silent, before its answer or in the middle of it, where nothing else is said; the transfer as
/// a whole may take as long as it needs.
pub const SILENCE: Duration = Duration::from_secs(60);

static CLIENT: OnceLock<Client> = OnceLock::new();

/// The client: it follows redirects, honours the proxy variables, keeps connections.
fn client() -> Result<Client> {
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
        .build()
        .map_err(|cause| {
            Error::new(Kind::Configuration, "cannot set up HTTP")
                .because(cause)
                .hint("where no CA certificates are found, install the package ca-certificates")
        })
}

/// Starts a GET of `address` and checks the status of the answer.
pub async fn get(address: &str, headers: HeaderMap) -> Result<Response> {
    accept(address, send(Method::GET, address, headers, SILENCE).await?)
}

/// Sends a request and returns whatever is answered within `silence`.
pub async fn send(method: Method, address: &str, headers: HeaderMap, silence: Duration) -> Result<Response> {
    let failed = |kind| Error::new(kind, format!("cannot reach {}", redact(address)));
    let answer = client()?.request(method, address).headers(headers).send();
    match tokio::time::timeout(silence, answer).await {
        Ok(answered) => answered.map_err(|cause| {
            let is_settled = cause.is_builder() || cause.is_redirect() || is_of_certificate(&cause);
            failed(if is_settled { Kind::Configuration } else { Kind::Unreachable })
                .because(cause.without_url())
        }),
        Err(_elapsed) => Err(failed(Kind::Unreachable).because(format!("no answer within {silence:?}"))),
    }
}

/// The next bytes of an answer's body, which come within `silence`; `None` at the end.
pub async fn chunk(response: &mut Response, address: &str, silence: Duration) -> Result<Option<Bytes>> {
    match tokio::time::timeout(silence, response.chunk()).await {
        Ok(read) => read.map_err(|cause| broken_off(address).because(cause.without_url())),
        Err(_elapsed) => Err(broken_off(address).because(format!("nothing came for {silence:?}"))),
    }
}

/// Whether a certificate was refused, which no second attempt mends.
fn is_of_certificate(cause: &reqwest::Error) -> bool {
    let mut link: Option<&(dyn StdError + 'static)> = Some(cause);
    while let Some(error) = link {
        let within = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        if let Some(rustls::Error::InvalidCertificate(_)) = within.and_then(|error| error.downcast_ref()) {
            return true;
        }
        link = error.source();
    }
    false
}

/// Refuses an answer that is no success.
pub fn accept(address: &str, response: Response) -> Result<Response> {
    let status = response.status();
    if status.is_success() { Ok(response) } else { Err(refusal(address, status)) }
}

/// The failure that an answer of this `status` is.
pub fn refusal(address: &str, status: StatusCode) -> Error {
    let kind = match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Kind::NotPublished,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            Kind::Authentication
        }
        status if is_passing(status) => Kind::Unreachable,
        _ => Kind::Configuration,
    };
    Error::new(kind, format!("{} answered {status}", redact(address)))
}

/// Whether the same request may well be answered otherwise in a while.
pub fn is_passing(status: StatusCode) -> bool {
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => false,
        status => status.is_server_error(),
    }
}

/// The failure of a transfer that had begun.
pub fn broken_off(address: &str) -> Error {
    Error::new(Kind::Unreachable, format!("the download of {} broke off", redact(address)))
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
