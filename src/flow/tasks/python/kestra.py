"""Hands results of a script to the flow that runs it: outputs, metrics and log messages.

A package of the same name that is installed on this machine comes before this module.
"""

import importlib.machinery
import importlib.util
import json
import logging
import os
import sys
import time


def _load_installed():
    own = os.path.dirname(os.path.abspath(__file__))
    others = [path for path in sys.path if os.path.abspath(path or ".") != own]
    spec = importlib.machinery.PathFinder.find_spec("kestra", others)
    if spec is None or spec.loader is None:
        return False
    module = importlib.util.module_from_spec(spec)
    sys.modules["kestra"] = module
    spec.loader.exec_module(module)
    return True


def _send(results):
    print("::" + json.dumps(results, default=str) + "::", flush=True)


class _Handler(logging.Handler):
    def emit(self, record):
        _send({"logs": [{"level": record.levelname, "message": self.format(record)}]})


class Kestra:
    """Results of a script."""

    @staticmethod
    def outputs(values):
        """Sets outputs of the task, which expressions find in `vars`."""
        _send({"outputs": values})

    @staticmethod
    def counter(name, value, tags=None):
        """Reports a count."""
        Kestra._metric(name, "counter", value, tags)

    @staticmethod
    def gauge(name, value, tags=None):
        """Reports a value that can go up and down."""
        Kestra._metric(name, "gauge", value, tags)

    @staticmethod
    def timer(name, duration, tags=None):
        """Reports a duration in seconds, or how long a function takes."""
        if callable(duration):
            began = time.monotonic()
            duration()
            duration = time.monotonic() - began
        Kestra._metric(name, "timer", duration, tags)

    @staticmethod
    def logger():
        """Returns a logger whose messages have their level in the flow's log."""
        logger = logging.getLogger("kestra")
        if not logger.handlers:
            logger.addHandler(_Handler())
            logger.setLevel(logging.DEBUG)
            logger.propagate = False
        return logger

    @staticmethod
    def _metric(name, kind, value, tags):
        _send({"metrics": [{"name": name, "type": kind, "value": value, "tags": tags or {}}]})


_load_installed()
