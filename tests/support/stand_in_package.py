"""A Debian package with the Hermes of this checkout, made in a second.

It stands in for the real package, which contains a frozen program: it has the same files, but its command runs the
checkout in the interpreter of the tests.
"""

import subprocess
import sys
from pathlib import Path

from hermes.cli.main import COMMANDS
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
getent passwd hermes >/dev/null || useradd --system --home-dir /var/lib/hermes --shell /usr/sbin/nologin hermes
install -d -m 755 /etc/hermes
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
{init}PYTHONPATH={checkout} exec {python} -m hermes "$@"
"""
# Until the commands exist: what `hermes init`, `hermes status` and the unit with a static user do.
INIT = r"""
case "$1" in
init)
    [ ! -e /etc/hermes/hermes.toml ] || { echo "hermes: /etc/hermes/hermes.toml exists" >&2; exit 1; }
    umask 027
    openssl rand -hex 32 > /etc/hermes/jwt-secret
    openssl rand -hex 24 > /etc/hermes/api-keys
    printf 'host = "%s"\nport = %s\n' "$3" "$5" > /etc/hermes/hermes.toml
    chgrp hermes /etc/hermes/jwt-secret /etc/hermes/api-keys /etc/hermes/hermes.toml
    echo "open http://192.168.1.5:$5/"; exit;;
status)
    curl --silent --show-error --fail http://127.0.0.1:8080/ready; exit;;
check)
    export HERMES_JWT_SECRET_FILE=/etc/hermes/jwt-secret HERMES_API_KEY_FILE=/etc/hermes/api-keys
    export HERMES_CONFIG=/etc/hermes/hermes.toml
    systemctl is-active hermes >/dev/null && { echo ready to serve; exit; }
    [ "$2" != --unit ] || set -- check
    [ "$2" != --settings ] || set -- check;;
esac
"""


def stand_in_package(folder: Path, version: str = "0.2.0~dev0") -> Path:
    """Build the package in this folder; return its path."""
    needs("dpkg-deb")
    tree = folder / f"package-{version}"
    examples = tree / DOCS / "examples"
    for path in (tree / "DEBIAN", tree / "usr/bin", tree / "lib/systemd/system", examples):
        path.mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL.format(version=version))
    for name, script in (("postinst", POSTINST), ("postrm", POSTRM)):
        (tree / "DEBIAN" / name).write_text(script)
        (tree / "DEBIAN" / name).chmod(0o755)
    init = "" if "init" in COMMANDS else INIT
    command = COMMAND.format(checkout=CHECKOUT, python=sys.executable, init=init)
    (tree / "usr/bin/hermes").write_text(command)
    (tree / "usr/bin/hermes").chmod(0o755)
    unit = (CHECKOUT / "hermes.service").read_text()
    if "User=hermes" not in unit:
        unit = unit.replace("DynamicUser=yes", "User=hermes\nEnvironment=HERMES_CONFIG=/etc/hermes/hermes.toml")
    (tree / "lib/systemd/system/hermes.service").write_text(unit)
    for name in ("nginx", "caddy", "haproxy"):
        subprocess.run(["cp", "-r", str(CHECKOUT / "examples" / name), str(examples)], check=True)
    package = folder / f"hermes-gateway_{version}_all.deb"
    build = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(package)]
    subprocess.run(build, check=True, capture_output=True, timeout=60)
    return package
