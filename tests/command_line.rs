//! The command line as a person meets it: help, values that are checked first, and hints for wrong forms.

use std::collections::BTreeSet;
use std::process::Command;

use clap::CommandFactory as _;

use crate::support::{Database, OwnServer, failure, json, refusal, taxi, testdata};

fn stdout(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The subcommands as a person types them, such as `["runs", "show"]`.
fn commands() -> Vec<Vec<String>> {
    fn below(command: &clap::Command, path: &[String], found: &mut Vec<Vec<String>>) {
        for command in command.get_subcommands() {
            let path = [path, &[command.get_name().to_owned()]].concat();
            below(command, &path, found);
            found.push(path);
        }
    }
    let mut found = Vec::new();
    below(&taxi_etl::cli::Cli::command(), &[], &mut found);
    found
}

/// Sets every environment variable that an option reads.
fn with_all_variables(command: &mut Command) -> &mut Command {
    command
        .envs([
            ("DATABASE_URL", "postgresql://localhost/x"),
            ("TAXI_SOURCE", "/nowhere"),
            ("TAXI_HOME", "/nowhere"),
        ])
        .envs([("TAXI_SOURCE_TIMEOUT", "7s"), ("TAXI_RETRIES", "7"), ("TAXI_LOCK_TIMEOUT", "7s")])
        .envs([
            ("TAXI_DATABASE_TIMEOUT", "7s"),
            ("TAXI_LOG_FORMAT", "json"),
            ("TAXI_RUNNER", "process"),
            ("TAXI_POSTGRES_BIN", "/nowhere"),
        ])
        .envs([
            ("JOB_COMPLETION_INDEX", "7"),
            ("TAXI_XCOM_DIR", "/nowhere"),
            ("TAXI_TERMINATION_LOG", "/nowhere"),
        ])
        .env("TAXI_POSTGRES_MIRROR", "http://localhost")
}

#[test]
fn help_has_examples_headings_and_possible_values() {
    for path in commands() {
        let help = stdout(taxi(&path).arg("--help"));
        assert!(help.contains("Examples:\n  taxi ") || path == ["help"], "{path:?}: {help}");
        assert_eq!(help, stdout(taxi(["help"]).args(&path)), "{path:?}");
        assert!(help.contains(&format!("Usage: taxi {}", path.join(" "))), "{path:?}: {help}");
    }
    let help = stdout(&mut taxi(["load", "-h"]));
    for part in
        ["\nSource:\n", "\nDatabase:\n", "\nEmbedded server:\n", "\nLog and result:\n", "\nOrchestrators:\n"]
    {
        assert!(help.contains(part), "no {part:?} in {help}");
    }
    assert!(help.contains("[possible values: yellow, green, fhv, fhvhv]"), "{help}");
    let help = stdout(&mut taxi(["verify", "-h"])).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[possible values: yellow, green, fhv, fhvhv, all]"), "{help}");
    assert!(stdout(&mut taxi(["runs", "show", "--help"])).contains("end of an id is enough"));
}

#[test]
fn usage_lines_do_not_depend_on_the_environment() {
    let usage = |text: &[u8]| {
        let text = String::from_utf8(text.to_vec()).unwrap();
        let usage = text.split_once("Usage: ").unwrap_or_else(|| panic!("no usage in {text}")).1;
        usage.split("\n\n").next().unwrap().to_owned()
    };
    for path in commands() {
        let plain = usage(&taxi(&path).arg("-h").output().unwrap().stdout);
        let help = with_all_variables(taxi(&path).arg("-h")).output().unwrap();
        assert_eq!(usage(&help.stdout), plain);
        let error = with_all_variables(taxi(&path).arg("--no-such-option")).output().unwrap();
        if path != ["psql"] {
            assert_eq!(usage(&error.stderr), plain, "{path:?}");
        }
    }
    for args in [&["load", "--taxi", "yellow"][..], &["backfill"], &["verify"], &["run"], &["runs", "show"]] {
        let plain = taxi(args).output().unwrap();
        let with_variables = with_all_variables(&mut taxi(args)).output().unwrap();
        assert_eq!(refusal(&with_variables, 64), refusal(&plain, 64), "{args:?}");
    }
}

#[test]
fn each_command_has_the_options_that_it_uses_and_no_others() {
    const SERVER: [&str; 3] = ["home", "postgres-bin", "postgres-mirror"];
    const DATABASE: [&str; 6] =
        ["database-url", "password-command", "database-timeout", SERVER[0], SERVER[1], SERVER[2]];
    let expected: [(&str, &[&[&str]]); 20] = [
        ("test", &[&["junit", "quiet", "lock-timeout", "source-timeout", "retries", "output"], &DATABASE]),
        ("validate", &[&["strict", "output"]]),
        ("show", &[&["as", "output"]]),
        ("triggers", &[&["count", "output"]]),
        ("schema", &[&["expressions", "properties", "output"]]),
        ("runs", &[&["taxi", "status", "limit", "output"], &DATABASE]),
        ("verify", &[&["taxi", "year", "month", "output"], &DATABASE]),
        ("doctor", &[&["taxi", "source", "output"], &DATABASE]),
        ("drift", &[&["taxi", "from", "to", "source", "source-timeout", "retries", "output"]]),
        ("up", &[&["output"], &SERVER]),
        ("status", &[&["output", "home"]]),
        ("down", &[&["output", "home", "force"]]),
        ("upgrade", &[&["to", "output"], &SERVER]),
        ("logs", &[&["follow", "lines", "home"]]),
        ("psql", &[&SERVER]),
        ("drop", &[&["taxi", "year", "month", "yes", "plan", "lock-timeout", "output"], &DATABASE]),
        ("backup", &[&["to", "keep", "verify", "jobs", "output"], &DATABASE]),
        ("restore", &[&["force", "no-owner", "jobs", "output"], &DATABASE]),
        ("completions", &[]),
        ("man", &[&["dir"]]),
    ];
    let cli = taxi_etl::cli::Cli::command();
    for (name, options) in expected {
        let command = cli.find_subcommand(name).unwrap();
        let found: BTreeSet<&str> =
            command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        let expected: BTreeSet<&str> = options.concat().into_iter().collect();
        assert_eq!(found, expected, "{name}");
    }
    for name in ["load", "backfill", "zones", "run"] {
        let command = cli.find_subcommand(name).unwrap();
        let has = |long: &&str| command.get_arguments().any(|argument| argument.get_long() == Some(*long));
        assert!(DATABASE.iter().chain(&["verbose", "quiet", "retries", "xcom-dir"]).all(has), "{name}");
    }
}

#[test]
fn completions_and_manual_pages_cover_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = stdout(&mut taxi(["completions", shell]));
        assert!(["backfill", "max-rejects"].iter().all(|word| script.contains(word)), "{shell}: {script}");
    }
    let bash = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(bash.path(), stdout(&mut taxi(["completions", "bash"]))).unwrap();
    let complete =
        "source \"$0\"; COMP_WORDS=(taxi load --max); COMP_CWORD=2; _taxi taxi --max load; echo $COMPREPLY";
    let completed = stdout(Command::new("bash").args(["-c", complete]).arg(bash.path()));
    assert_eq!(completed.trim(), "--max-rejects");

    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("share/man1");
    stdout(taxi(["man", "--dir"]).arg(&pages));
    let page = |name: &str| std::fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
    assert!(page("taxi").contains(".TH taxi 1") && page("taxi").contains(".SH \"EXIT STATUS\"\n   0  done"));
    for path in commands().into_iter().filter(|path| path[0] != "help") {
        let text = page(&format!("taxi-{}", path.join("-")));
        assert_eq!(stdout(taxi(["man"]).args(&path)).trim_end(), text.trim_end(), "{path:?}");
    }
    for part in ["max\\-rejects", "TAXI_SOURCE", ".SH EXAMPLES\n  taxi load"] {
        assert!(page("taxi-load").contains(part), "no {part:?} in {}", page("taxi-load"));
    }
    refusal(&taxi(["man", "fly"]).output().unwrap(), 64);
}

#[test]
fn wrong_forms_are_answered_with_the_right_form() {
    let cases: [(&str, &str); 14] = [
        ("load --taxi yellow --month 2021-01", "use --year 2021 --month 1"),
        ("load --taxi yellow --year 2021-01", "use --year 2021 --month 1"),
        ("load --taxi all --year 2021 --month 1", "use 'taxi backfill --taxi all' to load all taxi types"),
        (
            "load --taxi green --year 2020",
            "use --month, or 'taxi backfill --taxi green --from 2020-01 --to 2020-12' for the whole year",
        ),
        ("load --taxi yellow --from 2020-01 --to 2020-03", "use 'taxi backfill' to load a range of months"),
        ("backfill --taxi all --year 2020", "use --from 2020-01 --to 2020-12"),
        ("backfill --taxi all --year=2020 --month=3", "use --from 2020-03 --to 2020-03"),
        ("backfill --taxi all --from 2020 --to 2021-01", "use --from 2020-01"),
        ("backfill --taxi all --from 2020-01 --to 2020", "use --to 2020-12"),
        ("backfill --taxi all --from 2020-1 --to 2020-12", "use --from 2020-01"),
        ("verify --taxi all --year 2020 --month 2020-03", "use --year 2020 --month 3"),
        (
            "verify --taxi all --from 2020-01",
            "use --year to verify a year, and --month to verify one of its months",
        ),
        ("runs show yellow", "use 'taxi runs' to list the ids"),
        ("laod --taxi yellow", "a similar subcommand exists: 'load'"),
    ];
    for (line, hint) in cases {
        let args = line.split(' ');
        let error = refusal(&taxi(args.clone()).output().unwrap(), 64);
        assert!(error.starts_with("taxi: error: "), "{error}");
        assert!(error.contains(&format!("\n  hint: {hint}\n")), "{line}: {error}");
        let output = taxi(args.chain(["--output", "json"])).output().unwrap();
        assert_eq!(failure(&output)["hint"], hint, "{line}");
    }
}

#[test]
fn values_are_checked_before_a_server_is_started_or_a_connection_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let this_year = jiff::Zoned::now().year();
    let years = format!("expected a year from 2009 to {this_year}");
    let next_year = this_year + 1;
    let cases: Vec<(String, i32, &str)> = vec![
        (
            "load --taxi blue --year 2021 --month 1".to_owned(),
            64,
            "[possible values: yellow, green, fhv, fhvhv]",
        ),
        ("load --taxi yellow --year 2008 --month 1".to_owned(), 64, &years),
        (format!("load --taxi yellow --year {next_year} --month 1"), 64, &years),
        (format!("verify --taxi yellow --year {next_year}"), 64, &years),
        ("load --taxi yellow --year 2021 --month 13".to_owned(), 64, "expected a month from 1 to 12"),
        (
            "load --taxi yellow --year 2021 --month 1 --source /no/such".to_owned(),
            78,
            "/no/such is not a directory",
        ),
        (
            "backfill --taxi all --from 2020-01 --to latest --source /no/such".to_owned(),
            78,
            "is not a directory",
        ),
        (
            "backfill --taxi all --from 2021-02 --to 2021-01".to_owned(),
            64,
            "--from 2021-02 is after --to 2021-01",
        ),
        ("backfill --taxi all --from 2008-01 --to 2021-01".to_owned(), 64, "no taxi trips in 2008-01"),
        (format!("backfill --taxi all --from 2020-01 --to {next_year}-01"), 64, "no taxi trips in"),
        ("load --taxi yellow --year 2021 --month 1 -q -v".to_owned(), 64, "cannot be used with"),
    ];
    for (line, code, message) in &cases {
        for url in [None, Some("postgresql://127.0.0.1:1/nothing")] {
            let mut command = taxi(line.split(' '));
            command.env("TAXI_HOME", &home).envs(url.map(|url| ("DATABASE_URL", url)));
            let error = refusal(&command.output().unwrap(), *code);
            assert!(error.contains(message), "{line}: {error}");
            assert!(!home.exists(), "{line} created the embedded server");
        }
    }
}

#[test]
fn taxi_types_are_accepted_in_upper_and_lower_case() {
    let database = Database::new("upper_case");
    let loaded = json(&database.load("Yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    assert_eq!(
        (&loaded["taxi"], &loaded["filename"]),
        (&"yellow".into(), &"yellow_tripdata_2021-01.csv".into())
    );
    let mut runs = taxi(["runs", "--taxi", "YELLOW", "--output", "json"]);
    let runs = json(&runs.env("DATABASE_URL", &database.url).output().unwrap());
    assert_eq!(runs["runs"].as_array().unwrap().len(), 1);
}

#[test]
fn help_of_psql_starts_no_server() {
    let server = OwnServer::new();
    for args in [&["psql", "--help"][..], &["psql", "-h"], &["help", "psql"]] {
        assert!(stdout(&mut server.taxi(args)).contains("Usage: taxi psql"), "{args:?}");
        assert!(!server.path().exists(), "{args:?}");
    }
    for args in [&["psql", "--", "--help"][..], &["psql", "-c", "SELECT 1", "--help"]] {
        assert!(
            stdout(&mut server.taxi(args)).contains("psql is the PostgreSQL interactive terminal"),
            "{args:?}"
        );
    }
    let home = server.path();
    let mut elsewhere = taxi(["psql", "--home", home.to_str().unwrap(), "-Atc", "SELECT 6 * 7", "-v", "x=1"]);
    assert_eq!(stdout(&mut elsewhere), "42\n");
}

#[test]
fn the_unique_beginning_of_a_run_id_is_enough() {
    let database = Database::new("short_ids");
    let source = testdata();
    let load = |taxi: &str, year, month| {
        let loaded = json(&database.load(taxi, year, month, source.to_str().unwrap()).output().unwrap());
        loaded["run_id"].as_str().unwrap().to_owned()
    };
    let (yellow, green) = (load("yellow", 2021, 1), load("green", 2020, 3));
    let show = |id: &str| taxi(["runs", "show", id]).env("DATABASE_URL", &database.url).output().unwrap();
    let alike = std::iter::zip(yellow.chars(), green.chars()).take_while(|(a, b)| a == b).count();
    for (id, file) in [(&yellow, "yellow_tripdata_2021-01.csv"), (&green, "green_tripdata_2020-03.csv")] {
        assert!(String::from_utf8(show(&id[28..]).stdout).unwrap().contains(file), "{}", &id[28..]);
        for length in [alike + 1, 35, 36] {
            let shown = show(&id[..length]);
            assert!(String::from_utf8(shown.stdout).unwrap().contains(file), "{}", &id[..length]);
        }
        assert!(show(&id.to_uppercase().replace('-', "")).status.success());
    }
    let error = refusal(&show(&yellow[..alike]), 64);
    for part in ["several runs", &yellow, &green, "green_tripdata_2020-03.csv", "hint: add more characters"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    let error = refusal(&show("abc"), 64);
    assert!(error.contains("no run with an id that begins or ends with abc"), "{error}");
    assert!(error.contains("hint: use 'taxi runs' to list the runs"), "{error}");
}

#[test]
fn verbose_shows_the_settings_without_passwords_and_the_phases_of_each_month() {
    let database = Database::new("verbose_log");
    let source = testdata();
    let source = source.to_str().unwrap();
    let range = [
        "backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-01", "--force", "--source", source,
    ];
    let log = |option: Option<&str>| {
        let output = taxi(range).args(option).env("DATABASE_URL", &database.url).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(log(None).lines().count(), 1);
    let verbose = log(Some("--verbose"));
    let password = database.url.split_once("taxi:").unwrap().1.split_once('@').unwrap().0;
    assert!(!verbose.contains(password), "{verbose}");
    let of_month = "taxi: yellow_tripdata_2021-01.csv: ";
    for part in [
        "taxi: database: 127.0.0.1:",
        "/verbose_log as taxi",
        &format!("taxi: source: {source}"),
        "taxi: timeouts: source 60s, database 60s, locks 60s; 5 retries",
        &format!("{of_month}prepare the rows are merged: "),
        &format!("{of_month}load 3001 rows staged ("),
        &format!("{of_month}commit 0 rows inserted ("),
    ] {
        assert!(verbose.contains(part), "no {part:?} in {verbose}");
    }
    let flow = "tests/flows/missing.yaml";
    let output = taxi(["run", flow, "-v"]).env("DATABASE_URL", &database.url).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("taxi: database: 127.0.0.1:"));
}

#[test]
fn a_host_name_that_does_not_exist_is_told_in_one_line() {
    let database = Database::new("unknown_host");
    let unknown = |args: &[&str], url: &str| {
        let load = ["load", "-q", "--taxi", "yellow", "--year", "2021", "--month", "1"];
        refusal(&taxi(load).args(args).env("DATABASE_URL", url).output().unwrap(), 69)
    };
    let errors = [
        unknown(&[], "postgresql://no-such-host.invalid/trips"),
        unknown(&["--retries", "0", "--source", "http://no-such-host.invalid/"], &database.url),
    ];
    for error in errors {
        let lines: Vec<&str> = error.lines().filter(|line| !line.starts_with("  hint: ")).collect();
        assert_eq!(lines.len(), 1, "{error}");
        assert_eq!(error.matches("no-such-host.invalid").count(), 1, "{error}");
        assert_eq!(error.matches("failed to lookup address information").count(), 1, "{error}");
    }
}
