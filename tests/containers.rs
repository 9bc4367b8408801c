//! The container image, where Docker's daemon can be started (see `support::docker`).

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::docker::{Docker, VERSION, docker, image, text};
use crate::support::http::{Reply, Server};
use crate::support::{json, testdata, wait_until};

#[test]
fn the_image_loads_as_root_as_its_own_user_and_as_any_user_and_stops_within_10_seconds() {
    let Some(docker) = docker() else { return };
    let facts = "{{.Config.User}} {{.Config.StopSignal}} {{index .Config.Labels \"org.opencontainers.image.version\"}}";
    let facts = docker.run(&["image", "inspect", "--format", facts, &image("taxi")]);
    assert_eq!(facts, format!("10001 SIGTERM {VERSION}"));
    let any = fastrand::u32(20_000..60_000).to_string();
    std::thread::scope(|scope| {
        for user in ["0", "10001", &any] {
            scope.spawn(move || a_load_leaves_the_server_of_its_volume_intact(docker, user));
        }
        scope.spawn(|| a_container_that_is_stopped_rolls_back_and_stops_its_server(docker));
    });
}

fn a_load_leaves_the_server_of_its_volume_intact(docker: &Docker, user: &str) {
    let volume = format!("embedded_{user}");
    let load = ["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source", "/testdata"];
    let load = [&load[..], &["--output", "json"]].concat();
    let result = json(&docker.taxi(user, &volume, &["--network", "none"], &load).output().unwrap());
    assert_eq!(result["rows_inserted"], 3001, "{user}");
    let count = ["psql", "-Atc", "SELECT count(*) FROM yellow_tripdata"];
    let count = docker.taxi(user, &volume, &["--network", "none"], &count).output().unwrap();
    assert_eq!(text(count), "3001", "{user}");

    let log = docker.server_log(&volume);
    assert!(log.ends_with("database system is shut down"), "{user}: {log}");
    assert!(!log.contains("not properly shut down"), "{user}: {log}");
}

fn a_container_that_is_stopped_rolls_back_and_stops_its_server(docker: &Docker) {
    let file = std::fs::read(testdata().join("yellow/yellow_tripdata_2021-01.csv.gz")).unwrap();
    let half = file.len() / 2;
    let source = Server::new(move |_| Reply::ok(file.clone()).stalling_at(half));
    let source = format!("http://{}", source.address.trim_start_matches("http://"));
    let load = ["load", "--taxi", "yellow", "--year", "2021", "--month", "1", "--source", &source];
    let options = ["--network", "host", "--name", "stopped"];
    let mut command = docker.taxi("10001", "stopped", &options, &load);
    let load = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let processes = || {
        let top = docker.command(&["top", "stopped", "-eo", "pid,stat,args"]).output().unwrap();
        String::from_utf8_lossy(&top.stdout).into_owned()
    };
    wait_until("rows are copied", || processes().contains(" COPY"));
    assert!(!processes().lines().any(|line| line.contains("defunct")), "{}", processes());

    let began = Instant::now();
    docker.run(&["stop", "--time", "10", "stopped"]);
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let ended = load.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(143), "{}", String::from_utf8_lossy(&ended.stderr));
    let log = docker.server_log("stopped");
    assert!(log.ends_with("database system is shut down"), "{log}");
    let volume = docker.folder.join("data/volumes/stopped");
    let is_inside = |process: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_link(process.unwrap().path().join("cwd"))
            .is_ok_and(|folder| folder.starts_with(&volume))
    };
    assert!(!std::fs::read_dir("/proc").unwrap().any(is_inside), "a process is left");
}
