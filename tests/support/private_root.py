"""A private copy of this machine's file system, network and processes, in which a page's commands run as root.

It is an overlay: what the commands write is in memory, and disappears at the end with everything they started.
"""

import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.paths import CHECKOUT
from tests.support.programs import needs

TIMEOUT_S = 300.0  # reached only in a test that fails
TOP = (
    "hermes",
    "templates",
    "static",
    "examples",
    "setup.cfg",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "hermes.service",
)
ADDRESS = "192.168.1.5"  # of the gateway in the documentation, as other machines reach it
SET_UP = """\
set -eu
umask 022
ip link set lo up
mount -t tmpfs tmpfs {folder}
mkdir {folder}/upper {folder}/work {folder}/root
mount -t overlay overlay -o lowerdir=/,upperdir={folder}/upper,workdir={folder}/work {folder}/root
cd {folder}/root
mount -t proc proc proc
echo 0 > proc/sys/net/ipv4/ip_unprivileged_port_start
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir -p tmp run/shims run/systemd/system root/hermes
mount -t tmpfs -o mode=1777 tmpfs tmp
{binds}
cp -r {sources} root/hermes
rm -rf etc/hermes opt/hermes var/lib/hermes usr/sbin/policy-rc.d
ip address add {address}/32 dev lo
for name in systemctl journalctl; do
    ln -s {shim} run/shims/$name
done
exec chroot . /bin/bash /run/script
"""


def run_in_private_root(folder: Path, script: str, *, more: Sequence[Path] = ()) -> str:
    """Run a bash script in a private root, in a copy of the checkout; return its output, or fail with it.

    ``more`` are files and folders that the script can read at their own paths. Without the right to create
    namespaces or an overlay the test is skipped.
    """
    unshare = [needs("unshare"), "--mount", "--pid", "--net", "--fork", "--kill-child", "--propagation", "private"]
    needs("ip")
    _check(unshare)
    visible = [CHECKOUT, Path(sys.prefix), Path(sys.base_prefix), *more]
    (folder / "shim").write_text(f"#!{sys.executable}\n" + (CHECKOUT / "tests/support/systemctl.py").read_text())
    (folder / "shim").chmod(0o755)
    body = "export PATH=/run/shims:$PATH HOME=/root; cd /root/hermes; export PS4='+ \\t '; set -eux\n" + script
    (folder / "script").write_text(body)
    mounted = folder / "mounted"
    mounted.mkdir()
    binds = [f"touch run/{name}; mount --bind {folder}/{name} run/{name}" for name in ("script", "shim")]
    resolved = dict.fromkeys(path.resolve() for path in visible)
    found = [path for path in resolved if not any(parent in resolved for parent in path.parents)]
    binds += [_bind(path) for path in found if not _inside_root(path)]
    # users other than root must reach them too
    binds += [f"chmod a+x .{parent}" for path in found for parent in path.parents if parent != Path("/")]
    set_up = SET_UP.format(
        folder=mounted,
        address=ADDRESS,
        binds="\n".join(binds),
        shim="/run/shim",
        sources=" ".join(str(path) for name in TOP if (path := CHECKOUT / name).exists()),
    )
    done = subprocess.run(
        [*unshare, "bash", "-c", set_up],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
        env={
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
        },
    )
    assert done.returncode == 0, textwrap.indent(done.stdout[-6000:], "    ")
    return done.stdout


def _check(unshare: list[str]) -> None:
    """Skip the test if this process may not create the namespaces, or an overlay of the root folder."""
    mounts = "mount -t tmpfs tmpfs /mnt && mkdir /mnt/u /mnt/w /mnt/r && "
    mounts += "mount -t overlay overlay -o lowerdir=/,upperdir=/mnt/u,workdir=/mnt/w /mnt/r"
    done = subprocess.run([*unshare, "sh", "-c", mounts], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"only root with CAP_SYS_ADMIN can create a private root: {done.stderr.strip()}")


def _inside_root(path: Path) -> bool:
    """Whether the overlay of / has this path: it is on the same file system, and not below /tmp or /run."""
    hidden = path.is_relative_to("/tmp") or path.is_relative_to("/run")
    return not hidden and path.stat().st_dev == Path("/").stat().st_dev


def _bind(path: Path) -> str:
    inside = str(path).lstrip("/")
    if path.is_dir():
        return f"mkdir -p {inside}; mount --rbind -o ro {path} {inside}"
    return f"mkdir -p {Path(inside).parent}; touch {inside}; mount --bind -o ro {path} {inside}"
