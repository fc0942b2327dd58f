"""The commands of the guide, run in order in a private root that has no Hermes yet."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.support.page_commands import commands
from tests.support.paths import CHECKOUT
from tests.support.private_root import ADDRESS, run_in_private_root
from tests.support.programs import needs
from tests.support.stand_in_package import stand_in_package

GUIDE = CHECKOUT / "docs" / "guide"
PERFORMANCE = CHECKOUT / "docs" / "reference" / "performance.md"
RETRY = "--retry 30 --retry-all-errors --retry-delay 1"
PAGE_OPENS = f"curl --silent --fail {RETRY} http://{ADDRESS}:8080/ | grep '<html' > /dev/null\n"
READY = f"curl --silent --fail {RETRY} http://127.0.0.1:8080/ready\n"
INSTALL = commands(GUIDE / "install.md", "Install")
TO_THE_REMOVAL = "\n".join(
    [
        INSTALL + PAGE_OPENS,
        commands(GUIDE / "install.md").removeprefix(INSTALL),
        "test ! -e /etc/hermes",
        "test ! -e /usr/bin/hermes",
    ]
)

RunPage = Callable[..., str]


def page(name: str) -> str:
    """Return the commands of a page that connects a broker: after a restart the link needs a moment."""
    return commands(GUIDE / name).replace("\nhermes status\n", f"\n{READY}hermes status\n")


@pytest.fixture
def run(tmp_path: Path) -> RunPage:
    """Run a script beside a package of Hermes; return the output."""
    needs("curl")
    package = stand_in_package(tmp_path)

    def run_script(script: str, more: Sequence[Path] = ()) -> str:
        return run_in_private_root(tmp_path, f"cp {package} .\n{script}", more=[package, *more])

    return run_script


def test_the_page_opens_on_another_machine_after_the_installation(run: RunPage) -> None:
    """At the address that `hermes init` prints; then every other command of the page works, to the removal."""
    assert re.search(r"http://[\w.-]+:8080/", run(TO_THE_REMOVAL))


@pytest.mark.slow
def test_the_page_opens_after_the_installation_of_the_real_package(tmp_path: Path) -> None:
    """The one of `make deb`, by the same commands."""
    needs("curl")
    packages = list((CHECKOUT / "dist").glob("hermes-gateway_*.deb"))
    if not packages:
        pytest.skip("no package in dist; run: make deb")
    run_in_private_root(tmp_path, f"cp {packages[0]} .\n{TO_THE_REMOVAL}", more=packages)


def test_the_readme_installs_as_the_guide_does() -> None:
    """By commands that the test above runs."""
    assert INSTALL.startswith(commands(CHECKOUT / "README.md", "In production"))


@pytest.mark.slow
def test_the_page_opens_after_an_installation_with_pip_without_a_network(tmp_path: Path) -> None:
    """From a folder of wheels that another machine has collected."""
    script = commands(GUIDE / "install.md", "Other ways to install", language="console")
    lines = [line for line in script.splitlines() if line]
    collect, offline = lines.pop(-2), lines.pop(-1)
    assert lines[1] == "/opt/hermes/bin/pip install ."
    lines[1] = offline
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    for name in ("hermes", "templates", "static", "setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        subprocess.run(["cp", "-r", str(CHECKOUT / name), str(checkout)], check=True)
    collected = subprocess.run(
        [sys.executable, *collect.split()[1:]], cwd=checkout, capture_output=True, text=True, timeout=300, check=False
    )
    if "No matching distribution" in collected.stderr and os.environ.get("CI") != "true":
        pytest.skip("the package index cannot be reached")
    assert collected.returncode == 0, collected.stderr
    script = "\n".join([f"cp -r {checkout}/wheels .", *lines, PAGE_OPENS])
    run_in_private_root(tmp_path, script, more=[checkout])


@pytest.mark.slow
def test_an_upgrade_can_be_rolled_back_and_a_backup_restored(run: RunPage, tmp_path: Path) -> None:
    """The settings, the secrets and a device account are the same after each step."""
    newer = stand_in_package(tmp_path, "0.2.0")
    upgrade = GUIDE / "upgrade.md"
    account = "hermes device --broker-state-dir /var/lib/hermes/broker"
    same = f"sha256sum --check --quiet /tmp/sums; {account} list | grep acme/climate-01\n"
    script = f"""{INSTALL}
        mkdir previous new; mv *.deb previous; cp {newer} new
        {account} add acme/climate-01
        find /etc/hermes /var/lib/hermes -type f | xargs sha256sum > /tmp/sums
        {commands(upgrade, "Back up")}
        {commands(upgrade, "Upgrade")}
        dpkg-query --show hermes-gateway
        {same}{PAGE_OPENS}
        {commands(upgrade, "Roll back")}
        dpkg-query --show hermes-gateway
        {same}{PAGE_OPENS}
        {commands(GUIDE / "install.md", "Uninstall")}
        cp previous/*.deb .
        {commands(upgrade, "Restore")}
        {same}{PAGE_OPENS}
        find /etc/hermes/jwt-secret -group hermes -perm -o=r -exec false {{}} +
    """
    output = run(script, more=[newer])
    versions = [line.split()[1] for line in output.splitlines() if line.startswith("hermes-gateway\t")]
    assert versions == ["0.2.0", "0.2.0~dev0"]


@pytest.mark.slow
@pytest.mark.parametrize("proxy", ["nginx", "caddy", "haproxy"])
def test_the_page_opens_behind_a_proxy(proxy: str, run: RunPage) -> None:
    """With the certificate and the commands of the page; then Hermes listens on loopback only."""
    needs(proxy)
    guide = GUIDE / "reverse-proxy.md"
    heading = {"nginx": "nginx", "caddy": "Caddy", "haproxy": "HAProxy"}[proxy]
    script = commands(guide, "A certificate") + commands(guide, heading)
    wait = f"curl --silent --fail {RETRY} -k https://{ADDRESS}/health\n"
    output = run(INSTALL + script + wait + commands(guide, "Close the direct way") + wait + commands(guide, "Check it"))
    assert "HTTP/1.1 101 Switching Protocols" in output


@pytest.mark.slow
def test_the_commands_of_troubleshooting_work(run: RunPage) -> None:
    """On a Hermes that runs without a broker: they may report a problem, but not a wrong argument."""
    trap = "set +e\ntrap 'case $? in 2|126|127) exit 9;; esac' ERR\n"
    output = run(INSTALL + PAGE_OPENS + trap + commands(GUIDE / "troubleshooting.md"))
    assert "0.0.0.0:8080" in output


@pytest.mark.slow
@pytest.mark.broker
def test_hermes_reads_beside_a_mosquitto_with_tls_passwords_and_access_rules(run: RunPage) -> None:
    """Its own user receives what a device publishes, and counts it."""
    needs("mosquitto")
    output = run(INSTALL + page("mosquitto.md"))
    assert output.count('{"value":21.4}\n') == 1
    assert "hermes_mqtt_received_total 1.0" in output


@pytest.mark.slow
@pytest.mark.broker
def test_a_device_publishes_to_the_embedded_broker_with_its_account(run: RunPage) -> None:
    """Over TLS, by the command that `hermes device add` prints."""
    needs("mosquitto")
    setup, _, add = page("device-accounts.md").rpartition("hermes device ")
    script = f"""{INSTALL}{setup}
        hermes device {add.strip()} > account
        mkdir -p ~/.config
        grep '^ *-P' account > ~/.config/mosquitto_pub
        grep '^ *mosquitto_pub' account | sed 's/GATEWAY/{ADDRESS}/; s|ca.pem|/etc/hermes/broker.pem|' > publish
        for attempt in $(seq 30); do
            sh publish || true
            curl --silent http://127.0.0.1:8080/metrics | grep '^hermes_mqtt_received_total [1-9]' && exit
            sleep 1
        done
    """
    assert "\nhermes_mqtt_received_total 1.0\n" in run(script)


@pytest.mark.slow
@pytest.mark.broker
def test_a_page_of_a_chirpstack_tenant_receives_an_uplink(run: RunPage) -> None:
    """With a token that has the tenant in `cs_tenant_id`."""
    needs("mosquitto")
    until_a_frame = r"\1 > frames & until grep device_name frames; do sleep 0.1; done; kill $!"
    script, number = re.subn(
        r"^timeout [0-9]+ (hermes listen .*)$", until_a_frame, page("chirpstack.md"), flags=re.MULTILINE
    )
    assert number == 1
    output = run(f"{INSTALL}systemctl start mosquitto\n{script}")
    (frame,) = [json.loads(line) for line in output.splitlines() if line.startswith('{"channel":"device"')]
    assert (frame["device_id"], frame["device_name"]) == ("70b3d57ed0000001", "Soil 1")
    assert (frame["series"], frame["data"]) == ("up/moisture", 31)


@pytest.mark.slow
@pytest.mark.broker
def test_the_settings_for_emqx_connect_to_a_broker_with_a_password(run: RunPage) -> None:
    """A mosquitto at the name of the page."""
    needs("mosquitto")
    broker = """
        echo '127.0.0.1 emqx.example.com' >> /etc/hosts
        install -m 640 -g hermes /dev/null /etc/hermes/mqtt-password
        echo secret > /etc/hermes/mqtt-password
        echo hermes:secret > /tmp/passwd
        mosquitto_passwd -U /tmp/passwd
        chown mosquitto: /tmp/passwd
        printf 'listener 1883\nallow_anonymous false\npassword_file /tmp/passwd\n' > /etc/mosquitto/conf.d/site.conf
        systemctl start mosquitto
    """
    assert "ready" in run(INSTALL + broker + page("emqx.md"))


def test_the_figures_for_sizing_are_the_measured_ones() -> None:
    """Each row names the scenario and the measure of the table in docs/reference/performance.md."""
    rows = re.findall(r"^\| (\S+) +\| Hermes +\| (.*?) +\| (\S+) +\|", PERFORMANCE.read_text(), re.MULTILINE)
    measured = {(scenario, measure): median for scenario, measure, median in rows}
    text = (GUIDE / "sizing.md").read_text()
    claims = re.findall(r"^\| .* \| ([\d.,]+)[^|]* \| `(\S+)`: (.*) \|$", text, re.MULTILINE)
    assert len(claims) == 13
    for figure, scenario, measure in claims:
        assert measured[scenario, measure] == figure, measure


@pytest.mark.slow
def test_hermes_speaks_tls_after_the_commands_of_the_page(run: RunPage) -> None:
    """With a certificate of a CA of its own, which is then replaced; without TLS the port says what to use."""
    needs("openssl")
    output = run(INSTALL + PAGE_OPENS + commands(GUIDE / "tls.md"))
    assert '{"status":"ok"}' in output
    assert "use https://" in output
    assert "at http://127.0.0.1:8080" in output
