"""Default folders for the files that Hermes writes."""

import os
from pathlib import Path


def state_folder() -> Path:
    """Where ``--dev`` keeps what must outlive a restart (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "hermes"


def broker_folder() -> Path:
    """Where device accounts are kept unless told otherwise: below the service's own folder, if systemd gave one."""
    service = os.environ.get("STATE_DIRECTORY", "").partition(":")[0]  # systemd.exec(5)
    return (Path(service) if service else state_folder()) / "broker"
