//! A command of a flow gets only the environment that the flow gives it and that a process needs.

use std::collections::BTreeSet;

use crate::support::flows::{run, task, write};
use crate::support::{Database, json};

/// Variables that the shell itself sets.
const OF_THE_SHELL: [&str; 4] = ["PWD", "OLDPWD", "SHLVL", "_"];

#[test]
fn a_command_gets_only_what_the_flow_gives_it_and_what_a_process_needs() {
    let needed = [
        ("HOME", "/root"),
        ("LANG", "C"),
        ("LC_ALL", "C"),
        ("LC_TIME", "C"),
        ("TZ", "UTC"),
        ("TMPDIR", "/tmp"),
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("https_proxy", "http://127.0.0.1:9"),
        ("no_proxy", "*"),
        ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"),
    ];
    let private = [
        ("PGPASSWORD", "pr1v4te"),
        ("PGAPPNAME", "pr1v4te"),
        ("SECRET_TOKEN", "cHIxdjR0ZQ=="),
        ("TAXI_RETRIES", "3"),
        ("ENV_REGION", "pr1v4te"),
        ("AWS_SECRET_ACCESS_KEY", "pr1v4te"),
    ];
    // an output holds the names that the command sees, and not their values
    let names = r#"echo "::{\"outputs\": {\"names\": \"$(env | sed 's/=.*//' | tr '\n' ' ')\"}}::""#;
    let tasks = [
        ("shell", "io.kestra.plugin.scripts.shell.Commands", &[][..]),
        (
            "python",
            "io.kestra.plugin.scripts.python.Commands",
            &["PIP_DISABLE_PIP_VERSION_CHECK", "PIP_ROOT_USER_ACTION", "PYTHONPATH", "PYTHONUNBUFFERED"][..],
        ),
        (
            "dbt",
            "io.kestra.plugin.dbt.cli.DbtCLI",
            &[
                "DBT_LOG_PATH",
                "DBT_PROFILES_DIR",
                "DBT_SEND_ANONYMOUS_USAGE_STATS",
                "DBT_TARGET_PATH",
                "DBT_USE_COLORS",
            ][..],
        ),
    ];
    let mut text = "id: env\nnamespace: taxi.tests\ntasks:\n".to_owned();
    for (id, kind, _) in tasks {
        text.push_str(&format!(
            "  - id: {id}\n    type: {kind}\n    env: {{GIVEN: \"{{{{ envs.region }}}}\"}}\n    commands:\n      - |\n        {names}\n"
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, &text);
    let database = Database::new("flow_environment");
    let mut command = run(&database, &path, &[]);
    command.env_clear().env("PATH", std::env::var("PATH").unwrap()).env("DATABASE_URL", &database.url);
    let result = json(&command.envs(needed).envs(private).output().unwrap());
    for (id, _, own) in tasks {
        let seen = task(&result, id)["outputs"]["vars"]["names"].as_str().unwrap().to_owned();
        let seen: BTreeSet<&str> =
            seen.split_whitespace().filter(|name| !OF_THE_SHELL.contains(name)).collect();
        let expected =
            needed.iter().map(|(name, _)| *name).chain(["PATH", "GIVEN", "WORKING_DIR", "OUTPUT_DIR"]);
        assert_eq!(seen, expected.chain(own.iter().copied()).collect(), "{id}");
    }
}
