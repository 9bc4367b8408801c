//! A value that a flow reads with secret() appears nowhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::flows::{run, write};
use crate::support::{Database, json, refusal, taxi};

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
         - id: load\n    type: taxi.postgresql.Load\n    from: \"{{ vars.folder }}/{{ secret('TOKEN') }}.gz\"\n    table: t\n    \
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

const LEDGER: &str = "SELECT (SELECT string_agg(r::text, '') FROM taxi_etl.runs AS r) || \
                      (SELECT string_agg(t::text, '') FROM taxi_etl.task_runs AS t)";

/// Checks that none of the texts is in what a run printed, nor in the ledger.
fn assert_hidden<'a>(printed: &str, ledger: &str, texts: impl IntoIterator<Item = &'a str>) {
    for secret in texts {
        for text in [printed, ledger] {
            let leak = text.find(secret).map(|at| text[..at].chars().rev().take(80).collect::<String>());
            let before: Option<String> = leak.map(|reversed| reversed.chars().rev().collect());
            assert_eq!(before, None, "the text before {secret:?}");
        }
    }
}

#[test]
fn a_secret_is_masked_in_every_form_that_expressions_and_commands_give_it() {
    let secret = "Käse/s3cr3t+\"t0ken\" one";
    let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDJ8gx\nc2Vjb25kIGxpbmUgb2YgdGhlIGtleSwgYXMgbG9uZyBhcyB0aGUgZmlyc3Q=\n-----END KEY-----";
    let document = r#"{"user": "ann", "password": "1n-the-d0cument"}"#;
    let base64 = |text: &str| STANDARD.encode(text);
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    let percent = encoded.replace('+', "%20");
    let folder = tempfile::tempdir().unwrap();
    let path = write(
        &folder,
        &r#"
id: forms
namespace: taxi.tests
tasks:
  - id: expressions
    type: io.kestra.plugin.core.debug.Return
    format: >-
      {{ secret('TOKEN') }} {{ secret('TOKEN') | upper }} {{ secret('TOKEN') | lower }} {{ secret('TOKEN') | trim }}
      {{ secret('TOKEN') | json }} {{ secret('TOKEN') | upper | json }} {{ secret('TOKEN') | reverse | join }}
      {{ secret('TOKEN') | replace({'s3cr3t': 'S3CRET!'}) }} {{ secret('TOKEN') | split('/') | last }}
      {{ fromJson(secret('DOCUMENT')).password }} {{ secret('KEY') }}
  - id: commands
    type: io.kestra.plugin.scripts.shell.Commands
    env: {T: "{{ secret('TOKEN') }}", K: "{{ secret('KEY') }}", D: "{{ secret('DOCUMENT') }}"}
    commands:
      - printf '%s' "$T" | base64
      - printf '%s' "$T" | base64 | tr -d =
      - printf '%s' "$T" | base64 | tr +/ -_
      - echo "$T" | base64
      - printf 'user:%s' "$T" | base64
      - printf 'ann:%s:x' "$T" | base64
      - printf '%s' "$K" | base64
      - printf '%s' "$K" | base64 -w 64
      - printf '%s' "$K"
      - printf '%s' "$D" | sed 's/.*"password"//'
      - echo "$T" | tr a-z A-Z
      - echo 'FORM PERCENT ENVIRONMENT'
      - 'echo "::{\"outputs\": {\"t\": \"$(printf "%s" "$T" | base64)\"}}::"'
  - id: fail
    type: io.kestra.plugin.core.execution.Fail
    errorMessage: "{{ outputs.expressions.value }} {{ outputs.commands.vars.t }}"
"#
        .replace("FORM", &encoded)
        .replace("PERCENT", &percent)
        .replace("ENVIRONMENT", &base64(secret)),
    );
    let database = Database::new("flow_secret_forms");
    let mut command = run(&database, &path, &[]);
    command.env("SECRET_TOKEN", base64(secret)).env("SECRET_KEY", base64(key)).env("DOCUMENT", document);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(71), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let ledger = database.value(LEDGER);
    let in_base64: Vec<String> = ["", "user:", "ann:"]
        .iter()
        .map(|before| base64(&format!("{before}{secret}"))[before.len() * 4 / 3 + 2..][..20].to_owned())
        .collect();
    let reversed: String = secret.chars().rev().collect();
    let wrapped: Vec<String> = [base64(key)[64..128].to_owned(), base64(key)[76..152].to_owned()].into();
    assert_hidden(&printed, &ledger, in_base64.iter().chain(&wrapped).map(String::as_str));
    assert_hidden(&printed, &ledger, [&*reversed, &*encoded, &*percent]);
    assert_hidden(&printed, &ledger, key.lines().filter(|line| !line.starts_with('-')));
    let texts = [
        "s3cr3t",
        "S3CR3T",
        "S3CRET!",
        "t0ken",
        "T0KEN",
        "nek0t",
        "s3cr3t".trim(),
        "1n-the-d0cument",
        "MIIEv",
    ];
    assert_hidden(&printed, &ledger, texts);
}

#[test]
fn the_passwords_of_connections_are_masked() {
    let database = Database::new("flow_passwords");
    let password = "m4sk3d/p@ss w0rd";
    let encoded: String = url::form_urlencoded::byte_serialize(password.as_bytes()).collect();
    let encoded = encoded.replace('+', "%20");
    database.sql(&format!(
        "DROP ROLE IF EXISTS masked; CREATE ROLE masked SUPERUSER LOGIN PASSWORD '{password}'"
    ));
    let host_and_name = database.url.split_once('@').unwrap().1.to_owned();
    let folder = tempfile::tempdir().unwrap();
    let flow = |connection: &str| {
        let echo = format!(
            "['echo \"is {password}\"', 'echo in base64 {}', 'echo {encoded}']",
            STANDARD.encode(password)
        );
        let text = format!(
            "id: passwords\nnamespace: taxi.tests\ntasks:\n  \
             - {{id: query, type: io.kestra.plugin.jdbc.postgresql.Query, {connection}sql: SELECT 1}}\n  \
             - {{id: echo, type: io.kestra.plugin.scripts.shell.Commands, commands: {echo}}}\n"
        );
        write(&folder, &text)
    };
    let in_flow =
        format!("url: 'jdbc:postgresql://{host_and_name}', username: masked, password: '{password}', ");
    let cases = [
        ("", vec![("DATABASE_URL", format!("postgresql://masked:{encoded}@{host_and_name}"))]),
        (
            "",
            vec![
                ("DATABASE_URL", format!("postgresql://masked@{host_and_name}")),
                ("PGPASSWORD", password.to_owned()),
            ],
        ),
        (&in_flow, vec![]),
    ];
    for (connection, variables) in cases {
        let path = flow(connection);
        let mut command = taxi(["run", path.to_str().unwrap(), "--output", "json"]);
        let output = command.envs(variables.clone()).output().unwrap();
        json(&output);
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains("is ******") && printed.contains("in base64 ******"), "{printed}");
        let ledger = database.value(LEDGER);
        assert!(ledger.contains("is ******"), "{variables:?}");
        assert_hidden(&printed, &ledger, [password, &*encoded, &*STANDARD.encode(password)]);
    }
    database.sql("REASSIGN OWNED BY masked TO CURRENT_USER; DROP OWNED BY masked; DROP ROLE masked");
}
