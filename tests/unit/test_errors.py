"""The errors: the command that installs a missing extra, for the Python that runs Hermes."""

import shlex
import subprocess
import sys
from importlib import metadata

import pytest

from hermes.errors import install_command

EXTRAS = {"cbor": "cbor2", "sparkplug": "protobuf", "websockets": "websockets", "uvloop": "uvloop"}


@pytest.mark.parametrize("extra", EXTRAS)
def test_the_command_names_the_packages_of_the_extra(extra: str) -> None:
    """With their versions, as setup.cfg gives them."""
    *command, requirement = shlex.split(install_command(extra))
    assert command == [sys.executable, "-m", "pip", "install"]
    assert requirement.startswith(EXTRAS[extra])
    assert ">=" in requirement


@pytest.mark.slow
def test_pip_accepts_the_command() -> None:
    """Of a package that is installed: nothing is downloaded."""
    command = [*shlex.split(install_command("cbor")), "--no-index"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Requirement already satisfied: cbor2" in done.stdout


def test_the_one_file_program_cannot_be_extended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no pip; the text says so."""
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert install_command("uvloop") == "install Hermes with pip from a checkout: pip install '.[uvloop]'"


def test_a_hermes_that_was_not_installed_names_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """For example one that is only on PYTHONPATH."""

    def missing(name: str) -> list[str]:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert install_command("cbor") == "in the checkout, run: pip install '.[cbor]'"
