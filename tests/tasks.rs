//! The output for cron and orchestrators: silent for cron, and in each orchestrator's own format.

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

/// Returns the stdout and stderr of a command as one text, in the order in which they were written.
fn merged(command: &mut Command) -> (String, Option<i32>) {
    let (mut reader, writer) = std::io::pipe().unwrap();
    command.stdout(writer.try_clone().unwrap()).stderr(writer);
    let mut child = command.spawn().unwrap();
    // close this process's copies of the writer, so that the pipe ends with the command
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    (text, child.wait().unwrap().code())
}

#[test]
fn a_cron_job_prints_only_failures() {
    let database = Database::new("cron");
    let folder = open_tempdir();
    write(folder.path(), "yellow", "2021-01", &gzip(yellow_csv(50, "2021-01").as_bytes()));
    let run = |to: &str| -> Output {
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
        let output = run("2021-01");
        assert_eq!(
            (output.status.code(), text(&output.stdout), text(&output.stderr)),
            (Some(0), "".into(), "".into())
        );
    }
    let output = run("2021-02");
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(66), String::new()));
    let stderr = text(&output.stderr);
    assert!(
        stderr.contains("1 of 2 files were not loaded") && stderr.contains("yellow_tripdata_2021-02.csv"),
        "{stderr}"
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
fn a_failure_is_also_a_json_result() {
    let database = Database::new("json_failure");
    let output = load(&database, 2).output().unwrap();
    let stderr = refusal(&output, 66);
    let error = failure(&output);
    assert_eq!((&error["kind"], &error["retry"]), (&"not_published".into(), &false.into()));
    assert!(stderr.contains(error["message"].as_str().unwrap().lines().next().unwrap()), "{error}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["filename"], "yellow_tripdata_2021-02.csv");
    let refused = crate::support::taxi(["load", "--taxi", "yellow", "--output", "json"]).output().unwrap();
    refusal(&refused, 64);
    assert_eq!(failure(&refused)["kind"], "usage");
    // a failure before the file is known
    let output = load(&database, 1).env("DATABASE_URL", "mysql://nowhere").output().unwrap();
    refusal(&output, 78);
    assert_eq!(failure(&output)["kind"], "configuration");
}

#[test]
fn the_log_is_json_on_request() {
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
fn a_skipped_load_can_have_its_own_exit_code() {
    let database = Database::new("skip_exit_code");
    let run = |month| load(&database, month).args(["--skip-exit-code", "99"]).output().unwrap().status.code();
    assert_eq!(run(1), Some(0));
    assert_eq!(run(1), Some(99));
    assert_eq!(run(2), Some(66), "a failure keeps its own");
    assert_eq!(load(&database, 1).output().unwrap().status.code(), Some(0));
}

#[test]
fn kestra_receives_outputs_metrics_and_logs() {
    let database = Database::new("kestra");
    // parse each line as Kestra does
    let parse = |output: &Output| -> Vec<Value> {
        let stdout = text(&output.stdout);
        stdout
            .lines()
            .map(|line| {
                let message = line.strip_prefix("::").and_then(|line| line.strip_suffix("::"));
                serde_json::from_str(message.unwrap_or_else(|| panic!("not in Kestra's format: {line}")))
                    .unwrap()
            })
            .collect()
    };
    let output = load_as("kestra", &database, 1).output().unwrap();
    let messages = parse(&output);
    assert_eq!(text(&output.stderr), "", "Kestra shows the lines on stderr as errors");
    let outputs = messages.iter().find_map(|value| value.get("outputs")).unwrap();
    assert_eq!((&outputs["status"], &outputs["rows_inserted"]), (&"loaded".into(), &3001.into()));
    let metrics = messages.iter().find_map(|value| value.get("metrics")).unwrap().as_array().unwrap();
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
    let levels = |messages: &[Value]| -> Vec<String> {
        let logs =
            messages.iter().filter_map(|value| value.get("logs")).flat_map(|logs| logs.as_array().unwrap());
        logs.map(|log| log["level"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(levels(&messages), ["INFO"; 12]);

    let failed = load_as("kestra", &database, 2).output().unwrap();
    let messages = parse(&failed);
    assert_eq!(text(&failed.stderr), "");
    assert_eq!(
        messages.iter().find_map(|value| value.get("outputs")).unwrap()["error"]["kind"],
        "not_published"
    );
    assert_eq!(levels(&messages).last().unwrap(), "ERROR");
}

#[test]
fn airflow_receives_the_result_in_the_last_line_and_in_the_xcom_folder() {
    let database = Database::new("airflow");
    let folder = open_tempdir();
    for (month, code) in [(1, 0), (1, 0), (2, 66)] {
        let (output, exit_code) = merged(load(&database, month).env("TAXI_XCOM_DIR", folder.path()));
        assert_eq!(exit_code, Some(code), "{output}");
        let last = output.lines().last().unwrap();
        let result: Value = serde_json::from_str(last).unwrap_or_else(|_| panic!("{output}"));
        assert_eq!(result["filename"], format!("yellow_tripdata_2021-{month:02}.csv"));
        assert_eq!(std::fs::read_to_string(folder.path().join("return.json")).unwrap(), last);
    }
}

#[test]
fn kubernetes_receives_a_short_termination_message() {
    let database = Database::new("kubernetes");
    let folder = open_tempdir();
    let file = folder.path().join("termination-log");
    let message = |month: u8, source: &str| {
        std::fs::write(&file, "previous content").unwrap();
        let mut command = database.load_as("text", "yellow", 2021, month, source);
        command.env("TAXI_TERMINATION_LOG", &file).output().unwrap();
        std::fs::read_to_string(&file).unwrap()
    };
    let source = testdata();
    assert!(message(1, source.to_str().unwrap()).starts_with("loaded yellow_tripdata_2021-01.csv"));
    let failed = message(2, source.to_str().unwrap());
    assert!(
        failed.starts_with("taxi: error: the source does not have the file ")
            && failed.contains("yellow_tripdata_2021-02.csv.gz")
    );
    // a message longer than the kubelet accepts, in multi-byte characters
    let long = message(1, &format!("/nowhere/{}", "é".repeat(4000)));
    assert!(long.len() <= 4096 && long.len() > 4000, "{} bytes", long.len());
}

fn pipes_variable(value: &Value) -> String {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(value.to_string().as_bytes()).unwrap();
    BASE64.encode(encoder.finish().unwrap())
}

#[test]
fn dagster_receives_messages_through_its_pipes() {
    let database = Database::new("dagster");
    let folder = open_tempdir();
    let messages_file = folder.path().join("messages");
    let context = json!({ "asset_keys": ["nyc/yellow"], "run_id": "r", "extras": {} });
    let context_file = folder.path().join("context");
    std::fs::write(&context_file, context.to_string()).unwrap();
    let run = |month: u8, context: &Value| -> Vec<Value> {
        let _ = std::fs::remove_file(&messages_file);
        let mut command = load(&database, month);
        command.env("DAGSTER_PIPES_CONTEXT", pipes_variable(context));
        command.env("DAGSTER_PIPES_MESSAGES", pipes_variable(&json!({ "path": messages_file })));
        let output = command.output().unwrap();
        assert_eq!(text(&output.stderr), "", "Dagster would show the lines on stderr a second time");
        let messages = std::fs::read_to_string(&messages_file).unwrap();
        messages.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let methods = |messages: &[Value]| -> Vec<String> {
        let mut methods: Vec<String> =
            messages.iter().map(|message| message["method"].as_str().unwrap().to_owned()).collect();
        methods.dedup();
        methods
    };
    for context in [json!({ "data": context }), json!({ "path": context_file })] {
        let messages = run(1, &context);
        assert_eq!(methods(&messages), ["opened", "log", "report_asset_materialization", "closed"]);
        assert!(messages.iter().all(|message| message["__dagster_pipes_version"] == "0.1"));
        let report = &messages[messages.len() - 2]["params"];
        assert_eq!(report["asset_key"], "nyc/yellow");
        assert_eq!(report["metadata"]["rows_inserted"]["type"], "int");
        // the second load inserts nothing, but the target still holds the rows; one lies outside the month
        assert_eq!(
            report["metadata"]["dagster/partition_row_count"],
            json!({ "raw_value": 3000, "type": "int" })
        );
        assert_eq!(messages.last().unwrap()["params"], json!({}));
    }
    let messages = run(2, &json!({ "data": context }));
    assert_eq!(methods(&messages), ["opened", "log", "closed"]);
    let exception = &messages.last().unwrap()["params"]["exception"];
    assert_eq!(exception["name"], "not_published");
    assert_eq!(exception.as_object().unwrap().len(), 5, "{exception}");

    let mut command = load(&database, 1);
    command.env("DAGSTER_PIPES_CONTEXT", "no base64").env("DAGSTER_PIPES_MESSAGES", "either");
    assert!(
        refusal(&command.output().unwrap(), 78)
            .contains("cannot read DAGSTER_PIPES_CONTEXT: the value is not valid base64")
    );
}

#[test]
fn a_result_that_cannot_be_written_has_its_own_exit_code() {
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
