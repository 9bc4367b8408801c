//! Shell commands, run on this machine.

use std::path::{Component, Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::error::{Error, Kind, Result};
use crate::flow::context::storage;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::process;
use crate::flow::yaml::decode::{Entries, choices, properties};

choices! {
    /// Where commands run.
    pub(crate) enum RunnerType {
        /// As processes on this machine.
        Process = "io.kestra.plugin.core.runner.Process",
    }
}

properties! {
    /// Where commands run.
    pub(crate) struct TaskRunner as "a task runner" {
        /// The runner type.
        "type" => _runner_type: RunnerType,
    }
}

properties! {
    /// Runs shell commands as processes on this machine, in a temporary working directory.
    pub(crate) struct Commands as "a Commands task" {
        /// The commands.
        "commands" => commands: Vec<Template>,
        /// Commands to run before `commands`.
        "beforeCommands" => before_commands: Vec<Template> = Vec::new(),
        /// Environment variables. Of the variables of the taxi process, a command gets only those that a process
        /// needs, like PATH and HOME.
        "env" => env: Entries<Template> = Entries::default(),
        /// Files to create in the working directory, by name. Each value is the content of the file, or the
        /// URI of a file that this run has stored.
        "inputFiles" => input_files: Entries<Template> = Entries::default(),
        /// Glob patterns of the files to store after the commands have run. The output `outputFiles` lists
        /// the stored files.
        "outputFiles" => output_files: Vec<Template> = Vec::new(),
        /// The shell and its arguments.
        "interpreter" => interpreter: Vec<String> = vec!["/bin/sh".to_owned(), "-c".to_owned()],
        /// Whether to stop at the first command that fails.
        "failFast" => fail_fast: bool = true,
        /// The task runner.
        "taskRunner" => _task_runner: Option<TaskRunner> = None,
    }
}

impl Commands {
    /// Runs the commands.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let script = Script {
            commands: fill_all(run, self.before_commands.iter().chain(&self.commands))?,
            environment: fill_entries(run, &self.env)?,
            input_files: fill_entries(run, &self.input_files)?,
            output_files: fill_all(run, &self.output_files)?,
            interpreter: &self.interpreter,
            fail_fast: self.fail_fast,
        };
        script.run(run, None, None).await
    }
}

/// Commands with all expressions filled in.
pub(crate) struct Script<'a> {
    /// The commands.
    pub(crate) commands: Vec<String>,
    /// Additional environment variables.
    pub(crate) environment: Vec<(String, String)>,
    /// Files to create in the working directory, by name.
    pub(crate) input_files: Vec<(String, String)>,
    /// Glob patterns of the files to store.
    pub(crate) output_files: Vec<String>,
    /// The shell and its arguments.
    pub(crate) interpreter: &'a [String],
    /// Whether to stop at the first command that fails.
    pub(crate) fail_fast: bool,
}

impl Script<'_> {
    /// Runs the commands in `project_dir`, or in a temporary directory. Stores the output files of this
    /// directory and of `output_dir`.
    pub(crate) async fn run(
        self,
        run: &TaskRun<'_>,
        project_dir: Option<&Path>,
        output_dir: Option<&Path>,
    ) -> Result<Outputs> {
        let storage = &run.context.storage;
        // write the script to a file, not to an argument: every user of the machine can read a process's
        // arguments
        let mut text = if self.fail_fast { "set -e\n" } else { "" }.to_owned();
        text.push_str(&self.commands.join("\n"));
        text.push('\n');
        let script = storage.script(&text)?;
        // the script is a file, so drop the `-c` that would make the shell read it from an argument
        let mut interpreter = self.interpreter.to_vec();
        if let Some(option) = interpreter.pop_if(|option| option.starts_with('-') && option.ends_with('c')) {
            let other_options = option.trim_end_matches('c');
            interpreter.extend((other_options != "-").then(|| other_options.to_owned()));
        }
        let temporary_dir = storage.working_dir()?;
        let working_dir = project_dir.unwrap_or(temporary_dir.path());
        for (name, content) in &self.input_files {
            create_input_file(storage, working_dir, name, content)?;
        }
        let result = process::run(run, &interpreter, script.path(), working_dir, &self.environment).await?;
        if result.exit_code != 0 {
            let text = format!("the commands exited with code {}", result.exit_code);
            return Err(
                Error::new(Kind::TaskFailed, text).hint("read the output of the commands in the task's log")
            );
        }
        let mut output_files = serde_json::Map::new();
        for folder in [working_dir].into_iter().chain(output_dir) {
            for (name, path) in storage.keep(folder, &self.output_files)? {
                output_files.insert(name, json!(path.display().to_string()));
            }
        }
        Ok([
            ("exitCode", json!(result.exit_code)),
            ("outputFiles", Json::Object(output_files)),
            ("vars", Json::Object(result.vars)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect())
    }
}

/// Creates a file in the working directory: a copy if `content` is the path of a stored file, else the text
/// itself.
fn create_input_file(
    storage: &storage::Storage,
    working_dir: &Path,
    name: &str,
    content: &str,
) -> Result<()> {
    let relative = PathBuf::from(name);
    if relative.components().any(|part| !matches!(part, Component::Normal(_))) {
        let text = format!("the input file {name:?} is outside the working directory");
        return Err(Error::new(Kind::Configuration, text));
    }
    let path = working_dir.join(relative);
    let write_error = |cause| Error::file("write", &path, cause);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(write_error)?;
    }
    if path.exists() {
        let text = format!("cannot create the input file {}: the file already exists", path.display());
        return Err(Error::new(Kind::Configuration, text));
    }
    match storage.contains(Path::new(content)) {
        true => std::fs::copy(content, &path).map(drop).map_err(write_error),
        false => std::fs::write(&path, content).map_err(write_error),
    }
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
