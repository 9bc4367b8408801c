//! Moves the data directory to a newer major version of PostgreSQL with `pg_upgrade`.
//!
//! ```text
//! TAXI_HOME/
//!   data/             the old data directory, from which pg_upgrade copies
//!   upgrade/          the home of the new server; exists only during an upgrade
//!     data/ run/ log/
//!     pgpass          the password file of pg_upgrade
//!     pg_upgrade.pid  the process group of pg_upgrade
//!     verified        exists once the new data directory holds the same rows
//!   data.15/          the old data directory after the upgrade from PostgreSQL 15
//! ```
//!
//! Until `verified` exists, an upgrade that ends in any way leaves the old data directory as it was, and [`recover`]
//! removes the rest. After that, `recover` completes the upgrade: only two renames are missing.

mod contents;
mod pg_upgrade;
mod programs;
mod recovery;

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use indicatif::HumanBytes;
use nix::sys::statvfs::statvfs;
use serde::Serialize;

use super::account::Account;
use super::binaries::Binaries;
use super::connection::{Credentials, free_port};
use super::home::Home;
use super::server::{self, Server};
use super::{Provisioner, ServerStatus, cluster};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::report::Report;
use contents::Contents;

pub(crate) use recovery::{is_interrupted, recover};

/// Space that a new data directory needs besides the users' data.
const NEW_CLUSTER_BYTES: u64 = 128 << 20;

/// The result of `taxi upgrade`.
#[derive(Debug, Serialize)]
pub(crate) struct Upgraded {
    /// The old major version.
    pub(crate) from: u32,
    /// The new major version; the old one if there was nothing to do.
    pub(crate) to: u32,
    /// How many tables were compared.
    pub(crate) tables: usize,
    /// How many rows these tables have.
    pub(crate) rows: u64,
    /// Where the old data directory is kept.
    pub(crate) old_data_dir: Option<PathBuf>,
    /// The server's state.
    #[serde(flatten)]
    pub(crate) server: ServerStatus,
}

impl Provisioner {
    /// Upgrades the data directory to the major version `to`, or to the newest one that is installed. Afterwards, the
    /// server runs if it ran before.
    pub(crate) async fn upgrade(
        &self,
        to: Option<u32>,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) -> Result<Upgraded> {
        let home = Home::resolve(self.home.as_deref())?;
        if !home.data().exists() && !is_interrupted(&home) {
            let text = format!("there is no embedded server in {} yet", home.path().display());
            return Err(Error::new(Kind::Configuration, text).hint("use 'taxi up' to create it"));
        }
        let lock = interrupt.or(home.lock(report)).await?;
        recover(&home, report).await?;
        let from = cluster::major_version(&home)?.unwrap_or_default();
        if to == Some(from) {
            let server = self.status().await?;
            return Ok(Upgraded { from, to: from, tables: 0, rows: 0, old_data_dir: None, server });
        }
        let account = Account::for_server(&home.data())?;
        let new = self.find_new(from, to, &home, report).await?;
        let upgrade = Upgrade {
            old: self.find_old(from, &home, report).await?,
            beside: home.upgrade(),
            connection: Credentials::load(&home)?,
            kept: home.kept_data(from),
            home,
            account,
            new,
        };
        upgrade.check_requirements()?;
        let was_running = server::postmaster(&upgrade.home.data()).is_some();
        let verified = upgrade.run(interrupt, report).await;
        let contents = upgrade.end(verified, was_running, interrupt, report).await?;
        drop(lock);
        Ok(Upgraded {
            from,
            to: upgrade.new.major,
            tables: contents.tables(),
            rows: contents.rows(),
            old_data_dir: Some(upgrade.kept),
            server: self.status().await?,
        })
    }
}

/// An upgrade in progress.
struct Upgrade {
    home: Home,
    /// The home of the new server.
    beside: Home,
    account: Account,
    old: Binaries,
    new: Binaries,
    connection: Credentials,
    /// Where the old data directory is kept.
    kept: PathBuf,
}

impl Upgrade {
    /// Refuses what would fail only after the server was stopped.
    fn check_requirements(&self) -> Result<()> {
        if self.kept.exists() {
            let text =
                format!("{} exists: it is the old data directory of an earlier upgrade", self.kept.display());
            return Err(Error::new(Kind::Configuration, text).hint("remove the directory, or move it away"));
        }
        let (needed, free) = (size_of(&self.home.data())? + NEW_CLUSTER_BYTES, free_space(self.home.path())?);
        if free < needed {
            let text = format!(
                "an upgrade copies the data and needs {} in {}, but only {} are free",
                HumanBytes(needed),
                self.home.path().display(),
                HumanBytes(free)
            );
            return Err(Error::new(Kind::Io, text).hint("free some space; the data was not changed"));
        }
        Ok(())
    }

    /// Creates the new data directory and verifies it. Both servers run on a private port, so that no
    /// client can write in the meantime.
    async fn run(&self, interrupt: &Interrupt, report: &dyn Report) -> Result<Contents> {
        let mut private = Credentials { port: free_port()?, ..self.connection.clone() };
        server::stop(&self.home).await?;
        report.notice(&format!("counting the rows in PostgreSQL {}", self.old.major));
        let old = Server { home: &self.home, account: &self.account, binaries: &self.old };
        old.start(&mut private, report).await?;
        let before = interrupt.or(Contents::read(&private)).await?;
        let settings = contents::initdb_settings(&private, self.new.major).await?;
        server::stop(&self.home).await?;

        self.beside.create(&self.account)?;
        let new = Server { home: &self.beside, account: &self.account, binaries: &self.new };
        new.write_settings(&private)?;
        cluster::create(&self.beside, &self.account, &self.new, &private, &settings).await?;
        self.copy_configuration().await?;
        report.notice(&format!("checking whether PostgreSQL {} can take over the data", self.new.major));
        self.run_pg_upgrade(true, interrupt).await?;
        report.notice(&format!("copying the data to PostgreSQL {}", self.new.major));
        self.run_pg_upgrade(false, interrupt).await?;

        report.notice(&format!("comparing the rows in PostgreSQL {}", self.new.major));
        new.start(&mut private, report).await?;
        let after = interrupt.or(Contents::read(&private)).await?;
        before.compare(&after)?;
        interrupt.or(contents::analyze(&private)).await?;
        server::stop(&self.beside).await?;
        match interrupt.raised() {
            Some(signal) => Err(signal),
            None => Ok(after),
        }
    }

    /// Completes a verified upgrade; otherwise removes what it has created. Then starts the server if it ran before.
    async fn end(
        &self,
        verified: Result<Contents>,
        was_running: bool,
        interrupt: &Interrupt,
        report: &dyn Report,
    ) -> Result<Contents> {
        let marked = match verified {
            Ok(contents) => recovery::mark_verified(&self.beside).map(|()| contents),
            // a signal also reaches the programs that this process has started
            Err(error) => Err(interrupt.raised().unwrap_or(error)),
        };
        let verified = marked.map_err(|error| {
            let (from, to) = (self.old.major, self.new.major);
            error.within(format!("cannot upgrade to PostgreSQL {to}; the data stays with PostgreSQL {from}"))
        });
        let binaries = if verified.is_ok() { &self.new } else { &self.old };
        let ended = async {
            recover(&self.home, report).await?;
            if was_running {
                let server = Server { home: &self.home, account: &self.account, binaries };
                server.start(&mut self.connection.clone(), report).await?;
            }
            Ok(())
        };
        let ended = ended.await;
        // the reason for a failed upgrade matters more
        let contents = verified?;
        ended.map(|()| contents)
    }

    /// Copies the rules of who may connect, and what `ALTER SYSTEM` has set. The account does it: root must not follow
    /// a link that the account may have created.
    async fn copy_configuration(&self) -> Result<()> {
        let program = Path::new("/bin/cp");
        let mut copy = self.account.command(program, &self.beside.data());
        let old = self.home.data();
        copy.args(["pg_hba.conf", "pg_ident.conf", "postgresql.auto.conf"].map(|name| old.join(name)));
        copy.arg(self.beside.data());
        let copied = cluster::output(copy, program).await?;
        cluster::check("cannot copy the configuration", &old, &copied)
    }
}

/// The space that the files of a data directory take, without the log of changes, which an upgrade leaves out.
fn size_of(directory: &Path) -> Result<u64> {
    let failed = |cause| Error::file("read", directory, cause);
    let mut total = 0;
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let metadata = entry.metadata().map_err(failed)?;
        total += match metadata.is_dir() {
            true if entry.file_name() == "pg_wal" => 0,
            true => size_of(&entry.path())?,
            false => metadata.blocks() * 512,
        };
    }
    Ok(total)
}

fn free_space(path: &Path) -> Result<u64> {
    let disk = statvfs(path).map_err(|cause| Error::file("query the free space of", path, cause.into()))?;
    #[expect(clippy::useless_conversion, reason = "one of these types has 32 bits on macOS")]
    let free = u64::from(disk.blocks_available()).saturating_mul(u64::from(disk.fragment_size()));
    Ok(free)
}

/// Writes the names of a directory's entries to the disk.
fn sync_directory(path: &Path) -> Result<()> {
    File::open(path)
        .and_then(|directory| directory.sync_all())
        .map_err(|cause| Error::file("write", path, cause))
}
