//! A TCP proxy before a server, which does to connections what networks do.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// What happens to a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It is cut behind so many bytes, counted over all connections.
    Cut(Way, u64),
    /// The n-th answer to a COMMIT, counted from 0, does not arrive: the connection is cut before it.
    LoseCommit(u64),
    /// Behind so many bytes nothing goes either way, on any connection, for so long, or until it is armed anew.
    Stall(Way, u64, Duration),
}

/// The proxy; it works until the process ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    fault: Mutex<Fault>,
    to_server: AtomicU64,
    to_client: AtomicU64,
    commits: AtomicU64,
    struck: AtomicU64,
    armed: AtomicU64,
    /// Held while nothing may go.
    stall: Mutex<()>,
}

impl Proxy {
    /// Before the server at `target`.
    fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            fault: Mutex::new(Fault::None),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            struck: AtomicU64::new(0),
            armed: AtomicU64::new(0),
            stall: Mutex::new(()),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else { continue };
                for (from, to, way) in [(&client, &server, Way::ToServer), (&server, &client, Way::ToClient)]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pump(from, to, way, &state));
                }
            }
        });
        Self { address, state }
    }

    /// Before the server of a database's URL; returns the URL that leads through it, too.
    pub(crate) fn before(url: &str) -> (Self, String) {
        let (credentials, place) = url.split_once('@').unwrap();
        let (address, name) = place.split_once('/').unwrap();
        let proxy = Self::new(address.parse().unwrap());
        let through = format!("{credentials}@{}/{name}?sslmode=disable", proxy.address);
        (proxy, through)
    }

    /// From now on connections meet this fault, once.
    pub(crate) fn arm(&self, fault: Fault) {
        self.state.to_server.store(0, Ordering::SeqCst);
        self.state.to_client.store(0, Ordering::SeqCst);
        self.state.commits.store(0, Ordering::SeqCst);
        self.state.struck.store(0, Ordering::SeqCst);
        *self.state.fault.lock().unwrap() = fault;
        self.state.armed.fetch_add(1, Ordering::SeqCst);
    }

    /// The bytes that went to the server and to the client since it was armed, and the answers to COMMIT.
    pub(crate) fn seen(&self) -> (u64, u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (load(&self.state.to_server), load(&self.state.to_client), load(&self.state.commits))
    }

    /// Whether the fault has struck.
    pub(crate) fn has_struck(&self) -> bool {
        self.state.struck.load(Ordering::SeqCst) > 0
    }
}

/// Passes bytes on until one side ends, or the fault does.
fn pump(mut from: TcpStream, mut to: TcpStream, way: Way, state: &State) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        let counter = if way == Way::ToServer { &state.to_server } else { &state.to_client };
        let before = counter.fetch_add(length as u64, Ordering::SeqCst);
        let strikes = |at: u64| (before..before + length as u64).contains(&at);
        let fault = *state.fault.lock().unwrap();
        let mut passing = bytes;
        match fault {
            Fault::Cut(at_way, at) if way == at_way && strikes(at) => {
                passing = &bytes[..(at - before) as usize]
            }
            Fault::Stall(at_way, at, time) if way == at_way && strikes(at) => {
                *state.fault.lock().unwrap() = Fault::None;
                state.struck.store(1, Ordering::SeqCst);
                let _held = state.stall.lock().unwrap();
                let (armed, until) = (state.armed.load(Ordering::SeqCst), Instant::now() + time);
                while Instant::now() < until && state.armed.load(Ordering::SeqCst) == armed {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            _ => {}
        }
        if way == Way::ToClient {
            let answers = bytes.windows(7).filter(|text| text == b"COMMIT\0").count() as u64;
            let before = state.commits.fetch_add(answers, Ordering::SeqCst);
            if let Fault::LoseCommit(nth) = fault
                && (before..before + answers).contains(&nth)
            {
                passing = &[];
            }
        }
        drop(state.stall.lock().unwrap());
        let whole = to.write_all(passing).is_ok() && passing.len() == length;
        if !whole {
            if passing.len() < length {
                *state.fault.lock().unwrap() = Fault::None;
                state.struck.store(1, Ordering::SeqCst);
            }
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
