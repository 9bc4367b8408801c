"""Materializes the asset with Dagster's own Pipes client and message reader, in an ephemeral instance.

`taxi` is on the PATH. The environment variable DATABASE_URL is set, and the source has one month of yellow trips,
2021-01.
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


def materialize(month):
    """Materializes one partition. Returns the result, the messages and the names of the errors."""
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
    # if Dagster cannot read a message from taxi, Dagster only logs that, and the run does not fail
    unreadable = [text for text in messages if text.startswith(("[pipes] did not receive", "[pipes] framework exc", "[pipes] unexpected"))]
    assert not unreadable, unreadable
    errors = [r.dagster_event.event_specific_data.error for r in records if r.is_dagster_event and r.dagster_event.event_type_value == "ENGINE_EVENT"]
    return result, messages, [error.cls_name for error in errors if error]


result, messages, failures = materialize("2021-01-01")
assert result.success and not failures
[event] = result.get_asset_materialization_events()
metadata = event.materialization.metadata
assert metadata["rows_inserted"].value == 3001, metadata
assert metadata["files_loaded"].value == ["yellow_tripdata_2021-01.csv"], metadata
assert metadata["seconds"].value > 0, metadata
# one row lies outside the month
assert metadata["dagster/partition_row_count"].value == 3000, metadata
assert sum("3001 rows staged" in text for text in messages) == 1, messages

# the second load inserts nothing, and the target holds as many rows as before
result, _, _ = materialize("2021-01-01")
[event] = result.get_asset_materialization_events()
metadata = event.materialization.metadata
assert metadata["files_skipped"].value == ["yellow_tripdata_2021-01.csv"]
assert metadata["rows_inserted"].value == 0 and metadata["dagster/partition_row_count"].value == 3000, metadata

result, _, failures = materialize("2021-02-01")
assert not result.success and failures == ["not_published"], failures
