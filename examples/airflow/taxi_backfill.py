"""Loads what is missing, every day.

The worker has `taxi` on its search path and the database in its DATABASE_URL. The task's XCom is the result, a JSON
object; a day on which there is nothing to do shows as skipped.
"""

from datetime import datetime, timedelta

try:
    from airflow.providers.standard.operators.bash import BashOperator
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.operators.bash import BashOperator

with DAG(
    dag_id="taxi_backfill",
    description="New York's taxi trips into PostgreSQL",
    schedule="17 4 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    params={"taxi": "all", "from": "2019-01", "to": "latest"},
    default_args={"retries": 2, "retry_delay": timedelta(minutes=5)},
    tags=["taxi"],
):
    BashOperator(
        task_id="backfill",
        # through the environment, so that a parameter stays one argument whatever it holds
        bash_command=(
            'taxi backfill --taxi "$BACKFILL_TAXI" --from "$BACKFILL_FROM" --to "$BACKFILL_TO"'
            " --jobs 2 --output json --skip-exit-code 99"
        ),
        env={
            "BACKFILL_TAXI": "{{ params.taxi }}",
            "BACKFILL_FROM": "{{ params.from }}",
            "BACKFILL_TO": "{{ params.to }}",
        },
        append_env=True,
        skip_on_exit_code=99,
    )
