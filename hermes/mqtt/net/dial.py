"""Open a socket to the broker.

It is a TCP or a Unix socket, with TLS and WebSocket on top if the URL requires them.

paho can do it too, but its handshakes have no deadline of their own, and its errors do not say what to change. Here
every wait has a deadline, and stopping the client interrupts every wait but that for a name server.
"""

import errno
import os
import socket
import ssl
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from hermes.errors import install_command
from hermes.mqtt.failures import CLOSED_IN_TLS, ConnectionFailure, RefusedByBroker
from hermes.mqtt.net.deadline import READ, WRITE, Deadline
from hermes.settings.tls import TlsOptions
from hermes.settings.urls.mqtt import MqttUrl

TCP_TIMEOUT_S = 5.0  # for all addresses of a name together
HANDSHAKES_TIMEOUT_S = 5.0  # for TLS and WebSocket together; a small broker under load needs a second or two


def missing_packages(broker_url: str) -> list[str]:
    """Return what to install if the extra of this URL is missing.

    The list is empty for ``embedded`` and ``off`` too.
    """
    if urlsplit(broker_url).scheme in ("ws", "wss") and find_spec("websockets") is None:
        return [f"a broker at ws:// or wss:// needs another package: {install_command('websockets')}"]
    return []


def dial(url: MqttUrl, tls: TlsOptions, deadline: Deadline) -> Any:
    """Return a connected, non-blocking socket for MQTT.

    Raises OSError, or `ConnectionFailure`, also for a certificate file that cannot be read any more.
    """
    for fault in missing_packages(str(url)):
        raise RefusedByBroker(fault)
    deadline.start(TCP_TIMEOUT_S)
    sock = _connect_unix(url.path, deadline) if url.transport == "unix" else _connect_tcp(url, deadline)
    deadline.start(HANDSHAKES_TIMEOUT_S)
    try:
        if url.tls:
            sock = tls_context(tls).wrap_socket(sock, server_hostname=url.host, do_handshake_on_connect=False)
            _handshake_tls(sock, deadline)
        if url.transport == "websockets":
            from hermes.mqtt.net.websocket import WebSocket  # it imports an extra

            return WebSocket.open(sock, url, deadline)
        return sock
    except BaseException:
        sock.close()
        raise


def tls_context(tls: TlsOptions) -> ssl.SSLContext:
    """Return a TLS context with these certificate files.

    Raises `RefusedByBroker` if one of them cannot be used.
    """
    try:
        return tls.context()
    except ValueError as error:
        raise RefusedByBroker(str(error)) from None


def _connect_unix(path: str, deadline: Deadline) -> socket.socket:
    return _connect(socket.AF_UNIX, path, deadline, reserve_s=0)


def _connect_tcp(url: MqttUrl, deadline: Deadline) -> socket.socket:
    """Connect to the first address that answers.

    Each address gets an equal share of the time that is left.
    """
    addresses = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    failure: OSError = OSError(errno.EHOSTUNREACH, "its name has no address")
    for left, (family, _, _, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            return _connect(family, address, deadline, reserve_s=deadline.remaining_s * (left - 1) / left)
        except OSError as error:
            failure = error
    raise failure


def _connect(family: int, address: Any, deadline: Deadline, *, reserve_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            deadline.wait_for(sock, WRITE, reserve_s)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _handshake_tls(sock: ssl.SSLSocket, deadline: Deadline) -> None:
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            deadline.wait_for(sock, READ)
        except ssl.SSLWantWriteError:
            deadline.wait_for(sock, WRITE)
        except ConnectionError:
            raise ConnectionFailure(CLOSED_IN_TLS) from None
