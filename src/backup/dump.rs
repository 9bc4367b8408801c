//! Backs up a database: pg_dump and the manifest read the same snapshot.

use std::path::PathBuf;

use jiff::Timestamp;
use tokio_postgres::{Client, IsolationLevel};

use super::beside::{Beside, Purpose};
use super::contents::{self, Contents, Known};
use super::directory::{self, Directory};
use super::manifest::{DUMP, Manifest};
use super::programs::{self, Program};
use super::restore;
use crate::database::settings::Settings;
use crate::database::statement::sql;
use crate::database::{failure, session};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::report::{Report, failure as report_failure};

/// What to back up, and where to.
pub(crate) struct Backup<'a> {
    /// The database.
    pub(crate) settings: &'a Settings,
    /// The directory of the embedded server's programs.
    pub(crate) server_programs: Option<PathBuf>,
    /// The directory that holds the backups.
    pub(crate) to: PathBuf,
    /// Number of backups to keep.
    pub(crate) keep: Option<u16>,
    /// Whether to restore the backup into a temporary database, and compare it.
    pub(crate) verify: bool,
    /// Number of tables to dump side by side.
    pub(crate) jobs: u8,
}

/// A finished backup.
pub(crate) struct Finished {
    /// Its directory.
    pub(crate) path: PathBuf,
    /// Its manifest.
    pub(crate) manifest: Manifest,
    /// The size of its files.
    pub(crate) length_bytes: u64,
    /// The older backups that were removed.
    pub(crate) removed: Vec<PathBuf>,
}

impl Backup<'_> {
    /// Makes the backup, all or nothing.
    pub(crate) async fn run(&self, interrupt: &Interrupt, report: &dyn Report) -> Result<Finished> {
        let database = self.settings.database();
        let directory = Directory::open(&self.to)?;
        let unfinished = directory.begin(database)?;
        let manifest = interrupt.or(self.dump(&unfinished.path().join(DUMP), report)).await?;
        manifest.write(unfinished.path())?;
        if self.verify {
            let beside = interrupt.or(Beside::create(self.settings, Purpose::Verify, report)).await?;
            let source = restore::Source {
                dump: unfinished.path().join(DUMP),
                manifest: &manifest,
                server_programs: self.server_programs.clone(),
                jobs: self.jobs,
                no_owner: false,
            };
            let verified = interrupt.or(source.fill(&beside, report)).await;
            let removed = beside.remove().await;
            verified?;
            removed?;
        }
        let length_bytes = directory::size_bytes(unfinished.path());
        let path = directory.finish(unfinished, database, manifest.taken_at)?;
        let removed = match self.keep {
            Some(keep) => directory.retain(database, keep.into())?,
            None => Vec::new(),
        };
        Ok(Finished { path, manifest, length_bytes, removed })
    }

    async fn dump(&self, to: &std::path::Path, report: &dyn Report) -> Result<Manifest> {
        let mut client = session::connect(self.settings, report).await?;
        let version = client.query_one(sql!("server_version.sql"), &[]).await;
        let version: String =
            version.map_err(|cause| failure::statement("cannot query the server's version", cause))?.get(0);
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        let program =
            Program::find("pg_dump", digits.parse().unwrap_or_default(), self.server_programs.clone())?;
        let attempt = match self.attempt(&mut client, &program, to, self.jobs).await {
            // the processes of a parallel dump do not wait for locks: they fail if a load requests an exclusive lock
            Err(error) if self.jobs > 1 && !client.is_closed() => {
                report.notice(&format!("{}; trying again with --jobs 1", report_failure::line(&error)));
                if to.exists() {
                    std::fs::remove_dir_all(to)
                        .map_err(|cause| crate::error::Error::file("remove", to, cause))?;
                }
                self.attempt(&mut client, &program, to, 1).await
            }
            attempt => attempt,
        };
        let (taken_at, read) = attempt?;
        Ok(Manifest::new(&version, &program.version, self.settings.database(), taken_at, read))
    }

    /// Runs pg_dump and reads the contents side by side, in one snapshot.
    async fn attempt(
        &self,
        client: &mut Client,
        program: &Program,
        to: &std::path::Path,
        jobs: u8,
    ) -> Result<(Timestamp, (Vec<String>, Contents))> {
        let failed = |cause| failure::statement("cannot read the database", cause);
        let known = Known::read(client).await?;
        let existing = contents::tables(client).await?;
        let transaction = client.build_transaction().isolation_level(IsolationLevel::RepeatableRead);
        let transaction = transaction.read_only(true).start().await.map_err(failed)?;
        known.lock(&transaction, &existing).await?;
        transaction.batch_execute(sql!("backup/session.sql")).await.map_err(failed)?;
        let snapshot =
            transaction.query_one(sql!("backup/export_snapshot.sql"), &[]).await.map_err(failed)?;
        let (name, taken_at): (String, Timestamp) = (snapshot.get(0), snapshot.get(1));
        let mut command = program.command(self.settings).await?;
        command
            .args(["--format=directory", "--snapshot", &name, "--jobs", &jobs.to_string(), "--file"])
            .arg(to);
        let reading = async {
            let contents = contents::read(&transaction, &known).await?;
            let roles = transaction.query(sql!("backup/list_roles.sql"), &[]).await.map_err(failed)?;
            Ok((roles.iter().map(|row| row.get(0)).collect(), contents))
        };
        let ((), read) = tokio::try_join!(programs::run(command, "cannot dump the database"), reading)?;
        transaction.commit().await.map_err(failed)?;
        Ok((taken_at, read))
    }
}
