//! The ready-made files for orchestrators, tried with the real libraries where a Python has them: `TAXI_ORCHESTRATORS`
//! names that Python, made by `python3 -m venv` and `pip install -r tests/orchestrators/requirements.txt`.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use taxi_etl::error::Kind;

use crate::support::{Database, TAXI, open_tempdir, skipped, testdata};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A script of `tests/orchestrators/`, with this `taxi` on the PATH; nothing where there is no Python for it.
fn script(name: &str) -> Option<Command> {
    let Some(python) = std::env::var_os("TAXI_ORCHESTRATORS") else {
        skipped("TAXI_ORCHESTRATORS names no Python with the orchestrators' libraries");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(folder("tests/orchestrators").join(name)).arg(folder("examples"));
    let beside = Path::new(TAXI).parent().unwrap();
    command.env("PATH", format!("{}:{}", beside.display(), std::env::var("PATH").unwrap()));
    command.env("TAXI_SOURCE", testdata()).stdin(Stdio::null());
    Some(command)
}

fn passes(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

#[test]
fn airflow_loads_the_dag_and_runs_its_task() {
    let Some(mut script) = script("airflow_dag.py") else { return };
    let database = Database::new("with_airflow");
    passes(&script.env("DATABASE_URL", &database.url).output().unwrap());
}

#[test]
fn dagster_materializes_the_asset() {
    let Some(mut script) = script("dagster_assets.py") else { return };
    let database = Database::new("with_dagster");
    let home = open_tempdir();
    passes(&script.env("DATABASE_URL", &database.url).env("HOME", home.path()).output().unwrap());
}

#[test]
fn kubernetes_knows_every_field_of_the_manifests() {
    let Some(mut script) = script("kubernetes_schema.py") else { return };
    let lasting = Kind::ALL.iter().filter(|kind| !kind.is_worth_retrying());
    let codes: Vec<String> = lasting.map(|kind| kind.exit_code().to_string()).collect();
    passes(&script.arg(codes.join(",")).output().unwrap());
}

#[test]
fn the_schema_of_flows_tells_sound_ones_from_others() {
    let Some(mut script) = script("flow_schema.py") else { return };
    passes(&script.output().unwrap());
}

#[test]
fn kestra_reads_the_lines_as_its_own() {
    let Some(mut script) = script("kestra_lines.py") else { return };
    let database = Database::new("with_kestra");
    let mut load = database.load_as("kestra", "yellow", 2021, 1, testdata().to_str().unwrap());
    let mut load = load.stdout(Stdio::piped()).spawn().unwrap();
    passes(&script.stdin(load.stdout.take().unwrap()).output().unwrap());
    assert!(load.wait().unwrap().success());
}

/// The arguments of `taxi` in a line of shell, its variables filled in as a shell would.
fn arguments(line: &str, values: &[(&str, &str)]) -> Vec<String> {
    let script = format!("taxi() {{ printf '%s\\n' \"$@\"; }}; {line}");
    let output = Command::new("sh").args(["-c", &script]).envs(values.iter().copied()).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn is_understood(arguments: &[String]) {
    use clap::Parser as _;
    let parsed = taxi_etl::cli::Cli::try_parse_from(
        std::iter::once("taxi").chain(arguments.iter().map(String::as_str)),
    );
    assert!(parsed.is_ok(), "{arguments:?}: {}", parsed.unwrap_err());
}

#[test]
fn the_schedules_and_their_commands_are_valid() {
    let Some(mut script) = script("schedules.py") else { return };
    let command = passes(&script.output().unwrap());
    let values = [("BACKFILL_TAXI", "all"), ("BACKFILL_FROM", "2019-01"), ("BACKFILL_TO", "latest")];
    is_understood(&arguments(command.trim(), &values));
}

#[test]
fn the_commands_of_cron_systemd_and_kubernetes_are_understood() {
    let read = |name: &str| std::fs::read_to_string(folder("examples").join(name)).unwrap();
    let crontab = read("cron/crontab");
    let line = crontab.lines().find(|line| line.contains(" taxi backfill")).unwrap();
    is_understood(&arguments(&line[line.find("taxi ").unwrap()..], &[]));
    let unit = read("systemd/taxi-backfill.service");
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/local/bin/")).unwrap();
    is_understood(&arguments(line, &[]));
    for name in ["kubernetes/backfill-job.yaml", "kubernetes/backfill-cronjob.yaml"] {
        let manifest = read(name);
        let line = manifest.lines().find_map(|line| line.trim().strip_prefix("args: [")).unwrap();
        let args = line.trim_end_matches(']').split(", ").map(|arg| arg.trim_matches('"').to_owned());
        is_understood(&args.collect::<Vec<_>>());
    }
    // the same codes are worth no second try wherever a file says so
    let lasting = Kind::ALL.iter().filter(|kind| !kind.is_worth_retrying());
    let codes: Vec<String> = lasting.map(|kind| kind.exit_code().to_string()).collect();
    assert!(unit.contains(&format!("RestartPreventExitStatus={}\n", codes.join(" "))), "{codes:?}");
}

#[test]
fn systemd_accepts_the_units() {
    let analyze = "/usr/bin/systemd-analyze";
    if !Path::new(analyze).exists() {
        return skipped("there is no systemd-analyze");
    }
    let units = open_tempdir();
    for name in ["taxi-backfill.service", "taxi-backfill.timer"] {
        let text = std::fs::read_to_string(folder("examples/systemd").join(name)).unwrap();
        // it wants the program to be there
        std::fs::write(units.path().join(name), text.replace("/usr/local/bin/taxi", TAXI)).unwrap();
        let mut verify = Command::new(analyze);
        verify.args(["--recursive-errors=no", "--man=no", "verify"]).arg(units.path().join(name));
        passes(&verify.output().unwrap());
    }
}
