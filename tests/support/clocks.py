"""A wall clock that a test moves while a program runs."""

from pathlib import Path

from tests.support.programs import needs


class JumpingClock:
    """The wall clock of a program; the monotonic clock goes on as usual, as after ``date --set``."""

    def __init__(self, folder: Path) -> None:
        needs("faketime")
        (library, *_) = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        self._file = folder / "offset"
        self.jump_to(0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }

    def jump_to(self, offset_s: int) -> None:
        """Set the clock this many seconds after the true time."""
        waiting = self._file.with_suffix(".new")
        waiting.write_text(f"{offset_s:+d}\n")
        waiting.replace(self._file)
