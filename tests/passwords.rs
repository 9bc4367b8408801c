//! `--password-command`: a program prints the password, which no output shows.

use std::path::Path;

use crate::support::http::{Reply, Server};
use crate::support::{Database, json, refusal, taxi, testdata};

/// Splits the URL of a database into the URL without a password, and the password.
fn without_password(database: &Database) -> (String, String) {
    let (credentials, host_and_name) = database.url.split_once('@').unwrap();
    let (user, password) = credentials.rsplit_once(':').unwrap();
    (format!("{user}@{host_and_name}"), password.to_owned())
}

/// Writes a program that counts its runs and prints the text of a file.
fn program(folder: &Path, printed: &str) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let path = folder.join("print token");
    std::fs::write(folder.join("token"), printed).unwrap();
    let text = format!("#!/bin/sh\necho \"$*\" >> '{0}/runs'\ncat '{0}/token'\n", folder.display());
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    format!("'{}' --for 'a role' $HOME;id", path.display())
}

fn runs(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("runs")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_first_line_of_a_command_is_the_password_and_it_is_not_run_more_often_than_needed() {
    let database = Database::new("password_command");
    let (url, password) = without_password(&database);
    let folder = tempfile::tempdir().unwrap();
    let command = program(folder.path(), &format!("{password}\nsecond line\n"));
    let source = testdata();
    let mut load = database.load("yellow", 2021, 1, source.to_str().unwrap());
    load.env("DATABASE_URL", &url).env("PGPASSWORD", "wr0ng").args(["--password-command", &command]);
    let output = load.output().unwrap();
    assert_eq!(json(&output)["rows_inserted"], 3001);
    let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(!printed.contains(&password), "{printed}");
    // without a shell, and once for both sessions of the load
    assert_eq!(runs(folder.path()), ["--for a role $HOME;id"]);
    let recorded = format!("SELECT count(*) FROM taxi_etl.runs AS r WHERE r::text LIKE '%{password}%'");
    assert_eq!(database.value(&recorded), "0");

    let mut runs_command = taxi(["runs", "--output", "json"]);
    json(&runs_command.env("DATABASE_URL", &url).env("TAXI_PASSWORD_COMMAND", &command).output().unwrap());
    assert_eq!(runs(folder.path()).len(), 2);
    let mut runs_command = taxi(["runs", "--output", "json"]);
    json(&runs_command.env("DATABASE_URL", &database.url).env("TAXI_PASSWORD_COMMAND", "").output().unwrap());
}

#[test]
fn a_token_that_expires_between_two_connections_is_printed_again() {
    let database = Database::new("password_expires");
    database.sql("DROP ROLE IF EXISTS renewed; CREATE ROLE renewed LOGIN SUPERUSER PASSWORD 'first'");
    let url = format!("postgresql://renewed@{}", database.url.split_once('@').unwrap().1);
    let folder = tempfile::tempdir().unwrap();
    let command = program(folder.path(), "first\n");
    // while the first month is loaded, the password changes and the sessions are ended
    let token = folder.path().join("token");
    let (admin_url, file) = (
        database.url.clone(),
        std::fs::read(testdata().join("yellow/yellow_tripdata_2021-01.csv.gz")).unwrap(),
    );
    let site = Server::new(move |path| match path.contains("2021-01") {
        true => {
            let admin = Database::connect(admin_url.clone(), String::new());
            admin.sql("ALTER ROLE renewed PASSWORD 'second'");
            std::fs::write(&token, "second\n").unwrap();
            admin.sql(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'renewed'",
            );
            Reply::status(404)
        }
        false => Reply::ok(file.clone()),
    });
    let mut backfill =
        taxi(["backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-02", "--output", "json"]);
    backfill
        .args(["--source", &site.address])
        .env("DATABASE_URL", &url)
        .env("TAXI_PASSWORD_COMMAND", &command);
    let output = backfill.output().unwrap();
    let result: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["files"][1]["status"], "loaded", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(runs(folder.path()).len(), 2);
    database.sql("REASSIGN OWNED BY renewed TO CURRENT_USER; DROP OWNED BY renewed; DROP ROLE renewed");
}

#[test]
fn an_error_of_the_command_names_the_program_and_never_its_output() {
    let database = Database::new("password_command_fails");
    let (url, _) = without_password(&database);
    for (command, code, expected) in [
        (
            "sh -c 'echo s3cret; echo no role >&2; exit 3'",
            77,
            "the password command sh failed\n  because: it ended with exit code 3: no role",
        ),
        ("sh -c 'echo s3cret; kill -9 $$'", 77, "a signal ended it"),
        ("sh -c 'echo; echo s3cret'", 77, "the first line of its output is empty"),
        ("sh -c \"printf 's3cret\\377'\"", 77, "its output is not UTF-8"),
        ("/no/such/program", 78, "cannot run the password command /no/such/program"),
        ("sh -c 'echo s3cret'", 77, "rejected the user or the password"),
        ("printf it's3cret", 78, "the password command has a quotation mark that is not closed"),
    ] {
        let mut load = database.load("yellow", 2021, 1, "testdata");
        let output = load.env("DATABASE_URL", &url).args(["--password-command", command]).output().unwrap();
        let stderr = refusal(&output, code);
        assert!(stderr.contains(expected), "{command}: {stderr}");
        assert!(!(stderr + &String::from_utf8_lossy(&output.stdout)).contains("s3cret"), "{command}");
    }
}
