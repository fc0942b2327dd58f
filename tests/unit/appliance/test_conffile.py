"""The commented configuration file of the package."""

import re
import tomllib

import pytest

from hermes.appliance.conffile import WIDTH, commented_file
from hermes.appliance.debian import changelog, debian_version
from hermes.settings.model import Settings


def test_the_file_sets_nothing() -> None:
    """Every line is a comment or empty."""
    assert tomllib.loads(commented_file()) == {}


def test_the_file_has_every_key_with_its_default() -> None:
    """In TOML, so that removing the # is enough."""
    values = tomllib.loads(re.sub(r"^#(?=\w)", "", commented_file(), flags=re.MULTILINE))
    assert set(values) == set(Settings.model_fields)
    for name, value in values.items():
        default = Settings.model_fields[name].default
        if default not in (None, ()):
            assert (tuple(value) if isinstance(value, list) else value) == default, name


def test_every_key_is_described() -> None:
    """By comments of a readable width."""
    blocks = re.findall(r"((?:^# .*\n)+)^#(\w+) = ", commented_file(), re.MULTILINE)
    assert [name for _, name in blocks] == re.findall(r"^#(\w+) = ", commented_file(), re.MULTILINE)
    for comment, name in blocks:
        assert max(map(len, comment.splitlines())) <= WIDTH, name


@pytest.mark.parametrize(
    ("python", "debian"),
    [
        ("0.2.0.dev0", "0.2.0~dev0"),
        ("1.0rc1", "1.0~rc1"),
        ("1.0a2.dev3", "1.0~a2~dev3"),
        ("1.0", "1.0"),
        ("1.0.post1", "1.0+post1"),
    ],
)
def test_a_version_is_sorted_as_debian_does(python: str, debian: str) -> None:
    """A pre-release before its release."""
    assert debian_version(python) == debian


def test_another_version_is_an_error() -> None:
    """It names the version."""
    with pytest.raises(ValueError, match=r"1\.0\+local"):
        debian_version("1.0+local")


def test_the_changelog_has_debians_form() -> None:
    """One entry."""
    text = changelog("hermes-gateway", "1.0", "Thu, 26 Nov 2026 00:00:00 -0000")
    assert text.startswith("hermes-gateway (1.0) unstable; urgency=medium\n\n  * ")
    assert re.search(r"\n\n -- .+ <.+@.+>  Thu, 26 Nov 2026 00:00:00 -0000\n$", text)
