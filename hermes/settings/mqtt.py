"""Parameters of the connection to the MQTT broker, as frozen values."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hermes.settings import private_file
from hermes.settings.tls import TlsOptions

Qos = Literal[0, 1]

KEEPALIVE_S = 30  # a broker that vanished without a packet is detected within twice this time
CLIENT_ID_MAX_BYTES = 65_535  # MQTT 5 §1.5.4
RECEIVE_MAXIMUM = 65_535  # MQTT 5 §3.1.2.11.3: what applies if a client does not send one


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """Credentials, TLS and session of a connection.

    ``username`` and the password take precedence over those of the URL.
    """

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None  # instead of ``password``
    insecure_secret_files: bool = False
    tls: TlsOptions = field(default_factory=TlsOptions)
    client_id: str | None = None  # None: a random one in each process
    keepalive_s: int = KEEPALIVE_S
    clean_start: bool = True
    session_expiry_s: int = 0
    receive_maximum: int | None = None  # None: `RECEIVE_MAXIMUM`
    qos: Qos = 0

    def current_password(self) -> str | None:
        """Return the password, from its file as it is now; None without one.

        So a changed password applies to the next connection. Raises OSError, and ValueError that says what is wrong.
        """
        if self.password_file is None:
            return self.password
        text = private_file.read_text(self.password_file, insecure=self.insecure_secret_files)
        password = text.removesuffix("\n").removesuffix("\r")
        if not password:
            raise ValueError(f"{self.password_file} is empty; write the password into it")
        return password

    def for_a_trial(self) -> "MqttOptions":
        """Return the options for a short test connection.

        It has a client id and a session of its own, so that a running Hermes with these options is not disconnected.
        """
        client_id = None if self.client_id is None else f"{self.client_id}-check"
        return replace(self, client_id=client_id, clean_start=True, session_expiry_s=0)
