-- Records a task run in the run history, when it begins and when it has ended.
-- Locks: the task run's row. May be run again.
INSERT INTO taxi_etl.task_runs ({{ columns | join(', ') }})
VALUES ({% for column in columns %} ${{ loop.index }} {% if not loop.last %} , {% endif %} {% endfor %})
ON CONFLICT (task_run_id) DO UPDATE
SET {% for column in columns %} {{ column }} = EXCLUDED.{{ column }} {% if not loop.last %} , {% endif %} {% endfor %}
