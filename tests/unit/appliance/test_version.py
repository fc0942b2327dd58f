"""The text of hermes --version."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hermes
from hermes.appliance import version
from hermes.appliance.bundle import BUILD_FILE
from tests.support.programs import needs


def test_the_first_line_is_name_and_number() -> None:
    """What Hermes runs on follows, one fact a line."""
    first, *others = version.version_report().splitlines()
    assert first == f"hermes {hermes.__version__}"
    assert [line.split()[0] for line in others if not line.startswith("commit ")] == ["Python", "SQLite", "OpenSSL"]


def checkout(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Hermes be in this folder."""
    (folder / "hermes").mkdir()
    (folder / "hermes" / "__init__.py").touch()
    monkeypatch.setattr(hermes, "__file__", str(folder / "hermes" / "__init__.py"))


def test_the_commit_of_a_checkout_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed file is marked."""
    checkout(tmp_path, monkeypatch)
    git = [needs("git"), "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "first"]):
        subprocess.run([*git, *words], check=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert version.commit() == head[:12]
    (tmp_path / "hermes" / "__init__.py").write_text("1")
    assert version.commit() == f"{head[:12]}-dirty"


def test_an_installed_hermes_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a folder above is a checkout."""
    checkout(tmp_path, monkeypatch)
    assert version.commit() == ""


@pytest.mark.parametrize("program", ["/nowhere", "git"])
def test_a_git_that_fails_is_no_error(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is missing, or the checkout is broken."""
    checkout(tmp_path, monkeypatch)
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    monkeypatch.setenv("PATH", str(tmp_path) if program != "git" else str(Path(shutil.which("git") or "/bin").parent))
    assert version.commit() == ""


def test_a_frozen_hermes_reports_the_facts_of_its_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the broker's Debian revision."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    (tmp_path / BUILD_FILE).write_text(json.dumps({"commit": "abc", "mosquitto": "2.0-1 (bundled)"}))
    assert version.version_report() == f"hermes {hermes.__version__}\ncommit abc\nmosquitto 2.0-1 (bundled)"
