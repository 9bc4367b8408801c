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
