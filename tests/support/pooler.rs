//! PgBouncer in front of a server, where it is installed.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{is_root, open_tempdir, skipped, wait_until};

/// A running pooler. It ends with the value.
pub(crate) struct Pooler {
    folder: tempfile::TempDir,
    program: PathBuf,
    address: SocketAddr,
    /// The database through the pooler.
    pub(crate) url: String,
    process: Child,
}

impl Pooler {
    /// Starts a pooler for the database of `url`, with these lines in its configuration. Returns `None`, and says that
    /// the test is skipped, if PgBouncer is not installed.
    pub(crate) fn start(url: &str, settings: &str) -> Option<Self> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
        let Some(program) = folders.map(|folder| folder.join("pgbouncer")).find(|program| program.exists())
        else {
            skipped("pgbouncer is not installed");
            return None;
        };
        let (credentials, host_and_name) = url.trim_start_matches("postgresql://").split_once('@').unwrap();
        let (user, password) = credentials.split_once(':').unwrap();
        let (server, name) = host_and_name.split_once('/').unwrap();
        let (host, port) = server.split_once(':').unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = open_tempdir();
        let configuration = format!(
            "[databases]\n{name} = host={host} port={port} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n{settings}\n",
            address.port()
        );
        std::fs::write(folder.path().join("pgbouncer.ini"), configuration).unwrap();
        let process = spawn(&program, folder.path());
        let url = format!("postgresql://{user}@{address}/{name}");
        let pooler = Self { folder, program, address, url, process };
        pooler.wait();
        Some(pooler)
    }

    /// Kills the pooler and starts it again.
    pub(crate) fn restart(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&self.program, self.folder.path());
        self.wait();
    }

    fn wait(&self) {
        wait_until("the pooler listens", || TcpStream::connect(self.address).is_ok());
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(program: &Path, folder: &Path) -> Child {
    let mut command = Command::new(program);
    command
        .arg(folder.join("pgbouncer.ini"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if is_root() {
        // it refuses to run as root
        let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
        command.uid(nobody.uid.as_raw()).gid(nobody.gid.as_raw());
    }
    command.spawn().unwrap()
}
