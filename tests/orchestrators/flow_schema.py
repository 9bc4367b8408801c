"""Checks the JSON Schema of flows with a JSON Schema library, against valid and invalid flows."""

import json
import pathlib
import subprocess
import sys

import jsonschema
import yaml

examples = pathlib.Path(sys.argv[1])
schema = json.loads(subprocess.run(["taxi", "schema", "--output", "json"], check=True, capture_output=True).stdout)
jsonschema.Draft7Validator.check_schema(schema)
validator = jsonschema.Draft7Validator(schema)

flows = [
    *examples.glob("flows/**/*_*.yaml"),
    *examples.glob("kestra/*.yaml"),
    *examples.parent.glob("pipelines/*.yaml"),
    *examples.parent.glob("tests/flows/*.yaml"),
]
assert len(flows) >= 7, flows
for path in flows:
    # JSON has no dates, so they become text
    flow = yaml.safe_load(path.read_text())
    errors = [error.message for error in validator.iter_errors(json.loads(json.dumps(flow, default=str)))]
    assert not errors, (path, errors)

valid = {"id": "a", "namespace": "b", "tasks": [{"id": "t", "type": "io.kestra.plugin.core.log.Log", "message": "m"}]}
assert validator.is_valid(valid)
for fault in [
    {"tasks": []} | {"id": 3},
    {"lables": {}},
    {"tasks": [{"id": "t", "type": "io.kestra.plugin.core.log.Log"}]},
    {"tasks": [{"id": "t", "type": "io.kestra.plugin.core.log.Log", "message": "m", "mesage": "m"}]},
    {"tasks": [{"id": "t", "type": "io.kestra.plugin.gcp.bigquery.Query", "sql": "x"}]},
    {"tasks": [{"id": "t", "type": "io.kestra.plugin.core.flow.Sequential", "tasks": [{"id": "u"}]}]},
    {"inputs": [{"id": "x", "type": "FOLDER"}]},
    {"concurrency": {"limit": "many"}},
    {"retry": {"type": "sometimes", "interval": "PT1S"}},
]:
    assert not validator.is_valid(valid | fault), fault
print(len(flows), "flows are valid")
