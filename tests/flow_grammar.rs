//! The grammar around the tasks of a flow: inputs, outputs, checks, limits, notes, and how faults are printed.

use std::fs;
use std::io::Write as _;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::flows::{flow, run, task, write};
use crate::support::{Database, json as parsed, refusal, taxi};

#[test]
fn a_flow_has_inputs_of_all_kinds_outputs_and_tasks_after_its_end() {
    let database = Database::new("flow_grammar");
    let folder = tempfile::tempdir().unwrap();
    let (file, inputs) = (folder.path().join("note.txt"), folder.path().join("inputs.yaml"));
    fs::write(&file, "from a file\n").unwrap();
    let values = "months: [3, 4]\nsettings: {prefix: m}\ntoken: not-this-one\nkind: null\n";
    fs::write(&inputs, values).unwrap();
    let file = format!("file={}", file.display());
    let arguments =
        ["--inputs-file", inputs.to_str().unwrap(), "--input", &file, "--input", "token=tok-5ecret"];
    let output = run(&database, &flow("grammar.yaml"), &arguments).output().unwrap();
    let result = parsed(&output);
    assert_eq!(result["status"], "succeeded", "a warning is allowed");
    assert_eq!(result["labels"], json!({ "kind": "yellow" }), "the first value, since the file gives none");
    assert_eq!(result["inputs"]["token"], "******");
    assert_eq!(result["inputs"]["months"], "[3,4]");
    assert_eq!(task(&result, "read")["outputs"]["value"], "from a file/id: callee/12");
    assert_eq!(task(&result, "after")["outputs"]["value"], "after SUCCESS");
    assert!(!result["tasks"].as_array().unwrap().iter().any(|task| task["task_id"] == "on_failure"));
    let expected = json!({
        "first": "m3",
        "count": 2,
        "all": { "since": "2020-02-29", "echo": "m3!", "errors": "allowed" },
        "token": "******",
    });
    assert_eq!(result["outputs"], expected);
    let (stderr, stored) = (
        String::from_utf8(output.stderr).unwrap(),
        database.value("SELECT string_agg(r::text, ' ') FROM taxi_etl.runs r"),
    );
    for text in [&stderr, &stored, &result.to_string()] {
        assert!(!text.contains("5ecret") && !text.contains("5ECRET"), "{text}");
        // base64 of the upper case, and the SHA-256
        assert!(!text.contains("VE9LLTVFQ1JFV") && !text.contains("dG9rLTVlY3JldA"), "{text}");
    }
    assert!(stderr.contains("token ******"), "{stderr}");
    assert!(!stderr.contains("quiet: token"), "logLevel leaves out the message\n{stderr}");
    assert!(
        stderr.matches("note: `revision` has no effect: the file is the only revision").count() == 1,
        "{stderr}"
    );
    assert!(stderr.contains("grammar.yaml:41:5: note: `logToFile` has no effect"), "{stderr}");

    for (given, expected) in [
        (
            &["--input", "months=[]"][..],
            "a check of the flow does not hold: give at least one month for yellow",
        ),
        (&["--input", "months=[\"x\"]"], "for the input \"months\": expected a whole number as an item"),
        (&["--input", "file=/nowhere"], "for the input \"file\": the file does not exist"),
        (&["--input", "kind=green"], "missing value for the required input \"extra\""),
    ] {
        let output = run(&database, &flow("grammar.yaml"), &[&arguments, given].concat()).output().unwrap();
        let error = refusal(&output, 64);
        assert!(error.contains(expected) && !error.contains("5ecret"), "{error}");
    }
}

#[test]
fn a_run_that_exceeds_its_time_limit_fails_and_handles_the_failure() {
    let database = Database::new("flow_sla");
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: slow\nnamespace: taxi.tests\nsla:\n  - {id: quick, type: MAX_DURATION, duration: PT0.2S, behavior: FAIL, labels: {late: 'yes'}}\n\
         tasks:\n  - {id: sleep, type: io.kestra.plugin.core.flow.Sleep, duration: PT10M}\n\
         errors:\n  - {id: handled, type: io.kestra.plugin.core.debug.Return, format: '{{ errorLogs()[0].taskId }}'}\n\
         listeners:\n  - tasks: [{id: after, type: io.kestra.plugin.core.debug.Return, format: '{{ execution.state }}'}]\n    \
         conditions: [{type: io.kestra.plugin.core.condition.ExecutionStatus, in: [FAILED]}]\n",
    );
    let output = run(&database, &path, &[]).output().unwrap();
    let error = refusal(&output, 72);
    assert!(error.contains("the run exceeded the maximum duration of 200ms (sla quick)"), "{error}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["labels"], json!({ "late": "yes" }));
    assert_eq!(task(&result, "handled")["outputs"]["value"], "sleep");
    assert_eq!(task(&result, "after")["outputs"]["value"], "FAILED");
}

#[test]
fn notes_are_no_faults_unless_they_must_not_be() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: a\nnamespace: b\ntenantId: main\ntasks:\n  - id: t\n    type: io.kestra.plugin.core.log.Log\n    \
         message: '{{ inputs.x ?? vars.y }}'\n",
    );
    let validate = |arguments: &[&str]| taxi(["validate"]).args(arguments).arg(&path).output().unwrap();
    let plain = validate(&[]);
    let text = String::from_utf8(plain.stdout.clone()).unwrap();
    assert!(plain.status.success());
    for note in [
        "flow.yaml:3:1: note: `tenantId` has no effect: taxi has no tenants\n",
        "flow.yaml:7:30: note: no variable `y`\n",
        "flow.yaml: b.a is valid\n",
    ] {
        assert!(text.contains(note), "{text}");
    }
    let strict = validate(&["--strict", "--output", "json"]);
    let error = refusal(&strict, 78);
    assert!(error.contains("2 notes, which --strict does not allow"), "{error}");
    let result: Value = serde_json::from_slice(&strict.stdout).unwrap();
    assert_eq!(
        result["files"][0]["notes"][1],
        json!({ "line": 7, "column": 30, "message": "no variable `y`" })
    );

    fs::write(
        &path,
        "id: a\nnamespace: b\ntenantId: main\ntasks:\n  - {id: t, type: 'io.kestra.plugin.gcp.gcs.Upload'}\n",
    )
    .unwrap();
    let github = validate(&["--output", "github"]);
    assert_eq!(github.status.code(), Some(78));
    let name = path.display();
    assert_eq!(
        String::from_utf8(github.stdout).unwrap(),
        format!(
            "::error file={name},line=5,col=19::unsupported task type \"io.kestra.plugin.gcp.gcs.Upload\": it needs Google Cloud (plugin gcp)\n\
             ::notice file={name},line=3,col=1::`tenantId` has no effect: taxi has no tenants\n"
        )
    );
}

#[test]
fn the_tables_of_the_grammar_are_printed() {
    let expressions = parsed(&taxi(["schema", "--expressions", "--output", "json"]).output().unwrap());
    let upper = expressions.as_array().unwrap().iter().find(|entry| entry["name"] == "upper").unwrap();
    assert_eq!((&upper["role"], &upper["result"]), (&json!("filter"), &json!("GREEN")));
    let properties = parsed(&taxi(["schema", "--properties", "--output", "json"]).output().unwrap());
    let row = |owner: &str, property: &str| {
        let rows = properties.as_array().unwrap();
        rows.iter().find(|row| row["type"] == owner && row["property"] == property).cloned().unwrap()
    };
    assert_eq!(row("flow", "`revision`")["supported"], "no effect");
    assert_eq!(row("flow, `inputs`", "`id` or `name`")["supported"], "yes, required");
    // the schema accepts older names too, and does not require the newer one then
    let schema = parsed(&taxi(["schema", "--output", "json"]).output().unwrap());
    let input = &schema["properties"]["inputs"]["items"];
    assert!(input["properties"]["name"].is_object() && input["required"] == json!(["type"]), "{input}");
    assert!(schema["properties"]["taskDefaults"].is_object());
}

#[test]
fn inputs_are_read_from_stdin() {
    let database = Database::new("flow_stdin");
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: a\nnamespace: b\ninputs: [{id: x, type: INT}]\noutputs: [{id: o, type: INT, value: '{{ inputs.x + 1 }}'}]\n\
         tasks: [{id: t, type: io.kestra.plugin.core.debug.Return}]\n",
    );
    let mut command = run(&database, &path, &["--inputs-file", "-"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"x\": 41}").unwrap();
    assert_eq!(parsed(&child.wait_with_output().unwrap())["outputs"], json!({ "o": 42 }));
}
