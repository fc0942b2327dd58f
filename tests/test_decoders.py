"""Payloads that need another package: what lacks is named with the line to run."""

import pytest

from hermes.mqtt import decoders
from hermes.topics.topic_map import Template, parse_template


def template(settings: str) -> Template:
    """One with these settings behind its topic."""
    return parse_template(f"{{tenant_id}}/{{device_id}}{settings}")


def test_with_both_packages_nothing_is_missing() -> None:
    """The tests have them."""
    assert decoders.missing(map(template, ["", ";payload=cbor", ";payload=sparkplug"])) == []


def test_only_what_a_template_needs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, however many templates want it."""
    monkeypatch.setattr(decoders, "EXTRAS", {"cbor": "no_such_package", "sparkplug": "no_such.package"})
    json, cbor, sparkplug = map(template, ["", ";payload=cbor", ";payload=sparkplug"])
    assert decoders.missing([json]) == []
    assert decoders.missing([cbor, json, cbor]) == [
        "topics with payload=cbor need another package: pip install 'hermes-gateway[cbor]'"
    ]
    assert [line.split("pip ")[1] for line in decoders.missing([sparkplug, cbor])] == [
        "install 'hermes-gateway[cbor]'",
        "install 'hermes-gateway[sparkplug]'",
    ]
