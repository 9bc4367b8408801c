//! What a person sees on a terminal: bars that fit its width and disappear, one notice after Ctrl-C, and tables that
//! fit.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::http::{Reply, Server};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::terminal::Terminal;
use crate::support::{Database, OwnServer, json, taxi, testdata};

const WIDTHS: [u16; 3] = [40, 80, 120];

/// Serves four months. The download of each takes this many seconds.
fn slow_site(folder: &Path, seconds: u64) -> Server {
    for name in ["2021-01", "2021-02", "2021-03", "2021-04"] {
        write(folder, "yellow", name, &gzip(yellow_csv(30_000, name).as_bytes()));
    }
    let folder = folder.to_owned();
    Server::answering(move |request| {
        let reply = Reply::file(&folder, request);
        let length = reply.body.len() as u64;
        reply.at_most(length / seconds)
    })
}

fn backfill(source: &str) -> Command {
    let mut command = taxi(["backfill", "--taxi", "yellow", "--from", "2021-01", "--to", "2021-04"]);
    command.args(["--jobs", "3", "--source", source]);
    command
}

/// Whether a row is part of a bar or a spinner.
fn is_drawn(row: &str) -> bool {
    row.contains(['█', '░']) || row.starts_with(|first: char| ('⠀'..='⣿').contains(&first))
}

/// Checks the drawn rows: each is a bar of its own, and no month has two.
fn check_drawn(rows: &[String]) -> usize {
    let first = rows.iter().position(|row| is_drawn(row));
    let drawn = &rows[first.unwrap_or(rows.len())..];
    let mut months = Vec::new();
    for row in drawn.iter().filter(|row| !row.starts_with("taxi: ")) {
        assert!(is_drawn(row) || row.is_empty(), "the row {row:?} is torn:\n{}", rows.join("\n"));
        months.extend(row.split_whitespace().find(|word| word.starts_with("yellow")));
    }
    let running = months.len();
    months.sort_unstable();
    months.dedup();
    assert_eq!(months.len(), running, "a month has two rows:\n{}", rows.join("\n"));
    running
}

#[test]
fn bars_fit_the_terminal_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let site = slow_site(folder.path(), 1);
    for width in WIDTHS {
        let database = Database::new(&format!("bars_{width}"));
        let mut command = backfill(&site.address);
        command.env("DATABASE_URL", &database.url);
        let mut terminal = Terminal::spawn(&command, width, [Some(Stdio::null()), None]);
        let mut most = 0;
        terminal.watch(|rows| {
            most = most.max(check_drawn(rows));
            false
        });
        let (status, rows) = terminal.finish();
        assert!(status.success(), "{}", rows.join("\n"));
        assert_eq!(most, 3, "a row for each running month");
        assert!(!rows.iter().any(|row| is_drawn(row)), "remains of bars:\n{}", rows.join("\n"));
        let ended = rows.iter().filter(|row| row.starts_with("taxi: yellow_tripdata_2021-")).count();
        assert_eq!(ended, 4, "{}", rows.join("\n"));
        if width >= 80 {
            assert_eq!(rows.len(), 4, "one line for each month:\n{}", rows.join("\n"));
        }
    }
}

#[test]
fn ctrl_c_is_told_once_and_leaves_no_bars_behind() {
    let folder = tempfile::tempdir().unwrap();
    let site = slow_site(folder.path(), 60);
    for width in WIDTHS {
        let database = Database::new(&format!("ctrl_c_{width}"));
        let results = tempfile::NamedTempFile::new().unwrap();
        let stdout = Stdio::from(results.reopen().unwrap());
        let mut command = backfill(&site.address);
        command.env("DATABASE_URL", &database.url);
        let mut terminal = Terminal::spawn(&command, width, [Some(stdout), None]);
        terminal.watch(|rows| {
            check_drawn(rows);
            rows.iter().filter(|row| row.starts_with("yellow")).count() == 3
        });
        terminal.press_ctrl_c();
        let (status, rows) = terminal.finish();
        let shown = rows.join("\n");
        assert_eq!(status.code(), Some(130), "{shown}");
        assert!(!rows.iter().any(|row| is_drawn(row)), "remains of bars:\n{shown}");
        let unwrapped = rows.concat();
        for (part, times) in [("cancelled by SIGINT: rolling back", 1), ("yellow_tripdata", 0), ("taxi: ", 2)]
        {
            assert_eq!(unwrapped.matches(part).count(), times, "{part:?} in\n{shown}");
        }
        let results = std::fs::read_to_string(results.path()).unwrap();
        assert!(results.ends_with("0 failed, 3 cancelled, 1 not started; 0 rows inserted\n"), "{results}");
    }
}

/// Lets frozen processes run again, even if the test fails.
struct Thaw(Vec<Pid>);

impl Drop for Thaw {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

#[test]
fn a_second_interrupt_leaves_no_bars_behind() {
    let folder = tempfile::tempdir().unwrap();
    let site = slow_site(folder.path(), 60);
    let server = OwnServer::created(None);
    let url = json(&server.taxi(&["up", "--output", "json"]).output().unwrap())["database_url"].clone();
    let mut command = backfill(&site.address);
    command.env("DATABASE_URL", url.as_str().unwrap());
    let mut terminal = Terminal::spawn(&command, 80, [None, None]);
    terminal.watch(|rows| check_drawn(rows) == 3);
    // a server that does not answer: the first Ctrl-C does not end the command yet
    let frozen = server.processes();
    frozen.iter().for_each(|pid| kill(*pid, Signal::SIGSTOP).unwrap());
    let thaw = Thaw(frozen);
    let began = Instant::now();
    terminal.interrupt();
    terminal.watch(|rows| {
        let is_told = rows.iter().any(|row| row.contains("cancelled by SIGINT"));
        is_told && check_drawn(rows) == 0 && rows.iter().any(|row| is_drawn(row))
    });
    terminal.interrupt();
    let (status, rows) = terminal.finish();
    let took = began.elapsed();
    drop(thaw);
    assert_eq!(status.code(), Some(130), "{rows:?}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    assert!(!rows.iter().any(|row| is_drawn(row)), "remains of bars:\n{}", rows.join("\n"));
}

#[test]
fn a_dumb_terminal_gets_plain_lines() {
    let database = Database::new("dumb_terminal");
    let mut command = backfill(testdata().to_str().unwrap());
    command.env("DATABASE_URL", &database.url).env("TERM", "dumb");
    let mut terminal = Terminal::spawn(&command, 80, [Some(Stdio::null()), None]);
    let mut is_plain = true;
    terminal.watch(|rows| {
        is_plain &= rows.iter().all(|row| !is_drawn(row));
        false
    });
    let (_, rows) = terminal.finish();
    assert!(is_plain && rows[0].starts_with("taxi: yellow_tripdata_2021-"), "{rows:?}");
}

#[test]
fn tables_fit_a_terminal_and_are_whole_elsewhere() {
    let database = Database::new("tables_fit");
    json(&database.load("yellow", 2021, 1, testdata().to_str().unwrap()).output().unwrap());
    let run = database.value("SELECT run_id FROM taxi_etl.runs");
    let verify = ["verify", "--taxi", "yellow,green", "--year", "2021"];
    let source = testdata();
    let backfill = ["backfill", "--taxi", "yellow,green", "--from", "2021-01", "--to", "2021-02", "--source"];
    let backfill = [&backfill[..], &[source.to_str().unwrap()]].concat();
    let whole_rows = [
        (&["runs"][..], format!("{run}  succeeded  yellow_tripdata_2021-01.csv     3,001        0")),
        (&verify[..], "3,001      3,001  1,369,765  ✗ differs from the published count".to_owned()),
        (&["doctor", "--source", source.to_str().unwrap()][..], "source, yellow".to_owned()),
        (&backfill[..], "yellow_tripdata_2021-01.csv  already loaded".to_owned()),
    ];
    for (args, whole_row) in whole_rows {
        for columns in [80, 200] {
            let mut command = taxi(args);
            command.env("DATABASE_URL", &database.url).env("TERM", "dumb");
            let (_, rows) = Terminal::spawn(&command, columns, [None, Some(Stdio::null())]).finish();
            let wrapped = rows.iter().any(|row| row.chars().count() == usize::from(columns));
            assert!(!wrapped, "{args:?} does not fit {columns} columns:\n{}", rows.join("\n"));
        }
        let output = taxi(args).env("DATABASE_URL", &database.url).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&whole_row), "no {whole_row:?} in\n{text}");
    }
    let mut command = taxi(["runs"]);
    let (_, rows) = Terminal::spawn(command.env("DATABASE_URL", &database.url), 80, [None, None]).finish();
    let shortened = &run[28..];
    assert!(rows[1].contains(shortened) && rows.len() == 2, "{rows:?}");
    let shown = taxi(["runs", "show", shortened]).env("DATABASE_URL", &database.url).output().unwrap();
    assert!(String::from_utf8(shown.stdout).unwrap().contains(&run));
}
