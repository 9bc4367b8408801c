//! dbt as a task of a flow: models and their tests on loaded tables. The tests run if `TAXI_DBT` names the
//! folder of a dbt.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{Database, json, refusal, skipped, taxi, testdata};

/// Returns a `PATH` with dbt, or `None` if `TAXI_DBT` is not set.
fn path_with_dbt() -> Option<String> {
    let folder = std::env::var("TAXI_DBT").ok();
    if folder.is_none() {
        skipped("TAXI_DBT is not set");
    }
    Some(format!("{}:{}", folder?, std::env::var("PATH").unwrap()))
}

fn run(database: &Database, flow: &Path, path: &str) -> Command {
    let mut command =
        taxi(["run", "--output", "json", "--input", &format!("source={}", testdata().display())]);
    command.arg(flow).env("DATABASE_URL", &database.url).env("PATH", path);
    command
}

fn example() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/flows/dbt")
}

#[test]
fn models_are_built_and_tested_on_loaded_tables() {
    let Some(path) = path_with_dbt() else { return };
    let database = Database::new("dbt_models");
    let flow = example().join("load_and_model.yaml");
    json(&run(&database, &flow, &path).output().unwrap());
    // the model has one row for a trip that is in its file twice
    let counts = "SELECT (SELECT count(*) FROM stg_yellow_trips), (SELECT count(*) FROM yellow_tripdata)";
    assert_eq!(database.sql(counts), [["3000", "3001"]]);
    let project = std::fs::read_dir(example().join("taxi_trips")).unwrap();
    assert_eq!(project.count(), 2, "dbt has left files in the project");

    // a row that breaks a rule fails the flow, and the output names the rule
    database.sql(
        "UPDATE green_tripdata SET payment_type = 9 WHERE ctid = (SELECT ctid FROM green_tripdata LIMIT 1)",
    );
    let output = run(&database, &flow, &path).output().unwrap();
    let stderr = refusal(&output, 71);
    assert!(stderr.contains("FAIL 1 accepted_values_stg_green_trips_payment_type"), "{stderr}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["status"], "failed");
}

#[test]
fn profiles_of_a_flow_use_the_database_of_the_run() {
    let Some(path) = path_with_dbt() else { return };
    let database = Database::new("dbt_profiles");
    let folder = tempfile::tempdir().unwrap();
    let flow = folder.path().join("flow.yaml");
    let text = "id: profiled\nnamespace: taxi.tests\ninputs: [{id: source, type: STRING}]\ntasks:\n  - id: model\n    \
                type: io.kestra.plugin.dbt.cli.DbtCLI\n    outputFiles: [target/run_results.json]\n    inputFiles:\n      \
                dbt_project.yml: '{name: p, profile: default}'\n      models/one.sql: select 1 as one\n    \
                commands: [dbt build]\n    profiles: |\n      default:\n        target: dev\n        outputs:\n          \
                dev: {type: postgres, host: host.invalid, port: 1, user: kestra, pass: k3str4, dbname: x, schema: public, threads: 8}\n  \
                - id: read\n    type: io.kestra.plugin.scripts.shell.Commands\n    \
                commands: [\"grep -q success {{ outputs.model.outputFiles['target/run_results.json'] }}\"]\n";
    std::fs::write(&flow, text).unwrap();
    json(&run(&database, &flow, &path).output().unwrap());
    assert_eq!(database.value("SELECT one FROM one"), "1");
}

/// A dbt project in a Git repository: one model with two tests.
fn repository(folder: &Path) {
    let write = |name: &str, text: &str| {
        let path = folder.join("taxi_rides").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("dbt_project.yml", "{name: rides, profile: default, config-version: 2}\n");
    write("models/numbers.sql", "select 1 as number union all select null\n");
    write(
        "models/schema.yml",
        "models:\n  - name: numbers\n    columns:\n      - name: number\n        \
         data_tests: [unique, {not_null: {config: {severity: \"{{ env_var('SEVERITY', 'warn') }}\"}}}]\n",
    );
    let commands = ["init --quiet --initial-branch=main", "add .", "commit --quiet -m first"];
    for command in commands {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=a", "-c", "user.email=a@b.example"]).current_dir(folder);
        assert!(git.args(command.split(' ')).status().unwrap().success());
    }
}

#[test]
fn a_project_from_git_runs_unchanged_and_its_tests_are_task_runs() {
    let Some(path) = path_with_dbt() else { return };
    let database = Database::new("dbt_course");
    let folder = tempfile::tempdir().unwrap();
    repository(folder.path());
    let flow = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flows/dbt_from_git.yaml");
    let cache = tempfile::tempdir().unwrap();
    let mut command = taxi(["run", "--output", "json", "--runner", "process", "--input"]);
    command.arg(format!("url={}", folder.path().display())).arg(&flow);
    command.env("DATABASE_URL", &database.url).env("PATH", &path).env("XDG_CACHE_HOME", cache.path());
    // the last task fails on purpose: its results are recorded too
    let output = command.output().unwrap();
    refusal(&output, 71);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let parts = |parent: &str| -> Vec<(String, String)> {
        let tasks = result["tasks"].as_array().unwrap();
        let parent = tasks.iter().find(|task| task["task_id"] == parent).unwrap();
        let parts = tasks.iter().filter(|task| task["parent_id"] == parent["task_run_id"]);
        let text = |part: &Value, key: &str| part[key].as_str().unwrap().to_owned();
        parts.map(|part| (text(part, "task_id"), text(part, "status"))).collect()
    };
    let has = |parent: &str, id: &str, status: &str| {
        let parts = parts(parent);
        assert!(
            parts.iter().any(|(name, result)| name.starts_with(id) && result == status),
            "{id}: {parts:?}"
        );
    };
    has("dbt-build", "model.rides.numbers", "succeeded");
    has("dbt-build", "test.rides.unique_numbers_number", "succeeded");
    has("dbt-build", "test.rides.not_null_numbers_number", "warning");
    has("dbt-test", "test.rides.unique_numbers_number", "succeeded");
    has("dbt-test", "test.rides.not_null_numbers_number", "failed");
    assert_eq!(database.value("SELECT count(*) FROM numbers"), "2");
    let id = result["run_id"].as_str().unwrap();
    let shown = taxi(["runs", "show", id]).env("DATABASE_URL", &database.url).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("test.rides.not_null_numbers_number"), "{shown}");
    assert!(shown.contains("Got 1 result"), "{shown}");
    let stored = cache.path().join("taxi-etl/manifests/zoomcamp manifest.json");
    assert!(stored.is_file(), "the manifest is not stored");
}
