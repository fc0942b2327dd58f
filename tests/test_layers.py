"""The house's floors: a module imports only from lower floors or its own folder."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hermes"
MODULES = sorted(PACKAGE.rglob("*.py"))

VALUES = {
    "",
    "errors",
    "ids",
    "json_pointer",
    "config",
    "setting_faults",
    "setting_values",
    "auth",
    "topics",
    "presets",
    "topic_patterns",
    "template_parser",
    "topic_templates",
    "topic_exclusions",
    "topic_misses",
    "topic_filters",
    "mqtt_options",
    "mqtt_url",
    "broker_listen",
    "log",
    "metrics",
    "link",
}
FOLDER_FLOORS = {"delivery": 2, "mqtt": 3, "web": 3, "dev": 3}
WIRING = {"app", "server", "feed", "cli", "cli_flags", "check", "listen", "device_command", "explain"}


def place(name: str) -> tuple[int, str]:
    """The floor and the folder of ``hermes.…``."""
    parts = name.split(".")[1:]
    first = parts[0] if parts else ""
    if first in FOLDER_FLOORS:
        return FOLDER_FLOORS[first], first
    if first in VALUES:
        return 1, "values"
    assert first in WIRING, f"{name} has no floor: add it to this test where it belongs"
    return 4, "wiring"


def imports_of(path: Path) -> set[str]:
    """The full names of what a module imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(node.module or "")
            if node.module and node.module.startswith("hermes"):
                found.update(
                    f"{node.module}.{alias.name}" for alias in node.names if _is_module(node.module, alias.name)
                )
    return found


def _is_module(package: str, name: str) -> bool:
    path = PACKAGE.parent.joinpath(*package.split("."), name)
    return path.is_dir() or path.with_suffix(".py").is_file()


def module_name(path: Path) -> str:
    """``hermes.web.notify`` for its file."""
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return name.removesuffix(".__init__")


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_from_lower_floors_or_its_own_folder(path: Path) -> None:
    """The arrows of the house point down."""
    floor, folder = place(module_name(path))
    for imported in imports_of(path):
        if imported == "hermes" or not imported.startswith("hermes."):
            continue
        other_floor, other_folder = place(imported)
        assert other_floor < floor or other_folder == folder, f"{module_name(path)} imports {imported}"


@pytest.mark.parametrize(
    ("library", "only_in"),
    [
        ("paho", {"hermes.mqtt.connection", "hermes.mqtt.quick_paho", "hermes.mqtt.subscriptions"}),
        ("cbor2", {"hermes.mqtt.cbor"}),
        ("google", {"hermes.mqtt.sparkplug_b_pb2", "hermes.mqtt.sparkplug_payload"}),
        ("jwt", {"hermes.auth"}),
        ("jinja2", {"hermes.app", "hermes.web.console"}),
    ],
)
def test_a_library_is_imported_in_one_place(library: str, only_in: set[str]) -> None:
    """So that it can be changed there."""
    importers = {module_name(path) for path in MODULES if library in {name.split(".")[0] for name in imports_of(path)}}
    assert importers == only_in


def test_delivery_knows_neither_the_web_nor_mqtt() -> None:
    """Tornado's web side and paho stay at the doors."""
    for path in (PACKAGE / "delivery").glob("*.py"):
        assert not {name for name in imports_of(path) if name.startswith(("tornado", "paho"))}


def test_only_the_settings_read_the_environment() -> None:
    """``os.environ`` and ``os.getenv`` stand in config alone."""
    readers = {
        module_name(path) for path in MODULES if "os.environ" in path.read_text() or "getenv" in path.read_text()
    }
    assert readers == {"hermes.config"}
