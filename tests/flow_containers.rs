//! Tasks of flows in containers.

use serde_json::Value;

use crate::support::docker::{PROGRAM, docker};
use crate::support::{Database, flows, open_tempdir};

/// A flow whose tasks run in containers.
const CONTAINED: &str = r#"
id: contained
namespace: taxi.tests
pluginDefaults:
  - type: io.kestra.plugin.scripts.shell
    values:
      taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker, networkMode: none, pullPolicy: NEVER}
      containerImage: base:local
tasks:
  - id: write
    type: io.kestra.plugin.scripts.shell.Commands
    env: {TOKEN: "{{ secret('TOKEN') }}", TWO_LINES: "a\nb"}
    inputFiles: {in.txt: hello}
    outputFiles: [out.txt]
    commands:
      - test -e /.dockerenv
      - test "$(echo "$TWO_LINES" | wc -l)" = 2
      - mkdir -p below && cp in.txt below/mine.txt
      - echo "$(cat in.txt) $TOKEN" > out.txt
      - echo "the token is $TOKEN"
      - 'echo "::{\"outputs\": {\"user\": \"$(id -u)\"}}::"'
  - id: read
    type: io.kestra.plugin.scripts.shell.Script
    taskRunner: {type: io.kestra.plugin.scripts.runner.docker.Docker, networkMode: none, user: "1234", memory: {memory: 64MB}}
    script: |
      grep -q hello {{ outputs.write.outputFiles['out.txt'] }}
      echo kept > {{ outputDir }}/kept.txt
      echo '::{"outputs": {"user": "'$(id -u)'"}}::'
  - id: long
    type: io.kestra.plugin.scripts.shell.Commands
    timeout: PT1S
    allowFailure: true
    commands: [sleep 600]
  - id: unknown
    type: io.kestra.plugin.scripts.shell.Commands
    containerImage: nowhere.invalid/none:1
    commands: [echo never]
"#;

#[test]
fn a_task_with_an_image_runs_in_a_container_that_leaves_nothing_behind() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    let Some(docker) = docker() else { return };
    let database = Database::new("flow_containers");
    let folder = open_tempdir();
    let nobody = 65_534;
    // another user than root, who may use the daemon; its `docker` records the arguments
    let socket = docker.folder.join("docker.sock");
    std::fs::set_permissions(&socket, std::fs::Permissions::from_mode(0o666)).unwrap();
    let (program, arguments) = (folder.path().join("docker"), folder.path().join("arguments"));
    let script = format!("#!/bin/sh\necho \"$@\" >> '{}'\nexec {PROGRAM} \"$@\"\n", arguments.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(nobody), None).unwrap();
    let flow = folder.path().join("flow.yaml");
    std::fs::write(&flow, CONTAINED).unwrap();
    let scratch = folder.path().join("tmp");
    std::fs::create_dir(&scratch).unwrap();
    std::os::unix::fs::chown(&scratch, Some(nobody), None).unwrap();

    let mut command = flows::run(&database, &flow, &[]);
    command
        .env("DOCKER_HOST", docker.address())
        .env("TMPDIR", &scratch)
        .env("TOKEN", "t0p-s3cret")
        .uid(nobody);
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env_remove("HOME");
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(71), "{stderr}");
    assert!(stderr.contains("cannot start a container of the image nowhere.invalid/none:1"), "{stderr}");
    assert!(stderr.contains("the token is ******"), "{stderr}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let task = |id: &str| flows::task(&result, id).clone();
    assert_eq!(task("write")["outputs"]["vars"]["user"], "0");
    assert_eq!(task("read")["outputs"]["vars"]["user"], "1234");
    assert!(task("read")["outputs"]["outputFiles"]["kept.txt"].is_string());
    assert_eq!(task("long")["status"], "warning");
    assert!(task("long")["error"].as_str().unwrap().contains("exceeded its timeout"), "{result:#}");

    assert_eq!(docker.run(&["ps", "--all", "--quiet", "--filter", "name=taxi-0"]), "");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0, "files are left behind");
    let arguments = std::fs::read_to_string(arguments).unwrap();
    assert!(arguments.contains("--env-file") && !arguments.contains("s3cret"), "{arguments}");
}
