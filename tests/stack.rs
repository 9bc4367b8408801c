//! The compose stack, without a registry: the databases are a stand-in for the image `postgres`, and scripts stand in for
//! the programs of pgAdmin and Kestra (`tests/containers/stack.yaml`). `TAXI_COMPOSE` names the programs of a Python with
//! `docker-compose` and `check-jsonschema`, `TAXI_PGADMIN` a Python with pgAdmin.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::docker::{Docker, POSTGRES, VERSION, copy, docker, text};
use crate::support::{json, skipped};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Returns the folder of docker-compose and check-jsonschema, or says that the test is skipped.
fn programs() -> Option<PathBuf> {
    let folder = std::env::var_os("TAXI_COMPOSE").map(PathBuf::from);
    if folder.is_none() {
        skipped("TAXI_COMPOSE is not set");
    }
    folder
}

/// Returns docker-compose itself: the script that its Python package installs loses the exit code.
fn docker_compose(programs: &Path) -> PathBuf {
    let place = "import compose, pathlib; print(pathlib.Path(compose.__file__).with_name('docker-compose'))";
    PathBuf::from(text(Command::new(programs.join("python")).args(["-c", place]).output().unwrap()))
}

/// The stack in a folder of its own. Its containers, volumes and networks are removed at the end.
struct Stack<'a> {
    docker: &'a Docker,
    program: PathBuf,
    project: tempfile::TempDir,
}

impl<'a> Stack<'a> {
    fn new(docker: &'a Docker, program: PathBuf) -> Self {
        let project = tempfile::tempdir().unwrap();
        let files =
            ["docker", "testdata", "pipelines", "tests/containers/stack.yaml", "tests/containers/stand-ins"];
        copy(&files, project.path());
        std::fs::create_dir(project.path().join("examples")).unwrap();
        copy(&["examples/kestra"], &project.path().join("examples"));
        text(Command::new(project.path().join("docker/create-secrets")).output().unwrap());
        docker.build_stack();
        Self { docker, program, project }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.args(["--project-name", "taxi-test", "--file", "docker/compose.yaml"]);
        command.args(["--file", "stack.yaml"]).args(args).current_dir(self.project.path());
        command
            .env("DOCKER_HOST", self.docker.address())
            .env("TAXI_VERSION", VERSION)
            .env("POSTGRES_IMAGE", POSTGRES)
            .env("TARGET_PORT", "0");
        command.stdin(Stdio::null()).output().unwrap()
    }

    fn up(&self) {
        text(self.run(&["up", "--detach", "--wait"]));
    }

    fn down(&self, options: &[&str]) -> Output {
        self.run(&[&["--profile", "*", "down", "--timeout", "5"], options].concat())
    }

    /// Runs a job of a service, with the service's own command if there are no arguments.
    fn job(&self, service: &str, args: &[&str]) -> Output {
        self.run(&[&["run", "--rm", "-T", service], args].concat())
    }

    fn load(&self, taxi: &str, year: &str, month: &str) -> Output {
        let load = ["load", "--output", "json", "--taxi", taxi, "--year", year, "--month", month];
        self.job("taxi", &load)
    }

    fn sql(&self, query: &str) -> String {
        let script =
            "PGPASSWORD=$(cat /run/secrets/target_password) psql -h 127.0.0.1 -U taxi -d ny_taxi -Atc \"$0\"";
        text(self.run(&["exec", "-T", "target", "sh", "-c", script, query]))
    }

    fn count(&self) -> String {
        self.sql("SELECT count(*) FROM yellow_tripdata")
    }
}

impl Drop for Stack<'_> {
    fn drop(&mut self) {
        self.down(&["--volumes"]);
    }
}

#[test]
fn the_stack_checks_loads_backs_up_and_restores_and_keeps_its_data() {
    let (Some(docker), Some(programs)) = (docker(), programs()) else { return };
    let stack = Stack::new(docker, docker_compose(&programs));
    stack.up();
    a_job_starts_only_after_the_doctor_has_succeeded(&stack);
    a_killed_target_keeps_its_data(&stack);
    kestra_and_pgadmin_get_what_they_need(&stack);
    a_backup_is_restored_into_a_new_volume(&stack);
}

fn a_job_starts_only_after_the_doctor_has_succeeded(stack: &Stack) {
    // the doctor fails because of the yellow table, and no green month is loaded
    stack.sql("CREATE TABLE yellow_tripdata (id int)");
    let refused = stack.load("green", "2020", "3");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(stderr.contains("service \"doctor\" didn't complete successfully: exit 78"), "{refused:?}");
    assert_eq!(
        stack.sql("SELECT to_regclass('green_tripdata') IS NULL, to_regclass('taxi_etl.runs') IS NULL"),
        "t|t"
    );
    // what has failed in the log of the service is what has to be fixed
    let log = text(stack.run(&["logs", "--no-log-prefix", "doctor"]));
    assert!(log.contains("yellow_tripdata"), "{log}");

    stack.sql("DROP TABLE yellow_tripdata");
    assert_eq!(json(&stack.load("green", "2020", "3"))["rows_inserted"], 2001);
    let checks = text(stack.job("doctor", &[]));
    assert!(checks.contains("authentication: taxi can connect to the database ny_taxi"), "{checks}");
}

fn a_killed_target_keeps_its_data(stack: &Stack) {
    assert_eq!(json(&stack.load("yellow", "2021", "1"))["rows_inserted"], 3001);
    text(stack.run(&["kill", "target"]));
    text(stack.down(&[]));
    stack.up();
    assert_eq!(stack.count(), "3001");
    assert_eq!(json(&stack.load("yellow", "2021", "1"))["status"], "skipped");
}

/// The entry points of `compose.yaml` run as they are, up to the program of the image.
fn kestra_and_pgadmin_get_what_they_need(stack: &Stack) {
    let kestra = text(stack.job("kestra", &[]));
    assert!(kestra.contains("metadata answers"), "{kestra}");
    assert!(kestra.contains("\"filename\":\"yellow_tripdata_2021-01.csv\""), "{kestra}");
    assert!(kestra.contains("server standalone --flow-path /flows"), "{kestra}");
    for name in ["postgres_taxi.yaml", "taxi_backfill.yaml"] {
        assert!(kestra.lines().any(|line| line == name), "{name}: {kestra}");
    }

    let passwords = text(stack.job("pgadmin", &[]));
    let Some(python) = std::env::var_os("TAXI_PGADMIN") else { return skipped("TAXI_PGADMIN is not set") };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pgpass");
    std::fs::write(&file, passwords).unwrap();
    let container = text(stack.run(&["ps", "--quiet", "target"]));
    let address = "{{(index .NetworkSettings.Networks \"taxi-test_front\").IPAddress}}";
    let address = stack.docker.run(&["inspect", "--format", address, &container]);
    let mut pgadmin = Command::new(python);
    pgadmin.arg(format!("{ROOT}/tests/containers/pgadmin.py")).arg(folder.path());
    pgadmin.arg(format!("{ROOT}/docker/pgadmin/servers.json")).arg(file);
    // the name `target` exists in the stack's network only; libpq uses the address, and the name for the rest
    let output = text(pgadmin.env("PGHOSTADDR", address).stdin(Stdio::null()).output().unwrap());
    let opened = output.lines().find_map(|line| line.strip_prefix("opened ")).unwrap();
    let opened: Value = serde_json::from_str(opened).unwrap();
    assert_eq!(opened.as_array().unwrap().len(), 1, "{opened}");
    let (listed, answer) = (&opened[0]["listed"], &opened[0]["answer"]);
    assert_eq!((&listed["label"], &listed["host"]), (&"target".into(), &"target".into()));
    assert_eq!((&listed["db"], &listed["username"]), (&"ny_taxi".into(), &"taxi".into()));
    assert_eq!(answer["info"], "Server connected.", "{answer}");
    assert_eq!((&answer["data"]["db"], &answer["data"]["user"]["name"]), (&"ny_taxi".into(), &"taxi".into()));
}

fn a_backup_is_restored_into_a_new_volume(stack: &Stack) {
    let made = text(stack.job("backup", &[]));
    let dir = made.lines().next().unwrap();
    assert!(dir.starts_with("/backups/ny_taxi-"), "{made}");
    text(stack.down(&[]));
    stack.docker.run(&["volume", "rm", "taxi-test_target"]);
    stack.up();
    text(stack.job("backup", &["restore", dir]));
    assert_eq!(stack.count(), "3001");
    assert_eq!(json(&stack.load("green", "2020", "3"))["status"], "skipped");
}

#[test]
fn the_stack_is_valid_and_its_example_settings_are_the_defaults() {
    let Some(programs) = programs() else { return };
    let file = format!("{ROOT}/docker/compose.yaml");
    let schema = ["--builtin-schema", "vendor.compose-spec", &file];
    text(Command::new(programs.join("check-jsonschema")).args(schema).output().unwrap());
    let config = |settings: &str| {
        let mut command = Command::new(docker_compose(&programs));
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
    let example = format!("{ROOT}/docker/.env.example");
    let stack = config("/dev/null");
    assert_eq!(stack, config(&example));
    let [text, example] = [&file, &example].map(|path| std::fs::read_to_string(path).unwrap());
    let used: BTreeSet<_> = text.split("${").skip(1).map(|rest| rest.split(':').next().unwrap()).collect();
    let settings = example.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(used, settings.filter_map(|line| line.split_once('=').map(|(name, _)| name)).collect());

    let stack: Value = serde_json::from_str(&stack).unwrap();
    let healthy = |service| (service, "service_healthy");
    let doctor = ("doctor", "service_completed_successfully");
    let services: [(&str, &[&str], &[_]); 7] = [
        ("target", &[], &[]),
        ("doctor", &["admin", "jobs", "orchestrator"], &[healthy("target")]),
        ("taxi", &["jobs"], &[doctor, healthy("target")]),
        ("backup", &["backup"], &[healthy("target")]),
        ("pgadmin", &["admin"], &[doctor, healthy("target")]),
        ("metadata", &["orchestrator"], &[]),
        ("kestra", &["orchestrator"], &[doctor, healthy("metadata")]),
    ];
    assert_eq!(stack["services"].as_object().unwrap().len(), services.len());
    for (name, profiles, starts_after) in services {
        let service = &stack["services"][name];
        let found = service["profiles"].as_array().into_iter().flatten();
        let found: BTreeSet<_> = found.map(|profile| profile.as_str().unwrap()).collect();
        assert_eq!(found, profiles.iter().copied().collect(), "{name}");
        let found = service["depends_on"].as_object().into_iter().flatten();
        let found: Vec<_> =
            found.map(|(other, of)| (other.as_str(), of["condition"].as_str().unwrap())).collect();
        assert_eq!(found, starts_after, "{name}");
    }
    assert_eq!(stack["services"]["kestra"]["stop_grace_period"], "6m0s");
    assert_eq!(stack["networks"]["back"]["internal"], true);
    for (name, service) in stack["services"].as_object().unwrap() {
        for port in service["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
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
