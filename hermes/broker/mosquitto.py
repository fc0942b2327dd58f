"""The mosquitto program: where it is, which version, and the configuration it gets as the embedded broker."""

import os
import pwd
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass

from hermes.errors import BrokerUnavailable
from hermes.settings.broker import BrokerListen

# Debian installs it where a plain user's PATH does not look.
EXTRA_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
INSTALL = "apt-get install mosquitto"
# 2.0.19 answers QoS 1 publishers "no matching subscribers" although there are some (eclipse-mosquitto issue 3128).
UNUSABLE = {"2.0.19": "it tells publishers that nobody listens"}
USERS = ("mosquitto", "nobody")  # whom the child becomes under root

RELOADING = "Reloading config."  # what it says when it begins to read its files anew
# What it says where it could not read one of them at a reload, after which it would let everyone do everything.
UNREADABLE = re.compile(r"Error: .*(acl_file|acl file|pwfile|password file)")

MESSAGE_MAX_BYTES = 2 * 1_048_576
QUEUED_MESSAGES_MAX = 100_000  # its default of 1,000 loses retained values silently at a fleet's first connect


# With devices let in, for whom its own defaults are no limit. Together they bound what a device can make it keep:
CONNECTIONS_MAX = 10_000  # of devices; Hermes' own listener has its own count, so that they cannot shut it out
FILES_RESERVED = 64  # of the file limit: listeners, Hermes, what it inherits
# A longer packet ends the connection before it is read (message_size_limit only after); Hermes takes 1 MiB of payload.
PACKET_MAX_BYTES = MESSAGE_MAX_BYTES
INFLIGHT_MAX = 20  # QoS 1 and 2 under way to one client: its default, written down because the next line counts on it
QUEUED_MAX_BYTES = 64 * 1_048_576  # for one client that does not read: only Hermes may read
# Of everything together, retained messages above all, which a device may have as many of as its topics have endings.
# Past it, mosquitto ends the connection that asked for more and goes on (tried: Hermes' own stays connected).
MEMORY_MAX_BYTES = 512 * 1_048_576
SESSION_MAX = "1d"  # how long a session outlives its connection, whatever its client asks for


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


@dataclass(frozen=True, slots=True)
class DoorFiles:
    """The paths of what mosquitto reads besides its configuration."""

    passwords: str
    rules: str
    certificate: str
    key: str


def configuration(
    *, port: int, user: str | None, listen: BrokerListen | None = None, files: DoorFiles | None = None
) -> str:
    """mosquitto.conf(5) of the embedded broker: nothing on disk, and on loopback only unless ``listen`` says more.

    No ``max_keepalive``: later versions would refuse 3.1.1 devices that ask for more, or for none, with it.
    """
    lines = [
        "persistence false",
        f"max_queued_messages {QUEUED_MESSAGES_MAX}",
        "set_tcp_nodelay true",
        "connection_messages false",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_timestamp false",
    ]
    if user is not None:
        lines.append(f"user {user}")  # it is this user already; else mosquitto would look for its own
    if listen is None or files is None:
        lines += [f"message_size_limit {MESSAGE_MAX_BYTES}", "allow_anonymous true", f"listener {port} 127.0.0.1"]
    else:
        lines += [*_limits(), *_credentials(files), *_own_listener(port), *_device_listener(listen, files)]
    return "\n".join(lines) + "\n"


def _limits() -> list[str]:
    return [
        f"max_packet_size {PACKET_MAX_BYTES}",
        f"max_inflight_messages {INFLIGHT_MAX}",
        f"max_queued_bytes {QUEUED_MAX_BYTES}",
        f"memory_limit {MEMORY_MAX_BYTES}",
        f"persistent_client_expiration {SESSION_MAX}",
        "log_type information",  # for RELOADING
    ]


def _credentials(files: DoorFiles) -> list[str]:
    return [
        "per_listener_settings false",
        "allow_anonymous false",
        f"password_file {files.passwords}",
        f"acl_file {files.rules}",
    ]


def _own_listener(port: int) -> list[str]:
    return [f"listener {port} 127.0.0.1", *_LISTENER]


def _device_listener(listen: BrokerListen, files: DoorFiles) -> list[str]:
    lines = [f"listener {listen.port} {listen.address}", *_LISTENER, f"max_connections {_connections_max()}"]
    if listen.encrypted:
        lines += [f"certfile {files.certificate}", f"keyfile {files.key}", "tls_version tlsv1.2"]  # or later
    return lines


# Else whoever connects with another's client id ends that one's connection and takes over its session.
_LISTENER = ("use_username_as_clientid true",)


def _connections_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, soft - FILES_RESERVED))
