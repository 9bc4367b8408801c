"""Checks the manifests against the API's own schemas, unknown fields refused, and what these schemas leave open."""

import sys
from pathlib import Path

import kubernetes_validate
import yaml
from croniter import croniter

folder = Path(sys.argv[1]) / "kubernetes"
lasting = set(map(int, sys.argv[2].split(",")))


def check_pods(spec, actions):
    rules = spec["podFailurePolicy"]["rules"]
    assert {rule["action"] for rule in rules} == actions, rules
    [codes] = [rule["onExitCodes"]["values"] for rule in rules if "onExitCodes" in rule]
    assert set(codes) == lasting, (sorted(codes), sorted(lasting))
    [container] = spec["template"]["spec"]["containers"]
    assert all(rule["onExitCodes"]["containerName"] == container["name"] for rule in rules if "onExitCodes" in rule)
    # the API demands it of a policy
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
