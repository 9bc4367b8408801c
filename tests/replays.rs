//! `taxi run --from TASK --run-id RUN_ID` continues an earlier run: what has succeeded does not run again.

use std::process::Output;

use crate::support::flows::{run, task};
use crate::support::{Database, json as parsed, refusal, taxi};

const FLOW: &str = r#"
id: continued
namespace: taxi.tests
inputs:
  - {id: key, type: STRING}
  - {id: broken, type: STRING, defaults: b}
labels: {broken: "{{ inputs.broken }}"}
variables:
  file: "{{ outputs.fetch.outputFiles['out.txt'] }}"
  path: "{{ render(vars.file) }}"
triggers:
  - {id: monthly, type: io.kestra.plugin.core.trigger.Schedule, cron: '30 0 1 * *', timezone: Europe/Paris}
tasks:
  - id: create
    type: io.kestra.plugin.jdbc.postgresql.Query
    sql: CREATE TABLE IF NOT EXISTS marks (mark text)
  - id: fetch
    type: io.kestra.plugin.scripts.shell.Commands
    outputFiles: [out.txt]
    commands: ['echo text > out.txt', 'echo ''::{"outputs": {"rows": 3}}::''']
  - id: hidden
    type: io.kestra.plugin.core.debug.Return
    format: "{{ secret('REPLAY_SECRET') }}"
  - id: check_input
    type: io.kestra.plugin.core.execution.Fail
    condition: "{{ inputs.key != secret('REPLAY_SECRET') }}"
  - id: choose
    type: io.kestra.plugin.core.flow.If
    condition: "{{ outputs.fetch.vars.rows == 3 }}"
    then:
      - {id: read, type: io.kestra.plugin.scripts.shell.Commands, commands: ["test -f {{ render(vars.path) }}"]}
      - id: side_by_side
        type: io.kestra.plugin.core.flow.Parallel
        tasks:
          - id: left
            type: io.kestra.plugin.jdbc.postgresql.Query
            sql: INSERT INTO marks VALUES ('left')
          - id: each
            type: io.kestra.plugin.core.flow.ForEach
            values: [a, b, c]
            tasks:
              - id: mark
                type: io.kestra.plugin.jdbc.postgresql.Query
                sql: INSERT INTO marks VALUES ('mark {{ taskrun.value }} {{ outputs.fetch.vars.rows }}')
              - id: check
                type: io.kestra.plugin.core.execution.Fail
                condition: "{{ inputs.broken == taskrun.value }}"
              - id: done
                type: io.kestra.plugin.jdbc.postgresql.Query
                sql: INSERT INTO marks VALUES ('done {{ taskrun.value }} {{ trigger.date | date('dd HH') }}')
"#;
const LAST: &str = "  - {id: last, type: io.kestra.plugin.core.debug.Return, format: \"";

#[test]
fn a_run_continues_from_a_task_with_the_outputs_of_the_earlier_run() {
    let database = Database::new("replay");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("flow.yaml");
    let write = |last: &str| {
        let last = if last.is_empty() { String::new() } else { format!("{LAST}{last}\"}}\n") };
        std::fs::write(&path, format!("{FLOW}{last}")).unwrap();
    };
    let taxi_run = |arguments: &[&str]| -> Output {
        run(&database, &path, arguments).env("REPLAY_SECRET", "s3cret-value").output().unwrap()
    };
    let marks = || {
        let rows = database.sql("SELECT mark FROM marks ORDER BY mark");
        rows.into_iter().map(|mut row| row.remove(0)).collect::<Vec<_>>()
    };
    write("");
    let key = ["--input", "key=s3cret-value"];
    let first = [&key[..], &["--trigger", "monthly", "--trigger-date", "2020-03-01T00:30:00+01:00"]].concat();
    let failed = taxi_run(&first);
    assert!(refusal(&failed, 71).contains("the task check[b] failed"));
    let id = |output: &Output| {
        let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        result["run_id"].as_str().unwrap().to_owned()
    };
    let failed = id(&failed);
    assert_eq!(marks(), ["done a 01 00", "left", "mark a 3", "mark b 3"]);

    // what the history does not hold is refused, with the task that has to run again
    let replay =
        |from: &str, more: &[&str]| taxi_run(&[&["--from", from, "--run-id", &failed[28..]], more].concat());
    let mended = [&key[..], &["--input", "broken=none"]].concat();
    for (last, from, more, expected) in [
        ("", "check", &[][..], "does not hold the secret in the input \"key\""),
        ("", "nothing", &mended[..], "no task with the id \"nothing\""),
        ("{{ outputs.fetch.outputFiles['out.txt'] }}", "check", &mended[..], "use --from fetch"),
        ("{{ render(vars.path) }}", "check", &mended[..], "needs outputs.fetch.outputFiles.out.txt, a file"),
        ("{{ outputs.hidden.value }}", "done", &mended[..], "needs outputs.hidden.value, a secret"),
        ("", "last", &mended[..], "no task with the id \"last\""),
        ("x", "last", &mended[..], "has no result of the task choose, which comes before last"),
    ] {
        write(last);
        let error = refusal(&replay(from, more), 64);
        assert!(error.contains(expected), "{last} {from}: {error}");
    }
    assert_eq!(marks().len(), 4, "a refused replay runs nothing");

    write("{{ outputs.fetch.vars.rows }} {{ labels.broken }}");
    let result = parsed(&replay("check", &mended));
    assert_eq!(result["replay_of"], failed);
    assert_eq!(result["inputs"]["broken"], "none");
    assert_eq!(task(&result, "last")["outputs"]["value"], "3 b", "labels are those of the earlier run");
    let expected =
        ["done a 01 00", "done b 01 00", "done c 01 00", "left", "mark a 3", "mark b 3", "mark c 3"];
    assert_eq!(marks(), expected);

    // the new run holds all results: it can be continued, too
    let second = result["run_id"].as_str().unwrap();
    let third = parsed(&taxi_run(&[&["--from", "last", "--run-id", second], &mended[..]].concat()));
    assert_eq!((marks().len(), &third["replay_of"]), (7, &result["run_id"]));
    let names = |result: &serde_json::Value| result["tasks"].as_array().unwrap().len();
    assert_eq!(names(&third), names(&result));
    let mut show = taxi(["runs", "show", third["run_id"].as_str().unwrap()]);
    let shown = String::from_utf8(show.env("DATABASE_URL", &database.url).output().unwrap().stdout).unwrap();
    for part in
        [&format!("continues     {second}"), "   mark[c] ", &format!("taken over from the run {second}")]
    {
        assert!(shown.contains(part), "no {part:?} in\n{shown}");
    }
    let again = parsed(&taxi_run(&[&["--from", "fetch", "--run-id", second], &mended[..]].concat()));
    assert_eq!((marks().len(), &again["status"]), (14, &"succeeded".into()));
}
