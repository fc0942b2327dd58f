"""Sources of the settings: values over environment over TOML file over defaults, and every problem at once."""

import doctest
from pathlib import Path

import pytest

import hermes.settings.load
from hermes.errors import ConfigError
from hermes.settings.flags import setting_of, settings_of
from hermes.settings.load import environment_warnings, load, load_settings
from hermes.settings.model import DEFAULT_PORT, ClientSettings, DeviceSettings, Settings, TokenSettings
from tests.support.gateways import SECRET


def problems(flags: dict[str, object], model: type[Settings] = Settings) -> list[str]:
    """Return what is wrong with these flags."""
    with pytest.raises(ConfigError) as error:
        load(model, flags)
    return error.value.problems


def toml(tmp_path: Path, text: str) -> str:
    """Write a configuration file and return its path."""
    path = tmp_path / "hermes.toml"
    path.write_text(text)
    return str(path)


# -- the sources ------------------------------------------------------------------------------------------------------


def test_flags_override_the_environment_which_overrides_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A setting that a stronger source does not give comes from the next one."""
    path = toml(tmp_path, 'port = 1001\nhost = "127.0.0.3"\nclaim_tenant = "org"\norigins = ["https://a.example"]')
    monkeypatch.setenv("HERMES_PORT", "1002")
    monkeypatch.setenv("HERMES_HOST", "127.0.0.2")
    settings = load(Settings, {"jwt_secret": SECRET, "config": path, "port": "1003"})
    assert (settings.port, settings.host, settings.claim_tenant) == (1003, "127.0.0.2", "org")
    assert settings.origins == ("https://a.example",)


def test_a_variable_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HERMES_CONFIG does what --config does."""
    monkeypatch.setenv("HERMES_CONFIG", toml(tmp_path, f'port = 1001\njwt_secret = "{SECRET}"'))
    assert load(Settings, {}).port == 1001


def test_an_empty_variable_counts_as_unset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unit files and compose files leave variables empty; the file applies then."""
    monkeypatch.setenv("HERMES_PORT", "")
    assert load(Settings, {"jwt_secret": SECRET}).port == 8080
    assert load(Settings, {"jwt_secret": SECRET, "config": toml(tmp_path, "port = 1001")}).port == 1001


def test_the_name_of_a_variable_may_be_in_lower_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """As some programs that write environments change it."""
    monkeypatch.setenv("hermes_port", "1002")
    assert load(Settings, {"jwt_secret": SECRET}).port == 1002


def test_lists_in_the_environment_are_split_at_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Braces and at-signs are not read as JSON."""
    monkeypatch.setenv("HERMES_TOPICS", "{app}@{tenant_id}/{device_id}/up, chirpstack")
    monkeypatch.setenv("HERMES_ORIGINS", "https://a.example,https://b.example:8443")
    settings = load(Settings, {"jwt_secret": SECRET})
    assert settings.topics == ("{app}@{tenant_id}/{device_id}/up", "chirpstack")
    assert settings.origins == ("https://a.example", "https://b.example:8443")


@pytest.mark.parametrize(("text", "expected"), [("true", True), ("on", True), ("1", True), ("no", False), ("0", False)])
def test_a_boolean_of_the_environment_is_read_in_one_way(
    text: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules see the same value as the rest of Hermes."""
    monkeypatch.setenv("HERMES_DEV", text)
    if expected:
        assert load(Settings, {}).dev
    else:
        (line,) = problems({})
        assert line.startswith("no JWT secret")


def test_the_small_commands_read_the_same_file(tmp_path: Path) -> None:
    """They ignore the keys that are not theirs."""
    path = toml(tmp_path, f'port = 1001\njwt_secret = "{SECRET}"\napi_url = "http://h:1"')
    assert load(TokenSettings, {"config": path}).secret == SECRET
    assert load(ClientSettings, {"config": path}).api_url == "http://h:1"


def test_the_constructor_reads_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only `load` does."""
    monkeypatch.setenv("HERMES_PORT", "1002")
    assert Settings().port == 8080


# -- load_settings ----------------------------------------------------------------------------------------------------


def test_the_example_of_load_settings_works() -> None:
    """As its docstring shows it."""
    assert doctest.testmod(hermes.settings.load) == (0, 2)


def test_a_program_loads_settings_from_python_values(tmp_path: Path) -> None:
    """Numbers, booleans, lists and paths, or their texts; None counts as not given."""
    path = tmp_path / "keys"
    path.write_text("a-key-of-the-tests\n")
    settings = load_settings(
        {
            "jwt_secret": SECRET,
            "port": 0,
            "ping_interval_s": 2.5,
            "compress": False,
            "mqtt_qos": 1,
            "topics": ["hermes"],
            "origins": ("https://a.example",),
            "api_key_file": path,
            "max_sockets": "5",
            "host": None,
        }
    )
    assert (settings.port, settings.ping_interval_s, settings.compress, settings.mqtt_qos) == (0, 2.5, False, 1)
    assert (settings.topics, settings.origins) == (("hermes",), ("https://a.example",))
    assert (settings.api_key_file, settings.max_sockets, settings.host) == (path, 5, "127.0.0.1")


def test_a_programs_values_override_the_environment_and_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As flags do."""
    monkeypatch.setenv("HERMES_PORT", "1002")
    monkeypatch.setenv("HERMES_DRAIN_TIMEOUT_S", "3")
    config = toml(tmp_path, "port = 1001\nping_timeout_s = 7")
    settings = load_settings({"jwt_secret": SECRET, "port": 1003, "config": config})
    assert (settings.port, settings.drain_timeout_s, settings.ping_timeout_s) == (1003, 3, 7)


def test_a_programs_url_may_contain_a_password() -> None:
    """It is not visible in ps, unlike a flag."""
    url = "mqtt://ana:hush@broker"
    assert load_settings({"jwt_secret": SECRET, "mqtt_url": url}).mqtt_url == url


def test_an_unknown_name_is_a_problem() -> None:
    """A program that misspells a setting is not ignored."""
    with pytest.raises(ConfigError) as error:
        load_settings({"jwt_secret": SECRET, "prot": 1, "mqtt_qos": 3})
    assert error.value.problems[0] == "unknown setting 'prot'"
    assert error.value.problems[1].startswith("--mqtt-qos (HERMES_MQTT_QOS): ")
    assert len(error.value.problems) == 2


# -- every problem at once --------------------------------------------------------------------------------------------


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """Those of single fields, of several together, and of files."""
    lines = problems(
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


def test_problems_of_the_environment_are_reported_with_those_of_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule is applied to values of both."""
    monkeypatch.setenv("HERMES_PORT", "many")
    monkeypatch.setenv("HERMES_MQTT_ALPN", "mqtt")
    lines = problems({"jwt_secret": SECRET, "host": "0.0.0.0", "mqtt_url": "mqtt://h"})
    for text in ("--port (HERMES_PORT)", "--mqtt-alpn is for TLS", "--host 0.0.0.0"):
        assert any(text in line for line in lines), (text, lines)
    assert len(lines) == 3


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({}, "no JWT secret"),
        ({"jwt_secret": "short"}, "shorter than 32 bytes"),
        ({"jwt_secret": SECRET, "port": "65536"}, "--port"),
        ({"jwt_secret": SECRET, "topics": []}, "--topic (HERMES_TOPICS): write at least one topic template"),
        ({"jwt_secret": SECRET, "host": ""}, "--host (HERMES_HOST): '' is neither an address nor the name of a host"),
        ({"jwt_secret": SECRET, "max_sockets": "0"}, "--max-sockets"),
        ({"jwt_secret": SECRET, "mqtt_username": ""}, "--mqtt-username"),
        ({"jwt_secret": SECRET, "topics": ["chripstack"]}, "chripstack"),
        ({"jwt_secret": SECRET, "origins": ["https://a.example/page"]}, "is not an origin"),
        ({"jwt_secret": SECRET, "host": "0.0.0.0"}, "--api-key-file"),
        ({"jwt_secret": SECRET, "host": "0.0.0.0", "api_key_file": "/nowhere"}, "cannot read /nowhere"),
        ({"jwt_secret": SECRET, "dev": "perhaps", "host": "0.0.0.0"}, "--dev (HERMES_DEV)"),
        ({"dev": "true", "host": "0.0.0.0"}, "--dev is for this machine only"),
        ({"jwt_secret": SECRET, "config": "/nowhere/hermes.toml"}, "cannot read /nowhere/hermes.toml"),
    ],
)
def test_one_mistake_is_one_problem(flags: dict[str, object], word: str) -> None:
    """A rule that would need an invalid field adds no line of its own."""
    lines = problems(flags)
    assert len(lines) == 1, lines
    assert word in lines[0]


@pytest.mark.parametrize("text", ["/keys\udcff", "\ud800", "a\0b"])
@pytest.mark.parametrize("name", ["api_key_file", "host", "topics", "broker_state_dir", "mqtt_url", "origins"])
def test_a_value_that_is_not_text_is_a_problem(name: str, text: str) -> None:
    """The operating system's texts have lone surrogates for bytes that are not UTF-8."""
    (line,) = problems({"jwt_secret": SECRET, name: text})
    assert line.startswith(f"{setting_of(Settings, name).label}: must be UTF-8 text")
    (line,) = problems({"jwt_secret": SECRET, "config": text})
    assert line.startswith("--config: must be UTF-8 text")


def test_a_broken_file_is_reported_with_its_line(tmp_path: Path) -> None:
    """In the words of the TOML parser."""
    (line,) = problems({"config": toml(tmp_path, "port = = 1")})
    assert "is not TOML" in line
    assert "line 1" in line


def test_a_password_in_a_flag_is_reported_with_all_other_problems(tmp_path: Path) -> None:
    """It is not repeated, also if the file cannot be read."""
    for url in ("mqtt://ana:hush@broker", "mqtt://ana:hu/sh@broker", "mqtt://ana:hu@sh@broker:1883"):
        lines = problems({"mqtt_url": url, "port": "many", "host": "0.0.0.0"})
        for text in ("--mqtt-url: a password", "HERMES_MQTT_URL", "--port", "--host", "no JWT secret"):
            assert any(text in line for line in lines), (text, lines)
        assert not any("hu" in line and "sh" in line.partition("hu")[2][:3] for line in lines), lines
    lines = problems({"mqtt_url": "mqtt://ana:hush@broker", "config": str(tmp_path / "absent")})
    assert len(lines) == 2


def test_a_password_is_accepted_in_the_variable_and_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither is visible in ps; a flag may name a user without a password."""
    url = "mqtt://ana:hush@broker"
    path = toml(tmp_path, f'mqtt_url = "{url}"')
    assert load(Settings, {"jwt_secret": SECRET, "config": path}).mqtt_url == url
    monkeypatch.setenv("HERMES_MQTT_URL", url)
    assert load(Settings, {"jwt_secret": SECRET}).mqtt_url == url
    assert load(Settings, {"jwt_secret": SECRET, "mqtt_url": "mqtt://ana@[::1]:1883"}).mqtt_url


@pytest.mark.parametrize("name", ["jwt_secret_file", "api_key_file", "mqtt_password_file"])
@pytest.mark.parametrize("secret", ["3f9a" * 16, "q7/Zk+" * 8, "hush", "9" * 5_000])
def test_a_secret_in_the_place_of_its_file_is_not_repeated(name: str, secret: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(ConfigError) as error:
        load(Settings, {"jwt_secret": SECRET, name: secret})
    text = "\n".join(error.value.problems)
    assert secret not in text
    assert "write the path of a file" in text


# -- variables that have no effect, or another name ---------------------------------------------------------------


def test_unknown_variables_are_named_with_the_nearest_known_one() -> None:
    """A warning only: a shell may have variables of other programs."""
    found = environment_warnings({"HERMES_APIKEY_FILE": "x", "HERMES_ZZZ": "1", "HERMES_PORT": "80", "PATH": "/bin"})
    assert found == [
        "HERMES_APIKEY_FILE is not a setting and has no effect; did you mean HERMES_API_KEY_FILE?",
        "HERMES_ZZZ is not a setting and has no effect",
    ]


def test_every_setting_of_every_command_is_known() -> None:
    """In each spelling that has an effect."""
    models = (Settings, ClientSettings, DeviceSettings)
    names = {setting.variable for model in models for setting in settings_of(model)}
    assert environment_warnings(dict.fromkeys([*names, "HERMES_CONFIG", "hermes_host", "HERMES_ORIGIN"], "1")) == []


def test_variables_of_a_kubernetes_service_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets them for every container beside a Service called hermes."""
    given = {
        "HERMES_PORT": "tcp://10.43.0.7:8080",
        "HERMES_SERVICE_HOST": "10.43.0.7",
        "HERMES_SERVICE_PORT": "8080",
        "HERMES_SERVICE_PORT_HTTP": "8080",
        "HERMES_PORT_8080_TCP": "tcp://10.43.0.7:8080",
        "HERMES_PORT_8080_TCP_ADDR": "10.43.0.7",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert load(Settings, {"jwt_secret": SECRET}).port == DEFAULT_PORT
    (warning,) = environment_warnings(given)
    assert warning.startswith("HERMES_PORT=tcp://10.43.0.7:8080 is ignored: Kubernetes")


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        ("HERMES_ORIGIN", "https://a.example,https://b.example", "origins", ("https://a.example", "https://b.example")),
        ("HERMES_TOPIC", "zigbee2mqtt", "topics", ("zigbee2mqtt",)),
        ("HERMES_TRUSTED_PROXY", "10.0.0.0/24", "trusted_proxies", ("10.0.0.0/24",)),
    ],
)
def test_a_list_may_have_the_name_of_its_flag(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, name: str, expected: object
) -> None:
    """``--origin`` suggests HERMES_ORIGIN; both names at once are a problem."""
    monkeypatch.setenv(variable, value)
    assert getattr(load(Settings, {"jwt_secret": SECRET}), name) == expected
    monkeypatch.setenv(f"HERMES_{name.upper()}", value)
    assert f"{variable} and HERMES_{name.upper()} are both given; remove one" in problems({"jwt_secret": SECRET})


def test_an_unknown_key_of_the_file_is_named_with_the_nearest_one(tmp_path: Path) -> None:
    """It is a problem, as before."""
    (line,) = problems({"jwt_secret": SECRET, "config": toml(tmp_path, "prot = 1")})
    assert line == "unknown key 'prot' in the configuration file; did you mean port?"
