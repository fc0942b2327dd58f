"""Cost of matching a topic to its device, with ten templates and some exclusions."""

import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from paho.mqtt.client import topic_matches_sub

from bench.figures import Figure, Mark
from hermes.topics.topic_map import TopicMap

MARK = Mark(at_most=2.0)
PER_ROUND = 100  # topics timed together, so that the clock itself does not count

TEMPLATES = (
    "hermes",
    "chirpstack",
    "v3/{app}@{tenant_id}/devices/{device_id}/{series...}",
    "zigbee2mqtt/{device_id...}/{series:availability};tenant_id=home",
    "zigbee2mqtt/{device_id...:!bridge|bridge/*};tenant_id=home",
    "{kind:tele|stat}/{device_id...}/{series};tenant_id=home",
    "shellies/{device_id}/{series...};tenant_id=home",
    "homie/5/{device_id:!$*}/{series...};tenant_id=home",
    "owntracks/{tenant_id}/{device_id}/{series?}",
    "spBv1.0/{tenant_id}/{message:DBIRTH|DDATA|DDEATH}/{edge}/{device_id}",
)
EXCLUSIONS = (
    "!zigbee2mqtt/bridge/#",
    "!zigbee2mqtt/{name...}/{command:set|get}",
    "!homie/5/+/+/+/set",
    "!owntracks/+/+/cmd",
)
TOPICS = (  # % is a number
    "tenants/acme/devices/climate-%/temperature",
    "application/17c82e96/device/70b3d57ed00%/event/up",
    "v3/farm@acme/devices/soil-%/up",
    "zigbee2mqtt/floor 1/room %/lamp",
    "zigbee2mqtt/floor 1/room %/lamp/availability",
    "tele/plug-%/SENSOR",
    "shellies/shelly1-%/relay/0",
    "homie/5/car-%/engine/temperature",
    "owntracks/jane-%/phone",
    "spBv1.0/plant 1/DDATA/edge/pump-%",
    "zigbee2mqtt/floor 1/room %/lamp/set",
    "of/no/template/at/all/%",
)

Matcher = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Templates:
    """``rounds`` rounds of topics of each kind."""

    summary: ClassVar[str] = "match a topic to its device, with ten templates and four exclusions, on one thread"
    rounds: int = 200

    def run(self) -> list[Figure]:
        """Microseconds a topic, for all kinds and for the kind that takes longest."""
        topics = TopicMap([*TEMPLATES, *EXCLUSIONS])
        matchers = {
            "Hermes": topics.match,
            "one expression each": _one_by_one(topics),
            "paho's topic_matches_sub": _filters(topics.filters),
        }
        return [figure for name, matcher in matchers.items() for figure in self._figures(name, matcher)]

    def _figures(self, name: str, matcher: Matcher) -> list[Figure]:
        rounds = {text: [_round_us(matcher, text, number) for number in range(self.rounds)] for text in TOPICS}
        median_us = statistics.median(us for values in rounds.values() for us in values)
        slowest_us = max(statistics.median(values) for values in rounds.values())
        return [
            Figure(name, "a topic, median of all kinds", median_us, "µs", MARK if name == "Hermes" else None),
            Figure(name, "a topic of the slowest kind", slowest_us, "µs"),
        ]


def _round_us(matcher: Matcher, text: str, number: int) -> float:
    topics = [text.replace("%", str(number * PER_ROUND + index)) for index in range(PER_ROUND)]
    begun_ns = time.perf_counter_ns()
    for topic in topics:
        matcher(topic)
    return (time.perf_counter_ns() - begun_ns) / 1_000 / PER_ROUND


def _one_by_one(topics: TopicMap) -> Matcher:
    """The same expressions, tried in order: what all of them in one bring."""
    expressions = [re.compile(exclusion.pattern) for exclusion in topics.exclusions]
    expressions += [re.compile(template.pattern) for template in topics.templates]

    def match(topic: str) -> Sequence[str | None] | None:
        for expression in expressions:
            found = expression.match(topic)
            if found is not None:
                return found.groups()
        return None

    return match


def _filters(filters: Sequence[str]) -> Matcher:
    """Find the filter that matches a topic: less work than finding its device."""

    def match(topic: str) -> str | None:
        return next((each for each in filters if topic_matches_sub(each, topic)), None)

    return match
