"""Topic map: filters to subscribe to; tenant, device and series of a topic.

A template is a topic with fields: ``{name}`` is one non-empty level or a part of one, ``{name...}`` all remaining
levels, or as many as leave room for the levels after it, ``{name:a|b*}`` a text that matches a pattern, ``{name?}`` a
last level that may be absent. Values that the topic does not contain follow after semicolons, as a constant or as a
JSON pointer (RFC 6901) into the payload; so do settings for the payload::

    tenants/{tenant_id}/devices/{device_id}/{series...}
    v3/{app}@{tenant_id}/devices/{device_id}/{series...}
    zigbee2mqtt/{device_id...}/{series:availability};tenant_id=home;online=availability
    application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId
    owntracks/{tenant_id}/{device_id}/{series?}
    home/{gateway}/BTtoMQTT/{device_id};tenant_id=home;bridge=home/{gateway}/LWT
    v1/gateway/telemetry;tenant_id=home;devices=/;series=/values;name=/label
    !zigbee2mqtt/bridge/#
    !zigbee2mqtt/{name...}/{command:set|get}

If a level can be divided in several ways, earlier fields are as short as possible. Templates are tried in order, and
the first that matches is used. ``!`` excludes the topics of a filter, or of a topic with fields, from all templates.
Nothing here has side effects, so the settings are checked with it.
"""

import functools
import re
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

from hermes.errors import AddressNotFound, TemplateError
from hermes.ids import DeviceId, TenantId, id_text
from hermes.log import UNPRINTABLE, printable
from hermes.topics import filters as topic_filters
from hermes.topics.bridge_topic import BridgeMatch
from hermes.topics.exclusion import Exclusion, parse_entry
from hermes.topics.json_pointer import pointed_at
from hermes.topics.parser import parse_template
from hermes.topics.presets import PRESETS, expanded
from hermes.topics.reachability import unreachable_problems
from hermes.topics.template import DEVICE, ID_MAX_CHARS, SERIES, TENANT, Template

__all__ = ["PRESETS", "Template", "TopicMap", "TopicMatch", "parse_template"]


UNUSABLE_IDS = (".", "..")  # a URL with such a level is that of another path (RFC 3986 §5.2.4)


class TopicMatch(NamedTuple):
    """Values of a topic; None is a value that is in the payload instead."""

    template: Template
    tenant_id: str | None
    device_id: str | None
    series: str | None
    bridge: BridgeMatch | None = None

    def of_device(self, device_id: str | None) -> "TopicMatch":
        """Return the match of one device of a message that has several.

        None if the id is in the message of the device.
        """
        return TopicMatch(self.template, self.tenant_id, device_id, self.series)

    def of_members(self) -> "TopicMatch":
        """Return the match of a message of which each member is a series.

        Its own series is their prefix.
        """
        return TopicMatch(self.template, self.tenant_id, self.device_id, self.series or "")

    def resolve(self, value: object) -> tuple[TenantId, DeviceId, str]:
        """Return tenant, device and series; ``value`` is the parsed payload.

        Raises `AddressNotFound`: ``pointer`` if a pointer finds neither a non-empty string nor an integer, ``mismatch``
        if it finds another value than the topic contains, ``too_long`` for ids of more than 1,024 characters,
        ``bad_id`` for ids with characters that are invisible or change the order of text, and for ``.`` and ``..``,
        which no URL can contain.
        """
        tenant_id, device_id, series = self.tenant_id, self.device_id, self.series
        if self.template.pointers:
            tenant_id = self._agreed(TENANT, tenant_id, value)
            device_id = self._agreed(DEVICE, device_id, value)
            series = self._agreed(SERIES, series, value)
        if device_id is None:  # an element of an array
            raise AddressNotFound("pointer", "an array of devices needs ;device_id=/json/pointer, to read their ids")
        assert tenant_id is not None
        assert series is not None
        if len(tenant_id) > ID_MAX_CHARS or len(device_id) > ID_MAX_CHARS:
            raise AddressNotFound("too_long", f"an id has more than {ID_MAX_CHARS:,} characters")
        for given in (tenant_id, device_id):
            if given in UNUSABLE_IDS or (not given.isprintable() and UNPRINTABLE.search(given)):
                raise AddressNotFound("bad_id", f"the id {printable(given)} cannot be shown, or is no part of a URL")
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
        if found is not None and known and found != known:  # an empty series of the topic may be set here
            raise AddressNotFound("mismatch", f"{name} is {found!r} in the payload and {known!r} in the topic")
        return known if found is None else found


class _Row(NamedTuple):
    """The places of a template's values: groups of the combined pattern.

    Group 0 means the constant of the same index, or None.
    """

    template: Template
    groups: tuple[int, int, int]
    constants: tuple[str | None, str | None, str | None]
    bridge: BridgeMatch | None


class TopicMap:
    """All templates of one Hermes, for subscribing and matching.

    ``templates`` are names of presets and texts of templates, in the order in which they are tried. Raises
    `TemplateError` that names every problem and what to write instead.

    `filters` are the MQTT topic filters to subscribe to; none covers another. If two of them overlap, filter ``i`` must
    have the MQTT 5 subscription identifier ``i + 1``, by which `wanted_copy` distinguishes the copies of a message. A
    broker without identifiers needs `disjoint_filters` instead.
    """

    def __init__(self, templates: Sequence[str]) -> None:
        self.templates, self.exclusions = _parsed(templates)
        self.bridges = tuple({template.bridge: None for template in self.templates if template.bridge is not None})
        self.filters = topic_filters.uncovered(
            [
                *(text for template in self.templates for text in template.filters),
                *(bridge.filter({}) for bridge in self.bridges),
            ]
        )
        self.overlapping = topic_filters.any_overlap(self.filters)
        self.disjoint_filters = topic_filters.disjoint(self.filters)
        self._rows: dict[int, _Row | None] = {}
        self._pattern = self._combined()
        self._lowest = re.compile("|".join(f"{topic_filters.pattern(text)}()" for text in self.filters))
        self._bridge = re.compile("|".join(bridge.pattern for bridge in self.bridges) or "(?!)")
        self._excluded = re.compile("|".join(each.pattern for each in self.exclusions) or "(?!)")

    def _combined(self) -> re.Pattern[str]:
        """Compile all entries into one expression; each ends with an empty group."""
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
        """Return the match of the first template, or None; excluded topics do not match."""
        found = self._pattern.match(topic)
        row = None if found is None else self._rows[found.lastindex or 0]
        if found is None or row is None:
            return None
        template, (tenant, device, series), constants, bridge = row
        return TopicMatch(
            template,
            found[tenant] if tenant else constants[0],
            found[device] if device else constants[1],
            found[series] or "" if series else constants[2],  # the group of an absent rest did not match
            None if bridge is None else bridge.completed(found),
        )

    def mapping_of(self, topic: str) -> str | None:
        """Return the template that maps a topic to devices, without other settings.

        None if no template does.
        """
        match = self.match(topic)
        return None if match is None else match.template.mapping

    def sender_of(self, topic: str) -> tuple[Hashable, Hashable]:
        """Return the tenant and the device as far as the topic alone shows them.

        The part of the topic before the device replaces a tenant that only the payload contains, and the topic replaces
        such a device. All topics without a template have one sender.
        """
        found = self._pattern.match(topic)
        row = None if found is None else self._rows[found.lastindex or 0]
        if found is None or row is None:
            return None, None
        template, (tenant, device, _), constants, _ = row
        tenant_id = found[tenant] if tenant else constants[0]
        device_id = found[device] if device else constants[1]
        branch = template.text, topic[: found.start(device)] if device else ""
        return branch if tenant_id is None else tenant_id, topic if device_id is None else device_id

    def is_bridge(self, topic: str) -> bool:
        """Return whether a bridge of devices reports on this topic whether it is online."""
        return self._bridge.match(topic) is not None

    def excluded(self, topic: str) -> bool:
        """Return whether the topic is excluded by an entry."""
        return self._excluded.match(topic) is not None

    def wanted_copy(self, topic: str, subscription_ids: Sequence[int]) -> bool:
        """Return whether to deliver this copy of a message.

        It is the copy with the lowest identifier of the filters that match the topic, or without identifiers (MQTT 5
        §3.3.4: a broker may send one copy per subscription, or one with all identifiers).
        """
        if not self.overlapping or not subscription_ids:
            return True
        lowest = self._lowest.match(topic)
        return lowest is None or lowest.lastindex in subscription_ids


@functools.cache  # 6 ms
def _all_presets() -> TopicMap:
    return TopicMap(list(PRESETS))


def matching_preset(topic: str) -> str | None:
    """Return the name of the first preset that matches the topic, or None."""
    match = _all_presets().match(topic)
    return None if match is None else match.template.preset


def _row(template: Template, positions: Mapping[str, int]) -> _Row:
    tenant, device, series = (positions.get(name, 0) for name in (TENANT, DEVICE, SERIES))
    constants = template.constants
    unnamed = None if SERIES in template.pointers else ""
    bridge = template.bridge
    return _Row(
        template,
        (tenant, device, series),
        (constants.get(TENANT), constants.get(DEVICE), constants.get(SERIES, unnamed)),
        None if bridge is None else BridgeMatch.of(bridge, positions),
    )


def _parsed(entries: Sequence[str]) -> tuple[tuple[Template, ...], tuple[Exclusion, ...]]:
    """Return templates and exclusions. Raises `TemplateError` with all problems."""
    problems: list[str] = []
    found: list[Template | Exclusion] = []
    for entry in entries:
        try:
            found += [parse_entry(text, preset=preset) for text, preset in expanded(entry)]
        except TemplateError as error:
            problems.append(str(error))
    templates = tuple(each for each in found if isinstance(each, Template))
    exclusions = tuple({each.text: each for each in found if isinstance(each, Exclusion)}.values())
    if not templates and not problems:
        problems.append("no topic template: write a preset (" + ", ".join(PRESETS) + ") or a template")
    problems += [*_repeated(found), *unreachable_problems(templates, exclusions)]
    if problems:
        raise TemplateError("; ".join(problems))
    return templates, exclusions


def _repeated(entries: Sequence[Template | Exclusion]) -> list[str]:
    """Return a line for each exclusion that is given twice.

    A preset may exclude the same topics as an entry or as another preset.
    """
    texts = [entry.text for entry in entries if isinstance(entry, Exclusion) and not entry.preset]
    twice = dict.fromkeys(text for text in texts if texts.count(text) > 1)
    return [f"exclusion {text!r} is given twice: leave one out" for text in twice]
