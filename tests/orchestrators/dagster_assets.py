"""Materializes the asset with Dagster's own Pipes client and message reader, in an ephemeral instance.

The environment has `taxi` on the PATH, DATABASE_URL, and a source with one month of yellow trips, 2021-01.
"""

import importlib.util
import os
import sys
from pathlib import Path

os.environ["DAGSTER_DISABLE_TELEMETRY"] = "1"
import dagster as dg

spec = importlib.util.spec_from_file_location("taxi_assets", Path(sys.argv[1]) / "dagster" / "taxi_assets.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
dg.Definitions.validate_loadable(module.defs)
assets = list(module.defs.assets)


def run(month):
    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            assets,
            selection=["yellow_tripdata"],
            partition_key=month,
            resources=module.defs.resources,
            instance=instance,
            raise_on_error=False,
        )
        records = instance.all_logs(result.run_id)
    messages = [r.user_message or (r.dagster_event.message if r.is_dagster_event else "") or "" for r in records]
    # a message that Dagster cannot read does not fail the run: Dagster only logs it
    bad = [text for text in messages if text.startswith(("[pipes] did not receive", "[pipes] framework exc", "[pipes] unexpected"))]
    assert not bad, bad
    failures = [r.dagster_event.event_specific_data.error for r in records if r.is_dagster_event and r.dagster_event.event_type_value == "ENGINE_EVENT"]
    return result, messages, [error.cls_name for error in failures if error]


result, messages, failures = run("2021-01-01")
assert result.success and not failures
[event] = result.get_asset_materialization_events()
metadata = event.materialization.metadata
assert metadata["rows_inserted"].value == 3001, metadata
assert metadata["files_loaded"].value == ["yellow_tripdata_2021-01.csv"], metadata
assert metadata["seconds"].value > 0, metadata
assert any("3001 rows staged" in text for text in messages), messages

result, _, _ = run("2021-01-01")
[event] = result.get_asset_materialization_events()
assert event.materialization.metadata["files_skipped"].value == ["yellow_tripdata_2021-01.csv"]

result, _, failures = run("2021-02-01")
assert not result.success and failures == ["not_published"], failures
