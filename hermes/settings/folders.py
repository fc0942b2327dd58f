"""Default folders for the files that Hermes writes."""

import os
from pathlib import Path

SERVICE_FOLDER = Path("/etc/hermes")  # the settings and secrets of the service
SERVICE_CONFIG = SERVICE_FOLDER / "hermes.toml"
INBOX_NAME = "inbox.db"


def state_folder() -> Path:
    """Return the folder of what ``--dev`` stores.

    Source: XDG Base Directory Specification.
    """
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "hermes"


def serving_folder() -> Path:
    """Return the default folder of what ``hermes serve`` stores.

    It is the state directory of the service, if systemd created one.
    """
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd.exec(5)
    return Path(service) if service else state_folder()


def broker_folder() -> Path:
    """Return the default folder of the device accounts."""
    return serving_folder() / "broker"


def inbox_file() -> Path:
    """Return the file of ``--inbox auto``."""
    return serving_folder() / INBOX_NAME
