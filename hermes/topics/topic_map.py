"""Floor 1: topic templates and presets → the filters to subscribe, and whose device a topic is.

A template is a topic with fields: ``{name}`` stands for one non-empty level or a part of one, ``{name...}`` for all
remaining levels, or as many as leave room for the levels after it, ``{name:a|b*}`` for texts of a pattern, ``{name?}``
for a last level that may be absent. What the topic lacks follows after semicolons, as a constant or as a JSON pointer
(RFC 6901) into the payload, and how payloads are to be read::

    tenants/{tenant_id}/devices/{device_id}/{series...}
    v3/{app}@{tenant_id}/devices/{device_id}/{series...}
    zigbee2mqtt/{device_id...}/{series:availability};tenant_id=home;online=availability
    application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId
    owntracks/{tenant_id}/{device_id}/{series?}
    !zigbee2mqtt/bridge/#
    !zigbee2mqtt/{name...}/{command:set|get}

Where a level can be divided in several ways, earlier fields take as little as they can. Templates are tried in
order and the first that matches wins; ``!`` leaves out the topics of a filter, or of a topic with fields, whatever the
templates say.
Everything here is pure, so that the settings can be checked with it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hermes.errors import AddressNotFound, TemplateError
from hermes.ids import DeviceId, TenantId, id_text
from hermes.topics import filters as topic_filters
from hermes.topics.exclusion import Exclusion, parse_entry
from hermes.topics.json_pointer import pointed_at
from hermes.topics.parser import parse_template
from hermes.topics.presets import PRESETS, expanded
from hermes.topics.reachability import unreachable_problems
from hermes.topics.template import DEVICE, ID_MAX_CHARS, SERIES, TENANT, Template

__all__ = ["PRESETS", "Template", "TopicMap", "TopicMatch", "parse_template"]


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

    def resolve(self, value: object) -> tuple[TenantId, DeviceId, str]:
        """Tenant, device and series, with the payload's parsed JSON at hand.

        Raises `AddressNotFound`: ``pointer`` where a pointer finds neither a non-empty string nor an integer,
        ``mismatch`` where it finds something else than the topic says, ``too_long`` for ids of more than 1,024
        characters.
        """
        tenant_id, device_id, series = self.tenant_id, self.device_id, self.series
        if self.template.pointers:
            tenant_id = self._agreed(TENANT, tenant_id, value)
            device_id = self._agreed(DEVICE, device_id, value)
            series = self._agreed(SERIES, series, value)
        assert tenant_id is not None
        assert device_id is not None
        assert series is not None
        if len(tenant_id) > ID_MAX_CHARS or len(device_id) > ID_MAX_CHARS:
            raise AddressNotFound("too_long", f"an id has more than {ID_MAX_CHARS:,} characters")
        return TenantId(tenant_id), DeviceId(device_id), series

    def _agreed(self, name: str, known: str | None, value: object) -> str | None:
        pointer = self.template.pointers.get(name)
        if pointer is None:
            return known
        found = id_text(pointed_at(pointer, value))
        if found is None and known is None:
            raise AddressNotFound("pointer", f"{name} is neither text nor an integer at /{'/'.join(pointer)}")
        if found is not None and len(found) > ID_MAX_CHARS:
            raise AddressNotFound("too_long", f"{name} has more than {ID_MAX_CHARS:,} characters")
        if found is not None and known and found != known:  # a series that the topic lacks may be said here
            raise AddressNotFound("mismatch", f"it says {name} {found!r}, and its topic {known!r}")
        return known if found is None else found


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
        self.templates, self.exclusions = _parsed(templates)
        self.filters = topic_filters.uncovered(text for template in self.templates for text in template.filters)
        self.overlapping = topic_filters.any_overlap(self.filters)
        self.disjoint_filters = topic_filters.disjoint(self.filters)
        self._rows: dict[int, _Row | None] = {}
        self._pattern = self._combined()
        self._lowest = re.compile("|".join(f"{topic_filters.pattern(text)}()" for text in self.filters))
        self._excluded = re.compile("|".join(each.pattern for each in self.exclusions) or "(?!)")

    def _combined(self) -> re.Pattern[str]:
        """All as one expression; the empty group that ends each alternative tells which one matched."""
        alternatives: list[str] = []
        groups_before = 0
        for exclusion in self.exclusions:
            alternatives.append(f"{exclusion.pattern}()")
            groups_before += exclusion.groups + 1
            self._rows[groups_before] = None
        for template in self.templates:
            names = template.fields
            positions = {name: groups_before + 1 + index for index, name in enumerate(names)}
            groups_before += len(names) + 1
            self._rows[groups_before] = _row(template, positions)
            alternatives.append(f"{template.pattern}()")
        return re.compile("|".join(alternatives))

    def match(self, topic: str) -> TopicMatch | None:
        """What the first template that matches makes of the topic; None where none does, or the topic is left out."""
        found = self._pattern.match(topic)
        row = None if found is None else self._rows[found.lastindex or 0]
        if found is None or row is None:
            return None
        template, (tenant, device, series), constants = row
        return TopicMatch(
            template,
            found[tenant] if tenant else constants[0],
            found[device] if device else constants[1],
            found[series] or "" if series else constants[2],  # a rest of no levels is a group that took no part
        )

    def excluded(self, topic: str) -> bool:
        """Whether the topic is left out on purpose."""
        return self._excluded.match(topic) is not None

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


def _parsed(entries: Sequence[str]) -> tuple[tuple[Template, ...], tuple[Exclusion, ...]]:
    """Templates and exclusions. Raises `TemplateError` with all faults."""
    faults: list[str] = []
    found: list[Template | Exclusion] = []
    for entry in entries:
        try:
            found += [parse_entry(text, preset=preset) for text, preset in expanded(entry)]
        except TemplateError as error:
            faults.append(str(error))
    templates = tuple(each for each in found if isinstance(each, Template))
    exclusions = tuple({each.text: each for each in found if isinstance(each, Exclusion)}.values())
    if not templates and not faults:
        faults.append("no topic template: write a preset (" + ", ".join(PRESETS) + ") or a template")
    faults += [*_repeated(found), *unreachable_problems(templates, exclusions)]
    if faults:
        raise TemplateError("; ".join(faults))
    return templates, exclusions


def _repeated(entries: Sequence[Template | Exclusion]) -> list[str]:
    """Exclusions that are written twice. Presets may leave out the same topics, or what is written as well."""
    texts = [entry.text for entry in entries if isinstance(entry, Exclusion) and not entry.preset]
    twice = dict.fromkeys(text for text in texts if texts.count(text) > 1)
    return [f"exclusion {text!r} is given twice: leave one out" for text in twice]
