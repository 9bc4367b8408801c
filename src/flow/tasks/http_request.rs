//! HTTP requests: what a request of a flow consists of, and the task that returns the response as outputs.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode, Version};
use serde_json::{Map, Value as Json, json};
use url::Url;

use super::form::{self, Field, TypedBody};
use crate::error::{Error, Kind, Result};
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Decode, Decoder, Entries, choices, properties};
use crate::flow::yaml::document::Node;
use crate::http::exchange::Exchange;
use crate::http::{self, SourceUrl};
use crate::report::event::Level;

/// Maximum size of a response's body: it is kept in memory, and in the outputs.
const BODY_LIMIT_BYTES: usize = 10 * 1024 * 1024;

choices! {
    /// How a request proves who sends it.
    pub(crate) enum AuthType {
        /// With a user name and a password.
        Basic = "BASIC",
        /// With a token.
        Bearer = "BEARER",
    }
}

properties! {
    /// How a request proves who sends it.
    pub(crate) struct Auth as "an authentication" {
        /// The kind of credentials.
        "type" => auth_type: AuthType,
        /// The user name.
        "username" => username: Option<Template> = None,
        /// The password.
        "password" => password: Option<Template> = None,
        /// The token.
        "token" => token: Option<Template> = None,
    }
}

properties! {
    /// Timeouts of a request.
    pub(crate) struct Timeouts as "timeouts" {
        /// How long connecting may take.
        "connectTimeout" => connect: Option<Duration> = None,
        /// The longest time without any data.
        "readIdleTimeout" => read_idle: Option<Duration> = None,
    }
}

properties! {
    /// TLS settings of a request.
    pub(crate) struct Tls as "the TLS settings" {
        /// Whether to accept every certificate; only false is supported.
        "insecureTrustAllCertificates" => _trust_all: Never = Never,
    }
}

properties! {
    /// Settings of a request.
    pub(crate) struct Options as "the options of a request" {
        /// Timeouts.
        "timeout" => timeout: Option<Timeouts> = None,
        /// How long connecting may take; the older place of this setting.
        "connectTimeout" => connect_timeout: Option<Duration> = None,
        /// The longest time without any data; the older place of this setting.
        "readIdleTimeout" | "readTimeout" => read_timeout: Option<Duration> = None,
        /// How the request proves who sends it.
        "auth" => auth: Option<Auth> = None,
        /// The user name; the older place of this setting.
        "basicAuthUser" => basic_user: Option<Template> = None,
        /// The password; the older place of this setting.
        "basicAuthPassword" => basic_password: Option<Template> = None,
        /// Whether to follow redirects.
        "followRedirects" => follow_redirects: bool = true,
        /// Whether a response with the status of an error is a success.
        "allowFailed" => allow_failed: bool = false,
        /// The only statuses that are a success.
        "allowedResponseCodes" => allowed_response_codes: Vec<u32> = Vec::new(),
        /// TLS settings.
        "ssl" => _tls: Option<Tls> = None,
        /// The encoding of texts.
        "defaultCharset" => _charset: Option<String> = None => "taxi sends and reads UTF-8",
        /// What to log of the request.
        "logs" => _logs: Option<Node> = None => "taxi logs no requests",
        /// The level of the log of requests.
        "logLevel" => _log_level: Option<String> = None => "taxi logs no requests",
        /// Maximum size of a response.
        "maxContentLength" => _max_content_length: Option<u32> = None => "http.Request reads at most 10 MiB, http.Download any size",
        /// How long unused connections stay open.
        "connectionPoolIdleTimeout" => _pool_timeout: Option<Duration> = None => "connections are closed at the end of the run",
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: None,
            connect_timeout: None,
            read_timeout: None,
            auth: None,
            basic_user: None,
            basic_password: None,
            follow_redirects: true,
            allow_failed: false,
            allowed_response_codes: Vec::new(),
            _tls: None,
            _charset: None,
            _logs: None,
            _log_level: None,
            _max_content_length: None,
            _pool_timeout: None,
        }
    }
}

impl Options {
    /// How long connecting may take.
    pub(crate) fn connect(&self) -> Option<Duration> {
        self.timeout.as_ref().and_then(|timeout| timeout.connect).or(self.connect_timeout)
    }

    /// The longest time without any data.
    pub(crate) fn idle(&self) -> Option<Duration> {
        self.timeout.as_ref().and_then(|timeout| timeout.read_idle).or(self.read_timeout)
    }

    /// Whether the status is a success.
    fn allows(&self, status: StatusCode) -> bool {
        match self.allowed_response_codes.as_slice() {
            [] => !status.is_client_error() && !status.is_server_error(),
            allowed => allowed.contains(&status.as_u16().into()),
        }
    }

    /// The header that proves who sends the request. Its credentials are masked from here on.
    fn authorization(&self, run: &TaskRun<'_>) -> Result<Option<String>> {
        let auth = self.auth.as_ref();
        if let Some(Auth { auth_type: AuthType::Bearer, token, .. }) = auth {
            let token = run.fill_optional(token.as_ref())?.unwrap_or_default();
            run.context.secrets.keep(&token);
            return Ok(Some(format!("Bearer {token}")));
        }
        let user = auth.map_or(self.basic_user.as_ref(), |auth| auth.username.as_ref());
        let password = auth.map_or(self.basic_password.as_ref(), |auth| auth.password.as_ref());
        let (user, password) = (run.fill_optional(user)?, run.fill_optional(password)?);
        if user.is_none() && password.is_none() {
            return Ok(None);
        }
        let password = password.unwrap_or_default();
        run.context.secrets.keep(&password);
        let pair = STANDARD.encode(format!("{}:{password}", user.unwrap_or_default()));
        run.context.secrets.keep(&pair);
        Ok(Some(format!("Basic {pair}")))
    }
}

/// A property that must be `false`: taxi always checks certificates.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Never;

impl Decode for Never {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match bool::decode(node, decoder)? {
            false => Some(Self),
            true => decoder.refuse(node.position, "unsupported value true: taxi always checks certificates"),
        }
    }

    fn schema() -> Json {
        json!({ "const": false })
    }
}

properties! {
    /// A request.
    pub(crate) struct Call as "a request" {
        /// The address.
        "uri" => uri: Template,
        /// The method. Default: GET.
        "method" => method: Option<Template> = None,
        /// Parameters that are added to the query of the address.
        "params" => params: Entries<Template> = Entries::default(),
        /// Headers.
        "headers" => headers: Entries<Template> = Entries::default(),
        /// The body.
        "body" => body: Option<Template> = None,
        /// The body as the fields of a form: texts, and files with `name` and `content`.
        "formData" => form: Entries<Field> = Entries::default(),
        /// The type of the body. Default: application/json.
        "contentType" => content_type: Option<Template> = None,
        /// Settings.
        "options" => options: Options = Options::default(),
        /// Whether a response with the status of an error is a success; the older place of this setting.
        "allowFailed" => allow_failed: bool = false,
        /// TLS settings; the older place of this setting.
        "sslOptions" => _tls: Option<Tls> = None,
    }
}

impl Call {
    /// Whether this is a plain GET request, which a download can repeat and resume.
    pub(crate) fn is_plain_get(&self) -> bool {
        let options = &self.options;
        let method = self.method.as_ref().map_or("GET", |method| method.text.trim());
        method.eq_ignore_ascii_case("GET")
            && self.body.is_none()
            && self.form.0.is_empty()
            && options.follow_redirects
            && !self.allows_failure()
            && options.allowed_response_codes.is_empty()
            && options.connect().is_none()
    }

    /// Whether a response with any status is a success.
    pub(crate) const fn allows_failure(&self) -> bool {
        self.allow_failed || self.options.allow_failed
    }

    /// The address, with its parameters.
    pub(crate) fn address(&self, run: &TaskRun<'_>) -> Result<SourceUrl> {
        let text = run.fill(&self.uri)?;
        if self.params.0.is_empty() {
            return Ok(SourceUrl::new(text));
        }
        let shown = SourceUrl::new(text.clone());
        let invalid = |_| run.fault(self.uri.position, format!("{shown} is not a valid URL"));
        let mut url = Url::parse(&text).map_err(invalid)?;
        for (name, value) in &self.params.0 {
            url.query_pairs_mut().append_pair(name, &run.fill(value)?);
        }
        Ok(SourceUrl::new(url.as_str()))
    }

    /// The headers, with the credentials and the type of the body.
    pub(crate) fn headers(&self, run: &TaskRun<'_>, address: &SourceUrl) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if !self.form.0.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        } else if self.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = self.options.authorization(run)? {
            warn_of_cleartext(run, address);
            headers.insert(AUTHORIZATION, secret(&authorization).map_err(|()| invalid("Authorization"))?);
        }
        for (name, template) in &self.headers.0 {
            let fault = |()| run.fault(template.position, invalid(name).to_string());
            let value = secret(&run.fill(template)?).map_err(fault)?;
            headers.insert(name.parse::<HeaderName>().map_err(|_| fault(()))?, value);
        }
        if let Some(template) = &self.content_type {
            let fault = |()| run.fault(template.position, invalid("Content-Type").to_string());
            headers.insert(CONTENT_TYPE, secret(&run.fill(template)?).map_err(fault)?);
        }
        Ok(headers)
    }

    fn body(&self, run: &TaskRun<'_>) -> Result<Option<TypedBody>> {
        if self.form.0.is_empty() {
            return Ok(run.fill_optional(self.body.as_ref())?.map(|text| (Bytes::from(text), None)));
        }
        let content_type = run.fill_optional(self.content_type.as_ref())?.unwrap_or_default();
        form::body(run, &self.form, &content_type).map(Some)
    }

    /// The longest time without any data.
    pub(crate) fn idle_timeout(&self, run: &TaskRun<'_>) -> Duration {
        self.options.idle().unwrap_or(run.context.retry_policy.idle_timeout)
    }

    /// Sends the request and returns the response, unless its status is an error.
    pub(crate) async fn send(&self, run: &TaskRun<'_>, address: &SourceUrl) -> Result<Response> {
        let method = run.fill_optional(self.method.as_ref())?.unwrap_or_else(|| "GET".to_owned());
        let position = self.method.as_ref().map_or(self.uri.position, |method| method.position);
        let method = Method::from_bytes(method.trim().to_uppercase().as_bytes())
            .map_err(|_| run.fault(position, format!("invalid HTTP method {method:?}")))?;
        let new = Exchange::new(method, address);
        let mut headers = self.headers(run, address)?;
        let (body, content_type) = self.body(run)?.unzip();
        if let Some(content_type) = content_type.flatten() {
            headers.insert(CONTENT_TYPE, secret(&content_type).map_err(|()| invalid("Content-Type"))?);
        }
        let exchange = Exchange {
            headers,
            body,
            connect_timeout: self.options.connect().unwrap_or(new.connect_timeout),
            idle_timeout: self.idle_timeout(run),
            follows_redirects: self.options.follow_redirects,
            ..new
        };
        let response = run.interrupt.or(exchange.send()).await?;
        match response.status() {
            status if self.allows_failure() || self.options.allows(status) => Ok(response),
            status => Err(http::refusal(address, status)),
        }
    }
}

/// A header's value that is not shown.
fn secret(text: &str) -> Result<HeaderValue, ()> {
    let mut value: HeaderValue = text.parse().map_err(|_| ())?;
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(name: &str) -> Error {
    Error::new(Kind::Configuration, format!("invalid name or value of the HTTP header {name:?}"))
}

/// Warns that credentials go over the network unencrypted.
fn warn_of_cleartext(run: &TaskRun<'_>, address: &SourceUrl) {
    let Ok(url) = Url::parse(address.expose()) else { return };
    let is_local = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if url.scheme() == "http" && !is_local {
        run.log(Level::Warning, &format!("the credentials for {address} are sent unencrypted: use https"));
    }
}

properties! {
    /// Sends an HTTP request and returns the response.
    pub(crate) struct Request as "a Request task" {
        /// Whether to encrypt the body in the outputs.
        "encryptBody" => _encrypt_body: bool = false => "outputs are not encrypted; known secrets in them are masked",
        with {
            /// The request.
            call: Call,
        }
    }
}

impl Request {
    /// Sends the request; the outputs are the status, the headers and the body of the response.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let address = self.call.address(run)?;
        let mut response = self.call.send(run, &address).await?;
        let (code, headers) = (response.status().as_u16(), headers(&response));
        let uri = SourceUrl::new(response.url().as_str()).to_string();
        let reading = read(&mut response, &address, self.call.idle_timeout(run));
        let body = run.interrupt.or(reading).await?;
        let outputs =
            [("code", json!(code)), ("headers", headers), ("body", json!(body)), ("uri", json!(uri))];
        Ok(outputs.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
    }
}

/// The whole body of a response as text.
async fn read(response: &mut Response, address: &SourceUrl, idle_timeout: Duration) -> Result<String> {
    let mut body = Vec::new();
    while let Some(chunk) = http::chunk(response, address, idle_timeout).await? {
        if body.len() + chunk.len() > BODY_LIMIT_BYTES {
            let text = format!("{address} returned a body of more than {BODY_LIMIT_BYTES} bytes");
            return Err(Error::new(Kind::Data, text).hint(
                "use a task of type io.kestra.plugin.core.http.Download, which writes the body to a file",
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// The headers of a response: their names, as servers write them, and the list of their values.
fn headers(response: &Response) -> Json {
    let mut headers = Map::new();
    for (name, value) in response.headers() {
        let name = match response.version() {
            Version::HTTP_2 | Version::HTTP_3 => name.to_string(),
            // the client does not keep the case of the letters
            _ => capitalized(name.as_str()),
        };
        let values = headers.entry(name).or_insert_with(|| json!([]));
        if let Json::Array(values) = values {
            values.push(json!(String::from_utf8_lossy(value.as_bytes())));
        }
    }
    Json::Object(headers)
}

/// `content-type` as `Content-Type`.
fn capitalized(name: &str) -> String {
    let word = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters).collect::<String>()
    };
    name.split('-').map(word).collect::<Vec<_>>().join("-")
}
