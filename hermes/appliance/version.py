"""The text of ``hermes --version``: Hermes, its commit, and what it runs on."""

import sys
from pathlib import Path

import hermes
from hermes.appliance.bundle import BUILD_FILE, bundled_json

COMMIT_TIMEOUT_S = 5.0


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
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMIT_TIMEOUT_S, check=False)
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
