"""Any value of any setting: loaded, or a `ConfigError` that names it; no secret in its text."""

import json
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes.auth.api_keys import Scope
from hermes.errors import ConfigError
from hermes.settings.flags import CONFIG, Setting, settings_of
from hermes.settings.load import load, load_settings
from hermes.settings.model import (
    ClientSettings,
    DeviceSettings,
    Settings,
    SourcedSettings,
    TokenSettings,
    TopicSettings,
)
from tests.support.gateways import SECRET

MODELS: tuple[type[SourcedSettings], ...] = (Settings, ClientSettings, TokenSettings, DeviceSettings, TopicSettings)
SETTINGS = [(model, setting) for model in MODELS for setting in (CONFIG, *settings_of(model))]
NAMED = st.sampled_from(SETTINGS)
HUSH = "hush-hush"

WORDS = [
    "0", "1", "-1", "1e5", "nan", "inf", "true", "off", "embedded", "debug", "2", "٣", "٣.٣", "1_000", " 1 ", "*", ",",
    "", "a,b", "127.0.0.1", "::1", "[::1]:1", "127.0.0.1:1", "0.0.0.0", "10.0.0.0/33", "http://", "http://[", "https://a",
    "mqtt://h:99999", "mqtts://h", "mqtt://[::1", "ws://h/\x7f", "unix:///x", "hermes", "{tenant_id}/{device_id}", "/",
    "/etc", "/dev/null", "/proc/self/mem", "\udcff", "/\udcff",
]  # fmt: skip
LIKELY = st.sampled_from([*WORDS, "9" * 5_000, "x" * 5_000, "mqtt://ü" + "x" * 70])
FOR_PROGRAMS = ["\0", "/\0", "\ud800", "/\ud800", "mqtt://\ud800", "http://\ud800", "{tenant_id}/{device_id}/\ud800"]
VARIABLES = LIKELY | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
TEXTS = LIKELY | st.sampled_from(FOR_PROGRAMS) | st.text(max_size=12)
VALUES = st.recursive(
    st.one_of(
        TEXTS,
        st.none(),
        st.booleans(),
        st.integers(),
        st.sampled_from([10**400, 2**64]),
        st.floats(),
        st.binary(max_size=4),
        st.builds(Path, st.sampled_from(["/dev/null", "\0", "/\ud800", "x", ""])),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner) | st.dictionaries(st.just("a"), inner),
    max_leaves=4,
)


@pytest.fixture(scope="module", autouse=True)
def _no_variables() -> None:
    """No variable of the caller's environment reaches these tests."""
    for name in [name for name in os.environ if name.startswith("HERMES_")]:
        del os.environ[name]


def check(model: type[SourcedSettings], setting: Setting, error: ConfigError) -> None:
    """Assert that the problems name the setting, and contain no secret."""
    text = str(error)
    assert setting.option in text if setting.option else setting.variable in text, (setting, text)
    assert SECRET not in text
    assert HUSH not in text
    text.encode("utf-8", "surrogateescape")  # printed by the command


def base_of(model: type[SourcedSettings]) -> dict[str, object]:
    """Return what a model needs."""
    return {"jwt_secret": SECRET} if model is Settings else {}


def use(settings: SourcedSettings) -> None:
    """Read the properties that depend on several settings."""
    for name in ("broker_url", "broker_name", "broker_kind", "external_broker", "device_listener", "mqtt_options"):
        getattr(settings, name, None)
    for name in ("secret", "secrets", "api_keys", "accounts_folder"):
        getattr(settings, name, None)
    if isinstance(settings, ClientSettings):
        settings.api_key(Scope.NOTIFY)
    repr(settings)


@given(NAMED, TEXTS)
def test_any_text_of_a_flag(named: tuple[type[SourcedSettings], Setting], text: str) -> None:
    """A list for a flag that can be repeated."""
    model, setting = named
    value: object = [text] if setting.flag.repeatable else text
    try:
        use(load(model, base_of(model) | {setting.name: value}))
    except ConfigError as error:
        check(model, setting, error)


@given(NAMED, VARIABLES)
def test_any_text_of_a_variable(named: tuple[type[SourcedSettings], Setting], text: str) -> None:
    """What an operating system can pass."""
    model, setting = named
    with pytest.MonkeyPatch.context() as patch:
        if model is Settings:
            patch.setenv("HERMES_JWT_SECRET", SECRET)
        patch.setenv(setting.variable, text)
        try:
            use(load(model, {}))
        except ConfigError as error:
            check(model, setting, error)


@given(NAMED, VALUES)
def test_any_python_value(named: tuple[type[SourcedSettings], Setting], value: object) -> None:
    """Of a program that embeds Hermes."""
    _, setting = named
    if setting.name not in {CONFIG.name, *Settings.model_fields}:
        return
    try:
        use(load_settings(base_of(Settings) | {setting.name: value}))
    except ConfigError as error:
        check(Settings, setting, error)


TOML_VALUES = st.recursive(
    st.one_of(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8).map(json.dumps),
        LIKELY.map(lambda text: json.dumps(text.encode("utf-8", "replace").decode()).replace("\x7f", "?")),
        st.integers(-(2**63), 2**63 - 1).map(str),
        st.sampled_from(["true", "false", "nan", "-inf", "1e999", "9" * 4_000]),
        st.dates(min_value=date(1, 1, 1)).map(str),
        st.datetimes(min_value=datetime(1, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat),
        st.text(max_size=6),
    ),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: f"[{','.join(parts)}]") | inner.map("{{a={}}}".format),
    max_leaves=4,
)


@given(NAMED, TOML_VALUES)
def test_any_value_of_the_toml_file(
    tmp_path_factory: pytest.TempPathFactory, named: tuple[type[SourcedSettings], Setting], value: str
) -> None:
    """Also what is not TOML: then the problem names the file."""
    model, setting = named
    path = tmp_path_factory.getbasetemp() / "hermes.toml"
    path.write_bytes(f"{setting.name} = {value}\n".encode("utf-8", "surrogatepass"))
    try:
        use(load(model, base_of(model) | {"config": str(path)}))
    except ConfigError as error:
        if "is not TOML" not in str(error) and setting is not CONFIG:
            check(model, setting, error)


FILES = ("jwt_secret_file", "api_key_file", "mqtt_password_file", "mqtt_ca_file", "mqtt_cert_file", "config")


@given(st.sampled_from(FILES), st.binary(max_size=60))
def test_any_bytes_as_the_file_of_a_setting(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes
) -> None:
    """Secrets, keys, passwords, certificates, the configuration itself."""
    path = tmp_path_factory.getbasetemp() / "content"
    path.write_bytes(content + HUSH.encode())
    try:
        use(load(Settings, {name: str(path)}))
    except ConfigError as error:
        assert HUSH not in str(error)


FORMS = ("%s://u:hush-hush%s@h", "%s://u:%shush-hush@h:1", "%s%shush-hush")


@given(
    st.sampled_from(["mqtt_url", "jwt_secret", "token"]),
    st.sampled_from(FORMS),
    st.sampled_from(["mqtt", "mqtts", "ws", "wss", "unix", "http", ""]),
    st.text("ab:@/?#%[] é\n", max_size=12),
)
@example("mqtt_url", FORMS[0], "mqtt", "[")
def test_no_password_is_in_a_problem(name: str, form: str, scheme: str, around: str) -> None:
    """In a URL that is wrong, a secret that is too short, a token that is none."""
    try:
        settings = load_values(name, form % (scheme, around))
    except ConfigError as error:
        assert HUSH not in str(error)
    else:
        assert HUSH not in repr(settings)


def load_values(name: str, text: str) -> SourcedSettings:
    """Load the settings with one value from the environment, where a password is allowed."""
    model = ClientSettings if name == "token" else Settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(f"HERMES_{name.upper()}", text)
        settings = load(model, base_of(model) if name == "mqtt_url" else {})
    if isinstance(settings, ClientSettings):
        assert settings.bearer
    return settings
