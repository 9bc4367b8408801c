//! The embedded server that all loaders share, with taxi's settings or with PostgreSQL's defaults.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio_postgres::NoTls;

use crate::baselines::TAXI;

/// PostgreSQL's defaults for the settings that taxi changes.
const STOCK: [(&str, &str); 7] = [
    ("wal_level", "replica"),
    ("max_wal_senders", "10"),
    ("max_wal_size", "1GB"),
    ("checkpoint_timeout", "5min"),
    ("shared_buffers", "128MB"),
    ("maintenance_work_mem", "64MB"),
    ("wal_buffers", "-1"),
];

pub(crate) struct Server {
    home: PathBuf,
    url: String,
    databases: AtomicU32,
}

impl Server {
    pub(crate) fn start(stock: bool) -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::Builder::new().prefix("taxi-bench-").tempdir().unwrap().keep();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut server = Self { home: folder.join("home"), url: String::new(), databases: AtomicU32::new(0) };
        server.up();
        if stock {
            for (name, value) in STOCK {
                server.sql(&server.url, &format!("ALTER SYSTEM SET {name} = '{value}'"));
            }
            server.taxi("down");
            server.up();
        }
        server
    }

    fn up(&mut self) {
        self.url = self.taxi("up").trim().to_owned();
    }

    fn taxi(&self, command: &str) -> String {
        let output = Command::new(TAXI).arg(command).env("TAXI_HOME", &self.home).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the URL of a new, empty database. Drops the previous one, and runs a CHECKPOINT to flush what
    /// it left to be written.
    pub(crate) fn fresh_database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        self.sql(&self.url, &format!("DROP DATABASE IF EXISTS bench_{}", number.saturating_sub(1)));
        self.sql(&self.url, &format!("CREATE DATABASE bench_{number}"));
        self.sql(&self.url, "CHECKPOINT");
        format!("{}/bench_{number}", self.url.rsplit_once('/').unwrap().0)
    }

    pub(crate) fn sql(&self, url: &str, statement: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(statement).await.unwrap();
        });
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.taxi("down");
        let _ = std::fs::remove_dir_all(self.home.parent().unwrap());
    }
}
