//! Tests what the manifests of `deploy/kubernetes` say. `kubernetes_jobs` runs the commands in them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use taxi_etl::error::Kind;

use crate::support::kubernetes::{
    PARTS, TEST_KEY, Tools, container, documents, find, job_path, manifests, repository,
};
use crate::support::{open_tempdir, skipped};

/// What a field of a manifest has to be.
#[derive(Clone)]
enum Want {
    Is(Value),
    /// Any value: the environments have different ones.
    Set,
    Unset,
}
use Want::{Is, Set, Unset};

/// What the pods of this user have to be: nothing that a pod may do without needing it.
fn pod(user: u32, probes: &Want) -> Vec<(String, Want)> {
    let pod = [
        ("automountServiceAccountToken", Is(json!(false))),
        ("enableServiceLinks", Is(json!(false))),
        ("terminationGracePeriodSeconds", Set),
        ("serviceAccountName", Unset),
        ("hostNetwork", Unset),
        ("hostPID", Unset),
        ("hostIPC", Unset),
        ("initContainers", Unset),
        ("securityContext/runAsNonRoot", Is(json!(true))),
        ("securityContext/runAsUser", Is(json!(user))),
        ("securityContext/runAsGroup", Is(json!(user))),
        ("securityContext/seccompProfile", Is(json!({ "type": "RuntimeDefault" }))),
        ("containers/0/envFrom", Unset),
        ("containers/0/securityContext/privileged", Unset),
        ("containers/0/securityContext/allowPrivilegeEscalation", Is(json!(false))),
        ("containers/0/securityContext/readOnlyRootFilesystem", Is(json!(true))),
        ("containers/0/securityContext/capabilities", Is(json!({ "drop": ["ALL"] }))),
        ("containers/0/resources/requests/cpu", Set),
        ("containers/0/resources/requests/memory", Set),
        ("containers/0/resources/requests/ephemeral-storage", Set),
        ("containers/0/resources/limits/cpu", Set),
        ("containers/0/resources/limits/memory", Set),
        ("containers/0/resources/limits/ephemeral-storage", Set),
        ("containers/0/startupProbe", probes.clone()),
        ("containers/0/readinessProbe", probes.clone()),
        ("containers/0/livenessProbe", probes.clone()),
    ];
    pod.map(|(path, want)| (format!("template/spec/{path}"), want)).into()
}

/// What the fields of an object that runs pods have to be, by their path.
fn wants(object: &Value) -> Vec<(String, Want)> {
    let Some(job) = job_path(object) else {
        let fields = pod(999, &Set).into_iter();
        return fields.map(|(path, want)| (format!("/spec/{path}"), want)).collect();
    };
    let mut fields = pod(10001, &Unset);
    let indexed = object.pointer(job).unwrap()["completionMode"] == "Indexed";
    let (limit, other) = if indexed {
        ("backoffLimitPerIndex", "backoffLimit")
    } else {
        ("backoffLimit", "backoffLimitPerIndex")
    };
    let permanent = json!(exit_codes(false));
    let retried = json!(exit_codes(true));
    let fail = if indexed { "FailIndex" } else { "FailJob" };
    let rule = |action: &str, codes: Value| json!({ "action": action, "onExitCodes": { "containerName": "taxi", "operator": "In", "values": codes } });
    let removed =
        json!({ "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }] });
    fields.extend(
        [
            (limit, Is(json!(0))),
            (other, Unset),
            ("activeDeadlineSeconds", Set),
            ("ttlSecondsAfterFinished", Set),
            (
                "podFailurePolicy",
                Is(json!({ "rules": [removed, rule(fail, permanent), rule("Count", retried)] })),
            ),
            ("template/spec/restartPolicy", Is(json!("Never"))),
            ("template/spec/containers/0/name", Is(json!("taxi"))),
            ("template/spec/containers/0/command", Unset),
            ("template/spec/containers/0/ports", Unset),
        ]
        .map(|(path, want)| (path.to_owned(), want)),
    );
    let fields = fields.into_iter().map(|(path, want)| (format!("{job}/{path}"), want));
    let schedule = [
        ("/spec/schedule", Set),
        ("/spec/timeZone", Is(json!("Etc/UTC"))),
        ("/spec/concurrencyPolicy", Is(json!("Forbid"))),
        ("/spec/startingDeadlineSeconds", Set),
        ("/spec/suspend", Set),
        ("/spec/successfulJobsHistoryLimit", Set),
        ("/spec/failedJobsHistoryLimit", Set),
    ];
    let schedule = schedule.into_iter().filter(|_| object["kind"] == "CronJob");
    fields.chain(schedule.map(|(path, want)| (path.to_owned(), want))).collect()
}

fn exit_codes(worth_retrying: bool) -> Vec<u8> {
    let kinds = Kind::ALL.iter().filter(|kind| kind.is_worth_retrying() == worth_retrying);
    kinds.map(|kind| kind.exit_code()).collect()
}

/// Returns the paths of the fields that are not what they have to be.
fn faults(object: &Value) -> BTreeSet<String> {
    let wrong = wants(object).into_iter().filter(|(path, want)| match (object.pointer(path), want) {
        (found, Is(value)) => found != Some(value),
        (found, Set) => found.is_none_or(Value::is_null),
        (found, Unset) => found.is_some(),
    });
    wrong.map(|(path, _)| path).collect()
}

/// Returns a copy of an object in which a field is missing, or present if it is missing in the object.
fn spoiled(object: &Value, path: &str) -> Value {
    let mut copy = object.clone();
    let (parent, field) = path.rsplit_once('/').unwrap();
    let parent = copy.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if parent.remove(field).is_none() {
        parent.insert(field.to_owned(), json!({}));
    }
    copy
}

fn runs_pods(object: &Value) -> bool {
    job_path(object).is_some() || object["kind"] == "StatefulSet"
}

#[test]
fn no_pod_has_rights_that_it_does_not_need_and_no_job_retries() {
    let Some(tools) = Tools::find() else { return };
    let objects = tools.all_objects();
    let workloads: Vec<_> = objects.iter().filter(|(_, object)| runs_pods(object)).collect();
    assert_eq!(workloads.len(), 3 * ["StatefulSet", "CronJob", "Job", "Job"].len());
    for (environment, object) in workloads {
        let name = &object["metadata"]["name"];
        assert_eq!(faults(object), BTreeSet::new(), "{environment} {name}");
        // the table notices every field that changes
        for (path, _) in wants(object) {
            assert!(faults(&spoiled(object, &path)).contains(&path), "{name}: {path}");
        }
    }
}

/// Returns all volumes and environment variables of an object that runs pods.
fn volumes_and_variables(object: &Value) -> (Vec<Value>, Vec<Value>) {
    let spec = job_path(object).unwrap_or("/spec");
    let pod = &object.pointer(spec).unwrap()["template"]["spec"];
    let list = |value: &Value| value.as_array().unwrap().clone();
    (list(&pod["volumes"]), list(&pod["containers"][0]["env"]))
}

#[test]
fn pods_get_secrets_by_reference_and_write_only_to_volumes_with_a_limit() {
    let Some(tools) = Tools::find() else { return };
    let mut references = BTreeSet::new();
    for (environment, object) in tools.all_objects() {
        assert_ne!(object["kind"], "Secret", "{environment} contains a secret");
        if !runs_pods(&object) {
            continue;
        }
        let (volumes, variables) = volumes_and_variables(&object);
        for volume in &volumes {
            let limited = volume["emptyDir"]["sizeLimit"].is_string();
            assert!(limited || volume["configMap"].is_object(), "{volume}");
        }
        for variable in &variables {
            let name = variable["name"].as_str().unwrap();
            let secret = ["PASSWORD", "USER", "URL"].iter().any(|part| name.contains(part));
            assert_eq!(variable["value"].is_string(), !secret, "{variable}");
            if secret {
                references.insert(variable["valueFrom"]["secretKeyRef"].to_string());
            }
        }
    }
    // the example has all of them
    for reference in &references {
        assert!(!tools.secret(&serde_json::from_str(reference).unwrap()).is_empty());
    }
    assert_eq!(references.len(), 3, "{references:?}");
}

#[test]
fn sops_opens_the_example_secrets_with_their_key_alone() {
    let Some(tools) = Tools::find() else { return };
    let folder = open_tempdir();
    let other_key = folder.path().join("key");
    let key = std::fs::read_to_string(repository().join(TEST_KEY)).unwrap();
    assert!(key.contains("protects nothing"));
    std::fs::write(&other_key, "# no key\n").unwrap();
    let rules = std::fs::read_to_string(manifests().join("secrets/.sops.yaml")).unwrap();
    let public = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    assert!(rules.contains(public));
    let dev = manifests().join("secrets/dev");
    let listed = documents(&std::fs::read_to_string(dev.join("kustomization.yaml")).unwrap());
    for name in listed[0]["resources"].as_array().unwrap() {
        let file = dev.join(name.as_str().unwrap());
        let [encrypted] = &documents(&std::fs::read_to_string(&file).unwrap())[..] else { panic!("{name}") };
        for value in encrypted["stringData"].as_object().unwrap().values() {
            assert!(value.as_str().unwrap().starts_with("ENC["), "{name} contains plain text");
        }
        let opened = tools.decrypt(&file, &repository().join(TEST_KEY)).output().unwrap();
        let [plain] = &documents(std::str::from_utf8(&opened.stdout).unwrap())[..] else { panic!("{name}") };
        let words = plain["stringData"]["password"].as_str().unwrap();
        assert!(words.ends_with("invented password"), "{name}");
        assert!(!tools.decrypt(&file, &other_key).output().unwrap().status.success(), "{name}");
    }
}

#[test]
fn objects_have_the_recommended_labels_and_the_namespace_of_their_environment() {
    let Some(tools) = Tools::find() else { return };
    let version = |object: &Value| {
        object["metadata"]["labels"]["app.kubernetes.io/version"].as_str().map(str::to_owned)
    };
    for (environment, object) in tools.all_objects() {
        let name = format!("{environment} {} {}", object["kind"], object["metadata"]["name"]);
        let namespace = format!("taxi-{environment}");
        let labels = &object["metadata"]["labels"];
        assert_eq!(labels["app.kubernetes.io/part-of"], "taxi-etl", "{name}");
        assert_eq!(labels["app.kubernetes.io/managed-by"], "kustomize", "{name}");
        if object["kind"] == "Namespace" {
            assert_eq!(object["metadata"]["name"], namespace);
            assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
            continue;
        }
        assert_eq!(object["metadata"]["namespace"], namespace, "{name}");
        if object["kind"] == "ConfigMap" {
            continue;
        }
        assert!(labels["app.kubernetes.io/name"].is_string(), "{name}");
        assert!(labels["app.kubernetes.io/component"].is_string(), "{name}");
        if runs_pods(&object) {
            let spec = job_path(&object).unwrap_or("/spec");
            let pod = &object.pointer(spec).unwrap()["template"];
            assert_eq!(&pod["metadata"]["labels"], labels, "{name}");
            assert!(labels["app.kubernetes.io/instance"].is_string(), "{name}");
        }
        if job_path(&object).is_some() {
            let image = container(&object)["image"].as_str().unwrap();
            let (tagged, version) = (image.rsplit_once(':').unwrap().1, version(&object).unwrap());
            assert!(image.contains("@sha256:") || tagged == version, "{name}: {image}, {version}");
        }
    }
}

#[test]
fn the_policies_connect_the_jobs_with_the_server_and_nothing_else() {
    let Some(tools) = Tools::find() else { return };
    let platform = tools.objects("prod", "platform");
    let jobs = tools.objects("prod", "jobs");
    let server = &find(&platform, "StatefulSet", "taxi-target")["spec"];
    let job = &find(&jobs, "CronJob", "taxi-backfill")["spec"]["jobTemplate"]["spec"]["template"]["metadata"];
    let matches = |selector: &Value, labels: &Value| {
        let selected = selector["matchLabels"].as_object().unwrap();
        !selected.is_empty() && selected.iter().all(|(name, value)| labels[name] == *value)
    };
    let server_labels = &server["template"]["metadata"]["labels"];
    let into_server = &find(&platform, "NetworkPolicy", "taxi-target")["spec"];
    let of_jobs = &find(&jobs, "NetworkPolicy", "taxi")["spec"];
    assert_eq!(into_server["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(of_jobs["policyTypes"], json!(["Ingress", "Egress"]));
    assert!(into_server.get("egress").is_none() && of_jobs.get("ingress").is_none());
    assert!(matches(&into_server["podSelector"], server_labels));
    assert!(matches(&into_server["ingress"][0]["from"][0]["podSelector"], &job["labels"]));
    assert!(matches(&of_jobs["podSelector"], &job["labels"]));
    assert!(matches(&of_jobs["egress"][1]["to"][0]["podSelector"], server_labels));
    // so do the Service and the PodDisruptionBudget
    assert!(matches(&server["selector"], server_labels));
    assert!(matches(
        &find(&platform, "PodDisruptionBudget", "taxi-target")["spec"]["selector"],
        server_labels
    ));
    let service = find(&platform, "Service", "taxi-target");
    assert!(matches(&json!({ "matchLabels": service["spec"]["selector"] }), server_labels));
    assert_eq!(server["serviceName"], service["metadata"]["name"]);
    assert_eq!(service["spec"]["ports"][0]["port"], into_server["ingress"][0]["ports"][0]["port"]);
}

#[test]
fn the_environments_differ_where_they_should_and_nowhere_else() {
    let Some(tools) = Tools::find() else { return };
    let size = "/spec/volumeClaimTemplates/0/spec/resources/requests/storage";
    let pod = "/spec/template/spec/containers/0";
    let job = "/spec/jobTemplate/spec/template/spec/containers/0";
    let digest = format!("registry.example.org/taxi-etl@sha256:{}", "0".repeat(64));
    let table = [
        ("platform", "StatefulSet", size.to_owned(), ["5Gi", "50Gi", "200Gi"]),
        ("platform", "StatefulSet", format!("{pod}/resources/limits/memory"), ["512Mi", "1Gi", "4Gi"]),
        ("jobs", "CronJob", "/spec/schedule".to_owned(), ["17 4 * * *", "17 3 * * 1", "17 4 * * *"]),
        ("jobs", "CronJob", "/spec/suspend".to_owned(), ["true", "false", "false"]),
        ("jobs", "CronJob", format!("{job}/args/8"), ["2", "2", "4"]),
        ("jobs", "CronJob", format!("{job}/resources/limits/memory"), ["256Mi", "256Mi", "512Mi"]),
        (
            "jobs",
            "CronJob",
            format!("{job}/image"),
            ["registry.example.org/taxi-etl:main", "registry.example.org/taxi-etl:0.1.0", &digest],
        ),
        ("once", "Job", format!("{pod}/args/0"), ["doctor"; 3]),
    ];
    for (part, kind, path, values) in table {
        for (environment, value) in ["dev", "staging", "prod"].iter().zip(values) {
            let objects = tools.objects(environment, part);
            let name = if part == "once" { "taxi-doctor" } else { "" };
            let found = find(&objects, kind, name).pointer(&path).unwrap();
            let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            assert_eq!(found, value, "{environment} {path}");
        }
    }
    // the same objects everywhere
    let kinds = |environment: &str| {
        let objects = PARTS.iter().flat_map(|part| tools.objects(environment, part));
        objects.map(|object| object["kind"].to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("dev"), kinds("staging"));
    assert_eq!(kinds("dev"), kinds("prod"));
}

#[test]
fn cloudnative_pg_replaces_the_server_under_the_same_name() {
    let Some(tools) = Tools::find() else { return };
    let objects = tools.objects("prod-cloudnative-pg", "platform");
    let kinds: BTreeSet<_> = objects.iter().map(|object| object["kind"].as_str().unwrap()).collect();
    let expected = ["Cluster", "Namespace", "NetworkPolicy", "ObjectStore", "ScheduledBackup"];
    assert_eq!(kinds, BTreeSet::from(expected));
    let cluster = &find(&objects, "Cluster", "taxi-target")["spec"];
    let jobs = tools.objects("prod", "jobs");
    let variables = volumes_and_variables(find(&jobs, "CronJob", "taxi-backfill")).1;
    let variable = |name: &str| variables.iter().find(|variable| variable["name"] == name).unwrap();
    let service = &cluster["managed"]["services"]["additional"][0];
    assert_eq!(service["selectorType"], "rw");
    assert_eq!(service["serviceTemplate"]["metadata"]["name"], variable("PGHOST")["value"]);
    let initdb = &cluster["bootstrap"]["initdb"];
    assert_eq!(initdb["database"], variable("PGDATABASE")["value"]);
    let user = &variable("PGUSER")["valueFrom"]["secretKeyRef"];
    assert_eq!(initdb["secret"]["name"], user["name"]);
    assert_eq!(initdb["owner"], tools.secret(user));
    // the jobs' policy lets them reach the instances
    let labels = &cluster["inheritedMetadata"]["labels"];
    let reached =
        &find(&jobs, "NetworkPolicy", "taxi")["spec"]["egress"][1]["to"][0]["podSelector"]["matchLabels"];
    assert!(reached.as_object().unwrap().iter().all(|(name, value)| labels[name] == *value));
    // backups are taken, archived and kept
    let backup = &find(&objects, "ScheduledBackup", "taxi-target")["spec"];
    let store = find(&objects, "ObjectStore", "taxi-target");
    assert_eq!(backup["cluster"]["name"], "taxi-target");
    assert_eq!(backup["pluginConfiguration"]["name"], cluster["plugins"][0]["name"]);
    assert_eq!(cluster["plugins"][0]["isWALArchiver"], true);
    assert_eq!(cluster["plugins"][0]["parameters"]["barmanObjectName"], store["metadata"]["name"]);
    assert_eq!(store["spec"]["retentionPolicy"], "30d");
}

/// Returns the folders that Argo CD and Flux keep in sync.
fn synced_folders() -> Vec<String> {
    let read =
        |name: &str| documents(&std::fs::read_to_string(manifests().join("gitops").join(name)).unwrap());
    let mut folders = Vec::new();
    let [set] = &read("argo-cd/application-set.yaml")[..] else { panic!("one ApplicationSet") };
    let lists = &set["spec"]["generators"][0]["matrix"]["generators"];
    let path = set["spec"]["template"]["spec"]["source"]["path"].as_str().unwrap();
    let elements = |list: usize| lists[list]["list"]["elements"].as_array().unwrap();
    for environment in elements(0) {
        for part in elements(1) {
            let path = path.replace("{{.environment}}", environment["environment"].as_str().unwrap());
            folders.push(path.replace("{{.part}}", part["part"].as_str().unwrap()));
        }
    }
    let repositories = read("flux/source.yaml");
    for environment in ["dev", "staging", "prod"] {
        for kustomization in read(&format!("flux/{environment}.yaml")) {
            let spec = &kustomization["spec"];
            let source = spec["sourceRef"]["name"].as_str().unwrap();
            find(&repositories, "GitRepository", source);
            assert_eq!(
                spec["path"].as_str().unwrap().contains("/secrets/"),
                spec.get("decryption").is_some()
            );
            folders.push(spec["path"].as_str().unwrap().strip_prefix("./").unwrap().to_owned());
        }
    }
    folders
}

#[test]
fn argo_cd_and_flux_sync_all_that_stays_and_no_job_that_runs_once() {
    let Some(tools) = Tools::find() else { return };
    let folders = synced_folders();
    assert_eq!(folders.len(), 3 * 2 + 3 * 2 + 1);
    for folder in &folders {
        let objects = documents(&tools.render(&repository().join(folder)));
        assert!(!objects.is_empty(), "{folder}");
        assert!(objects.iter().all(|object| object["kind"] != "Job"), "{folder} would run its jobs again");
    }
    for environment in ["dev", "staging", "prod"] {
        for part in ["platform", "jobs"] {
            let folder = format!("deploy/kubernetes/overlays/{environment}/{part}");
            assert_eq!(folders.iter().filter(|synced| **synced == folder).count(), 2, "{folder}");
        }
    }
}

/// Kubernetes' own kinds are judged by its schemas, the others by the definitions of their projects, if `crds` of
/// `TAXI_KUBERNETES` holds them.
#[test]
fn the_schemas_accept_every_manifest() {
    let Some(tools) = Tools::find() else { return };
    let Some(python) = std::env::var_os("TAXI_ORCHESTRATORS") else {
        return skipped("TAXI_ORCHESTRATORS is not set");
    };
    let rendered = open_tempdir();
    let save = |name: String, text: String| std::fs::write(rendered.path().join(name), text).unwrap();
    for environment in ["dev", "staging", "prod"] {
        for part in PARTS {
            let folder = manifests().join("overlays").join(environment).join(part);
            save(format!("{environment}-{part}.yaml"), tools.render(&folder));
        }
    }
    let cluster = manifests().join("overlays/prod-cloudnative-pg/platform");
    save("prod-cloudnative-pg.yaml".to_owned(), tools.render(&cluster));
    for folder in ["argo-cd", "flux"] {
        for file in std::fs::read_dir(manifests().join("gitops").join(folder)).unwrap() {
            let file = file.unwrap();
            save(
                format!("{folder}-{}", file.file_name().to_str().unwrap()),
                std::fs::read_to_string(file.path()).unwrap(),
            );
        }
    }
    let mut script = Command::new(python);
    script.arg(repository().join("tests/orchestrators/kubernetes_schema.py"));
    script.arg(rendered.path()).arg(tools.definitions()).stdin(Stdio::null());
    let output = script.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}{}", String::from_utf8_lossy(&output.stderr));
    if let Some(kinds) = stdout.trim().strip_prefix("without a definition: ") {
        skipped(&format!("no definition of {kinds} in crds of TAXI_KUBERNETES"));
    }
}
