//! The container image and the compose stack, where Docker's daemon can be started: `TAXI_CONTAINER_BASE` names a base
//! for the image (an archive that debootstrap or mmdebstrap made), `TAXI_COMPOSE` a folder with `docker-compose` and
//! `check-jsonschema`.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::http::{Reply, Server};
use crate::support::{TAXI, is_root, json, open_tempdir, skipped, testdata, wait_until};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// Debian's own program builds with BuildKit without a plugin.
const DOCKER: &str = "/usr/bin/docker";
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Docker's daemon with the image of taxi. It has its own folder and socket.
struct Docker {
    folder: PathBuf,
    /// Ends the daemon when its stdin closes, which happens however this process ends.
    _guard: Child,
}

static DOCKER_DAEMON: LazyLock<Option<Docker>> = LazyLock::new(|| {
    let base = std::env::var_os("TAXI_CONTAINER_BASE")?;
    if !is_root() || !Path::new(DOCKER).exists() {
        return None;
    }
    let folder = open_tempdir().keep();
    let script = "dockerd --default-ulimit nofile=1024:1024 --bridge none \
        --data-root \"$0/data\" --exec-root \"$0/exec\" --pidfile \"$0/pid\" -H \"unix://$0/docker.sock\" \
        >\"$0/log\" 2>&1 & daemon=$!; cat >/dev/null; kill $daemon; wait $daemon; rm -rf \"$0\"";
    let mut guard = Command::new("sh");
    guard.args(["-c", script]).arg(&folder).stdin(Stdio::piped());
    let guard = guard.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let docker = Docker { folder, _guard: guard };
    wait_until("the daemon answers", || docker.command(&["version"]).output().unwrap().status.success());
    docker.run(&["import", base.to_str().unwrap(), "base:local"]);
    docker.build();
    Some(docker)
});

/// Returns the daemon, or says that the test is skipped.
fn docker() -> Option<&'static Docker> {
    let docker = DOCKER_DAEMON.as_ref();
    if docker.is_none() {
        skipped("TAXI_CONTAINER_BASE is not set, or Docker is not installed, or this user is not root");
    }
    docker
}

/// Returns the folder of docker-compose and check-jsonschema, or says that the test is skipped.
fn compose_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("TAXI_COMPOSE").map(PathBuf::from);
    if folder.is_none() {
        skipped("TAXI_COMPOSE is not set");
    }
    folder
}

impl Docker {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(DOCKER);
        command
            .args(args)
            .env("DOCKER_HOST", self.address())
            .env("DOCKER_BUILDKIT", "1")
            .stdin(Stdio::null());
        command
    }

    fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    fn run(&self, args: &[&str]) -> String {
        text(self.command(args).output().unwrap())
    }

    /// Builds the image with the program under test, which is compiled already.
    fn build(&self) {
        let context = tempfile::tempdir().unwrap();
        let program = context.path().join("target/release/taxi");
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        std::fs::copy(TAXI, program).unwrap();
        let copied = Command::new("cp").arg("-r").arg(format!("{ROOT}/docker")).arg(context.path()).status();
        assert!(copied.unwrap().success());
        let file = context.path().join("docker/Dockerfile");
        let tag = format!("taxi-etl:{VERSION}");
        let mut args = vec!["build", "--network", "host", "--file", file.to_str().unwrap(), "--tag", &tag];
        args.extend(["--build-arg", "RUNTIME_IMAGE=base:local", "--build-arg", "BINARY=prebuilt"]);
        args.push(context.path().to_str().unwrap());
        self.run(&args);
    }

    /// A `docker run` of taxi with a volume for the embedded server. The file system of the image is read-only.
    fn taxi(&self, user: &str, volume: &str, options: &[&str], args: &[&str]) -> Command {
        let mut command = self.command(&["run", "--rm", "--read-only", "--user", user]);
        command.args(["--volume", &format!("{volume}:/var/lib/taxi-etl")]);
        command.args(["--volume", &format!("{}:/testdata:ro", testdata().display())]);
        command.args(options).arg(format!("taxi-etl:{VERSION}")).args(args);
        command
    }

    /// The log of the embedded server of a volume.
    fn server_log(&self, volume: &str) -> String {
        let image = format!("taxi-etl:{VERSION}");
        let volume = format!("{volume}:/var/lib/taxi-etl");
        let log = "/var/lib/taxi-etl/log/server.log";
        self.run(&["run", "--rm", "-u", "0", "-v", &volume, "--entrypoint", "cat", &image, log])
    }
}

fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn the_image_loads_as_root_as_its_own_user_and_as_any_user() {
    let Some(docker) = docker() else { return };
    let any = fastrand::u32(20_000..60_000).to_string();
    for user in ["0", "10001", &any] {
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
}

#[test]
fn a_container_that_is_stopped_rolls_back_and_stops_its_server_within_10_seconds() {
    let Some(docker) = docker() else { return };
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

/// The stack with the databases of `tests/containers/stack.yaml`. Its volumes are removed at the end.
struct Stack<'a> {
    docker: &'a Docker,
    program: PathBuf,
    project: tempfile::TempDir,
}

impl Stack<'_> {
    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(["--project-name", "taxi-test", "--file", "docker/compose.yaml"]);
        command.args(["--file", "stack.yaml"]).args(args).current_dir(self.project.path());
        command
            .env("DOCKER_HOST", self.docker.address())
            .env("TAXI_VERSION", VERSION)
            .env("TARGET_PORT", "0");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn count(&self) -> String {
        let query = "PGPASSWORD=$(cat /run/secrets/target_password) psql -h 127.0.0.1 -U taxi -d ny_taxi -Atc \
            'SELECT count(*) FROM yellow_tripdata'";
        text(self.run(&["exec", "-T", "target", "sh", "-c", query]))
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        self.run(&["--profile", "*", "down", "--volumes", "--timeout", "5"]);
    }
}

#[test]
fn the_stack_checks_its_target_before_a_job_loads_and_keeps_its_data_when_the_target_is_killed() {
    let (Some(docker), Some(folder)) = (docker(), compose_folder()) else { return };
    let project = tempfile::tempdir().unwrap();
    for name in ["docker", "testdata", "pipelines", "tests/containers/stack.yaml"] {
        let copied = Command::new("cp").arg("-r").arg(format!("{ROOT}/{name}")).arg(project.path()).status();
        assert!(copied.unwrap().success());
    }
    text(Command::new(project.path().join("docker/create-secrets")).output().unwrap());
    let stack = Stack { docker, program: folder.join("docker-compose"), project };
    let load = ["run", "--rm", "-T", "taxi", "load", "--output", "json"];
    let load = [&load[..], &["--taxi", "yellow", "--year", "2021", "--month", "1"]].concat();

    text(stack.run(&["up", "--detach", "--wait"]));
    let checks = text(stack.run(&["run", "--rm", "-T", "doctor"]));
    assert!(checks.contains("authentication: taxi can connect to the database ny_taxi"), "{checks}");
    assert_eq!(json(&stack.run(&load))["rows_inserted"], 3001);
    text(stack.run(&["up", "--detach", "--wait", "metadata"]));

    text(stack.run(&["kill", "target"]));
    text(stack.run(&["up", "--detach", "--wait"]));
    assert_eq!(stack.count(), "3001");
    text(stack.run(&["--profile", "*", "down", "--timeout", "5"]));
    text(stack.run(&["up", "--detach", "--wait"]));
    assert_eq!(json(&stack.run(&load))["status"], "skipped");
    assert_eq!(stack.count(), "3001");
}

#[test]
fn the_stack_is_valid_and_its_example_settings_are_the_defaults() {
    let Some(folder) = compose_folder() else { return };
    let file = format!("{ROOT}/docker/compose.yaml");
    let schema = ["--builtin-schema", "vendor.compose-spec", &file];
    text(Command::new(folder.join("check-jsonschema")).args(schema).output().unwrap());
    let config = |settings: &str| {
        let mut command = Command::new(folder.join("docker-compose"));
        command.args([
            "--file",
            &file,
            "--env-file",
            settings,
            "--profile",
            "*",
            "config",
            "--format",
            "json",
        ]);
        text(command.env_clear().output().unwrap())
    };
    let stack = config("/dev/null");
    assert_eq!(stack, config(&format!("{ROOT}/docker/.env.example")));

    let stack: Value = serde_json::from_str(&stack).unwrap();
    for (name, service) in stack["services"].as_object().unwrap() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        for (other, dependency) in service["depends_on"].as_object().into_iter().flatten() {
            assert_ne!(dependency["condition"], "service_started", "{name} on {other}");
        }
        let has = |pointer: &str| service.pointer(pointer).is_some_and(|value| !value.is_null());
        assert!(has("/deploy/resources/limits/memory"), "{name} has no limit");
        assert!(has("/logging/options/max-size"), "{name} does not rotate its log");
        assert!(has("/stop_grace_period"), "{name} has no stop_grace_period");
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_secret = variable.contains("PASSWORD") || variable.contains("SECRET");
            assert!(!is_secret || value.as_str().unwrap().starts_with("/run/secrets/"), "{name}: {variable}");
        }
    }
}
