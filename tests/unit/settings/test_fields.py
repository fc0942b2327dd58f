"""Single settings: which values are accepted, and what the error says."""

from pathlib import Path

import pytest

from hermes.errors import ConfigError
from hermes.settings.fields import is_loopback
from hermes.settings.load import load, load_settings
from hermes.settings.model import ClientSettings
from tests.support.gateways import KEY, SECRET


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "https://hermes.example", "http://[::1]:1/under/", "http://h"]
)
def test_a_client_accepts_a_url_of_hermes(url: str) -> None:
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
def test_a_client_refuses_what_is_not_a_url(url: str) -> None:
    """It would try to reach it forever."""
    with pytest.raises(ConfigError, match=r"--url \(HERMES_API_URL\): must look like http://"):
        load(ClientSettings, {"api_url": url})


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["", "\n", "\r\n"])
def test_one_trailing_newline_of_a_secret_file_is_ignored(tmp_path: Path, ending: str, mark: str) -> None:
    """So is the byte order mark of some editors, there and in the files of keys and settings."""
    path = tmp_path / "secret"
    path.write_text(f"{mark}{SECRET}{ending}", newline="")
    keys = tmp_path / "keys"
    keys.write_text(f"{mark}{KEY}{ending}")
    file = tmp_path / "hermes.toml"
    file.write_text(f"{mark}port = 1{ending}")
    settings = load_settings({"jwt_secret_file": path, "api_key_file": keys, "config": file})
    assert (settings.secret, settings.api_keys[0].text, settings.port) == (SECRET, KEY, 1)


@pytest.mark.parametrize(
    "secret", [f"{SECRET}\n\n", f" {SECRET}", f"{SECRET}\t", f"{SECRET}\u200b", f"a\u202e{SECRET}"]
)
def test_a_secret_that_nobody_sees_as_it_is_is_refused(tmp_path: Path, secret: str) -> None:
    """Tokens that others sign with what they see could never match."""
    path = tmp_path / "secret"
    path.write_text(secret)
    with pytest.raises(ConfigError, match="white space, or has an invisible character"):
        load_settings({"jwt_secret_file": path})


@pytest.mark.parametrize("key", ["caf\u00e9" * 4, "a\u200bb" * 6, "a\u00a0b" * 6, "a\x07b" * 6])
def test_a_key_that_no_client_can_send_is_refused(tmp_path: Path, key: str) -> None:
    """The problem names the file and the number of the line, not the key."""
    path = tmp_path / "keys"
    path.write_text(f"# rotated\n{KEY}\n{key}\n")
    with pytest.raises(ConfigError, match=rf"{path}, line 3: the key has a character") as caught:
        load_settings({"jwt_secret": SECRET, "api_key_file": path})
    assert key not in str(caught.value)


@pytest.mark.parametrize("content", [b"\xff\xfe" * 40, b"too short\n"])
def test_a_bad_secret_file_is_refused_without_its_content(tmp_path: Path, content: bytes) -> None:
    """If it is not text, or too short."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        load_settings({"jwt_secret_file": path})
    (line,) = error.value.problems
    assert "--jwt-secret-file" in line
    assert "too short" not in line


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE\n-----END PUBLIC KEY-----",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ5mZ9wq0m0b8Jm4b7m3h0m2yX1v me@here",
    ],
)
def test_a_key_of_another_kind_is_not_a_secret(secret: str) -> None:
    """The line says how to make one and does not repeat the key."""
    with pytest.raises(ConfigError) as error:
        load_settings({"jwt_secret": secret, "port": "-1"})
    assert len(error.value.problems) == 2
    assert any("not a secret for HS256" in line and "openssl rand" in line for line in error.value.problems)
    assert "AAAA" not in str(error.value)
    assert "MFkw" not in str(error.value)


def test_a_key_file_has_one_key_per_line(tmp_path: Path) -> None:
    """A file without a key is refused."""
    path = tmp_path / "keys"
    path.write_text(f"{KEY}\n\n  site {KEY[::-1]} \n")
    keys = load_settings({"jwt_secret": SECRET, "api_key_file": path}).api_keys
    assert [key.text for key in keys] == [KEY, KEY[::-1]]
    path.write_text("\n# no key\n")
    with pytest.raises(ConfigError, match="contains no key"):
        load_settings({"jwt_secret": SECRET, "api_key_file": path})


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
def test_loopback_is_this_machine_only(host: str, expected: bool) -> None:
    """By address, and by the one name."""
    assert is_loopback(host) is expected


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1%eth0", "localhost", "gateway-1.site.example", "edge_7", "*"]
)
def test_addresses_and_names_can_be_listened_on(tmp_path: Path, host: str) -> None:
    """As the system resolves them."""
    keys = tmp_path / "keys"
    keys.write_text(KEY)
    assert load_settings({"jwt_secret": SECRET, "host": host, "api_key_file": keys}).host == host


@pytest.mark.parametrize(
    ("host", "why"),
    [
        ("[::1]", "write ::1 without brackets"),
        ("127.0.0.1:8080", "the port is a setting of its own"),
        ("http://gateway", "give the address alone"),
        ("0.0.0.0/0", "give the address alone"),
        ("256.1.1.1", "neither an address nor the name"),
        ("a b", "neither an address nor the name"),
        (" ", "neither an address nor the name"),
        ("a\nport = 1", "neither an address nor the name"),
        ("", "neither an address nor the name"),
    ],
)
def test_what_nobody_can_listen_on_is_refused_at_start(host: str, why: str) -> None:
    """A service would try it again and again."""
    with pytest.raises(ConfigError) as caught:
        load_settings({"jwt_secret": SECRET, "host": host})
    assert any(why in line for line in caught.value.problems)
