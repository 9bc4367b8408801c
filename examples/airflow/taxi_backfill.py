"""Loads what is missing, every day: one mapped task a month.

The worker has `taxi` on its search path and the database in its DATABASE_URL. The pool `taxi` limits how many months
load side by side: `airflow pools set taxi 2 "loads of taxi"`. The XCom of each task is the result of its load, a dict.
"""

import json
from datetime import datetime, timedelta
from itertools import groupby

try:
    from airflow.providers.standard.hooks.subprocess import SubprocessHook
    from airflow.sdk import DAG, BaseOperator
    from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.exceptions import AirflowException, AirflowFailException, AirflowSkipException
    from airflow.hooks.subprocess import SubprocessHook
    from airflow.models import BaseOperator

# `taxi --help` lists the exit codes: after these, a retry cannot succeed before somebody has fixed the cause
PERMANENT = {64, 65, 66, 67, 70, 71, 74, 76, 77, 78}
NOTHING_TO_DO = 99


class Taxi(BaseOperator):
    """Runs a `taxi` command with a JSON result."""

    hook = None

    def run_taxi(self, *arguments):
        self.hook = SubprocessHook()
        result = self.hook.run_command(["taxi", *arguments, "--output", "json"])
        if result.exit_code == NOTHING_TO_DO:
            raise AirflowSkipException("nothing to do")
        if result.exit_code in PERMANENT:
            raise AirflowFailException(f"taxi ended with exit code {result.exit_code}, which a retry cannot fix")
        if result.exit_code != 0:
            raise AirflowException(f"taxi ended with exit code {result.exit_code}")
        return json.loads(result.output)  # the last line

    def on_kill(self):
        if self.hook:
            self.hook.send_sigterm()


class TaxiPlan(Taxi):
    """Lists the months of a range that have to be loaded, as arguments of TaxiLoad."""

    template_fields = ("taxi", "first", "last")

    def __init__(self, *, taxi, first, last, **kwargs):
        super().__init__(**kwargs)
        self.taxi, self.first, self.last = taxi, first, last

    def execute(self, context):
        plan = self.run_taxi("backfill", "--taxi", self.taxi, "--from", self.first, "--to", self.last, "--plan")
        due = []
        for _, files in groupby(plan["files"], lambda file: file["table"]):
            actions = [(file["filename"], file["action"]) for file in files]
            # months after the last published one are not due yet
            while self.last == "latest" and len(actions) > 1 and actions[-1][1] == "not_published":
                actions.pop()
            due += [name.removesuffix(".csv").split("_tripdata_") for name, action in actions if action != "skip"]
        return [{"taxi": taxi, "month": month} for taxi, month in due]


class TaxiLoad(Taxi):
    """Loads one month."""

    template_fields = ("taxi", "month")

    def __init__(self, *, taxi, month, **kwargs):
        super().__init__(**kwargs)
        self.taxi, self.month = taxi, month

    def execute(self, context):
        year, month = self.month.split("-")
        # somebody else may have loaded the month since the plan
        skip = ("--skip-exit-code", str(NOTHING_TO_DO))
        return self.run_taxi("load", "--taxi", self.taxi, "--year", year, "--month", month, *skip)


with DAG(
    dag_id="taxi_backfill",
    description="New York's taxi trips into PostgreSQL",
    schedule="17 4 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"taxi": "yellow,green", "from": "2019-01", "to": "latest"},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["taxi"],
):
    plan = TaxiPlan(
        task_id="plan", taxi="{{ params.taxi }}", first="{{ params['from'] }}", last="{{ params.to }}", pool="taxi"
    )
    TaxiLoad.partial(task_id="load", pool="taxi", map_index_template="{{ task.taxi }} {{ task.month }}").expand_kwargs(
        plan.output
    )
