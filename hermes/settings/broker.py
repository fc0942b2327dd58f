"""Floor 1: the embedded broker's door for devices, as frozen values, and what of its settings cannot go together."""

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hermes.errors import TemplateError
from hermes.topics.topic_map import TopicMap

EXAMPLE = "0.0.0.0:8883 for every IPv4 address, [::]:8883 for IPv6, or 192.168.1.5:8883"


@dataclass(frozen=True, slots=True)
class BrokerListen:
    """Where devices find the embedded broker, with which certificate, and where their accounts are kept."""

    address: str
    port: int
    folder: Path
    cert_file: Path | None = None
    key_file: Path | None = None

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"

    @property
    def encrypted(self) -> bool:
        """Whether devices speak TLS with it."""
        return self.cert_file is not None

    @property
    def reveals_passwords(self) -> bool:
        """Whether passwords cross a network that others may listen to."""
        return not self.encrypted and not ipaddress.ip_address(self.address).is_loopback

    def certificate(self) -> tuple[bytes, bytes]:
        """The certificate (with its chain) and its key, as the files are now.

        Raises ValueError that names the files and what is wrong with them.
        """
        assert self.cert_file is not None
        assert self.key_file is not None
        try:
            pair = self.cert_file.read_bytes(), self.key_file.read_bytes()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            with _in_memory(pair[0]) as cert, _in_memory(pair[1]) as key:  # the files may be others by now
                context.load_cert_chain(cert, key, password="")  # else OpenSSL asks at the terminal
        except ssl.SSLError:
            raise ValueError(
                f"{self.cert_file} and {self.key_file} are no pair: they must be PEM text, the certificate (then its "
                "chain) made for this key, the key without a password"
            ) from None
        except OSError as error:
            raise ValueError(f"cannot read {self.cert_file} or {self.key_file}: {error.strerror}") from None
        return pair


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path to these bytes, for what only takes paths."""
    with os.fdopen(os.memfd_create("pem"), "wb") as file:
        file.write(content)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def parse_listen(text: str) -> tuple[str, int]:
    """The address and the port of ``ADDRESS:PORT``, an IPv6 address in brackets. Raises ValueError: what to write."""
    address, _, port = text.rpartition(":")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        parsed = ipaddress.ip_address(bare)
    except ValueError:
        parsed = None
    if parsed is None or "%" in bare or (parsed.version == 6) != (bare != address):
        raise ValueError(f"{text!r} is no address and port; write {EXAMPLE}")
    if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65_535):
        raise ValueError(f"{text!r} has no port from 1 to 65535; write {EXAMPLE}")
    return str(parsed), int(port)


def listen_text(text: str) -> str:
    """The setting as it was written, once it can be parsed."""
    parse_listen(text)
    return text


def listen_faults(given: Mapping[str, Any], *, broker_url: str, topics: Sequence[str]) -> list[str]:
    """What cannot go together, judged from the values as they were given."""
    certificate = [given.get("broker_cert_file"), given.get("broker_key_file")]
    if given.get("broker_listen") is None:
        if any(certificate):
            return ["--broker-cert-file and --broker-key-file are for --broker-listen ADDRESS:PORT; give that too"]
        return []
    faults = []
    if broker_url != "embedded":
        faults.append("--broker-listen opens the embedded broker to devices: give --mqtt-url embedded, or leave it out")
    if any(certificate) and not all(certificate):
        faults.append("--broker-cert-file and --broker-key-file go together: give both")
    return faults + unconfined(topics)


def unconfined(topics: Sequence[str]) -> list[str]:
    """What in these templates lets a device speak for others, whatever topics it may publish to."""
    try:
        templates = TopicMap(topics).templates
    except TemplateError:
        return []  # it is told where the topics are read
    return [
        f"--broker-listen: template {template.text!r} takes {name} from the payload, so any device could speak for any "
        f"other: put {{{name}}} into its topic or ;{name}=constant behind it, or use a broker of your own (--mqtt-url)"
        for template in templates
        for name in ("tenant_id", "device_id")
        if name not in template.fields and name not in template.constants
    ]
