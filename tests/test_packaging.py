"""What is shipped: the wheel, the unit file, the documents."""

import argparse
import re
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path

import pytest

from hermes.cli import _parser
from hermes.config import Settings, load
from tests.conftest import SECRET, needs
from tests.programs import Program

CHECKOUT = Path(__file__).parent.parent
DOCS = CHECKOUT / "docs"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    names = ("hermes", "templates", "static", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
    subprocess.run(["cp", "-r", *(str(CHECKOUT / name) for name in names), str(folder)], check=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "dist", "."]
    subprocess.run(command, check=True, cwd=folder, timeout=120)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_the_page_and_its_files(wheel: Path) -> None:
    """Every template and static file of the checkout."""
    inside = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("templates", "static"):
        for path in (CHECKOUT / folder).rglob("*.*"):
            assert f"hermes/{path.relative_to(CHECKOUT)}" in inside
    assert "hermes/py.typed" in inside
    assert not [name for name in inside if name.startswith(("tests", "bench", "templates", "static"))]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command of a clean environment that has the wheel and what it asks for."""
    folder = tmp_path_factory.mktemp("clean")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=60)
    subprocess.run([str(folder / "bin/pip"), "install", "--quiet", str(wheel)], check=True, timeout=300)
    return folder / "bin/hermes"


def test_the_wheel_serves_far_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The page and the client module come from inside the package."""
    arguments = ["serve", "--port", "0", "--mqtt-url", "off"]
    program = Program(arguments, {"HERMES_JWT_SECRET": SECRET}, launcher=(str(installed),), cwd=tmp_path)
    try:
        for path in ("/", "/static/hermes-client.js", "/static/console/console.css"):
            with urllib.request.urlopen(program.url + path, timeout=5) as response:
                assert response.status == 200
                assert response.read()
    finally:
        assert program.end() == 0


def test_the_unit_file_is_clean(tmp_path: Path) -> None:
    """systemd finds nothing to say about it."""
    verify = [needs("systemd-analyze"), "verify", str(CHECKOUT / "hermes.service")]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_setting_is_documented() -> None:
    """Flag and variable, in docs/configuration.md; and every flag there exists."""
    text = (DOCS / "configuration.md").read_text()
    for name in Settings.model_fields:
        assert f"HERMES_{name.upper()}" in text, name
    (commands,) = [action for action in _parser()._actions if isinstance(action, argparse._SubParsersAction)]
    actions = [action for parser in commands.choices.values() for action in parser._actions]
    flags = {flag for action in actions for flag in action.option_strings}
    for flag in re.findall(r"`(--[a-z-]+)", text):
        assert flag in flags, flag


def test_the_documented_file_suits_the_unit(tmp_path: Path) -> None:
    """The service's own user cannot read root's secret files: the example leaves them to the unit's credentials."""
    (example,) = re.findall(r"```toml\n(.*?)```", (DOCS / "configuration.md").read_text(), re.DOTALL)
    assert not [name for name in tomllib.loads(example) if name.endswith("_file")]
    unit = (CHECKOUT / "hermes.service").read_text()
    credentials = dict(re.findall(r"HERMES_(\w+)=%d/([\w-]+)", unit))
    assert sorted(credentials.values()) == sorted(re.findall(r"^LoadCredential=([\w-]+):", unit, re.MULTILINE))
    (tmp_path / "hermes.toml").write_text(example)
    (tmp_path / "credential").write_text(SECRET)
    given = {name.lower(): str(tmp_path / "credential") for name in credentials}
    settings = load(Settings, given | {"config": str(tmp_path / "hermes.toml")})
    assert (settings.host, settings.secret, settings.api_keys) == ("0.0.0.0", SECRET, (SECRET,))


def test_the_documents_links_lead_somewhere() -> None:
    """Every relative link of the README and the docs."""
    for document in (CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", *DOCS.glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def test_close_codes_and_errors_are_documented() -> None:
    """Every machine word that a client can get stands in docs/protocol.md."""
    text = (DOCS / "protocol.md").read_text()
    source = "".join(path.read_text() for path in (CHECKOUT / "hermes").rglob("*.py"))
    words = set(re.findall(r'Close\(\d+, "(\w+)"', source))
    words |= set(re.findall(r'ClientFault\("(\w+)"', source))
    words |= set(re.findall(r'InvalidRequest\([^"]{0,20}"(\w+)"', source))
    assert len(words) > 15
    assert not [word for word in words if f"`{word}" not in text]
