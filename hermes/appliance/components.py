"""The software that Hermes is made of, with versions and licences.

In a frozen Hermes: the list that ``make binary`` wrote, with the bundled libraries of the system. Otherwise: the
installed Python packages that Hermes requires, from their metadata.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hermes.appliance.bundle import COMPONENTS_FILE, bundled_json
from hermes.errors import HermesError

HERMES = "hermes-gateway"
EXTRAS = ("cbor", "postgres", "sparkplug", "websockets", "uvloop")  # of a site; test and bench are no part of Hermes
LICENSE_FILE = re.compile(r"(?:^|/)(?:licen[cs]e|copying|notice|authors)[^/]*$|/licenses/[^/]+$", re.IGNORECASE)
LICENSE_NAME_MAX_CHARS = 100  # some packages have the whole text in this field


@dataclass(frozen=True, slots=True)
class Component:
    """One piece of software.

    ``expression`` is true if ``license`` is an SPDX expression.
    """

    name: str
    version: str
    purl: str
    license: str = ""
    expression: bool = False
    texts: tuple[str, ...] = ()
    kind: str = "library"  # a component type of CycloneDX


def components() -> list[Component]:
    """Return every component, Hermes first.

    Raises `HermesError` if Hermes is neither frozen nor installed.
    """
    listed = bundled_json(COMPONENTS_FILE)
    if listed is None:
        return installed(EXTRAS)
    return [Component(**{**fields, "texts": tuple(fields["texts"])}) for fields in listed]


def as_json(listed: Collection[Component]) -> list[dict[str, Any]]:
    """Return the components as `components` reads them."""
    return [asdict(component) for component in listed]


def installed(extras: Collection[str]) -> list[Component]:
    """Return Hermes and the installed packages that it requires, with these extras."""
    try:
        own = metadata.distribution(HERMES)
    except metadata.PackageNotFoundError:
        raise HermesError(f"the package {HERMES} is not installed; run: pip install --editable .") from None
    found: dict[str, Component] = {}
    _collect(own, frozenset(extras), found)
    first, *others = found.values()
    return [first, *sorted(others, key=lambda component: component.name.lower())]


def _collect(package: metadata.Distribution, extras: Collection[str], found: dict[str, Component]) -> None:
    known = _normal(package.name) in found
    if not known:
        found[_normal(package.name)] = _component(package)
    if known and not extras:
        return
    for name, further in _requirements(package, extras):
        if _normal(name) not in found or further:
            try:
                _collect(metadata.distribution(name), further, found)
            except metadata.PackageNotFoundError:  # for another platform or Python, or a missing extra
                continue


def _requirements(package: metadata.Distribution, extras: Collection[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield name and extras of each requirement.

    Of its marker only the extra is read: what other markers exclude is not installed.
    """
    for line in package.requires or ():
        requirement, _, marker = line.partition(";")
        of = re.findall(r"""extra\s*==\s*["']([\w.-]+)["']""", marker)
        match = re.match(r"\s*([\w.-]+)\s*(?:\[([^\]]*)\])?", requirement)
        if match and (not of or set(of) & set(extras)):
            yield match[1], frozenset(re.findall(r"[\w.-]+", match[2] or ""))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()  # PEP 503


def _component(package: metadata.Distribution) -> Component:
    name = _normal(package.name)
    expression = "".join(package.metadata.get_all("License-Expression") or [])
    return Component(
        name=name,
        version=package.version,
        purl=f"pkg:pypi/{name}@{quote(package.version, safe='')}",
        license=expression or _license_name(package),
        expression=bool(expression),
        texts=tuple(_texts(package)),
        kind="application" if name == HERMES else "library",
    )


def _license_name(package: metadata.Distribution) -> str:
    fields: list[str] = package.metadata.get_all("License") or []
    classifiers: list[str] = package.metadata.get_all("Classifier") or []
    names = [field for field in fields if len(field) <= LICENSE_NAME_MAX_CHARS and "\n" not in field]
    names += [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License :: ")]
    return next(iter(names), "")


def _texts(package: metadata.Distribution) -> Iterator[str]:
    for file in package.files or ():
        if ".dist-info/" in str(file) and LICENSE_FILE.search(str(file)) and Path(file.locate()).is_file():
            yield file.read_text("utf-8")
