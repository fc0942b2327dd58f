"""``hermes check``: what it looks at, and what it says must be mended."""

import asyncio
import stat
from pathlib import Path

import pytest

from hermes.broker.accounts import AccountsFile, parse_account
from hermes.cli.check import PRIVATE_FILES, check
from tests.support.brokers import Peer, mosquitto, scripted
from tests.support.certificates import LOOPBACK, Authority
from tests.support.gateways import make_settings
from tests.support.programs import free_port

Captured = pytest.CaptureFixture[str]


def checked(capsys: Captured, **given: object) -> tuple[int, list[str]]:
    """The exit code, and the lines."""
    code = asyncio.run(check(make_settings(**given)))
    return code, capsys.readouterr().out.splitlines()


def test_a_good_set_up_is_ready_to_serve(tmp_path: Path, key_file: Path, capsys: Captured) -> None:
    """It names what it looked at."""
    key_file.chmod(0o600)
    with mosquitto(tmp_path) as broker:
        code, lines = checked(capsys, api_key_file=key_file, mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
    assert (code, lines[-1]) == (0, "ready to serve")
    assert f"ok      {key_file} (--api-key-file) cannot be read by others" in lines
    assert "ok      topics tenants/+/devices/+/#" in lines
    assert "with    no user, no password" in lines
    assert "with    keepalive 30 s, QoS 0, receive maximum 65535" in lines
    assert "with    client id made anew, clean start" in lines
    assert f"ok      broker mqtt://127.0.0.1:{broker.port} takes every subscription" in lines


@pytest.mark.parametrize(("url", "word"), [("off", "MQTT is off"), ("embedded", "mosquitto 2")])
def test_without_a_broker_elsewhere_it_says_where_data_comes_from(url: str, word: str, capsys: Captured) -> None:
    """From nowhere, or from the program that it found."""
    code, lines = checked(capsys, mqtt_url=url)
    assert code == 0
    assert any(word in line for line in lines)


def test_every_setting_of_the_link_is_told(tmp_path: Path, capsys: Captured) -> None:
    """The user and where the password is, the certificates, the session, which it leaves alone."""
    authority = Authority(tmp_path)
    signed = authority.sign("gateway", LOOPBACK)
    signed.key.chmod(0o600)
    password = tmp_path / "password"
    password.write_text("hush")
    password.chmod(0o600)
    lines = [f"certfile {signed.certificate}", f"keyfile {signed.key}", f"cafile {authority.certificate}"]
    with mosquitto(tmp_path, *lines, "require_certificate true") as broker:
        code, told = checked(
            capsys,
            mqtt_url=f"mqtts://127.0.0.1:{broker.port}",
            mqtt_username="ana",
            mqtt_password_file=password,
            mqtt_ca_file=authority.certificate,
            mqtt_cert_file=signed.certificate,
            mqtt_key_file=signed.key,
            mqtt_alpn="mqtt",
            mqtt_clean_start="false",
            mqtt_session_expiry_s="60",
            mqtt_client_id="gateway1",
            mqtt_qos="1",
            mqtt_keepalive_s="7",
            mqtt_receive_maximum="20",
        )
    assert code == 0, told
    assert f"ok      {password} (--mqtt-password-file) cannot be read by others" in told
    assert f"ok      {signed.key} (--mqtt-key-file) cannot be read by others" in told
    assert f"with    user ana, the password of {password}" in told
    tls = f"TLS, trusting {authority.certificate}, showing {signed.certificate} with key {signed.key}"
    assert f"with    {tls}, asking for mqtt" in told
    assert "with    keepalive 7 s, QoS 1, receive maximum 20" in told
    assert "with    client id gateway1-check, clean start; the session kept for gateway1 is left alone" in told


@pytest.mark.parametrize("name", PRIVATE_FILES)
def test_a_secret_file_that_others_can_read_is_a_fault(name: str, tmp_path: Path, capsys: Captured) -> None:
    """Each of them."""
    authority = Authority(tmp_path)
    signed = authority.sign("gateway", LOOPBACK)
    path = signed.key
    more: dict[str, dict[str, object]] = {
        "mqtt_password_file": {"mqtt_username": "ana", "mqtt_url": f"mqtt://127.0.0.1:{free_port()}"},
        "mqtt_key_file": {"mqtt_cert_file": signed.certificate, "mqtt_url": f"mqtts://127.0.0.1:{free_port()}"},
        "broker_key_file": {
            "broker_cert_file": signed.certificate,
            "mqtt_url": "embedded",
            "broker_listen": f"127.0.0.1:{free_port()}",
            "broker_state_dir": tmp_path / "broker",
        },
        "jwt_secret_file": {"jwt_secret": None},
    }
    given = more.get(name, {})
    if name == "jwt_secret_file":
        path = tmp_path / "secret"
        path.write_text("thirty-two bytes at least make a secret")
    path.chmod(0o644)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 0.1)
        _, lines = checked(capsys, **{name: path}, **given)
        assert f"mend    {path} can be read by every user of this machine: chmod 600 {path}" in lines
        path.chmod(0o640)
        _, lines = checked(capsys, **{name: path}, **given)
    assert f"ok      {path} (--{name.replace('_', '-')}) cannot be read by others" in lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_of_accounts_that_others_can_use_is_a_fault(tmp_path: Path, capsys: Captured) -> None:
    """Who reads it has the hashes, and who writes it makes accounts."""
    accounts = AccountsFile(tmp_path / "broker")
    accounts.add(parse_account("acme/d1"))
    given = {
        "mqtt_url": "embedded",
        "broker_listen": f"127.0.0.1:{free_port()}",
        "broker_state_dir": accounts.folder,
    }
    assert checked(capsys, **given)[0] == 0
    accounts.path.chmod(0o644)
    accounts.folder.chmod(0o777)
    code, lines = checked(capsys, **given)
    assert code == 1
    assert f"mend    {accounts.path} can be read by every user of this machine: chmod 600 {accounts.path}" in lines
    assert (
        f"mend    {accounts.folder} can be written by every user of this machine: chmod 700 {accounts.folder}" in lines
    )


def refusing(peer: Peer) -> None:
    """Takes the client, and refuses what it asks for."""
    version = peer.accept()
    kind, _ = peer.read()
    if kind == 8:
        peer.send(9, b"\0\1\0\x87")
    assert version == 5
    peer.until_closed()


def test_a_refused_subscription_is_named(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its topic; on demand none is tried, and the line says so."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 2.0)
    with scripted(refusing) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        code, lines = checked(capsys, mqtt_url=url)
        assert code == 1
        assert any(line.startswith(f"mend    broker {url}: subscription refused") for line in lines)
        code, lines = checked(capsys, mqtt_url=url, mqtt_on_demand="true")
    assert code == 0
    assert any("lets Hermes in; subscriptions are not tried" in line for line in lines)


def test_a_broker_that_says_nothing_is_a_fault(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the wait has an end."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 0.2)
    with scripted(Peer.until_closed) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        code, lines = checked(capsys, mqtt_url=url)
    assert code == 1
    assert f"mend    broker {url}: no answer in 0.2 s" in lines


@pytest.mark.usefixtures("complaints")
def test_what_arrives_during_the_check_is_nobodys_business(tmp_path: Path, capsys: Captured) -> None:
    """Whatever a template would make of it."""
    with mosquitto(tmp_path) as broker:
        broker.publish("spBv1.0/plant/NBIRTH/edge1", b"no Sparkplug", "-r")
        broker.publish("plain/d1", b"no JSON", "-r")
        url = f"mqtt://127.0.0.1:{broker.port}"
        code, lines = checked(capsys, mqtt_url=url, topics="sparkplug,plain/{device_id};tenant_id=/t")
    assert (code, lines[-1]) == (0, "ready to serve")


def test_topics_that_cannot_be_fed_are_faults(capsys: Captured) -> None:
    """Unless MQTT is off anyway."""
    topics = "a/{tenant_id}/{device_id},a/x/{device_id...};tenant_id=q"
    code, lines = checked(capsys, mqtt_url="embedded", mqtt_on_demand="true", topics=topics)
    assert code == 1
    assert any(line.startswith("mend    --mqtt-on-demand needs topics that do not overlap") for line in lines)
    assert checked(capsys, mqtt_url="off", mqtt_on_demand="true", topics=topics)[0] == 0


def test_a_missing_mosquitto_is_a_fault_where_it_would_be_embedded(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the one line to run."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("hermes.broker.mosquitto.EXTRA_PATH", "/nowhere")
    code, lines = checked(capsys, mqtt_url="embedded")
    assert code == 1
    assert any("apt-get install mosquitto" in line for line in lines)
