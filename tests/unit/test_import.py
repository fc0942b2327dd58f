"""Importing Hermes changes nothing in the program that imports it."""

import json
import subprocess
import sys

from tests.support.paths import CHECKOUT

MODULES = sorted(
    ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__")
    for path in (CHECKOUT / "hermes").rglob("*.py")
    if path.name != "__main__.py"  # it runs the command
)

# Runs in an interpreter of its own, with the modules as arguments; prints what is different after their import.
PROGRAM = """
import asyncio, contextlib, gc, importlib, json, locale, logging, os, random, resource, signal, sys, threading, warnings
import prometheus_client.metrics

with contextlib.suppress(ImportError):
    import psycopg  # sets the level of its own logger

def state():
    root = logging.getLogger()
    loggers = [each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    limits = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "prometheus_client": prometheus_client.metrics._use_created,
        "logging fields": [
            logging.logThreads, logging.logProcesses, logging.logMultiprocessing, repr(logging._srcfile),
        ],
        "root logger": [repr(root.handlers), root.level, root.manager.disable, repr(logging.getLoggerClass())],
        "loggers": {each.name: [each.level, repr(each.handlers)] for each in loggers if each.level or each.handlers},
        "gc": [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count(), len(gc.callbacks)],
        "signals": {int(number): repr(signal.getsignal(number)) for number in signal.valid_signals()},
        "warnings": [repr(each) for each in warnings.filters],
        "event loop policy": repr(type(asyncio.get_event_loop_policy())),
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in limits},
        "locale": locale.setlocale(locale.LC_ALL),
        "tracing": [repr(sys.gettrace()), repr(sys.getprofile())],
        "hooks": [repr(each) for each in (sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook)],
        "interpreter": [sys.getswitchinterval(), sys.getrecursionlimit(), sys.get_int_max_str_digits()],
        "threads": [thread.name for thread in threading.enumerate()],
        "environment": dict(os.environ),
        "paths": [os.getcwd(), sys.path, [repr(each) for each in sys.meta_path]],
        "streams": [repr(sys.stdin), repr(sys.stdout), repr(sys.stderr)],
        "random": hash(random.getstate()),
    }

before = state()
for name in sys.argv[1:]:
    importlib.import_module(name)
after = state()
print(json.dumps({name: [value, after[name]] for name, value in before.items() if value != after[name]}))
"""


def test_importing_every_module_changes_nothing_in_the_process() -> None:
    """Neither logging, signals, limits, garbage collection, the event loop policy nor any other process-wide state."""
    command = [sys.executable, "-c", PROGRAM, *MODULES]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert json.loads(run.stdout) == {}
