"""The models: defaults, and the values that the rest of Hermes derives from them."""

from pathlib import Path

import pytest

from hermes.auth.api_keys import Scope
from hermes.errors import ConfigError
from hermes.settings.load import load, load_settings
from hermes.settings.model import ClientSettings
from hermes.settings.mqtt import MqttOptions
from hermes.settings.tls import TlsOptions
from tests.support.gateways import SECRET


def test_the_defaults_are_those_of_the_design() -> None:
    """With nothing but a secret."""
    settings = load_settings({"jwt_secret": SECRET})
    assert (settings.host, settings.port, settings.broker_url) == ("127.0.0.1", 8080, "mqtt://127.0.0.1:1883")
    assert (settings.topics, settings.origins, settings.claim_tenant) == (("hermes",), (), "tenant_id")
    assert (settings.ping_interval_s, settings.ping_timeout_s, settings.drain_timeout_s) == (25, 20, 10)
    assert (settings.outbox_max_bytes, settings.outbox_max_messages) == (1_048_576, 1_000)
    assert (settings.compress, settings.dev, settings.api_keys, settings.max_sockets) == (True, False, (), None)


def test_the_settings_of_the_link_become_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From flags, variables and the file; the password is not in their repr."""
    password = tmp_path / "mqtt-password"
    password.write_text("a password\n")
    monkeypatch.setenv("HERMES_MQTT_CLIENT_ID", "gateway1")
    monkeypatch.setenv("HERMES_MQTT_ALPN", "mqtt,x-amzn-mqtt-ca")
    config = tmp_path / "hermes.toml"
    config.write_text("mqtt_clean_start = false\nmqtt_session_expiry_s = 600\nmqtt_qos = 1")
    settings = load_settings(
        {
            "jwt_secret": SECRET,
            "config": config,
            "mqtt_url": "mqtts://broker",
            "mqtt_username": "ana",
            "mqtt_password_file": str(password),
            "mqtt_keepalive_s": "10",
        }
    )
    assert settings.mqtt_options == MqttOptions(
        username="ana",
        password_file=password,
        tls=TlsOptions(alpn=("mqtt", "x-amzn-mqtt-ca")),
        client_id="gateway1",
        keepalive_s=10,
        clean_start=False,
        session_expiry_s=600,
        qos=1,
    )
    assert settings.mqtt_options.current_password() == "a password"
    assert "a password" not in repr(settings.mqtt_options)


def test_the_link_has_plain_defaults() -> None:
    """Each has its reason in the documentation."""
    assert load_settings({"jwt_secret": SECRET}).mqtt_options == MqttOptions()
    defaults = MqttOptions()
    assert (defaults.keepalive_s, defaults.clean_start, defaults.session_expiry_s, defaults.qos) == (30, True, 0, 0)


def test_a_signer_needs_a_secret() -> None:
    """With --dev the settings may lack one; `hermes serve` then adds its own."""
    with pytest.raises(ConfigError, match="no JWT secret"):
        _ = load_settings({"dev": True}).token_signer


def test_a_client_takes_token_and_key_from_files_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file takes precedence."""
    monkeypatch.setenv("HERMES_TOKEN", "from-the-environment")
    monkeypatch.setenv("HERMES_API_URL", "http://hermes:1")
    settings = load(ClientSettings, {})
    key = settings.api_key(Scope.NOTIFY)
    assert (settings.bearer, settings.api_url, key) == ("from-the-environment", "http://hermes:1", None)
    path = tmp_path / "file"
    path.write_text("from-the-file-of-a-key\n")
    settings = load(ClientSettings, {"token_file": str(path), "api_key_file": str(path)})
    assert (settings.bearer, settings.api_key(Scope.NOTIFY)) == ("from-the-file-of-a-key", "from-the-file-of-a-key")
    path.write_text("prometheus key-of-prometheus metrics\nnode-red key-of-node-red-x notify,status\n")
    settings = load(ClientSettings, {"api_key_file": str(path)})
    keys = [settings.api_key(scope) for scope in (Scope.METRICS, Scope.STATUS, Scope.TAP)]
    assert keys == ["key-of-prometheus", "key-of-node-red-x", "key-of-prometheus"], "the first one that has the scope"
    monkeypatch.delenv("HERMES_TOKEN")
    assert load(ClientSettings, {}).bearer is None


def test_no_repr_contains_a_secret() -> None:
    """As in a traceback or a debug line; the broker has a name without its password."""
    settings = load_settings({"jwt_secret": SECRET, "mqtt_url": "mqtt://ana:hu%40sh@broker"})
    assert SECRET not in repr(settings)
    assert "sh@broker" not in repr(settings)
    assert settings.broker_name == "mqtt://ana@broker:1883"
    for url in ("off", "embedded"):
        assert load_settings({"dev": True, "mqtt_url": url}).broker_name == url


def test_the_log_masks_every_secret(tmp_path: Path) -> None:
    """Keys, the broker's password from its file, and the one of the URL in both its forms."""
    path = tmp_path / "file"
    path.write_text("from-the-file-of-a-key\n")
    values = {"jwt_secret": SECRET, "api_key_file": path, "mqtt_username": "ana", "mqtt_password_file": path}
    assert load_settings(values).secrets == (SECRET, "from-the-file-of-a-key", "from-the-file-of-a-key")
    for url, expected in (
        ("mqtt://ana:hu%40sh@[::1]:1883", {"hu%40sh", "hu@sh"}),
        ("mqtts://ana:a:b@h", {"a:b"}),
        ("mqtt://ana@h", set()),
        ("unix:///run/broker:1", set()),
    ):
        assert set(load_settings({"jwt_secret": SECRET, "mqtt_url": url}).secrets) == {SECRET} | expected
