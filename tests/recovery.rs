//! Recovery to a point in time, with exactly the commands of docs/backup.md.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::unistd::User;

use crate::support::http::Server;
use crate::support::month::yellow_csv;
use crate::support::targets::write_month;
use crate::support::{TAXI, is_root, open_tempdir, skipped};

const DOCS: &str = include_str!("../docs/backup.md");

/// The directory of the server's programs, with those that the drill needs.
fn programs() -> Option<PathBuf> {
    let installed = glob::glob("/usr/lib/postgresql/*/bin").unwrap().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = installed.chain(std::env::split_paths(&path));
    places
        .find(|dir| ["initdb", "pg_ctl", "pg_basebackup", "psql"].iter().all(|name| dir.join(name).is_file()))
}

/// A folder with a server of its own, which is stopped at the end.
struct Drill {
    folder: tempfile::TempDir,
    programs: PathBuf,
    port: u16,
    source: String,
}

impl Drill {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs a script as the user of the server. Returns its stdout.
    fn run(&self, script: &str) -> String {
        let mut command = Command::new("sh");
        command.args(["-euc", script]).current_dir(self.folder.path()).env_clear();
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{}:{path}", self.folder.path().display(), self.programs.display()));
        let user = if is_root() { "postgres".to_owned() } else { std::env::var("USER").unwrap_or_default() };
        command.env("PGUSER", "drill").env("PGDATABASE", "postgres").env("USER", user);
        command.env("PGHOST", self.folder.path()).env("PGPORT", self.port.to_string());
        command.env("TAXI_SOURCE", &self.source).env("HOME", self.folder.path());
        for (name, dir) in
            [("PGDATA", "data"), ("ARCHIVE", "archive"), ("BASE", "base"), ("RESTORED", "restored")]
        {
            command.env(name, self.path(dir));
        }
        if is_root() {
            let user = User::from_name("postgres").unwrap().unwrap();
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        let (stdout, stderr) = (self.path("stdout"), self.path("stderr"));
        // files, because the server inherits the streams and outlives the script
        command
            .stdout(std::fs::File::create(&stdout).unwrap())
            .stderr(std::fs::File::create(&stderr).unwrap());
        let status = command.status().unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert!(status.success(), "{script}\n{}\n{}", read(&stdout), read(&stderr));
        read(&stdout)
    }
}

impl Drop for Drill {
    fn drop(&mut self) {
        for data in ["data", "restored"] {
            let mut stop = Command::new(self.programs.join("pg_ctl"));
            stop.args(["stop", "--silent", "--mode", "immediate", "--pgdata"]).arg(self.path(data));
            if is_root() {
                let user = User::from_name("postgres").unwrap().unwrap();
                stop.uid(user.uid.as_raw()).gid(user.gid.as_raw());
            }
            let _ = stop.current_dir("/").output();
        }
    }
}

#[test]
fn the_documented_drill_recovers_the_moment_between_two_loads() {
    let Some(programs) = programs() else { return skipped("pg_basebackup is not installed") };
    if is_root() && User::from_name("postgres").unwrap().is_none() {
        return skipped("there is no user postgres");
    }
    let folder = open_tempdir();
    let months = tempfile::tempdir().unwrap();
    for month in ["2021-05", "2021-06", "2021-07"] {
        write_month(months.path(), month, &yellow_csv(500, month));
    }
    let site = Server::folder(months.path());
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    std::fs::copy(TAXI, folder.path().join("taxi")).unwrap();
    if is_root() {
        let user = User::from_name("postgres").unwrap().unwrap();
        nix::unistd::chown(folder.path(), Some(user.uid), Some(user.gid)).unwrap();
    }
    let drill = Drill { folder, programs, port, source: site.address.clone() };
    drill.run(
        "mkdir \"$ARCHIVE\"; initdb --no-sync --username drill --auth trust --encoding UTF8 --locale C >/dev/null\n\
         echo \"listen_addresses = ''\nunix_socket_directories = '$PGHOST'\nport = $PGPORT\nfsync = off\" >> \"$PGDATA/postgresql.conf\"\n\
         pg_ctl start --silent --log \"$PGDATA/server.log\"",
    );
    let blocks: Vec<&str> =
        DOCS.split("```sh drill\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 5);
    let output = drill.run(&blocks.concat());
    let verified = output.matches('✓').count();
    assert_eq!(verified, 2, "{output}");
    assert!(output.contains("1 loaded, 2 already loaded"), "{output}");
    let count = "psql -Atc \"SELECT filename, count(*) FROM yellow_tripdata GROUP BY 1 ORDER BY 1\"";
    let expected = ["05", "06", "07"].map(|month| format!("yellow_tripdata_2021-{month}.csv|500\n"));
    assert_eq!(drill.run(count), expected.concat());
}
