"""What `make binary` and `make deb` build."""

import fcntl
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT
from tests.support.programs import needs

BUILD_TIMEOUT_S = 1_200.0
DIST = CHECKOUT / "dist"
LOCK = CHECKOUT / "build" / "package.lock"
# glibc is several libraries; the program and its broker use these.
LIBC = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "libresolv.so.2")


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


@pytest.fixture(scope="module")
def empty_root(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a root folder with the program, the libraries and a user called nobody."""
    root = tmp_path_factory.mktemp("root")
    for name in ("dev", "etc", "proc", "tmp"):
        (root / name).mkdir()
    (root / "tmp").chmod(0o1777)
    root.chmod(0o755)
    (root / "dev" / "null").touch()
    (root / "etc" / "passwd").write_text("nobody:x:65534:65534::/nonexistent:/none\n")
    (root / "etc" / "group").write_text("nogroup:x:65534:\n")
    shutil.copy(DIST / "hermes", root / "hermes")
    cache = subprocess.run([needs("ldconfig"), "-p"], capture_output=True, text=True, check=True).stdout
    show = [needs("patchelf"), "--print-interpreter", str(root / "hermes")]
    loader = subprocess.run(show, capture_output=True, text=True, check=True).stdout.strip()
    (root / loader.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(loader, root / loader.lstrip("/"))
    libraries = root / "lib"
    libraries.mkdir(exist_ok=True)
    for name in (*LIBC, "libz.so.1"):
        found = re.findall(rf"\s{re.escape(name)} .*=> (\S+)$", cache, re.MULTILINE)
        shutil.copy(found[0], libraries)
    for path in root.rglob("*"):  # the tests make files that only their own user may read
        path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    return root


def inside(root: Path, user: str) -> tuple[str, ...]:
    """Return the words that run a program in the root folder as this user, with /proc and /dev/null alone."""
    script = 'mount -t proc proc "$0/proc" && mount --bind /dev/null "$0/dev/null" && user=$1 && shift && '
    script += 'exec chroot --userspec="$user" "$0" /hermes "$@"'
    return (needs("unshare"), "--mount", needs("sh"), "-c", script, str(root), user)
