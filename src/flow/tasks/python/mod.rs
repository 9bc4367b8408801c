//! Scripts and commands for Python.
//!
//! As a process, they run with the Python of this machine, or with a virtual environment that has their
//! dependencies. In a container, pip installs the dependencies first.

mod environment;

use super::script::{Job, Place, ScriptOptions, Workspace, fill_all};
use crate::error::Result;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{choices, properties};
use environment::Environment;

/// The image in which Kestra runs the commands by default.
pub(crate) const IMAGE: &str = "ghcr.io/kestra-io/kestrapy:latest";

choices! {
    /// The program that installs dependencies.
    pub(crate) enum PackageManager {
        /// pip.
        Pip = "PIP",
        /// uv.
        Uv = "UV",
    }
}

properties! {
    /// The Python of a task.
    pub(crate) struct PythonOptions as "a Python task" {
        /// Packages to install before the commands run, as pip names them.
        "dependencies" => dependencies: Vec<Template> = Vec::new(),
        /// The version of Python, like 3.12. Default: that of python3.
        "pythonVersion" => version: Option<Template> = None,
        /// The program that installs the dependencies.
        "packageManager" => _package_manager: PackageManager = PackageManager::Pip => "pip installs the dependencies",
        /// Whether the installed dependencies are kept for other runs.
        "dependencyCacheEnabled" => keeps_dependencies: bool = true,
    }
}

properties! {
    /// Runs shell commands that use Python.
    pub(crate) struct Commands as "a Commands task" {
        /// The commands, like `python main.py`.
        "commands" => commands: Vec<Template>,
        with {
            /// The Python of the task.
            python: PythonOptions,
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

properties! {
    /// Runs a Python script.
    pub(crate) struct Script as "a Script task" {
        /// The script.
        "script" => script: Template,
        with {
            /// The Python of the task.
            python: PythonOptions,
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

impl Commands {
    /// Runs the commands.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let place = self.options.place(run, IMAGE).await?;
        let workspace = Workspace::open(run, &self.options)?;
        let commands = fill_all(&workspace.names(run), &self.commands)?;
        run_python(run, &self.python, Job::new(run, &self.options, &workspace, commands)?, &place).await
    }
}

impl Script {
    /// Runs the script.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let place = self.options.place(run, IMAGE).await?;
        let workspace = Workspace::open(run, &self.options)?;
        let script = workspace.script(&workspace.names(run).fill(&self.script)?, ".py")?;
        let command = match place {
            Place::Process => format!("python '{}'", script.path().display()),
            // an image may have only one of the two names
            Place::Container(_) => {
                format!("$(command -v python || command -v python3) '{}'", script.path().display())
            }
        };
        run_python(run, &self.python, Job::new(run, &self.options, &workspace, vec![command])?, &place).await
    }
}

async fn run_python(
    run: &TaskRun<'_>,
    python: &PythonOptions,
    mut job: Job<'_>,
    place: &Place<'_>,
) -> Result<Outputs> {
    let dependencies = fill_all(&job.workspace.names(run), &python.dependencies)?;
    let own = [
        ("PYTHONUNBUFFERED", "true"),
        ("PIP_ROOT_USER_ACTION", "ignore"),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1"),
    ];
    job.environment.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let environment = match place {
        Place::Process => Some(Environment::open(run, python, &job, &dependencies).await?),
        Place::Container(_) => None,
    };
    // the file stays until the commands have run
    let _requirements = match (&environment, dependencies.is_empty()) {
        (Some(environment), _) => {
            job.environment.extend(environment.variables());
            None
        }
        (None, true) => None,
        (None, false) => {
            let requirements = job.workspace.script(&dependencies.join("\n"), ".txt")?;
            let path = requirements.path().display();
            job.preparation = vec![
                "set -e".to_owned(),
                format!(
                    "$(command -v python || command -v python3) -m pip install --quiet --no-input -r '{path}'"
                ),
                "set +e".to_owned(),
            ];
            Some(requirements)
        }
    };
    job.run(run, place).await
}
