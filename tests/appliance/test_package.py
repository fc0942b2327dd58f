"""The Debian package in a fresh Debian that systemd boots: install, start, upgrade, remove, purge.

The steps run inside as one service; each writes its output and its exit code into a file. The tests read them.
"""

import platform
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from hermes import __version__
from hermes.appliance.debian import debian_version
from tests.support.programs import needs

pytestmark = pytest.mark.slow

CREATE_TIMEOUT_S = 600.0  # this one and the next are reached only in a test that fails
BOOT_TIMEOUT_S = 1_200.0
INCLUDED = "systemd,systemd-sysv,dbus,curl,iproute2"
UNIT = """\
[Unit]
Description=Steps of the test
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/bash /root/steps
[Install]
WantedBy=multi-user.target
"""
STEPS = r"""
cd /root/seen
export DEBIAN_FRONTEND=noninteractive

step() {  # NAME COMMAND...: store its output and its exit code
    local name=$1 code=0
    shift
    "$@" >"$name" 2>&1 || code=$?
    echo "$code" >"$name.code"
}
answers() {  # PATH: wait until Hermes answers 200, at most one minute
    curl --silent --show-error --fail --retry 120 --retry-delay 1 --retry-max-time 60 --retry-all-errors \
        "http://127.0.0.1:8080$1"
}
notify() {
    curl --silent --fail http://127.0.0.1:8080/notify -H "X-API-Key: $(head -n 1 /etc/hermes/api-keys)" \
        -H 'Content-Type: application/json' -d '{"user_id":"1","title":"t","message":"m","type":"info"}'
}
state() { systemctl show --property=ActiveState,UnitFileState,InvocationID,User hermes; }
folders() { ls -d /etc/hermes /etc/hermes/hermes.toml /var/lib/hermes /usr/lib/hermes /usr/bin/hermes; }
links() { find /etc/systemd/system -name 'hermes*'; }

step install dpkg --install /root/first.deb
step state-installed state
step user getent passwd hermes
step version hermes --version
step complete bash -c 'source /usr/share/bash-completion/completions/hermes; complete -p hermes'
step init hermes init --host 127.0.0.1
echo HERMES_MQTT_URL=embedded >>/etc/hermes/environment
step enable systemctl enable --now hermes
step ready answers /ready
step page answers /
step notify notify
step processes ps -eo user:20,args
step state-enabled state
echo 'log_level = "debug"' >>/etc/hermes/hermes.toml
cp /lib/systemd/system/hermes.service /etc/systemd/system/
step upgrade dpkg --install /root/second.deb
rm /etc/systemd/system/hermes.service
systemctl daemon-reload
step ready-upgraded answers /ready
step state-upgraded state
step drained journalctl --unit hermes --grep 'stopping' --output cat
step conffile tail -n 1 /etc/hermes/hermes.toml
step remove dpkg --remove hermes-gateway
step state-removed state
step folders-removed folders
step again dpkg --install /root/second.deb
step state-again state
step purge dpkg --purge hermes-gateway
step folders-purged folders
step links links
step journal journalctl --unit hermes --output cat
"""


@dataclass(frozen=True)
class Seen:
    """What the steps wrote."""

    folder: Path

    def output(self, step: str) -> str:
        """Return the output of a step that succeeded."""
        text = (self.folder / step).read_text(errors="replace")
        assert self.code(step) == 0, f"{step}: {text}\n{(self.folder / 'journal').read_text(errors='replace')}"
        return text

    def code(self, step: str) -> int:
        """Return the exit code of a step."""
        return int((self.folder / f"{step}.code").read_text())

    def state(self, step: str) -> Mapping[str, str]:
        """Return the properties of the unit that `systemctl show` printed."""
        return dict(re.findall(r"^(\w+)=(.*)$", self.output(f"state-{step}"), re.MULTILINE))


def debian_sources() -> list[str]:
    """Return the files with the sources of packages of this machine's own Debian."""
    release = platform.freedesktop_os_release()
    if release["ID"] != "debian":
        pytest.skip("the sources of Debian's packages are unknown")
    apt = Path("/etc/apt")
    files = [apt / "sources.list", *apt.glob("sources.list.d/*.list"), *apt.glob("sources.list.d/*.sources")]
    words = rf"^(?!#).*\b{release['VERSION_CODENAME']}\b"
    return [str(file) for file in files if file.is_file() and re.search(words, file.read_text(), re.MULTILINE)]


@pytest.fixture(scope="module")
def debian_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Create a Debian with systemd."""
    needs("systemd-nspawn")
    root = tmp_path_factory.mktemp("debian") / "root"
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    command = [needs("mmdebstrap"), "--quiet", "--variant=minbase", f"--include={INCLUDED},procps", codename, str(root)]
    subprocess.run([*command, *debian_sources()], check=True, capture_output=True, timeout=CREATE_TIMEOUT_S)
    yield root
    shutil.rmtree(root)


def newer(package: Path, target: Path) -> None:
    """Write the same package with a higher version."""
    folder = target.with_suffix("")
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(folder)], check=True)
    control = folder / "DEBIAN" / "control"
    control.write_text(re.sub(r"^(Version: .*)$", r"\1+1", control.read_text(), flags=re.MULTILINE))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(folder), str(target)], check=True)
    shutil.rmtree(folder)


def boot(debian_root: Path, steps: str, *, package: Path) -> Seen:
    """Boot the Debian, which performs the steps and powers off."""
    home = debian_root / "root"
    shutil.copy(package, home / "first.deb")
    (home / "seen").mkdir()
    (home / "steps").write_text(steps)
    units = debian_root / "etc/systemd/system"
    (units / "steps.service").write_text(UNIT)
    (units / "multi-user.target.wants").mkdir(exist_ok=True)
    (units / "multi-user.target.wants" / "steps.service").symlink_to("../steps.service")
    command = [needs("systemd-nspawn"), "--quiet", "--register=no", "--keep-unit", "--private-network", "--boot"]
    done = subprocess.run(
        [*command, f"--directory={debian_root}"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BOOT_TIMEOUT_S,
        check=False,
    )
    assert (home / "seen" / "journal.code").is_file(), done.stdout + done.stderr
    return Seen(home / "seen")


@pytest.fixture(scope="module")
def seen(package: Path, debian_root: Path) -> Seen:
    """The steps of this file, with a second package of a higher version."""
    newer(package, debian_root / "root" / "second.deb")
    return boot(debian_root, STEPS, package=package)


def test_the_installation_starts_nothing(seen: Seen) -> None:
    """It creates the user of the service; the administrator creates the secrets first."""
    seen.output("install")
    state = seen.state("installed")
    assert (state["ActiveState"], state["UnitFileState"]) == ("inactive", "disabled")
    assert re.fullmatch(r"hermes:x:\d+:\d+:Hermes gateway:/var/lib/hermes:\S*nologin\n", seen.output("user"))
    assert seen.output("version").startswith(f"hermes {__version__}\n")
    assert "_hermes" in seen.output("complete")


def test_the_service_runs_after_init_and_enable(seen: Seen) -> None:
    """With the bundled broker; it serves the page and accepts notifications."""
    seen.output("init")
    seen.output("enable")
    seen.output("ready")
    assert "<title>" in seen.output("page")
    assert '"sent":' in seen.output("notify")
    assert re.search(r"^\S+ +/usr/lib/hermes/_internal/broker/mosquitto ", seen.output("processes"), re.MULTILINE)
    state = seen.state("enabled")
    assert (state["ActiveState"], state["UnitFileState"]) == ("active", "enabled")


def test_an_upgrade_keeps_the_configuration_and_restarts(seen: Seen) -> None:
    """A unit of an earlier manual installation is named with the command that removes it."""
    shown = seen.output("upgrade")
    assert "run: rm /etc/systemd/system/hermes.service && systemctl daemon-reload" in shown
    assert "/etc/systemd/system/hermes.service" not in seen.output("install")
    assert seen.output("conffile") == 'log_level = "debug"\n'
    seen.output("ready-upgraded")
    assert seen.state("upgraded")["ActiveState"] == "active"
    assert seen.state("upgraded")["InvocationID"] != seen.state("enabled")["InvocationID"]
    assert "stopping" in seen.output("drained")


def test_a_removal_keeps_configuration_and_state(seen: Seen) -> None:
    """The service is stopped; a new installation is enabled as before."""
    seen.output("remove")
    assert seen.state("removed")["ActiveState"] == "inactive"
    found = (seen.folder / "folders-removed").read_text()
    for path in ("/etc/hermes", "/etc/hermes/hermes.toml", "/var/lib/hermes"):
        assert f"{path}\n" in found
    assert "/usr/lib/hermes\n" not in found
    seen.output("again")
    assert seen.state("again")["UnitFileState"] == "enabled"


def test_a_purge_removes_everything(seen: Seen) -> None:
    """Configuration, state and the links of systemd."""
    seen.output("purge")
    assert re.findall(r"^/", (seen.folder / "folders-purged").read_text(), re.MULTILINE) == []
    assert seen.output("links") == ""


def test_lintian_finds_nothing(package: Path) -> None:
    """That the overrides do not explain."""
    command = [needs("lintian"), "--allow-root", "--fail-on", "error,warning", str(package)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=CREATE_TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout


def test_the_package_has_the_version_of_hermes(package: Path) -> None:
    """In Debian's form."""
    command = ["dpkg-deb", "--field", str(package), "Version"]
    assert (
        subprocess.run(command, capture_output=True, text=True, check=True).stdout == f"{debian_version(__version__)}\n"
    )
