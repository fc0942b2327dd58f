"""The mosquitto program: its path, version and configuration."""

import os
import pwd
import re
import resource
import shutil
import subprocess
from dataclasses import dataclass

from hermes.appliance.bundle import bundled_broker, launch_environment, share_broker
from hermes.errors import BrokerUnusable
from hermes.settings.broker import BrokerListen

# Debian installs it in a folder that is not in the PATH of a plain user.
CHILD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
EXTRA_PATH = "/usr/local/sbin:/usr/sbin:/sbin"
INSTALL = "apt-get install mosquitto"
# 2.0.19 answers QoS 1 publishers "no matching subscribers" although there are some (eclipse-mosquitto issue 3128).
UNUSABLE = {"2.0.19": "it answers publishers that there are no subscribers"}
USERS = ("mosquitto", "nobody")  # the user of the child if Hermes is root

RELOADING = "Reloading config."  # its log line at the beginning of a reload
# Its log lines if it could not read one of its files at a reload; after that it allows everything to everyone.
UNREADABLE = re.compile(r"Error: .*(acl_file|acl file|pwfile|password file)")

MESSAGE_MAX_BYTES = 2 * 1_048_576
QUEUED_MESSAGES_MAX = 100_000  # its default of 1,000 silently loses retained values at a fleet's first connect

# Limits with a listener for devices; its defaults are none. Together they bound the memory that a device can fill.
CONNECTIONS_MAX = 10_000  # of devices; Hermes' own listener is counted apart, so devices cannot block it
FILES_RESERVED = 64  # of the file limit: listeners, Hermes, inherited files
# A longer packet ends the connection before it is read (message_size_limit: after); Hermes accepts 1 MiB of payload.
PACKET_MAX_BYTES = MESSAGE_MAX_BYTES
INFLIGHT_MAX = 20  # QoS 1 and 2 in flight to one client: its default, set here because the next limit depends on it
QUEUED_MAX_BYTES = 64 * 1_048_576  # for one client that does not read: only Hermes may read
# All memory, above all retained messages: a device may publish one for each ending of its topics. At the limit,
# mosquitto closes the connection that needs more and continues (tested: Hermes stays connected).
MEMORY_MAX_BYTES = 512 * 1_048_576
SESSION_MAX = "1d"  # the longest time that a session outlives its connection, whatever the client requests


@dataclass(frozen=True, slots=True)
class Mosquitto:
    """An installed broker."""

    path: str
    version: str


def find_mosquitto(program: str = "mosquitto") -> Mosquitto:
    """Return the mosquitto of the bundle, otherwise the installed one.

    Raises `BrokerUnusable` with the command to run if it is not usable.
    """
    bundled = bundled_broker()
    if bundled is not None:
        share_broker(bundled)
    path = str(bundled or "") or shutil.which(program) or shutil.which(program, path=EXTRA_PATH)
    if path is None:
        raise BrokerUnusable(f"mosquitto is not installed; run: {INSTALL}")
    version = _version(path)
    if version in UNUSABLE:
        raise BrokerUnusable(
            f"mosquitto {version} ({path}) is not usable: {UNUSABLE[version]}; install another version, as with:"
            f" {INSTALL}"
        )
    return Mosquitto(path, version)


def _version(path: str) -> str:
    try:
        answer = subprocess.run(
            [path, "-h"], capture_output=True, text=True, timeout=5, check=False, env=child_environment()
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError) as error:
        raise BrokerUnusable(f"{path} cannot be run ({error}); run: {INSTALL}") from None
    match = re.search(r"mosquitto version (\S+)", answer.stdout)
    if match is None:
        raise BrokerUnusable(f"{path} does not report its version; run: {INSTALL}")
    return match[1]


def child_environment() -> dict[str, str]:
    """Return the whole environment of the broker.

    It has nothing of Hermes' own, where secrets may be: the broker talks to devices, and runs as another user.
    """
    return {"PATH": CHILD_PATH} | launch_environment()


def child_user() -> pwd.struct_passwd | None:
    """Return the user for the child, or None if this process is not root."""
    if os.geteuid() != 0:
        return None
    for name in USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BrokerUnusable(f"none of the users {', '.join(USERS)} exists, and the broker must not run as root")


@dataclass(frozen=True, slots=True)
class ListenerFiles:
    """Paths of the files that mosquitto reads besides its configuration."""

    passwords: str
    rules: str
    certificate: str
    key: str


def configuration(
    *, port: int, user: str | None, listen: BrokerListen | None = None, files: ListenerFiles | None = None
) -> str:
    """Return the mosquitto.conf(5) of the embedded broker.

    It stores nothing, and listens on loopback and at ``listen``. ``max_keepalive`` is not set: later versions would
    reject 3.1.1 devices that request a longer keep-alive, or none.
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
        lines.append(f"user {user}")  # the child is this user already; by default mosquitto looks for its own
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
        "log_type information",  # contains RELOADING
    ]


def _credentials(files: ListenerFiles) -> list[str]:
    return [
        "per_listener_settings false",
        "allow_anonymous false",
        f"password_file {files.passwords}",
        f"acl_file {files.rules}",
    ]


def _own_listener(port: int) -> list[str]:
    return [f"listener {port} 127.0.0.1", *_LISTENER]


def _device_listener(listen: BrokerListen, files: ListenerFiles) -> list[str]:
    lines = [f"listener {listen.port} {listen.address}", *_LISTENER, f"max_connections {_connections_max()}"]
    if listen.encrypted:
        lines += [f"certfile {files.certificate}", f"keyfile {files.key}", "tls_version tlsv1.2"]  # or later
    return lines


# Otherwise a client that connects with the client id of another ends its connection and gets its session.
_LISTENER = ("use_username_as_clientid true",)


def _connections_max() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if soft == resource.RLIM_INFINITY else max(1, min(CONNECTIONS_MAX, soft - FILES_RESERVED))
