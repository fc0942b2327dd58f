"""A Debian package with the Hermes of this checkout, made in a second.

It stands in for the real package, which contains a frozen program: it has the same files, but its command runs the
checkout in the interpreter of the tests.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from hermes.appliance.conffile import commented_file
from tests.support.paths import CHECKOUT
from tests.support.programs import needs

DOCS = "usr/share/doc/hermes-gateway"
CONTROL = """\
Package: hermes-gateway
Version: {version}
Architecture: all
Maintainer: tests
Description: stand-in
"""
POSTINST = """\
#!/bin/sh
set -e
getent passwd hermes >/dev/null || useradd --system --user-group --home-dir /var/lib/hermes hermes
systemctl daemon-reload
if [ -n "$2" ] && systemctl is-active hermes.service; then
    systemctl restart hermes.service
fi
"""
POSTRM = """\
#!/bin/sh
[ "$1" != purge ] || rm -rf /etc/hermes /var/lib/hermes
"""
COMMAND = """\
#!/bin/sh
PYTHONPATH={checkout} exec {python} -m hermes "$@"
"""


def stand_in_package(folder: Path, version: str = "0.2.0~dev0") -> Path:
    """Build the package in this folder; return its path."""
    needs("dpkg-deb")
    tree = folder / f"package-{version}"
    examples = tree / DOCS / "examples"
    for path in (tree / "DEBIAN", tree / "usr/bin", tree / "lib/systemd/system", tree / "etc/hermes", examples):
        path.mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL.format(version=version))
    for name, script in (("postinst", POSTINST), ("postrm", POSTRM)):
        (tree / "DEBIAN" / name).write_text(script)
        (tree / "DEBIAN" / name).chmod(0o755)
    (tree / "usr/bin/hermes").write_text(COMMAND.format(checkout=CHECKOUT, python=sys.executable))
    (tree / "usr/bin/hermes").chmod(0o755)
    shutil.copy(CHECKOUT / "hermes.service", tree / "lib/systemd/system")
    (tree / "etc/hermes/hermes.toml").write_text(commented_file())
    (tree / "DEBIAN/conffiles").write_text("/etc/hermes/hermes.toml\n")
    for name in ("nginx", "caddy", "haproxy"):
        subprocess.run(["cp", "-r", str(CHECKOUT / "examples" / name), str(examples)], check=True)
    subprocess.run(["chmod", "-R", "u=rwX,go=rX", str(tree)], check=True)  # whatever the umask
    package = folder / f"hermes-gateway_{version}_all.deb"
    build = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    return package
