"""What this Hermes is: its version, its commit, its date, and what it runs on."""

import functools
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import hermes
from hermes.appliance.bundle import BUILD_FILE, bundled_json

COMMIT_TIMEOUT_S = 5.0
RELEASED = "2026-11-26"  # of the newest release in CHANGELOG.md; a test compares them
BUILT = "built"  # key of the build's facts, of a frozen Hermes
GIT_ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": os.path.expanduser("~")}  # its settings are in HOME


def version_report() -> str:
    """Return a line for Hermes and one for each known fact.

    A frozen Hermes reads the facts of its build, which takes less time than to import the libraries.
    """
    facts: dict[str, str] = bundled_json(BUILD_FILE) or build_facts()
    return "\n".join([f"hermes {hermes.__version__}", *(f"{name} {value}" for name, value in facts.items())])


def build_facts() -> dict[str, str]:
    """Return commit, Python, SQLite and OpenSSL, without those that are unknown."""
    facts = {"commit": commit(), "Python": sys.version.split()[0], "SQLite": _sqlite(), "OpenSSL": _openssl()}
    return {name: value for name, value in facts.items() if value}


@functools.cache
def built_at() -> datetime:
    """Return when Hermes was built; without a record of it, the newest release."""
    facts: dict[str, str] = bundled_json(BUILD_FILE) or {}
    return datetime.fromisoformat(facts.get(BUILT, RELEASED)).replace(tzinfo=UTC)


def clock_problem(now_s: float) -> str | None:
    """Return what is wrong with a time in Unix seconds before the build; else None."""
    built = built_at()
    if now_s >= built.timestamp():
        return None
    now = datetime.fromtimestamp(max(0.0, now_s), UTC)
    return (
        f"the clock of this machine says {now:%Y-%m-%d %H:%M} UTC, but Hermes is from {built:%Y-%m-%d}: expired "
        "tokens may be accepted, and valid ones refused; set the clock (timedatectl)"
    )


def commit() -> str:
    """Return the commit of the checkout.

    It ends with ``-dirty`` if files are changed. It is empty without a checkout or git.
    """
    folder = Path(hermes.__file__).parent.parent
    if not (folder / ".git").exists():
        return ""
    import subprocess  # an installed Hermes has no checkout

    command = ["git", "-C", str(folder), "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMIT_TIMEOUT_S, check=False, env=GIT_ENVIRONMENT
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _sqlite() -> str:
    try:
        import sqlite3
    except ImportError:  # a Python without it
        return ""
    return sqlite3.sqlite_version


def _openssl() -> str:
    import ssl

    return ssl.OPENSSL_VERSION.removeprefix("OpenSSL ")
