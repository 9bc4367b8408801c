//! The task types of a flow that need no other program: HTTP, keys, files, tasks that run other tasks; and the
//! triggers.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::flows::{flow, marks, run, task, write};
use crate::support::http::{Reply, Request, Server};
use crate::support::{Database, json as parsed, refusal, taxi};

fn outputs<'a>(result: &'a Value, id: &str) -> &'a Value {
    &task(result, id)["outputs"]
}

#[test]
fn requests_have_what_the_flow_says_and_no_other_server_gets_the_credentials() {
    let other = Server::new(|_| Reply::ok(b"from elsewhere".to_vec()));
    let elsewhere = format!("{}/landed", other.address);
    let server = Server::answering(move |request| match request.path.split('?').next().unwrap() {
        "/echo" => {
            Reply::ok(format!("{} {}", request.method, request.body).into_bytes()).header("X-Seen", "yes")
        }
        "/elsewhere" => Reply::status(302).header("Location", &elsewhere),
        "/empty" => Reply::ok(Vec::new()),
        "/large" => Reply::ok(vec![b'x'; 11 << 20]),
        _ => Reply::status(404),
    });
    let database = Database::new("flow_requests");
    let address = format!("address={}", server.address);
    let arguments = ["-i", &address, "-i", "token=open-sesame"];
    let output = run(&database, &flow("requests.yaml"), &arguments).output().unwrap();
    assert!(!String::from_utf8_lossy(&output.stdout).contains("Bearer open-sesame"));
    let result = parsed(&output);
    let post = outputs(&result, "post");
    assert_eq!((&post["code"], &post["body"]), (&json!(200), &json!("POST {\"taxi\": \"green\"}")));
    assert_eq!(post["headers"]["X-Seen"], json!(["yes"]));
    assert_eq!(outputs(&result, "form")["body"], "PUT name=x+%26+y");
    let parts = outputs(&result, "parts")["body"].as_str().unwrap().strip_prefix("POST ").unwrap();
    let boundary = parts.lines().next().unwrap();
    let expected = [
        "\r\nContent-Disposition: form-data; name=\"zone\"\r\n\r\na & b\r\n",
        "\r\nContent-Disposition: form-data; name=\"upload\"; filename=\"rows %221%22.csv\"\r\n\
         Content-Type: application/octet-stream\r\n\r\nrows\r\nof a file\r\n",
        "--\r\n",
    ];
    assert_eq!(parts.split(boundary).skip(1).collect::<Vec<_>>(), expected);
    assert_eq!(outputs(&result, "allowed")["code"], 404);
    assert_eq!(outputs(&result, "listed")["code"], 404);
    assert_eq!(outputs(&result, "unfollowed")["code"], 302);
    assert_eq!(outputs(&result, "followed")["body"], "from elsewhere");
    assert_eq!(outputs(&result, "empty")["length"], 0);
    assert_eq!(outputs(&result, "size")["size"], "POST rows please".len());

    let (requests, _) = server.take_traffic();
    let header = |request: &Request, name| request.header(name).map(str::to_owned);
    assert_eq!(header(&requests[0], "X-Key").as_deref(), Some("open-sesame"));
    assert_eq!(header(&requests[0], "Authorization").as_deref(), Some("Bearer open-sesame"));
    assert_eq!(header(&requests[0], "Content-Type").as_deref(), Some("application/json"));
    let parts_type = format!("multipart/form-data; boundary={}", boundary.strip_prefix("--").unwrap());
    assert_eq!(header(&requests[2], "Content-Type"), Some(parts_type));
    assert_eq!(requests[1].path, "/echo?zone=a+b");
    assert_eq!(header(&requests[1], "Authorization").as_deref(), Some("Basic YW5uOm9wZW4tc2VzYW1l"));
    let (redirected, _) = other.take_traffic();
    assert_eq!(redirected.len(), 1);
    for name in ["X-Key", "Authorization"] {
        assert_eq!(header(&redirected[0], name), None, "{name} went to another server");
    }

    let folder = tempfile::tempdir().unwrap();
    for (kind, path, code, reason) in [
        ("Request", "missing", 66, "returned 404"),
        ("Request", "large", 65, "more than 10485760 bytes"),
        ("Download", "empty", 65, "returned an empty response"),
    ] {
        let text = format!(
            "id: refused\nnamespace: taxi.tests\ntasks: [{{id: a, type: io.kestra.plugin.core.http.{kind}, uri: '{}/{path}'}}]\n",
            server.address
        );
        let output = run(&database, &write(&folder, &text), &[]).output().unwrap();
        assert!(refusal(&output, code).contains(reason), "{path}");
    }
}

#[test]
fn keys_outlive_a_run_until_they_expire_or_are_deleted() {
    let database = Database::new("flow_keys");
    for run_number in 1..=2 {
        let result = parsed(&run(&database, &flow("keys.yaml"), &[]).output().unwrap());
        let before = if run_number == 1 { "none" } else { "1" };
        assert_eq!(outputs(&result, "before")["value"], before);
        assert_eq!(
            outputs(&result, "seen")["values"],
            json!({
                "runs": run_number.to_string(),
                "zone": "Bronx",
                "short": "expired",
                "nested": [{ "once": "first" }, 7],
            })
        );
        assert_eq!(outputs(&result, "keys")["keys"], json!(["once"]));
        assert_eq!(outputs(&result, "get")["value"], json!({ "names": ["Bronx"] }));
        assert_eq!(outputs(&result, "absent")["value"], Value::Null);
        assert_eq!(outputs(&result, "purge")["size"], 1, "only the expired key");
        assert_eq!(outputs(&result, "delete")["deleted"], true);
        // the second run must not replace the value
        let once = if run_number == 1 { "succeeded" } else { "warning" };
        assert_eq!(task(&result, "once")["status"], once);
    }
    assert_eq!(
        database.sql("SELECT key, kind, value::text, description FROM taxi_etl.key_values ORDER BY key"),
        [["once", "STRING", "\"first\"", ""], ["runs", "NUMBER", "2", "How often this flow has run."]]
    );
    let folder = tempfile::tempdir().unwrap();
    let text = "id: refused\nnamespace: x\ntasks: [{id: a, type: io.kestra.plugin.core.log.Log, message: \"{{ kv('nothing') }}\"}]\n";
    let output = run(&database, &write(&folder, text), &[]).output().unwrap();
    assert!(refusal(&output, 78).contains("the key \"nothing\" does not exist in the namespace \"x\""));
}

#[test]
fn rows_go_from_files_to_tables_and_back() {
    let database = Database::new("flow_files");
    let result = parsed(&run(&database, &flow("files.yaml"), &[]).output().unwrap());
    assert_eq!(*outputs(&result, "batch"), json!({ "rowCount": 2, "updatedCount": 2 }));
    assert_eq!(outputs(&result, "copy")["rowCount"], 3);
    let rows = [
        ["0", "2020-03-01", "by afterSQL", "0.50"],
        ["1", "2020-03-02", "a; b", ""],
        ["2", "2020-03-03", "", ""],
        ["3", "2020-03-04", "null", "0.00"],
    ];
    assert_eq!(
        database.sql("SELECT id, day, CASE WHEN id = 3 AND note IS NULL THEN 'null' ELSE note END, tip FROM copies ORDER BY id"),
        rows
    );
    assert_eq!(
        outputs(&result, "one")["row"],
        json!({ "copies": 3, "at": "2020-07-01 02:00:00+02" }),
        "the first row, in the session's time zone"
    );
    assert_eq!(outputs(&result, "split")["uris"].as_array().unwrap().len(), 2);
    assert_eq!(outputs(&result, "delete")["deleted"], true);
    let show = taxi(["runs", "show", result["run_id"].as_str().unwrap()])
        .env("DATABASE_URL", &database.url)
        .output()
        .unwrap();
    let log = String::from_utf8(show.stdout).unwrap();
    for line in [
        "id,day,note,tip",
        "0,2020-03-01,by afterSQL,0.5",
        "1,2020-03-02,a; b,",
        "{\"id\":2,",
        "--",
        "{\"id\":1,",
    ] {
        assert!(log.contains(line), "missing {line:?} in\n{log}");
    }
}

#[test]
fn tasks_that_run_others_do_so_in_their_order() {
    let database = Database::new("flow_steering");
    let output = run(&database, &flow("steering.yaml"), &["--label", "by=me"]).output().unwrap();
    let result = parsed(&output);
    assert_eq!(result["status"], "warning", "the tasks of AllowFailure failed");
    assert_eq!(outputs(&result, "last")["value"], "aab!");
    assert_eq!(outputs(&result, "defaulted")["value"], "by default");
    let note = "io.kestra.core.tasks.debugs.Return is an older name of io.kestra.plugin.core.debug.Return";
    assert!(String::from_utf8_lossy(&output.stderr).contains(note));
    assert_eq!(task(&result, "forgiving")["status"], "warning");
    assert!(task(&result, "wrong")["error"].as_str().unwrap().contains("{{ 1 == 2 }}"));
    assert!(!result["tasks"].as_array().unwrap().iter().any(|task| task["task_id"] == "never"));
    assert_eq!(task(&result, "of_mapping")["value"], r#"{"taxi":"green","months":[1,"2"]}"#);
    assert_eq!(outputs(&result, "of_mapping")["value"], "1+2");
    assert_eq!(outputs(&result, "bash")["vars"]["shell"], "older");
    assert_eq!(outputs(&result, "for_each_item")["numberOfBatches"], 2);
    assert_eq!(marks(&database), ["each x", "each y", "batch 0: 2", "batch 1: 1"]);
    let labels =
        database.sql("SELECT labels->>'by' FROM taxi_etl.runs WHERE pipeline = 'taxi.tests.counted'");
    assert_eq!(labels, [["me"], ["me"]]);

    let folder = tempfile::tempdir().unwrap();
    for (task, reason) in [
        ("type: io.kestra.plugin.core.flow.Pause", "waits until a person resumes it"),
        (
            "type: io.kestra.plugin.core.flow.Pause\n    onResume: [{id: reason, type: STRING}]",
            "`onResume` asks a person for values",
        ),
        (
            "type: io.kestra.plugin.core.flow.Pause\n    delay: PT1S\n    errors: [{id: a, type: x}]",
            "put it into a Sequential task with these `errors`",
        ),
        (
            "type: io.kestra.plugin.core.flow.Dag\n    tasks: [{task: {id: a, type: io.kestra.plugin.core.debug.Return}, dependsOn: [b]}, {task: {id: b, type: io.kestra.plugin.core.debug.Return}, dependsOn: [a]}]",
            "depend on each other in a circle: a, b",
        ),
    ] {
        let path = write(&folder, &format!("id: a\nnamespace: b\ntasks:\n  - id: t\n    {task}\n"));
        let stderr = refusal(&taxi(["validate"]).arg(path).output().unwrap(), 78);
        assert!(stderr.contains(reason) && stderr.lines().count() < 6, "{stderr}");
    }
}

#[test]
fn tables_that_another_session_creates_at_the_same_time_do_not_fail_a_task() {
    let database = Database::new("flow_creation");
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: create\nnamespace: taxi.tests\ntasks:\n  - id: both\n    type: io.kestra.plugin.core.flow.Parallel\n    tasks:\n      \
         - id: query\n        type: io.kestra.plugin.jdbc.postgresql.Query\n        sql: CREATE TABLE IF NOT EXISTS trips (id int)\n      \
         - id: queries\n        type: io.kestra.plugin.jdbc.postgresql.Queries\n        sql: CREATE TABLE IF NOT EXISTS trips (id int); INSERT INTO trips VALUES (1);\n",
    );
    // both tasks wait for this session, and then the table exists, although they have seen none
    database.sql("BEGIN; CREATE TABLE trips (id int)");
    let child = run(&database, &path, &[]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let waiting = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock' AND query LIKE 'CREATE TABLE%'",
        database.name()
    );
    let observer = Database::connect(database.url.clone(), String::new());
    let began = Instant::now();
    while observer.value(&waiting) != "2" {
        assert!(began.elapsed() < Duration::from_secs(60), "the tasks do not wait");
        std::thread::sleep(Duration::from_millis(20));
    }
    database.sql("COMMIT");
    let result = parsed(&child.wait_with_output().unwrap());
    assert_eq!(result["status"], "succeeded");
    assert_eq!(database.value("SELECT count(*) FROM trips"), "1");
}

#[test]
fn conditions_select_the_dates_of_a_trigger_and_nothing_waits_for_events() {
    let path = flow("triggers.yaml");
    let mut plan = taxi(["backfill", "--plan", "--output", "json", "--trigger", "workdays"]);
    plan.arg(&path).args(["--from", "2024-06-06", "--to", "2024-06-11"]);
    let planned = parsed(&plan.output().unwrap());
    let days = ["06-06", "06-07", "06-10", "06-11"].map(|day| format!("2024-{day}T09:00:00+02:00"));
    assert_eq!(planned["dates"], json!(days));

    let listed = taxi(["triggers"]).arg(&path).output().unwrap();
    let text = String::from_utf8(listed.stdout).unwrap();
    for part in [
        "# cron does not support conditions",
        "after_another, io.kestra.plugin.core.trigger.Flow\n  waits for an event: taxi listens to none",
        "rows (disabled), io.kestra.plugin.jdbc.postgresql.Trigger",
    ] {
        assert!(text.contains(part), "missing {part:?} in\n{text}");
    }

    let database = Database::new("flow_triggers");
    let output = run(&database, &path, &["--trigger", "workdays"]).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("nothing listens to the events of the trigger after_another"), "{stderr}");
    assert!(stderr.contains("taxi has no calendar of public holidays"), "{stderr}");
    assert!(!stderr.contains("the trigger rows"), "{stderr}");
    let result = parsed(&output);
    let date = result["trigger_date"].as_str().unwrap();
    assert_eq!(result["labels"]["by"], date[..10]);

    let refused = run(&database, &path, &["--trigger", "after_another"]).output().unwrap();
    assert!(refusal(&refused, 64).contains("the trigger after_another waits for an event and has no dates"));
}
