//! The docs match the program: the transcript is what it prints, and the tables list what it has.

use crate::support::{Database, OwnServer, TAXI, json, testdata};

const README: &str = include_str!("../README.md");
const GETTING_STARTED: &str = include_str!("../docs/getting-started.md");
const COMMANDS: &str = include_str!("../docs/commands.md");
const CONFIGURATION: &str = include_str!("../docs/configuration.md");
const OPERATIONS: &str = include_str!("../docs/operations.md");
const RUN_HISTORY: &str = include_str!("../docs/run-history.md");

/// Returns the commands of the transcript, each with its output.
fn transcript() -> Vec<(String, Vec<String>)> {
    let block = GETTING_STARTED.split("```console\n").nth(1).unwrap().split("```").next().unwrap();
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => commands.push((command.to_owned(), Vec::new())),
            None => commands.last_mut().unwrap().1.push(line.to_owned()),
        }
    }
    commands
}

/// Replaces the parts of a line that differ between runs: times, ports, ids, passwords and paths.
fn normalize(line: &str) -> String {
    let word = |word: &str| {
        let digits = word.trim_matches(|c: char| !c.is_ascii_alphanumeric());
        let varies = word.contains("127.0.0.1:")
            || word.contains('/')
            || digits.parse::<f64>().is_ok_and(|_| word.contains('.'))
            || digits.len() == 36 && digits.matches('-').count() == 4;
        if varies { "*".to_owned() } else { word.to_owned() }
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_transcript_matches_the_output_of_the_commands() {
    let server = OwnServer::new();
    let commands = transcript();
    assert!(commands.len() >= 3, "{commands:?}");
    for (command, expected) in commands {
        // the docs build with cargo; here the program is built already
        let command = command.replace("cargo run --quiet --release --", "taxi");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("{command} 2>&1")]).current_dir(env!("CARGO_MANIFEST_DIR"));
        let program_folder = std::path::Path::new(TAXI).parent().unwrap();
        shell.env("PATH", format!("{}:{}", program_folder.display(), std::env::var("PATH").unwrap()));
        shell.env("TAXI_HOME", server.path()).env_remove("DATABASE_URL").env_remove("TAXI_SOURCE");
        let output = shell.output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{command}: {printed}");
        let expected: Vec<String> = expected.iter().map(|line| normalize(line)).collect();
        let printed: Vec<String> = printed.lines().map(normalize).collect();
        assert_eq!(printed, expected, "{command}");
    }
}

#[test]
fn the_exit_codes_match_the_program() {
    for kind in taxi_etl::error::Kind::ALL {
        let retry = if kind.is_worth_retrying() { "yes" } else { "no" };
        let row = format!("| {} | {} | {} | {retry} |", kind.exit_code(), kind.name(), kind.meaning());
        assert!(OPERATIONS.contains(&row), "missing: {row}");
    }
}

#[test]
fn every_command_and_setting_is_described() {
    use clap::CommandFactory as _;
    let cli = taxi_etl::cli::Cli::command();
    for command in cli.get_subcommands() {
        let name = format!("`taxi {}", command.get_name());
        assert!(COMMANDS.contains(&name), "missing: {name}");
        for argument in command.get_arguments().chain(cli.get_arguments()) {
            let names = argument.get_long().map(|long| format!("`--{long}"));
            let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
            for name in names.into_iter().chain(variable) {
                let is_described = [COMMANDS, CONFIGURATION].iter().any(|doc| doc.contains(&name));
                assert!(
                    name.contains("--help") || name.contains("--version") || is_described,
                    "missing: {name}"
                );
            }
        }
    }
}

#[test]
fn every_column_of_the_ledger_is_described() {
    let database = Database::new("ledger_columns");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let columns = "SELECT DISTINCT attname FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped \
                   AND attrelid IN ('taxi_etl.runs'::regclass, 'taxi_etl.task_runs'::regclass, \
                   'taxi_etl.rejects'::regclass, 'taxi_etl.key_values'::regclass)";
    for column in database.sql(columns) {
        assert!(RUN_HISTORY.contains(&format!("`{}`", column[0])), "missing: {}", column[0]);
    }
    let query = RUN_HISTORY.split("```sql\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(database.sql(query)[0][1..], ["succeeded", "1", "3001"]);
}

#[test]
fn links_within_the_docs_have_targets() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = std::fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    for file in docs.chain([root.join("README.md")]) {
        let text = std::fs::read_to_string(&file).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (path, heading) = link.split_once('#').unwrap_or((link, ""));
            if link.starts_with("http") {
                continue;
            }
            let target = if path.is_empty() { file.clone() } else { file.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", file.display());
            let headings =
                if heading.is_empty() { String::new() } else { std::fs::read_to_string(&target).unwrap() };
            let anchor = |line: &str| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-");
            let exists = headings.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
            assert!(heading.is_empty() || exists, "{}: {link}", file.display());
        }
    }
}

#[test]
fn the_readme_is_short() {
    assert!(README.lines().count() <= 160, "the README has {} lines", README.lines().count());
}
