//! The Python that a task finds on its PATH: that of this machine, or a virtual environment with the task's
//! dependencies.
//!
//! A virtual environment is kept in the user's cache directory, and tasks with the same dependencies and the same
//! Python use it again.

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::process::Command;

use super::PythonOptions;
use crate::error::{Error, Kind, Result};
use crate::flow::context::cache;
use crate::flow::context::task_run::TaskRun;
use crate::flow::tasks::process;
use crate::flow::tasks::script::{Job, find_program};
use crate::report::event::Level;

/// The module `kestra` for scripts on a machine that has no package of this name.
const KESTRA: &str = include_str!("kestra.py");

/// Prints what the choice of a virtual environment depends on.
const PROBE: &str = "import json, sys\n\
    try:\n    import pip\n    pip = pip.__version__\n\
    except ImportError:\n    pip = ''\n\
    print(json.dumps({'executable': sys.executable, 'version': sys.version, 'pip': pip}))\n";

/// The first version of pip that installs into another environment.
const PIP_WITH_TARGET: (u32, u32) = (22, 3);

/// How often to check whether another task has finished the virtual environment.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A file that a finished virtual environment has.
const COMPLETE: &str = "taxi-complete";

/// The Python of a task.
pub(crate) struct Environment {
    /// Holds the programs `python` and `pip`, the module `kestra`, and what pip installs for this task alone.
    folder: TempDir,
    /// The virtual environment with the dependencies.
    dependencies: Option<PathBuf>,
}

/// What is known of a Python.
#[derive(Deserialize)]
struct Probe {
    executable: String,
    version: String,
    pip: String,
}

impl Environment {
    /// Finds the Python and installs the dependencies.
    pub(super) async fn open(
        run: &TaskRun<'_>,
        options: &PythonOptions,
        job: &Job<'_>,
        dependencies: &[String],
    ) -> Result<Self> {
        let python = find(run.fill_optional(options.version.as_ref())?.as_deref())?;
        let folder = run.context.storage.working_dir()?;
        let installed = match dependencies {
            [] => None,
            _ => Some(install(run, &python, options, job, dependencies).await?),
        };
        let environment = Self { folder, dependencies: installed };
        let base = environment.dependencies.as_ref().map_or(python, |path| path.join("bin/python"));
        environment.write("modules/kestra.py", KESTRA, 0o600)?;
        for name in ["python", "python3"] {
            environment.write(&format!("bin/{name}"), &environment.python_program(&base), 0o700)?;
        }
        for name in ["pip", "pip3"] {
            environment.write(&format!("bin/{name}"), &environment.pip_program(&base), 0o700)?;
        }
        Ok(environment)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        let path = self.folder.path().join(name);
        let failed = |cause| Error::file("write", &path, cause);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        fs::write(&path, text).map_err(failed)?;
        fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(failed)
    }

    /// The program `python`: flows use this name, and a machine may have only `python3`. After an installation with
    /// pip, it is the Python of the task's own virtual environment.
    fn python_program(&self, base: &Path) -> String {
        format!(
            "#!/bin/sh\nif [ \"$1 $2\" = \"-m pip\" ]; then shift 2; exec '{0}/bin/pip' \"$@\"; fi\n\
             if [ -x '{0}/own/bin/python' ]; then exec '{0}/own/bin/python' \"$@\"; fi\nexec '{1}' \"$@\"\n",
            self.folder.path().display(),
            base.display()
        )
    }

    /// The program `pip`, which installs for this task alone: neither this machine's Python nor a virtual environment
    /// that other tasks use may change.
    fn pip_program(&self, base: &Path) -> String {
        let mut text = format!(
            "#!/bin/sh\nown='{}/own'\nbase='{}'\nif [ ! -x \"$own/bin/python\" ]; then\n  \
             \"$base\" -m venv --system-site-packages --without-pip \"$own\" || exit\n",
            self.folder.path().display(),
            base.display()
        );
        if let Some(dependencies) = &self.dependencies {
            let _ = writeln!(
                text,
                "  for packages in \"$own\"/lib/python*/site-packages; do\n    \
                 ls -d '{}'/lib/python*/site-packages >\"$packages/dependencies.pth\"\n  done",
                dependencies.display()
            );
        }
        // only the fallback installs pip into the environment, which takes most of the time
        text.push_str(
            "fi\nif \"$base\" -m pip --python \"$own/bin/python\" --version >/dev/null 2>&1; then\n  \
             exec \"$base\" -m pip --python \"$own/bin/python\" \"$@\"\nfi\n\
             [ -x \"$own/bin/pip3\" ] || \"$own/bin/python\" -m ensurepip >/dev/null || exit\n\
             exec \"$own/bin/python\" -m pip \"$@\"\n",
        );
        text
    }

    /// The variables by which commands find this Python.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let own = self.folder.path();
        let installed = self.dependencies.iter().map(|path| path.join("bin"));
        let folders = [own.join("bin"), own.join("own/bin")].into_iter().chain(installed);
        let mut search_path: String = folders.map(|folder| format!("{}:", folder.display())).collect();
        search_path.push_str(&std::env::var("PATH").unwrap_or_default());
        let modules = own.join("modules").display().to_string();
        vec![("PATH".to_owned(), search_path), ("PYTHONPATH".to_owned(), modules)]
    }
}

/// The Python of this machine.
fn find(version: Option<&str>) -> Result<PathBuf> {
    let name = format!("python{}", version.unwrap_or("3"));
    find_program(&name).map(|path| std::path::absolute(&path).unwrap_or(path)).ok_or_else(|| {
        let text = format!("cannot find `{name}` on the PATH");
        Error::new(Kind::Configuration, text).hint(
            "install Python 3 with venv and pip, or give the task a `containerImage` like python:3.13-slim",
        )
    })
}

/// Returns the virtual environment with the dependencies. Creates it if no earlier task has.
async fn install(
    run: &TaskRun<'_>,
    python: &Path,
    options: &PythonOptions,
    job: &Job<'_>,
    dependencies: &[String],
) -> Result<PathBuf> {
    let probe = probe(python).await?;
    let installer = Installer { run, python, probe: &probe, job };
    // a path may have another content next time
    let is_stable =
        dependencies.iter().all(|text| !text.starts_with(['.', '/', '-']) && !text.contains("file:"));
    let cache = cache::folder("python").filter(|_| options.keeps_dependencies && is_stable);
    let Some(cache) = cache else {
        let folder = run.context.storage.lasting_dir()?;
        installer.create(&folder, dependencies).await?;
        return Ok(folder);
    };
    let name = name(&probe, job, dependencies);
    let (folder, lock_path) = (cache.join(&name), cache.join(format!("{name}.lock")));
    let lock = File::create(&lock_path).map_err(|cause| Error::file("write", &lock_path, cause))?;
    while lock.try_lock().is_err() {
        run.interrupt.sleep(POLL_INTERVAL).await?;
    }
    if !folder.join(COMPLETE).exists() {
        // a task that was killed may have left a part
        let _ = fs::remove_dir_all(&folder);
        installer.create(&folder, dependencies).await?;
        let complete = folder.join(COMPLETE);
        fs::write(&complete, "").map_err(|cause| Error::file("write", &complete, cause))?;
    }
    Ok(folder)
}

/// The name of the virtual environment: a digest of all that it depends on.
fn name(probe: &Probe, job: &Job<'_>, dependencies: &[String]) -> String {
    let mut dependencies = dependencies.to_vec();
    dependencies.sort();
    let settings = pip_settings().chain(job_settings(job)).map(|(name, value)| format!("{name}={value}"));
    let parts =
        [probe.executable.clone(), probe.version.clone()].into_iter().chain(dependencies).chain(settings);
    let digest = Sha256::digest(parts.collect::<Vec<_>>().join("\n"));
    digest.iter().take(16).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The settings of pip in the environment of this process.
fn pip_settings() -> impl Iterator<Item = (String, String)> {
    let variables = std::env::vars_os();
    let variables =
        variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    variables.filter(|(name, _)| name.starts_with("PIP_"))
}

/// The settings of pip that the task has.
fn job_settings(job: &Job<'_>) -> impl Iterator<Item = (String, String)> {
    job.own_environment.iter().filter(|(name, _)| name.starts_with("PIP_")).cloned()
}

async fn probe(python: &Path) -> Result<Probe> {
    let output = process::command(python).args(["-c", PROBE]).kill_on_drop(true).output().await;
    let output = output.map_err(|cause| Error::file("run", python, cause))?;
    serde_json::from_slice(&output.stdout).map_err(|cause| {
        let text = format!("cannot read the version of {}", python.display());
        Error::new(Kind::Configuration, text).because(cause)
    })
}

/// Creates virtual environments.
struct Installer<'a> {
    run: &'a TaskRun<'a>,
    python: &'a Path,
    probe: &'a Probe,
    job: &'a Job<'a>,
}

impl Installer<'_> {
    /// Creates a virtual environment with the dependencies.
    async fn create(&self, folder: &Path, dependencies: &[String]) -> Result<()> {
        let text = format!("installing {} with pip", dependencies.join(", "));
        self.run.log(Level::Info, &text);
        let has_pip = version(&self.probe.pip) >= PIP_WITH_TARGET;
        let mut venv = process::command(self.python);
        venv.args(["-m", "venv", "--system-site-packages"]);
        // to install pip into the environment takes most of the time
        venv.args(has_pip.then_some("--without-pip")).arg(folder);
        self.step(
            venv,
            "create a virtual environment",
            "install the package python3-venv, if this machine has one",
        )
        .await?;
        let own_python = folder.join("bin/python");
        let mut pip = process::command(if has_pip { self.python } else { own_python.as_path() });
        pip.args(["-m", "pip"]);
        if has_pip {
            pip.arg("--python").arg(&own_python);
        }
        // a dependency can hold a token, and every user of the machine can read arguments
        let requirements = self.run.context.storage.script(&dependencies.join("\n"))?;
        pip.args(["install", "--quiet", "--no-input", "--disable-pip-version-check", "-r"])
            .arg(requirements.path());
        pip.envs(pip_settings()).envs(self.job.variables());
        let hint = "without a network, name a folder with the packages in PIP_FIND_LINKS and set PIP_NO_INDEX=1; \
                    for a mirror, set PIP_INDEX_URL";
        self.step(pip, "install the dependencies", hint).await
    }

    async fn step(&self, mut command: Command, what: &str, hint: &str) -> Result<()> {
        command.current_dir(&self.job.workspace.path);
        let result = process::run(self.run, command).await?;
        match result.exit_code {
            0 => Ok(()),
            code => {
                let text = format!("cannot {what}: {} exited with code {code}", self.python.display());
                Err(Error::new(Kind::TaskFailed, text).hint(format!("read the task's log; {hint}")))
            }
        }
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> (u32, u32) {
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}
