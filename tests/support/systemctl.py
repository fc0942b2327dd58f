"""A small `systemctl` and `journalctl` for the private root of a test, in which no systemd runs.

It starts the program of a unit with the unit's user, environment, credentials and folders, and waits for READY=1. The
sandbox of a unit is not applied. It imports only the standard library, because it runs without the packages of Hermes.
"""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS = (Path("/etc/systemd/system"), Path("/lib/systemd/system"))
STATE = Path("/run/test-systemctl")
TIMEOUT_S = 60.0
Settings = dict[str, list[str]]


def main(words: list[str]) -> int:
    """Run one command; return the exit code."""
    if words[0] == "journalctl":
        print(log_of(words[words.index("-u") + 1]).read_text(), end="")
        return 0
    now = "--now" in words
    command, *names = [word.removesuffix(".service") for word in words[1:] if not word.startswith("-")]
    if command in ("daemon-reload", "preset"):
        return 0
    codes = [run(command, name, now=now) for name in names]
    return max(codes, default=1)


def run(command: str, name: str, *, now: bool) -> int:
    """Run a command for one unit."""
    settings = read(name)
    if command == "is-active":
        active = running(name) is not None
        print("active" if active else "inactive")
        return 0 if active else 3
    if command == "is-enabled":
        print("enabled")
        return 0
    if command in ("stop", "restart") or (command == "disable" and now):
        stop(name)
    if command in ("start", "restart") or (command == "enable" and now) or (command == "reload-or-restart"):
        return start(name, settings)
    if command == "reload":
        return reload(name, settings)
    return 0 if command in ("enable", "disable", "stop", "reset-failed") else 1


def read(name: str) -> Settings:
    """Return the settings of a unit and its drop-ins."""
    files = [path for folder in UNITS if (path := folder / f"{name}.service").exists()][:1]
    if not files:
        sys.exit(f"Unit {name}.service could not be found.")
    for folder in UNITS:
        files += sorted((folder / f"{name}.service.d").glob("*.conf"))
    settings: Settings = {}
    for path in files:
        text = re.sub(r"\\\n", " ", path.read_text())
        for key, value in re.findall(r"^([A-Z]\w+)=(.*)$", text, re.MULTILINE):
            settings.setdefault(key, []).append(value.strip())
    return settings


def start(name: str, settings: Settings) -> int:
    """Start the unit unless it runs; wait until it is ready."""
    if running(name) is not None:
        return 0
    STATE.mkdir(exist_ok=True)
    user = settings.get("User", ["hermes-dynamic" if "DynamicUser" in settings else "root"])[-1]
    if user == "hermes-dynamic":
        user = "nobody"
    environment = environment_of(name, settings, user)
    for kind, parent in (("StateDirectory", "/var/lib"), ("RuntimeDirectory", "/run"), ("LogsDirectory", "/var/log")):
        for folder in " ".join(settings.get(kind, [])).split():
            path = Path(parent, folder)
            path.mkdir(parents=True, exist_ok=True)
            shutil.chown(path, user)
            environment[re.sub("Directory", "_DIRECTORY", kind).upper()] = str(path)
    for line in settings.get("ExecStartPre", []):
        subprocess.run(command_of(line, environment), check=not line.startswith("-"), env=environment)
    kind = settings.get("Type", ["simple"])[-1]
    with notifications(name) as ready, log_of(name).open("a") as log:
        environment["NOTIFY_SOCKET"] = str(STATE / f"{name}.notify")
        command = command_of(settings["ExecStart"][-1], environment)
        options = {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []} if user != "root" else {}
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            **options,
        )  # type: ignore[call-overload]
        if kind == "forking":
            return int(process.wait())
        (STATE / f"{name}.pid").write_text(str(process.pid))
        deadline_s = time.monotonic() + (TIMEOUT_S if kind.startswith("notify") else 1.0)
        while time.monotonic() < deadline_s:
            if process.poll() is not None:
                print(log_of(name).read_text()[-3000:], file=sys.stderr)
                return 1
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in ready.recv(4096):
                    return 0
    return 0 if not kind.startswith("notify") else 1


@contextlib.contextmanager
def notifications(name: str):  # type: ignore[no-untyped-def]
    """Listen for the messages of sd_notify."""
    path = STATE / f"{name}.notify"
    path.unlink(missing_ok=True)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        path.chmod(0o777)
        listener.settimeout(0.1)
        yield listener


def environment_of(name: str, settings: Settings, user: str) -> dict[str, str]:
    """Return the environment of the unit, with its credentials."""
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    environment |= {"HOME": pwd.getpwnam(user).pw_dir, "USER": user}
    credentials = STATE / f"{name}.credentials"
    shutil.rmtree(credentials, ignore_errors=True)
    credentials.mkdir(parents=True)
    for pair in settings.get("LoadCredential", []):
        target, _, source = pair.partition(":")
        shutil.copy(source, credentials / target)
        shutil.chown(credentials / target, user)
    environment["CREDENTIALS_DIRECTORY"] = str(credentials)
    for line in settings.get("Environment", []):
        environment |= dict(part.split("=", 1) for part in shlex.split(line.replace("%d", str(credentials))))
    for path in settings.get("EnvironmentFile", []):
        with contextlib.suppress(FileNotFoundError):
            lines = Path(path.removeprefix("-")).read_text().splitlines()
            assigned = [line for line in lines if "=" in line and not line.startswith("#")]
            environment |= {key: value.strip("\"'") for key, value in (line.split("=", 1) for line in assigned)}
    return environment


def command_of(line: str, environment: dict[str, str]) -> list[str]:
    """Return the words of a command, with variables as systemd replaces them: ``$A`` by words, ``${A}`` by one."""
    words: list[str] = []
    for word in shlex.split(line.lstrip("-@:+!")):
        if re.fullmatch(r"\$\w+", word):
            words += environment.get(word[1:], "").split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: environment.get(found[1], ""), word))
    return words


def running(name: str) -> int | None:
    """Return the process id of the unit's program; None if it does not run."""
    for path in (STATE / f"{name}.pid", Path(f"/run/{name}.pid")):
        with contextlib.suppress(OSError, ValueError):
            number = int(path.read_text())
            os.kill(number, 0)
            if "\nState:\tZ" not in Path(f"/proc/{number}/status").read_text():
                return number
    return None


def stop(name: str) -> None:
    """End the program and wait for its end."""
    number = running(name)
    if number is None:
        return
    os.kill(number, signal.SIGTERM)
    deadline_s = time.monotonic() + TIMEOUT_S
    while running(name) is not None and time.monotonic() < deadline_s:
        time.sleep(0.05)


def reload(name: str, settings: Settings) -> int:
    """Run ExecReload."""
    number = running(name)
    if number is None:
        return 1
    environment = environment_of(name, settings, "root") | {"MAINPID": str(number)}
    for line in settings.get("ExecReload", []):
        words = [re.sub(r"^\$MAINPID$", str(number), word) for word in command_of(line, environment)]
        if subprocess.run(words, env=environment, check=False).returncode:
            return 1
    return 0


def log_of(name: str) -> Path:
    """Return the file with what the unit has printed."""
    return STATE / f"{name}.log"


if __name__ == "__main__":
    sys.exit(main([Path(sys.argv[0]).name, *sys.argv[1:]]))
