//! Runs dbt with the installation on this machine.

use std::path::PathBuf;

use serde_json::{Map, Value as Json, json};

use crate::database::password::MAX_AGE;
use crate::database::settings::Settings;
use crate::error::{Error, Kind, Result};
use crate::flow::context::RunContext;
use crate::flow::context::databases::keep_password;
use crate::flow::context::task_run::{Outputs, TaskRun};
use crate::flow::expression::Template;
use crate::flow::tasks::shell::{Script, TaskRunner, fill_all, fill_entries};
use crate::flow::yaml::decode::{Entries, properties};
use crate::flow::yaml::document::{Document, Node, YamlValue};

properties! {
    /// Runs the dbt that is installed on this machine.
    pub(crate) struct DbtCli as "a DbtCLI task" {
        /// The commands, like `dbt build`.
        "commands" => commands: Vec<Template>,
        /// The project directory, relative to the flow's file. Default: the task's working directory.
        "projectDir" => project_dir: Option<Template> = None,
        /// The content of dbt's profiles.yml. If a database is given for the run, all outputs of type
        /// postgres connect to it. Default: a profile named taxi that connects to the run's database.
        "profiles" => profiles: Option<Template> = None,
        /// Environment variables. Of the variables of the taxi process, a command gets only those that a process
        /// needs, like PATH and HOME.
        "env" => env: Entries<Template> = Entries::default(),
        /// Files to create in the working directory, by name. Each value is the content of the file, or the
        /// URI of a file that this run has stored.
        "inputFiles" => input_files: Entries<Template> = Entries::default(),
        /// Glob patterns of the files to store after the commands have run. The output `outputFiles` lists
        /// the stored files. `target/*.json` matches dbt's artifacts.
        "outputFiles" => output_files: Vec<Template> = Vec::new(),
        /// The task runner.
        "taskRunner" => _task_runner: Option<TaskRunner> = None,
    }
}

/// The settings with the password of the password command, which is masked in the log and the record of the run.
async fn authenticated(settings: &Settings, context: &RunContext) -> Result<Settings> {
    let settings = settings.authenticated(MAX_AGE).await?;
    keep_password(&settings, &context.secrets);
    Ok(settings)
}

impl DbtCli {
    /// Runs the commands. dbt writes its target and log files to a temporary directory, not to the project.
    pub(crate) async fn run(&self, run: &TaskRun<'_>) -> Result<Outputs> {
        let context = run.context;
        let profiles = match &self.profiles {
            Some(template) => {
                let text = run.fill(template)?;
                match context.databases.given() {
                    Some(given) => redirect(&text, &authenticated(given, context).await?)?,
                    None => text,
                }
            }
            None => {
                let output = output(&authenticated(context.databases.main()?, context).await?)?;
                let profile = json!({ "target": "taxi", "outputs": { "taxi": output } });
                json!({ "taxi": profile }).to_string()
            }
        };
        let private_dir = context.storage.working_dir()?;
        let file = private_dir.path().join("profiles.yml");
        std::fs::write(&file, profiles).map_err(|cause| Error::file("write", &file, cause))?;
        let path = |name: &str| private_dir.path().join(name).display().to_string();
        let mut environment = vec![
            ("DBT_PROFILES_DIR".to_owned(), private_dir.path().display().to_string()),
            ("DBT_TARGET_PATH".to_owned(), path("target")),
            ("DBT_LOG_PATH".to_owned(), path("logs")),
            ("DBT_SEND_ANONYMOUS_USAGE_STATS".to_owned(), "false".to_owned()),
            ("DBT_USE_COLORS".to_owned(), "false".to_owned()),
        ];
        environment.extend(fill_entries(run, &self.env)?);
        let script = Script {
            commands: fill_all(run, &self.commands)?,
            environment,
            input_files: fill_entries(run, &self.input_files)?,
            output_files: fill_all(run, &self.output_files)?,
            interpreter: &["/bin/sh".to_owned()],
            fail_fast: true,
        };
        let project = match &self.project_dir {
            Some(template) => Some(self.project(run, &run.fill(template)?, template)?),
            None => None,
        };
        script.run(run, project.as_deref(), Some(private_dir.path())).await
    }

    fn project(&self, run: &TaskRun<'_>, project_dir: &str, template: &Template) -> Result<PathBuf> {
        let path = run.context.folder.join(project_dir);
        match path.join("dbt_project.yml").is_file() {
            true => Ok(path),
            false => {
                Err(run
                    .fault(template.position, format!("cannot find dbt_project.yml in {}", path.display())))
            }
        }
    }
}

/// The connection as an output of a dbt profile.
fn output(settings: &Settings) -> Result<Map<String, Json>> {
    let parts = settings.parts().ok_or_else(|| {
        Error::new(
            Kind::Configuration,
            format!("cannot write a dbt profile for the database at {}", settings.address()),
        )
        .hint("use a database URL with exactly one host, a user and a database")
    })?;
    let properties = [
        ("type", json!("postgres")),
        ("host", json!(parts.host)),
        ("port", json!(parts.port)),
        ("user", json!(parts.user)),
        ("password", json!(parts.password)),
        ("dbname", json!(parts.database)),
        ("sslmode", json!(parts.ssl_mode)),
        ("schema", json!("public")),
        ("threads", json!(2)),
    ];
    Ok(properties.map(|(name, value)| (name.to_owned(), value)).into_iter().collect())
}

/// Redirects every output of type postgres to the database. Returns JSON, which is valid YAML.
fn redirect(profiles: &str, settings: &Settings) -> Result<String> {
    let document = Document::parse("profiles", profiles)?;
    let mut profiles = json(&document.root);
    let replacement = output(settings)?;
    let outputs = profiles.as_object_mut().into_iter().flat_map(Map::values_mut);
    let outputs = outputs.filter_map(|profile| profile.get_mut("outputs")?.as_object_mut());
    for output in outputs.flat_map(Map::values_mut).filter_map(Json::as_object_mut) {
        if output.get("type").and_then(Json::as_str) == Some("postgres") {
            for name in ["host", "port", "user", "password", "dbname", "sslmode"] {
                output.insert(name.to_owned(), replacement[name].clone());
            }
            // aliases of `password` and `dbname`
            output.remove("pass");
            output.remove("database");
        }
    }
    Ok(profiles.to_string())
}

fn json(node: &Node) -> Json {
    match &node.value {
        YamlValue::Null => Json::Null,
        YamlValue::Bool(value) => json!(value),
        YamlValue::Number(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        YamlValue::Text(text) => json!(text),
        YamlValue::List(items) => items.iter().map(json).collect(),
        YamlValue::Map(entries) => {
            let values =
                entries.iter().filter_map(|(key, value)| Some((key.value.text()?.to_owned(), json(value))));
            Json::Object(values.collect())
        }
    }
}
