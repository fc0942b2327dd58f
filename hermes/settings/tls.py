"""TLS files of the connection to the broker, loaded anew for each connection."""

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Whom to trust and what to show; the host's name is always checked, and TLS is 1.2 or later."""

    ca_file: Path | None = None  # None: what the system trusts
    cert_file: Path | None = None
    key_file: Path | None = None
    alpn: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Read the files anew, so that renewed certificates hold from the next connection on.

        Raises ValueError that names the file and what is wrong with it.
        """
        context = _trusting(self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.cert_file is not None:
            _show(context, self.cert_file, self.key_file)
        if self.alpn:
            context.set_alpn_protocols(list(self.alpn))
        return context


def _trusting(ca_file: Path | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError:
        raise ValueError(f"{ca_file} holds no certificate of a CA; it must be PEM text") from None
    except OSError as error:
        raise ValueError(f"cannot read {ca_file}: {error.strerror}") from None


def _show(context: ssl.SSLContext, cert_file: Path, key_file: Path | None) -> None:
    try:
        context.load_cert_chain(cert_file, key_file, password="")  # without one, OpenSSL asks at the terminal
    except ssl.SSLError:
        raise ValueError(
            f"{cert_file} and {key_file} are no pair: they must be PEM text, the certificate made for this key, "
            "the key without a password"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot read {cert_file} or {key_file}: {error.strerror}") from None
