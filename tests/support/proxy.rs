//! A TCP proxy in front of a server that injects network faults into connections.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// The direction in which bytes flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    ToServer,
    ToClient,
}

/// A fault of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// No fault.
    None,
    /// The connection is cut after this number of bytes, counted over all connections.
    Cut(Direction, u64),
    /// The connection is cut before the n-th response to a COMMIT, counted from 0.
    LoseCommit(u64),
    /// After this number of bytes, no connection passes bytes in either direction for this duration, or until
    /// the proxy is armed again.
    Stall(Direction, u64, Duration),
}

/// The proxy; it runs until the process ends.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    fault: Mutex<Fault>,
    to_server: AtomicU64,
    to_client: AtomicU64,
    commits: AtomicU64,
    occurred: AtomicU64,
    armed: AtomicU64,
    /// Locked while no bytes may pass.
    stall: Mutex<()>,
}

impl Proxy {
    /// Starts a proxy in front of the server at `target`.
    fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            fault: Mutex::new(Fault::None),
            to_server: AtomicU64::new(0),
            to_client: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            occurred: AtomicU64::new(0),
            armed: AtomicU64::new(0),
            stall: Mutex::new(()),
        });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(target) else { continue };
                for (from, to, direction) in
                    [(&client, &server, Direction::ToServer), (&server, &client, Direction::ToClient)]
                {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    let state = Arc::clone(&shared);
                    std::thread::spawn(move || pump(from, to, direction, &state));
                }
            }
        });
        Self { address, state }
    }

    /// Starts a proxy in front of the server of a database URL. Returns it with the URL of the same database
    /// through the proxy.
    pub(crate) fn in_front_of(url: &str) -> (Self, String) {
        let (credentials, host_and_name) = url.split_once('@').unwrap();
        let (address, name) = host_and_name.split_once('/').unwrap();
        let proxy = Self::new(address.parse().unwrap());
        let proxied_url = format!("{credentials}@{}/{name}?sslmode=disable", proxy.address);
        (proxy, proxied_url)
    }

    /// Arms the proxy: the fault occurs once, on the connections from now on.
    pub(crate) fn arm(&self, fault: Fault) {
        self.state.to_server.store(0, Ordering::SeqCst);
        self.state.to_client.store(0, Ordering::SeqCst);
        self.state.commits.store(0, Ordering::SeqCst);
        self.state.occurred.store(0, Ordering::SeqCst);
        *self.state.fault.lock().unwrap() = fault;
        self.state.armed.fetch_add(1, Ordering::SeqCst);
    }

    /// Returns the bytes to the server, the bytes to the client, and the responses to COMMIT since the proxy
    /// was armed.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let load = |count: &AtomicU64| count.load(Ordering::SeqCst);
        (load(&self.state.to_server), load(&self.state.to_client), load(&self.state.commits))
    }

    /// Returns whether the fault has occurred.
    pub(crate) fn has_occurred(&self) -> bool {
        self.state.occurred.load(Ordering::SeqCst) > 0
    }
}

/// Forwards bytes until one side closes the connection or a fault cuts it.
fn pump(mut from: TcpStream, mut to: TcpStream, direction: Direction, state: &State) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        let bytes = &buffer[..length];
        let counter = if direction == Direction::ToServer { &state.to_server } else { &state.to_client };
        let before = counter.fetch_add(length as u64, Ordering::SeqCst);
        let contains_offset = |offset: u64| (before..before + length as u64).contains(&offset);
        let fault = *state.fault.lock().unwrap();
        let mut forwarded = bytes;
        match fault {
            Fault::Cut(fault_direction, offset)
                if direction == fault_direction && contains_offset(offset) =>
            {
                forwarded = &bytes[..(offset - before) as usize]
            }
            Fault::Stall(fault_direction, offset, duration)
                if direction == fault_direction && contains_offset(offset) =>
            {
                *state.fault.lock().unwrap() = Fault::None;
                state.occurred.store(1, Ordering::SeqCst);
                let _held = state.stall.lock().unwrap();
                let (armed, until) = (state.armed.load(Ordering::SeqCst), Instant::now() + duration);
                while Instant::now() < until && state.armed.load(Ordering::SeqCst) == armed {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
            _ => {}
        }
        if direction == Direction::ToClient {
            let responses = bytes.windows(7).filter(|text| text == b"COMMIT\0").count() as u64;
            let before = state.commits.fetch_add(responses, Ordering::SeqCst);
            if let Fault::LoseCommit(nth) = fault
                && (before..before + responses).contains(&nth)
            {
                forwarded = &[];
            }
        }
        drop(state.stall.lock().unwrap());
        let whole = to.write_all(forwarded).is_ok() && forwarded.len() == length;
        if !whole {
            if forwarded.len() < length {
                *state.fault.lock().unwrap() = Fault::None;
                state.occurred.store(1, Ordering::SeqCst);
            }
            break;
        }
    }
    for stream in [&from, &to] {
        let _ = stream.shutdown(Shutdown::Both);
    }
}
