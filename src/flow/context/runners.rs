//! Where the commands of tasks run: as processes of this machine, or in containers of Docker or Podman.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::error::{Error, Kind, Result};
use crate::report::Report;

/// Timeout for a request to the container engine.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(10);

/// The variables by which a container engine is found and configured.
const ENGINE_VARIABLES: [&str; 11] = [
    "PATH",
    "HOME",
    "XDG_RUNTIME_DIR",
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "DOCKER_CONFIG",
    "DOCKER_CERT_PATH",
    "DOCKER_TLS_VERIFY",
    "CONTAINER_HOST",
    "CONTAINER_CONNECTION",
    "CONTAINERS_CONF",
];

/// Where the user wants commands to run, whatever the flow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RunnerChoice {
    /// As processes on this machine.
    Process,
    /// In containers, unless the task has a Process task runner.
    Docker,
}

/// Where commands run. The runs of a command share it.
#[derive(Debug)]
pub(crate) struct Runners {
    choice: Option<RunnerChoice>,
    engine: OnceCell<Option<Engine>>,
    has_noticed: AtomicBool,
}

impl Runners {
    /// `choice` replaces what flows say.
    pub(crate) fn new(choice: Option<RunnerChoice>) -> Arc<Self> {
        Arc::new(Self { choice, engine: OnceCell::new(), has_noticed: AtomicBool::new(false) })
    }

    /// Whether a task needs a container. `declared` is what the task says; `None` if it says nothing.
    pub(crate) fn needs_container(&self, declared: Option<bool>) -> bool {
        match self.choice {
            Some(RunnerChoice::Process) => false,
            Some(RunnerChoice::Docker) => declared != Some(false),
            None => declared == Some(true),
        }
    }

    /// Says once that tasks which ask for a container run as processes, if the user wants that.
    pub(crate) fn notice_processes(&self, report: &dyn Report) {
        if self.choice == Some(RunnerChoice::Process) && !self.has_noticed.swap(true, Ordering::Relaxed) {
            report.notice("the runner is `process`: tasks that ask for a container run as processes");
        }
    }

    /// The container engine of this machine: Docker, or Podman if Docker does not answer.
    pub(crate) async fn engine(&self) -> Result<&Engine> {
        let find = || async {
            for program in ["docker", "podman"] {
                let engine = Engine { program };
                if engine.answers().await {
                    return Some(engine);
                }
            }
            None
        };
        self.engine.get_or_init(find).await.as_ref().ok_or_else(|| {
            let text = "a task needs a container, but neither Docker nor Podman answers on this machine";
            Error::new(Kind::Configuration, text).hint(
                "install and start Docker or Podman, or use --runner process (TAXI_RUNNER=process) to run the \
                 commands as processes",
            )
        })
    }
}

/// A container engine.
#[derive(Debug)]
pub(crate) struct Engine {
    program: &'static str,
}

impl Engine {
    /// A command of the engine's program. It gets only the variables that the program needs.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(self.program);
        command.env_clear();
        for name in ENGINE_VARIABLES {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command
    }

    /// The engine's variable for the address of its server.
    pub(crate) fn host_variable(&self) -> &'static str {
        if self.program == "podman" { "CONTAINER_HOST" } else { "DOCKER_HOST" }
    }

    /// Runs a command silently; returns whether it succeeded in time.
    pub(crate) async fn run(&self, mut command: Command) -> bool {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        let status = tokio::time::timeout(ENGINE_TIMEOUT, command.status()).await;
        matches!(status, Ok(Ok(status)) if status.success())
    }

    async fn answers(&self) -> bool {
        let mut command = self.command();
        // `podman version` succeeds without a server
        command.arg(if self.program == "podman" { "info" } else { "version" });
        self.run(command).await
    }
}
