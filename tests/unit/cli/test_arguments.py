"""Arguments that several commands share."""

import argparse

import pytest

from hermes.cli.arguments import add_setting_flags, claim, duration_s, given
from hermes.settings.flags import settings_of
from hermes.settings.model import ClientSettings, Settings, TokenSettings


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("30s", 30), ("15m", 900), ("1h", 3_600), ("1.5h", 5_400), ("7d", 604_800), ("never", None)],
)
def test_a_duration_has_a_unit(text: str, seconds: float | None) -> None:
    """Without one it is in seconds."""
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1w", "1 h", "36526d", "9" * 400])
def test_what_is_not_a_duration_is_refused(text: str) -> None:
    """So is one of more than a century."""
    with pytest.raises(argparse.ArgumentTypeError, match="write"):
        duration_s(text)


@pytest.mark.parametrize(("text", "why"), [("", "must not be empty"), ("\udcff", "must be UTF-8 text")])
def test_an_id_is_text(text: str, why: str) -> None:
    """Not empty, and in UTF-8."""
    with pytest.raises(argparse.ArgumentTypeError, match=why):
        claim(text)
    assert claim("123") == "123"


def test_every_setting_has_a_flag_whose_text_is_returned() -> None:
    """Under the name of the setting; a repeatable one as a list; what was not given is absent."""
    parser = argparse.ArgumentParser()
    add_setting_flags(parser, Settings)
    words, expected = [], {}
    for setting in settings_of(Settings):
        if setting.flag.secret:
            continue
        words += [setting.option] if setting.flag.switch else [setting.option, "x"]
        expected[setting.name] = ["x"] if setting.flag.repeatable else "true" if setting.flag.switch else "x"
    assert given(parser.parse_args(words)) == expected
    assert given(parser.parse_args(["--topic", "a", "--topic", "b"])) == {"topics": ["a", "b"]}
    assert given(parser.parse_args(["--config", "f"])) == {"config": "f"}
    assert given(parser.parse_args([])) == {}


def test_a_command_may_have_the_flags_of_some_settings_only() -> None:
    """Of several models, with --config once."""
    parser = argparse.ArgumentParser()
    add_setting_flags(parser, ClientSettings, TokenSettings, only={"api_url", "jwt_secret_file"})
    text = parser.format_help()
    assert [text.count(f"\n  {flag} ") for flag in ("--config", "--url", "--jwt-secret-file")] == [1, 1, 1]
    assert "--token-file" not in text
    assert "--claim-tenant" not in text
