//! Runs dbt: the installation on this machine, or that of a container.

pub(crate) mod command;
mod profiles;
mod results;

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::json;

use super::container::Container;
use super::files;
use super::script::{Job, Place, ScriptOptions, Workspace, fill_all};
use crate::error::{Error, Kind, Result};
use crate::flow::context::cache;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::yaml::decode::{choices, properties};
use crate::report::event::Level;
use profiles::Profiles;

/// The image in which Kestra runs dbt by default.
pub(crate) const IMAGE: &str = "ghcr.io/kestra-io/dbt";

/// The files that dbt writes about a run.
const RUN_RESULTS: &str = "run_results.json";
const MANIFEST: &str = "manifest.json";

properties! {
    /// The key of a stored manifest.
    pub(crate) struct StoredManifest as "a stored manifest" {
        /// The key.
        "key" => key: Template,
        /// The namespace.
        "namespace" => namespace: Template,
    }
}

choices! {
    /// The format of dbt's log.
    pub(crate) enum LogFormat {
        /// JSON; taxi shows text.
        Json = "JSON",
        /// Text.
        Text = "TEXT",
        /// Text with more detail; taxi shows text.
        Debug = "DEBUG",
        /// dbt's own default.
        None = "NONE",
    }
}

properties! {
    /// The dbt project of a task.
    pub(crate) struct Project as "a dbt task" {
        /// The project directory. It is relative to the working directory if the project is there, as with
        /// `namespaceFiles`, and otherwise to the flow's file. Default: the task's working directory.
        "projectDir" => project_dir: Option<Template> = None,
        /// The content of dbt's profiles.yml. If a database is given for the run, all outputs of type
        /// postgres connect to it. Default: a profile named taxi that connects to the run's database.
        "profiles" => profiles: Option<Template> = None,
        /// Whether each model and test becomes a task run of its own in the record of the run.
        "parseRunResults" => parses_results: bool = true,
    }
}

properties! {
    /// Runs dbt.
    pub(crate) struct DbtCli as "a DbtCLI task" {
        /// The commands, like `dbt build`.
        "commands" => commands: Vec<Template>,
        /// Where to store the manifest of a run that succeeds.
        "storeManifest" => store_manifest: Option<StoredManifest> = None,
        /// Which stored manifest to put into dbt's target directory first.
        "loadManifest" => load_manifest: Option<StoredManifest> = None,
        /// The format of dbt's log.
        "logFormat" => _log_format: LogFormat = LogFormat::Text => "dbt writes its log as text",
        with {
            /// The project.
            project: Project,
            /// The properties of every task with commands.
            options: ScriptOptions,
        }
    }
}

impl DbtCli {
    /// Runs the commands.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let place = self.options.place(run, IMAGE).await?;
        let dbt = Dbt::open(run, &self.options, &self.project)?;
        if let Some(stored) = &self.load_manifest {
            load_manifest(run, stored, &dbt.target)?;
        }
        let commands = fill_all(&dbt.workspace.names(run), &self.commands)?;
        let outputs = dbt.run(run, place, &self.options, &self.project, commands).await?;
        if let Some(stored) = &self.store_manifest {
            store_manifest(run, stored, &outputs)?;
        }
        Ok(outputs)
    }
}

/// A dbt project, and where dbt reads and writes its files.
struct Dbt {
    workspace: Workspace,
    /// The project, if it is not the folder in which dbt runs.
    project_dir: Option<PathBuf>,
    /// The project beside the flow's file, in which dbt runs. dbt writes no files into it.
    outside_dir: Option<PathBuf>,
    /// Holds profiles.yml, and the target directory of a project beside the flow's file.
    private_dir: tempfile::TempDir,
    target: PathBuf,
    logs: PathBuf,
}

impl Dbt {
    fn open(run: &TaskRun<'_>, options: &ScriptOptions, project: &Project) -> Result<Self> {
        let storage = &run.context.storage;
        let private_dir = storage.working_dir()?;
        let workspace = Workspace::empty(run)?;
        let named = workspace.names(run);
        if let Some(namespace_files) = &options.namespace_files {
            namespace_files.put(&named, &workspace.path)?;
        }
        let (mut project_dir, mut outside_dir) = (None, None);
        if let Some(template) = &project.project_dir {
            let directory = named.fill(template)?;
            match workspace.path.join(&directory) {
                inside if is_project(&inside) => project_dir = Some(inside),
                _ => outside_dir = Some(beside_flow(run, &directory, template)?),
            }
        }
        for (name, content) in options.input_files.fill(&named)? {
            match &outside_dir {
                Some(folder) => files::create_new(storage, folder, &name, &content)?,
                None => files::create(storage, &workspace.path, &name, &content)?,
            }
        }
        let written = match &outside_dir {
            Some(_) => private_dir.path(),
            None => project_dir.as_deref().unwrap_or(&workspace.path),
        };
        let (target, logs) = (written.join("target"), written.join("logs"));
        Ok(Self { workspace, project_dir, outside_dir, private_dir, target, logs })
    }

    /// Runs the commands, and adds dbt's results to the task whether they succeed or not.
    async fn run(
        self,
        run: &TaskRun<'_>,
        place: Place<'_>,
        options: &ScriptOptions,
        project: &Project,
        commands: Vec<String>,
    ) -> Result<Outputs> {
        let profiles = Profiles::of(self.profiles(run, project)?, run.context).await?;
        let file = self.private_dir.path().join("profiles.yml");
        std::fs::write(&file, &profiles.text).map_err(|cause| Error::file("write", &file, cause))?;
        let place = match place {
            Place::Container(container) => {
                Place::Container(Container { uses_host_network: profiles.is_local, ..container })
            }
            Place::Process => Place::Process,
        };
        let mut job = Job::new(run, options, &self.workspace, commands)?;
        job.environment.extend(self.variables());
        job.project_dir.clone_from(&self.outside_dir);
        job.folders = vec![self.private_dir.path().to_owned()];
        let began = SystemTime::now();
        let result = job.execute(run, &place).await;
        let (results, manifest) = (self.target.join(RUN_RESULTS), self.target.join(MANIFEST));
        // an earlier task in the same working directory may have left results
        let is_new =
            |file: &Path| file.metadata().and_then(|file| file.modified()).is_ok_and(|at| at >= began);
        if project.parses_results && is_new(&results) {
            results::add(run, &results)?;
        }
        let result = result?;
        let stored =
            [(RUN_RESULTS, results), (MANIFEST, manifest)].map(|(name, path)| keep_copy(run, name, &path));
        let mut outputs = job.outputs(run, result)?;
        for (name, stored) in [RUN_RESULTS, MANIFEST].into_iter().zip(stored) {
            if let Some(path) = stored? {
                outputs["outputFiles"][name] = json!(path.display().to_string());
            }
        }
        Ok(outputs)
    }

    /// The profiles of the task, else those of a project in the working directory.
    fn profiles(&self, run: &TaskRun<'_>, project: &Project) -> Result<Option<String>> {
        if let Some(template) = &project.profiles {
            return self.workspace.names(run).fill(template).map(Some);
        }
        if self.outside_dir.is_some() {
            return Ok(None);
        }
        let folders = self.project_dir.iter().chain([&self.workspace.path]);
        let file = folders.map(|folder| folder.join("profiles.yml")).find(|file| file.is_file());
        let read =
            |file: PathBuf| std::fs::read_to_string(&file).map_err(|cause| Error::file("read", &file, cause));
        file.map(read).transpose()
    }

    fn variables(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.display().to_string();
        let mut variables = vec![
            ("DBT_PROFILES_DIR", text(self.private_dir.path())),
            ("DBT_TARGET_PATH", text(&self.target)),
            ("DBT_LOG_PATH", text(&self.logs)),
            ("DBT_SEND_ANONYMOUS_USAGE_STATS", "false".to_owned()),
            ("DBT_USE_COLORS", "false".to_owned()),
        ];
        variables.extend(self.project_dir.as_deref().map(|path| ("DBT_PROJECT_DIR", text(path))));
        variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

fn is_project(folder: &Path) -> bool {
    folder.join("dbt_project.yml").is_file()
}

/// The project in a folder that is relative to the flow's file.
fn beside_flow(run: &TaskRun<'_>, directory: &str, template: &Template) -> Result<PathBuf> {
    let path = run.context.folder.join(directory);
    match is_project(&path) {
        true => Ok(path),
        false => {
            Err(run.fault(template.position, format!("cannot find dbt_project.yml in {}", path.display())))
        }
    }
}

/// Stores a copy of a file that dbt has written.
fn keep_copy(run: &TaskRun<'_>, name: &str, from: &Path) -> Result<Option<PathBuf>> {
    if !from.is_file() {
        return Ok(None);
    }
    let to = run.context.storage.new_file(name)?;
    std::fs::copy(from, &to).map_err(|cause| Error::file("copy", from, cause))?;
    Ok(Some(to))
}

/// The file of a stored manifest, in the user's cache directory.
fn manifest_file(run: &TaskRun<'_>, stored: &StoredManifest) -> Result<Option<PathBuf>> {
    let (namespace, key) = (run.fill(&stored.namespace)?, run.fill(&stored.key)?);
    // the names are text and must not act as paths
    let name = format!("{namespace} {key}").replace(['/', '\0'], "_");
    Ok(cache::folder("manifests").map(|folder| folder.join(name)))
}

fn store_manifest(run: &TaskRun<'_>, stored: &StoredManifest, outputs: &Outputs) -> Result<()> {
    let manifest = outputs.get("outputFiles").and_then(|files| files.get(MANIFEST)?.as_str());
    match (manifest, manifest_file(run, stored)?) {
        (Some(from), Some(to)) => {
            std::fs::copy(from, &to).map(drop).map_err(|cause| Error::file("write", &to, cause))
        }
        (None, _) => {
            run.log(Level::Warning, "dbt has written no manifest, so none is stored");
            Ok(())
        }
        (_, None) => Err(Error::new(
            Kind::Configuration,
            "cannot store the manifest: this user has no cache directory",
        )
        .hint("set HOME or XDG_CACHE_HOME to a folder that this user may write to")),
    }
}

fn load_manifest(run: &TaskRun<'_>, stored: &StoredManifest, target: &Path) -> Result<()> {
    let Some(from) = manifest_file(run, stored)?.filter(|file| file.is_file()) else {
        run.log(Level::Warning, "no manifest is stored under the key of `loadManifest`");
        return Ok(());
    };
    let to = target.join(MANIFEST);
    let copied = std::fs::create_dir_all(target).and_then(|()| std::fs::copy(&from, &to));
    copied.map(drop).map_err(|cause| Error::file("copy", &from, cause))
}
