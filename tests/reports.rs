//! The output of a load: its figures add up, stdout has only the result, and it shows no secret.

use crate::support::{Database, OwnServer, is_root, json, month, refusal, taxi, testdata};

#[test]
fn the_figures_of_a_load_add_up() {
    let database = Database::new("figures");
    let source = testdata();
    json(&database.load("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap());
    let loaded = json(&database.reload("yellow", 2021, 1, source.to_str().unwrap()).output().unwrap());
    let figure = |name: &str| loaded[name].as_u64().unwrap_or_else(|| panic!("no {name} in {loaded}"));
    assert_eq!(figure("rows_read"), figure("rows_staged") + figure("rows_rejected"));
    assert_eq!(figure("rows_staged"), figure("rows_inserted") + figure("rows_matched"));
    assert_eq!(loaded["status"], "loaded");
    assert_eq!(loaded["taxi"], "yellow");
    assert_eq!(loaded["filename"], "yellow_tripdata_2021-01.csv");
    assert_eq!(loaded["table"], "public.yellow_tripdata");
    let unzipped = {
        use std::io::Read as _;
        let file = std::fs::File::open(source.join("yellow/yellow_tripdata_2021-01.csv.gz")).unwrap();
        let mut bytes = Vec::new();
        flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
        bytes.len() as u64
    };
    assert_eq!(figure("bytes_csv"), unzipped);
    let phases = loaded["phases"].as_object().unwrap();
    let seconds: f64 = phases.values().map(|seconds| seconds.as_f64().unwrap()).sum();
    assert!(seconds <= loaded["seconds"].as_f64().unwrap() + 0.01, "{loaded}");
    assert!(["connect", "load", "commit"].iter().all(|phase| phases.contains_key(*phase)), "{loaded}");

    let run = database.sql(&format!(
        "SELECT pipeline, inputs->>'month', rows_read, rows_staged, rows_inserted, rows_matched, duplicate_keys, \
         tool_version, phases->>'load' FROM taxi_etl.runs WHERE run_id = '{}'",
        loaded["run_id"].as_str().unwrap()
    ));
    let expected = ["taxi.postgres_taxi", "01", "3001", "3001", "0", "3001", "1", env!("CARGO_PKG_VERSION")];
    assert_eq!(run[0][..8], expected);
    assert_eq!(run[0][8], phases["load"].to_string());
}

#[test]
fn without_a_terminal_each_phase_prints_a_line_at_its_start_and_its_end() {
    let database = Database::new("phase_lines");
    let output = database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap();
    json(&output);
    let stderr = String::from_utf8(output.stderr).unwrap();
    for phase in ["connect", "create_tables", "prepare", "load", "count_duplicates", "commit"] {
        let lines = stderr.lines().filter(|line| line.starts_with(&format!("taxi: {phase} "))).count();
        assert_eq!(lines, 2, "{phase} in\n{stderr}");
    }
    assert!(
        !stderr.contains('\u{1b}') && !stderr.contains('\r'),
        "control characters without a terminal: {stderr:?}"
    );
}

/// Runs `taxi` on a terminal, with `folder` as its source. Returns what it shows, or `None` without
/// script(1).
fn on_a_terminal(command: &str, folder: &std::path::Path, database: &Database) -> Option<String> {
    let script = std::path::Path::new("/usr/bin/script");
    if !script.exists() {
        crate::support::skipped("script(1) is not installed");
        return None;
    }
    let line = format!("{} {command} --source {}", crate::support::TAXI, folder.display());
    let mut terminal = std::process::Command::new(script);
    terminal.args(["-qec", &line, "/dev/null"]).env("DATABASE_URL", &database.url).env("TERM", "xterm");
    let output = terminal.stdin(std::process::Stdio::null()).output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{shown}");
    Some(shown)
}

#[test]
fn on_a_terminal_a_load_shows_a_progress_bar() {
    let database = Database::new("on_a_terminal");
    let folder = tempfile::tempdir().unwrap();
    month::write(folder.path(), "yellow", "2021-01", &month::yellow(100_000));
    let load = "load --taxi yellow --year 2021 --month 1";
    let Some(shown) = on_a_terminal(load, folder.path(), &database) else { return };
    for part in ["rows", "left", "B/s", "loaded yellow_tripdata_2021-01.csv into public.yellow_tripdata"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
}

#[test]
fn on_a_terminal_a_backfill_shows_a_bar_for_the_range_and_one_for_each_month() {
    let database = Database::new("backfill_terminal");
    let folder = tempfile::tempdir().unwrap();
    for name in ["2021-01", "2021-02", "2021-03"] {
        month::write(folder.path(), "yellow", name, &month::gzip(month::yellow_csv(60_000, name).as_bytes()));
    }
    let backfill = "backfill --taxi yellow --from 2021-01 --to 2021-03 --jobs 2";
    let Some(shown) = on_a_terminal(backfill, folder.path(), &database) else { return };
    let load = |month: &str| format!("yellow_tripdata_{month}.csv load");
    for part in ["0/3 files", "2/3 files", &load("2021-01"), &load("2021-02"), "3 loaded"] {
        assert!(shown.contains(part), "no {part:?} in {shown}");
    }
}

#[test]
fn the_servers_password_is_in_its_url_and_nowhere_else() {
    let server = OwnServer::new();
    let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let url = up["database_url"].as_str().unwrap();
    let password = url.split_once("taxi:").unwrap().1.split_once('@').unwrap().0;
    let source = testdata();
    let load = ["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source"];
    let loads = [source.to_str().unwrap(), "/nowhere"]
        .map(|source| server.taxi(&[&load[..], &[source]].concat()).output().unwrap());
    let down = server.taxi(&["down"]).output().unwrap();
    for output in loads.iter().chain([&down]) {
        let printed = [&output.stdout[..], &output.stderr[..]].concat();
        assert!(!String::from_utf8_lossy(&printed).contains(password));
    }
    // the only file that holds it is connection.json
    let holders =
        std::process::Command::new("grep").args(["-rlF", password]).arg(server.path()).output().unwrap();
    let holders = String::from_utf8(holders.stdout).unwrap();
    assert_eq!(holders.trim(), server.path().join("connection.json").to_str().unwrap());
}

#[test]
fn help_names_every_exit_code_and_prints_no_secret() {
    let output =
        taxi(["load", "--help"]).env("DATABASE_URL", "postgresql://ann:s3cret@host/db").output().unwrap();
    assert!(!String::from_utf8(output.stdout).unwrap().contains("s3cret"));
    let help = String::from_utf8(taxi(["--help"]).output().unwrap().stdout).unwrap();
    for kind in taxi_etl::error::Kind::ALL {
        assert!(help.contains(&format!("{}  {}", kind.exit_code(), kind.meaning())), "{help}");
    }
    refusal(&taxi(["load"]).output().unwrap(), 64);
    refusal(&taxi(["fly"]).output().unwrap(), 64);
}

#[test]
fn a_load_needs_at_most_64_mib_of_memory() {
    let status = std::path::Path::new("/proc/self/status");
    if !status.exists() {
        return crate::support::skipped("/proc does not exist");
    }
    let database = Database::new("memory");
    let folder = tempfile::tempdir().unwrap();
    month::write(folder.path(), "yellow", "2021-01", &month::yellow(300_000));
    let mut command = database.load("yellow", 2021, 1, folder.path().to_str().unwrap());
    let mut load =
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let mut peak_kib = 0;
    while load.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(format!("/proc/{}/status", load.id())).unwrap_or_default();
        let peak = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak_kib = peak.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(peak_kib);
    }
    assert!(load.wait().unwrap().success());
    assert!((1..=64 * 1024).contains(&peak_kib), "the load took {peak_kib} KiB at its peak");
}

#[test]
fn files_of_the_server_are_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let server = OwnServer::new();
    json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
    let mode = |name: &str| std::fs::metadata(server.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("connection.json"), 0o600);
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode("run"), 0o700);
    assert_eq!(mode("log"), 0o700);
    assert_eq!(mode(""), if is_root() { 0o710 } else { 0o700 });
}
