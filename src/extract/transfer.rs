//! Downloads a file from a web server as one stream of bytes. If the connection breaks, the download resumes at
//! the same byte.
//!
//! Every attempt requests the original address, so that a redirect to a signed URL is resolved again. If the server
//! sends bytes again, they are compared with those received before. If the file has changed in the meantime, the
//! error is [`Detail::SourceChanged`]: rows of the old file may already be staged, so the load has to start over.
//!
//! The number of retries is limited. The count restarts after every 64 KiB received.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use bytes::Bytes;
use reqwest::header::{
    CONTENT_RANGE, ETAG, HeaderMap, HeaderValue, IF_RANGE, LAST_MODIFIED, RANGE, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use super::description::{Description, Received};
use crate::error::{Detail, Error, Kind, Result};
use crate::http::{self, SourceUrl};
use crate::report::{Report, failure};

/// Delay before the first retry. Each further delay is twice as long. Random jitter at most doubles a delay.
const FIRST_DELAY: Duration = Duration::from_millis(200);
/// Upper limit for a delay before its jitter is added.
const MAX_DELAY: Duration = Duration::from_secs(10);
/// Upper limit for the delay that a server requests with `Retry-After`.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Number of bytes received after which the retry count restarts.
const RETRY_RESET_BYTES: u64 = 64 * 1024;
/// A transfer that is slower than this counts as idle.
const MIN_BYTES_PER_SECOND: u64 = 1024;

/// Timeout and retry settings for a web server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    /// Idle timeout: the longest time without any data.
    pub(crate) idle_timeout: Duration,
    /// Number of retries after a failed request (the count restarts after every 64 KiB received).
    pub(crate) retries: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { idle_timeout: http::IDLE_TIMEOUT, retries: 5 }
    }
}

/// Sends and retries the requests for one file.
pub(crate) struct Requests {
    address: SourceUrl,
    /// Headers that every request has.
    headers: HeaderMap,
    retry_policy: RetryPolicy,
    report: Arc<dyn Report>,
    delays: ExponentialBackoff,
    /// Stream position at which the retry count last restarted.
    counted_from: u64,
    /// The delay that the server requested with its last `Retry-After` header; zero if none is pending.
    retry_after: Duration,
}

impl Requests {
    /// Prepares requests for `address`. Before each retry, `report` receives a notice.
    pub(crate) fn new(address: &SourceUrl, retry_policy: RetryPolicy, report: &Arc<dyn Report>) -> Self {
        Self {
            address: address.clone(),
            headers: HeaderMap::new(),
            retry_policy,
            report: Arc::clone(report),
            delays: delays(retry_policy),
            counted_from: 0,
            retry_after: Duration::ZERO,
        }
    }

    /// Adds `headers` to every request.
    #[must_use]
    pub(crate) fn with_headers(self, headers: HeaderMap) -> Self {
        Self { headers, ..self }
    }

    /// Sends a request and retries it after transient failures.
    pub(crate) async fn ask(&mut self, method: Method, headers: HeaderMap) -> Result<Response> {
        loop {
            match self.attempt(method.clone(), headers.clone()).await {
                Ok(response) => return Ok(response),
                Err(error) => self.wait(error, 0).await?,
            }
        }
    }

    async fn attempt(&mut self, method: Method, headers: HeaderMap) -> Result<Response> {
        let mut all = self.headers.clone();
        all.extend(headers);
        let response = http::send(method, &self.address, all, self.retry_policy.idle_timeout).await?;
        if !http::is_transient(response.status()) {
            return Ok(response);
        }
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        self.retry_after = header.and_then(retry_after).unwrap_or_default().min(MAX_RETRY_AFTER);
        Err(http::refusal(&self.address, response.status()))
    }

    /// Waits before the next attempt. Returns `error` if a retry cannot fix it, or if no retries are left.
    /// `position` is the current position in the stream.
    async fn wait(&mut self, error: Error, position: u64) -> Result<()> {
        if error.kind() != Kind::Unreachable || error.detail() == Some(Detail::SourceChanged) {
            return Err(error);
        }
        if position >= self.counted_from + RETRY_RESET_BYTES {
            (self.delays, self.counted_from) = (delays(self.retry_policy), position);
        }
        let Some(delay) = self.delays.next() else { return Err(error) };
        let delay = delay.max(std::mem::take(&mut self.retry_after));
        let next_step = match position {
            0 => "retrying".to_owned(),
            position => format!("resuming at byte {position}"),
        };
        let notice = format!("{}; {next_step} in {:.1} s", failure::line(&error), delay.as_secs_f64());
        self.report.notice(&notice);
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Reads a `Retry-After` header: a number of seconds, or a date.
fn retry_after(header: &str) -> Option<Duration> {
    if let Ok(seconds) = header.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(header.trim()).ok()?;
    date.timestamp().duration_since(jiff::Timestamp::now()).try_into().ok()
}

fn delays(retry_policy: RetryPolicy) -> ExponentialBackoff {
    let delays = ExponentialBuilder::default().with_min_delay(FIRST_DELAY).with_max_delay(MAX_DELAY);
    delays.with_max_times(retry_policy.retries as usize).with_jitter().build()
}

/// A download in progress.
pub(crate) struct Transfer {
    requests: Requests,
    /// `None` once the whole file has arrived.
    response: Option<Response>,
    /// The length of the file, if the server has announced it.
    length_bytes: Option<u64>,
    /// New bytes that arrived in the same chunk as the last of the skipped bytes.
    pending: Bytes,
    throughput: Throughput,
}

impl Transfer {
    /// Starts a download. `response` is the first response that `requests` received, `description` that of the file.
    pub(crate) fn new(requests: Requests, response: Response, description: &Description) -> Self {
        let length_bytes = description.length_bytes;
        Self {
            requests,
            response: Some(response),
            length_bytes,
            pending: Bytes::new(),
            throughput: Throughput::default(),
        }
    }

    /// Returns the bytes that follow those already `received`, or `None` at the end of the file. If the stream has
    /// to be resumed, `description` identifies the file.
    pub(crate) async fn chunk(
        &mut self,
        received: &Received,
        description: &Description,
    ) -> Result<Option<Bytes>> {
        loop {
            match self.read(received).await {
                Ok(chunk) => return Ok(chunk),
                Err(error) => self.resume(error, received, description).await?,
            }
        }
    }

    async fn read(&mut self, received: &Received) -> Result<Option<Bytes>> {
        if !self.pending.is_empty() {
            return Ok(Some(std::mem::take(&mut self.pending)));
        }
        let Some(response) = &mut self.response else { return Ok(None) };
        let chunk = self.throughput.chunk(response, &self.requests).await?;
        match self.length_bytes {
            Some(announced) if chunk.is_none() && received.length_bytes < announced => {
                let reason = format!("expected {announced} bytes, received {}", received.length_bytes);
                Err(http::interrupted(&self.requests.address).because(reason))
            }
            _ => Ok(chunk),
        }
    }

    /// Resumes the stream after `error`, or returns an error if that is not possible.
    async fn resume(
        &mut self,
        mut error: Error,
        received: &Received,
        description: &Description,
    ) -> Result<()> {
        loop {
            self.requests.wait(error, received.length_bytes).await?;
            self.throughput = Throughput::default();
            match self.reopen(received, description).await {
                Ok(response) => {
                    self.response = response;
                    return Ok(());
                }
                Err(next) => error = next,
            }
        }
    }

    /// Requests the missing bytes. Returns `None` if no bytes are missing, because only the end of the stream had
    /// not arrived.
    async fn reopen(&mut self, received: &Received, description: &Description) -> Result<Option<Response>> {
        let from = received.length_bytes;
        let response = self.requests.attempt(Method::GET, range(from, description)).await?;
        let address = &self.requests.address;
        let part = PartialContent::of(response.headers());
        let is_same = part.is_of(response.headers(), description, self.length_bytes);
        match response.status() {
            StatusCode::PARTIAL_CONTENT if is_same && part.start == Some(from) => {
                self.length_bytes = self.length_bytes.or(part.file_length);
                Ok(Some(response))
            }
            StatusCode::RANGE_NOT_SATISFIABLE if is_same && part.file_length == Some(from) => Ok(None),
            StatusCode::PARTIAL_CONTENT
            | StatusCode::RANGE_NOT_SATISFIABLE
            | StatusCode::PRECONDITION_FAILED => Err(changed(address)),
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                Err(http::interrupted(address).because("the source no longer has the file"))
            }
            _ => {
                let response = http::accept(address, response).await.map_err(|error| match error.kind() {
                    Kind::NotPublished => http::interrupted(address).because(error),
                    _ => error,
                })?;
                let new_description = Description::of(response.headers());
                if new_description != *description && !new_description.is_of_same_file(description) {
                    return Err(changed(address));
                }
                self.skip(response, received).await.map(Some)
            }
        }
    }

    /// Skips the bytes that were already `received`, and checks that they are the same.
    async fn skip(&mut self, mut response: Response, received: &Received) -> Result<Response> {
        let (mut sha256, mut remaining) = (Sha256::new(), received.length_bytes);
        while remaining > 0 {
            let Some(mut chunk) = self.throughput.chunk(&mut response, &self.requests).await? else {
                return Err(changed(&self.requests.address));
            };
            self.pending = chunk.split_off((chunk.len() as u64).min(remaining) as usize);
            remaining -= chunk.len() as u64;
            sha256.update(&chunk);
        }
        if sha256.finalize() != received.sha256.clone().finalize() {
            self.pending.clear();
            return Err(changed(&self.requests.address));
        }
        Ok(response)
    }
}

/// The headers of a request for the bytes from the position `from` on, if the server still has the described file.
/// Without a strong validator, the headers request the whole file: a part could belong to a different file.
fn range(from: u64, description: &Description) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let validator = match &description.etag {
        Some(etag) => Some(etag).filter(|etag| !etag.starts_with("W/")),
        None => description.last_modified.as_ref(),
    };
    let validator = validator.map(|text| HeaderValue::from_str(text));
    if let (1.., Some(Ok(validator)), Ok(range)) = (from, validator, format!("bytes={from}-").parse()) {
        headers.insert(RANGE, range);
        headers.insert(IF_RANGE, validator);
    }
    headers
}

/// The part of a file that a response contains, as its `Content-Range` header describes it.
#[derive(Clone, Copy, Debug, Default)]
struct PartialContent {
    /// Position of the part's first byte in the file.
    start: Option<u64>,
    /// Length of the whole file.
    file_length: Option<u64>,
}

impl PartialContent {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes "));
        let Some((range, length)) = text.and_then(|text| text.split_once('/')) else {
            return Self::default();
        };
        let start = range.split_once('-').and_then(|(start, _)| start.parse().ok());
        Self { start, file_length: length.parse().ok() }
    }

    /// Returns `false` if the response shows that the part belongs to a different file. This check is needed because
    /// some servers ignore `If-Range`.
    fn is_of(self, headers: &HeaderMap, description: &Description, length_bytes: Option<u64>) -> bool {
        let same = |name, known: &Option<String>| {
            let found = headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
            found.is_none_or(|found| known.as_deref().is_none_or(|known| known == found))
        };
        same(ETAG, &description.etag)
            && same(LAST_MODIFIED, &description.last_modified)
            && self.file_length.is_none_or(|found| length_bytes.is_none_or(|known| known == found))
    }
}

/// Measures the transfer rate. Only the time spent waiting for bytes counts.
#[derive(Default)]
struct Throughput {
    waited: Duration,
    bytes: u64,
}

impl Throughput {
    /// Returns the next bytes of `response`. Fails if the transfer was too slow for as long as the idle timeout.
    async fn chunk(&mut self, response: &mut Response, requests: &Requests) -> Result<Option<Bytes>> {
        let idle_timeout = requests.retry_policy.idle_timeout;
        let start = Instant::now();
        let chunk = http::chunk(response, &requests.address, idle_timeout).await?;
        self.waited += start.elapsed();
        self.bytes += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        if self.waited < idle_timeout {
            return Ok(chunk);
        }
        let Self { waited, bytes } = std::mem::take(self);
        if chunk.is_some() && (bytes as f64) < MIN_BYTES_PER_SECOND as f64 * waited.as_secs_f64() {
            let reason = format!("the server sent only {bytes} bytes in {:.1} s", waited.as_secs_f64());
            return Err(http::interrupted(&requests.address).because(reason));
        }
        Ok(chunk)
    }
}

/// The error for a file that changed at the source during the download.
fn changed(address: &SourceUrl) -> Error {
    http::interrupted(address)
        .because("the file has changed at the source")
        .with_detail(Detail::SourceChanged)
}

#[cfg(test)]
mod tests {
    use super::{Duration, retry_after};

    #[test]
    fn retry_after_is_a_number_of_seconds_or_a_date() {
        assert_eq!(retry_after(" 120 "), Some(Duration::from_secs(120)));
        let soon = jiff::Zoned::now().saturating_add(jiff::Span::new().seconds(100));
        let delay = retry_after(&jiff::fmt::rfc2822::to_string(&soon).unwrap()).unwrap();
        assert!((90..=100).contains(&delay.as_secs()), "{delay:?}");
        // a date in the past asks for no delay
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
        assert_eq!(retry_after("soon"), None);
    }
}
