//! Restores a backup into a new database, compares it with the manifest, and swaps it with the old database.

use std::path::PathBuf;

use super::beside::{Beside, Purpose};
use super::contents;
use super::manifest::{DUMP, Manifest};
use super::programs::{self, Program};
use crate::database::settings::Settings;
use crate::database::statement::sql;
use crate::database::{failure, session};
use crate::error::{Error, Kind, Result};
use crate::interrupt::Interrupt;
use crate::ledger::RunStatus;
use crate::ledger::history::{self, Filter, RecordedRun};
use crate::ledger::schema::{self, SchemaState};
use crate::report::Report;

/// How many runs, or differences, an error names.
const LISTED: usize = 20;

/// A dump with its manifest.
pub(crate) struct Source<'a> {
    /// The directory of the dump.
    pub(crate) dump: PathBuf,
    /// The manifest.
    pub(crate) manifest: &'a Manifest,
    /// The directory of the embedded server's programs.
    pub(crate) server_programs: Option<PathBuf>,
    /// Number of tables to restore side by side.
    pub(crate) jobs: u8,
    /// Whether to leave out owners and privileges.
    pub(crate) no_owner: bool,
}

impl Source<'_> {
    /// Restores the dump into the new database, and compares the database with the manifest.
    pub(crate) async fn fill(&self, beside: &Beside, report: &dyn Report) -> Result<()> {
        if !self.no_owner {
            let missing = beside.missing_roles(&self.manifest.roles).await?;
            if !missing.is_empty() {
                let text =
                    format!("the server does not have the roles of the backup: {}", missing.join(", "));
                return Err(Error::new(Kind::Configuration, text).hint(
                    "create them with CREATE ROLE, or use --no-owner to leave out the owners and privileges of the backup",
                ));
            }
        }
        let program =
            Program::find("pg_restore", self.manifest.pg_dump_major(), self.server_programs.clone())?;
        let mut command = program.command(&beside.settings).await?;
        // without this option, pg_restore prints a script; a name with = would be taken for several parameters
        let name = beside.name().replace('\\', "\\\\").replace('\'', "\\'");
        command.args([
            "--exit-on-error",
            "--jobs",
            &self.jobs.to_string(),
            "--dbname",
            &format!("dbname='{name}'"),
        ]);
        if self.no_owner {
            command.args(["--no-owner", "--no-privileges"]);
        }
        command.arg(&self.dump);
        programs::run(command, "cannot restore the dump").await.map_err(|error| {
            error.hint(
                "if the role may not set the owners of objects, use --no-owner, or restore as a superuser",
            )
        })?;
        let mut client = session::connect(&beside.settings, report).await?;
        let found = session::while_answering(&beside.settings, contents::read_all(&mut client)).await?;
        let differences = self.manifest.contents.differences(&found);
        if differences.is_empty() {
            return Ok(());
        }
        let text = format!("the restored database differs from the manifest in {} places", differences.len());
        let first: Vec<String> = differences.into_iter().take(LISTED).collect();
        Err(Error::new(Kind::Mismatch, text).because(first.join("\n  ")))
    }
}

/// What to restore, and where to.
pub(crate) struct Restore<'a> {
    /// The database to replace.
    pub(crate) settings: &'a Settings,
    /// The directory of the backup.
    pub(crate) dir: PathBuf,
    /// The directory of the embedded server's programs.
    pub(crate) server_programs: Option<PathBuf>,
    /// Whether to replace a database that holds tables.
    pub(crate) force: bool,
    /// Whether to leave out owners and privileges.
    pub(crate) no_owner: bool,
    /// Number of tables to restore side by side.
    pub(crate) jobs: u8,
}

impl Restore<'_> {
    /// Restores the backup, all or nothing. Returns the manifest, and whether there was a database before.
    pub(crate) async fn run(&self, interrupt: &Interrupt, report: &dyn Report) -> Result<(Manifest, bool)> {
        let manifest = Manifest::read(&self.dir)?;
        let beside = interrupt.or(Beside::create(self.settings, Purpose::Restore, report)).await?;
        let restoring = interrupt.or(self.restore(&manifest, &beside, report));
        match restoring.await {
            Ok(had_old) => Ok((manifest, had_old)),
            Err(error) => {
                // the next restore drops it otherwise
                if beside.remove().await.is_err() {
                    report.notice("the unfinished database remains; the next restore drops it");
                }
                Err(error)
            }
        }
    }

    async fn restore(&self, manifest: &Manifest, beside: &Beside, report: &dyn Report) -> Result<bool> {
        if beside.exists().await? {
            self.check_replaceable(report).await?;
            beside.refuse_if_used_by_taxi().await?;
        }
        let source = Source {
            dump: self.dir.join(DUMP),
            manifest,
            server_programs: self.server_programs.clone(),
            jobs: self.jobs,
            no_owner: self.no_owner,
        };
        source.fill(beside, report).await?;
        let analyzed = session::connect(&beside.settings, report).await?.batch_execute("ANALYZE").await;
        analyzed.map_err(|cause| failure::statement("cannot analyze the restored database", cause))?;
        beside.replace(self.force).await
    }

    /// Refuses a database that holds tables, or that loads use.
    async fn check_replaceable(&self, report: &dyn Report) -> Result<()> {
        let mut client = session::connect(self.settings, report).await?;
        let holds = client.query_one(sql!("backup/holds_tables.sql"), &[]).await;
        let holds =
            holds.map_err(|cause| failure::statement("cannot list the tables of the database", cause))?;
        if !holds.get::<_, bool>(0) {
            return Ok(());
        }
        if !self.force {
            let text = format!("the database at {} holds tables", self.settings.address());
            return Err(Error::new(Kind::Configuration, text)
                .hint("use --force to replace the database, or restore into another one"));
        }
        // a damaged run history is a reason to restore, and not one against it
        if matches!(schema::state(&client).await, Ok(SchemaState::Current)) {
            let filter =
                Filter { status: Some(RunStatus::Running), limit: LISTED as u32, ..Filter::default() };
            let runs = history::list(&mut client, &filter).await?;
            if !runs.is_empty() {
                return Err(in_use(&runs));
            }
        }
        Ok(())
    }
}

fn in_use(runs: &[RecordedRun]) -> Error {
    let describe = |run: &RecordedRun| {
        let what = run.filename.as_ref().unwrap_or(&run.pipeline);
        let (host, pid) = (run.host.as_deref().unwrap_or_default(), run.pid.unwrap_or_default());
        format!("{what} (run {}) on host {host} (pid {pid}) since {:.0}", run.run_id, run.started_at)
    };
    let described: Vec<String> = runs.iter().map(describe).collect();
    Error::new(Kind::LockHeld, "the database is in use by runs")
        .because(described.join("\n  "))
        .hint("wait until they have ended, then run the command again")
}
