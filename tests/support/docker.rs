//! Docker's daemon with the images of `docker/Dockerfile`. `TAXI_CONTAINER_BASE` names a base for them: an archive that
//! debootstrap or mmdebstrap made.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;

use super::{TAXI, is_root, open_tempdir, skipped, testdata, wait_until};

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The image that takes the place of `postgres`.
pub(crate) const POSTGRES: &str = "postgres:local";
/// Debian's own program builds with BuildKit without a plugin.
pub(crate) const PROGRAM: &str = "/usr/bin/docker";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Docker's daemon with the image of taxi. It has its own folder and socket.
pub(crate) struct Docker {
    pub(crate) folder: PathBuf,
    /// What the images are built from.
    context: PathBuf,
    /// Ends the daemon when its stdin closes, which happens however this process ends.
    _guard: Child,
}

static DAEMON: LazyLock<Option<Docker>> = LazyLock::new(|| {
    let base = std::env::var_os("TAXI_CONTAINER_BASE")?;
    if !is_root() || !Path::new(PROGRAM).exists() {
        return None;
    }
    let folder = open_tempdir().keep();
    let script = "dockerd --default-ulimit nofile=1024:1024 --bridge none \
        --data-root \"$0/data\" --exec-root \"$0/exec\" --pidfile \"$0/pid\" -H \"unix://$0/docker.sock\" \
        >\"$0/log\" 2>&1 & daemon=$!; cat >/dev/null; kill $daemon; wait $daemon; \
        umount \"$0/exec/netns/default\"; rm -rf \"$0\"";
    let mut guard = Command::new("sh");
    guard.args(["-c", script]).arg(&folder).stdin(Stdio::piped());
    let guard = guard.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let docker = Docker { context: context(&folder), folder, _guard: guard };
    wait_until("the daemon answers", || docker.command(&["version"]).output().unwrap().status.success());
    docker.run(&["import", base.to_str().unwrap(), "base:local"]);
    docker.build("taxi", "RUNTIME_IMAGE=base:local", &[]);
    Some(docker)
});

/// The tag of a stage of the Dockerfile, as `compose.yaml` names it.
pub(crate) fn image(stage: &str) -> String {
    let name = if stage == "taxi" { String::new() } else { format!("-{stage}") };
    format!("taxi-etl{name}:{VERSION}")
}

/// Returns the daemon, or says that the test is skipped.
pub(crate) fn docker() -> Option<&'static Docker> {
    let docker = DAEMON.as_ref();
    if docker.is_none() {
        skipped("TAXI_CONTAINER_BASE is not set, or Docker is not installed, or this user is not root");
    }
    docker
}

/// Puts the files that the images are built from into `folder`, with the program under test, which is compiled already.
fn context(folder: &Path) -> PathBuf {
    let context = folder.join("context");
    let program = context.join("target/release/taxi");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::copy(TAXI, program).unwrap();
    copy(&["docker"], &context);
    context
}

/// Copies files and folders of the repository.
pub(crate) fn copy(names: &[&str], to: &Path) {
    for name in names {
        let copied = Command::new("cp").arg("-r").arg(format!("{ROOT}/{name}")).arg(to).status();
        assert!(copied.unwrap().success(), "{name}");
    }
}

/// Returns the stdout of a command that succeeded.
pub(crate) fn text(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Docker {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .env("DOCKER_HOST", self.address())
            .env("DOCKER_BUILDKIT", "1")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}/docker.sock", self.folder.display())
    }

    pub(crate) fn run(&self, args: &[&str]) -> String {
        text(self.command(args).output().unwrap())
    }

    /// Builds the image of a stage, with this base.
    fn build(&self, stage: &str, base: &str, options: &[&str]) {
        let (file, tag) = (self.context.join("docker/Dockerfile"), image(stage));
        let args = ["build", "--network", "host", "--tag", &tag, "--file", file.to_str().unwrap()];
        let build_args = ["--build-arg", "BINARY=prebuilt", "--build-arg", base];
        self.run(&[&args[..], &build_args, options, &[self.context.to_str().unwrap()]].concat());
    }

    /// Builds the other images of the stack, with a stand-in for the image `postgres`.
    pub(crate) fn build_stack(&self) {
        let folder = format!("{ROOT}/tests/containers/postgres");
        let taxi = format!("TAXI_IMAGE={}", image("taxi"));
        self.run(&["build", "--tag", POSTGRES, "--build-arg", &taxi, &folder]);
        for (stage, base) in [("backup", "POSTGRES_IMAGE"), ("kestra", "KESTRA_IMAGE")] {
            self.build(stage, &format!("{base}={POSTGRES}"), &["--target", stage]);
        }
    }

    /// A `docker run` of taxi with a volume for the embedded server. The file system of the image is read-only.
    pub(crate) fn taxi(&self, user: &str, volume: &str, options: &[&str], args: &[&str]) -> Command {
        let mut command = self.command(&["run", "--rm", "--read-only", "--user", user]);
        command.args(["--volume", &format!("{volume}:/var/lib/taxi-etl")]);
        command.args(["--volume", &format!("{}:/testdata:ro", testdata().display())]);
        command.args(options).arg(image("taxi")).args(args);
        command
    }

    /// The log of the embedded server of a volume.
    pub(crate) fn server_log(&self, volume: &str) -> String {
        let volume = format!("{volume}:/var/lib/taxi-etl");
        let log = "/var/lib/taxi-etl/log/server.log";
        self.run(&["run", "--rm", "-u", "0", "-v", &volume, "--entrypoint", "cat", &image("taxi"), log])
    }
}
