"""Loads the DAG with Airflow's own loader, and runs its task with Airflow's own operator.

The environment has `taxi` on the PATH, DATABASE_URL, and a source with one month of yellow trips, 2021-01.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp()
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

try:
    from airflow.dag_processing.dagbag import DagBag
except ImportError:
    from airflow.models.dagbag import DagBag
from airflow.exceptions import AirflowException, AirflowSkipException

folder = Path(sys.argv[1])
bag = DagBag(dag_folder=str(folder / "airflow" / "taxi_backfill.py"), safe_mode=False)
assert bag.import_errors == {}, bag.import_errors
dag = bag.dags["taxi_backfill"]
assert dag.catchup is False


def run(to):
    task = dag.get_task("backfill")
    template = type(task).template_fields
    operator = task.prepare_for_execution() if hasattr(task, "prepare_for_execution") else task
    assert "env" in template and "bash_command" in template
    operator.render_template_fields({"params": {"taxi": "yellow", "from": "2021-01", "to": to}}, dag.get_template_env())
    return operator.execute({})


result = json.loads(run("2021-01"))
assert result["status"] == "loaded" and result["rows_inserted"] == 3001, result
try:
    run("2021-01")
    raise AssertionError("a month that is loaded already must show as skipped")
except AirflowSkipException:
    pass
try:
    run("2021-02")
    raise AssertionError("a missing month must fail")
except AirflowSkipException:
    raise AssertionError("a missing month must not show as skipped")
except AirflowException as error:
    assert "66" in str(error), error
