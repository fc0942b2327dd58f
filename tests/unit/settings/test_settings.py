"""The settings: flags over environment over TOML over defaults, and every fault at once."""

from pathlib import Path

import pytest

from hermes.errors import ConfigError
from hermes.settings.fields import is_loopback
from hermes.settings.folders import state_folder
from hermes.settings.load import load
from hermes.settings.model import ClientSettings, Settings, TokenSettings
from hermes.settings.mqtt import MqttOptions
from hermes.settings.tls import TlsOptions
from tests.support.certificates import Authority
from tests.support.gateways import SECRET


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HERMES_CONFIG", "HERMES_PORT", "HERMES_JWT_SECRET", "HERMES_TOPICS"):
        monkeypatch.delenv(name, raising=False)


def faults(flags: dict[str, object], model: type[Settings] = Settings) -> list[str]:
    """What is wrong with these flags."""
    with pytest.raises(ConfigError) as error:
        load(model, flags)
    return error.value.faults


def toml(tmp_path: Path, text: str) -> str:
    """A configuration file."""
    path = tmp_path / "hermes.toml"
    path.write_text(text)
    return str(path)


def test_the_defaults_are_those_of_the_documentation() -> None:
    """With nothing but a secret."""
    settings = load(Settings, {"jwt_secret": SECRET})
    assert (settings.host, settings.port, settings.broker_url) == ("127.0.0.1", 8080, "mqtt://127.0.0.1:1883")
    assert (settings.topics, settings.origins, settings.claim_tenant) == (("hermes",), (), "tenant_id")
    assert (settings.ping_interval_s, settings.ping_timeout_s, settings.drain_timeout_s) == (25, 20, 10)
    assert (settings.outbox_max_bytes, settings.outbox_max_messages) == (1_048_576, 1_000)
    assert (settings.compress, settings.dev, settings.api_keys, settings.max_sockets) == (True, False, (), None)


def test_flags_win_over_the_environment_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source fills what the better ones leave open."""
    path = toml(tmp_path, 'port = 1001\nhost = "127.0.0.3"\nclaim_tenant = "org"\norigins = ["https://a.example"]')
    monkeypatch.setenv("HERMES_PORT", "1002")
    monkeypatch.setenv("HERMES_HOST", "127.0.0.2")
    settings = load(Settings, {"jwt_secret": SECRET, "config": path, "port": "1003"})
    assert (settings.port, settings.host, settings.claim_tenant) == (1003, "127.0.0.2", "org")
    assert settings.origins == ("https://a.example",)


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HERMES_CONFIG."""
    monkeypatch.setenv("HERMES_CONFIG", toml(tmp_path, f'port = 1001\njwt_secret = "{SECRET}"'))
    assert load(Settings, {}).port == 1001


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As unit files and compose files leave them."""
    monkeypatch.setenv("HERMES_PORT", "")
    assert load(Settings, {"jwt_secret": SECRET}).port == 8080


def test_lists_in_the_environment_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Braces and at-signs are no JSON."""
    monkeypatch.setenv("HERMES_TOPICS", "{app}@{tenant_id}/{device_id}/up, chirpstack")
    monkeypatch.setenv("HERMES_ORIGINS", "https://a.example,https://b.example:8443")
    settings = load(Settings, {"jwt_secret": SECRET})
    assert settings.topics == ("{app}@{tenant_id}/{device_id}/up", "chirpstack")
    assert settings.origins == ("https://a.example", "https://b.example:8443")


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Of single fields, of several together, and of files."""
    lines = faults(
        {
            "host": "0.0.0.0",
            "port": "many",
            "jwt_secret_file": str(tmp_path / "absent"),
            "topics": ["a/+/b"],
            "origins": ["example.com"],
            "mqtt_url": "http://broker",
            "config": toml(tmp_path, "prot = 1\nping_interval_s = 0"),
        }
    )
    expected = (
        "--host 0.0.0.0",
        "--port (HERMES_PORT)",
        "--jwt-secret-file",
        "--topic",
        "--origin",
        "--mqtt-url",
        "unknown key 'prot'",
        "--ping-interval-s",
    )
    for text in expected:
        assert any(text in line for line in lines), (text, lines)
    assert len(lines) == len(expected)


def test_a_password_in_a_flag_is_told_with_all_the_other_faults(tmp_path: Path) -> None:
    """Without showing it, also where the file cannot be read; in the variable it may stand."""
    for url in ("mqtt://ana:hush@broker", "mqtt://ana:hu/sh@broker", "mqtt://ana:hu@sh@broker:1883"):
        lines = faults({"mqtt_url": url, "port": "many", "host": "0.0.0.0"})
        for text in ("--mqtt-url: a password", "HERMES_MQTT_URL", "--port", "--host", "no JWT secret"):
            assert any(text in line for line in lines), (text, lines)
        assert not any("hu" in line and "sh" in line.partition("hu")[2][:3] for line in lines), lines
    lines = faults({"mqtt_url": "mqtt://ana:hush@broker", "config": str(tmp_path / "absent")})
    assert len(lines) == 2


def test_a_password_may_stand_in_the_variable_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither shows in ps; and a flag's user without a password hides nothing."""
    url = "mqtt://ana:hush@broker"
    path = toml(tmp_path, f'mqtt_url = "{url}"')
    assert load(Settings, {"jwt_secret": SECRET, "config": path}).mqtt_url == url
    monkeypatch.setenv("HERMES_MQTT_URL", url)
    assert load(Settings, {"jwt_secret": SECRET}).mqtt_url == url
    assert load(Settings, {"jwt_secret": SECRET, "mqtt_url": "mqtt://ana@[::1]:1883"}).mqtt_url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "https://hermes.example", "http://[::1]:1/under/", "http://h"]
)
def test_where_a_client_finds_hermes_is_a_url(url: str) -> None:
    """With or without port and path."""
    assert load(ClientSettings, {"api_url": url}).api_url == url


@pytest.mark.parametrize(
    "url",
    [
        "http://h:99999",
        "http://h:port",
        "http://h:0",
        "http://",
        "http://:80",
        "h:80",
        "ws://h",
        "http://[::1",
        "http://a b",
    ],
)
def test_what_is_no_url_is_a_fault_at_once(url: str) -> None:
    """It would be tried for ever."""
    with pytest.raises(ConfigError, match=r"--url \(HERMES_API_URL\): must look like http://"):
        load(ClientSettings, {"api_url": url})


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({}, "no JWT secret"),
        ({"jwt_secret": "short"}, "shorter than 32 bytes"),
        ({"jwt_secret": SECRET, "port": "65536"}, "--port"),
        ({"jwt_secret": SECRET, "topics": []}, "--topic"),
        ({"jwt_secret": SECRET, "topics": ["chripstack"]}, "chripstack"),
        ({"jwt_secret": SECRET, "origins": ["https://a.example/page"]}, "is no origin"),
        ({"jwt_secret": SECRET, "host": "0.0.0.0"}, "--api-key-file"),
        ({"dev": "true", "host": "0.0.0.0"}, "--dev is for this machine only"),
        ({"jwt_secret": SECRET, "config": "/nowhere/hermes.toml"}, "cannot read /nowhere/hermes.toml"),
    ],
)
def test_a_fault_says_what_to_mend(flags: dict[str, object], word: str) -> None:
    """One line each."""
    lines = faults(flags)
    assert len(lines) == 1
    assert word in lines[0]


def test_a_broken_file_says_where(tmp_path: Path) -> None:
    """With the parser's own line."""
    assert "is not TOML" in faults({"config": toml(tmp_path, "port = = 1")})[0]


def test_a_secret_comes_from_one_place(tmp_path: Path) -> None:
    """Value and file both given is a fault; the secret is in no message."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    lines = faults({"jwt_secret": SECRET, "jwt_secret_file": str(path)})
    assert "both given" in lines[0]
    assert SECRET not in "".join(lines)


@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_trailing_newline_of_a_secret_file_does_not_count(tmp_path: Path, ending: str) -> None:
    """Only one."""
    path = tmp_path / "secret"
    path.write_bytes((SECRET + ending).encode())
    assert load(Settings, {"jwt_secret_file": str(path)}).secret == SECRET
    path.write_text(SECRET + "\n\n")
    assert load(Settings, {"jwt_secret_file": str(path)}).secret == SECRET + "\n"


@pytest.mark.parametrize("content", [b"\xff\xfe" * 40, b"too short\n"])
def test_a_bad_secret_file_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    """Not text, or too short."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    (line,) = faults({"jwt_secret_file": str(path)})
    assert "--jwt-secret-file" in line
    assert "too short" not in line


def test_keys_stand_one_a_line(tmp_path: Path) -> None:
    """A file without any is refused."""
    path = tmp_path / "keys"
    path.write_text("one\n\n  two \n")
    settings = load(Settings, {"jwt_secret": SECRET, "host": "0.0.0.0", "api_key_file": str(path)})
    assert settings.api_keys == ("one", "two")
    path.write_text("\n")
    assert "holds no key" in faults({"jwt_secret": SECRET, "api_key_file": str(path)})[0]


def test_the_links_settings_become_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From flags, variables and the file; the password is nowhere to be seen."""
    password = tmp_path / "mqtt-password"
    password.write_text("a password\n")
    monkeypatch.setenv("HERMES_MQTT_CLIENT_ID", "gateway1")
    monkeypatch.setenv("HERMES_MQTT_ALPN", "mqtt,x-amzn-mqtt-ca")
    config = toml(tmp_path, "mqtt_clean_start = false\nmqtt_session_expiry_s = 600\nmqtt_qos = 1")
    flags = {"mqtt_username": "ana", "mqtt_password_file": str(password), "mqtt_keepalive_s": "10"}
    given = flags | {"jwt_secret": SECRET, "config": config, "mqtt_url": "mqtts://broker"}
    settings = load(Settings, given)
    assert settings.mqtt_options == MqttOptions(
        username="ana",
        password="a password",
        tls=TlsOptions(alpn=("mqtt", "x-amzn-mqtt-ca")),
        client_id="gateway1",
        keepalive_s=10,
        clean_start=False,
        session_expiry_s=600,
        qos=1,
    )
    assert "a password" not in repr(settings.mqtt_options)


def test_the_link_is_plain_unless_told_otherwise() -> None:
    """Each default has its reason in the documentation."""
    assert load(Settings, {"jwt_secret": SECRET}).mqtt_options == MqttOptions()
    defaults = MqttOptions()
    assert (defaults.keepalive_s, defaults.clean_start, defaults.session_expiry_s, defaults.qos) == (30, True, 0, 0)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"mqtt_password_file": "PASSWORD"}, "needs a user: give --mqtt-username"),
        ({"mqtt_password_file": "PASSWORD", "mqtt_url": "mqtt://ana:hush@h"}, "keep the file"),
        ({"mqtt_username": "ana", "mqtt_url": "mqtt://bob@h"}, "are both given; keep one"),
        ({"mqtt_username": "ana", "mqtt_url": "embedded"}, "--mqtt-url is embedded; leave it out"),
        ({"mqtt_username": "ana", "dev": "true"}, "--mqtt-url is embedded; leave it out"),
        ({"mqtt_username": "ana", "mqtt_password_file": "EMPTY"}, "is empty; write the password into it"),
        ({"mqtt_ca_file": "CA"}, "--mqtt-ca-file is for TLS, which --mqtt-url does not ask for"),
        ({"mqtt_alpn": ["mqtt"], "mqtt_url": "ws://h"}, "--mqtt-alpn is for TLS"),
        ({"mqtt_ca_file": "PASSWORD", "mqtt_url": "mqtts://h"}, "holds no certificate of a CA"),
        ({"mqtt_ca_file": "ABSENT", "mqtt_url": "mqtts://h"}, "cannot read"),
        (
            {"mqtt_cert_file": "CA", "mqtt_url": "mqtts://h"},
            "--mqtt-cert-file needs its other half: give --mqtt-key-file",
        ),
        (
            {"mqtt_key_file": "CA", "mqtt_url": "mqtts://h"},
            "--mqtt-key-file needs its other half: give --mqtt-cert-file",
        ),
        ({"mqtt_cert_file": "CA", "mqtt_key_file": "KEY", "mqtt_url": "mqtts://h"}, "are no pair"),
        ({"mqtt_cert_file": "ABSENT", "mqtt_key_file": "KEY", "mqtt_url": "wss://h"}, "cannot read"),
        (
            {
                "mqtt_on_demand": "true",
                "mqtt_clean_start": "false",
                "mqtt_session_expiry_s": "60",
                "mqtt_client_id": "gateway1",
                "mqtt_qos": "1",
            },
            "leave out --mqtt-clean-start false and --mqtt-session-expiry-s, or --mqtt-on-demand",
        ),
        ({"mqtt_linger_s": "-1", "mqtt_on_demand": "true"}, "--mqtt-linger-s"),
        ({"mqtt_session_expiry_s": "60"}, "keeps nothing without --mqtt-clean-start false"),
        ({"mqtt_qos": "2"}, "--mqtt-qos"),
        ({"mqtt_qos": "one"}, "--mqtt-qos"),
        ({"mqtt_keepalive_s": "0"}, "--mqtt-keepalive-s"),
        ({"mqtt_receive_maximum": "0"}, "--mqtt-receive-maximum"),
        ({"mqtt_client_id": "a\nb"}, "--mqtt-client-id"),
        ({"mqtt_alpn": ["x" * 256], "mqtt_url": "mqtts://h"}, "1 to 255 bytes"),
    ],
)
def test_what_the_link_cannot_do_is_told(
    flags: dict[str, object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line each, with what to mend."""
    signed = Authority(tmp_path).sign("other")
    files = {"CA": tmp_path / "test-authority.pem", "KEY": signed.key, "ABSENT": tmp_path / "absent"}
    for name, text in (("PASSWORD", "hush"), ("EMPTY", "\n")):
        files[name] = tmp_path / name
        files[name].write_text(text)
    if "mqtt_url" in flags:
        monkeypatch.setenv("HERMES_MQTT_URL", str(flags["mqtt_url"]))
    given = {
        name: str(files[value]) if isinstance(value, str) and value in files else value
        for name, value in flags.items()
        if name != "mqtt_url"
    }
    lines = faults({"jwt_secret": SECRET} | given)
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert "hush" not in lines[0]


def test_a_kept_session_names_all_that_it_lacks() -> None:
    """One alone would promise what does not happen."""
    lines = faults({"jwt_secret": SECRET, "mqtt_clean_start": "false"})
    for words in ("--mqtt-session-expiry-s", "--mqtt-client-id", "--mqtt-qos 1"):
        assert any(words in line for line in lines), (words, lines)
    assert len(lines) == 3


def test_dev_brings_its_own_broker_and_needs_no_secret() -> None:
    """Unless told otherwise."""
    assert load(Settings, {"dev": "true"}).broker_url == "embedded"
    assert load(Settings, {"dev": "true", "mqtt_url": "off"}).broker_url == "off"
    with pytest.raises(ConfigError):
        _ = load(Settings, {"dev": "true"}).token_signer


def test_the_small_commands_read_the_same_file(tmp_path: Path) -> None:
    """And pass over what is not theirs."""
    path = toml(tmp_path, f'port = 1001\njwt_secret = "{SECRET}"\napi_url = "http://h:1"')
    assert load(TokenSettings, {"config": path}).secret == SECRET
    assert load(ClientSettings, {"config": path}).api_url == "http://h:1"


def test_a_client_takes_its_token_and_key_from_files_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file wins."""
    monkeypatch.setenv("HERMES_TOKEN", "from-the-environment")
    monkeypatch.setenv("HERMES_API_URL", "http://hermes:1")
    settings = load(ClientSettings, {})
    assert (settings.bearer, settings.api_url, settings.api_key) == ("from-the-environment", "http://hermes:1", None)
    path = tmp_path / "file"
    path.write_text("from-the-file\n")
    settings = load(ClientSettings, {"token_file": str(path), "api_key_file": str(path)})
    assert (settings.bearer, settings.api_key) == ("from-the-file", "from-the-file")
    monkeypatch.delenv("HERMES_TOKEN")
    assert load(ClientSettings, {}).bearer is None


def test_secrets_do_not_show_in_the_settings_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a traceback or a debug line; and the broker has a name that can be shown."""
    monkeypatch.setenv("HERMES_MQTT_URL", "mqtt://ana:hu%40sh@broker")
    settings = load(Settings, {"jwt_secret": SECRET})
    assert SECRET not in repr(settings)
    assert "sh@broker" not in repr(settings)
    assert settings.broker_name == "mqtt://ana@broker:1883"
    assert [load(Settings, {"dev": "1", "mqtt_url": url}).broker_name for url in ("off", "embedded")] == [
        "off",
        "embedded",
    ]


def test_every_secret_is_known_to_who_masks_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys, the broker's password from its file, and from the URL both as it is and as it is written there."""
    path = tmp_path / "file"
    path.write_text("from the file\n")
    flags = {"jwt_secret": SECRET, "api_key_file": str(path), "mqtt_username": "ana"}
    assert load(Settings, flags | {"mqtt_password_file": str(path)}).secrets == (
        SECRET,
        "from the file",
        "from the file",
    )
    for url, expected in (
        ("mqtt://ana:hu%40sh@[::1]:1883", {"hu%40sh", "hu@sh"}),
        ("mqtts://ana:a:b@h", {"a:b"}),
        ("mqtt://ana@h", set()),
        ("unix:///run/broker:1", set()),
    ):
        monkeypatch.setenv("HERMES_MQTT_URL", url)
        assert set(load(Settings, {"jwt_secret": SECRET}).secrets) == {SECRET} | expected


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("example.com", False),
        ("localhost.example.com", False),
    ],
)
def test_loopback_is_this_machine_alone(host: str, expected: bool) -> None:
    """By address, and by the one name."""
    assert is_loopback(host) is expected


def test_the_state_folder_follows_the_desktop_convention(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_STATE_HOME, else beneath the home folder."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "hermes"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/ana")
    assert state_folder() == Path("/home/ana/.local/state/hermes")


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5mZ9wq0m0b8Jm4b7m3h0m2yX1v me@here",
    ],
)
def test_a_key_of_another_kind_is_no_secret(secret: str) -> None:
    """With all other faults, and what to do."""
    with pytest.raises(ConfigError) as raised:
        load(Settings, {"jwt_secret": secret, "port": "-1"})
    assert len(raised.value.faults) == 2
    assert any("no secret for HS256" in fault and "openssl rand" in fault for fault in raised.value.faults)
    assert not any("AAAA" in fault or "MFkw" in fault for fault in raised.value.faults)
