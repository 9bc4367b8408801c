//! Tasks that fetch Git repositories, and the tasks that use their files. No test needs a network.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::flows::{run, task, write};
use crate::support::http::{Reply, Server};
use crate::support::{Database, json as parsed, refusal};

fn git(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("git");
    command.args(["-c", "user.name=a", "-c", "user.email=a@b.example"]).args(arguments).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A repository with the branches `main` and `other`, the tag `v1` and namespace files.
fn repository(folder: &Path) -> String {
    git(folder, &["init", "--quiet", "--initial-branch=main"]);
    std::fs::create_dir_all(folder.join("project/queries")).unwrap();
    std::fs::write(folder.join("project/queries/one.sql"), "select 1\n").unwrap();
    std::fs::write(folder.join("project/run.sh"), "echo first\n").unwrap();
    git(folder, &["add", "."]);
    git(folder, &["commit", "--quiet", "-m", "first"]);
    git(folder, &["tag", "v1"]);
    let first = git(folder, &["rev-parse", "HEAD"]);
    std::fs::write(folder.join("project/run.sh"), "echo second\n").unwrap();
    git(folder, &["commit", "--quiet", "-am", "second"]);
    git(folder, &["checkout", "--quiet", "-b", "other"]);
    git(folder, &["rm", "--quiet", "project/queries/one.sql"]);
    git(folder, &["commit", "--quiet", "-m", "third"]);
    git(folder, &["checkout", "--quiet", "main"]);
    first
}

#[test]
fn clones_and_namespace_files_are_available_to_later_tasks() {
    let repository_folder = tempfile::tempdir().unwrap();
    let first = repository(repository_folder.path());
    let folder = tempfile::tempdir().unwrap();
    let text = r#"
id: cloned
namespace: taxi.tests
inputs:
  - {id: url, type: STRING}
  - {id: first, type: STRING}
tasks:
  - id: shared
    type: io.kestra.plugin.core.flow.WorkingDirectory
    inputFiles:
      before.txt: there before the clone
    tasks:
      - {id: clone, type: io.kestra.plugin.git.Clone, url: "{{ inputs.url }}", branch: main}
      - id: read
        type: io.kestra.plugin.scripts.shell.Commands
        commands:
          - 'echo "::{\"outputs\": {\"said\": \"$(sh project/run.sh)\", \"branch\": \"$(git branch --show-current)\"}}::"'
          - test -f before.txt
  - {id: tagged, type: io.kestra.plugin.git.Clone, url: "{{ inputs.url }}", tag: v1, directory: below}
  - {id: commit, type: io.kestra.plugin.git.Clone, url: "{{ inputs.url }}", commit: "{{ inputs.first }}"}
  - id: compare
    type: io.kestra.plugin.scripts.shell.Commands
    commands:
      - grep -q first {{ outputs.tagged.directory }}/project/run.sh
      - grep -q first {{ outputs.commit.directory }}/project/run.sh
  - id: planned
    type: io.kestra.plugin.git.SyncNamespaceFiles
    url: "{{ inputs.url }}"
    gitDirectory: project
    dryRun: true
  - id: local
    type: io.kestra.plugin.scripts.shell.Commands
    namespaceFiles: {enabled: true}
    commands: [test -f flow.yaml, test ! -e run.sh, test ! -e .hidden]
  - id: sync
    type: io.kestra.plugin.git.SyncNamespaceFiles
    url: "{{ inputs.url }}"
    gitDirectory: project
  - id: synced
    type: io.kestra.plugin.scripts.shell.Commands
    namespaceFiles: {enabled: true, exclude: ["*.sh"]}
    commands: [test -f queries/one.sql, test ! -e run.sh, test ! -e flow.yaml]
  - id: again
    type: io.kestra.plugin.git.SyncNamespaceFiles
    url: "{{ inputs.url }}"
    branch: other
    gitDirectory: project
    delete: true
  - id: after
    type: io.kestra.plugin.scripts.shell.Commands
    namespaceFiles: {folderPerNamespace: true, namespaces: ["{{ flow.namespace }}"]}
    commands: [test ! -e taxi.tests/queries/one.sql, sh taxi.tests/run.sh]
"#;
    let path = write(&folder, text);
    std::fs::write(folder.path().join(".hidden"), "x").unwrap();
    let database = Database::new("flow_git");
    let url = format!("url={}", repository_folder.path().display());
    let first = format!("first={first}");
    let mut command = run(&database, &path, &["-i", &url, "-i", &first]);
    let result = parsed(&command.output().unwrap());
    assert_eq!(task(&result, "read")["outputs"]["vars"], json!({ "said": "second", "branch": "main" }));
    let log = |id: &str| {
        database.value(&format!("SELECT log::text FROM taxi_etl.task_runs WHERE task_id = '{id}'"))
    };
    assert!(
        log("planned").contains("2 files of the namespace taxi.tests would be fetched"),
        "{}",
        log("planned")
    );
    assert!(log("sync").contains("2 files of the namespace taxi.tests are fetched"), "{}", log("sync"));
    assert!(log("after").contains("second"), "{}", log("after"));

    for (tasks, expected) in [
        (
            "{id: t, type: io.kestra.plugin.git.Clone, url: '{{ inputs.url }}', branch: none}",
            "git fetch exited with code",
        ),
        (
            "{id: t, type: io.kestra.plugin.git.Clone, url: '{{ inputs.url }}', directory: ../x}",
            "outside the working directory",
        ),
        (
            "{id: t, type: io.kestra.plugin.git.Clone, url: '{{ inputs.url }}', branch: '--upload-pack=x'}",
            "invalid name of a branch",
        ),
        (
            "{id: t, type: io.kestra.plugin.git.SyncNamespaceFiles, url: '{{ inputs.url }}'}",
            "has no folder \"_files\"",
        ),
        (
            "{id: t, type: io.kestra.plugin.scripts.shell.Commands, commands: [ls], namespaceFiles: {namespaces: [other]}}",
            "has not fetched files of the namespace other",
        ),
    ] {
        let text = format!(
            "id: refused\nnamespace: taxi.tests\ninputs: [{{id: url, type: STRING}}]\ntasks:\n  - {tasks}\n"
        );
        let output = run(&database, &write(&folder, &text), &["-i", &url]).output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(expected), "{error}");
    }
}

#[test]
fn credentials_reach_git_and_appear_nowhere() {
    let (source, site) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    repository(source.path());
    let bare = site.path().join("private.git");
    git(
        site.path(),
        &["clone", "--quiet", "--bare", source.path().to_str().unwrap(), bare.to_str().unwrap()],
    );
    git(&bare, &["update-server-info"]);
    let root = site.path().to_owned();
    let expected = format!("Basic {}", STANDARD.encode("ann:t0p-s3cret/w"));
    let server = Server::answering(move |request| match request.header("Authorization") {
        Some(given) if given == expected => Reply::file(&root, request),
        _ => Reply::status(401).header("WWW-Authenticate", "Basic realm=\"git\""),
    });
    let address = server.address.trim_start_matches("http://");
    let (separate, in_url) = (
        format!(
            "url: http://{address}/private.git\n    username: ann\n    password: \"{{{{ secret('TOKEN') }}}}\""
        ),
        format!("url: http://ann:t0p-s3cret%2Fw@{address}/private.git"),
    );
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new("flow_git_credentials");
    for remote in [separate, in_url] {
        let text = format!(
            "id: private\nnamespace: taxi.tests\ntasks:\n  - id: clone\n    type: io.kestra.plugin.git.Clone\n    depth: 0\n    \
             branch: main\n    {remote}\n  - id: read\n    type: io.kestra.plugin.scripts.shell.Commands\n    \
             commands: ['sh {{{{ outputs.clone.directory }}}}/project/run.sh', 'cat {{{{ outputs.clone.directory }}}}/.git/config']\n"
        );
        let mut command = run(&database, &write(&folder, &text), &[]);
        let output = command.env("TOKEN", "t0p-s3cret/w").output().unwrap();
        parsed(&output);
        let printed = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(printed.contains("second"), "{printed}");
        assert!(!printed.contains("s3cret"), "{printed}");
        let mut command = run(&database, &write(&folder, &text.replace("branch: main", "branch: none")), &[]);
        let error = refusal(&command.env("TOKEN", "t0p-s3cret/w").output().unwrap(), 71);
        assert!(error.contains("cannot check out") && !error.contains("s3cret"), "{error}");
    }
}
