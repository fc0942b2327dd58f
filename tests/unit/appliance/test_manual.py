"""Manual pages and completion: they have what the command line has."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from hermes.appliance.completion import completions
from hermes.appliance.manual import manual_pages, subcommands
from hermes.appliance.troff import escape
from hermes.cli.main import COMMANDS, make_parser
from tests.support.programs import needs

PAGES = manual_pages(make_parser())


@pytest.mark.parametrize(
    ("text", "troff"),
    [
        (".TH not a request", r"\&.TH not a request"),
        ("'tis", r"\(aqtis"),
        ("--flag", r"\-\-flag"),
        (r"a\nb", r"a\(rsnb"),
        ("…", r"\[u2026]"),
        ('"~^`', r"\(dq\(ti\(ha\(ga"),
    ],
)
def test_text_is_escaped(text: str, troff: str) -> None:
    """troff shows it as it is."""
    assert escape(text) == troff


def test_every_command_has_a_page() -> None:
    """And hermes itself."""
    assert set(PAGES) == {"hermes.1", *(f"hermes-{name}.1" for name in COMMANDS)}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_correct_for_man(name: str, tmp_path: Path) -> None:
    """Without a warning; every flag of the command is shown."""
    (tmp_path / name).write_text(PAGES[name])
    command = [needs("man"), "--warnings", "--local-file", "--encoding=UTF-8", str(tmp_path / name)]
    environment = {"MANWIDTH": "200", "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", "MAN_KEEP_FORMATTING": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environment)
    assert done.stderr == ""
    assert "EXIT STATUS" in done.stdout
    parser = make_parser()
    if name != "hermes.1":
        parser = subcommands(parser)[name.removeprefix("hermes-").removesuffix(".1")]
    for action in parser._actions:
        for flag in action.option_strings:
            assert flag in done.stdout, flag


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_a_completion_is_correct_for_its_shell(shell: str, tmp_path: Path) -> None:
    """By the shell's own check, if it is installed; every command and flag is in it."""
    script = completions(make_parser())[shell]
    for name, command in subcommands(make_parser()).items():
        assert re.search(rf"\b{name}\b", script)
        for flag in (flag for action in command._actions for flag in action.option_strings):
            assert (flag if shell != "fish" else f" {flag.lstrip('-')} ") in script
    if shutil.which(shell):
        (tmp_path / "script").write_text(script)
        subprocess.run([shell, "-n", str(tmp_path / "script")], check=True, timeout=60)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lis"], ["listen"]),
        (["device", "rem"], ["remove"]),
        (["serve", "--mqtt-q"], ["--mqtt-qos"]),
        (["serve", "--mqtt-qos", ""], ["0", "1"]),
        (["serve", "--config", ""], []),
    ],
)
def test_bash_completes(words: list[str], expected: list[str], tmp_path: Path) -> None:
    """Commands, verbs, flags and fixed values; for other values it leaves the file names to bash."""
    (tmp_path / "script").write_text(completions(make_parser())["bash"])
    code = 'source "$0"; COMP_WORDS=(hermes "$@"); COMP_CWORD=$#; _hermes; printf "%s\\n" "${COMPREPLY[@]}"'
    command = [needs("bash"), "-c", code, str(tmp_path / "script"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == expected
