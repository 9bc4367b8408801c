//! A web server on 127.0.0.1 that can misbehave in the ways real ones do.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request, as far as anybody looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<String>,
}

impl Request {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &&String| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase()));
        self.headers.iter().find(named).and_then(|line| line.split_once(':')).map(|(_, value)| value.trim())
    }
}

/// An answer to one request.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// The length to announce where it is not the body's.
    pub(crate) announce: Option<usize>,
    /// How fast the body is sent.
    pub(crate) bytes_per_second: Option<u64>,
    /// Whether the connection stays open, and silent, behind the body.
    pub(crate) stalls: bool,
    /// Whether the body comes in chunks, without its length.
    pub(crate) chunked: bool,
}

impl Reply {
    pub(crate) fn ok(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            headers: Vec::new(),
            body,
            announce: None,
            bytes_per_second: None,
            stalls: false,
            chunked: false,
        }
    }

    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::ok(b"no\n".to_vec()) }
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn announcing(mut self, length: usize) -> Self {
        self.announce = Some(length);
        self
    }

    pub(crate) fn at_most(mut self, bytes_per_second: u64) -> Self {
        self.bytes_per_second = Some(bytes_per_second);
        self
    }

    /// Only the first bytes of the body, though the whole length is announced.
    pub(crate) fn cut_at(mut self, length: usize) -> Self {
        self.announce = Some(self.body.len());
        self.body.truncate(length);
        self
    }

    /// In chunks, without its length.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The same, and nothing more for as long as the client waits.
    pub(crate) fn stalling_at(mut self, length: usize) -> Self {
        self.stalls = true;
        self.cut_at(length)
    }

    /// The content with its ETag, or the part of it that is asked for.
    pub(crate) fn ranged(content: &[u8], etag: &str, request: &Request) -> Self {
        let range = request.header("Range").filter(|_| request.header("If-Range") == Some(etag));
        let from: Option<usize> = range.map(|range| {
            range.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')).unwrap().parse().unwrap()
        });
        let reply = match from {
            None => Self::ok(content.to_vec()),
            Some(from) if from >= content.len() => Self::status(416),
            Some(from) => Self { status: 206, ..Self::ok(content[from..].to_vec()) }
                .header("Content-Range", &format!("bytes {from}-{}/{}", content.len() - 1, content.len())),
        };
        reply.header("ETag", etag)
    }

    /// The file, or that it is not there; that it is the same still where the request knows it.
    pub(crate) fn file(root: &Path, request: &Request) -> Self {
        let path = request.path.trim_start_matches('/').split('?').next().unwrap();
        let Ok(body) = std::fs::read(root.join(path)) else { return Self::status(404) };
        let mut hasher = DefaultHasher::new();
        body.hash(&mut hasher);
        let etag = format!("\"{:x}\"", hasher.finish());
        if request.header("If-None-Match") == Some(&etag) {
            return Self { body: Vec::new(), ..Self::status(304) }.header("ETag", &etag);
        }
        Self::ok(body).header("ETag", &etag)
    }
}

/// The server; it answers until the process ends.
pub(crate) struct Server {
    pub(crate) address: String,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    body_bytes: usize,
}

impl Server {
    /// Answers every request for a path with what `answer` makes of it.
    pub(crate) fn new(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering(move |request| answer(&request.path))
    }

    /// Answers every request with what `answer` makes of it.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (answer, shared) = (Arc::new(answer), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &*answer, &seen));
            }
        });
        Self { address, seen }
    }

    /// Serves a folder's files.
    pub(crate) fn folder(root: &Path) -> Self {
        let root = root.to_owned();
        Self::answering(move |request| Reply::file(&root, request))
    }

    /// The paths asked for so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.iter().map(|request| request.path.clone()).collect()
    }

    /// What was asked and how many bytes of bodies were sent since the last look.
    pub(crate) fn take_seen(&self) -> (Vec<Request>, usize) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (seen.requests, seen.body_bytes)
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Request) -> Reply, seen: &Mutex<Seen>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok).fuse();
    let Some(line) = lines.next() else { return };
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let request =
        Request { method, path, headers: lines.by_ref().take_while(|line| !line.is_empty()).collect() };
    seen.lock().unwrap().requests.push(request.clone());
    let reply = answer(&request);
    let length = match reply.chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", reply.announce.unwrap_or(reply.body.len())),
    };
    let mut head = format!("HTTP/1.1 {} X\r\n{length}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // the client may have hung up on purpose
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if request.method != "HEAD" {
        send(&mut stream, &reply, seen);
    }
    if reply.stalls {
        // until the client hangs up
        let _ = lines.next();
    }
    let _ = stream.shutdown(Shutdown::Write);
}

fn send(stream: &mut TcpStream, reply: &Reply, seen: &Mutex<Seen>) {
    let began = Instant::now();
    let mut sent = 0;
    let piece_bytes = reply.bytes_per_second.map_or(16 * 1024, |rate| (rate / 20).clamp(1, 16 * 1024));
    for piece in reply.body.chunks(piece_bytes as usize) {
        let framed = match reply.chunked {
            true => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
            false => piece.to_vec(),
        };
        if stream.write_all(&framed).is_err() {
            return;
        }
        sent += piece.len();
        seen.lock().unwrap().body_bytes += piece.len();
        if let Some(rate) = reply.bytes_per_second {
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    if reply.chunked && reply.announce.is_none() {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
}
