"""The Dockerfile, and compose.yaml with the files that it names."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.settings.model import Settings
from tests.support.page_commands import commands
from tests.support.paths import CHECKOUT
from tests.support.private_root import ADDRESS, run_in_private_root
from tests.support.programs import needs, wait_until
from tests.support.stand_in_package import stand_in_package

PAGE = CHECKOUT / "docs" / "guide" / "container.md"
COMPOSE = (CHECKOUT / "compose.yaml").read_text()
DOCKERFILE = (CHECKOUT / "Dockerfile").read_text()
VARIABLE = re.compile(r"\b(HERMES_\w+)(?:: |=)(\S+)")
HEALTH = ["hermes", "status", "--quiet"]
BUILD_TIMEOUT_S = 600.0  # reached only in a test that fails
LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")  # the defaults are more than a container may have
# Options with which some machine can run a container: the default; and without systemd and cgroups v2.
RUNTIMES = ((), ("--runtime=runc", "--cgroup-manager=cgroupfs"))


def test_the_variables_are_settings() -> None:
    """Those of the image and of the compose file."""
    found = VARIABLE.findall(COMPOSE + DOCKERFILE)
    assert len(found) == 7
    assert {name.removeprefix("HERMES_").lower() for name, _ in found} <= set(Settings.model_fields)


def test_both_files_have_the_same_health_check() -> None:
    """The Dockerfile is enough for a container without the compose file."""
    (in_image,) = re.findall(r"^HEALTHCHECK .* CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    (in_compose,) = re.findall(r"^      test: (\[.*\])$", COMPOSE, re.MULTILINE)
    assert (json.loads(in_image), json.loads(in_compose)) == (HEALTH, ["CMD", *HEALTH])


def test_every_secret_is_defined_and_every_file_exists() -> None:
    """Each file below /run/secrets is a secret of the compose file; the others are in the repository."""
    defined = re.findall(r"^  ([\w-]+): \{file: \./secrets/\1\}$", COMPOSE, re.MULTILINE)
    used = {name for names in re.findall(r"secrets: \[(.*)\]", COMPOSE) for name in names.split(", ")}
    assert sorted(used) == sorted(defined)
    files = re.findall(r"\./(examples/[\w./]+):", COMPOSE)
    assert len(files) == 2
    named = DOCKERFILE + COMPOSE + "".join((CHECKOUT / name).read_text() for name in files)
    assert set(re.findall(r"/run/secrets/([\w-]+)", named)) == set(defined)
    assert re.findall(r"secrets/([\w-]+)$", commands(PAGE).replace("chmod 644 secrets/*", ""), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.broker
def test_the_three_programs_work_together(tmp_path: Path) -> None:
    """With the secrets of the page and the settings of the files, but without containers."""
    needs("mosquitto")
    needs("caddy")
    package = stand_in_package(tmp_path)
    variables = dict(VARIABLE.findall(DOCKERFILE + COMPOSE)) | {"STATE_DIRECTORY": "/var/lib/hermes"}
    script = f"""
        dpkg -i {package}
        echo '127.0.0.1 hermes mosquitto' >> /etc/hosts
        {commands(PAGE, "The secrets")}
        mkdir -p /run/secrets
        cp secrets/* /run/secrets
        mosquitto -d -c examples/container/mosquitto.conf
        install -d -o hermes /var/lib/hermes
        cd /var/lib/hermes
        export {" ".join(f"{name}={value}" for name, value in variables.items())}
        setpriv --reuid hermes --clear-groups hermes serve &
        SITE={ADDRESS} XDG_DATA_HOME=/tmp caddy run --adapter caddyfile --config ~/hermes/examples/container/Caddyfile &
        curl --silent --fail --retry 60 --retry-all-errors --retry-delay 1 -k https://{ADDRESS}/ready
    """
    assert '{"ready":true,"mqtt":"up"' in run_in_private_root(tmp_path, script, more=[package])


class Podman:
    """Runs podman with a storage of its own and with options that work on this machine."""

    def __init__(self, folder: Path) -> None:
        self._path = needs("podman")
        self._environment = os.environ | {"CONTAINERS_STORAGE_CONF": str(folder / "storage.conf")}
        lines = ['driver = "vfs"', f'graphroot = "{folder}/graph"', f'runroot = "{folder}/run"']
        (folder / "storage.conf").write_text("\n".join(["[storage]", *lines, ""]))
        self._options: tuple[str, ...] = ()

    def __call__(self, *words: str, timeout_s: float = BUILD_TIMEOUT_S) -> subprocess.CompletedProcess[str]:
        """Run one command of podman."""
        command = [self._path, *self._options, *words]
        return subprocess.run(
            command, env=self._environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def output(self, *words: str) -> str:
        """Run one command of podman, which must succeed; return its output."""
        done = self(*words)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def choose_runtime(self, image: str) -> None:
        """Find options with which this machine runs a container; skip the test if there are none."""
        for options in RUNTIMES:
            self._options = options
            done = self("run", "--rm", "--network=host", *LIMITS, image, "true")
            if done.returncode == 0:
                return
        if os.environ.get("CI") == "true":
            pytest.fail(done.stderr)
        pytest.skip(f"no container runs on this machine: {done.stderr.strip()}")


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[Podman]:
    """A podman with the image `base`, made from Debian packages; it is deleted at the end."""
    running = Podman(tmp_path)
    archive = tmp_path / "base.tar"
    (make_base,) = re.findall(r"^mmdebstrap (.*) base.tar$", PAGE.read_text(), re.MULTILINE)
    command = [needs("mmdebstrap"), *make_base.split(), str(archive)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False)
    if made.returncode and os.environ.get("CI") != "true":
        pytest.skip(f"no base: {made.stderr[-500:]}")
    assert made.returncode == 0, made.stderr
    running.output("import", str(archive), "base")
    running.choose_runtime("localhost/base")
    try:
        yield running
    finally:
        running("rm", "--all", "--force")
        running("rmi", "--all", "--force")
        shutil.rmtree(tmp_path / "graph", ignore_errors=True)


@pytest.mark.slow
def test_the_image_runs_without_rights(podman: Podman, tmp_path: Path) -> None:
    """With a read-only file system and no capability, as compose.yaml runs it; and with its embedded broker."""
    packages = list((CHECKOUT / "dist").glob("hermes-gateway_*.deb"))
    if not packages:
        pytest.skip("no package in dist; run: make deb")
    context = tmp_path / "context"
    (context / "dist").mkdir(parents=True)
    shutil.copy(packages[0], context / "dist")
    shutil.copy(CHECKOUT / "Dockerfile", context)
    subprocess.run(["sh", "-eu", "-c", commands(PAGE, "The secrets")], cwd=tmp_path, check=True, timeout=60)
    base = "--build-arg=BASE=localhost/base"
    podman.output("build", "--network=host", *LIMITS, "--format=docker", base, "--tag=hermes", str(context))
    rights = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--no-healthcheck")
    words = [f"--volume={tmp_path}/secrets/{name}:/run/secrets/{name}:ro" for name in ("jwt-secret", "api-keys")]
    words += ["--network=none", "--env=HERMES_MQTT_URL=embedded", *LIMITS, *rights]
    podman.output("run", "--detach", "--name=hermes", *words, "hermes")
    try:
        wait_until(lambda: podman("exec", "hermes", *HEALTH).returncode == 0, why="it is not healthy")
        status = podman.output("exec", "hermes", "hermes", "status")
        assert re.search(r"^ready +yes$", status, re.MULTILINE), status
        podman.output("stop", "--time=30", "hermes")
        assert podman.output("inspect", "--format={{.State.ExitCode}}", "hermes").strip() == "0"
    finally:
        podman("rm", "--force", "hermes")
