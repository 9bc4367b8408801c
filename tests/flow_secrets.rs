//! A value that a flow reads with secret() appears nowhere.

use crate::support::flows::{run, write};
use crate::support::{Database, refusal, taxi};

#[test]
fn secrets_appear_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        "id: secretive\nnamespace: taxi.tests\nlabels: {token: \"{{ secret('TOKEN') }}\"}\ntasks:\n  \
         - id: say\n    type: io.kestra.plugin.core.log.Log\n    message: \"it is {{ secret('TOKEN') }}\"\n  \
         - id: echo\n    type: io.kestra.plugin.scripts.shell.Commands\n    env: {T: \"{{ secret('TOKEN') }}\"}\n    \
           commands: ['echo $T', 'echo {{ secret(\"TOKEN\") }} >&2', 'tr \"\\0\" \" \" < /proc/$$/cmdline', 'tr \"\\0\" \" \" < /proc/$PPID/cmdline', 'test \"$T\" = s3cr3t-t0ken', 'echo \"::{\\\"outputs\\\": {\\\"t\\\": \\\"$T\\\"}}::\"']\n  \
         - id: return\n    type: io.kestra.plugin.core.debug.Return\n    format: \"{{ secret('TOKEN') | upper | lower }}\"\n  \
         - id: fail\n    type: io.kestra.plugin.core.execution.Fail\n    errorMessage: \"failed with {{ outputs.return.value }}\"\n",
    );
    let database = Database::new("flow_secrets");
    // "s3cr3t-t0ken" in base64, as Kestra stores it
    for form in [["--output", "json"], ["--output", "text"], ["--output", "kestra"], ["--log-format", "json"]]
    {
        let mut command = taxi(["run", path.to_str().unwrap()]);
        let output = command
            .args(form)
            .env("SECRET_TOKEN", "czNjcjN0LXQwa2Vu")
            .env("DATABASE_URL", &database.url)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(71));
        let printed = [output.stdout, output.stderr].concat();
        let printed = String::from_utf8_lossy(&printed);
        assert!(printed.contains("failed with ******"), "{printed}");
        assert!(!printed.contains("s3cr3t-t0ken"), "{printed}");
    }
    let ledger = database.value(
        "SELECT (SELECT string_agg(r::text, '') FROM taxi_etl.runs AS r) || (SELECT string_agg(t::text, '') FROM taxi_etl.task_runs AS t)",
    );
    assert!(ledger.contains("it is ******"));
    let leak = ledger.find("s3cr3t-t0ken").map(|at| &ledger[at.saturating_sub(80)..at]);
    assert_eq!(leak, None, "the text before the secret");
    // an error before the first task hides the secret, too
    let unread = "id: a\nnamespace: b\nlabels: {day: \"{{ secret('TOKEN') | date }}\"}\ntasks:\n  - {id: t, type: io.kestra.plugin.core.log.Log, message: m}\n";
    let folder = tempfile::tempdir().unwrap();
    let early = write(&folder, unread);
    let mut command = run(&database, &early, &[]);
    let error = refusal(&command.env("SECRET_TOKEN", "czNjcjN0LXQwa2Vu").output().unwrap(), 78);
    assert!(error.contains("expected a date") && error.contains("******"), "{error}");
    assert!(!error.contains("s3cr3t-t0ken"), "{error}");
    let missing = taxi(["run", path.to_str().unwrap()]).env("DATABASE_URL", &database.url).output().unwrap();
    assert!(
        refusal(&missing, 78).contains("the secret TOKEN is not set: set SECRET_TOKEN (in base64) or TOKEN")
    );
}

#[test]
fn secrets_stay_hidden_in_subflows_loops_and_loads() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("below.yaml"),
        "id: below\nnamespace: taxi.tests\ninputs: [{id: pw, type: STRING}]\ntasks:\n  - id: say\n    type: \
         io.kestra.plugin.core.log.Log\n    message: '{{ inputs.pw }} {{ labels.pw }}'\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("s3cr3t-t0ken.gz"), "no gzip").unwrap();
    let path = write(
        &folder,
        "id: above\nnamespace: taxi.tests\nvariables: {folder: FOLDER}\ntasks:\n  - id: sub\n    type: io.kestra.plugin.core.flow.Subflow\n    \
         namespace: taxi.tests\n    flowId: below\n    inputs: {pw: \"{{ secret('TOKEN') }}\"}\n    \
         labels: {pw: \"{{ secret('TOKEN') }}\"}\n  - id: loop\n    type: io.kestra.plugin.core.flow.ForEach\n    \
         values: [\"{{ secret('TOKEN') }}\"]\n    tasks:\n      - {id: inner, type: io.kestra.plugin.core.log.Log, message: '{{ taskrun.value }}'}\n  \
         - id: load\n    type: taxi.postgresql.LoadCsv\n    from: \"{{ vars.folder }}/{{ secret('TOKEN') }}.gz\"\n    table: t\n    \
         timeColumn: at\n    period: 2021-01\n    filename: f\n    filenameColumn: f\n    rowKeyColumn: k\n    rowKey: [a]\n"
        .replace("FOLDER", folder.path().to_str().unwrap())
        .as_str(),
    );
    let database = Database::new("flow_deep_secrets");
    database.sql("CREATE TABLE t (k text, f text, at timestamp, a text)");
    let mut command = run(&database, &path, &[]);
    let output = command.env("TOKEN", "s3cr3t-t0ken").output().unwrap();
    assert_eq!(output.status.code(), Some(65), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(printed.contains("inner[******]"), "{printed}");
    let ledger = database.value(
        "SELECT (SELECT string_agg(r::text, '') FROM taxi_etl.runs AS r) || (SELECT string_agg(t::text, '') FROM taxi_etl.task_runs AS t)",
    );
    assert!(ledger.contains("/******.gz"));
    for text in [printed, ledger] {
        let leak = text.find("s3cr3t-t0ken").map(|at| text[at.saturating_sub(80)..at].to_owned());
        assert_eq!(leak, None, "the text before the secret");
    }
}
