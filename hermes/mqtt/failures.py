"""Describe why a connection ended, and what the operator can change."""

import socket
import ssl

CLOSED_IN_TLS = "the broker closed the connection during the TLS handshake: does this port use TLS?"
CLOSED_UNANSWERED = "the broker closed the connection without an answer"

# Reason codes of MQTT 5 §3.2.2.2 and §3.14.2.1; paho translates the return codes of 3.1.1
UNSUPPORTED_VERSION = (0x01, 0x84)  # in 3.1.1, in 5
_BAD_IDENTIFIER, _BAD_PASSWORD, _NOT_AUTHORIZED, _BANNED, _TAKEN_OVER = 0x85, 0x86, 0x87, 0x8A, 0x8E
_CREDENTIALS = "check user and password (--mqtt-username, --mqtt-password-file) and the broker's access rules"
_REASON_CODE_ADVICE = {
    _BAD_IDENTIFIER: "check --mqtt-client-id",
    _BAD_PASSWORD: _CREDENTIALS,
    _NOT_AUTHORIZED: _CREDENTIALS,
    _BANNED: _CREDENTIALS,
    _TAKEN_OVER: "give each client a --mqtt-client-id of its own",
}

_TLS_ALERT, _HTTP = b"\x15\x03", b"HTTP/"

# OpenSSL's verification codes (x509_vfy.h)
_NOT_YET_VALID, _EXPIRED, _HOST_MISMATCH, _ADDRESS_MISMATCH = 9, 10, 62, 64
_CERTIFICATE_ADVICE = {
    _NOT_YET_VALID: "check the clocks of both machines",
    _EXPIRED: "renew the broker's certificate, or check this machine's clock",
    _HOST_MISMATCH: "use a name in --mqtt-url that the certificate has",
    _ADDRESS_MISMATCH: "use an address or name in --mqtt-url that the certificate has",
}
_WRONG_CERTIFICATE = "the broker does not accept our certificate: check --mqtt-cert-file and --mqtt-key-file"
_NO_TLS = "the server at this address does not use TLS: use mqtt:// for mqtts://, or ws:// for wss://, or another port"
_TLS_REASONS = {  # OpenSSL's names for the other side's alerts (RFC 8446 §6.2) and for its own failures
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the broker wants a certificate: set --mqtt-cert-file and --mqtt-key-file",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the broker refused the TLS handshake: it may want a certificate "
    "(--mqtt-cert-file and --mqtt-key-file), or have no cipher in common",
    "TLSV1_ALERT_UNKNOWN_CA": _WRONG_CERTIFICATE,
    "TLSV1_ALERT_DECRYPT_ERROR": _WRONG_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": _WRONG_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _WRONG_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired: renew --mqtt-cert-file",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate has been revoked: renew --mqtt-cert-file",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the broker supports no protocol of --mqtt-alpn",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the broker does not support TLS 1.2 or later",
    "UNSUPPORTED_PROTOCOL": "the broker does not support TLS 1.2 or later",
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
}


class ConnectionFailure(Exception):
    """The connection ended; the text says why."""


class RefusedByBroker(ConnectionFailure):
    """The broker refused something that only a change of settings can fix.

    The text says what to change.
    """


class WrongVersion(ConnectionFailure):
    """The broker does not support this version of MQTT."""


class NoConnack(ConnectionFailure):
    """The broker closed the connection before it answered CONNECT."""


class Cancelled(ConnectionFailure):
    """The client was stopped during the attempt."""


def reason(failure: Exception | None) -> str:
    """Return why a connection ended, for logs and ``/ready``.

    The text does not contain the URL or its password.
    """
    if failure is None:
        return "stopped"
    if isinstance(failure, ssl.SSLError):
        return _tls_reason(failure)
    if isinstance(failure, socket.gaierror):
        return f"the broker's name cannot be resolved: {failure.strerror or failure}"
    if isinstance(failure, TimeoutError):
        return "the broker cannot be reached: timed out"
    if isinstance(failure, OSError):
        return f"the broker cannot be reached: {failure.strerror or failure}"
    return str(failure) or type(failure).__name__


def is_permanent(failure: Exception) -> bool:
    """Return whether attempts will fail until the settings or the broker change."""
    return isinstance(failure, RefusedByBroker | ssl.SSLCertVerificationError) or (
        isinstance(failure, ssl.SSLError) and _openssl_name(failure) in _TLS_REASONS
    )


def is_local(failure: Exception | None) -> bool:
    """Return whether the kernel or the name server rejected the attempt.

    Such an attempt causes no work for a broker.
    """
    return isinstance(failure, ConnectionRefusedError | FileNotFoundError | socket.gaierror)


def is_expected(failure: Exception) -> bool:
    """Return whether a connection usually ends in this way.

    A traceback is not useful for such a failure.
    """
    return isinstance(failure, ConnectionFailure | OSError)


def reason_code_failure(event: str, code: int, name: str) -> ConnectionFailure:
    """Return the failure for a reason code of CONNACK or DISCONNECT.

    Its text includes advice if there is any for the code.
    """
    advice = _REASON_CODE_ADVICE.get(code)
    if advice is None:
        return ConnectionFailure(f"{event}: {name}")
    return RefusedByBroker(f"{event}: {name}; {advice}")


def check_protocol(first_bytes: bytes) -> None:
    """Raise `RefusedByBroker` if the server's first bytes are TLS or HTTP.

    Without this check paho would wait for the rest of a packet.
    """
    if first_bytes.startswith(_TLS_ALERT):
        raise RefusedByBroker("the server at this address uses TLS: use mqtts:// for mqtt://, or wss:// for ws://")
    if first_bytes.startswith(_HTTP):
        raise RefusedByBroker("the server at this address uses HTTP: use ws:// for mqtt://, or another port")


def _openssl_name(error: ssl.SSLError) -> str:
    """Return OpenSSL's name of the error; Python's own TLS errors have none."""
    return getattr(error, "reason", None) or ""


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        advice = _CERTIFICATE_ADVICE.get(error.verify_code, "set --mqtt-ca-file to the certificate of its CA")
        return f"the broker's certificate is not trusted: {error.verify_message.rstrip('.')}; {advice}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED_IN_TLS
    name = _openssl_name(error)
    return _TLS_REASONS.get(name, f"the TLS connection failed: {name or error}")
