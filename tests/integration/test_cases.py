"""Programs that reproduce reports from the field: each ends with 0 if Hermes does what its users expect.

They use Hermes from outside and are not part of the repository.
"""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import case_runner, paths
from tests.support.programs import free_port, hermes, needs

CASES = Path(os.environ.get("CASES", paths.CASES))
PROGRAMS = sorted(path for path in CASES.glob("B[0-9]*") if path.suffix in (".py", ".sh"))
PORTS = 3  # each program uses that many, from PORT0 on
TRIES = 3  # a page has a fixed time to show something, which a busy machine may exceed
TIMEOUT_S = 240.0

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PROGRAMS, reason=f"{CASES} has no programs")]


def free_ports() -> int:
    """Return the first of some consecutive ports that are free."""
    while True:
        first = free_port()
        if all(_is_free(first + more) for more in range(1, PORTS)):
            return first


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def run(*command: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program against the Hermes of this checkout."""
    environment = {
        "HERMES_BIN": str(Path(sys.executable).with_name("hermes")),
        "PORT0": str(free_ports()),
        "TMPDIR": str(folder),
        "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
        "CHROMIUM": needs("chromium-headless-shell", "chromium"),
    }
    return subprocess.run(
        command,
        cwd=CASES,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_a_report_from_the_field_is_no_longer_true(program: Path, tmp_path: Path) -> None:
    """As the program sees it, without any knowledge of the code."""
    for each in ("mosquitto", "mosquitto_pub"):
        needs(each)
    for _ in range(TRIES):
        if program.suffix == ".sh":
            with hermes("serve", "--dev", "--port", "0", "--mqtt-url", "off", XDG_STATE_HOME=str(tmp_path)) as running:
                done = run("sh", program.name, running.url, folder=tmp_path)
        else:
            done = run(sys.executable, case_runner.__file__, str(program), folder=tmp_path)
        if done.returncode == 0:
            return
    raise AssertionError(done.stdout + done.stderr)
