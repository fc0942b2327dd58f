"""``hermes check``: what it tests, and which problems it reports."""

import asyncio
import os
import socket
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hermes.broker.accounts import AccountsFile, parse_account
from hermes.cli.check import _expiry_problems, check
from hermes.cli.main import main
from hermes.errors import ConfigError
from hermes.settings.flags import settings_of
from hermes.settings.model import Settings
from hermes.testing import gateway_settings
from tests.support.brokers import Peer, mosquitto, scripted
from tests.support.certificates import LOOPBACK, Authority
from tests.support.creds_files import CREDS, USER, nkey
from tests.support.gateways import SECRET
from tests.support.programs import free_port, hermes

pytestmark = pytest.mark.broker

Captured = pytest.CaptureFixture[str]


def checked(capsys: Captured, **given: object) -> tuple[int, list[str]]:
    """Return the exit code and the lines."""
    code = asyncio.run(check(gateway_settings(**given)))
    return code, capsys.readouterr().out.splitlines()


def test_a_good_set_up_is_ready_to_serve(tmp_path: Path, key_file: Path, capsys: Captured) -> None:
    """It names what it tested."""
    key_file.chmod(0o600)
    with mosquitto(tmp_path) as broker:
        code, lines = checked(
            capsys, api_key_file=key_file, mqtt_url=f"mqtt://127.0.0.1:{broker.port}", origins=("https://app.example",)
        )
    assert (code, lines[-1]) == (0, "ready to serve")
    assert "ok      pages of https://app.example may open sockets: --origin (HERMES_ORIGINS)" in lines
    assert f"ok      {key_file} (--api-key-file) cannot be read by others" in lines
    assert "ok      topics tenants/+/devices/+/#" in lines
    assert "info    no user, no password" in lines
    assert "info    keepalive 30 s, QoS 0, receive maximum 65535" in lines
    assert "info    random client id, clean start" in lines
    assert f"ok      broker mqtt://127.0.0.1:{broker.port} grants every subscription" in lines


@pytest.mark.parametrize(("url", "word"), [("off", "MQTT is off"), ("embedded", "mosquitto 2")])
def test_without_an_external_broker_it_names_the_source_of_data(url: str, word: str, capsys: Captured) -> None:
    """None, or the program that it found."""
    code, lines = checked(capsys, mqtt_url=url)
    assert code == 0
    assert any(word in line for line in lines)


def test_every_parameter_of_the_link_is_printed(tmp_path: Path, capsys: Captured) -> None:
    """The user and the source of the password, the certificates, the session, which it does not touch."""
    authority = Authority(tmp_path)
    signed = authority.sign("gateway", LOOPBACK)
    signed.key.chmod(0o600)
    password = tmp_path / "password"
    password.write_text("hush")
    password.chmod(0o600)
    tls_files = [f"certfile {signed.certificate}", f"keyfile {signed.key}", f"cafile {authority.certificate}"]
    with mosquitto(tmp_path, *tls_files, "require_certificate true") as broker:
        code, lines = checked(
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
    assert code == 0, lines
    assert f"ok      {password} (--mqtt-password-file) cannot be read by others" in lines
    assert f"ok      {signed.key} (--mqtt-key-file) cannot be read by others" in lines
    assert f"info    user ana, the password of {password}" in lines
    tls = f"TLS, trusting {authority.certificate}, presenting {signed.certificate} with key {signed.key}"
    assert f"info    {tls}, ALPN mqtt" in lines
    assert "info    keepalive 7 s, QoS 1, receive maximum 20" in lines
    assert "info    client id gateway1-check, clean start; the persistent session of gateway1 is not touched" in lines


@pytest.mark.parametrize("name", [setting.name for setting in settings_of(Settings) if setting.flag.private])
def test_a_secret_file_that_others_can_read_is_a_problem(name: str, tmp_path: Path, capsys: Captured) -> None:
    """Each file that contains one."""
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
        "tls_key": {"tls_cert": signed.certificate},
        "jwt_secret_file": {"jwt_secret": None},
        "inbox_password_file": {"inbox": f"postgresql://hermes@127.0.0.1:{free_port()}/hermes"},
        "nats_creds_file": {"nats_url": f"nats://127.0.0.1:{free_port()}"},
    }
    given = more.get(name, {})
    texts = {
        **dict.fromkeys(("jwt_secret_file", "api_key_file"), "thirty-two-bytes-at-least-make-a-secret"),
        "inbox_password_file": "password",
        "nats_creds_file": CREDS.format(jwt="a.b.c", seed=nkey(USER)),
    }
    if name in texts:
        path = tmp_path / "secret"
        path.write_text(texts[name])
    path.chmod(0o644)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 0.1)
        with pytest.raises(ConfigError, match=f"^{path} can be read by every user of this machine: chmod o= {path};"):
            checked(capsys, **{name: path}, **given)
        path.chmod(0o640)
        _, lines = checked(capsys, **{name: path}, **given)
    assert f"ok      {path} (--{name.replace('_', '-')}) cannot be read by others" in lines
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_folder_of_accounts_that_others_can_use_is_a_problem(tmp_path: Path, capsys: Captured) -> None:
    """Others could read the hashes, or add accounts."""
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
    assert f"FAIL    {accounts.path} can be read by every user of this machine: chmod o= {accounts.path}" in lines
    assert (
        f"FAIL    {accounts.folder} can be written by every user of this machine: chmod 700 {accounts.folder}" in lines
    )


def refusing(peer: Peer) -> None:
    """Accept the client, and refuse its subscription."""
    version = peer.accept()
    kind, _ = peer.read()
    if kind == 8:
        peer.send(9, b"\0\1\0\x87")
    assert version == 5
    peer.until_closed()


def test_a_refused_subscription_is_reported(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with its topic; on demand none is tested, and the line says so."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 60.0)
    with scripted(refusing) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        code, lines = checked(capsys, mqtt_url=url)
        assert code == 1
        assert any(line.startswith(f"FAIL    broker {url}: subscription refused") for line in lines)
        code, lines = checked(capsys, mqtt_url=url, mqtt_on_demand="true")
    assert code == 0
    assert any("accepts the connection; with --mqtt-on-demand no subscription was tested" in line for line in lines)


def test_a_silent_broker_is_a_problem(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait has an end, and one problem is not called "1 problems"."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 0.2)
    with scripted(Peer.until_closed) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        code, lines = checked(capsys, mqtt_url=url)
    assert code == 1
    assert f"FAIL    broker {url}: no answer in 0.2 s" in lines
    assert lines[-1] == "1 problem"


def test_a_broker_that_is_down_is_reported_at_once(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """One attempt decides, not the time limit."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 3_600.0)
    code, lines = checked(capsys, mqtt_url=f"mqtt://127.0.0.1:{free_port()}")
    assert code == 1
    assert any(line.startswith("FAIL    broker") and "cannot be reached" in line for line in lines)


@pytest.mark.parametrize("refusal", [b"\0\1", b"\0\x84\0", b""], ids=["3.1.1", "5", "silent"])
def test_a_broker_without_mqtt_5_is_tested_with_3_1_1(
    refusal: bytes, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it refuses version 5, or closes without an answer."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 60.0)
    versions: list[int] = []

    def serve(peer: Peer) -> None:
        versions.append(peer.read_connect())
        if versions[-1] == 5:
            if refusal:
                peer.send(2, refusal)
                peer.until_closed()
            return
        peer.send(2, b"\0\0")
        assert peer.grant(4)
        peer.until_closed()

    with scripted(*[serve] * 3) as broker:
        code, lines = checked(capsys, mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
    assert (code, lines[-1]) == (0, "ready to serve")
    assert versions[-1] == 4


def test_a_broker_that_closes_every_connection_is_a_problem(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """With either version."""
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 60.0)
    with scripted(*[lambda peer: None] * 5) as broker:
        code, lines = checked(capsys, mqtt_url=f"mqtt://127.0.0.1:{broker.port}")
    assert code == 1
    assert any("the broker closed the connection without an answer" in line for line in lines)


@pytest.mark.usefixtures("complaints")
def test_messages_that_arrive_during_the_check_are_discarded(tmp_path: Path, capsys: Captured) -> None:
    """Whatever a template would make of them."""
    with mosquitto(tmp_path) as broker:
        broker.publish("spBv1.0/plant/NBIRTH/edge1", b"no Sparkplug", "-r")
        broker.publish("plain/d1", b"no JSON", "-r")
        url = f"mqtt://127.0.0.1:{broker.port}"
        code, lines = checked(capsys, mqtt_url=url, topics="sparkplug,plain/{device_id};tenant_id=/t")
    assert (code, lines[-1]) == (0, "ready to serve")


def test_topics_that_cannot_be_subscribed_to_are_problems(capsys: Captured) -> None:
    """Unless MQTT is off."""
    topics = "a/{tenant_id}/{device_id},a/x/{device_id...};tenant_id=q"
    code, lines = checked(capsys, mqtt_url="embedded", mqtt_on_demand="true", topics=topics)
    assert code == 1
    assert any(line.startswith("FAIL    --mqtt-on-demand needs topics that do not overlap") for line in lines)
    assert checked(capsys, mqtt_url="off", mqtt_on_demand="true", topics=topics)[0] == 0


def test_a_missing_mosquitto_is_a_problem_if_it_is_to_be_embedded(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command that installs it."""
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("hermes.broker.mosquitto.EXTRA_PATH", "/nowhere")
    code, lines = checked(capsys, mqtt_url="embedded")
    assert code == 1
    assert any("apt-get install mosquitto" in line for line in lines)


@pytest.mark.slow
def test_a_broker_whose_acl_hides_the_data_is_noticed(tmp_path: Path, capsys: Captured) -> None:
    """mosquitto grants every subscription and then delivers nothing; only a message that comes back is a proof."""
    acl = tmp_path / "acl"
    topics = ("a/{tenant_id}/{device_id}", "b/{tenant_id}/{device_id}")
    for rules, delivered in (("topic readwrite #", {"a", "b"}), ("topic readwrite a/#\ntopic write b/#", {"a"})):
        acl.write_text(f"{rules}\n")
        with mosquitto(tmp_path, f"acl_file {acl}") as broker:
            given: dict[str, object] = {"mqtt_url": f"mqtt://127.0.0.1:{broker.port}", "topics": topics}
            code = asyncio.run(check(gateway_settings(**given), publish=True))
            lines = capsys.readouterr().out.splitlines()
            assert code == 0
            for name in ("a", "b"):
                seen = any(line.startswith("ok") and f"delivers messages of {name}/+/+" in line for line in lines)
                hidden = any(line.startswith("warn") and f"no test message of {name}/+/+" in line for line in lines)
                assert (seen, hidden) == ((name in delivered), (name not in delivered)), lines
            asyncio.run(check(gateway_settings(**given)))
            lines = capsys.readouterr().out.splitlines()
            assert sum("it is unknown whether the broker's ACL" in line for line in lines) == 2


# Tornado leaves the socket that it could not bind to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")
def test_a_running_hermes_on_the_port_is_recognised(capsys: Captured) -> None:
    """It is no problem; another program is one."""
    with hermes("serve", "--port", "0", "--mqtt-url", "off", HERMES_JWT_SECRET=SECRET) as program:
        port = int(program.url.rpartition(":")[2])
        program.wait_for("listening on")
        code, lines = checked(capsys, mqtt_url="off", port=port)
    assert code == 0
    assert f"ok      a Hermes is running at http://127.0.0.1:{port}; hermes status shows its state" in lines
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=lambda: other.accept()[0].close(), daemon=True).start()
        code, lines = checked(capsys, mqtt_url="off", port=other.getsockname()[1])
    assert code == 1
    assert any(line.startswith("FAIL") and "in use by another program" in line for line in lines)


def test_listening_on_loopback_only_is_a_warning(capsys: Captured, key_file: Path) -> None:
    """Only browsers on this machine can open the console."""
    key_file.chmod(0o600)
    for host, warned in (("127.0.0.1", True), ("::1", True), ("0.0.0.0", False)):
        _, lines = checked(capsys, mqtt_url="off", host=host, api_key_file=key_file)
        assert any(line.startswith("warn") and "only: browsers of other machines" in line for line in lines) is warned


def test_settings_only_uses_neither_port_nor_network(tmp_path: Path, capsys: Captured) -> None:
    """The exit code is that of serve, 2, for every problem."""
    key = tmp_path / "keys"
    key.write_text("a-key-of-the-tests\n")
    key.chmod(0o600)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["check", "--settings", "--port", str(port), "--mqtt-url", f"mqtt://127.0.0.1:{port}"]
        secret = tmp_path / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        flags += ["--jwt-secret-file", str(secret), "--api-key-file", str(key)]
        assert main(flags) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "the settings are valid"
        key.chmod(0o644)
        assert main(flags) == 2
        assert "chmod o=" in capsys.readouterr().out
        assert main([*flags, "--ping-interval-s", "soon"]) == 2


def test_a_certificate_that_ends_is_reported(tmp_path: Path, capsys: Captured) -> None:
    """As a problem when it has ended, as a warning in its last month."""
    authority = Authority(tmp_path)
    signed = authority.sign("gateway", LOOPBACK)
    now = datetime.now(UTC)
    for ends, expected in ((now - timedelta(days=1), "FAIL"), (now + timedelta(days=3), "warn")):
        path = tmp_path / "ends.pem"
        path.write_bytes(_certificate(ends))
        problems = [*_expiry_problems(path)]
        assert bool(problems) is (expected == "FAIL")
        assert ("warn" in capsys.readouterr().out) is (expected == "warn")
    assert not list(_expiry_problems(Path(signed.certificate)))
    assert not list(_expiry_problems(tmp_path / "none"))


def _certificate(ends: datetime) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(ends - timedelta(days=90)).not_valid_after(ends)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_a_unit_gives_its_settings(tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of this shell do not count; a file that its user cannot read is a problem."""
    for name in list(os.environ):
        monkeypatch.setenv(name, os.environ[name])  # restored at the end
    for name in ("HERMES_JWT_SECRET_FILE", "HERMES_API_KEY_FILE"):
        monkeypatch.setenv(name, "")
    for name in ("secret", "keys"):
        (tmp_path / name).write_text(SECRET.replace(" ", "-"))
        (tmp_path / name).chmod(0o600)
    unit = tmp_path / "hermes.service"
    unit.write_text(
        "[Service]\n"
        f"Environment=HERMES_JWT_SECRET_FILE={tmp_path}/secret HERMES_API_KEY_FILE={tmp_path}/keys\n"
        "ExecStart=/usr/bin/env hermes serve --host 0.0.0.0 --mqtt-url off\nUser=nobody\n"
    )
    monkeypatch.setenv("HERMES_PORT", "nonsense")
    assert main(["check", "--unit", str(unit), "--settings"]) == 2
    lines = capsys.readouterr().out.splitlines()
    assert f"ok      settings of {unit}" in lines
    assert sum("cannot be read by nobody, the user of the unit: " in line for line in lines) == 2
    unit.write_text(unit.read_text().replace("User=nobody\n", ""))
    assert main(["check", "--unit", str(unit), "--settings"]) == 0
    assert main(["check", "--unit", str(tmp_path / "none.service")]) == 2
    unit.write_text("[Service]\nExecStart=/usr/bin/env hermes serve --surprise\n")
    with pytest.raises(SystemExit):
        main(["check", "--unit", str(unit), "--settings"])
