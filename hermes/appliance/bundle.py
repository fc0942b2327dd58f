"""Files of a frozen Hermes: its broker and the facts of its build.

Frozen means built by ``make binary``: PyInstaller then sets ``sys.frozen`` and the folder ``sys._MEIPASS``.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

BROKER = Path("broker", "mosquitto")
BUILD_FILE = "build.json"
COMPONENTS_FILE = "components.json"
PYINSTALLER_PREFIXES = ("_PYI_", "_MEIPASS")  # of its variables, before and since version 6.9
CHILD_EXEC_FLAG = "--child-exec"  # the entry point of the frozen program then runs `hermes.broker.child_exec`


def bundle_dir() -> Path | None:
    """Return the folder of the bundled files, or None if Hermes is not frozen."""
    return Path(sys._MEIPASS) if getattr(sys, "frozen", False) else None  # type: ignore[attr-defined]


def launch_environment() -> dict[str, str]:
    """Return the variables that a frozen Hermes needs to start itself again.

    PyInstaller sets them: with them the program does not unpack itself once more. Empty if Hermes is not frozen.
    """
    if bundle_dir() is None:
        return {}
    return {name: value for name, value in os.environ.items() if name.startswith(PYINSTALLER_PREFIXES)}


def bundled_broker() -> Path | None:
    """Return the mosquitto of the bundle, or None if there is none."""
    folder = bundle_dir()
    return folder / BROKER if folder is not None and (folder / BROKER).is_file() else None


def bundled_json(name: str) -> Any:
    """Return the content of a JSON file of the bundle; None if not frozen."""
    folder = bundle_dir()
    return None if folder is None else json.loads((folder / name).read_bytes())


def share_broker(broker: Path) -> None:
    """Let another user run the bundled broker.

    The one-file program unpacks itself as a folder that only its own user may read. If that is root, the broker runs
    as another user, which needs the broker and its libraries. They are not secret.
    """
    folder = bundle_dir()
    if folder is None or os.geteuid() != 0 or folder.stat().st_mode & 0o005 == 0o005:
        return
    for path in (broker, broker.parent, *folder.glob("lib*.so*"), folder):
        path.chmod(0o755)
