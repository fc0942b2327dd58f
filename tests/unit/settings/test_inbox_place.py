"""Where an inbox may be: a file, or a database with a password that is never visible."""

import importlib.util
from pathlib import Path

import pytest

from hermes.errors import ConfigError
from hermes.settings.fields import postgres_name, postgres_password
from hermes.settings.load import load, load_settings
from hermes.settings.model import Settings

SECRET = "0123456789abcdef" * 2
URL = "postgresql://hermes@db.example/hermes"


def problems(**values: object) -> list[str]:
    """Return the lines of the error for these flags."""
    with pytest.raises(ConfigError) as failed:
        load(Settings, {"jwt_secret": SECRET, **values})
    return failed.value.problems


@pytest.mark.parametrize(
    ("url", "password"),
    [
        (URL, None),
        ("postgresql:///hermes?host=/run/postgresql", None),
        ("postgresql://h1:5432,h2:5433/hermes?target_session_attrs=read-write", None),
        ("postgresql://hermes:hush@db/hermes", "hush"),
        ("postgres://hermes:@db/hermes", ""),
        ("postgresql://hermes:a:b@db/hermes", "a:b"),
        ("postgresql://hermes@db/hermes?sslmode=require&password=hush", "hush"),
        ("postgresql://hermes:hu%40sh@h1:1,h2:2/hermes", "hu%40sh"),
        ("/var/lib/hermes/inbox.db", None),
        ("", None),
    ],
)
def test_a_password_in_a_url_is_found(url: str, password: str | None) -> None:
    """In both places where libpq reads it."""
    assert postgres_password(url) == password


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("postgresql://hermes:hush@db:5433/hermes?password=hush", "postgresql://hermes@db:5433/hermes"),
        ("postgresql:///hermes?host=/run/postgresql", "postgresql:///hermes"),
        ("postgresql://?service=hermes", "postgresql://"),
    ],
)
def test_the_name_of_a_database_has_no_password(url: str, name: str) -> None:
    """Nor parameters, which may have one."""
    assert postgres_name(url) == name


def test_a_flag_with_a_password_is_refused(tmp_path: Path) -> None:
    """The text names what to use; the variable and the file accept one."""
    url = "postgresql://hermes:hush@db/hermes"
    [line] = problems(inbox=url)
    assert "--inbox-password-file" in line
    assert "HERMES_INBOX" in line
    assert "hush" not in line
    found = load_settings({"jwt_secret": SECRET, "inbox": url})
    assert found.inbox_url == url
    assert "hush" in found.secrets


def test_a_password_in_the_variable_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not visible in ps."""
    monkeypatch.setenv("HERMES_INBOX", "postgresql://hermes:hush@db/hermes")
    assert load(Settings, {"jwt_secret": SECRET}).inbox_url == "postgresql://hermes:hush@db/hermes"


def test_the_password_file_is_read_again_each_time(tmp_path: Path) -> None:
    """Without its last newline; it is one of the secrets."""
    file = tmp_path / "password"
    file.write_text("one\n")
    settings = load(Settings, {"jwt_secret": SECRET, "inbox": URL, "inbox_password_file": str(file)})
    assert (settings.inbox_password(), "one" in settings.secrets) == ("one", True)
    file.write_text("two\n")
    assert settings.inbox_password() == "two"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"inbox": "mysql://db/hermes"}, "postgresql://user@host/database"),
        ({"inbox": "postgresql://db/her mes"}, "white space"),
        ({"inbox": "postgresql://ana:s3cr@t@db/hermes"}, "as %40"),
        ({"inbox": "inbox.db"}, "not an absolute path"),
        ({"inbox": "/x/inbox.db", "inbox_password_file": "FILE"}, "for an inbox in a database"),
        ({"inbox_password_file": "FILE"}, "for an inbox in a database"),
    ],
)
def test_what_is_no_place_is_refused_in_words(tmp_path: Path, values: dict[str, str], words: str) -> None:
    """With what to write."""
    file = tmp_path / "password"
    file.write_text("hush\n")
    lines = problems(**{name: str(file) if value == "FILE" else value for name, value in values.items()})
    assert any(words in line for line in lines), lines


def test_two_passwords_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which one is meant would be a guess."""
    file = tmp_path / "password"
    file.write_text("hush\n")
    monkeypatch.setenv("HERMES_INBOX", "postgresql://hermes:other@db/hermes")
    [line] = problems(inbox_password_file=str(file))
    assert "remove the one in the URL" in line
    assert "other" not in line


def test_a_toml_file_with_a_password_must_be_private(tmp_path: Path) -> None:
    """As one with any other secret."""
    file = tmp_path / "hermes.toml"
    file.write_text('inbox = "postgresql://hermes:hush@db/hermes"\n')
    file.chmod(0o644)
    [line] = problems(config=str(file))
    assert str(file) in line
    file.chmod(0o600)
    assert load(Settings, {"jwt_secret": SECRET, "config": str(file)}).inbox_url


def test_without_the_package_the_text_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "psycopg" else find(name))
    [line] = problems(inbox=URL)
    assert "needs another package: " in line
