"""TLS files of the connection to the broker, and the certificate of Hermes itself."""

import contextlib
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2: forward secrecy, authenticated; TLS 1.3 has no others
# Every client has it. OpenSSL's own list ends with ffdhe8192, which a client may choose alone: 124 ms of CPU each.
GROUP = "prime256v1"
CERTIFICATE_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """The CA certificates to trust and the client certificate to present.

    The host name is always verified, and TLS is 1.2 or later.
    """

    ca_file: Path | None = None  # None: the CA certificates of the system
    cert_file: Path | None = None
    key_file: Path | None = None
    alpn: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Return a new context from the present files.

        So renewed certificates apply to the next connection. Raises ValueError that names the file and its problem.
        """
        context = _trusting(self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            with pair_problems(self.cert_file, self.key_file):
                context.load_cert_chain(self.cert_file, self.key_file, password="")  # else OpenSSL asks the terminal
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        return context


@dataclass(frozen=True, slots=True)
class ServerCertificate:
    """The certificate that Hermes presents, with its chain, and its key."""

    cert_file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Return a new context from the present files.

        TLS is 1.2 or later. Raises ValueError that names the files and their problem.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION  # else a client can ask for the work again and again
        context.set_ciphers(CIPHERS)
        context.set_ecdh_curve(GROUP)
        context.set_alpn_protocols(["http/1.1"])
        with pair_problems(self.cert_file, self.key_file):
            context.load_cert_chain(self.cert_file, self.key_file, password="")  # else OpenSSL asks the terminal
        return context


def own_context(cert_file: Path) -> ssl.SSLContext:
    """Return a context for clients of this machine's own Hermes.

    It trusts the first certificate of the file and no other, whatever names it has. Raises ValueError if the file has
    none, and OSError.
    """
    first, end, _ = cert_file.read_text("utf-8", "replace").partition(CERTIFICATE_END)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be the certificate of a CA
    try:
        context.load_verify_locations(cadata=first + end)
    except ssl.SSLError:
        raise ValueError(f"{cert_file} contains no certificate; it must be PEM text") from None
    return context


def certificate_expiry(path: Path) -> float | None:
    """Return when the first certificate of a file ends, in Unix seconds.

    None if the file has none: the code that uses it reports that.
    """
    from cryptography import x509  # 30 ms, only if there is a certificate

    try:
        certificates = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        return None
    return certificates[0].not_valid_after_utc.timestamp()


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Return a value that changes whenever a file changes; None if it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def show_libpq_ca_certificates(root: str | None) -> None:
    """Let libpq find the CA certificates for ``sslrootcert=system``.

    The libpq of ``psycopg[binary]`` has an OpenSSL of its own, which looks in a folder that no system has. The
    variables get what Python uses anyway; those that are set stay.
    """
    if root == "system" or (root is None and os.environ.get("PGSSLROOTCERT") == "system"):
        paths = ssl.get_default_verify_paths()
        os.environ.setdefault(paths.openssl_cafile_env, paths.cafile or paths.openssl_cafile)
        os.environ.setdefault(paths.openssl_capath_env, paths.capath or paths.openssl_capath)


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} contains no CA certificate; it must be PEM text") from None
    except OSError as error:
        raise ValueError(f"cannot read {ca_file}: {error.strerror}") from None


@contextlib.contextmanager
def pair_problems(cert_file: Path | None, key_file: Path | None) -> Iterator[None]:
    """Replace errors of loading a certificate and its key by one ValueError."""
    try:
        yield
    except ssl.SSLError:
        raise ValueError(
            f"{cert_file} and {key_file} do not match: both must be PEM text, the certificate (then its chain) "
            "made for this key, the key without a password"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot read {cert_file} or {key_file}: {error.strerror}") from None
