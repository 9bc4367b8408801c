"""The target tables as assets, a partition a month.

The code location has `taxi` on its search path and the database in its DATABASE_URL. `taxi` speaks Dagster Pipes:
each materialization carries its row counts, and its log lines show in the run.
"""

import dagster as dg

MONTHS = dg.MonthlyPartitionsDefinition(start_date="2019-01-01")


def tripdata(taxi: str) -> dg.AssetsDefinition:
    @dg.asset(
        name=f"{taxi}_tripdata",
        partitions_def=MONTHS,
        kinds={"postgres"},
        # for a limit in the deployment's settings: more months at a time than the database has cores gain nothing
        op_tags={"dagster/concurrency_key": "taxi"},
    )
    def asset(context: dg.AssetExecutionContext, pipes: dg.PipesSubprocessClient) -> dg.MaterializeResult:
        month = context.partition_time_window.start
        command = ["taxi", "load", "--taxi", taxi, "--year", str(month.year), "--month", str(month.month)]
        return pipes.run(command=command, context=context).get_materialize_result()

    return asset


defs = dg.Definitions(
    assets=[tripdata("yellow"), tripdata("green")],
    resources={"pipes": dg.PipesSubprocessClient()},
)
