"""The software bill of materials in the format CycloneDX 1.6."""

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from hermes.appliance.components import Component

SPEC_VERSION = "1.6"


def bill_of_materials(components: Sequence[Component]) -> dict[str, Any]:
    """Return the document for these components, of which the first is Hermes.

    It is the same for the same components: the serial number is made from them, and it has no time of creation.
    """
    own, *others = components
    digest = hashlib.sha256("\n".join(component.purl for component in components).encode()).digest()
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC_VERSION}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC_VERSION,
        "serialNumber": f"urn:uuid:{uuid.UUID(bytes=digest[:16], version=4)}",
        "version": 1,
        "metadata": {"component": _entry(own)},
        "components": [_entry(component) for component in others],
        "dependencies": [{"ref": own.purl, "dependsOn": sorted({component.purl for component in others})}],
    }


def _entry(component: Component) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "type": component.kind,
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
    }
    if component.license:
        named = {"expression": component.license} if component.expression else {"license": {"name": component.license}}
        entry["licenses"] = [named]
    return entry
