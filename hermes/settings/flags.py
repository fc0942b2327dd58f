"""Flag, environment variable, default and meaning of each setting.

A field of a settings model has a `Flag` among its annotations, and a ``description`` in its ``Field``. The command
line, the text of configuration errors and the reference page are made from these.
"""

import functools
from dataclasses import dataclass
from enum import StrEnum

from pydantic import BaseModel
from pydantic.fields import FieldInfo

ENVIRONMENT_PREFIX = "HERMES_"
FILE = "FILE"  # the metavar of settings that name a file


class Group(StrEnum):
    """Headings of ``--help`` and of the reference page, in their order."""

    GENERAL = "general"
    LISTENING = "listening"
    TOKENS = "tokens and API keys"
    ISSUERS = "keys of identity providers"
    MQTT = "MQTT link"
    TOPICS = "topics"
    BROKER = "embedded broker"
    SOCKETS = "sockets and limits"
    INBOX = "inbox"
    CLUSTER = "several nodes"
    LAST_VALUES = "last values"
    DEVELOPMENT = "development"
    LOGGING = "logging"
    CLIENT = "connection to Hermes"


@dataclass(frozen=True, slots=True)
class Flag:
    """How a setting is given on the command line, as an annotation of its field."""

    group: Group
    metavar: str = ""  # stands for the value in --help; FILE if it names a file
    name: str = ""  # without dashes; empty: made from the field's name
    repeatable: bool = False  # each use adds one value; the variable separates them by commas
    switch: bool = False  # has no value: its presence means true
    secret: bool = False  # is not a flag at all, because flags are visible in ps
    private: bool = False  # names a file that other users may not read
    default: str = ""  # in words, if the default is chosen at start


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it is documented. `description` may mark code with backticks."""

    name: str
    flag: Flag
    description: str
    default: str

    @property
    def option(self) -> str:
        """Its flag with dashes; empty for a secret."""
        return "" if self.flag.secret else f"--{self.flag.name or self.name.replace('_', '-')}"

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"{ENVIRONMENT_PREFIX}{self.name.upper()}"

    @property
    def singular_variable(self) -> str | None:
        """The variable that the flag of a list suggests.

        ``HERMES_ORIGIN``, because of ``--origin``, for ``HERMES_ORIGINS``.
        """
        if not self.flag.repeatable or not self.flag.name:
            return None
        return f"{ENVIRONMENT_PREFIX}{self.flag.name.replace('-', '_').upper()}"

    @property
    def label(self) -> str:
        """Flag and variable, as a problem of this setting names them."""
        return f"{self.option} ({self.variable})" if self.option else self.variable


CONFIG = Setting("config", Flag(Group.GENERAL, "FILE"), "TOML file with further settings", "none")


@functools.cache
def settings_of(model: type[BaseModel]) -> tuple[Setting, ...]:
    """Return every setting of a model, in the order of the groups."""
    found = [_setting(name, field) for name, field in model.model_fields.items()]
    return tuple(setting for group in Group for setting in found if setting.flag.group is group)


def setting_of(model: type[BaseModel], name: str) -> Setting:
    """Return one setting of a model."""
    return _setting(name, model.model_fields[name])


def _setting(name: str, field: FieldInfo) -> Setting:
    (flag,) = (each for each in field.metadata if isinstance(each, Flag))
    return Setting(name, flag, field.description or "", flag.default or _text(field.default))


def _text(default: object) -> str:
    """Return a default as one would write it in a flag."""
    if default is None or default == ():
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return str(default)
