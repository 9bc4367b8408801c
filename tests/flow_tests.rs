//! `taxi test` runs the tests of a flow: fixtures take the place of inputs, files and tasks, and assertions decide.

use serde_json::{Value, json};

use crate::support::{refusal, taxi};

const FLOW: &str = r#"
id: etl
namespace: taxi.tests
inputs: [{id: who, type: STRING, defaults: nobody}]
tasks:
  - {id: extract, type: io.kestra.plugin.jdbc.postgresql.Query, sql: SELECT nothing, fetchType: STORE}
  - id: count
    type: io.kestra.plugin.scripts.shell.Commands
    inputFiles: {rows.txt: "{{ outputs.extract.uri }}"}
    commands: ['echo "::{\"outputs\": {\"lines\": $(wc -l < rows.txt), \"list\": [1, \"x\"]}}::"']
  - id: each
    type: io.kestra.plugin.core.flow.ForEach
    values: [a, b]
    tasks:
      - {id: one, type: io.kestra.plugin.core.debug.Return, format: "{{ taskrun.value }}"}
  - {id: greet, type: io.kestra.plugin.core.debug.Return, format: "{{ inputs.who }} {{ trigger.body ?? 'none' }}"}
errors:
  - {id: handled, type: io.kestra.plugin.core.debug.Return, format: "handled"}
"#;
const TESTS: &str = r#"
id: etl_tests
namespace: taxi.tests
flowId: etl
testCases:
  - id: counts_rows
    type: io.kestra.core.tests.flow.UnitTest
    fixtures:
      inputs: {who: "{{ 'wor' ~ 'ld' }}"}
      files: {rows.csv: "a\nb\n"}
      trigger: {id: hook, type: io.kestra.plugin.core.trigger.Webhook, variables: {body: hello}}
      tasks:
        - {id: extract, description: no database, outputs: {uri: "{{ files['rows.csv'] }}", size: 2}}
        - {id: one, value: b, outputs: {value: mocked}}
    assertions:
      - {value: "{{ outputs.count.vars.lines }}", taskId: count, equalTo: 2, greaterThan: 1, lessThanOrEqualTo: 2.0, in: [1, 2], notIn: [3]}
      - {value: "{{ outputs.greet.value }}", equalTo: "{{ inputs.who }} hello", startsWith: wor, endsWith: llo, contains: ' ', isNotNull: true, notEqualTo: x}
      - {value: "{{ outputs.count.vars.list }}", equalTo: [1, x]}
      - {value: "{{ outputs.one.a.value }} {{ outputs.one.b.value }}", equalTo: a mocked}
      - {value: "{{ outputs.extract.row ?? null }}", isNull: true}
  - id: fails
    type: io.kestra.core.tests.flow.UnitTest
    fixtures:
      tasks: [{id: extract, state: FAILED}]
    assertions:
      - {value: "{{ execution.state }} {{ outputs.handled.value }}", equalTo: FAILED handled}
  - {id: not_now, type: io.kestra.core.tests.flow.UnitTest, disabled: true, assertions: [{value: x, equalTo: y}]}
"#;
const WRONG: &str = r#"
id: wrong_tests
namespace: taxi.tests
flowId: etl
testCases:
  - id: wrong
    type: io.kestra.core.tests.flow.UnitTest
    fixtures:
      tasks: [{id: extract}, {id: count}]
    assertions:
      - {value: "{{ inputs.who }}", equalTo: somebody}
      - {value: "<{{ inputs.who }}>", equalTo: nobody, errorMessage: "{{ inputs.who }} & co."}
      - {value: "{{ inputs.who }}", greaterThan: 1}
      - {value: "{{ outputs.none.value }}", isNull: true}
  - id: broken
    type: io.kestra.core.tests.flow.UnitTest
    fixtures:
      tasks: [{id: extract}]
    assertions: [{value: "1", equalTo: 1}]
"#;

#[test]
fn fixtures_replace_tasks_and_assertions_decide() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("tests")).unwrap();
    write("etl.yaml", FLOW);
    write("tests/etl_tests.yaml", TESTS);
    write("wrong.yaml", WRONG);
    // a database is not needed: the only task that uses one has a fixture
    let home = folder.path().join("home");
    let test = |arguments: &[&str]| {
        let mut command = taxi([&["test", "--output", "json"], arguments].concat());
        command.current_dir(folder.path()).env("TAXI_HOME", &home);
        let output = command.output().unwrap();
        let result: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
        (output, result)
    };
    let (output, result) = test(&["tests/etl_tests.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{result:#}");
    assert_eq!(
        (&result["succeeded"], &result["failed"], &result["skipped"]),
        (&json!(2), &json!(0), &json!(1))
    );
    assert_eq!(result["suites"][0]["cases"][0]["assertions"].as_array().unwrap().len(), 14);
    assert_eq!(result["suites"][0]["cases"][1]["flow_status"], "failed");

    let (output, result) = test(&["tests/etl_tests.yaml", "wrong.yaml", "--junit", "results.xml"]);
    assert!(refusal(&output, 71).contains("2 of 4 test cases failed"));
    let wrong = &result["suites"][1]["cases"][0];
    let errors: Vec<&str> = wrong["assertions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|assertion| assertion["error"].as_str().unwrap_or("holds"))
        .collect();
    assert_eq!(errors[0], "expected {{ inputs.who }} equalTo \"somebody\", found \"nobody\"");
    assert_eq!(errors[1], "nobody & co.");
    assert_eq!(errors[2], "expected a number to compare, found \"nobody\"");
    assert!(errors[3].contains("cannot evaluate"), "{}", errors[3]);
    let broken = result["suites"][1]["cases"][1]["error"].as_str().unwrap();
    assert!(broken.starts_with("the flow failed: the task count failed"), "{broken}");
    let xml = std::fs::read_to_string(folder.path().join("results.xml")).unwrap();
    for part in [
        "<testsuite name=\"etl_tests\" tests=\"3\" failures=\"0\" skipped=\"1\">",
        "name=\"not_now\" time=\"0.000\"><skipped/></testcase>",
        "nobody &amp; co.",
    ] {
        assert!(xml.contains(part), "no {part} in {xml}");
    }
    assert!(!home.exists(), "the tests have started a server");

    // the example of the docs
    let docs = include_str!("../docs/flows.md");
    let blocks: Vec<&str> =
        docs.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let block = |id: &str| *blocks.iter().find(|block| block.starts_with(id)).unwrap();
    write("load_green.yaml", block("id: load_green\n"));
    write("docs.yaml", block("id: load_tests\n"));
    let (_, result) = test(&["docs.yaml"]);
    assert_eq!((&result["succeeded"], &result["failed"]), (&json!(1), &json!(0)), "{result:#}");

    // faults of a test file are reported before anything runs
    for (text, code, expected) in [
        (
            TESTS.replace("id: one, value", "id: two, value"),
            78,
            "test case counts_rows: no task with the id \"two\"",
        ),
        (
            TESTS.replace("state: FAILED", "state: LOST"),
            78,
            "supported values: SUCCESS, WARNING, FAILED, SKIPPED",
        ),
        (WRONG.replace("equalTo: somebody", "equals: x"), 78, "unknown property `equals` in an assertion"),
        (WRONG.replace(", equalTo: somebody", ""), 78, "an assertion needs at least one operator"),
        (WRONG.replace("flowId: etl", "flowId: none"), 78, "no valid flow taxi.tests.none in"),
    ] {
        write("tests/etl_tests.yaml", &text);
        let error = refusal(&test(&["wrong.yaml", "tests/etl_tests.yaml"]).0, code);
        assert!(error.contains(expected), "{expected}: {error}");
    }
}
