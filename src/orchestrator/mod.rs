//! How a command reports to its caller: a terminal, cron, or an orchestrator.
//!
//! | started by | reads |
//! |---|---|
//! | a person | text on stdout, progress on stderr |
//! | cron | the exit code; with `--quiet` a successful command prints nothing |
//! | [kestra] | marked lines on stdout |
//! | [airflow] | the last line of stdout, or a file in Airflow's own folder |
//! | [dagster] | JSON lines in a file; an environment variable holds its path |
//! | [kubernetes] | a file of at most 4 KiB, and the exit code |
//!
//! An [array job][array_job] tells each of its tasks which month to load.

pub(crate) mod airflow;
pub(crate) mod array_job;
pub(crate) mod dagster;
pub(crate) mod kestra;
pub(crate) mod kubernetes;

use std::io::Write as _;
use std::sync::Arc;

use crate::cli::{Command, DeliveryArgs, OrchestratorArgs, OutputArgs};
use crate::error::{Error, Result};
use crate::report::event::Level;
use crate::report::forward::Quiet;
use crate::report::log::Line;
use crate::report::output::{CommandOutput, Output, write_line};
use crate::report::{self, LogDetail, LogFormat, Report, failure, json_lines};

/// Where the log and the result of a command go.
pub(crate) struct Delivery {
    output: Output,
    quiet: bool,
    verbose: bool,
    log_format: LogFormat,
    skip_exit_code: Option<u8>,
    files: Option<OrchestratorArgs>,
    dagster: Option<dagster::Pipes>,
}

impl Delivery {
    /// The delivery that the command line asks for.
    pub(crate) fn new(command: &Command) -> Self {
        let plain = |output: &OutputArgs| Self {
            output: output.output,
            quiet: false,
            verbose: false,
            log_format: LogFormat::Text,
            skip_exit_code: None,
            files: None,
            dagster: None,
        };
        let running = |args: &DeliveryArgs| Self {
            output: args.output.output,
            quiet: args.quiet,
            verbose: args.verbose,
            log_format: args.log_format,
            skip_exit_code: args.skip_exit_code,
            files: Some(args.orchestrator.clone()),
            dagster: None,
        };
        match command {
            Command::Load(args) => running(&args.run.delivery),
            Command::Backfill(args) => running(&args.run.delivery),
            Command::Zones(args) => running(&args.delivery),
            Command::Run(args) => running(&args.delivery),
            Command::Test(args) => Self { quiet: args.quiet, ..plain(&args.output) },
            Command::Validate(args) => plain(&args.output.args()),
            Command::Show(args) => plain(&args.output),
            Command::Triggers(args) => plain(&args.output),
            Command::Schema(args) => plain(&args.output),
            Command::Runs(args) => plain(args.output()),
            Command::Verify(args) => plain(&args.output),
            Command::Doctor(args) => plain(&args.output),
            Command::Drift(args) => plain(&args.output),
            Command::Up(args) => plain(&args.output),
            Command::Status(args) => plain(&args.output),
            Command::Down(args) => plain(&args.output),
            Command::Drop(args) => plain(&args.output),
            Command::Backup(args) => plain(&args.output),
            Command::Restore(args) => plain(&args.output),
            Command::Upgrade(args) => plain(&args.output),
            Command::Logs(_) | Command::Psql(_) | Command::Completions { .. } | Command::Man(_) => {
                plain(&OutputArgs::default())
            }
        }
    }

    /// Opens the session with the orchestrator that started the load, if an orchestrator did.
    pub(crate) fn open(&mut self) -> Result<()> {
        if self.files.is_some() {
            self.dagster = dagster::Pipes::from_environment()?;
        }
        Ok(())
    }

    /// The report that receives the command's events.
    pub(crate) fn report(&self) -> Arc<dyn Report> {
        // Dagster also collects stderr and stdout, and would show each line twice
        if let Some(pipes) = &self.dagster {
            return Arc::new(dagster::DagsterLog(pipes.clone(), self.detail()));
        }
        match (self.quiet, self.output) {
            (true, _) => Arc::new(Quiet),
            (false, Output::Kestra) => Arc::new(kestra::KestraLines(self.detail())),
            (false, _) => Arc::from(report::for_stderr(self.log_format, self.detail())),
        }
    }

    /// How much the text log shows.
    pub(crate) fn detail(&self) -> LogDetail {
        if self.verbose { LogDetail::Phases } else { LogDetail::Files }
    }

    /// Prints the result, reports it to the orchestrator, and returns the exit code.
    pub(crate) fn deliver(self, mut output: CommandOutput) -> u8 {
        let mut has_received_error = self.output == Output::Kestra || self.dagster.is_some();
        if let Err(error) = self.notify_orchestrator(&output) {
            has_received_error = false;
            // the command's own error matters more
            match output.error {
                Some(_) => self.print(&error),
                None => output = CommandOutput::failed(error),
            }
        }
        // Kestra and Dagster have received the error, and would show it a second time if it were on stderr
        if let Some(error) = output.error.as_ref().filter(|_| !has_received_error) {
            self.print(error);
        }
        // write the result last: Airflow takes the last line of any stream
        if let Err(error) = self.write_result(&output) {
            self.print(&error);
            output.error.get_or_insert(error);
        }
        match &output.error {
            Some(error) => error.kind().exit_code(),
            None if output.is_nothing_done() => self.skip_exit_code.unwrap_or_default(),
            None => 0,
        }
    }

    fn notify_orchestrator(&self, output: &CommandOutput) -> Result<()> {
        if let Some(pipes) = &self.dagster {
            pipes.close(output)?;
        }
        if let Some(files) = &self.files {
            airflow::write_xcom(&files.xcom_dir, output)?;
            kubernetes::write_termination_message(&files.termination_log, output)?;
        }
        Ok(())
    }

    fn write_result(&self, output: &CommandOutput) -> Result<()> {
        match self.output {
            Output::Text if self.quiet || output.text.is_empty() => Ok(()),
            Output::Text => write_line(&output.text),
            Output::Json => write_line(&output.json),
            Output::Kestra => write_line(&kestra::result(output)),
        }
    }

    fn print(&self, error: &Error) {
        match self.log_format {
            LogFormat::Json => json_lines::write(&Line::error(error)),
            // if stderr is closed, the exit code still reports the failure
            LogFormat::Text => _ = writeln!(anstream::stderr(), "{}", failure::text(error)),
        }
    }
}

/// The name of a level in an orchestrator's log.
fn level_name(level: Level) -> &'static str {
    match level {
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
    }
}
