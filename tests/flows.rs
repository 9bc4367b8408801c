//! Flows in Kestra's format: what they do, how they are checked and drawn, and what the ledger records.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::flows::{example, flow, marks, path_with_wget, run, task, write};
use crate::support::http::{Reply, Server};
use crate::support::{Database, TAXI, failure, json as parsed, real_data, refusal, taxi, testdata};

#[test]
fn every_construct_has_its_effect() {
    let database = Database::new("flow_constructs");
    let scratch = tempfile::tempdir().unwrap();
    for who in ["world", "moon"] {
        let input = format!("who={who}");
        let result = parsed(
            &run(&database, &flow("constructs.yaml"), &["--input", &input])
                .env("TMPDIR", scratch.path())
                .output()
                .unwrap(),
        );
        assert_eq!(result["status"], "warning", "a task with allowFailure has failed");
        assert_eq!(result["labels"], json!({ "from": "taxi.tests", "late": "4" }));
        let mut marks = marks(&database);
        let greeting = format!("Hello, {}!", who.to_uppercase());
        let other = if who == "world" { greeting } else { format!("other {greeting}") };
        let called = format!("called with {who} by constructs");
        let mut expected = vec![
            "one; two",
            "it's",
            &other,
            "x/p/0",
            "x/{\"q\":1}/1",
            "3/p/0",
            "3/{\"q\":1}/1",
            "below p of x",
            "below p of 3",
            &called,
            "finally",
        ];
        assert_eq!(marks.pop().as_deref(), expected.pop(), "finally is last");
        marks.sort();
        expected.sort_unstable();
        assert_eq!(marks, expected);
        assert_eq!(task(&result, "skipped")["status"], "skipped");
        assert_eq!(task(&result, "allowed")["status"], "warning");
        assert!(task(&result, "allowed")["error"].as_str().unwrap().contains("no matter"));
        assert_eq!(task(&result, "flaky")["attempts"].as_array().unwrap().len(), 3);
        assert_eq!(task(&result, "second")["outputs"]["value"], "4");
        assert_eq!(
            task(&result, "fetch")["outputs"]["outputs"],
            json!([
                { "size": 2, "rows": [
                    { "a": 1, "b": who, "large": false, "j": { "k": [1] }, "n": 1.5 },
                    { "a": 2, "b": null, "large": true, "j": { "k": [1] }, "n": 1.5 },
                ] },
                { "size": 1, "rows": [{ "one": 1 }] },
            ])
        );
        assert_eq!(task(&result, "copy_out")["outputs"]["rowCount"], 2);
        assert_eq!(task(&result, "last")["status"], "succeeded");
        assert!(!result["tasks"].as_array().unwrap().iter().any(|task| task["task_id"] == "disabled"));
        database.sql("DROP TABLE pairs");
    }
    let leftovers: Vec<_> = std::fs::read_dir(scratch.path()).unwrap().collect();
    assert!(leftovers.is_empty(), "files are left behind: {leftovers:?}");
}

#[test]
fn runs_of_flows_are_shown_with_their_tasks() {
    let database = Database::new("flow_history");
    let result = parsed(&run(&database, &flow("constructs.yaml"), &["--label", "by=me"]).output().unwrap());
    let list = |arguments: &[&str]| {
        let mut command = taxi([&["runs", "--output", "json"], arguments].concat());
        parsed(&command.env("DATABASE_URL", &database.url).output().unwrap())
    };
    let runs = list(&[])["runs"].as_array().unwrap().clone();
    let names: Vec<&str> = runs.iter().map(|run| run["pipeline"].as_str().unwrap()).collect();
    assert_eq!(names, ["taxi.tests.callee", "taxi.tests.constructs"]);
    assert_eq!(runs[0]["part_of"], result["run_id"]);
    assert_eq!((&runs[0]["status"], &runs[1]["status"]), (&json!("succeeded"), &json!("warning")));
    assert_eq!(list(&["--status", "warning"])["runs"].as_array().unwrap().len(), 1);

    let id = result["run_id"].as_str().unwrap();
    let mut show = taxi(["runs", "show", id]);
    let text = String::from_utf8(show.env("DATABASE_URL", &database.url).output().unwrap().stdout).unwrap();
    for part in [
        "by=me from=taxi.tests late=4",
        "\n   inner[x] ",
        "\n     value[p] ",
        "succeeded, 3 attempts",
        "log of first\n",
        "first of constructs",
        "attempt 1 failed",
    ] {
        assert!(text.contains(part), "missing {part:?} in\n{text}");
    }
    let mut show = taxi(["runs", "show", id, "--output", "json"]);
    let whole = parsed(&show.env("DATABASE_URL", &database.url).output().unwrap());
    assert_eq!(whole["tasks"].as_array().unwrap().len(), result["tasks"].as_array().unwrap().len());
    assert_eq!(task(&whole, "greet")["outputs"]["value"], "Hello, WORLD!");
}

#[test]
fn a_flow_of_shell_and_sql_loads_the_same_rows_as_taxi_load() {
    let folder = tempfile::tempdir().unwrap();
    let path = path_with_wget(folder.path(), &testdata());
    let by_load = Database::new("flow_reference_ours");
    let by_flow = Database::new("flow_reference_theirs");
    let source = testdata();
    for (taxi_type, year, month) in [("green", 2020, 3), ("yellow", 2021, 1)] {
        parsed(&by_load.load(taxi_type, year, month, source.to_str().unwrap()).output().unwrap());
        let (input, date) = (format!("taxi={taxi_type}"), format!("{year}-{month:02}-01"));
        let arguments = ["--input", &input, "--trigger-date", &date];
        let (table, file) =
            (format!("public.{taxi_type}_tripdata"), format!("{taxi_type}_tripdata_{year}-{month:02}.csv"));
        for _ in 0..2 {
            let result = parsed(
                &run(&by_flow, &example("wget_copy_merge.yaml"), &arguments)
                    .env("PATH", &path)
                    .output()
                    .unwrap(),
            );
            assert_eq!(result["labels"], json!({ "kind": "example", "file": file }));
            assert_eq!(by_flow.digest(&table, &file), by_load.digest(&table, &file), "{file}");
        }
    }
    // a missing file is an error, not an empty month
    let arguments = ["--trigger-date", "2019-01-01"];
    let output =
        run(&by_flow, &example("wget_copy_merge.yaml"), &arguments).env("PATH", &path).output().unwrap();
    assert!(refusal(&output, 71).contains("the task extract failed"));
}

#[test]
fn real_months_loaded_by_a_flow_have_the_known_digests() {
    let Some(source) = real_data() else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = path_with_wget(folder.path(), &source);
    let database = Database::new("flow_real");
    let oracle = std::fs::read_to_string(source.join("oracle.tsv")).unwrap();
    for file in ["green_tripdata_2020-04.csv", "yellow_tripdata_2019-07.csv"] {
        let expected = oracle.lines().find(|line| line.contains(file)).unwrap();
        let (taxi_type, month) = file.trim_end_matches(".csv").split_once("_tripdata_").unwrap();
        let (input, date) = (format!("taxi={taxi_type}"), format!("{month}-01"));
        for _ in 0..2 {
            let arguments = ["--input", &input, "--trigger-date", &date];
            parsed(
                &run(&database, &example("wget_copy_merge.yaml"), &arguments)
                    .env("PATH", &path)
                    .output()
                    .unwrap(),
            );
            for value in database.digest(&format!("public.{taxi_type}_tripdata"), file) {
                assert!(
                    expected.split('\t').any(|known| known == value),
                    "{file}: {value} is not in {expected}"
                );
            }
        }
    }
}

#[test]
fn a_backfill_runs_the_dates_of_a_trigger_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: dated\nnamespace: taxi.tests\nconcurrency: {limit: 2}\ninputs: [{id: taxi, type: STRING}, {id: month, type: STRING}]\ntasks:\n  \
         - id: create\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    sql: CREATE TABLE IF NOT EXISTS dates (mark text, month text)\n  \
         - id: insert\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    sql: INSERT INTO dates VALUES ('{{ inputs.taxi }} {{ trigger.date }}', '{{ inputs.month }}')\n\
         triggers:\n  - id: monthly\n    type: io.kestra.plugin.core.trigger.Schedule\n    cron: '30 9 1 * *'\n    timezone: Europe/Paris\n    inputs: {taxi: green, month: \"{{ trigger.date | date('yyyy-MM') }}\", absent: x}\n",
    );
    let database = Database::new("flow_backfill");
    let backfill = |arguments: &[&str]| {
        let mut command = taxi(["backfill", "--output", "json", "--trigger", "monthly"]);
        command.arg(&path).args(arguments).env("DATABASE_URL", &database.url);
        command.output().unwrap()
    };
    let range = ["--from", "2020-03-01", "--to", "2020-06-01"];
    let planned = parsed(&backfill(&[&range[..], &["--plan"]].concat()));
    let dates = [
        "2020-03-01T09:30:00+01:00",
        "2020-04-01T09:30:00+02:00",
        "2020-05-01T09:30:00+02:00",
        "2020-06-01T09:30:00+02:00",
    ];
    assert_eq!(planned["dates"], json!(dates));
    let result = parsed(&backfill(&range));
    let of_runs: Vec<&str> =
        result["runs"].as_array().unwrap().iter().map(|run| run["trigger_date"].as_str().unwrap()).collect();
    assert_eq!(of_runs, dates);
    let marks: Vec<Vec<String>> = database.sql("SELECT mark FROM dates");
    assert_eq!(marks, dates.map(|date| vec![format!("green {date}")]));
    // dates are in the trigger's time zone
    let early = ["--from", "2020-03-01", "--to", "2020-03-01", "--plan"];
    let planned = backfill(&early);
    assert_eq!(parsed(&planned)["dates"], json!([dates[0]]));
    // a range can be given in months, and an index selects one of its dates
    parsed(&backfill(&["--from", "2021-01", "--to", "2021-12", "--index", "11", "--input", "taxi=yellow"]));
    assert_eq!(
        database.value("SELECT mark FROM dates WHERE mark LIKE 'yellow%'"),
        "yellow 2021-12-01T09:30:00+01:00"
    );
    assert!(
        refusal(&backfill(&["--from", "2020-03-02", "--to", "2020-03-31"]), 64).contains("has no dates from")
    );

    // only the dates that have no successful run with these inputs
    let missing = |more: &[&str]| {
        parsed(&backfill(&[&["--from", "2020-03-01", "--to", "2020-07-31", "--missing"], more].concat()))
    };
    let july = "2020-07-01T09:30:00+02:00";
    assert_eq!(missing(&["--plan"])["dates"], json!([july]));
    assert_eq!(missing(&["--plan", "--input", "taxi=yellow"])["dates"].as_array().unwrap().len(), 5);
    let result = missing(&[]);
    assert_eq!((&result["status"], &result["runs"][0]["trigger_date"]), (&json!("succeeded"), &json!(july)));
    assert_eq!((&missing(&[])["status"], &missing(&[])["runs"]), (&json!("skipped"), &json!([])));
    database.sql("UPDATE taxi_etl.runs SET status = 'failed' WHERE trigger_date < '2020-03-15'");
    assert_eq!(missing(&["--plan"])["dates"], json!([dates[0]]));

    let unknown = taxi([
        "backfill",
        path.to_str().unwrap(),
        "--trigger",
        "daily",
        "--from",
        "2020-01",
        "--to",
        "2020-02",
    ])
    .output();
    let error = refusal(&unknown.unwrap(), 64);
    assert!(
        error.contains(
            "no trigger with the id \"daily\" in the flow taxi.tests.dated; known triggers: monthly"
        ),
        "{error}"
    );
    let next = parsed(&taxi(["triggers", "--output", "json", path.to_str().unwrap()]).output().unwrap());
    assert_eq!(next["triggers"][0]["dates"].as_array().unwrap().len(), 5);
    assert_eq!(next["triggers"][0]["crontab"][0], "CRON_TZ=Europe/Paris");
    // run the crontab line as cron would
    let line = next["triggers"][0]["crontab"][1].as_str().unwrap();
    let command = line.strip_prefix("30 9 1 * * taxi ").unwrap();
    let mut cron = Command::new("sh");
    cron.args(["-c", &format!("'{TAXI}' {command}")]).env("DATABASE_URL", &database.url);
    let output = cron.output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(database.value("SELECT count(*) FROM dates WHERE mark LIKE 'green%T09:30:00+0%'"), "6");
    let of_months =
        database.value("SELECT bool_and(month = substr(split_part(mark, ' ', 2), 1, 7)) FROM dates");
    assert_eq!(of_months, "t", "each run has the month of its date");
}

#[test]
fn inputs_are_checked_before_anything_runs() {
    let database = Database::new("flow_inputs");
    for (arguments, expected) in [
        (&["--input", "whom=x"][..], "no input with the id \"whom\"; known inputs: who, count, maybe"),
        (&["--input", "count=ten"], "invalid value \"ten\" for the input \"count\": expected a whole number"),
        (&["--input", "count=10"], "invalid value \"10\" for the input \"count\": expected at most 9"),
        (&["--input", "count"], "expected NAME=VALUE"),
        (&["--trigger-date", "soon"], "expected a date like 2020-03-01"),
        (
            &["--trigger", "daily"],
            "no trigger with the id \"daily\" in the flow taxi.tests.constructs; known triggers: none",
        ),
    ] {
        let error = refusal(&run(&database, &flow("constructs.yaml"), arguments).output().unwrap(), 64);
        assert!(error.contains(expected), "{error}");
    }
    let error = refusal(&run(&database, &flow("callee.yaml"), &[]).output().unwrap(), 64);
    assert!(error.contains("missing value for the required input \"what\""), "{error}");
    let error = refusal(&run(&database, &flow("nowhere.yaml"), &[]).output().unwrap(), 78);
    assert!(error.contains("cannot read") && error.contains("nowhere.yaml"), "{error}");
    assert_eq!(database.value("SELECT to_regclass('taxi_etl.runs') IS NULL"), "t");
}

#[test]
fn flows_are_validated_and_drawn_without_running() {
    let folder = tempfile::tempdir().unwrap();
    let invalid = write(&folder, "id: a\nnamespace: b\ntasks: [{id: t, type: none}]\n");
    let valid = flow("constructs.yaml");
    let output = taxi(["validate", "--output", "json"]).arg(&valid).arg(&invalid).output().unwrap();
    let stderr = refusal(&output, 78);
    assert!(stderr.contains("flow.yaml:3:23: unsupported task type \"none\""), "{stderr}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["files"][0]["flow"], "taxi.tests.constructs");
    assert_eq!(result["files"][1]["faults"][0]["line"], 3);
    assert_eq!(result["files"][1]["faults"][0]["column"], 23);
    let text = taxi(["validate"]).arg(&valid).output().unwrap();
    assert!(text.status.success());
    assert!(
        String::from_utf8_lossy(&text.stdout).ends_with("constructs.yaml: taxi.tests.constructs is valid\n")
    );
    let drawing = parsed(&taxi(["show", "--output", "json"]).arg(&valid).output().unwrap());
    let drawing =
        format!("{}\n\n{}\n", drawing["tree"].as_str().unwrap(), drawing["mermaid"].as_str().unwrap());
    insta::assert_snapshot!(drawing);
}

#[test]
fn a_download_is_available_to_later_tasks() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::answering(|request| match request.header("x-key") {
        Some("open sesame") => Reply::ok(b"a,b\n1,x\n".to_vec()),
        _ => Reply::status(404),
    });
    let path = write(
        &folder,
        "id: fetch\nnamespace: taxi.tests\ninputs: [{id: address, type: STRING}, {id: key, type: STRING}]\ntasks:\n  \
         - id: table\n    type: io.kestra.plugin.jdbc.postgresql.Query\n    sql: CREATE TABLE IF NOT EXISTS fetched (a int, b text)\n  \
         - id: download\n    type: io.kestra.plugin.core.http.Download\n    uri: '{{ inputs.address }}/pairs.csv'\n    headers: {X-Key: '{{ inputs.key }}'}\n  \
         - id: copy\n    type: io.kestra.plugin.jdbc.postgresql.CopyIn\n    from: '{{ outputs.download.uri }}'\n    table: fetched\n    format: CSV\n    header: true\n",
    );
    let database = Database::new("flow_download");
    let address = format!("address={}", server.address);
    let result = parsed(&run(&database, &path, &["-i", &address, "-i", "key=open sesame"]).output().unwrap());
    assert_eq!(task(&result, "download")["outputs"]["length"], 8);
    assert_eq!(task(&result, "copy")["outputs"]["rowCount"], 1);
    assert_eq!(database.sql("SELECT * FROM fetched"), [["1", "x"]]);
    let refused = run(&database, &path, &["-i", &address, "-i", "key=wrong"]).output().unwrap();
    assert!(refusal(&refused, 66).contains("pairs.csv returned 404"));
}

#[test]
fn expressions_have_the_same_values_as_in_kestra() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("{{ outputs.first.value ?? outputs.never.value }}", "one"),
        ("{{ outputs.never.value ?? outputs.nor.value ?? 'z' }}", "z"),
        ("{{ outputs.first.value ?? secret('NOT_THERE') }}", "one"),
        ("{{ render(vars.a) }}", "leaf"),
        ("{{ render(vars.a, recursive=false) }}", "{{ vars.c }}"),
        ("{{ 7 / 2 }} {{ 7.0 / 2 }} {{ 'a' + 1 }} {{ 1 + 2 }}", "3 3.5 a1 3"),
        ("{% for e in vars.map %}{{ loop.index }}{{ e.key }}{{ e.value }}{% endfor %}", "0x11y2"),
        ("{{ 'a.b..' | split('\\\\.') | json }}", "[\"a\",\"b\"]"),
        ("{{ vars.map | json }}{{ true }}{{ null }}", "{\"x\":1,\"y\":2}true"),
        ("{{ 'x' == 'x' ? 'yes' : 'no' }}", "yes"),
    ];
    let mut text = "id: expressions\nnamespace: taxi.tests\nvariables: {a: '{{ vars.b }}', b: '{{ vars.c }}', c: leaf, map: {x: 1, y: 2}}\n\
                    tasks:\n  - {id: first, type: io.kestra.plugin.core.debug.Return, format: one}\n"
        .to_owned();
    for (index, (expression, _)) in cases.iter().enumerate() {
        text += &format!(
            "  - id: t{index}\n    type: io.kestra.plugin.core.debug.Return\n    format: \"{expression}\"\n"
        );
    }
    let path = write(&folder, &text);
    let database = Database::new("flow_expressions");
    let result = parsed(&run(&database, &path, &[]).output().unwrap());
    for (index, (expression, expected)) in cases.iter().enumerate() {
        assert_eq!(task(&result, &format!("t{index}"))["outputs"]["value"], *expected, "{expression}");
    }
    // a nested loop that is too long fails
    let endless = "id: e\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n    \
                   message: '{% for i in 1..100000 %}{% for j in 1..100000 %}{% endfor %}{% endfor %}'\n";
    let error = refusal(&run(&database, &write(&folder, endless), &[]).output().unwrap(), 78);
    assert!(error.contains("flow.yaml:6:14: cannot evaluate"), "{error}");
}

#[test]
fn the_streaming_load_is_a_task_of_a_flow() {
    let folder = tempfile::tempdir().unwrap();
    let source = testdata();
    let path = write(
        &folder,
        &format!(
            "id: both\nnamespace: taxi.tests\ntasks:\n  - id: months\n    type: io.kestra.plugin.core.flow.ForEach\n    \
             concurrencyLimit: 2\n    values: ['{{\"taxi\": \"green\", \"year\": \"2020\", \"month\": \"03\"}}', \
             '{{\"taxi\": \"yellow\", \"year\": \"2021\", \"month\": \"01\"}}']\n    tasks:\n      - id: load\n        \
             type: io.kestra.plugin.core.flow.Subflow\n        namespace: taxi\n        flowId: postgres_taxi\n        inputs:\n          \
             source: {}\n          taxi: \"{{{{ fromJson(taskrun.value).taxi }}}}\"\n          year: \"{{{{ fromJson(taskrun.value).year }}}}\"\n          \
             month: \"{{{{ fromJson(taskrun.value).month }}}}\"\n",
            source.display()
        ),
    );
    let (by_flow, by_load) = (Database::new("flow_load_ours"), Database::new("flow_load_theirs"));
    for _ in 0..2 {
        parsed(&run(&by_flow, &path, &[]).output().unwrap());
    }
    for (taxi_type, year, month) in [("green", 2020, 3), ("yellow", 2021, 1)] {
        parsed(&by_load.load(taxi_type, year, month, source.to_str().unwrap()).output().unwrap());
        let (table, file) =
            (format!("public.{taxi_type}_tripdata"), format!("{taxi_type}_tripdata_{year}-{month:02}.csv"));
        assert_eq!(by_flow.digest(&table, &file), by_load.digest(&table, &file));
    }
    // the second time nothing is loaded, and no run is recorded for it
    let loads = "SELECT count(*) FROM taxi_etl.runs AS load JOIN taxi_etl.runs AS flow ON load.part_of = flow.run_id \
                 WHERE load.filename IS NOT NULL AND flow.pipeline = 'taxi.postgres_taxi'";
    assert_eq!(by_flow.value(loads), "2");
    let outputs = "SELECT string_agg(DISTINCT outputs ->> 'status', ' ') FROM taxi_etl.task_runs WHERE task_id = 'load' AND outputs ? 'rows_read'";
    assert_eq!(by_flow.value(outputs), "loaded skipped");
}

#[test]
fn a_failed_expression_is_reported_with_its_position() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: a\nnamespace: b\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n    message: '{{ trigger.date }}'\n",
    );
    let database = Database::new("flow_places");
    let output = run(&database, &path, &[]).output().unwrap();
    let error = refusal(&output, 78);
    assert!(error.contains("flow.yaml:6:14: cannot evaluate \"{{ trigger.date }}\""), "{error}");
    assert!(error.contains("\n 6 |     message: '{{ trigger.date }}'\n"), "{error}");
    assert!(error.contains("--trigger-date"), "{error}");
    assert_eq!(failure(&output)["kind"], "configuration");
}
