"""Checks the manifests against the schemas of the API, without unknown fields, and what these schemas do not check."""

import sys
from pathlib import Path

import kubernetes_validate
import yaml
from croniter import croniter

folder = Path(sys.argv[1]) / "kubernetes"
permanent = set(map(int, sys.argv[2].split(",")))


def check_pods(spec, actions):
    rules = spec["podFailurePolicy"]["rules"]
    assert {rule["action"] for rule in rules} == actions, rules
    [codes] = [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule]
    assert set(codes) == permanent, (sorted(codes), sorted(permanent))
    [container] = spec["template"]["spec"]["containers"]
    assert all(rule["onExitCodes"]["containerName"] == container["name"] for rule in rules if "onExitCodes" in rule)
    # the API requires it with a podFailurePolicy
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


for name in ["backfill-job.yaml", "backfill-cronjob.yaml"]:
    manifest = yaml.safe_load((folder / name).read_text())
    for version in ["1.35", "1.37"]:
        kubernetes_validate.validate(manifest, version, strict=True)
    spec = manifest["spec"]
    if manifest["kind"] == "CronJob":
        assert croniter.is_valid(spec["schedule"]) and spec["concurrencyPolicy"] in ("Allow", "Forbid", "Replace")
        check_pods(spec["jobTemplate"]["spec"], {"Ignore", "FailJob"})
    else:
        assert spec["completionMode"] == "Indexed" and spec["completions"] == 12
        check_pods(spec, {"Ignore", "FailIndex"})
