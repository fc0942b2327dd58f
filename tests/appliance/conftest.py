"""What `make binary` and `make deb` build."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT
from tests.support.programs import needs

BUILD_TIMEOUT_S = 1_200.0
DIST = CHECKOUT / "dist"
LOCK = CHECKOUT / "build" / "package.lock"


def make(target: str) -> None:
    """Run a target of the Makefile."""
    done = subprocess.run(
        [needs("make"), target], cwd=CHECKOUT, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def package() -> Path:
    """Build the Debian package, and with it the two programs; one that is newer than its sources is taken as it is."""
    namespaces = [needs("unshare"), "--mount", "--pid", "--net", "--fork", "mount", "--make-rprivate", "/"]
    if os.geteuid() != 0 or subprocess.run(namespaces, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root may change the root folder and create namespaces")
    needs("patchelf")
    LOCK.parent.mkdir(exist_ok=True)
    with LOCK.open("w") as lock:  # the files of these tests run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        return built_package()


def built_package() -> Path:
    """Return the package; build it if a source is newer."""
    built = sorted(DIST.glob("hermes-gateway_*.deb"))
    sources = [
        path for name in ("hermes", "packaging", "static", "templates") for path in (CHECKOUT / name).rglob("*.*")
    ]
    sources.append(CHECKOUT / "hermes.service")
    newest_s = max(path.stat().st_mtime for path in sources if path.is_file() and path.suffix != ".pyc")
    if not built or built[-1].stat().st_mtime < newest_s:
        for path in built:
            path.unlink()
        make("deb")
    (path,) = DIST.glob("hermes-gateway_*.deb")
    return path
