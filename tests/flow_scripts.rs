//! Tasks with scripts and commands: shell, Python and Node.js, as processes.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::flows::{flow, run, task, write};
use crate::support::{Database, json as parsed, refusal};

/// The messages in the log of a task, each with its level.
fn log(database: &Database, id: &str) -> String {
    database.value(&format!(
        "SELECT string_agg((line ->> 'level') || ' ' || (line ->> 'message'), E'\\n') \
         FROM taxi_etl.task_runs, jsonb_array_elements(log) AS line WHERE task_id = '{id}'"
    ))
}

fn text_of(file: &Value) -> String {
    file.as_str().unwrap_or_else(|| panic!("not a file: {file}")).to_owned()
}

#[test]
fn scripts_hand_files_outputs_and_log_lines_to_the_flow() {
    let database = Database::new("flow_scripts");
    let scratch = tempfile::tempdir().unwrap();
    let mut command = run(&database, &flow("scripts.yaml"), &[]);
    let result = parsed(&command.env("TMPDIR", scratch.path()).output().unwrap());
    let outputs = |id: &str| task(&result, id)["outputs"].clone();

    assert_eq!(outputs("shell")["vars"], json!({ "rows": 3 }));
    let files = outputs("shell")["outputFiles"].clone();
    assert_eq!(files.as_object().unwrap().keys().collect::<Vec<_>>(), ["greeting.txt", "kept.txt"]);
    let shell = log(&database, "shell");
    assert!(shell.contains("metric rows = 3 (counter, taxi: green)"), "{shell}");
    assert!(shell.contains("warning a warning"), "{shell}");

    assert_eq!(outputs("python")["vars"], json!({ "doubled": 6, "greeting": "hello 3" }));
    assert!(text_of(&outputs("python")["outputFiles"]["doubled.json"]).ends_with("/doubled.json"));
    let python = log(&database, "python");
    assert!(python.contains("metric spent = 0.5 (timer, part: all)"), "{python}");
    assert!(python.contains("error an error in the log"), "{python}");

    assert_eq!(outputs("commands")["vars"], json!({ "count": 4 }));
    assert_eq!(outputs("node")["vars"], json!({ "sum": 4 }));
    assert_eq!(outputs("second")["vars"], json!({ "text": "onetwo" }));
    let shared = outputs("shared")["outputFiles"].clone();
    assert_eq!(shared.as_object().unwrap().len(), 2, "{shared}");

    assert_eq!(task(&result, "warned")["status"], "warning");
    assert_eq!(result["status"], "warning");
    assert_eq!(std::fs::read_dir(scratch.path()).unwrap().count(), 0, "files are left behind");
}

/// A wheel of a package that needs no other.
fn wheel(folder: &Path, version: &str) {
    let script = "import sys, zipfile\n\
        folder, version = sys.argv[1:]\n\
        info = 'taxi_demo-' + version + '.dist-info/'\n\
        files = {'taxi_demo.py': 'VERSION = ' + repr(version) + '\\n',\n\
        \x20        info + 'METADATA': 'Metadata-Version: 2.1\\nName: taxi-demo\\nVersion: ' + version + '\\n',\n\
        \x20        info + 'WHEEL': 'Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n'}\n\
        with zipfile.ZipFile(folder + '/taxi_demo-' + version + '-py3-none-any.whl', 'w') as wheel:\n\
        \x20   for name, text in files.items():\n\
        \x20       wheel.writestr(name, text)\n\
        \x20   wheel.writestr(info + 'RECORD', ''.join(name + ',,\\n' for name in files) + info + 'RECORD,,\\n')\n";
    let made = Command::new("python3").args(["-c", script]).arg(folder).arg(version).status().unwrap();
    assert!(made.success());
}

#[test]
fn dependencies_are_installed_once_and_no_task_changes_the_python_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    for version in ["1.0", "2.0"] {
        wheel(folder.path(), version);
    }
    let text = "id: dependent\nnamespace: taxi.tests\npluginDefaults:\n  \
         - type: io.kestra.plugin.scripts.python\n    values:\n      env: {PIP_NO_INDEX: '1', PIP_FIND_LINKS: FOLDER}\n\
         tasks:\n  \
         - id: one\n    type: io.kestra.plugin.scripts.python.Script\n    dependencies: [taxi-demo==1.0]\n    \
           script: |\n      import sys, taxi_demo\n      \
           print('::{\"outputs\": {\"version\": \"' + taxi_demo.VERSION + '\", \"prefix\": \"' + sys.prefix + '\"}}::')\n  \
         - id: two\n    type: io.kestra.plugin.scripts.python.Commands\n    dependencies: [taxi-demo==1.0]\n    \
           beforeCommands: [pip install --quiet taxi-demo==2.0]\n    \
           commands: [\"python -c 'import taxi_demo; print(taxi_demo.VERSION)'\"]\n  \
         - id: three\n    type: io.kestra.plugin.scripts.python.Script\n    dependencies: [taxi-demo==1.0]\n    \
           script: |\n      import sys, taxi_demo\n      \
           print('::{\"outputs\": {\"version\": \"' + taxi_demo.VERSION + '\", \"prefix\": \"' + sys.prefix + '\"}}::')\n  \
         - id: four\n    type: io.kestra.plugin.scripts.python.Commands\n    commands: [\"! python -c 'import taxi_demo'\"]\n  \
         - id: missing\n    type: io.kestra.plugin.scripts.python.Script\n    dependencies: [taxi-demo==3.0]\n    script: print(1)\n"
        .replace("FOLDER", folder.path().to_str().unwrap());
    let path = write(&folder, &text);
    let database = Database::new("flow_dependencies");
    let cache = tempfile::tempdir().unwrap();
    let mut command = run(&database, &path, &[]);
    let output = command.env("XDG_CACHE_HOME", cache.path()).output().unwrap();
    let error = refusal(&output, 71);
    assert!(error.contains("cannot install the dependencies"), "{error}");
    assert!(error.contains("PIP_FIND_LINKS"), "{error}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let vars = |id: &str| task(&result, id)["outputs"]["vars"].clone();
    assert_eq!(vars("one")["version"], "1.0");
    assert_eq!(vars("one"), vars("three"), "the environment of the first task was changed or not used again");
    assert!(
        vars("one")["prefix"].as_str().unwrap().starts_with(cache.path().to_str().unwrap()),
        "{}",
        vars("one")
    );
    let two = log(&database, "two");
    assert!(two.ends_with("info 2.0"), "{two}");
    let installations =
        "SELECT count(*) FROM taxi_etl.task_runs WHERE log::text LIKE '%installing taxi-demo==1.0%'";
    assert_eq!(database.value(installations), "1");
    assert_eq!(task(&result, "four")["status"], "succeeded");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(cache.path().join("taxi-etl/python")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn a_machine_without_the_interpreter_or_a_container_engine_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::new("flow_no_interpreter");
    let task = |task: &str| format!("id: bare\nnamespace: taxi.tests\ntasks:\n  - id: t\n    {task}\n");
    let image =
        "type: io.kestra.plugin.scripts.shell.Commands\n    containerImage: ubuntu\n    commands: ['true']";
    let docker = "type: io.kestra.plugin.scripts.python.Script\n    script: print(1)\n    taskRunner:\n      \
                  type: io.kestra.plugin.scripts.runner.docker.Docker\n      pullPolicy: NEVER";
    let empty = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("type: io.kestra.plugin.scripts.python.Script\n    script: print(1)", "install Python 3"),
        ("type: io.kestra.plugin.scripts.node.Script\n    script: '1'", "install Node.js"),
        ("type: io.kestra.plugin.git.Clone\n    url: /nowhere", "install Git"),
        (image, "use --runner process (TAXI_RUNNER=process)"),
        (docker, "install and start Docker or Podman"),
    ] {
        let path = write(&folder, &task(text));
        let output = run(&database, &path, &[]).env("PATH", empty.path()).output().unwrap();
        let error = refusal(&output, 78);
        assert!(error.contains(expected), "{error}");
    }
    // as processes, the same tasks need no engine
    for (text, runner) in [(image, &["--runner", "process"][..]), (image, &[])] {
        let path = write(&folder, &task(text));
        let mut command = run(&database, &path, runner);
        if runner.is_empty() {
            command.env("TAXI_RUNNER", "process");
        }
        let output = command.output().unwrap();
        parsed(&output);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stderr.matches("tasks that ask for a container run as processes").count(), 1, "{stderr}");
    }
    let own = "type: io.kestra.plugin.scripts.shell.Commands\n    containerImage: ubuntu\n    taskRunner:\n      \
               type: io.kestra.plugin.core.runner.Process\n    commands: ['true']";
    parsed(&run(&database, &write(&folder, &task(own)), &[]).env("PATH", empty.path()).output().unwrap());
}
