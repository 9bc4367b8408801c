-- Records a run in the run history, when it begins and when it has ended.
-- Locks: the run's row. May be run again: it does not overwrite a recorded end. So if the client sees a failure
-- after the server has committed, the ledger keeps the success.
INSERT INTO taxi_etl.runs AS recorded ({{ columns | join(', ') }})
VALUES ({% for column in columns %} ${{ loop.index }} {% if not loop.last %} , {% endif %} {% endfor %})
ON CONFLICT (run_id) DO UPDATE
SET {% for column in columns %} {{ column }} = EXCLUDED.{{ column }} {% if not loop.last %} , {% endif %} {% endfor %}
WHERE recorded.status IN ('running', 'lost')
