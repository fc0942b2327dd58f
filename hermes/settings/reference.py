"""Tables of all settings for the reference page, made from the models.

``python -m hermes.settings.reference`` prints them; with the path of the page
(docs/reference/configuration.md) it replaces them there.
"""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from hermes.settings.flags import CONFIG, Group, Setting, settings_of
from hermes.settings.model import ClientSettings, Settings

BEGIN, END = "<!-- settings:begin -->", "<!-- settings:end -->"

# Where the pages explain more; relative to docs/reference/.
SEE = {
    "api_key_file": "[who may call `/notify`](#who-may-call-notify)",
    "broker_listen": "[device accounts](../guide/device-accounts.md)",
    "dev": "[`--dev`](#--dev)",
    "mqtt_clean_start": "[a persistent session](../guide/mqtt-broker.md#a-persistent-session)",
    "mqtt_on_demand": "[on-demand subscriptions](../guide/mqtt-broker.md#on-demand-subscriptions)",
    "topics": "[topics](topics.md)",
    "uvloop": "[performance](performance.md#findings)",
}

HEADER = "| flag | variable | default | meaning |\n|---|---|---|---|\n"
NOTES = {Group.CLIENT: "Only for `hermes notify` and `hermes listen`.\n\n"}


def tables() -> str:
    """Return a heading and a table for each group of settings, in Markdown."""
    of_client = [setting for setting in settings_of(ClientSettings) if setting.flag.group is Group.CLIENT]
    return "\n".join([*_sections([CONFIG, *settings_of(Settings)]), *_sections(of_client)])


def _sections(settings: Iterable[Setting]) -> Iterator[str]:
    for group, members in groupby(settings, key=lambda setting: setting.flag.group):
        rows = [f"| {' | '.join(_cells(setting))} |\n" for setting in members]
        yield f"### {group[0].upper()}{group[1:]}\n\n{NOTES.get(group, '')}{HEADER}{''.join(rows)}"


def _cells(setting: Setting) -> tuple[str, ...]:
    flag = f"`{setting.option}`" if setting.option else ""
    is_value = not setting.flag.default and setting.default != "none"
    default = f"`{setting.default}`" if is_value else setting.default
    repeatable = "; repeatable" if setting.flag.repeatable else ""
    see = f"; see {SEE[setting.name]}" if setting.name in SEE else ""
    return flag, f"`{setting.variable}`", default, f"{setting.description}{repeatable}{see}"


def updated(page: str) -> str:
    """Return the page with the present tables between the two markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables()}\n{END}{after}"


def main(arguments: list[str]) -> None:
    """Print the tables, or update the page of that path."""
    if not arguments:
        print(tables())
        return
    path = Path(arguments[0])
    path.write_text(updated(path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
