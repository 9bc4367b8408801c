"""Runs the DAG with Airflow's own loader, operators, mapping and database.

The environment has `taxi` on the PATH, DATABASE_URL, and a source with one month of yellow trips, 2021-01. The second
argument lists the exit codes after which a retry cannot succeed.
"""

import atexit
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

home = Path(tempfile.mkdtemp())
atexit.register(shutil.rmtree, home, ignore_errors=True)
examples, permanent = Path(sys.argv[1]), set(map(int, sys.argv[2].split(",")))
dags = home / "dags"
shutil.copytree(examples / "airflow", dags)
os.environ.update(
    AIRFLOW_HOME=str(home),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(dags),
    AIRFLOW__CORE__UNIT_TEST_MODE="False",
    AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
)

subprocess.run([sys.executable, "-m", "airflow", "db", "migrate"], check=True, stdout=subprocess.DEVNULL)
subprocess.run(
    [sys.executable, "-m", "airflow", "pools", "set", "taxi", "2", "loads of taxi"], check=True, stdout=subprocess.DEVNULL
)

from airflow.dag_processing.dagbag import DagBag
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

bag = DagBag(dag_folder=str(dags / "taxi_backfill.py"), safe_mode=False)
assert bag.import_errors == {}, bag.import_errors
dag = bag.dags["taxi_backfill"]
assert dag.catchup is False
for name in ("plan", "load"):
    task = dag.get_task(name)
    assert task.pool == "taxi" and task.retries == 2, (name, task.pool, task.retries)


def run(**params):
    """Runs the DAG once. Returns the state of each task instance, and the XComs of the loads."""
    dag_run = dag.test(run_conf={"taxi": "yellow", "from": "2021-01", "to": "2021-01"} | params)
    instances = {(ti.task_id, ti.map_index): ti for ti in dag_run.get_task_instances()}
    results = [ti.xcom_pull(task_ids="load", map_indexes=index) for (name, index), ti in instances.items() if name == "load"]
    return {key: str(ti.state) for key, ti in instances.items()}, results, instances


# one task for each month that has to be loaded: none for months that are loaded or not published yet
states, results, instances = run(to="latest")
assert states == {("plan", -1): "success", ("load", 0): "success"}, states
[result] = results
assert isinstance(result, dict) and result["status"] == "loaded" and result["rows_inserted"] == 3001, result
assert instances["load", 0].rendered_map_index == "yellow 2021-01", instances["load", 0].rendered_map_index
states, results, _ = run(to="latest")
assert states["load", -1] == "skipped", states

# a month that the source does not have fails at once, and the others are loaded
states, _, _ = run(**{"from": "2020-12", "to": "2021-02"})
assert [states["load", index] for index in (0, 1)] == ["failed", "failed"] and len(states) == 3, states

operators = vars(sys.modules[type(dag.get_task("plan")).__module__])
assert operators["PERMANENT"] == permanent, (sorted(operators["PERMANENT"]), sorted(permanent))


def load(month, **environment):
    """Runs the operator of a month alone. Returns its error."""
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    try:
        operators["TaxiLoad"](task_id="load", taxi="yellow", month=month).execute({})
    except AirflowException as error:
        return error
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    unreachable = f"postgresql://nobody@127.0.0.1:{unused.getsockname()[1]}/none"
    for month, environment, error_type, code in [
        ("2021-01", {}, AirflowSkipException, ""),
        ("2021-02", {}, AirflowFailException, "66"),
        ("2021-01", {"DATABASE_URL": "mysql://nowhere"}, AirflowFailException, "78"),
        ("2021-01", {"DATABASE_URL": unreachable}, AirflowException, "69"),
    ]:
        error = load(month, **environment)
        assert type(error) is error_type and code in str(error), (month, environment, error)
