"""Load the settings from flags, environment and TOML file.

Flags override the environment (``HERMES_…``), which overrides the TOML file, which overrides the defaults. A TOML key
is the variable's name without ``HERMES_``, in lower case.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from hermes.errors import ConfigError
from hermes.settings.model import Faults, Settings, SourcedSettings, variable
from hermes.settings.rules import shown_faults

CONFIG_VARIABLE = "HERMES_CONFIG"


def _toml(path: str | None) -> dict[str, Any]:
    if not path:
        return {}
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"--config: cannot read {path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"--config: {path} is not TOML: {error}"]) from None


def _known(model: type[SourcedSettings], values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name in model.model_fields}


S = TypeVar("S", bound=SourcedSettings)


def load(model: type[S], flags: Mapping[str, Any]) -> S:
    """The settings of this model from flags, environment and file; raises `ConfigError` with every fault.

    ``flags`` maps field names to the strings given on the command line, ``config`` to the TOML file's path. The
    commands that need only a few settings read the same file and pass over the keys of the others.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    faults = shown_faults(given)
    try:
        settings = _merged(model, given)
    except ConfigError as error:
        raise ConfigError(faults + error.faults) from None
    if faults:
        raise ConfigError(faults)
    return settings


def load_settings(values: Mapping[str, Any]) -> Settings:
    """Return the settings of a gateway; raises `ConfigError` with every problem.

    ``values`` maps setting names (``mqtt_url``) to values; they override the environment, which overrides the file.
    """
    return load(Settings, values)


def _merged(model: type[S], given: dict[str, Any]) -> S:
    values = _toml(given.pop("config", None) or os.environ.get(CONFIG_VARIABLE))
    from_file = {name: value for name, value in values.items() if not os.environ.get(variable(name))}
    if model is not Settings:
        given, from_file = _known(model, given), _known(model, from_file)
    try:
        return model(**(from_file | given))
    except Faults as faults:
        raise ConfigError(faults.lines) from None
