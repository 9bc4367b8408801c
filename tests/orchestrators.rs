//! Tests the example files for orchestrators with the real libraries. `TAXI_ORCHESTRATORS` names a Python
//! that has them, created with `python3 -m venv` and `pip install -r tests/orchestrators/requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use taxi_etl::error::Kind;

use crate::support::month::{gzip, write, yellow_csv};
use crate::support::{Database, TAXI, is_root, open_tempdir, skipped, testdata};

/// The id of a user without any rights.
const OTHER_ID: u32 = 65534;
const SYSTEMD_ANALYZE: &str = "/usr/bin/systemd-analyze";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns a command for a script of `tests/orchestrators/`, with this `taxi` on the PATH. Returns `None`
/// without a Python for it.
fn script(name: &str) -> Option<Command> {
    let Some(python) = std::env::var_os("TAXI_ORCHESTRATORS") else {
        skipped("TAXI_ORCHESTRATORS is not set");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(folder("tests/orchestrators").join(name)).arg(folder("examples"));
    let program_folder = Path::new(TAXI).parent().unwrap();
    command.env("PATH", format!("{}:{}", program_folder.display(), std::env::var("PATH").unwrap()));
    command.env("TAXI_SOURCE", testdata()).stdin(Stdio::null());
    Some(command)
}

fn assert_success(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    stdout
}

/// The exit codes after which a retry cannot succeed.
fn permanent_codes() -> Vec<String> {
    let permanent = Kind::ALL.iter().filter(|kind| !kind.is_worth_retrying());
    permanent.map(|kind| kind.exit_code().to_string()).collect()
}

#[test]
fn airflow_maps_a_task_a_month_and_retries_only_what_a_retry_can_fix() {
    let Some(mut script) = script("airflow_dag.py") else { return };
    let database = Database::new("with_airflow");
    script.arg(permanent_codes().join(",")).env("DATABASE_URL", &database.url);
    assert_success(&script.output().unwrap());
}

#[test]
fn dagster_materializes_the_asset() {
    let Some(mut script) = script("dagster_assets.py") else { return };
    let database = Database::new("with_dagster");
    let home = open_tempdir();
    let output = script.env("DATABASE_URL", &database.url).env("HOME", home.path()).output().unwrap();
    let stdout = assert_success(&output);
    // Dagster collects what the processes print, beside their messages
    let printed = stdout + &String::from_utf8_lossy(&output.stderr);
    let own = printed.lines().filter(|line| line.starts_with("taxi: ")).collect::<Vec<_>>();
    assert!(own.is_empty(), "lines that Dagster shows twice: {own:?}");
}

#[test]
fn the_flow_schema_accepts_valid_flows_and_refuses_invalid_ones() {
    let Some(mut script) = script("flow_schema.py") else { return };
    assert_success(&script.output().unwrap());
}

#[test]
fn the_kestra_library_reads_the_output_lines() {
    let Some(mut script) = script("kestra_lines.py") else { return };
    let database = Database::new("with_kestra");
    let mut load = database.load_as("kestra", "yellow", 2021, 1, testdata().to_str().unwrap());
    let mut load = load.stdout(Stdio::piped()).spawn().unwrap();
    assert_success(&script.stdin(load.stdout.take().unwrap()).output().unwrap());
    assert!(load.wait().unwrap().success());
}

/// Returns the arguments of `taxi` in a shell line, after the shell has expanded its variables.
fn arguments(line: &str, values: &[(&str, &str)]) -> Vec<String> {
    let script = format!("taxi() {{ printf '%s\\n' \"$@\"; }}; {line}");
    let output = Command::new("sh").args(["-c", &script]).envs(values.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn assert_parses(arguments: &[String]) {
    use clap::Parser as _;
    let parsed = taxi_etl::cli::Cli::try_parse_from(
        std::iter::once("taxi").chain(arguments.iter().map(String::as_str)),
    );
    assert!(parsed.is_ok(), "{arguments:?}: {}", parsed.unwrap_err());
}

#[test]
fn the_schedules_and_their_commands_are_valid() {
    let Some(mut script) = script("schedules.py") else { return };
    let command = assert_success(&script.output().unwrap());
    let values = [("BACKFILL_TAXI", "yellow,green"), ("BACKFILL_FROM", "2019-01"), ("BACKFILL_TO", "latest")];
    assert_parses(&arguments(command.trim(), &values));
}

#[test]
fn the_commands_of_cron_and_systemd_are_valid() {
    let read = |name: &str| std::fs::read_to_string(folder("examples").join(name)).unwrap();
    let crontab = read("cron/crontab");
    let line = crontab.lines().find(|line| line.contains(" taxi backfill")).unwrap();
    assert_parses(&arguments(&line[line.find("taxi ").unwrap()..], &[]));
    let unit = read("systemd/taxi-backfill.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
    assert_parses(&arguments(line, &[]));
    // the exit codes that no retry can fix
    let codes = permanent_codes().join(" ");
    assert!(unit.contains(&format!("RestartPreventExitStatus={codes}\n")), "{codes}");
}

#[test]
fn systemd_accepts_the_units() {
    if !Path::new(SYSTEMD_ANALYZE).exists() {
        return skipped("systemd-analyze is not installed");
    }
    let units = open_tempdir();
    for name in ["taxi-backfill.service", "taxi-backfill.timer"] {
        let text = std::fs::read_to_string(folder("examples/systemd").join(name)).unwrap();
        // systemd-analyze checks that the program exists
        std::fs::write(units.path().join(name), text.replace("/usr/local/bin/taxi", TAXI)).unwrap();
        let mut verify = Command::new(SYSTEMD_ANALYZE);
        verify.args(["--recursive-errors=no", "--man=no", "verify"]).arg(units.path().join(name));
        let output = verify.output().unwrap();
        assert_success(&output);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{name}");
    }
}

#[test]
fn the_service_of_systemd_is_sandboxed() {
    if !Path::new(SYSTEMD_ANALYZE).exists() {
        return skipped("systemd-analyze is not installed");
    }
    let service = folder("examples/systemd/taxi-backfill.service");
    let mut security = Command::new(SYSTEMD_ANALYZE);
    // the threshold is the exposure times ten: the command fails above it
    security.args(["security", "--offline=true", "--threshold=29", "--no-pager"]).arg(&service);
    assert!(assert_success(&security.output().unwrap()).contains("Overall exposure level"));
    // the test fails if the service is not sandboxed
    let open = open_tempdir();
    let text = std::fs::read_to_string(&service).unwrap();
    let text = text.split("# no rights of root").next().unwrap();
    std::fs::write(open.path().join("open.service"), text).unwrap();
    let mut security = Command::new(SYSTEMD_ANALYZE);
    security
        .args(["security", "--offline=true", "--threshold=29", "--no-pager"])
        .arg(open.path().join("open.service"));
    assert!(!security.output().unwrap().status.success());
}

/// Runs the command of the service as systemd does: as another user without any rights, with the variables of the
/// unit alone, in a state directory that is the only place to write to.
#[test]
fn the_service_of_systemd_runs_without_root_in_its_state_directory() {
    if !is_root() || !Path::new("/usr/bin/setpriv").exists() {
        return skipped("only root can become another user, and with setpriv");
    }
    let state = open_tempdir();
    let home = state.path().join("taxi-etl");
    std::fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(OTHER_ID), Some(OTHER_ID)).unwrap();
    let program = state.path().join("taxi");
    std::fs::copy(TAXI, &program).unwrap();
    let source = state.path().join("source");
    write(&source, "yellow", "2021-01", &gzip(yellow_csv(50, "2021-01").as_bytes()));

    let unit = std::fs::read_to_string(folder("examples/systemd/taxi-backfill.service")).unwrap();
    let setting = |name: &str| {
        let value = unit.lines().find_map(|line| line.strip_prefix(&format!("{name}="))).unwrap();
        value.replace("%S", state.path().to_str().unwrap())
    };
    assert_eq!(setting("StateDirectory"), "taxi-etl");
    let run = |arguments: &[&str]| {
        let mut command = Command::new("/usr/bin/setpriv");
        let user = [format!("--reuid={OTHER_ID}"), format!("--regid={OTHER_ID}")];
        let rights = ["--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
        command.args(user).args(rights).arg(&program).args(arguments);
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(setting("WorkingDirectory"));
        let environment = setting("Environment");
        command.envs(environment.split(' ').map(|variable| variable.split_once('=').unwrap()));
        command.stdin(Stdio::null()).output().unwrap()
    };
    // the range of the unit, as far as this source has it
    let command = setting("ExecStart").replace("2019-01", "2021-01").replace("--to latest", "--to 2021-01");
    let arguments: Vec<&str> = command.split(' ').skip(1).collect();
    let only_yellow: Vec<&str> = arguments
        .iter()
        .map(|argument| if *argument == "yellow,green" { "yellow" } else { argument })
        .collect();
    let output = run(&[&only_yellow[..], &["--source", source.to_str().unwrap()]].concat());
    let down = run(&["down"]);
    let stdout = assert_success(&output);
    assert_success(&down);
    assert!(stdout.contains("1 loaded"), "{stdout}");
    assert!(home.join("data/PG_VERSION").exists(), "the data is not in the state directory");
}
