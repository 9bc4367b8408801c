//! A good task: silent for cron, and to each orchestrator in its own words.

use std::io::{Read as _, Write as _};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::support::month::{gzip, write, yellow_csv};
use crate::support::{Database, TAXI, failure, open_tempdir, refusal, testdata};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn load(database: &Database, month: u8) -> Command {
    load_as("json", database, month)
}

fn load_as(output: &str, database: &Database, month: u8) -> Command {
    let mut command = database.load_as(output, "yellow", 2021, month, testdata().to_str().unwrap());
    command.env("TAXI_XCOM_DIR", "/nonexistent").env("TAXI_TERMINATION_LOG", "/nonexistent");
    command
}

/// All that a command wrote, in its order, as a pipe of both streams shows it.
fn merged(command: &mut Command) -> (String, Option<i32>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    // the pipe ends when the last to write into it does
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    (said, child.wait().unwrap().code())
}

#[test]
fn cron_hears_nothing_but_failures() {
    let database = Database::new("cron");
    let folder = open_tempdir();
    write(folder.path(), "yellow", "2021-01", &gzip(yellow_csv(50, "2021-01").as_bytes()));
    let line = |to: &str| -> Output {
        let mut command = Command::new(TAXI);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("DATABASE_URL", &database.url)
            .stdin(Stdio::null());
        command
            .args(["backfill", "--quiet", "--taxi", "yellow", "--from", "2021-01", "--to", to, "--source"]);
        command.arg(folder.path()).current_dir("/").output().unwrap()
    };
    for _ in 0..2 {
        let output = line("2021-01");
        assert_eq!(
            (output.status.code(), text(&output.stdout), text(&output.stderr)),
            (Some(0), "".into(), "".into())
        );
    }
    let output = line("2021-02");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(66), String::new()));
    let said = text(&output.stderr);
    assert!(
        said.contains("1 of 2 files were not loaded") && said.contains("yellow_tripdata_2021-02.csv"),
        "{said}"
    );
}

#[test]
fn the_embedded_server_needs_no_home_and_no_terminal() {
    let home = open_tempdir();
    let source = testdata();
    let mut command = Command::new(TAXI);
    command
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TAXI_HOME", home.path().join("home"))
        .current_dir("/");
    let args = ["load", "--quiet", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source"];
    let output = command.args(args).arg(&source).stdin(Stdio::null()).output().unwrap();
    let down = Command::new(TAXI).arg("down").env("TAXI_HOME", home.path().join("home")).output().unwrap();
    assert!(output.status.success() && down.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout) + &text(&output.stderr), "");
}

#[test]
fn a_failure_is_a_result_too() {
    let database = Database::new("json_failure");
    let output = load(&database, 2).output().unwrap();
    let said = refusal(&output, 66);
    let error = failure(&output);
    assert_eq!((&error["kind"], &error["retry"]), (&"not_published".into(), &false.into()));
    assert!(said.contains(error["message"].as_str().unwrap().lines().next().unwrap()), "{error}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["filename"], "yellow_tripdata_2021-02.csv");
    let refused = crate::support::taxi(["load", "--taxi", "yellow", "--output", "json"]).output().unwrap();
    refusal(&refused, 64);
    assert_eq!(failure(&refused)["kind"], "usage");
    // one that ends before there is anything to say of a file
    let output = load(&database, 1).env("DATABASE_URL", "mysql://nowhere").output().unwrap();
    refusal(&output, 78);
    assert_eq!(failure(&output)["kind"], "configuration");
}

#[test]
fn the_log_is_json_where_it_is_asked_for() {
    let database = Database::new("json_log");
    let output = load(&database, 1).args(["--log-format", "json"]).output().unwrap();
    let lines: Vec<Value> =
        text(&output.stderr).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events = |name: &str| lines.iter().filter(|line| line["event"] == name).count();
    assert_eq!((events("phase_began"), events("phase_ended")), (6, 6), "{lines:?}");
    assert!(lines.iter().all(|line| line["at"].as_str().unwrap().ends_with('Z') && line["level"] == "info"));
    let loaded = lines.iter().find(|line| line["phase"] == "load" && line["event"] == "phase_ended").unwrap();
    assert!(loaded["seconds"].is_f64() && loaded["message"] == "3001 rows staged", "{loaded}");

    let output = load(&database, 2).args(["--log-format", "json"]).output().unwrap();
    let last =
        text(&output.stderr).lines().last().map(|line| serde_json::from_str::<Value>(line).unwrap()).unwrap();
    assert_eq!((&last["event"], &last["level"]), (&"error".into(), &"error".into()));
    assert!(last["message"].as_str().unwrap().contains("yellow_tripdata_2021-02.csv.gz"), "{last}");
}

#[test]
fn nothing_to_do_may_have_an_exit_code_of_its_own() {
    let database = Database::new("skip_exit_code");
    let run = |month| load(&database, month).args(["--skip-exit-code", "99"]).output().unwrap().status.code();
    assert_eq!(run(1), Some(0));
    assert_eq!(run(1), Some(99));
    assert_eq!(run(2), Some(66), "a failure keeps its own");
    assert_eq!(load(&database, 1).output().unwrap().status.code(), Some(0));
}

#[test]
fn kestra_is_told_outputs_metrics_and_logs() {
    let database = Database::new("kestra");
    // what Kestra does with each line
    let parse = |output: &Output| -> Vec<Value> {
        let marked = text(&output.stdout);
        marked
            .lines()
            .map(|line| {
                let inner = line.strip_prefix("::").and_then(|line| line.strip_suffix("::"));
                serde_json::from_str(inner.unwrap_or_else(|| panic!("not marked: {line}"))).unwrap()
            })
            .collect()
    };
    let output = load_as("kestra", &database, 1).output().unwrap();
    let said = parse(&output);
    assert_eq!(text(&output.stderr), "", "Kestra shows what stands on stderr as errors");
    let outputs = said.iter().find_map(|value| value.get("outputs")).unwrap();
    assert_eq!((&outputs["status"], &outputs["rows_inserted"]), (&"loaded".into(), &3001.into()));
    let metrics = said.iter().find_map(|value| value.get("metrics")).unwrap().as_array().unwrap();
    let metric = |name: &str| metrics.iter().find(|metric| metric["name"] == name).unwrap();
    assert_eq!(
        (&metric("rows_inserted")["type"], &metric("rows_inserted")["value"]),
        (&"counter".into(), &3001.into())
    );
    assert_eq!(metric("rows_inserted")["tags"]["taxi"], "yellow");
    assert_eq!(
        (&metric("duration")["type"], metric("duration")["value"].as_f64()),
        (&"timer".into(), outputs["seconds"].as_f64())
    );
    let levels = |said: &[Value]| -> Vec<String> {
        let logs =
            said.iter().filter_map(|value| value.get("logs")).flat_map(|logs| logs.as_array().unwrap());
        logs.map(|log| log["level"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(levels(&said), ["INFO"; 12]);

    let failed = load_as("kestra", &database, 2).output().unwrap();
    let said = parse(&failed);
    assert_eq!(text(&failed.stderr), "");
    assert_eq!(said.iter().find_map(|value| value.get("outputs")).unwrap()["error"]["kind"], "not_published");
    assert_eq!(levels(&said).last().unwrap(), "ERROR");
}

#[test]
fn airflow_finds_the_result_in_the_last_line_and_in_its_folder() {
    let database = Database::new("airflow");
    let folder = open_tempdir();
    for (month, code) in [(1, 0), (1, 0), (2, 66)] {
        let (said, ended) = merged(load(&database, month).env("TAXI_XCOM_DIR", folder.path()));
        assert_eq!(ended, Some(code), "{said}");
        let last = said.lines().last().unwrap();
        let result: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{said}"));
        assert_eq!(result["filename"], format!("yellow_tripdata_2021-{month:02}.csv"));
        assert_eq!(std::fs::read_to_string(folder.path().join("return.json")).unwrap(), last);
    }
}

#[test]
fn kubernetes_is_told_in_few_words() {
    let database = Database::new("kubernetes");
    let folder = open_tempdir();
    let file = folder.path().join("termination-log");
    let message = |month: u8, source: &str| {
        std::fs::write(&file, "what was there before").unwrap();
        let mut command = database.load_as("text", "yellow", 2021, month, source);
        command.env("TAXI_TERMINATION_LOG", &file).output().unwrap();
        std::fs::read_to_string(&file).unwrap()
    };
    let source = testdata();
    assert!(message(1, source.to_str().unwrap()).starts_with("loaded yellow_tripdata_2021-01.csv"));
    let failed = message(2, source.to_str().unwrap());
    assert!(
        failed.starts_with("taxi: error: there is no ") && failed.contains("yellow_tripdata_2021-02.csv.gz")
    );
    // more words than the kubelet takes, each of several bytes
    let long = message(1, &format!("/nowhere/{}", "é".repeat(4000)));
    assert!(long.len() <= 4096 && long.len() > 4000, "{} bytes", long.len());
}

fn pipes_variable(value: &Value) -> String {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(value.to_string().as_bytes()).unwrap();
    BASE64.encode(encoder.finish().unwrap())
}

#[test]
fn dagster_is_told_through_its_pipes() {
    let database = Database::new("dagster");
    let folder = open_tempdir();
    let messages = folder.path().join("messages");
    let context = json!({ "asset_keys": ["nyc/yellow"], "run_id": "r", "extras": {} });
    let context_file = folder.path().join("context");
    std::fs::write(&context_file, context.to_string()).unwrap();
    let run = |month: u8, context: &Value| -> Vec<Value> {
        let _ = std::fs::remove_file(&messages);
        let mut command = load(&database, month);
        command.env("DAGSTER_PIPES_CONTEXT", pipes_variable(context));
        command.env("DAGSTER_PIPES_MESSAGES", pipes_variable(&json!({ "path": messages })));
        command.output().unwrap();
        let said = std::fs::read_to_string(&messages).unwrap();
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let methods = |said: &[Value]| -> Vec<String> {
        let mut methods: Vec<String> =
            said.iter().map(|message| message["method"].as_str().unwrap().to_owned()).collect();
        methods.dedup();
        methods
    };
    for context in [json!({ "data": context }), json!({ "path": context_file })] {
        let said = run(1, &context);
        assert_eq!(methods(&said), ["opened", "log", "report_asset_materialization", "closed"]);
        assert!(said.iter().all(|message| message["__dagster_pipes_version"] == "0.1"));
        let report = &said[said.len() - 2]["params"];
        assert_eq!(report["asset_key"], "nyc/yellow");
        assert_eq!(report["metadata"]["rows_inserted"]["type"], "int");
        assert_eq!(said.last().unwrap()["params"], json!({}));
    }
    let said = run(2, &json!({ "data": context }));
    assert_eq!(methods(&said), ["opened", "log", "closed"]);
    let exception = &said.last().unwrap()["params"]["exception"];
    assert_eq!(exception["name"], "not_published");
    assert_eq!(exception.as_object().unwrap().len(), 5, "{exception}");

    let mut command = load(&database, 1);
    command.env("DAGSTER_PIPES_CONTEXT", "no base64").env("DAGSTER_PIPES_MESSAGES", "either");
    assert!(
        refusal(&command.output().unwrap(), 78)
            .contains("DAGSTER_PIPES_CONTEXT cannot be read: it is not base64")
    );
}

#[test]
fn a_result_that_cannot_be_written_is_an_error_of_its_own() {
    if !std::path::Path::new("/dev/full").exists() {
        return crate::support::skipped("there is no /dev/full");
    }
    let database = Database::new("full_stdout");
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output =
        load(&database, 1).stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(74));
    assert!(text(&output.stderr).contains("cannot write to stdout"));
    assert_eq!(database.value("SELECT count(*) FROM taxi_etl.runs WHERE status = 'succeeded'"), "1");
}
