"""Layers: a module imports only from lower layers or its own folder."""

import ast
import functools
import re
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT

PACKAGE = CHECKOUT / "hermes"
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the lowest to the highest; the folders and modules of one line never import each other.
LAYERS = (
    ("errors", "ids", "metrics", "log", "backoff", "json_nesting"),
    ("topics", "auth", "quotas", "net"),
    ("settings",),
    ("delivery",),
    ("cluster",),
    ("appliance", "inbox", "observe"),
    ("ingest", "web", "dev", "broker"),
    ("mqtt",),
    ("app",),
    ("server", "reload"),
    ("gateway",),
    ("testing", "client"),
    ("cli",),
    ("__main__",),
)
DEPTH = {name: depth for depth, names in enumerate(LAYERS) for name in names}
FOLDER_MAX_FILES = 12


def folder_of(name: str) -> str:
    """Return the folder, or the module at the top, of ``hermes.…``."""
    return name.removeprefix("hermes").removeprefix(".").partition(".")[0]


@functools.cache
def imports_of(path: Path) -> frozenset[str]:
    """The full names of what a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = node.module or ""
            inside = {f"{module}.{alias.name}" for alias in node.names if _is_module(module, alias.name)}
            found.update(inside)
            if len(inside) < len(node.names):
                found.add(module)
    return frozenset(found)


def _is_module(package: str, name: str) -> bool:
    path = PACKAGE.parent.joinpath(*package.split("."), name)
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_name(path: Path) -> str:
    """``hermes.web.notify`` for its file."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_lower_layers_or_its_own_folder(path: Path) -> None:
    """An import points to a lower layer or stays in its folder."""
    folder = folder_of(module_name(path))
    assert folder in DEPTH or not folder, f"add {folder} to LAYERS"
    for imported in imports_of(path):
        if imported == "hermes" or not imported.startswith("hermes.") or not folder:
            continue
        other = folder_of(imported)
        assert other == folder or DEPTH[other] < DEPTH[folder], f"{module_name(path)} imports {imported}"


@pytest.mark.parametrize(
    ("library", "only_in"),
    [
        (
            "paho",
            {
                "hermes.mqtt.connection",
                "hermes.mqtt.paho_client",
                "hermes.mqtt.paho_hooks",
                "hermes.mqtt.subscriptions",
            },
        ),
        ("cbor2", {"hermes.ingest.cbor"}),
        ("websockets", {"hermes.mqtt.net.websocket"}),
        ("uvloop", {"hermes.cli.serve"}),
        (
            "psycopg",
            {
                "hermes.inbox.postgres.database",
                "hermes.inbox.postgres.session",
                "hermes.inbox.postgres.transactions",
                "hermes.inbox.postgres.writer",
            },
        ),
        ("prometheus_client", {"hermes.metrics"}),
        ("pytest", {"hermes.testing"}),
        ("google", {"hermes.ingest.sparkplug.sparkplug_b_pb2", "hermes.ingest.sparkplug.metrics"}),
        ("msgspec", {"hermes.json_nesting", "hermes.topics.json_pointer", "hermes.web.raw_json"}),
        ("jwt", {"hermes.auth.jwks", "hermes.auth.keys", "hermes.auth.tokens", "hermes.testing"}),
        ("jinja2", {"hermes.app", "hermes.web.console.page"}),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, only_in: set[str]) -> None:
    """So that it can be changed there."""
    importers = {module_name(path) for path in MODULES if library in {name.split(".")[0] for name in imports_of(path)}}
    assert importers == only_in


def test_delivery_imports_neither_the_web_nor_mqtt() -> None:
    """Modules of `hermes.delivery` import neither Tornado nor paho."""
    for path in (PACKAGE / "delivery").glob("*.py"):
        assert not {name for name in imports_of(path) if name.startswith(("tornado", "paho"))}


def test_only_the_settings_read_the_environment() -> None:
    """``os.environ`` and ``os.getenv`` stand in `hermes.settings` alone.

    The exception are the variables of the service manager and of PyInstaller, which are not settings. Those of
    OpenSSL are set for libpq.
    """
    readers = {
        module_name(path) for path in MODULES if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {
        "hermes.settings.load",
        "hermes.settings.folders",
        "hermes.settings.private_file",
        "hermes.settings.tls",
        "hermes.appliance.bundle",
        "hermes.appliance.notify_socket",
        "hermes.appliance.unit_check",
    }


@pytest.mark.parametrize("folder", sorted({path.parent for path in MODULES}), ids=lambda path: path.name)
def test_a_folder_is_small_enough_to_read(folder: Path) -> None:
    """A folder holds at most twelve modules besides its ``__init__``."""
    if folder.name != "cli":  # a file for each command
        assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= FOLDER_MAX_FILES


def test_the_architecture_page_has_the_same_layers() -> None:
    """Its table names every folder and module of each layer, from the bottom."""
    text = (CHECKOUT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| \d+ \| ([^|]*) \|", text, re.MULTILINE)
    assert [set(re.findall(r"`(\w+)/?`", row)) for row in rows] == [set(names) for names in LAYERS]
