"""Payload formats that need another package: a missing one is named with the command to run."""

import pytest

from hermes.errors import install_command
from hermes.ingest import extras
from hermes.topics.topic_map import Template, parse_template


def template(settings: str) -> Template:
    """Return a template with these settings after its topic."""
    return parse_template(f"{{tenant_id}}/{{device_id}}{settings}")


def test_with_both_packages_nothing_is_missing() -> None:
    """They are installed for the tests."""
    assert extras.missing(map(template, ["", ";payload=cbor", ";payload=sparkplug"])) == []


def test_only_what_a_template_needs_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each one once, for any number of templates."""
    monkeypatch.setattr(extras, "EXTRAS", {"cbor": "no_such_package", "sparkplug": "no_such.package"})
    json, cbor, sparkplug = map(template, ["", ";payload=cbor", ";payload=sparkplug"])
    assert extras.missing([json]) == []
    assert extras.missing([cbor, json, cbor]) == [
        f"topics with payload=cbor need another package: {install_command('cbor')}"
    ]
    assert [line.split(": ")[1] for line in extras.missing([sparkplug, cbor])] == [
        install_command("cbor"),
        install_command("sparkplug"),
    ]


def test_each_format_has_its_decoder() -> None:
    """That of an extra only if a template needs it."""
    json, cbor, sparkplug = map(template, ["", ";payload=cbor", ";payload=sparkplug"])
    assert set(extras.decoders([json, sparkplug])) == {"json"}
    decoders = extras.decoders([json, cbor])
    assert decoders["json"](b"1").value == 1
    assert decoders["cbor"](b"\x18\x64").value == 100
