"""Floor 3: the secret and the API key that ``--dev`` makes once and keeps, so that tokens outlive a restart."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

SECRET_NAME = "jwt-secret"
KEY_NAME = "api-key"
PRIVATE_MODE = 0o600


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
            _write_once(path, secrets.token_hex(32))


def _write_once(path: Path, text: str) -> None:
    """Write the file unless it is there; complete or not at all, whoever else starts at the same moment."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_MODE)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
