//! An HTTP server on 127.0.0.1 that can fail in the ways real servers do.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The parts of a request that the tests check.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<String>,
    pub(crate) body: String,
}

impl Request {
    /// Returns the value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let has_name = |line: &&String| line.to_lowercase().starts_with(&format!("{}:", name.to_lowercase()));
        self.headers
            .iter()
            .find(has_name)
            .and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim())
    }
}

/// The response to a request.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    /// The Content-Length to send, if it differs from the length of the body.
    pub(crate) announce: Option<usize>,
    /// The rate at which the body is sent; `None` means no limit.
    pub(crate) bytes_per_second: Option<u64>,
    /// The second half of the body is sent when this is true.
    pub(crate) released: Option<Arc<AtomicBool>>,
    /// Whether the connection stays open after the body, without sending more.
    pub(crate) stalls: bool,
    /// Whether the body is sent with chunked encoding, without its length.
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
            released: None,
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

    /// Sends the second half of the body when `released` is true.
    pub(crate) fn held_until(mut self, released: &Arc<AtomicBool>) -> Self {
        self.released = Some(Arc::clone(released));
        self
    }

    /// Sends only the first `length` bytes of the body, with the Content-Length of the whole body.
    pub(crate) fn cut_at(mut self, length: usize) -> Self {
        self.announce = Some(self.body.len());
        self.body.truncate(length);
        self
    }

    /// Sends the body with chunked encoding, without its length.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// Like `cut_at`, but keeps the connection open until the client closes it.
    pub(crate) fn stalling_at(mut self, length: usize) -> Self {
        self.stalls = true;
        self.cut_at(length)
    }

    /// Returns the content with its ETag, or the requested range of it.
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

    /// Returns the file below `root`: 404 if it does not exist, 304 if the request names its ETag.
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

/// The server; it runs until the process ends.
pub(crate) struct Server {
    pub(crate) address: String,
    traffic: Arc<Mutex<Traffic>>,
}

#[derive(Default)]
struct Traffic {
    requests: Vec<Request>,
    body_bytes: usize,
}

impl Server {
    /// Starts a server that passes the path of each request to `answer` and sends the reply.
    pub(crate) fn new(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::answering(move |request| answer(&request.path))
    }

    /// Starts a server that passes each request to `answer` and sends the reply.
    pub(crate) fn answering(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let traffic = Arc::new(Mutex::new(Traffic::default()));
        let (answer, shared) = (Arc::new(answer), Arc::clone(&traffic));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answer, traffic) = (Arc::clone(&answer), Arc::clone(&shared));
                std::thread::spawn(move || serve(stream, &*answer, &traffic));
            }
        });
        Self { address, traffic }
    }

    /// Starts a server for the files of a folder.
    pub(crate) fn folder(root: &Path) -> Self {
        let root = root.to_owned();
        Self::answering(move |request| Reply::file(&root, request))
    }

    /// Returns the paths of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.traffic.lock().unwrap().requests.iter().map(|request| request.path.clone()).collect()
    }

    /// Returns the requests, and the number of body bytes sent, since the last call.
    pub(crate) fn take_traffic(&self) -> (Vec<Request>, usize) {
        let traffic = std::mem::take(&mut *self.traffic.lock().unwrap());
        (traffic.requests, traffic.body_bytes)
    }
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&Request) -> Reply, traffic: &Mutex<Traffic>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut lines = (&mut reader).lines().map_while(Result::ok);
    let Some(line) = lines.next() else { return };
    let mut words = line.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers = lines.take_while(|line| !line.is_empty()).collect();
    let mut request = Request { method, path, headers, body: String::new() };
    let length = request.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or_default();
    // the client may have closed the connection on purpose
    let _ = (&mut reader).take(length).read_to_string(&mut request.body);
    traffic.lock().unwrap().requests.push(request.clone());
    let reply = answer(&request);
    let length = match reply.chunked {
        true => "Transfer-Encoding: chunked".to_owned(),
        false => format!("Content-Length: {}", reply.announce.unwrap_or(reply.body.len())),
    };
    let mut head = format!("HTTP/1.1 {} X\r\n{length}\r\nConnection: close\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    // the client may have closed the connection on purpose
    let _ = stream.write_all(format!("{head}\r\n").as_bytes());
    if request.method != "HEAD" {
        send(&mut stream, &reply, traffic);
    }
    if reply.stalls {
        // wait until the client closes the connection
        let _ = reader.read_line(&mut String::new());
    }
    let _ = stream.shutdown(Shutdown::Write);
}

fn send(stream: &mut TcpStream, reply: &Reply, traffic: &Mutex<Traffic>) {
    let began = Instant::now();
    let mut sent = 0;
    let piece_bytes = reply.bytes_per_second.map_or(16 * 1024, |rate| (rate / 20).clamp(1, 16 * 1024));
    for piece in reply.body.chunks(piece_bytes as usize) {
        let held = reply.released.as_ref().filter(|_| sent >= reply.body.len() / 2);
        while held.is_some_and(|released| !released.load(Ordering::Relaxed)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let framed = match reply.chunked {
            true => [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat(),
            false => piece.to_vec(),
        };
        if stream.write_all(&framed).is_err() {
            return;
        }
        sent += piece.len();
        traffic.lock().unwrap().body_bytes += piece.len();
        if let Some(rate) = reply.bytes_per_second {
            let due = Duration::from_secs_f64(sent as f64 / rate as f64);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
    }
    if reply.chunked && reply.announce.is_none() {
        let _ = stream.write_all(b"0\r\n\r\n");
    }
}
