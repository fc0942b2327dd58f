"""The reference page: the same flags, variables, defaults and meanings as in the models."""

import re

import pytest

from hermes.settings.flags import CONFIG, settings_of
from hermes.settings.model import ClientSettings, DeviceSettings, Settings, TokenSettings, TopicSettings
from hermes.settings.reference import BEGIN, END, main, tables, updated
from tests.support.paths import CHECKOUT

PAGE = CHECKOUT / "docs" / "reference" / "configuration.md"


def test_the_page_has_the_tables_of_the_models() -> None:
    """To update it: python -m hermes.settings.reference docs/reference/configuration.md."""
    page = PAGE.read_text("utf-8")
    assert updated(page) == page


def test_the_tables_have_every_setting_with_its_default() -> None:
    """Each model's; a secret has a variable and no flag."""
    rows = re.findall(r"^\| (\S*) \| `HERMES_(\w+)` \| (.+?) \| (.+) \|$", tables(), re.MULTILINE)
    expected = {setting.name.upper() for model in (Settings, ClientSettings) for setting in settings_of(model)}
    assert {variable for _, variable, _, _ in rows} == expected | {"CONFIG"}
    found = {flag or variable: (default, meaning) for flag, variable, default, meaning in rows}
    assert found["`--port`"][0] == "`8080`"
    assert found["`--compress`"][0] == "`true`"
    assert found["`--topic`"][0] == "`hermes`"
    assert "repeatable" in found["`--topic`"][1]
    assert found["`--mqtt-ca-file`"][0] == "those of the system"
    assert "JWT_SECRET" in found
    assert "`--jwt-secret`" not in found


@pytest.mark.parametrize("model", [Settings, ClientSettings, DeviceSettings, TokenSettings, TopicSettings])
def test_every_setting_is_described(model: type[Settings]) -> None:
    """In a phrase that begins in lower case and has no full stop at its end."""
    for setting in (CONFIG, *settings_of(model)):
        assert setting.description, setting.name
        assert not setting.description.endswith("."), setting.name
        assert "|" not in setting.description, setting.name
        if setting.option and not setting.flag.switch:
            assert setting.flag.metavar, setting.name


def test_only_the_part_between_the_markers_is_replaced() -> None:
    """A page without them is an error."""
    page = f"before\n\n{BEGIN}\n\nold\n{END}\n\nafter\n"
    assert updated(page) == f"before\n\n{BEGIN}\n\n{tables()}\n{END}\n\nafter\n"
    with pytest.raises(ValueError, match="needs the lines"):
        updated("nothing")


def test_the_command_prints_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a path."""
    main([])
    assert capsys.readouterr().out == tables() + "\n"
