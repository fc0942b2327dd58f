"""The stored secret and API key of ``--dev``: tokens stay valid after a restart."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from hermes.settings import private_file
from hermes.settings.folders import state_folder

SECRET_NAME = "jwt-secret"
KEY_NAME = "api-key"


@dataclass(frozen=True, slots=True)
class DevSecrets:
    """The two files, in a folder that belongs to the user."""

    folder: Path

    @property
    def secret_file(self) -> Path:
        """The file with the secret that signs tokens."""
        return self.folder / SECRET_NAME

    @property
    def key_file(self) -> Path:
        """The file with the key for ``/notify``."""
        return self.folder / KEY_NAME

    @property
    def exists(self) -> bool:
        """Whether both files exist: ``--dev`` has run before, for this user."""
        return self.secret_file.is_file() and self.key_file.is_file()

    def ensure(self) -> None:
        """Create the missing files. Raises OSError if the folder cannot be written."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.secret_file, self.key_file):
            private_file.create(path, secrets.token_hex(32) + "\n")


def stored_key() -> str | None:
    """Return the API key of ``--dev`` on this machine; None if ``--dev`` has not run."""
    state = DevSecrets(state_folder())
    return state.key_file.read_text().strip() if state.exists else None
