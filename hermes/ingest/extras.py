"""The payload formats that need another package, an extra of Hermes."""

from collections.abc import Iterable
from importlib.util import find_spec

from hermes.errors import install_command
from hermes.ingest import payload
from hermes.ingest.payload import PayloadDecoder
from hermes.topics.template import PayloadKind
from hermes.topics.topic_map import Template

EXTRAS = {"cbor": "cbor2", "sparkplug": "google.protobuf"}  # format and extra of the same name → imported package


def missing(templates: Iterable[Template]) -> list[str]:
    """Return one command for each missing extra that a template needs."""
    needed = sorted({template.payload for template in templates} & EXTRAS.keys())
    return [
        f"topics with payload={extra} need another package: {install_command(extra)}"
        for extra in needed
        if not _importable(EXTRAS[extra])
    ]


def decoders(templates: Iterable[Template]) -> dict[PayloadKind, PayloadDecoder]:
    """Return a decoder for each payload format of these templates.

    The module of an extra is imported only if a template needs it. Sparkplug is not among them: one of its payloads has
    several values, see `hermes.ingest.sparkplug`.
    """
    found: dict[PayloadKind, PayloadDecoder] = {"json": payload.decode}
    if "cbor" in {template.payload for template in templates}:
        from hermes.ingest import cbor

        found["cbor"] = cbor.decode
    return found


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the enclosing package is installed
        return False
