//! One request and its response, with the redirects in between.
//!
//! Refused: a redirect from https to http, because anybody on the way could then read the request and change the
//! response; too many redirects. A redirect to another server gets neither the body of the request nor its headers,
//! which may hold credentials.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{
    ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LOCATION, RANGE,
};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::{CONNECT_TIMEOUT, IDLE_TIMEOUT, SourceUrl, client, is_certificate_error};
use crate::error::{Error, Kind, Result, root_cause};

const REDIRECT_LIMIT: usize = 10;

/// The headers that a redirect to another server keeps. They hold no credentials.
const HARMLESS: [HeaderName; 6] = [ACCEPT, CONTENT_TYPE, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE];

/// A request.
pub(crate) struct Exchange<'a> {
    /// The method.
    pub(crate) method: Method,
    /// The address, as the user wrote it.
    pub(crate) address: &'a SourceUrl,
    /// The headers.
    pub(crate) headers: HeaderMap,
    /// The body.
    pub(crate) body: Option<Bytes>,
    /// How long connecting may take.
    pub(crate) connect_timeout: Duration,
    /// How long to wait for the response.
    pub(crate) idle_timeout: Duration,
    /// Whether to follow redirects. Otherwise the redirect is the response.
    pub(crate) follows_redirects: bool,
}

impl<'a> Exchange<'a> {
    /// A request without headers and body, with the default timeouts.
    pub(crate) fn new(method: Method, address: &'a SourceUrl) -> Self {
        Self {
            method,
            address,
            headers: HeaderMap::new(),
            body: None,
            connect_timeout: CONNECT_TIMEOUT,
            idle_timeout: IDLE_TIMEOUT,
            follows_redirects: true,
        }
    }

    /// Sends the request and returns the response, whatever its status. Fails if none arrives within the timeout.
    pub(crate) async fn send(mut self) -> Result<Response> {
        let mut previous = Vec::new();
        let mut next = None;
        loop {
            let address = next.as_ref().map_or_else(|| self.address.expose(), Url::as_str);
            let response = self.attempt(address).await?;
            let Some(location) = self.location(&response) else { return Ok(response) };
            previous.push(response.url().clone());
            if let Some(reason) = redirect_error(&previous, &location) {
                let text = format!("cannot reach {}", self.address);
                return Err(Error::new(Kind::Configuration, text).because(reason));
            }
            self.redirect(response.status(), response.url(), &location)?;
            next = Some(location);
        }
    }

    async fn attempt(&self, address: &str) -> Result<Response> {
        let failed = |kind| Error::new(kind, format!("cannot reach {}", self.address));
        let request = client(self.connect_timeout)?.request(self.method.clone(), address);
        let request = request.headers(self.headers.clone());
        let request = match &self.body {
            Some(body) => request.body(body.clone()),
            None => request,
        };
        match tokio::time::timeout(self.idle_timeout, request.send()).await {
            Ok(result) => result.map_err(|cause| {
                let is_permanent = cause.is_builder() || is_certificate_error(&cause);
                let kind = if is_permanent { Kind::Configuration } else { Kind::Unreachable };
                if cause.is_connect() {
                    // the links between say only that connecting failed
                    return Error::new(
                        kind,
                        format!("cannot reach {}: {}", self.address, root_cause(&cause)),
                    );
                }
                failed(kind).because(cause.without_url())
            }),
            Err(_elapsed) => {
                let reason = format!("no response within {:?}", self.idle_timeout);
                Err(failed(Kind::Unreachable).because(reason))
            }
        }
    }

    /// The address that the response redirects to, if the request follows redirects.
    fn location(&self, response: &Response) -> Option<Url> {
        let is_redirect = matches!(
            response.status(),
            StatusCode::MOVED_PERMANENTLY
                | StatusCode::FOUND
                | StatusCode::SEE_OTHER
                | StatusCode::TEMPORARY_REDIRECT
                | StatusCode::PERMANENT_REDIRECT
        );
        let location = response.headers().get(LOCATION)?.to_str().ok()?;
        let location = response.url().join(location).ok()?;
        (self.follows_redirects && is_redirect).then_some(location)
    }

    /// Changes the request to the one that follows a redirect.
    fn redirect(&mut self, status: StatusCode, from: &Url, to: &Url) -> Result<()> {
        let keeps_method = [StatusCode::TEMPORARY_REDIRECT, StatusCode::PERMANENT_REDIRECT].contains(&status);
        let becomes_get = status == StatusCode::SEE_OTHER || self.method == Method::POST;
        if !keeps_method && becomes_get && self.method != Method::HEAD {
            self.method = Method::GET;
            self.body = None;
            self.headers.remove(CONTENT_TYPE);
        }
        if is_same_server(from, to) {
            return Ok(());
        }
        if self.body.is_some() {
            let text = format!("{} redirects to another server, which must not get the body", self.address);
            return Err(Error::new(Kind::Configuration, text).hint("set the address of the other server"));
        }
        let kept = std::mem::take(&mut self.headers);
        self.headers.extend(
            kept.into_iter().filter(|(name, _)| name.as_ref().is_some_and(|name| HARMLESS.contains(name))),
        );
        Ok(())
    }
}

/// Whether credentials for `from` may go to `to`: the same server, or the same host after a switch to https.
fn is_same_server(from: &Url, to: &Url) -> bool {
    let is_upgrade =
        (from.scheme(), to.scheme()) == ("http", "https") && from.port().is_none() && to.port().is_none();
    from.host() == to.host() && (from.origin() == to.origin() || is_upgrade)
}

/// Why a redirect to `next`, after these `previous` addresses, is refused.
fn redirect_error(previous: &[Url], next: &Url) -> Option<String> {
    let from = previous.last().map(Url::scheme);
    match (from, next.scheme()) {
        _ if previous.len() > REDIRECT_LIMIT => Some(format!("more than {REDIRECT_LIMIT} redirects")),
        (Some("https"), "http") => Some("the server redirects from https to http".to_owned()),
        (_, "http" | "https") => None,
        (_, scheme) => Some(format!("the server redirects to an address with the scheme {scheme}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn redirects_to_plain_http_and_endless_redirects_are_refused() {
        let (secure, plain) = (url("https://a/x"), url("http://a/x"));
        assert_eq!(redirect_error(std::slice::from_ref(&secure), &secure), None);
        assert_eq!(redirect_error(std::slice::from_ref(&plain), &secure), None);
        assert!(redirect_error(std::slice::from_ref(&secure), &plain).unwrap().contains("https to http"));
        assert!(redirect_error(std::slice::from_ref(&plain), &url("ftp://a/x")).unwrap().contains("ftp"));
        assert_eq!(redirect_error(&vec![plain.clone(); REDIRECT_LIMIT], &plain), None);
        assert!(redirect_error(&vec![plain.clone(); REDIRECT_LIMIT + 1], &plain).is_some());
    }

    #[test]
    fn another_server_gets_no_headers_with_credentials_and_no_body() {
        let address = SourceUrl::new("https://a/x");
        let of = |method: Method, body: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for name in ["authorization", "x-api-key", "range", "content-type"] {
                headers.insert(HeaderName::from_static(name), "v".parse().unwrap());
            }
            Exchange { headers, body: body.map(Bytes::from), ..Exchange::new(method, &address) }
        };
        let names = |exchange: &Exchange<'_>| {
            let mut names: Vec<String> = exchange.headers.keys().map(ToString::to_string).collect();
            names.sort();
            names.join(" ")
        };
        let (from, same, other) = (url("https://a/x"), url("https://a/y"), url("https://b/y"));
        let mut get = of(Method::GET, None);
        get.redirect(StatusCode::FOUND, &from, &same).unwrap();
        assert_eq!(names(&get), "authorization content-type range x-api-key");
        get.redirect(StatusCode::FOUND, &from, &other).unwrap();
        assert_eq!(names(&get), "content-type range");

        let mut post = of(Method::POST, Some("password"));
        assert!(post.redirect(StatusCode::TEMPORARY_REDIRECT, &from, &other).is_err());
        post.redirect(StatusCode::SEE_OTHER, &from, &other).unwrap();
        assert_eq!((post.method.as_str(), post.body.is_none()), ("GET", true));

        assert!(is_same_server(&url("http://a/x"), &url("https://a/x")));
        assert!(!is_same_server(&url("https://a/x"), &url("https://a:8443/x")));
    }
}
