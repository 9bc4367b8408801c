//! What all tasks with commands share: their properties, the folder in which they run, and their outputs.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use tempfile::{NamedTempFile, TempDir};

use super::container::{Container, DockerOptions, RunnerKind, TaskRunner};
use super::files::{self, InputFiles, NamespaceFiles};
use super::process::{self, ProcessResult};
use crate::error::{Error, Kind, Result};
use crate::flow::context::runners::Runners;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{Entries, choices, properties};

choices! {
    /// The operating system of the commands.
    pub(crate) enum TargetOs {
        /// The operating system of this machine.
        Auto = "AUTO",
        /// Linux.
        Linux = "LINUX",
    }
}

properties! {
    /// The properties of every task with commands.
    pub(crate) struct ScriptOptions as "a task with commands" {
        /// Commands to run before the task's own.
        "beforeCommands" => before_commands: Vec<Template> = Vec::new(),
        /// Environment variables. Of the variables of the taxi process, a command gets only those that a process
        /// needs, like PATH and HOME.
        "env" => env: Entries<Template> = Entries::default(),
        /// Files to create in the working directory, by name. Each value is the content of the file, or the
        /// URI of a file that this run has stored.
        "inputFiles" => input_files: InputFiles = InputFiles::default(),
        /// Glob patterns of the files to store after the commands have run. The output `outputFiles` lists
        /// the stored files.
        "outputFiles" => output_files: Vec<Template> = Vec::new(),
        /// The shell and its arguments. Default: /bin/sh.
        "interpreter" => interpreter: Vec<String> = Vec::new(),
        /// Whether to stop at the first command that fails. Default: true.
        "failFast" => fail_fast: Option<bool> = None,
        /// Whether the task ends with a warning if its commands write to stderr. Default: false.
        "warningOnStdErr" => warning_on_stderr: bool = false,
        /// Files of the namespace to put into the working directory.
        "namespaceFiles" => namespace_files: Option<NamespaceFiles> = None,
        /// The container image. A task with an image runs in a container, unless its task runner is Process.
        "containerImage" => container_image: Option<Template> = None,
        /// The task runner. Default: Docker if the task has an image, else Process.
        "taskRunner" => task_runner: Option<TaskRunner> = None,
        /// The task runner by its older name.
        "runner" => runner: Option<RunnerKind> = None,
        /// The container by its older name.
        "docker" | "dockerOptions" => docker: Option<DockerOptions> = None,
        /// Whether the commands have a folder for outputs.
        "outputDirectory" => _output_directory: bool = true => "commands always have a folder for outputs",
        /// The operating system of the commands.
        "targetOS" => _target_os: TargetOs = TargetOs::Auto => "commands run on the system of this machine",
    }
}

impl ScriptOptions {
    /// Whether the task asks for a container (`true`) or for a process (`false`).
    pub(crate) fn declared_container(&self) -> Option<bool> {
        match (&self.task_runner, self.runner) {
            (Some(TaskRunner::Process), _) | (None, Some(RunnerKind::Process)) => Some(false),
            (Some(TaskRunner::Docker(_)), _) | (None, Some(RunnerKind::Docker)) => Some(true),
            (None, None) => (self.docker.is_some() || self.container_image.is_some()).then_some(true),
        }
    }

    /// Whether the task needs a container in this run.
    pub(crate) fn needs_container(&self, runners: &Runners) -> bool {
        runners.needs_container(self.declared_container())
    }

    /// Where the commands run. `image` is the image if the task has none.
    pub(crate) async fn place<'a>(&'a self, run: &TaskRun<'a>, image: &str) -> Result<Place<'a>> {
        if !self.needs_container(&run.context.runners) {
            return Ok(Place::Process);
        }
        let options = match &self.task_runner {
            Some(TaskRunner::Docker(options)) => Some(&**options),
            _ => self.docker.as_ref(),
        };
        let own_image = options.and_then(|options| options.image.as_ref()).or(self.container_image.as_ref());
        let image = run.fill_optional(own_image)?.unwrap_or_else(|| image.to_owned());
        let engine = run.context.runners.engine().await?;
        Ok(Place::Container(Container { engine, image, options, uses_host_network: false }))
    }
}

/// Where commands run.
pub(crate) enum Place<'a> {
    /// As a process on this machine.
    Process,
    /// In a container.
    Container(Container<'a>),
}

/// The folder in which the commands of a task run, with the files that the task asks for.
pub(crate) struct Workspace {
    /// The folder.
    pub(crate) path: PathBuf,
    /// The folder itself, if no other task uses it.
    own: Option<TempDir>,
    /// A folder all of whose files become outputs.
    output_dir: TempDir,
}

impl Workspace {
    /// Creates the folder, or uses the one that the tasks of a WorkingDirectory share, and puts the task's files
    /// into it.
    pub(crate) fn open(run: &TaskRun<'_>, options: &ScriptOptions) -> Result<Self> {
        let workspace = Self::empty(run)?;
        let named = workspace.names(run);
        if let Some(namespace_files) = &options.namespace_files {
            namespace_files.put(&named, &workspace.path)?;
        }
        for (name, content) in options.input_files.fill(&named)? {
            files::create(&run.context.storage, &workspace.path, &name, &content)?;
        }
        Ok(workspace)
    }

    /// Creates the folder, or uses the shared one, without the files that the task asks for.
    pub(crate) fn empty(run: &TaskRun<'_>) -> Result<Self> {
        let storage = &run.context.storage;
        let own = match run.shared_dir {
            Some(_) => None,
            None => Some(storage.working_dir()?),
        };
        let path = own.as_ref().map(TempDir::path).or(run.shared_dir).unwrap_or(Path::new("")).to_owned();
        Ok(Self { path, own, output_dir: storage.working_dir()? })
    }

    /// Whether other tasks use the folder too.
    pub(crate) fn is_shared(&self) -> bool {
        self.own.is_none()
    }

    /// The task run with the names of the folders, for expressions.
    pub(crate) fn names<'a>(&self, run: &TaskRun<'a>) -> TaskRun<'a> {
        let output_dir = self.output_dir.path().display().to_string();
        run.with("workingDir", self.path.display().to_string()).with("outputDir", output_dir)
    }

    /// Writes a script into the folder. The file is hidden and deleted on drop.
    pub(crate) fn script(&self, text: &str, extension: &str) -> Result<NamedTempFile> {
        use std::io::Write as _;
        let failed = |cause| Error::file("write a script into", &self.path, cause);
        let named = tempfile::Builder::new().prefix(".script-").suffix(extension).tempfile_in(&self.path);
        let mut file = named.map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(failed)?;
        Ok(file)
    }
}

/// Commands, ready to run.
pub(crate) struct Job<'a> {
    options: &'a ScriptOptions,
    /// The folder with the task's files.
    pub(crate) workspace: &'a Workspace,
    commands: Vec<String>,
    /// Commands that set up the place where the others run.
    pub(crate) preparation: Vec<String>,
    /// Environment variables of the task's type. Those of the flow replace them.
    pub(crate) environment: Vec<(String, String)>,
    /// Environment variables of the flow.
    pub(crate) own_environment: Vec<(String, String)>,
    /// The folder in which the commands run, if it is not the workspace.
    pub(crate) project_dir: Option<PathBuf>,
    /// Other folders that the commands use. Their files can be outputs.
    pub(crate) folders: Vec<PathBuf>,
}

impl<'a> Job<'a> {
    /// Commands in the workspace.
    pub(crate) fn new(
        run: &TaskRun<'_>,
        options: &'a ScriptOptions,
        workspace: &'a Workspace,
        commands: Vec<String>,
    ) -> Result<Self> {
        let folder = |path: &Path| path.display().to_string();
        Ok(Self {
            options,
            workspace,
            commands,
            preparation: Vec::new(),
            environment: vec![
                ("WORKING_DIR".to_owned(), folder(&workspace.path)),
                ("OUTPUT_DIR".to_owned(), folder(workspace.output_dir.path())),
            ],
            own_environment: fill_entries(&workspace.names(run), &options.env)?,
            project_dir: None,
            folders: Vec::new(),
        })
    }

    /// Runs the commands and stores the output files.
    pub(crate) async fn run(self, run: &TaskRun<'_>, place: &Place<'_>) -> Result<Outputs> {
        let result = self.execute(run, place).await?;
        self.outputs(run, result)
    }

    /// Runs the commands.
    pub(crate) async fn execute(&self, run: &TaskRun<'_>, place: &Place<'_>) -> Result<ProcessResult> {
        // write the script to a file, not to an argument: every user of the machine can read a process's
        // arguments
        let script = run.context.storage.script(&self.text(&self.workspace.names(run))?)?;
        let result = match place {
            Place::Process => process::run(run, self.command(script.path())?).await?,
            Place::Container(container) => container.run(run, self, script.path()).await?,
        };
        if result.exit_code != 0 {
            let text = format!("the commands exited with code {}", result.exit_code);
            return Err(
                Error::new(Kind::TaskFailed, text).hint("read the output of the commands in the task's log")
            );
        }
        if result.wrote_to_stderr && self.options.warning_on_stderr {
            run.warn();
        }
        Ok(result)
    }

    /// Stores the output files.
    pub(crate) fn outputs(&self, run: &TaskRun<'_>, result: ProcessResult) -> Result<Outputs> {
        let named = self.workspace.names(run);
        let mut output_files = Vec::new();
        let patterns = fill_all(&named, &self.options.output_files)?;
        let storage = &run.context.storage;
        output_files.extend(storage.keep(self.working_dir(), &patterns, self.workspace.is_shared())?);
        for folder in &self.folders {
            output_files.extend(storage.keep(folder, &patterns, false)?);
        }
        output_files.extend(storage.keep(self.workspace.output_dir.path(), &["**/*".to_owned()], false)?);
        Ok([
            ("exitCode", json!(result.exit_code)),
            ("outputFiles", paths(output_files)),
            ("vars", Json::Object(result.vars)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect())
    }

    /// The text of the script.
    fn text(&self, run: &TaskRun<'_>) -> Result<String> {
        let mut lines = self.preparation.clone();
        lines.extend(self.options.fail_fast.unwrap_or(true).then(|| "set -e".to_owned()));
        lines.extend(fill_all(run, &self.options.before_commands)?);
        lines.extend(self.commands.iter().cloned());
        Ok(lines.join("\n") + "\n")
    }

    /// The command that runs the script as a process.
    fn command(&self, script: &Path) -> Result<tokio::process::Command> {
        let interpreter = self.interpreter();
        let (program, arguments) = interpreter.split_first().ok_or_else(no_interpreter)?;
        let mut command = process::command(program);
        command.args(arguments).arg(script).current_dir(self.working_dir());
        command.envs(self.variables());
        Ok(command)
    }

    /// The environment variables, of which later ones replace earlier ones.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.environment.iter().chain(&self.own_environment);
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The folder in which the commands run.
    pub(crate) fn working_dir(&self) -> &Path {
        self.project_dir.as_deref().unwrap_or(&self.workspace.path)
    }

    /// All folders that the commands may write to.
    pub(crate) fn writable_dirs(&self) -> impl Iterator<Item = &Path> {
        let own = [self.workspace.path.as_path(), self.workspace.output_dir.path()];
        own.into_iter().chain(self.project_dir.as_deref()).chain(self.folders.iter().map(PathBuf::as_path))
    }

    /// The shell and its arguments. The script is a file, so this leaves out the `-c` that would make the shell read
    /// it from an argument.
    pub(crate) fn interpreter(&self) -> Vec<String> {
        if self.options.interpreter.is_empty() {
            return vec!["/bin/sh".to_owned()];
        }
        let mut interpreter = self.options.interpreter.clone();
        if let Some(option) = interpreter.pop_if(|option| option.starts_with('-') && option.ends_with('c')) {
            let other_options = option.trim_end_matches('c');
            interpreter.extend((other_options != "-").then(|| other_options.to_owned()));
        }
        interpreter
    }
}

/// The error of a task whose interpreter has no program.
pub(crate) fn no_interpreter() -> Error {
    Error::new(Kind::Configuration, "the interpreter is empty: expected a program and its arguments")
}

/// Stored files as an output: their paths by their names.
pub(crate) fn paths(files: Vec<(String, PathBuf)>) -> Json {
    files.into_iter().map(|(name, path)| (name, json!(path.display().to_string()))).collect()
}

/// The path of a program on the `PATH` of this process.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&search_path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Fills in a list of templates.
pub(crate) fn fill_all<'a>(
    run: &TaskRun<'_>,
    templates: impl IntoIterator<Item = &'a Template>,
) -> Result<Vec<String>> {
    templates.into_iter().map(|template| run.fill(template)).collect()
}

/// Fills in the values of a mapping.
pub(crate) fn fill_entries(run: &TaskRun<'_>, entries: &Entries<Template>) -> Result<Vec<(String, String)>> {
    entries.0.iter().map(|(name, value)| Ok((name.clone(), run.fill(value)?))).collect()
}
