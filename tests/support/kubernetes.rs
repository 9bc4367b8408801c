//! The manifests of `deploy/kubernetes`, as `kubectl kustomize` renders them. `TAXI_KUBERNETES` names a folder with
//! `kubectl` and `sops`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use super::skipped;

/// The parts of an environment that `kubectl` applies separately.
pub(crate) const PARTS: [&str; 3] = ["platform", "jobs", "once"];

/// The key that opens the example secrets.
pub(crate) const TEST_KEY: &str = "tests/kubernetes/test-only-age-key.txt";

pub(crate) fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn manifests() -> PathBuf {
    repository().join("deploy/kubernetes")
}

/// The tools that work with manifests.
pub(crate) struct Tools(PathBuf);

impl Tools {
    /// Returns `None` if `TAXI_KUBERNETES` is not set.
    pub(crate) fn find() -> Option<Self> {
        let folder = std::env::var_os("TAXI_KUBERNETES").map(PathBuf::from);
        if folder.is_none() {
            skipped("TAXI_KUBERNETES is not set");
        }
        folder.map(Self)
    }

    /// The folder of definitions of custom resources, if it was fetched too.
    pub(crate) fn definitions(&self) -> PathBuf {
        self.0.join("crds")
    }

    /// Returns the YAML of a folder with a kustomization. Each is rendered once for all tests.
    pub(crate) fn render(&self, folder: &Path) -> String {
        static RENDERED: Mutex<BTreeMap<PathBuf, String>> = Mutex::new(BTreeMap::new());
        let known = RENDERED.lock().unwrap().get(folder).cloned();
        known.unwrap_or_else(|| {
            let yaml = self.kustomize(folder);
            RENDERED.lock().unwrap().insert(folder.to_owned(), yaml.clone());
            yaml
        })
    }

    fn kustomize(&self, folder: &Path) -> String {
        let output = Command::new(self.0.join("kubectl")).arg("kustomize").arg(folder).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        // kustomize warns about fields that it will not support any more
        assert!(output.status.success() && errors.is_empty(), "{}: {errors}", folder.display());
        String::from_utf8(output.stdout).unwrap()
    }

    /// Returns the rendered objects of a part of an environment.
    pub(crate) fn objects(&self, environment: &str, part: &str) -> Vec<Value> {
        documents(&self.render(&manifests().join("overlays").join(environment).join(part)))
    }

    /// Returns the objects of all parts of the three environments, each with its environment's name.
    pub(crate) fn all_objects(&self) -> Vec<(&'static str, Value)> {
        let environments = ["dev", "staging", "prod"];
        let parts = environments.iter().flat_map(|environment| PARTS.map(|part| (*environment, part)));
        let objects = parts.flat_map(|(environment, part)| {
            self.objects(environment, part).into_iter().map(move |object| (environment, object))
        });
        objects.collect()
    }

    /// Returns the command that decrypts a file with the keys of `key_file`, and with no other.
    pub(crate) fn decrypt(&self, file: &Path, key_file: &Path) -> Command {
        let mut command = Command::new(self.0.join("sops"));
        command.arg("decrypt").arg(file).env_clear();
        command.env("HOME", "/nonexistent").env("SOPS_AGE_KEY_FILE", key_file);
        command
    }

    /// Returns the value that a `secretKeyRef` of `dev` gets.
    pub(crate) fn secret(&self, reference: &Value) -> String {
        let name = reference["name"].as_str().unwrap();
        let file = manifests().join(format!("secrets/dev/{name}.yaml"));
        let output = self.decrypt(&file, &repository().join(TEST_KEY)).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let [secret] = &documents(std::str::from_utf8(&output.stdout).unwrap())[..] else { panic!("{name}") };
        assert_eq!(secret["metadata"]["name"], name);
        secret["stringData"][reference["key"].as_str().unwrap()].as_str().unwrap().to_owned()
    }
}

/// Parses YAML with one or more documents.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

/// Returns the object of this kind whose name ends so.
pub(crate) fn find<'o>(objects: &'o [Value], kind: &str, name: &str) -> &'o Value {
    let found = objects.iter().find(|object| {
        object["kind"] == kind && object["metadata"]["name"].as_str().unwrap().ends_with(name)
    });
    found.unwrap_or_else(|| panic!("no {kind} {name}"))
}

/// Returns the path to the Job's `spec` in an object that starts a Job.
pub(crate) fn job_path(object: &Value) -> Option<&'static str> {
    match object["kind"].as_str().unwrap() {
        "Job" => Some("/spec"),
        "CronJob" => Some("/spec/jobTemplate/spec"),
        _ => None,
    }
}

/// Returns the only container of a Job's pod.
pub(crate) fn container(job: &Value) -> &Value {
    let containers = &job.pointer(job_path(job).unwrap()).unwrap()["template"]["spec"]["containers"];
    assert_eq!(containers.as_array().unwrap().len(), 1);
    &containers[0]
}
