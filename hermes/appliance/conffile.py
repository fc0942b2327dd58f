"""The TOML file with every setting commented out, made from the settings model."""

import json
import textwrap
from collections.abc import Iterator
from itertools import groupby

from hermes.settings.flags import Setting, settings_of
from hermes.settings.model import Settings

WIDTH = 100
HEADER = """\
# Settings of Hermes. Every key is commented out and shows its default; a key without one shows what
# belongs there. Check a change with: hermes check --config /etc/hermes/hermes.toml
# A HERMES_... variable overrides a key, a flag overrides both. Secrets belong into files of their own.
"""


def commented_file() -> str:
    """Return the content of ``hermes.toml``."""
    return HEADER + "".join(_sections())


def _sections() -> Iterator[str]:
    for group, settings in groupby(settings_of(Settings), key=lambda setting: setting.flag.group):
        yield f"\n## {group}\n"
        for setting in settings:
            yield f"\n{_comment(setting)}\n#{setting.name} = {_value(setting)}\n"


def _comment(setting: Setting) -> str:
    default = f" (default: {setting.default})" if _default(setting) is None else ""
    text = f"{setting.description}{default}".replace("`", "")
    return textwrap.fill(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _default(setting: Setting) -> object:
    return Settings.model_fields[setting.name].default


def _value(setting: Setting) -> str:
    """Return the default in TOML, or a text that stands for the value."""
    value = _default(setting)
    if value is None or value == ():
        placeholder = json.dumps(setting.flag.metavar or "TEXT", ensure_ascii=False)
        return f"[{placeholder}]" if setting.flag.repeatable else placeholder
    return json.dumps(value, ensure_ascii=False)  # numbers, texts, booleans and arrays are written as in JSON
