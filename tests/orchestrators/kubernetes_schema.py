"""Checks rendered manifests against the schemas of the API, without unknown fields.

The first argument is a folder of manifests, the second a folder of definitions of custom resources. Prints the kinds that
have no definition there.
"""

import copy
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml
from croniter import croniter

VERSIONS = ["1.35", "1.37"]


def closed(schema):
    """Returns a schema of a definition that refuses unknown fields, as the API server does with strict validation."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed_schema = {name: closed(part) for name, part in schema.items()}
    open_anyway = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object" and not open_anyway:
        closed_schema["additionalProperties"] = False
    return closed_schema


definitions = {}
for file in Path(sys.argv[2]).glob("*.yaml"):
    for definition in yaml.load_all(file.read_text(), yaml.CSafeLoader):
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = closed(version["schema"]["openAPIV3Schema"])
            schema["properties"]["metadata"] = {"type": "object", "required": ["name"]}
            definitions[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = schema

refusals = (kubernetes_validate.ValidationError, jsonschema.ValidationError)


def is_custom(manifest):
    return "." in manifest["apiVersion"].split("/")[0].removesuffix(".k8s.io")


def validate(manifest):
    if not is_custom(manifest):
        for version in VERSIONS:
            kubernetes_validate.validate(manifest, version, strict=True)
    elif schema := definitions.get((manifest["apiVersion"], manifest["kind"])):
        jsonschema.Draft7Validator(schema).validate(manifest)
    else:
        return False
    return True


def is_refused(manifest):
    try:
        validate(manifest)
    except refusals:
        return True
    return False


undefined, judged = set(), 0
for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    for manifest in yaml.safe_load_all(file.read_text()):
        name = f"{file.name}: {manifest['kind']} {manifest['metadata']['name']}"
        try:
            known = validate(manifest)
        except refusals as error:
            sys.exit(f"{name}: {error}")
        if not known:
            undefined.add(manifest["kind"])
            continue
        judged += 1
        # a name that is spelled wrong is noticed, so the schema is the right one
        if "spec" in manifest:
            spoiled = copy.deepcopy(manifest)
            spoiled["spec"]["unknownField"] = 1
            assert is_refused(spoiled), f"{name}: an unknown field is accepted"
        if manifest["kind"] == "CronJob":
            assert croniter.is_valid(manifest["spec"]["schedule"]), name
        if manifest["kind"] == "ScheduledBackup":
            second, rest = manifest["spec"]["schedule"].split(maxsplit=1)
            assert second.isdigit() and croniter.is_valid(rest), name
assert judged, "no manifests"
if undefined:
    print("without a definition:", ", ".join(sorted(undefined)))
