"""Rules between settings, on validated values."""

import functools
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import ConfigError
from hermes.settings.load import load, load_settings
from hermes.settings.model import Settings, TokenSettings
from hermes.settings.rules import RULES, SOCKET_LIMITS, broken_rules, warnings
from tests.support.certificates import Authority
from tests.support.gateways import SECRET


def problems(values: dict[str, object]) -> list[str]:
    """Return what is wrong with these values."""
    with pytest.raises(ConfigError) as error:
        load_settings(values)
    return error.value.problems


OF_SERVER = [rule for rule in RULES if Settings.model_fields.keys() >= set(rule.reads)]
SESSION: dict[str, object] = {
    "mqtt_clean_start": "false",
    "mqtt_session_expiry_s": "60",
    "mqtt_client_id": "gateway1",
    "mqtt_qos": "1",
}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"mqtt_password_file": "PASSWORD"}, "needs a user: give --mqtt-username"),
        ({"mqtt_password_file": "PASSWORD", "mqtt_url": "mqtt://ana:hush@h"}, "remove the one in the URL"),
        ({"mqtt_username": "ana", "mqtt_url": "mqtt://bob@h"}, "are both given; remove one"),
        ({"mqtt_username": "ana", "mqtt_url": "embedded"}, "--mqtt-url is embedded; leave it out"),
        ({"mqtt_username": "ana", "mqtt_url": "off"}, "--mqtt-url is off; leave it out"),
        ({"mqtt_username": "ana", "dev": "true"}, "--mqtt-url is embedded; leave it out"),
        ({"mqtt_username": "ana", "mqtt_password_file": "EMPTY"}, "is empty; write the password into it"),
        ({"mqtt_ca_file": "CA"}, "--mqtt-ca-file is for TLS, which --mqtt-url does not use"),
        ({"mqtt_alpn": ["mqtt"], "mqtt_url": "ws://h"}, "--mqtt-alpn is for TLS"),
        ({"mqtt_ca_file": "PASSWORD", "mqtt_url": "mqtts://h"}, "contains no CA certificate"),
        ({"mqtt_ca_file": "ABSENT", "mqtt_url": "mqtts://h"}, "cannot read"),
        ({"tls_cert": "CA"}, "--tls-cert needs --tls-key"),
        ({"tls_key": "KEY"}, "--tls-key needs --tls-cert"),
        ({"tls_port": "8443"}, "--tls-port is for TLS"),
        ({"hsts_max_age_s": "60"}, "--hsts-max-age-s is for TLS"),
        ({"mqtt_cert_file": "CA", "mqtt_url": "mqtts://h"}, "--mqtt-cert-file needs --mqtt-key-file"),
        ({"mqtt_key_file": "CA", "mqtt_url": "mqtts://h"}, "--mqtt-key-file needs --mqtt-cert-file"),
        ({"mqtt_cert_file": "CA", "mqtt_key_file": "KEY", "mqtt_url": "mqtts://h"}, "do not match"),
        ({"mqtt_cert_file": "ABSENT", "mqtt_key_file": "KEY", "mqtt_url": "wss://h"}, "cannot read"),
        (
            SESSION | {"mqtt_on_demand": "true"},
            "leave out --mqtt-clean-start false and --mqtt-session-expiry-s, or --mqtt-on-demand",
        ),
        ({"mqtt_session_expiry_s": "60"}, "has no effect without --mqtt-clean-start false"),
        ({"mqtt_linger_s": "-1", "mqtt_on_demand": "true"}, "--mqtt-linger-s"),
        ({"mqtt_qos": "2"}, "--mqtt-qos"),
        ({"mqtt_qos": "one"}, "--mqtt-qos"),
        ({"mqtt_keepalive_s": "0"}, "--mqtt-keepalive-s"),
        ({"mqtt_receive_maximum": "0"}, "--mqtt-receive-maximum"),
        ({"mqtt_client_id": "a\nb"}, "--mqtt-client-id"),
        ({"mqtt_alpn": ["x" * 256], "mqtt_url": "mqtts://h"}, "1 to 255 bytes"),
    ],
)
def test_a_link_that_cannot_work_is_one_problem(values: dict[str, object], words: str, tmp_path: Path) -> None:
    """The line says what to write, and contains no password."""
    signed = Authority(tmp_path).sign("other")
    files = {"CA": tmp_path / "test-authority.pem", "KEY": signed.key, "ABSENT": tmp_path / "absent"}
    for name, text in (("PASSWORD", "hush"), ("EMPTY", "\n")):
        files[name] = tmp_path / name
        files[name].write_text(text)
    given = {
        name: files.get(value, value) if isinstance(value, str) and name != "mqtt_url" else value
        for name, value in values.items()
    }
    lines = problems({"jwt_secret": SECRET} | given)
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert "hush" not in lines[0]


def test_a_persistent_session_names_everything_that_is_missing() -> None:
    """One setting alone would not have the expected effect."""
    lines = problems({"jwt_secret": SECRET, "mqtt_clean_start": False})
    for words in ("--mqtt-session-expiry-s", "--mqtt-client-id", "--mqtt-qos 1"):
        assert any(words in line for line in lines), (words, lines)
    assert len(lines) == 3


def test_a_complete_persistent_session_is_accepted() -> None:
    """All four settings together."""
    assert load_settings({"jwt_secret": SECRET} | SESSION).mqtt_options.session_expiry_s == 60


def test_a_secret_comes_from_one_source(tmp_path: Path) -> None:
    """Variable and file together are a problem, for every command; the secret is in no line."""
    path = tmp_path / "secret"
    path.write_text(SECRET)
    for model in (Settings, TokenSettings):
        with pytest.raises(ConfigError) as error:
            load(model, {"jwt_secret": SECRET, "jwt_secret_file": path})
        assert "both given" in error.value.problems[0]
        assert SECRET not in str(error.value)


def test_dev_needs_no_secret_and_no_broker() -> None:
    """Its defaults are different."""
    assert load_settings({"dev": True}).broker_url == "embedded"
    assert load_settings({"dev": "true", "mqtt_url": "off"}).broker_url == "off"


def test_a_rule_that_needs_an_invalid_field_is_not_applied() -> None:
    """The others are, so that both kinds of problems appear together."""
    lines = problems({"host": "0.0.0.0", "dev": "perhaps", "mqtt_clean_start": "false", "mqtt_qos": "9"})
    assert [line.partition(" ")[0] for line in lines] == ["--mqtt-qos", "--dev"]


class Recording(Settings):
    """Settings that record which of their fields were read."""

    def __getattribute__(self, name: str) -> Any:
        """Return the attribute."""
        if name in Settings.model_fields:
            READ.add(name)
        return super().__getattribute__(name)


READ: set[str] = set()
VARIANTS: tuple[dict[str, object], ...] = (
    {},
    {"dev": True, "host": "0.0.0.0"},
    {"host": "0.0.0.0"},
    {"mqtt_url": "off", "mqtt_username": "ana"},
    {"mqtt_url": "mqtts://ana@h", "mqtt_username": "ana", "mqtt_cert_file": "/c", "mqtt_key_file": "/k"},
    {"mqtt_clean_start": False, "mqtt_on_demand": True},
    {"mqtt_url": "embedded", "broker_listen": "127.0.0.1:1", "broker_cert_file": "/c", "topics": ["chirpstack"]},
)


@functools.cache
def recording() -> list[Recording]:
    """Return settings for each variant."""
    return [Recording(**variant) for variant in VARIANTS]  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", OF_SERVER, ids=lambda rule: "+".join(rule.reads))
def test_a_rule_declares_every_field_that_it_reads(rule: Any) -> None:
    """Otherwise it would judge the default in place of an invalid value."""
    for settings, variant in zip(recording(), VARIANTS, strict=True):
        READ.clear()
        list(rule.problems(settings))
        assert set(rule.reads) >= READ, variant


def test_a_rule_is_not_applied_to_a_model_without_its_fields() -> None:
    """`hermes token` needs no host, and reports a missing secret only if it signs."""
    assert broken_rules(TokenSettings(), invalid=()) == []
    assert len(broken_rules(Settings(), invalid=())) == 1


@pytest.mark.parametrize("name", SOCKET_LIMITS)
def test_a_limit_below_what_the_console_needs_is_a_warning(name: str) -> None:
    """It is valid, but the console's page opens four sockets; 0 means no limit."""
    for value, warned in (("1", True), ("3", True), ("4", False), *([("0", False)] if name != "max_sockets" else [])):
        lines = warnings(load(Settings, {"jwt_secret": SECRET, name: value}))
        assert len(lines) == warned
        if warned:
            option = f"--{name.replace('_', '-')}"
            assert lines[0].startswith(f"{option} {value} is less than the 4 sockets of one console page")
    assert warnings(load(Settings, {"jwt_secret": SECRET})) == []


KEYS_REQUIRED = "no JWT secret: write one to a file"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "or use the keys of an identity provider: --oidc-issuer"),
        ({"jwks_url": "http://keys.example/set"}, "--jwks-url: must be https"),
        ({"oidc_issuer": "http://sso.example"}, "--oidc-issuer: must be https"),
        ({"oidc_issuer": "https://sso.example?x=1"}, "must be the issuer, without a query"),
        ({"oidc_issuer": "https://ana:hush@sso.example"}, "without a user, a password and a fragment"),
        ({"oidc_issuer": "sso.example"}, "must look like"),
        ({"jwks_url": "file:///etc/passwd"}, "must look like"),
        ({"jwt_secret": SECRET, "jwks_ca_file": "CA"}, "--jwks-ca-file is for keys that are fetched"),
        ({"jwt_secret": SECRET, "jwks_insecure": "true"}, "--jwks-insecure is for keys that are fetched"),
        ({"jwt_secret": SECRET, "oidc_client_id": "x"}, "give --oidc-issuer as well"),
        ({"jwt_secret": SECRET, "claim_superuser": "roles="}, "write NAME, or NAME=VALUE"),
        ({"jwt_secret": SECRET, "jwt_leeway_s": "-1"}, "--jwt-leeway-s"),
        ({"jwt_secret": SECRET, "jwt_max_age_s": "0"}, "--jwt-max-age-s"),
        ({"jwt_public_key_file": "CA"}, "it has a certificate"),
        ({"jwt_public_key_file": "ABSENT"}, "cannot read"),
        ({"jwks_file": "CA"}, "it is not JSON"),
    ],
)
def test_keys_that_cannot_be_used_are_one_problem(values: dict[str, object], words: str, tmp_path: Path) -> None:
    """The line names the setting and what to write."""
    authority = Authority(tmp_path)
    files = {"CA": authority.certificate, "ABSENT": tmp_path / "absent"}
    lines = problems({"mqtt_url": "off"} | {name: files.get(str(value), value) for name, value in values.items()})
    assert words in lines[0], lines
    assert len([line for line in lines if KEYS_REQUIRED not in line or not values]) == 1, lines
    assert "hush" not in str(lines)


@pytest.mark.parametrize(
    "values",
    [
        {"oidc_issuer": "https://sso.example/realms/site"},
        {"oidc_issuer": "http://127.0.0.1:8080/realms/site"},
        {"jwks_url": "http://[::1]:8080/keys"},
        {"jwks_url": "http://localhost/keys"},
        {"jwks_url": "http://keys.example/set", "jwks_insecure": True},
    ],
)
def test_keys_may_come_from_https_and_from_this_machine(values: dict[str, object]) -> None:
    """No secret is needed then; other addresses need --jwks-insecure, which is a warning."""
    settings = load_settings(values)
    assert settings.secret is None
    insecure = [line for line in warnings(settings) if "--jwks-insecure" in line]
    assert len(insecure) == int("jwks_insecure" in values)


def test_several_secrets_verify_and_the_first_signs(tmp_path: Path) -> None:
    """One path, a list, or texts with commas."""
    paths = [tmp_path / "one", tmp_path / "two"]
    for path, sign in zip(paths, "12", strict=True):
        path.write_text(sign * 32)
    for given in (paths, [str(path) for path in paths], f"{paths[0]},{paths[1]}"):
        settings = load_settings({"jwt_secret_file": given})
        assert (settings.secret, settings.token_secrets) == ("1" * 32, ("1" * 32, "2" * 32))
        assert set(settings.secrets) >= {"1" * 32, "2" * 32}
    assert load_settings({"jwt_secret_file": paths[1]}).token_secrets == ("2" * 32,)
    paths[1].write_text("short")
    (line,) = problems({"jwt_secret_file": paths})
    assert f"{paths[1]}: the secret is shorter than 32 bytes" in line
