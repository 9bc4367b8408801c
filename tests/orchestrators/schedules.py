"""Checks the schedules of the crontab and of the Kestra flow, and the properties of the flow."""

import sys
from pathlib import Path

import yaml
from croniter import croniter

folder = Path(sys.argv[1])
text = (folder / "cron" / "crontab").read_text()
assert text.endswith("\n"), "cron ignores a last line without a newline"
jobs = [line for line in text.splitlines() if line and not line.startswith("#") and "=" not in line.split()[0]]
assert len(jobs) == 1, jobs
assert croniter.is_valid(" ".join(jobs[0].split()[:5])), jobs

flow = yaml.safe_load((folder / "kestra" / "taxi_backfill.yaml").read_text())
assert {"id", "namespace", "inputs", "tasks", "triggers"} == set(flow)
assert all(croniter.is_valid(trigger["cron"]) for trigger in flow["triggers"])
print(flow["tasks"][0]["commands"][0])
