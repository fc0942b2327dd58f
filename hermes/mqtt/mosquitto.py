"""The mosquitto program: where it is, which version, and the configuration it gets as the embedded broker."""

import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass

from hermes.errors import BrokerUnavailable

# Debian installs it where a plain user's PATH does not look.
EXTRA_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
INSTALL = "apt-get install mosquitto"
# 2.0.19 answers QoS 1 publishers "no matching subscribers" although there are some (eclipse-mosquitto issue 3128).
UNUSABLE = {"2.0.19": "it tells publishers that nobody listens"}
USERS = ("mosquitto", "nobody")  # whom the child becomes under root

MESSAGE_MAX_BYTES = 2 * 1_048_576
QUEUED_MESSAGES_MAX = 100_000  # its default of 1,000 loses retained values silently at a fleet's first connect


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """An installed broker."""

    path: str
    version: str


def find_mosquitto(program: str = "mosquitto") -> Mosquitto:
    """The usable mosquitto of this machine. Raises `BrokerUnavailable` with the one line to run."""
    path = shutil.which(program) or shutil.which(program, path=EXTRA_PATH)
    if path is None:
        raise BrokerUnavailable(f"mosquitto is not installed; run: {INSTALL}")
    version = _version(path)
    if version in UNUSABLE:
        raise BrokerUnavailable(
            f"mosquitto {version} ({path}) is not usable: {UNUSABLE[version]}; install another version, as with:"
            f" {INSTALL}"
        )
    return Mosquitto(path, version)


def _version(path: str) -> str:
    try:
        answer = subprocess.run([path, "-h"], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise BrokerUnavailable(f"{path} cannot be run ({error}); run: {INSTALL}") from None
    match = re.search(r"mosquitto version (\S+)", answer.stdout)
    if match is None:
        raise BrokerUnavailable(f"{path} does not say its version; run: {INSTALL}")
    return match[1]


def child_user() -> pwd.struct_passwd | None:
    """Whom the child is to become: nobody else unless this process is root."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BrokerUnavailable(f"none of the users {', '.join(USERS)} exists, and the broker must not run as root")


def configuration(*, port: int, user: str | None) -> str:
    """mosquitto.conf(5) of the embedded broker: loopback only, nothing on disk."""
    lines = [
        f"listener {port} 127.0.0.1",
        "allow_anonymous true",
        "persistence false",
        f"max_queued_messages {QUEUED_MESSAGES_MAX}",
        f"message_size_limit {MESSAGE_MAX_BYTES}",
        "set_tcp_nodelay true",
        "connection_messages false",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_timestamp false",
    ]
    if user is not None:
        lines.append(f"user {user}")  # it is this user already; else mosquitto would look for its own
    return "\n".join(lines) + "\n"
