"""TLS files of the connection to the broker, read again for each connection."""

import contextlib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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
