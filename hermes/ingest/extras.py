"""The devices' door: the packages that some payloads need, and whether they are there."""

from collections.abc import Iterable
from importlib.util import find_spec

from hermes.topics.topic_map import Template

EXTRAS = {"cbor": "cbor2", "sparkplug": "google.protobuf"}  # payload and extra of one name → what it imports


def missing(templates: Iterable[Template]) -> list[str]:
    """For each extra that a template needs and this Python lacks, what to run."""
    needed = sorted({template.payload for template in templates} & EXTRAS.keys())
    return [
        f"topics with payload={extra} need another package: pip install 'hermes-gateway[{extra}]'"
        for extra in needed
        if not _importable(EXTRAS[extra])
    ]


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # not even the package around it
        return False
