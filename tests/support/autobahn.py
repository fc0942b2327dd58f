"""The fuzzing client of the Autobahn|Testsuite, which needs Python 2.7.

It is installed in ``.autobahn/`` at the first use; its reports are in ``.autobahn/reports/``.
"""

import glob
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT

FOLDER = CHECKOUT / ".autobahn"
PACKAGES = FOLDER / "packages"
PINNED = Path(__file__).with_name("autobahn.txt")
INSTALL_TIMEOUT_S = 900.0
RUN_TIMEOUT_S = 3_600.0  # each case has a time-out of its own

_NO_NETWORK = re.compile("NewConnectionError|Temporary failure in name resolution")
_PROBE = "import sys, pip; sys.exit(sys.version_info[:2] != (2, 7))"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What the suite says about one case: about the messages, and about the closing handshake."""

    behavior: str
    close_behavior: str


def python27() -> str:
    """Return the path of a Python 2.7 with pip; skip the test without one, also if CI=true."""
    for path in _candidates():
        if subprocess.run([path, "-c", _PROBE], capture_output=True, check=False).returncode == 0:
            return path
    pytest.skip("the Autobahn|Testsuite needs Python 2.7 with pip, for example: pyenv install 2.7.18")


def _candidates() -> Iterator[str]:
    for name in ("python2.7", "python2"):
        if path := shutil.which(name):
            yield path
    root = os.environ.get("PYENV_ROOT", str(Path.home() / ".pyenv"))
    yield from sorted(glob.glob(f"{glob.escape(root)}/versions/2.7*/bin/python2.7"))


def _environment() -> dict[str, str]:
    """Return the environment of Python 2.7: its user packages are those in ``.autobahn/``."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return own | {"PYTHONUSERBASE": str(PACKAGES)}


def install(python: str) -> None:
    """Install the pinned versions, unless they are; skip the test if the registry cannot be reached."""
    done = FOLDER / "installed.txt"
    wanted = f"# {python}\n{PINNED.read_text()}"
    if done.exists() and done.read_text() == wanted:
        return
    shutil.rmtree(PACKAGES, ignore_errors=True)
    FOLDER.mkdir(exist_ok=True)
    options = ["--user", "--ignore-installed", "--no-deps", "--no-warn-script-location"]
    run = subprocess.run(
        [python, "-m", "pip", "--disable-pip-version-check", "install", *options, "--requirement", str(PINNED)],
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=INSTALL_TIMEOUT_S,
        check=False,
    )
    if run.returncode and _NO_NETWORK.search(run.stderr):
        pytest.skip("the package registry of Python cannot be reached")
    assert run.returncode == 0, run.stdout + run.stderr
    done.write_text(wanted)


def fuzz(
    python: str, url: str, *, name: str, cases: Sequence[str], without: Sequence[str] = ()
) -> dict[str, CaseResult]:
    """Run cases, given as patterns such as ``5.*``, against a server; return the result of each."""
    reports = FOLDER / "reports" / name
    shutil.rmtree(reports, ignore_errors=True)
    reports.mkdir(parents=True)
    specification = FOLDER / f"{name}.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(reports),
                "servers": [{"agent": name, "url": url}],
                "cases": list(cases),
                "exclude-cases": list(without),
                "exclude-agent-cases": {},
            }
        )
    )
    run = subprocess.run(
        [python, "-m", "autobahntestsuite.wstest", "--mode", "fuzzingclient", "--spec", str(specification)],
        env=_environment(),
        cwd=FOLDER,
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    results = json.loads((reports / "index.json").read_text())[name]
    return {case: CaseResult(row["behavior"], row["behaviorClose"]) for case, row in results.items()}
