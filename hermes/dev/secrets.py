"""Floor 3: the secret and the API key that ``--dev`` makes once and keeps, so that tokens outlive a restart."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from hermes import private_file

SECRET_NAME = "jwt-secret"
KEY_NAME = "api-key"


@dataclass(frozen=True, slots=True)
class DevSecrets:
    """The two files, in a folder of the user's own."""

    folder: Path

    @property
    def secret_file(self) -> Path:
        """Signs tokens."""
        return self.folder / SECRET_NAME

    @property
    def key_file(self) -> Path:
        """May call ``/notify``."""
        return self.folder / KEY_NAME

    @property
    def exists(self) -> bool:
        """Whether ``--dev`` ran on this machine, for this user, before."""
        return self.secret_file.is_file() and self.key_file.is_file()

    def ensure(self) -> None:
        """Make what is missing; raises OSError where the folder cannot be written."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.secret_file, self.key_file):
            private_file.create(path, secrets.token_hex(32) + "\n")
