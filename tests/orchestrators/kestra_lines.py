"""Compares the lines on stdin with the lines that Kestra's own library prints for the same values."""

import json
import re
import sys

from kestra import Kestra

lines = sys.stdin.read().splitlines()
assert lines
for line in lines:
    match = re.match(r"^::(\{.*})::$", line)
    assert match, line
    value = json.loads(match[1])
    [kind] = value
    again = Kestra.format(value).strip()
    assert json.loads(re.match(r"^::(\{.*})::$", again)[1]) == value, (line, again)
    if kind == "metrics":
        for metric in value["metrics"]:
            assert set(metric) == {"name", "type", "value", "tags"} and metric["type"] in ("counter", "timer", "gauge")
    if kind == "logs":
        assert all(log["level"] in ("ERROR", "WARN", "INFO", "DEBUG", "TRACE") for log in value["logs"])
assert {list(json.loads(line[2:-2]))[0] for line in lines} == {"outputs", "metrics", "logs"}
