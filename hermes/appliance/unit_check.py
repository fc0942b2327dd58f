"""Read a systemd unit as ``hermes check --unit`` needs it.

That is its environment, its flags and its user: systemd.exec(5), systemd.service(5), systemd.syntax(7). Specifiers
other than those of the service's folders are left as they are.
"""

import contextlib
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
    group: str | None = None  # in the place of the user's own
    groups: list[str] = field(default_factory=list)  # beside those of the user
    environment_files: list[str] = field(default_factory=list)
    command: str = ""

    def apply(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Replace the settings in this process's environment by those of the unit."""
        for name in [name for name in environment if name.startswith("HERMES_")]:
            del environment[name]
        environment.update(self.environment)


def find_unit(name: str) -> Path:
    """Return the file of a unit, given by path or by name. Raises `HermesError`."""
    if "/" not in name:
        for folder in FOLDERS:
            if (path := Path(folder, name)).is_file():
                return path
    if Path(name).is_file():
        return Path(name)
    raise HermesError(f"there is no unit {name}; give its path, or a name in {', '.join(FOLDERS)}")


def read_unit(path: Path) -> Unit:
    """Read a unit and its drop-ins. Raises `HermesError`."""
    unit = Unit(path)
    try:
        for file in (path, *_drop_ins(path)):
            for name, value in _assignments(file.read_text("utf-8")):
                _apply(unit, name, value)
        unit.environment = {name: _expanded(value, unit.credentials) for name, value in unit.environment.items()}
        for file_name in unit.environment_files:  # they override Environment=, wherever they stand
            unit.environment |= _environment_file(file_name)
        unit.flags = _flags(unit)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
        raise HermesError(f"cannot read the unit {path}: {text}") from None
    return unit


def unknown_account(unit: Unit) -> str | None:
    """Return why systemd cannot start the unit: its user or a group does not exist."""
    for kind, names, look_up in (
        ("user", (unit.user,), pwd.getpwnam),
        ("group", (unit.group, *unit.groups), grp.getgrnam),
    ):
        for name in names:
            try:
                if name is not None and not name.isdecimal():
                    look_up(name)
            except KeyError:
                return f"the {kind} {name} of {unit.path} does not exist"
    return None


def main_group(unit: Unit) -> str:
    """Return the name of the group with which systemd starts the unit."""
    if unit.group is not None:
        return unit.group
    with contextlib.suppress(KeyError):
        return grp.getgrgid(pwd.getpwnam(unit.user or "root").pw_gid).gr_name
    return unit.user or "root"


def unreadable(path: Path, unit: Unit) -> Path | None:
    """Return the file or the folder above it that the user of a unit may not read.

    None if the user can read it, or if that cannot be found out.
    """
    try:
        account = pwd.getpwnam(unit.user or "root")
        groups = {group.gr_gid for group in grp.getgrall() if account.pw_name in group.gr_mem}
        groups.add(account.pw_gid if unit.group is None else grp.getgrnam(unit.group).gr_gid)
        groups |= {grp.getgrnam(name).gr_gid for name in unit.groups}
        for parent in reversed(path.resolve().parents):
            if not _allows(parent, account.pw_uid, groups, 0o1):
                return parent
        return None if _allows(path, account.pw_uid, groups, 0o4) else path
    except (KeyError, OSError):
        return None


def _allows(path: Path, user_id: int, groups: set[int], wanted: int) -> bool:
    status = path.stat()
    shift = 6 if status.st_uid == user_id else 3 if status.st_gid in groups else 0
    return user_id == 0 or bool(status.st_mode >> shift & wanted)


def _drop_ins(path: Path) -> Iterator[Path]:
    folders = {path.parent, *(map(Path, FOLDERS) if str(path.parent) in FOLDERS else ())}
    order = {folder: -number for number, folder in enumerate(FOLDERS)}  # the first of the folders wins
    by_rank = sorted(folders, key=lambda folder: order.get(str(folder), 1))
    found = {file.name: file for folder in by_rank for file in (folder / f"{path.name}.d").glob("*.conf")}
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
    """Apply one assignment; an empty value resets a list."""
    match name:
        case "Environment":
            if not value:
                unit.environment.clear()
            for pair in shlex.split(value):
                variable, _, text = pair.partition("=")
                unit.environment[variable] = text
        case "EnvironmentFile":
            unit.environment_files = [*unit.environment_files, value] if value else []
        case "LoadCredential":
            credential, _, source = value.partition(":")
            unit.credentials = unit.credentials | {credential: Path(source)} if value else {}
        case "User":
            unit.user = value or None
        case "Group":
            unit.group = value or None
        case "SupplementaryGroups":
            unit.groups = [*unit.groups, *value.split()] if value else []
        case "StateDirectory" if value:
            unit.environment["STATE_DIRECTORY"] = f"/var/lib/{value.split()[0]}"
        case "ExecStart":
            unit.command = value


def _environment_file(value: str) -> dict[str, str]:
    """Return the variables of a file; a name with ``-`` may be missing."""
    path, optional = Path(value.removeprefix("-")), value.startswith("-")
    if optional and not path.exists():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        name, separator, text = line.strip().partition("=")
        if separator and not name.startswith(("#", ";")):
            quoted = text[:1] in ("'", '"') and len(text) > 1 and text[-1] == text[0]
            found[name.strip()] = text[1:-1] if quoted else text
    return found


def _flags(unit: Unit) -> list[str]:
    """Return the words after ``serve``, with the variables and specifiers replaced."""
    words = shlex.split(unit.command.lstrip("-@:+!"))
    flags: list[str] = []
    for word in words[words.index("serve") + 1 :] if "serve" in words else []:
        if match := re.fullmatch(r"\$(\w+)", word):  # a word of its own is split at white space
            flags += unit.environment.get(match[1], "").split()
        else:
            text = re.sub(r"\$\{CREDENTIALS_DIRECTORY\}/", "%d/", word)
            text = re.sub(r"\$\{(\w+)\}", lambda found: unit.environment.get(found[1], ""), text)
            flags.append(_expanded(text, unit.credentials))
    return flags


def _expanded(value: str, credentials: dict[str, Path]) -> str:
    value = re.sub(r"%d/([^/\s]+)", lambda match: str(credentials.get(match[1], match[0])), value)
    return re.sub(r"%[SCLEt%]", lambda match: _FOLDER_SPECIFIERS[match[0]], value)
