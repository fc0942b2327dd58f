"""The devices' door: a socket to the broker, through TCP or a Unix socket, TLS and WebSocket as its URL says.

paho would do it too, but its handshakes can hang for as long as the other side likes, and what it says of a failed
one helps nobody. Here nothing waits past a deadline, and stopping interrupts all but the name server.
"""

import errno
import os
import socket
import ssl
from typing import Any

from hermes.mqtt.failures import CLOSED_IN_TLS, BrokerRefused, Lost
from hermes.mqtt.net.deadline import READ, WRITE, Patience
from hermes.mqtt.net.websocket import WebSocket
from hermes.settings.mqtt_url import MqttUrl
from hermes.settings.tls import TlsOptions

TCP_TIMEOUT_S = 5.0  # for all addresses of a name together
HANDSHAKES_TIMEOUT_S = 5.0  # for TLS and WebSocket together; a small broker under load needs a second or two


def dial(url: MqttUrl, tls: TlsOptions, patience: Patience) -> Any:
    """A connected, non-blocking socket that MQTT can be spoken on. Raises OSError, or `Lost`, also for a
    certificate file that cannot be read any more.
    """
    patience.begin(TCP_TIMEOUT_S)
    sock = _connect_unix(url.path, patience) if url.transport == "unix" else _connect_tcp(url, patience)
    patience.begin(HANDSHAKES_TIMEOUT_S)
    try:
        if url.tls:
            sock = _context(tls).wrap_socket(sock, server_hostname=url.host, do_handshake_on_connect=False)
            _shake_hands(sock, patience)
        return WebSocket.open(sock, url, patience) if url.transport == "websockets" else sock
    except BaseException:
        sock.close()
        raise


def _connect_unix(path: str, patience: Patience) -> socket.socket:
    return _connect(socket.AF_UNIX, path, patience, until_s=0)


def _connect_tcp(url: MqttUrl, patience: Patience) -> socket.socket:
    """To the first address that answers; each has its share of the time, so that a dead one does not take it all."""
    addresses = socket.getaddrinfo(url.host, url.port, type=socket.SOCK_STREAM)
    fault: OSError = OSError(errno.EHOSTUNREACH, "its name has no address")
    for left, (family, _, _, _, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            return _connect(family, address, patience, until_s=patience.left_s * (left - 1) / left)
        except OSError as error:
            fault = error
    raise fault


def _connect(family: int, address: Any, patience: Patience, *, until_s: float) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code == errno.EINPROGRESS:
            patience.wait(sock, WRITE, until_s)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))
    except BaseException:
        sock.close()
        raise
    return sock


def _context(tls: TlsOptions) -> ssl.SSLContext:
    try:
        return tls.context()
    except ValueError as error:
        raise BrokerRefused(str(error)) from None


def _shake_hands(sock: ssl.SSLSocket, patience: Patience) -> None:
    while True:
        try:
            return sock.do_handshake()
        except ssl.SSLWantReadError:
            patience.wait(sock, READ)
        except ssl.SSLWantWriteError:
            patience.wait(sock, WRITE)
        except ConnectionError:
            raise Lost(CLOSED_IN_TLS) from None
