"""Arguments that several commands share.

The flags of settings are made from the models in `hermes.settings.model`. Their values stay text here:
`hermes.settings.load` validates them together with the environment and the TOML file.
"""

import argparse
import re
from collections.abc import Collection

from hermes.settings.flags import CONFIG, Group, Setting, settings_of
from hermes.settings.model import SourcedSettings

TTL_MAX_S = 36_525 * 86_400  # a hundred years: a longer time is a typing error, and finally not a finite number
UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}
ALWAYS = ("insecure_secret_files",)  # the flag of every command that reads secret files
_DEST = "set_"  # begins the attribute of each setting, so that `given` finds it


def add_setting_flags(
    parser: argparse.ArgumentParser, *models: type[SourcedSettings], only: Collection[str] = ()
) -> None:
    """Add ``--config`` and a flag for each setting of the models, in groups.

    With ``only``, add the flags of these settings alone. A setting of two models has one flag.
    """
    groups: dict[Group, argparse._ArgumentGroup] = {}
    every = {setting.name: setting for model in models for setting in settings_of(model)}
    for setting in (CONFIG, *every.values()):
        if setting is CONFIG or not only or setting.name in (*ALWAYS, *only):
            group = setting.flag.group
            if group not in groups:
                groups[group] = parser.add_argument_group(group)
            _add_flag(groups[group], setting)


def _add_flag(group: argparse._ArgumentGroup, setting: Setting) -> None:
    flag, dest, text = setting.flag, f"{_DEST}{setting.name}", _help_of(setting)
    if flag.secret:
        return
    if flag.switch:
        group.add_argument(setting.option, dest=dest, help=text, action="store_const", const="true")
    else:
        action = "append" if flag.repeatable else "store"
        group.add_argument(setting.option, dest=dest, help=text, action=action, metavar=flag.metavar)


def _help_of(setting: Setting) -> str:
    """Return description and default, and the variable if it is named differently."""
    text = setting.description
    if setting.flag.repeatable:
        text += "; repeatable"
    if setting.flag.name:
        text += f"; variable {setting.variable}"
    if setting.default != "none" and not setting.flag.switch:
        text += f" (default: {setting.default})"
    return text.replace("`", "").replace("%", "%%")


def given(options: argparse.Namespace) -> dict[str, object]:
    """Return the values of the given setting flags, by the name of the setting."""
    return {
        name.removeprefix(_DEST): value
        for name, value in vars(options).items()
        if name.startswith(_DEST) and value is not None
    }


def duration_s(text: str) -> float | None:
    """Return the seconds of ``90``, ``30s``, ``15m``, ``1h`` or ``7d``.

    None stands for ``never``.
    """
    if text == "never":
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration; write 30s, 15m, 1h, 7d or never")
    seconds = float(match[1]) * UNITS_S[match[2]]
    if seconds > TTL_MAX_S:
        raise argparse.ArgumentTypeError(f"more than {TTL_MAX_S // UNITS_S['d']} days; write never instead")
    return seconds


def claim(text: str) -> str:
    """Return an id or a name.

    One that is empty or not UTF-8 is an error: Hermes would refuse it in a token or a notification.
    """
    if not text:
        raise argparse.ArgumentTypeError("must not be empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError("must be UTF-8 text") from None
    return text
