-- Records a run in the run history, when it begins and when it has ended.
-- Locks: the run's row. May be run again: a run whose end is recorded keeps it. So a failure that the client sees
-- after the server has committed does not overwrite the success.
INSERT INTO taxi_etl.runs AS recorded ({{ columns | join(', ') }})
VALUES ({% for column in columns %} ${{ loop.index }} {% if not loop.last %} , {% endif %} {% endfor %})
ON CONFLICT (run_id) DO UPDATE
SET {% for column in columns %} {{ column }} = EXCLUDED.{{ column }} {% if not loop.last %} , {% endif %} {% endfor %}
WHERE recorded.status IN ('running', 'lost')
