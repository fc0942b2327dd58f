"""Build the Debian package around dist/hermes-onedir."""

import argparse
import gzip
import os
import shutil
import subprocess
import sys
from email.utils import formatdate
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
sys.path.insert(0, str(CHECKOUT))

from hermes import __version__  # noqa: E402
from hermes.appliance.completion import completions  # noqa: E402
from hermes.appliance.conffile import commented_file  # noqa: E402
from hermes.appliance.debian import changelog, debian_version  # noqa: E402
from hermes.appliance.manual import manual_pages  # noqa: E402
from hermes.cli.main import make_parser  # noqa: E402

NAME = "hermes-gateway"
DEBIAN = Path(__file__).with_name("debian")
ONEDIR = CHECKOUT / "dist" / "hermes-onedir"
PROXIES = ("nginx", "caddy", "haproxy", "apache")  # configurations that docs/guide/reverse-proxy.md copies
COMPLETION = {
    "bash": "usr/share/bash-completion/completions/hermes",
    "fish": "usr/share/fish/vendor_completions.d/hermes.fish",
    "zsh": "usr/share/zsh/vendor-completions/_hermes",
}


def main() -> None:
    """Write dist/hermes-gateway_VERSION_ARCH.deb."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default=debian_version(__version__), help="version of the package")
    version = parser.parse_args().version
    if not (ONEDIR / "hermes").is_file():
        sys.exit(f"{ONEDIR} is missing; run: make binary")
    built_s = int(
        os.environ.get("SOURCE_DATE_EPOCH") or _output("git", "-C", str(CHECKOUT), "log", "-1", "--format=%ct")
    )
    root = CHECKOUT / "build" / "deb"
    shutil.rmtree(root, ignore_errors=True)
    program_files(root)
    documents(root, version, formatdate(built_s, localtime=False))
    control(root, version)
    architecture = _output("dpkg", "--print-architecture")
    target = CHECKOUT / "dist" / f"{NAME}_{version}_{architecture}.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(root), str(target)]
    subprocess.run(command, check=True, env=os.environ | {"SOURCE_DATE_EPOCH": str(built_s)})


def program_files(root: Path) -> None:
    """Copy the program, its unit, its user and its configuration."""
    program = root / "usr/lib/hermes"
    shutil.copytree(ONEDIR, program, symlinks=True)
    for path in (program, *program.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.name in ("hermes", "mosquitto") else 0o644)
    (root / "usr/bin").mkdir()
    (root / "usr/bin/hermes").symlink_to("../lib/hermes/hermes")
    unit = (CHECKOUT / "hermes.service").read_text("utf-8")
    # an older Hermes in /opt/hermes or /usr/local must not be found first
    _write(root / "lib/systemd/system/hermes.service", unit.replace("/usr/bin/env hermes ", "/usr/bin/hermes "))
    _write(root / "usr/lib/sysusers.d" / f"{NAME}.conf", (DEBIAN / "sysusers.conf").read_text("utf-8"))
    _write(root / "etc/hermes/hermes.toml", commented_file())
    for shell, script in completions(make_parser()).items():
        _write(root / COMPLETION[shell], script)


def documents(root: Path, version: str, date: str) -> None:
    """Write the manual pages and the files of /usr/share/doc."""
    for name, page in manual_pages(make_parser()).items():
        _compress(root / "usr/share/man/man1" / f"{name}.gz", page)
    folder = root / "usr/share/doc" / NAME
    _write(folder / "copyright", (DEBIAN / "copyright").read_text("utf-8"))
    _compress(folder / "changelog.gz", changelog(NAME, version, date))
    _compress(folder / "NEWS.md.gz", (CHECKOUT / "CHANGELOG.md").read_text("utf-8"))
    _compress(folder / "third-party-licenses.txt.gz", _output(str(ONEDIR / "hermes"), "licenses"))
    for name in PROXIES:
        for path in sorted((CHECKOUT / "examples" / name).iterdir()):
            _write(folder / "examples" / name / path.name, path.read_text("utf-8"))
    _write(root / "usr/share/lintian/overrides" / NAME, (DEBIAN / "lintian-overrides").read_text("utf-8"))


def control(root: Path, version: str) -> None:
    """Write the control file, the list of configuration files, the checksums and the maintainer scripts."""
    folder = root / "DEBIAN"
    size_kib = sum(path.lstat().st_size for path in root.rglob("*")) // 1024
    values = {
        "VERSION": version,
        "ARCHITECTURE": _output("dpkg", "--print-architecture"),
        "LIBC": _output("dpkg-query", "--show", "--showformat=${Version}", "libc6").partition("-")[0],
        "SIZE": str(size_kib),
    }
    text = (DEBIAN / "control").read_text("utf-8")
    for name, value in values.items():
        text = text.replace(f"@{name}@", value)
    files = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    sums = _output("md5sum", *(str(path) for path in files if path.parts[0] != "etc"), folder=root)
    _write(folder / "control", text)
    _write(folder / "conffiles", "/etc/hermes/hermes.toml\n")
    _write(folder / "md5sums", sums + "\n")
    for script in ("postinst", "prerm", "postrm"):
        _write(folder / script, (DEBIAN / script).read_text("utf-8"))
        (folder / script).chmod(0o755)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    path.chmod(0o644)


def _compress(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
    path.chmod(0o644)


def _output(*command: str, folder: Path | None = None) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd=folder).stdout.strip()


if __name__ == "__main__":
    os.umask(0o022)
    main()
