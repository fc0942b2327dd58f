"""What is shipped: the wheel, the unit file, the documents."""

import argparse
import configparser
import fnmatch
import functools
import re
import shlex
import subprocess
import sys
import tomllib
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.cli.main import make_parser
from hermes.ingest.drops import REASONS
from hermes.metrics import Metrics
from hermes.settings.folders import SERVICE_CONFIG
from hermes.settings.load import load
from hermes.settings.model import Settings
from tests.support.gateways import SECRET
from tests.support.page_commands import BLOCK, blocks
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, needs

DOCS = CHECKOUT / "docs"
CONFIGURATION = DOCS / "reference" / "configuration.md"
PROTOCOL = DOCS / "reference" / "protocol.md"
METRICS = DOCS / "reference" / "metrics.md"
EXAMPLES = CHECKOUT / "examples"
PAGES = (
    *CHECKOUT.glob("*.md"),
    *CHECKOUT.glob(".github/**/*.md"),
    *DOCS.rglob("*.md"),
    *EXAMPLES.glob("*.md"),
    *EXAMPLES.glob("*/*.md"),
)


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


def test_setup_cfg_names_every_package_and_file() -> None:
    """The wheel has what ``packages`` and ``package_data`` name: a new folder or kind of file must be named there."""
    setup = configparser.ConfigParser()
    setup.read(CHECKOUT / "setup.cfg")
    packages = set(setup["options"]["packages"].split())
    for path in (CHECKOUT / "hermes").rglob("*.py"):
        assert ".".join(path.parent.relative_to(CHECKOUT).parts) in packages, path
    for folder in ("templates", "static"):
        patterns = setup["options.package_data"][f"hermes.{folder}"].replace("**/", "").split(", ")
        for path in (CHECKOUT / folder).rglob("*.*"):
            assert any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns), path


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_wheel_serves_far_from_the_checkout(installed: Path, tmp_path: Path) -> None:
    """The page and the client module come from inside the package."""
    arguments = ["serve", "--port", "0", "--mqtt-url", "off"]
    program = Program(arguments, {"HERMES_JWT_SECRET": SECRET}, launcher=(str(installed),), cwd=tmp_path)
    try:
        for path in ("/", "/static/hermes-client.js", "/static/console/console.css"):
            with urllib.request.urlopen(program.url + path, timeout=60) as response:
                assert response.status == 200
                assert response.read()
    finally:
        assert program.end() == 0


def test_the_unit_file_is_clean(tmp_path: Path) -> None:
    """systemd finds nothing to say about it."""
    verify = [needs("systemd-analyze"), "verify", str(CHECKOUT / "hermes.service")]
    done = subprocess.run(verify, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_units_state_is_where_the_documents_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device accounts of the service, which `hermes device` must be told of."""
    (name,) = re.findall(r"^StateDirectory=(\w+)$", (CHECKOUT / "hermes.service").read_text(), re.MULTILINE)
    monkeypatch.setenv("STATE_DIRECTORY", f"/var/lib/{name}")
    folder = load(Settings, {"dev": "true", "broker_listen": "127.0.0.1:1883"}).device_listener
    assert folder is not None
    assert f"--broker-state-dir {folder.folder} add" in (DOCS / "guide" / "device-accounts.md").read_text()


VERB = "serve|init|status|check|token|notify|listen|topics|device|licenses|sbom"
COMMAND = re.compile(rf"(?:^|[ /($])(hermes (?:{VERB}) .*)", re.MULTILINE)


parser_of_hermes = functools.cache(make_parser)


def commands_of(page: Path) -> Iterator[str]:
    """Yield every ``hermes`` command of a page that has arguments: of the blocks, and of the text."""
    code = [text for language, text in blocks(page) if language in ("", "sh", "console")]
    code += re.findall(r"`([^`]+)`", BLOCK.sub("", page.read_text()))
    for part in code:
        for command in COMMAND.findall(part.replace("\\\n", " ")):
            words = re.split(r" [|>&]|\)\s|\)$|\)\"", command)[0]
            if not re.fullmatch(r"[a-z ]+", words):
                yield words


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: str(page.relative_to(CHECKOUT))
)
def test_every_command_on_a_page_is_one_of_hermes(page: Path) -> None:
    """Its flags and arguments exist; an argument in capitals stands for one of the user."""
    for command in commands_of(page):
        if "hermes topics explain TOPIC" in command:  # with an optional argument in brackets
            continue
        assert _is_accepted(shlex.split(command)[1:]), f"{page.name}: {command}"


def _is_accepted(words: list[str]) -> bool:
    try:
        parser_of_hermes().parse_args(words)
    except SystemExit as end:  # of --help and --version too, with 0
        return end.code == 0
    return True


def test_every_flag_on_the_configuration_page_exists() -> None:
    """It is a flag of a command."""
    text = CONFIGURATION.read_text()
    (commands,) = [action for action in parser_of_hermes()._actions if isinstance(action, argparse._SubParsersAction)]
    actions = [action for parser in commands.choices.values() for action in parser._actions]
    flags = {flag for action in actions for flag in action.option_strings}
    for flag in re.findall(r"`(--[a-z-]+)", text):
        assert flag in flags, flag


def test_the_documented_file_suits_the_unit(tmp_path: Path) -> None:
    """The unit names the file of the example, which names the secrets that ``hermes init`` creates."""
    (example,) = re.findall(r"```toml\n(.*?)```", CONFIGURATION.read_text(), re.DOTALL)
    unit = (CHECKOUT / "hermes.service").read_text()
    assert f"Environment=HERMES_CONFIG={SERVICE_CONFIG}\n" in unit
    assert f"# {SERVICE_CONFIG}" in example
    folder = str(SERVICE_CONFIG.parent)
    files = {value for name, value in tomllib.loads(example).items() if name.endswith("_file")}
    assert files == {f"{folder}/jwt-secret", f"{folder}/api-keys"}
    for name in ("jwt-secret", "api-keys"):
        (tmp_path / name).touch(mode=0o600)
        (tmp_path / name).write_text(SECRET.replace(" ", "-"))
    (tmp_path / "hermes.toml").write_text(example.replace(folder, str(tmp_path)))
    settings = load(Settings, {"config": str(tmp_path / "hermes.toml")})
    secret = SECRET.replace(" ", "-")
    assert (settings.host, settings.secret, settings.api_keys[0].text) == ("0.0.0.0", secret, secret)


def test_the_unit_exposes_little(tmp_path: Path) -> None:
    """At most 1.2 of 10, as systemd counts."""
    command = [needs("systemd-analyze"), "security", "--offline=true", "--threshold=12"]
    done = subprocess.run([*command, str(CHECKOUT / "hermes.service")], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()[-200:]


def anchors(document: Path) -> set[str]:
    """What a link can point at within it: its headings, as GitHub and GitLab name them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_documents_links_lead_somewhere() -> None:
    """Every relative link of a page at the top, in .github, docs or examples, and the heading that it names."""
    for document in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", document.read_text()):
            page = document.parent / target if target else document
            assert page.exists(), f"{document.name} links to {target}"
            assert not anchor or anchor in anchors(page), f"{document.name} links to {target}#{anchor}"


def test_hermes_is_not_installed_by_name() -> None:
    """No package index has it: neither a page nor a message says so, nor names an extra in that way."""
    sources = [*(CHECKOUT / "hermes").rglob("*.py"), CHECKOUT / "hermes.service", CHECKOUT / "Dockerfile"]
    for path in (*PAGES, *sources):
        found = re.findall(r"pip3? install .*hermes-gateway.*|hermes-gateway\[.*", path.read_text())
        assert not found, f"{path}: {found}"


def test_every_page_is_in_an_index() -> None:
    """A page below docs is linked from docs/README.md, a decision from docs/decisions/README.md."""
    for page in DOCS.rglob("*.md"):
        index = page.parent / "README.md" if page.parent.name == "decisions" else DOCS / "README.md"
        name = page.relative_to(index.parent)
        assert page == DOCS / "README.md" or page == index or f"]({name})" in index.read_text(), name


def test_every_decision_has_all_sections() -> None:
    """Status, context, decision, consequences, refused alternatives, in this order."""
    records = sorted((DOCS / "decisions").glob("0*.md"))
    assert len({record.name[:4] for record in records}) == len(records)
    for record in records:
        text = record.read_text()
        assert text.startswith(f"# {record.name[:4]}. "), record.name
        assert "\n**Status:** " in text, record.name
        sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert sections == ["Context", "Decision", "Consequences", "Alternatives refused"], record.name


def test_every_metric_is_documented() -> None:
    """Each name on /metrics stands in a table of docs/reference/metrics.md, and each name there exists."""
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in Metrics().registry.collect()
    }
    text = METRICS.read_text()
    assert len(names) > 25
    assert names - set(re.findall(r"`(hermes_\w+)", text)) == set()
    rows = "\n".join(re.findall(r"^\|.*$", text, re.MULTILINE))
    assert set(re.findall(r"`(hermes_\w+)", rows)) - names == set()


def test_every_reason_for_a_loss_is_documented() -> None:
    """In the table of docs/reference/metrics.md, and no other."""
    text = METRICS.read_text()
    table = text[text.index("| `reason` | the message |") :].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) - {"reason"} == set(REASONS)


def test_close_codes_and_errors_are_documented() -> None:
    """Every machine word that a client can get stands in docs/reference/protocol.md."""
    text = PROTOCOL.read_text()
    source = "".join(path.read_text() for path in (CHECKOUT / "hermes").rglob("*.py"))
    words = set(re.findall(r'Close\(\d+, "(\w+)"', source))
    words |= set(re.findall(r'ClientError\("(\w+)"', source))
    words |= set(re.findall(r'RequestError\([^"]{0,20}"(\w+)"', source))
    assert len(words) > 15
    assert not [word for word in words if f"`{word}" not in text]
