"""Versions and licences of what a frozen Hermes contains: Python packages, Python, the broker and the libraries."""

import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg import pq

from hermes.appliance.bundle import BUILD_FILE, COMPONENTS_FILE
from hermes.appliance.components import Component, as_json, installed
from hermes.appliance.version import BUILT, build_facts

EXTRAS = ("cbor", "postgres", "sparkplug", "websockets")
COMMON = Path("/usr/share/common-licenses")
CHECKOUT = Path(__file__).parent.parent
DOCUMENTS = Path("/usr/share/doc")
LICENSES = {"mosquitto": "EPL-2.0 OR BSD-3-Clause"}  # the Eclipse Distribution License 1.0 is the BSD licence

# The libraries in the wheel psycopg_binary, which its makers build or take from CentOS: software, how the names of its
# files begin, where these have its version, and the Debian package of the same software, which has the licence.
WHEEL = "psycopg_binary"
WHEEL_LIBRARIES = (
    ("postgresql", ("libpq-",), None, "libpq5"),
    ("openssl", ("libssl-", "libcrypto-"), rb"OpenSSL ([\d.]+\w*) ", "libssl3*"),
    ("krb5", ("libkrb5-", "libkrb5support-", "libk5crypto-", "libgssapi_krb5-"), rb"krb5-([\d.]+)-", "libkrb5-3"),
    ("openldap", ("libldap-", "liblber-"), None, "libldap*2*"),
    ("cyrus-sasl-lib", ("libsasl2-",), None, "libsasl2-2"),
    ("keyutils-libs", ("libkeyutils-",), None, "libkeyutils1"),
    ("libcom_err", ("libcom_err-",), None, "libcom-err2"),
    ("glibc", ("libcrypt-",), None, "libc6"),
)


def files(binaries: Iterable[tuple[str, str, str]]) -> dict[str, Any]:
    """Return the JSON files of the bundle: facts for ``hermes --version``, components for ``hermes sbom``."""
    binaries = list(binaries)
    packages = sorted({*debian_packages(binaries), "mosquitto"})
    own, *python = installed(EXTRAS)
    own = Component(
        own.name, own.version, own.purl, "Apache-2.0", True, ((CHECKOUT / "LICENSE").read_text(),), own.kind
    )
    of_wheel = list(wheel_components(binaries))
    libraries = [*of_wheel, *(debian_component(package) for package in packages)]
    listed = [own, python_component(), bootloader(), *python, *libraries, *common_licenses(libraries)]
    versions = {each.name: each.version for each in of_wheel}
    built = {
        BUILT: f"{datetime.now(UTC):%Y-%m-%d}",
        "libpq": f"{versions['postgresql']} with OpenSSL {versions['openssl']} (bundled)",
        "mosquitto": f"{debian_version('mosquitto')} (bundled)",
    }
    facts = build_facts() | built
    return {BUILD_FILE: facts, COMPONENTS_FILE: as_json(listed)}


def debian_packages(binaries: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Yield the Debian package of each collected file that one has installed."""
    for _, source, _ in binaries:
        path = Path(source).resolve()
        for name in {str(path), str(path).removeprefix("/usr")}:  # dpkg has the names before /lib became /usr/lib
            done = subprocess.run(["dpkg-query", "--search", name], capture_output=True, text=True, check=False)
            if done.returncode == 0:
                yield done.stdout.partition(": ")[0].partition(":")[0]
                break


def debian_version(package: str) -> str:
    """Return the version of an installed Debian package, with its revision."""
    command = ["dpkg-query", "--show", "--showformat=${Version}\n", package]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]


def debian_component(package: str) -> Component:
    """Return an installed Debian package with its copyright file."""
    version = debian_version(package)
    text = Path(DOCUMENTS, package, "copyright").read_text("utf-8", errors="replace")
    names = dict.fromkeys(re.findall(r"^License:[ \t]*(\S.*)$", text, re.MULTILINE))
    return Component(
        name=package,
        version=version,
        purl=f"pkg:deb/debian/{quote(package)}@{quote(version, safe='')}",
        license=LICENSES.get(package, " and ".join(names)),
        expression=package in LICENSES,
        texts=(text,),
        kind="application" if package == "mosquitto" else "library",
    )


def wheel_components(binaries: Iterable[tuple[str, str, str]]) -> Iterator[Component]:
    """Yield the libraries that the wheel of psycopg contains. Ends the build at one that `WHEEL_LIBRARIES` lacks."""
    paths = {Path(source) for _, source, _ in binaries if Path(source).parent.name == f"{WHEEL}.libs"}
    listed = wheel_versions()
    for software, beginnings, pattern, package in WHEEL_LIBRARIES:
        own = sorted(path for path in paths if path.name.startswith(beginnings))
        paths -= set(own)
        if not own:
            continue
        found = next(filter(None, (re.search(pattern, path.read_bytes()) for path in own)), None) if pattern else None
        version = found[1].decode() if found else listed.get(software, "")
        of = sorted(path.parent.name for path in DOCUMENTS.glob(f"{package}/copyright"))
        if not of:
            sys.exit(f"make binary: the licence of {software} is missing; run: apt-get install libpq5")
        purl = f"pkg:generic/{software}" + (f"@{quote(version, safe='')}" if version else "")
        yield replace(debian_component(of[0]), name=software, version=version, purl=purl)
    if paths:
        sys.exit(f"make binary: add to WHEEL_LIBRARIES: {', '.join(sorted(path.name for path in paths))}")


def wheel_versions() -> dict[str, str]:
    """Return the versions that the wheel tells: of its libpq, and of what its makers list."""
    files = metadata.distribution(WHEEL).files or ()
    documents = [json.loads(file.read_text("utf-8")) for file in files if file.name.endswith(".cdx.json")]
    listed = {each["name"]: each["version"] for document in documents for each in document["components"]}
    return listed | {"postgresql": "{}.{}".format(*divmod(pq.version(), 10_000))}


def common_licenses(components: Iterable[Component]) -> Iterator[Component]:
    """Yield the licences that Debian's copyright files name by their path only."""
    texts = "\n".join(text for component in components for text in component.texts)
    for name in sorted(set(re.findall(rf"{COMMON}/([\w.-]*\w)", texts))):
        if (COMMON / name).is_file():
            yield Component(name, "", f"pkg:generic/{name}", name, False, ((COMMON / name).read_text("utf-8"),), "data")


def python_component() -> Component:
    """Return the interpreter."""
    version = sys.version.split()[0]
    text = Path(sysconfig.get_path("stdlib"), "LICENSE.txt").read_text("utf-8")
    return Component("python", version, f"pkg:generic/python@{version}", "PSF-2.0", True, (text,))


def bootloader() -> Component:
    """Return PyInstaller, of which the bundle contains the bootloader."""
    package = metadata.distribution("pyinstaller")
    texts = tuple(file.read_text("utf-8") for file in package.files or () if file.name == "COPYING.txt")
    license = "GPL-2.0-or-later WITH Bootloader-exception"
    return Component("pyinstaller", package.version, f"pkg:pypi/pyinstaller@{package.version}", license, True, texts)
