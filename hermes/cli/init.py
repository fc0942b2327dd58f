"""``hermes init``: create secrets and settings for the service."""

import argparse
import contextlib
import grp
import json
import os
import re
import secrets
import shlex
import socket
import sys
import tomllib
from pathlib import Path

from hermes.errors import ConfigError, HermesError
from hermes.settings import private_file
from hermes.settings.fields import address_url, listening_host
from hermes.settings.folders import SERVICE_CONFIG, SERVICE_FOLDER
from hermes.settings.load import load_file
from hermes.settings.model import Settings

FOLDER = SERVICE_FOLDER
GROUP = "hermes"
FILE_NAME = SERVICE_CONFIG.name
ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound

EXAMPLES = """\
examples:
  hermes init
      ask for the address to listen on
  hermes init --host 0.0.0.0 --port 8080
      browsers of other machines connect to Hermes
  hermes init --host 127.0.0.1
      a reverse proxy on this machine stands before Hermes

It creates jwt-secret and api-keys (root:hermes, mode 0640) and writes the address into hermes.toml. It overwrites
nothing: if a file or a setting exists already, it says so and changes nothing."""


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add address, folder and group."""
    parser.add_argument("--host", help="address to listen on; 0.0.0.0 for all of this machine")
    parser.add_argument("--port", help="port to listen on (default: 8080)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"folder of the files (default: {FOLDER})")
    parser.add_argument("--group", default=GROUP, help=f"group that may read the secrets (default: {GROUP})")


def run(options: argparse.Namespace) -> int:
    """Write the files and print what comes next."""
    folder: Path = options.folder.absolute()
    config, secret, keys = folder / FILE_NAME, folder / "jwt-secret", folder / "api-keys"
    text = _read(config)
    existing = _parsed(config, text)
    _refuse_to_overwrite(config, existing, (secret, keys), options)
    group_id = _group_id(options.group)
    host = _host(options.host or existing.get("host") or _asked_host())
    port = options.port or existing.get("port") or (_ask("port", "8080") if sys.stdin.isatty() else "8080")
    values: dict[str, str | int] = {"host": host, "port": _port(port)}
    values |= {"jwt_secret_file": str(secret), "api_key_file": str(keys)}
    new = text
    for name, value in values.items():
        if name not in existing:
            new = with_value(new, name, value)
    contents = {secret: secrets.token_hex(32), keys: secrets.token_hex(24)}
    try:
        _write(folder, contents, group_id, config, new)
    except OSError as error:
        raise HermesError(f"cannot write {error.filename or folder}: {error.strerror}; nothing is changed") from None
    try:
        settings = load_file(config)  # the service does not have the variables of this shell
    except ConfigError:
        _undo(contents, config, text)
        raise
    _report(folder, settings)
    return 0


def with_value(text: str, name: str, value: str | int) -> str:
    """Return the text of a TOML file with one more setting.

    It stands where it was commented out, or at the end.
    """
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"  # TOML has the strings of JSON
    commented = re.compile(rf"^#\s*{re.escape(name)}\s*=.*$", re.MULTILINE)
    if commented.search(text):
        return commented.sub(lambda match: line, text, count=1)
    return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}\n"


def _read(config: Path) -> str:
    try:
        return config.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise HermesError(f"cannot read {config}: {getattr(error, 'strerror', None) or error}") from None


def _parsed(config: Path, text: str) -> dict[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise HermesError(f"{config} is not valid TOML: {error}; correct it first") from None


def _refuse_to_overwrite(
    config: Path, existing: dict[str, object], files: tuple[Path, ...], options: argparse.Namespace
) -> None:
    problems = [f"{path} exists" for path in files if path.exists() or path.is_symlink()]
    names = ("jwt_secret", "jwt_secret_file", "api_key_file")
    given = [name for name in ("host", "port") if getattr(options, name) is not None]
    problems += [f"{config} sets {name}" for name in (*names, *given) if name in existing]
    if problems:
        raise HermesError(f"{', '.join(problems)}; nothing is changed: edit {config}, or move the files away first")


def _group_id(name: str) -> int | None:
    """Return the group that may read the secrets.

    None if this is not root, who alone can choose it.
    """
    if os.geteuid() != 0:
        return None
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise HermesError(
            f"there is no group {name}; create the user of the service first (useradd --system --user-group {name}), "
            "or choose a group: --group root"
        ) from None


def _asked_host() -> str:
    if not sys.stdin.isatty():
        raise ConfigError(
            ["--host is missing: 0.0.0.0 for browsers of other machines, 127.0.0.1 behind a proxy on this machine"]
        )
    print("Address to listen on: 0.0.0.0 for browsers of other machines, 127.0.0.1 behind a proxy on this machine.")
    return _ask("address", ANYWHERE[0])


def _ask(what: str, default: str) -> str:
    try:
        return input(f"{what} [{default}]: ").strip() or default
    except EOFError:
        raise KeyboardInterrupt from None


def _host(text: object) -> str:
    try:
        return listening_host(str(text))
    except ValueError as error:
        raise ConfigError([f"--host: {error}"]) from None


def _port(text: object) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", str(text)) or not 0 < int(str(text)) < 65_536:
        raise ConfigError([f"--port: {text!s:.20} is not a port; give a number from 1 to 65535"])
    return int(str(text))


def _write(folder: Path, contents: dict[Path, str], group_id: int | None, config: Path, text: str) -> None:
    """Create the files, or none of them. Raises OSError."""
    before = config.read_text("utf-8") if config.exists() else ""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)  # whatever the umask: the user of the service looks into it
    try:
        for path, content in contents.items():
            private_file.create(path, f"{content}\n")
            if group_id is not None:
                os.chown(path, 0, group_id)
                path.chmod(0o640)
        _replace(config, text)
    except BaseException:
        _undo(contents, config, before)
        raise


def _replace(config: Path, text: str) -> None:
    """Write the settings; an existing file keeps its owner and mode."""
    try:
        before = config.stat()
    except FileNotFoundError:
        before = None
    private_file.write(config, text)
    if before is not None and os.geteuid() == 0:
        os.chown(config, before.st_uid, before.st_gid)
    config.chmod(0o644 if before is None else before.st_mode & 0o777)  # a new one contains no secret


def _undo(contents: dict[Path, str], config: Path, text: str) -> None:
    for path in contents:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if text:
            _replace(config, text)
        else:
            config.unlink(missing_ok=True)


def _report(folder: Path, settings: Settings) -> None:
    print(f"{folder / 'jwt-secret'}   the secret that signs tokens")
    print(f"{folder / 'api-keys'}     the key for POST /notify")
    print(f"{folder / FILE_NAME}  listen on {settings.host}, port {settings.port}; further settings belong here")
    if folder == FOLDER:
        print("\nstart Hermes:  systemctl enable --now hermes")
    else:
        print(f"\nstart Hermes:  hermes serve --config {shlex.quote(str(folder / FILE_NAME))}")
    host = own_address() if settings.host in ANYWHERE else settings.host  # another machine opens it
    print(f"then open:     {address_url(host, settings.port)}/")


def own_address() -> str:
    """Return the address of this machine on the way to other networks, or its name.

    To connect a datagram socket sends nothing; it only chooses the route (RFC 5737 address).
    """
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return socket.gethostname()
