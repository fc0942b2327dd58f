"""The console has a text for everything that Hermes can tell it."""

import json

import pytest

from hermes.errors import NORMAL, TABLE
from tests.support.paths import CHECKOUT


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_close_of_hermes_has_a_text(language: str) -> None:
    """By its word, or by its code; a limit that can be raised is named with its setting."""
    strings = json.loads((CHECKOUT / "static" / "console" / "strings" / f"{language}.json").read_text())
    for close in TABLE:
        assert f"close.{close.word}" in strings or f"close.{close.code}" in strings, close
        if close.word.endswith("_full"):
            limit = {"server": "--max-sockets", "user": "--max-sockets-per-user"}.get(close.word.removesuffix("_full"))
            assert (limit or f"--max-sockets-per-{close.word.removesuffix('_full')}") in strings[f"close.{close.word}"]
    assert NORMAL in TABLE
