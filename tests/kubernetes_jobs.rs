//! Runs the commands of the Jobs in `deploy/kubernetes` as a cluster would: with the arguments, the variables and the rights
//! that the rendered manifests give them, against a server that the platform's own script has prepared.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::kubernetes::{Tools, container, documents, find, job_path, manifests};
use crate::support::month::{gzip, write, yellow_csv};
use crate::support::{OwnServer, TAXI, is_root, json, open_tempdir, refusal, skipped, testdata};

const SCRIPT: &str = "platform/postgres/create-loader.sql";

/// A server as the StatefulSet prepares it, and the jobs of an environment.
struct Cluster {
    tools: Tools,
    server: OwnServer,
    host: String,
    port: String,
    /// The program and the months, which every user can read.
    files: tempfile::TempDir,
    jobs: Vec<Value>,
}

impl Cluster {
    /// Returns `None` without the tools.
    fn start() -> Option<Self> {
        let tools = Tools::find()?;
        let server = OwnServer::created(None);
        let up = json(&server.taxi(&["up", "--output", "json"]).output().unwrap());
        let address = up["database_url"].as_str().unwrap().split_once('@').unwrap().1;
        let (host, port) = address.split_once('/').unwrap().0.split_once(':').unwrap();

        // taxi creates a database of this name, the image does not
        let script = manifests().join(SCRIPT);
        let sql =
            ["psql", "-Xq", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-c", "DROP DATABASE ny_taxi", "-f"];
        let mut prepare = server.taxi(&[&sql[..], &[script.to_str().unwrap()]].concat());
        let platform = tools.objects("prod", "platform");
        // the rendered script is this file
        let scripts = &find(&platform, "ConfigMap", "")["data"];
        assert_eq!(scripts["create-loader.sql"], std::fs::read_to_string(&script).unwrap());
        let pod = &find(&platform, "StatefulSet", "taxi-target")["spec"]["template"]["spec"];
        for variable in pod["containers"][0]["env"].as_array().unwrap() {
            let value = tools.secret(&variable["valueFrom"]["secretKeyRef"]);
            prepare.env(variable["name"].as_str().unwrap(), value);
        }
        let prepared = prepare.output().unwrap();
        assert!(prepared.status.success(), "{}", String::from_utf8_lossy(&prepared.stderr));

        let files = open_tempdir();
        std::fs::copy(TAXI, files.path().join("taxi")).unwrap();
        let jobs = ["jobs", "once"].map(|part| tools.objects("prod", part)).concat();
        let (host, port) = (host.to_owned(), port.to_owned());
        Some(Self { tools, server, host, port, files, jobs })
    }

    fn job(&self, kind: &str, name: &str) -> &Value {
        find(&self.jobs, kind, name)
    }

    /// Returns the command of a Job with its rights: as its user, without capabilities, in a read-only file system.
    fn command(&self, job: &Value, source: &Path, change: impl Fn(&str) -> String) -> Command {
        let container = container(job);
        let pod = &job.pointer(job_path(job).unwrap()).unwrap()["template"]["spec"];
        let user = pod["securityContext"]["runAsUser"].as_u64().unwrap();
        let args = container["args"].as_array().unwrap().iter().map(|arg| change(arg.as_str().unwrap()));
        let program = self.files.path().join("taxi");
        let mut command = if is_root() {
            let confined = format!(
                "mount -o remount,bind,ro / && exec setpriv --reuid={user} --regid={user} --clear-groups \
                 --no-new-privs --inh-caps=-all --bounding-set=-all \"$@\""
            );
            let mut command = Command::new("/usr/bin/unshare");
            command.args(["--mount", "sh", "-c", &confined, "sh"]).arg(program);
            command
        } else {
            skipped("only root can take away rights: the commands run as this user");
            Command::new(program)
        };
        command.args(args).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        for variable in container["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            let value = match name {
                "PGHOST" => self.host.clone(),
                "PGPORT" => self.port.clone(),
                _ => match variable["value"].as_str() {
                    Some(value) => value.to_owned(),
                    None => self.tools.secret(&variable["valueFrom"]["secretKeyRef"]),
                },
            };
            command.env(name, value);
        }
        command.env("TAXI_SOURCE", source).current_dir(self.files.path());
        command
    }

    /// Runs a Job's command as it is.
    fn run(&self, job: &Value, source: &Path) -> Output {
        self.command(job, source, str::to_owned).output().unwrap()
    }

    /// Runs all pods of an Indexed Job side by side. Returns their exit codes by index.
    fn run_indexed(&self, job: &Value, source: &Path) -> Vec<Option<i32>> {
        let pods = (0..job["spec"]["completions"].as_u64().unwrap()).map(|index| {
            let mut command = self.command(job, source, str::to_owned);
            command.env("JOB_COMPLETION_INDEX", index.to_string());
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let pods: Vec<_> = pods.collect();
        pods.into_iter().map(|mut pod| pod.wait().unwrap().code()).collect()
    }

    /// Returns what the loader reads from the database that it owns.
    fn value(&self, query: &str) -> String {
        let output = self.server.taxi(&["psql", "-XAtc", query]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Writes the year 2020 of yellow and adds the real months.
    fn source(&self) -> std::path::PathBuf {
        let source = self.files.path().join("source");
        for month in 1..=12 {
            let name = format!("2020-{month:02}");
            write(&source, "yellow", &name, &gzip(yellow_csv(20, &name).as_bytes()));
        }
        for (taxi, month) in [("yellow", "2021-01"), ("green", "2020-03")] {
            let file = testdata().join(format!("{taxi}/{taxi}_tripdata_{month}.csv.gz"));
            write(&source, taxi, month, &std::fs::read(file).unwrap());
        }
        source
    }
}

/// The exit codes for which a Job's policy takes this action.
fn codes(job: &Value, action: &str) -> Vec<i64> {
    let rules = &job.pointer(job_path(job).unwrap()).unwrap()["podFailurePolicy"]["rules"];
    let rule = rules.as_array().unwrap().iter().find(|rule| rule["action"] == action).unwrap();
    let values = rule["onExitCodes"]["values"].as_array().unwrap().iter();
    values.map(|code| code.as_i64().unwrap()).collect()
}

#[test]
fn the_jobs_check_and_load_with_the_rights_that_they_have_in_a_cluster() {
    let Some(cluster) = Cluster::start() else { return };
    let source = cluster.source();

    let doctor = cluster.job("Job", "taxi-doctor");
    let output = cluster.run(doctor, &source);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.contains("authentication: taxi_loader can connect to the database ny_taxi"), "{stdout}");

    // the Job with an index loads its range, side by side, and a month that is missing fails alone
    let range = cluster.job("Job", "taxi-backfill-range");
    let missing = source.join("yellow/yellow_tripdata_2020-07.csv.gz");
    let removed = std::fs::read(&missing).unwrap();
    std::fs::remove_file(&missing).unwrap();
    let mut expected = vec![Some(0); 12];
    expected[6] = Some(66);
    assert_eq!(cluster.run_indexed(range, &source), expected);
    assert!(codes(range, "FailIndex").contains(&66));
    let months = "SELECT count(DISTINCT filename) || ' ' || count(*) FROM yellow_tripdata";
    assert_eq!(cluster.value(months), "11 220");

    // created again, it loads what is missing
    std::fs::write(&missing, removed).unwrap();
    assert_eq!(cluster.run_indexed(range, &source), [Some(0); 12]);
    assert_eq!(cluster.value(months), "12 240");

    // the CronJob begins where this source begins
    let cron = cluster.job("CronJob", "taxi-backfill");
    let later = |arg: &str| arg.replace("2019-01", "2020-03");
    let first = json(&cluster.command(cron, &source, later).output().unwrap());
    assert_eq!(first["files_loaded"], 2, "{first}");
    assert_eq!(cluster.value("SELECT count(*) FROM green_tripdata"), "2001");
    let second = cluster.command(cron, &source, later).output().unwrap();
    assert_eq!(json(&second)["files_loaded"], 0);
    let printed = String::from_utf8([second.stdout, second.stderr].concat()).unwrap();
    assert!(!printed.contains("invented password"), "{printed}");
}

#[test]
fn the_exit_codes_of_the_jobs_are_those_of_their_policies() {
    let Some(mut cluster) = Cluster::start() else { return };
    let source = cluster.source();
    let cron = cluster.job("CronJob", "taxi-backfill").clone();
    let fails = codes(&cron, "FailJob");
    // the source has no month of 2019
    refusal(&cluster.run(&cron, &source), 66);
    assert!(fails.contains(&66));
    // somebody has changed the password
    let changed = ["psql", "-XqAt", "-c", "ALTER ROLE taxi_loader PASSWORD 'another'"];
    assert!(cluster.server.taxi(&changed).output().unwrap().status.success());
    refusal(&cluster.run(&cron, &source), 77);
    assert!(fails.contains(&77));
    // the server does not run: nothing listens on the port of this name
    cluster.port = "1".to_owned();
    refusal(&cluster.run(&cron, &source), 69);
    assert!(codes(&cron, "Count").contains(&69));
}

/// The README's commands name what exists.
#[test]
fn the_commands_of_the_readme_name_overlays_that_render() {
    let Some(tools) = Tools::find() else { return };
    let readme = std::fs::read_to_string(manifests().join("README.md")).unwrap();
    let folders =
        readme.lines().filter_map(|line| line.split_once("kubectl apply -k ").map(|(_, rest)| rest));
    let folders: Vec<&str> = folders.map(|rest| rest.split_whitespace().next().unwrap()).collect();
    assert!(folders.len() >= 3, "{folders:?}");
    for folder in folders {
        let objects = documents(&tools.render(&crate::support::kubernetes::repository().join(folder)));
        assert!(!objects.is_empty(), "{folder}");
    }
}
