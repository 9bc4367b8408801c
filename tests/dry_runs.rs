//! `taxi run --dry-run` shows the tasks of a flow with their values, and runs nothing.

use serde_json::{Value, json};

use crate::support::flows::{flow, task, write};
use crate::support::{json as parsed, taxi};

/// A database that no run reaches.
const NOWHERE: &str = "postgresql://u:open-sesame@127.0.0.1:1/x";

#[test]
fn a_dry_run_shows_values_and_branches_and_connects_to_nothing() {
    let path = flow("constructs.yaml");
    let dry_run = |output: &str| {
        let mut command = taxi(["run", "--dry-run", "--output", output, "--input", "who=moon"]);
        command.arg(&path).args(["--label", "by=me"]).env("DATABASE_URL", NOWHERE).output().unwrap()
    };
    let plan = parsed(&dry_run("json"));
    assert_eq!(plan["status"], "planned");
    assert_eq!(plan["inputs"], json!({ "who": "moon", "count": "3" }));
    assert_eq!(plan["labels"], json!({ "from": "taxi.tests", "by": "me" }));
    assert_eq!(task(&plan, "greet")["properties"]["format"], "Hello, MOON!");
    for (id, action) in
        [("skipped", "skip"), ("disabled", "disabled"), ("greet", "run"), ("last", "undecided")]
    {
        assert_eq!(task(&plan, id)["action"], action, "{id}");
    }
    // the branch is decided; a value that depends on a task is an expression
    let switch = &task(&plan, "switch")["branches"];
    assert_eq!((&switch[0]["branch"], switch.as_array().unwrap().len()), (&json!("defaults"), 1));
    assert_eq!(
        switch[0]["tasks"][0]["properties"]["sql"],
        "INSERT INTO marks (mark) VALUES ('other {{ outputs['greet']['value'] }}')"
    );
    assert_eq!(task(&plan, "copy_in")["properties"]["from"], "{{ outputs.write.outputFiles['pairs.csv'] }}");
    assert_eq!(
        task(&plan, "flaky")["properties"]["commands"],
        json!(["test {{ taskrun.attemptsCount }} -ge 2"])
    );
    let outer = task(&plan, "loop")["branches"].as_array().unwrap();
    assert_eq!(outer.iter().map(|branch| &branch["value"]).collect::<Vec<_>>(), ["x", "3"]);
    let inner = &outer[1]["tasks"][0]["branches"][1];
    assert_eq!(inner["value"], "{\"q\":1}");
    assert_eq!(inner["tasks"][0]["properties"]["format"], "3/{\"q\":1}/1");
    assert_eq!(inner["tasks"][1].get("branches"), None, "the condition is false, and there is no else");
    assert_eq!(plan["finally"][0]["task_id"], "mark_finally");

    let text = String::from_utf8(dry_run("text").stdout).unwrap();
    for part in [
        "taxi.tests.constructs\n  inputs: who=moon count=3\n  labels: from=taxi.tests by=me\n",
        "\nskipped (Fail, skipped: runIf is false)\n",
        "\ngreet (Return)\n  format: Hello, MOON!\n",
        "\n  sql: |\n    CREATE TABLE IF NOT EXISTS marks (at serial, mark text);\n",
        "\n  -> for x\n    inner (ForEach)\n",
        "\nat the end (finally):\n\nmark_finally (Query)\n",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[test]
fn a_dry_run_hides_secrets_and_reports_what_cannot_be_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: planned\nnamespace: taxi.tests\ntasks:\n  \
         - {id: q, type: io.kestra.plugin.jdbc.postgresql.Query, url: 'jdbc:postgresql://127.0.0.1:1/x', username: u, \
         password: flow-password, fetchType: FETCH_ONE, sql: \"SELECT 'flow-password', '{{ secret('DRY_SECRET') }}', 'open-sesame'\"}\n  \
         - {id: choose, type: io.kestra.plugin.core.flow.If, condition: '{{ outputs.q.size ?? 0 > 1 }}', \
         then: [{id: yes, type: io.kestra.plugin.core.log.Log, message: 'a'}], else: [{id: no, type: io.kestra.plugin.core.log.Log, message: 'b'}]}\n  \
         - {id: each, type: io.kestra.plugin.core.flow.ForEach, values: '{{ outputs.q.row.list }}', \
         tasks: [{id: one, type: io.kestra.plugin.core.log.Log, message: '{{ taskrun.value }} {{ flow.id }}'}]}\n  \
         - {id: typo, type: io.kestra.plugin.core.log.Log, message: '{{ flow.nothing }}'}\n",
    );
    let mut command = taxi(["run", "--dry-run", "--output", "json"]);
    command.arg(&path).env("DRY_SECRET", "from-outside").env("DATABASE_URL", NOWHERE);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let printed = String::from_utf8([output.stdout.clone(), output.stderr].concat()).unwrap();
    for secret in ["flow-password", "from-outside", "open-sesame"] {
        assert!(!printed.contains(secret), "{printed}");
    }
    assert!(printed.contains(":7:"), "the fault has a position: {printed}");
    assert!(printed.contains("cannot evaluate \\\"{{ flow.nothing }}\\\""), "{printed}");
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(task(&plan, "q")["properties"]["password"], "******");
    let branches = &task(&plan, "choose")["branches"];
    assert_eq!((&branches[0]["branch"], &branches[1]["branch"]), (&json!("then"), &json!("else")));
    assert_eq!((&branches[0]["decided"], &branches[1]["decided"]), (&json!(false), &json!(false)));
    let one = &task(&plan, "each")["branches"][0]["tasks"][0];
    assert_eq!(one["properties"]["message"], "{{ taskrun.value }} {{ flow.id }}");
}
