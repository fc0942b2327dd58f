"""The devices' door: how connections end, and the words for it that a person can act on."""

import socket
import ssl

CLOSED_IN_TLS = "the broker closed the connection during the TLS handshake: does this port speak TLS?"
CLOSED_UNANSWERED = "the broker closed the connection without an answer"

# OpenSSL's verification codes (x509_vfy.h)
_NOT_YET_VALID, _EXPIRED, _HOST_MISMATCH, _ADDRESS_MISMATCH = 9, 10, 62, 64
_MEND_CERTIFICATE = {
    _NOT_YET_VALID: "look at the clocks of both machines",
    _EXPIRED: "renew the broker's certificate, or look at this machine's clock",
    _HOST_MISMATCH: "write a name into --mqtt-url that the certificate has",
    _ADDRESS_MISMATCH: "write an address or name into --mqtt-url that the certificate has",
}
_WRONG_CERTIFICATE = "the broker does not accept our certificate: look at --mqtt-cert-file and --mqtt-key-file"
_NO_TLS = "what answers there does not speak TLS: write mqtt:// for mqtts://, or ws:// for wss://, or another port"
_TLS_FAULTS = {  # OpenSSL's names for the other side's alerts (RFC 8446 §6.2) and for its own failures
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the broker wants a certificate: give --mqtt-cert-file and --mqtt-key-file",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the broker refused the TLS handshake: it may want a certificate "
    "(--mqtt-cert-file and --mqtt-key-file), or have no cipher in common",
    "TLSV1_ALERT_UNKNOWN_CA": _WRONG_CERTIFICATE,
    "TLSV1_ALERT_DECRYPT_ERROR": _WRONG_CERTIFICATE,
    "SSLV3_ALERT_BAD_CERTIFICATE": _WRONG_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _WRONG_CERTIFICATE,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "our certificate has expired: renew --mqtt-cert-file",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "our certificate has been revoked: renew --mqtt-cert-file",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the broker knows no protocol of --mqtt-alpn",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the broker speaks no TLS of 1.2 or later",
    "UNSUPPORTED_PROTOCOL": "the broker speaks no TLS of 1.2 or later",
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
}


class ConnectionFailure(Exception):
    """The connection ended; the text says why."""


class RefusedByBroker(ConnectionFailure):
    """The broker refused something that a person has to mend; the text says what."""


class WrongVersion(ConnectionFailure):
    """The broker does not speak this version of MQTT."""


class NoConnack(ConnectionFailure):
    """The broker closed before it had answered CONNECT."""


class Cancelled(ConnectionFailure):
    """The link is no longer wanted."""


def reason(lost: Exception | None) -> str:
    """Why a connection ended, for people. The URL and its password are not in it."""
    if lost is None:
        return "stopped"
    if isinstance(lost, ssl.SSLError):
        return _tls_reason(lost)
    if isinstance(lost, socket.gaierror):
        return f"the broker's name cannot be resolved: {lost.strerror or lost}"
    if isinstance(lost, TimeoutError):
        return "the broker cannot be reached: timed out"
    if isinstance(lost, OSError):
        return f"the broker cannot be reached: {lost.strerror or lost}"
    return str(lost) or type(lost).__name__


def is_permanent(lost: Exception) -> bool:
    """Whether trying again will not mend it."""
    return isinstance(lost, RefusedByBroker | ssl.SSLCertVerificationError) or (
        isinstance(lost, ssl.SSLError) and _tls_name(lost) in _TLS_FAULTS
    )


def is_local(lost: Exception | None) -> bool:
    """Whether the try cost nobody anything: the kernel or the name server said no, and no broker was asked."""
    return isinstance(lost, ConnectionRefusedError | FileNotFoundError | socket.gaierror)


def is_expected(lost: Exception) -> bool:
    """Whether it is one of the ways in which connections end, so that a traceback tells nothing."""
    return isinstance(lost, ConnectionFailure | OSError)


def _tls_name(error: ssl.SSLError) -> str:
    """OpenSSL's own; Python's errors have none."""
    return getattr(error, "reason", None) or ""


def _tls_reason(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        mend = _MEND_CERTIFICATE.get(error.verify_code, "give the certificate of the CA that signed it: --mqtt-ca-file")
        return f"the broker's certificate is not trusted: {error.verify_message.rstrip('.')}; {mend}"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED_IN_TLS
    name = _tls_name(error)
    return _TLS_FAULTS.get(name, f"the TLS connection failed: {name or error}")
