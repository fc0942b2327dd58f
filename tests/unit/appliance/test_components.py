"""The components, their licences and the bill of materials."""

import argparse
import json
import re
import sys
from importlib import metadata
from pathlib import Path

import pytest

from hermes import __version__
from hermes.appliance.bundle import COMPONENTS_FILE
from hermes.appliance.components import Component, as_json, components, installed
from hermes.appliance.cyclonedx import bill_of_materials
from hermes.cli import licenses, sbom
from hermes.errors import HermesError

URN = r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[1-5][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def test_hermes_is_first_and_what_it_requires_follows() -> None:
    """Its extras and their requirements, but not those of the tests."""
    first, *others = components()
    assert (first.name, first.version, first.kind) == ("hermes-gateway", __version__, "application")
    names = [component.name for component in others]
    assert {"tornado", "paho-mqtt", "pyjwt", "cryptography", "pydantic-core", "cbor2", "websockets"} <= set(names)
    assert not {"pytest", "mypy", "matplotlib"} & set(names)
    assert names == sorted(names)
    assert len(names) == len(set(names))


def test_without_extras_their_packages_are_left_out() -> None:
    """Those of requirements stay."""
    names = {component.name for component in installed(())}
    assert "cbor2" not in names
    assert "cryptography" in names


def test_every_component_has_a_licence_and_a_purl() -> None:
    """And nearly every one its text."""
    listed = components()
    for component in listed:
        assert component.license, component.name
        assert component.purl == f"pkg:pypi/{component.name}@{component.version}"
    assert len([component for component in listed if component.texts]) > len(listed) * 0.8


def test_a_hermes_that_is_not_installed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""

    def missing(name: str) -> metadata.Distribution:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    with pytest.raises(HermesError, match="pip install"):
        components()


def test_a_frozen_hermes_has_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of its build."""
    listed = [
        Component("hermes-gateway", "1", "pkg:pypi/hermes-gateway@1", "Apache-2.0", True, ("text",), "application")
    ]
    (tmp_path / COMPONENTS_FILE).write_text(json.dumps(as_json(listed)))
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    monkeypatch.setattr(sys, "_MEIPASS", str(tmp_path), raising=False)
    assert components() == listed


def test_the_bill_of_materials_is_cyclonedx(capsys: pytest.CaptureFixture[str]) -> None:
    """The required fields of its schema, unique references, and the same document each time."""
    assert sbom.run(argparse.Namespace()) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(URN, document["serialNumber"])
    entries = [document["metadata"]["component"], *document["components"]]
    for entry in entries:
        assert {"type", "name", "bom-ref", "purl", "version"} <= entry.keys()
        assert entry["type"] in ("application", "library", "data")
        (named,) = entry["licenses"]
        assert set(named) == {"expression"} or set(named["license"]) == {"name"}
    references = [entry["bom-ref"] for entry in entries]
    assert len(references) == len(set(references))
    (dependency,) = document["dependencies"]
    assert [dependency["ref"], *sorted(dependency["dependsOn"])] == [references[0], *sorted(references[1:])]
    assert document == bill_of_materials(components())


def test_licences_are_printed_once(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A component without a text says so; with --list, only the names are printed."""
    listed = [Component("a", "1", "", "MIT", texts=("Text.",)), Component("b", "2", "", texts=("Text.",))]
    listed.append(Component("c", "3", ""))
    monkeypatch.setattr(licenses, "components", lambda: listed)
    assert licenses.run(argparse.Namespace(list=False)) == 0
    shown = capsys.readouterr().out
    assert shown.count("Text.\n") == 1
    assert "a 1 MIT\n" in shown
    assert "The same text as for a.\n" in shown
    assert "contains no licence text" in shown
    assert licenses.run(argparse.Namespace(list=True)) == 0
    assert capsys.readouterr().out == "a 1 MIT\nb 2\nc 3\n"
