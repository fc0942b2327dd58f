"""Hermes: the gateway between an on-prem site's MQTT devices and its browsers.

The public API, for programs that embed Hermes::

    from hermes import Gateway, load_settings, sign_token

Other public modules: `hermes.client` (Python client) and `hermes.testing` (test helpers). Importing any of them changes
nothing in the program that imports it: no logging set-up, no signal handlers, no limits, no event loop.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hermes.auth.tokens import sign_token
    from hermes.gateway import Gateway
    from hermes.settings.load import load_settings
    from hermes.settings.model import Settings

__version__ = "0.2.0.dev0"
__all__ = ["Gateway", "Settings", "__version__", "load_settings", "sign_token"]

_PLACES = {
    "Gateway": "hermes.gateway",
    "Settings": "hermes.settings.model",
    "load_settings": "hermes.settings.load",
    "sign_token": "hermes.auth.tokens",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used.

    As a result, ``hermes --version`` imports neither Tornado nor paho.
    """
    if name not in _PLACES:
        raise AttributeError(f"module 'hermes' has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return value
