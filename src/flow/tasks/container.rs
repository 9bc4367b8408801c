//! Containers in which the commands of a task run, and the properties that describe them.
//!
//! The container sees the task's working directory and the run's stored files at the same paths as this machine. Its
//! environment is passed in a file: every user of the machine can read a process's arguments.

use std::fmt::Write as _;
use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use serde_json::{Value as Json, json};
use tokio::process::Command;
use uuid::Uuid;

use super::process::{self, ProcessResult};
use super::script::{Job, fill_all, no_interpreter};
use crate::error::{Error, Kind, Result};
use crate::flow::context::runners::Engine;
use crate::flow::context::storage;
use crate::flow::context::task_run::TaskRun;
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Decode, Decoder, Properties as _, choices, object_schema, properties};
use crate::flow::yaml::document::Node;

/// The exit code of `docker run` and `podman run` if no container started.
const NOT_STARTED: i32 = 125;

choices! {
    /// The type of a task runner.
    pub(crate) enum RunnerType {
        /// As processes on this machine.
        Process = "io.kestra.plugin.core.runner.Process",
        /// In a container.
        Docker = "io.kestra.plugin.scripts.runner.docker.Docker",
        /// As processes, by an older name.
        OldProcess = "io.kestra.core.models.tasks.runners.types.ProcessTaskRunner",
        /// In a container, by an older name.
        OldDocker = "io.kestra.plugin.scripts.runner.docker.DockerTaskRunner",
    }
}

choices! {
    /// Where commands run, by the name of older flows.
    pub(crate) enum RunnerKind {
        /// As processes on this machine.
        Process = "PROCESS",
        /// In a container.
        Docker = "DOCKER",
    }
}

choices! {
    /// When to pull the image.
    pub(crate) enum PullPolicy {
        /// Pull the image if this machine does not have it.
        IfNotPresent = "IF_NOT_PRESENT",
        /// Always pull the image.
        Always = "ALWAYS",
        /// Never pull the image.
        Never = "NEVER",
    }
}

choices! {
    /// How a container gets its files. It always sees the working directory of this machine.
    pub(crate) enum FileHandling {
        /// Copied files.
        Volume = "VOLUME",
        /// The folder itself.
        Mount = "MOUNT",
    }
}

/// A property that must be `true`: no container outlives the task that started it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits;

impl Decode for Waits {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match bool::decode(node, decoder)? {
            true => Some(Self),
            false => decoder
                .refuse(node.position, "unsupported value false: a task always waits for its container"),
        }
    }

    fn schema() -> Json {
        json!({ "const": true })
    }
}

properties! {
    /// A limit of CPU use.
    pub(crate) struct Cpu as "a CPU limit" {
        /// The number of CPUs.
        "cpus" => cpus: Option<Template> = None,
    }
}

properties! {
    /// Limits of memory use.
    pub(crate) struct Memory as "memory limits" {
        /// The maximum, like 512MB.
        "memory" => memory: Option<Template> = None,
        /// The maximum of memory and swap space together.
        "memorySwap" => memory_swap: Option<Template> = None,
        /// The soft limit.
        "memoryReservation" => memory_reservation: Option<Template> = None,
    }
}

properties! {
    /// A container.
    pub(crate) struct DockerOptions as "a Docker task runner" {
        /// The image; it comes before the task's `containerImage`.
        "image" => image: Option<Template> = None,
        /// When to pull the image.
        "pullPolicy" => pull_policy: PullPolicy = PullPolicy::IfNotPresent,
        /// The entry point. Default: none, whatever the image says.
        "entryPoint" => entry_point: Vec<Template> = Vec::new(),
        /// The user of the commands.
        "user" => user: Option<Template> = None,
        /// The network, like `host`.
        "networkMode" => network_mode: Option<Template> = None,
        /// Names of hosts and their addresses, like `db:10.0.0.5`.
        "extraHosts" => extra_hosts: Vec<Template> = Vec::new(),
        /// Ports to publish, like `8080:80`.
        "portBindings" => port_bindings: Vec<Template> = Vec::new(),
        /// Folders to mount, like `/srv/data:/data`.
        "volumes" => volumes: Vec<Template> = Vec::new(),
        /// The limit of CPU use.
        "cpu" => cpu: Option<Cpu> = None,
        /// The limits of memory use.
        "memory" => memory: Option<Memory> = None,
        /// The size of /dev/shm.
        "shmSize" => shm_size: Option<Template> = None,
        /// Whether the container gets extended privileges.
        "privileged" => privileged: bool = false,
        /// The address of the container engine. Default: that of its own settings, like DOCKER_HOST.
        "host" => host: Option<Template> = None,
        /// How the container gets its files.
        "fileHandlingStrategy" => _file_handling: FileHandling = FileHandling::Mount => "a container sees the working directory itself",
        /// Whether the container is removed at the end.
        "delete" => delete: bool = true,
        /// Whether the task waits for the container; only true is supported.
        "wait" => _wait: Waits = Waits,
        /// Whether a restarted run finds its container again.
        "resume" => _resume: bool = true => "runs are not restarted",
        /// How long a stopped container may take to end.
        "killGracePeriod" => _kill_grace_period: Duration = Duration::ZERO => "a stopped container has 2 seconds to end",
    }
}

/// The task runner of a task.
#[derive(Clone, Debug)]
pub(crate) enum TaskRunner {
    /// As processes on this machine.
    Process,
    /// In a container.
    Docker(Box<DockerOptions>),
}

impl Decode for TaskRunner {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let mut fields = decoder.fields(node, DockerOptions::NAME)?;
        let runner = match fields.required(&["type"], decoder)? {
            RunnerType::Process | RunnerType::OldProcess => {
                fields.rename("a Process task runner");
                Self::Process
            }
            RunnerType::Docker | RunnerType::OldDocker => {
                Self::Docker(Box::new(DockerOptions::take(&mut fields, decoder)?))
            }
        };
        decoder.end(fields);
        Some(runner)
    }

    fn schema() -> Json {
        let mut docker = object_schema::<DockerOptions>();
        docker["properties"]["type"] = RunnerType::schema();
        docker["required"] = json!(["type"]);
        docker
    }
}

/// A container for the commands of a task.
pub(crate) struct Container<'a> {
    /// The engine.
    pub(crate) engine: &'a Engine,
    /// The image.
    pub(crate) image: String,
    /// The container as the task describes it.
    pub(crate) options: Option<&'a DockerOptions>,
    /// Whether the container uses the network of this machine, if the task does not name a network.
    pub(crate) uses_host_network: bool,
}

impl Container<'_> {
    /// Runs a script in a new container. If the task ends early, the container is stopped and removed.
    pub(crate) async fn run(&self, run: &TaskRun<'_>, job: &Job<'_>, script: &Path) -> Result<ProcessResult> {
        let name = format!("taxi-{}", Uuid::now_v7().simple());
        let variables = run.context.storage.script(&environment_file(job))?;
        // the user of the container may be another one; no other user of this machine can enter the run's folder
        open_to_all(script, 0o644)?;
        for folder in job.writable_dirs().filter(|folder| run.context.storage.owns(folder)) {
            open_to_all(folder, 0o777)?;
        }
        let mut command = self.command(run)?;
        command.arg("run").args(["--name", &name, "--env-file"]).arg(variables.path());
        self.add_options(run, &mut command)?;
        for folder in job.writable_dirs() {
            command.arg("--volume").arg(mount(folder, ""));
        }
        command.arg("--volume").arg(mount(&run.context.storage.stored_files(), ":ro"));
        command.arg("--volume").arg(mount(script, ":ro"));
        command.arg("--workdir").arg(absolute(job.working_dir()));
        for (name, value) in job.variables().filter(|(_, value)| value.contains('\n')) {
            command.args(["--env", name]).env(name, value);
        }
        self.add_program(run, job, &mut command)?;
        command.arg(script);
        let result = process::run(run, command).await;
        if result.is_err() {
            self.remove(run, &name).await;
        }
        self.release(run, job).await;
        match result {
            Ok(result) if result.exit_code == NOT_STARTED => {
                let text = format!("cannot start a container of the image {}", self.image);
                Err(Error::new(Kind::TaskFailed, text)
                    .hint("read the output of the container engine in the task's log"))
            }
            result => result,
        }
    }

    /// A command of the engine that the task names.
    fn command(&self, run: &TaskRun<'_>) -> Result<Command> {
        let mut command = self.engine.command();
        let host = self.options.and_then(|options| options.host.as_ref());
        if let Some(host) = run.fill_optional(host)? {
            command.env(self.engine.host_variable(), host);
        }
        Ok(command)
    }

    /// Adds the options that the task describes.
    fn add_options(&self, run: &TaskRun<'_>, command: &mut Command) -> Result<()> {
        let Some(options) = self.options else {
            command.arg("--rm");
            if self.uses_host_network {
                command.args(["--network", "host"]);
            }
            return Ok(());
        };
        if options.delete {
            command.arg("--rm");
        }
        command.arg(match options.pull_policy {
            PullPolicy::IfNotPresent => "--pull=missing",
            PullPolicy::Always => "--pull=always",
            PullPolicy::Never => "--pull=never",
        });
        if options.privileged {
            command.arg("--privileged");
        }
        if self.uses_host_network && options.network_mode.is_none() {
            command.args(["--network", "host"]);
        }
        let memory = options.memory.as_ref();
        let single = [
            ("--user", options.user.as_ref()),
            ("--network", options.network_mode.as_ref()),
            ("--shm-size", options.shm_size.as_ref()),
            ("--cpus", options.cpu.as_ref().and_then(|cpu| cpu.cpus.as_ref())),
            ("--memory", memory.and_then(|memory| memory.memory.as_ref())),
            ("--memory-swap", memory.and_then(|memory| memory.memory_swap.as_ref())),
            ("--memory-reservation", memory.and_then(|memory| memory.memory_reservation.as_ref())),
        ];
        for (name, template) in single {
            command.args(run.fill_optional(template)?.map(|value| format!("{name}={value}")));
        }
        let several = [
            ("--add-host", &options.extra_hosts),
            ("--publish", &options.port_bindings),
            ("--volume", &options.volumes),
        ];
        for (name, templates) in several {
            command.args(fill_all(run, templates)?.iter().map(|value| format!("{name}={value}")));
        }
        Ok(())
    }

    /// Adds the entry point, the image and the interpreter.
    fn add_program(&self, run: &TaskRun<'_>, job: &Job<'_>, command: &mut Command) -> Result<()> {
        let entry_point = self.options.map(|options| options.entry_point.as_slice()).unwrap_or_default();
        let mut words = fill_all(run, entry_point)?;
        words.retain(|word| !word.is_empty());
        words.extend(job.interpreter());
        let (program, arguments) = words.split_first().ok_or_else(no_interpreter)?;
        command.args(["--entrypoint", program]).arg(&self.image).args(arguments);
        Ok(())
    }

    /// Stops and removes a container.
    async fn remove(&self, run: &TaskRun<'_>, name: &str) {
        if let Ok(mut command) = self.command(run) {
            command.args(["rm", "--force", name]);
            // a container that is gone already is an error, too
            self.engine.run(command).await;
        }
    }

    /// Gives this user access to the files that other users of the container have created.
    async fn release(&self, run: &TaskRun<'_>, job: &Job<'_>) {
        if Uid::effective().is_root() {
            return;
        }
        let own = job.writable_dirs().filter(|folder| run.context.storage.owns(folder));
        for folder in own.filter(|folder| has_foreign_files(folder)) {
            let Ok(mut command) = self.command(run) else { return };
            command
                .args(["run", "--rm", "--user", "0", "--network", "none", "--volume"])
                .arg(mount(folder, ""));
            command.args(["--entrypoint", "chmod", &self.image, "-R", "a+rwX"]).arg(absolute(folder));
            self.engine.run(command).await;
        }
    }
}

/// The variables as a file for `--env-file`, which cannot hold line breaks.
fn environment_file(job: &Job<'_>) -> String {
    let mut text = String::new();
    for (name, value) in job.variables().filter(|(_, value)| !value.contains('\n')) {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// A mount of a path at the same path.
fn mount(path: &Path, suffix: &str) -> String {
    let path = absolute(path);
    format!("{0}:{0}{suffix}", path.display())
}

fn open_to_all(path: &Path, mode: u32) -> Result<()> {
    let opened = std::fs::set_permissions(path, Permissions::from_mode(mode));
    opened.map_err(|cause| Error::file("set the permissions of", path, cause))
}

fn has_foreign_files(folder: &Path) -> bool {
    let mut names = Vec::new();
    let unreadable = storage::list(folder, Path::new(""), &mut names).is_err();
    let own = Uid::effective().as_raw();
    let is_foreign = |name: &PathBuf| {
        let path = folder.join(name);
        let parents = path.ancestors().take_while(|path| path.starts_with(folder));
        parents.filter_map(|path| path.symlink_metadata().ok()).any(|metadata| metadata.uid() != own)
    };
    unreadable || names.iter().any(is_foreign)
}
