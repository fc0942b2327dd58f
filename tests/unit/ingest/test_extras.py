"""Payloads that need another package: what lacks is named with the line to run."""

import pytest

from hermes.ingest import extras
from hermes.topics.topic_map import Template, parse_template


def template(settings: str) -> Template:
    """One with these settings behind its topic."""
    return parse_template(f"{{tenant_id}}/{{device_id}}{settings}")


def test_with_both_packages_nothing_is_missing() -> None:
    """The tests have them."""
    assert extras.missing(map(template, ["", ";payload=cbor", ";payload=sparkplug"])) == []


def test_only_what_a_template_needs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once, however many templates want it."""
    monkeypatch.setattr(extras, "EXTRAS", {"cbor": "no_such_package", "sparkplug": "no_such.package"})
    json, cbor, sparkplug = map(template, ["", ";payload=cbor", ";payload=sparkplug"])
    assert extras.missing([json]) == []
    assert extras.missing([cbor, json, cbor]) == [
        "topics with payload=cbor need another package: pip install 'hermes-gateway[cbor]'"
    ]
    assert [line.split("pip ")[1] for line in extras.missing([sparkplug, cbor])] == [
        "install 'hermes-gateway[cbor]'",
        "install 'hermes-gateway[sparkplug]'",
    ]
