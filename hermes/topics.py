"""Floor 1: topic templates and presets → the filters to subscribe, and whose device a topic is.

A template is a topic with fields: ``{name}`` stands for one non-empty level or a part of one, ``{name...}`` in the
last place for all remaining levels, also none. What the topic lacks follows after semicolons, as a constant or as a
JSON pointer (RFC 6901) into the payload::

    tenants/{tenant_id}/devices/{device_id}/{series...}
    v3/{app}@{tenant_id}/devices/{device_id}/{series...}
    zigbee2mqtt/{device_id...};tenant_id=home
    application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId

Where a level can be divided in several ways, earlier fields take as little as they can. Templates are tried in
order and the first that matches wins. Everything here is pure, so that the settings can be checked with it.
"""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

from hermes import topic_filters
from hermes.errors import TemplateError
from hermes.ids import DeviceId, TenantId, id_text
from hermes.topic_templates import DEVICE, SERIES, TENANT, Template, parse_template

__all__ = ["PRESETS", "Template", "TopicMap", "TopicMatch", "parse_template"]

PRESETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hermes": ("tenants/{tenant_id}/devices/{device_id}/{series...}",),
        "chirpstack": ("application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId",),
    }
)

_INDEX = re.compile(r"0|[1-9][0-9]*", re.ASCII)  # RFC 6901 §4: an array index has no leading zeros


class TopicMatch(NamedTuple):
    """What a topic said. None is a value that the template finds in the payload instead."""

    template: Template
    tenant_id: str | None
    device_id: str | None
    series: str | None

    @property
    def needs_payload(self) -> bool:
        """Whether `resolve` looks into the payload."""
        return bool(self.template.pointers)

    def resolve(self, value: object) -> tuple[TenantId, DeviceId, str] | None:
        """Tenant, device and series, with the payload's parsed JSON at hand.

        None where a pointer finds neither a non-empty string nor an integer.
        """
        tenant_id, device_id, series = self.tenant_id, self.device_id, self.series
        if self.template.pointers:
            tenant_id = self._found(TENANT, tenant_id, value)
            device_id = self._found(DEVICE, device_id, value)
            series = self._found(SERIES, series, value)
        if tenant_id is None or device_id is None or series is None:
            return None
        return TenantId(tenant_id), DeviceId(device_id), series

    def _found(self, name: str, known: str | None, value: object) -> str | None:
        pointer = self.template.pointers.get(name)
        return known if pointer is None else id_text(_pointed_at(pointer, value))


class _Row(NamedTuple):
    """Where one template's ids are: a group of the combined pattern, or (group 0) a constant or None."""

    template: Template
    groups: tuple[int, int, int]
    constants: tuple[str | None, str | None, str | None]


class TopicMap:
    """The templates of one Hermes, ready to be subscribed to and to be matched.

    ``templates`` holds names of presets and texts of templates, in the order in which they are tried. Raises
    `TemplateError` that names every fault and what to write instead.

    `filters` are the MQTT topic filters to subscribe, none covered by another. Two of them may still overlap: then
    filter ``i`` is to be subscribed with the MQTT 5 subscription identifier ``i + 1`` and `wanted_copy` tells the
    copies apart; where the broker knows no identifiers, `disjoint_filters` are to be subscribed instead.
    """

    def __init__(self, templates: Sequence[str]) -> None:
        self.templates = _parsed(templates)
        self.filters = topic_filters.uncovered(template.filter for template in self.templates)
        self.overlapping = topic_filters.any_overlap(self.filters)
        self.disjoint_filters = topic_filters.disjoint(self.filters)
        self._rows: dict[int, _Row] = {}
        self._pattern = self._combined()
        self._lowest = re.compile("|".join(f"{topic_filters.pattern(text)}()" for text in self.filters))

    def _combined(self) -> re.Pattern[str]:
        """All templates as one expression; the empty group that ends each alternative tells which one matched."""
        alternatives: list[str] = []
        groups_before = 0
        for template in self.templates:
            names = template.fields
            positions = {name: groups_before + 1 + index for index, name in enumerate(names)}
            groups_before += len(names) + 1
            self._rows[groups_before] = _row(template, positions)
            alternatives.append(f"{template.pattern}()")
        return re.compile("|".join(alternatives))

    def match(self, topic: str) -> TopicMatch | None:
        """What the first template that matches makes of the topic; None where none matches."""
        found = self._pattern.match(topic)
        if found is None:
            return None
        template, (tenant, device, series), constants = self._rows[found.lastindex or 0]
        return TopicMatch(
            template,
            found[tenant] if tenant else constants[0],
            found[device] if device else constants[1],
            found[series] or "" if series else constants[2],  # a rest of no levels is a group that took no part
        )

    def wanted_copy(self, topic: str, subscription_ids: Sequence[int]) -> bool:
        """Whether this copy of a message is the one to deliver, where overlapping filters bring several.

        It is if it carries the lowest identifier of the filters that match the topic (MQTT 5 §3.3.4: a broker may
        send one copy per subscription, or one with all identifiers), or carries none.
        """
        if not self.overlapping or not subscription_ids:
            return True
        lowest = self._lowest.match(topic)
        return lowest is None or lowest.lastindex in subscription_ids


def _row(template: Template, positions: Mapping[str, int]) -> _Row:
    tenant, device, series = (positions.get(name, 0) for name in (TENANT, DEVICE, SERIES))
    constants = template.constants
    unnamed = None if SERIES in template.pointers else ""
    return _Row(
        template,
        (tenant, device, series),
        (constants.get(TENANT), constants.get(DEVICE), constants.get(SERIES, unnamed)),
    )


def _pointed_at(pointer: Sequence[str], value: object) -> object:
    """The value that the pointer's unescaped tokens lead to (RFC 6901 §4); None where they lead nowhere."""
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list) and len(token) < 10 and _INDEX.fullmatch(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    return value


def _parsed(templates: Sequence[str]) -> tuple[Template, ...]:
    faults: list[str] = []
    parsed: list[Template] = []
    if not templates:
        faults.append("no topic template: write a preset (" + ", ".join(PRESETS) + ") or a template")
    for text in templates:
        try:
            parsed += [parse_template(each) for each in _expanded(text)]
        except TemplateError as error:
            faults.append(str(error))
    faults += _unreachable(parsed)
    if faults:
        raise TemplateError("; ".join(faults))
    return tuple(parsed)


def _expanded(text: str) -> tuple[str, ...]:
    if text in PRESETS:
        return PRESETS[text]
    if text and not any(sign in text for sign in "/{;"):
        known = ", ".join(PRESETS)
        raise TemplateError(f"{text!r} is no preset: write one of {known}, or a template such as {_EXAMPLE}")
    return (text,)


def _unreachable(templates: Sequence[Template]) -> list[str]:
    faults: list[str] = []
    for index, template in enumerate(templates):
        for earlier in templates[:index]:
            if earlier.text == template.text:
                faults.append(f"template {template.text!r} is given twice: leave one out")
                break
            if earlier.covers(template):
                faults.append(
                    f"template {template.text!r} is never reached, because {earlier.text!r} before it matches every"
                    " topic that it matches: put it first, or leave one out"
                )
                break
    return faults


_EXAMPLE = PRESETS["hermes"][0]
