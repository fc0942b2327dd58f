"""Read a systemd unit as ``hermes check --unit`` needs it.

That is its environment, its flags and its user: systemd.exec(5), systemd.service(5), systemd.syntax(7). Specifiers
other than those of the service's folders are left as they are.
"""

import grp
import os
import pwd
import re
import shlex
from collections.abc import Iterator, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from hermes.errors import HermesError

FOLDERS = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_FOLDER_SPECIFIERS = {"%S": "/var/lib", "%C": "/var/cache", "%L": "/var/log", "%E": "/etc", "%t": "/run", "%%": "%"}


@dataclass
class Unit:
    """What a unit gives to ``hermes serve``."""

    path: Path
    environment: dict[str, str] = field(default_factory=dict)
    credentials: dict[str, Path] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)
    user: str | None = None

    def apply(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Replace the settings in this process's environment by those of the unit."""
        for name in [name for name in environment if name.startswith("HERMES_")]:
            del environment[name]
        environment.update(self.environment)


def find_unit(name: str) -> Path:
    """Return the file of a unit, given by path or by name. Raises `HermesError`."""
    if Path(name).is_file():
        return Path(name)
    if "/" not in name:
        for folder in FOLDERS:
            if (path := Path(folder, name)).is_file():
                return path
    raise HermesError(f"there is no unit {name}; give its path, or a name in {', '.join(FOLDERS)}")


def read_unit(path: Path) -> Unit:
    """Read a unit and its drop-ins. Raises `HermesError`."""
    unit = Unit(path)
    try:
        for file in (path, *_drop_ins(path)):
            for name, value in _assignments(file.read_text("utf-8")):
                _apply(unit, name, value)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise HermesError(f"cannot read the unit {path}: {getattr(error, 'strerror', None) or error}") from None
    unit.environment = {name: _expanded(value, unit.credentials) for name, value in unit.environment.items()}
    unit.flags = [_expanded(flag, unit.credentials) for flag in unit.flags]
    return unit


def unreadable(path: Path, user: str) -> bool:
    """Return whether a user of this machine may not read a file.

    False if that cannot be found out.
    """
    try:
        account = pwd.getpwnam(user)
        groups = {account.pw_gid, *(group.gr_gid for group in grp.getgrall() if user in group.gr_mem)}
        parents = [not _allows(parent, account.pw_uid, groups, 0o1) for parent in path.resolve().parents]
        return any(parents) or not _allows(path, account.pw_uid, groups, 0o4)
    except (KeyError, OSError):
        return False


def _allows(path: Path, user_id: int, groups: set[int], wanted: int) -> bool:
    status = path.stat()
    shift = 6 if status.st_uid == user_id else 3 if status.st_gid in groups else 0
    return user_id == 0 or bool(status.st_mode >> shift & wanted)


def _drop_ins(path: Path) -> Iterator[Path]:
    folders = {path.parent, *(map(Path, FOLDERS) if str(path.parent) in FOLDERS else ())}
    found = {file.name: file for folder in sorted(folders) for file in (folder / f"{path.name}.d").glob("*.conf")}
    yield from (found[name] for name in sorted(found))


def _assignments(text: str) -> Iterator[tuple[str, str]]:
    """Yield name and value of each assignment in the section ``[Service]``."""
    section = ""
    joined = re.sub(r"\\\n", " ", re.sub(r"^[ \t]*[#;].*\n", "", text, flags=re.MULTILINE))
    for line in joined.splitlines():
        if line.startswith("["):
            section = line.strip()
        elif section == "[Service]" and "=" in line:
            name, _, value = line.partition("=")
            yield name.strip(), value.strip()


def _apply(unit: Unit, name: str, value: str) -> None:
    match name:
        case "Environment":
            if not value:
                unit.environment.clear()
            for pair in shlex.split(value):
                variable, _, text = pair.partition("=")
                unit.environment[variable] = text
        case "EnvironmentFile":
            _read_environment_file(unit, value)
        case "LoadCredential":
            credential, _, source = value.partition(":")
            unit.credentials[credential] = Path(source)
        case "User":
            unit.user = value or None
        case "ExecStart" if value:
            words = shlex.split(value.lstrip("-@:+!"))
            unit.flags = words[words.index("serve") + 1 :] if "serve" in words else []


def _read_environment_file(unit: Unit, value: str) -> None:
    path, optional = Path(value.lstrip("-")), value.startswith("-")
    if not value or (optional and not path.exists()):
        return
    for line in path.read_text("utf-8").splitlines():
        name, separator, text = line.strip().partition("=")
        if separator and not name.startswith(("#", ";")):
            unit.environment[name] = " ".join(shlex.split(text))


def _expanded(value: str, credentials: dict[str, Path]) -> str:
    for name, path in credentials.items():
        value = value.replace(f"%d/{name}", str(path))
    return re.sub(r"%[SCLEt%]", lambda match: _FOLDER_SPECIFIERS[match[0]], value)
