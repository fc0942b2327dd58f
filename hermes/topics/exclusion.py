"""Floor 1: entries that begin with ``!``: topics that are left out, whatever the templates say.

What follows is an MQTT topic filter, ``!zigbee2mqtt/bridge/#``, or, where it holds a brace, a topic with fields:
``!zigbee2mqtt/{name...}/{command:set|get}`` can say what no filter can.
"""

import re
from dataclasses import dataclass

from hermes.errors import TemplateError
from hermes.topics import filters as topic_filters
from hermes.topics.parser import parse_exclusion, parse_template
from hermes.topics.template import Template


@dataclass(frozen=True, slots=True)
class Exclusion:
    """``text`` as it was written; ``topic`` is a topic filter, or has fields."""

    text: str
    topic: str | Template
    preset: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression for the topics that are left out, with so many `groups`."""
        return topic_filters.pattern(self.topic) if isinstance(self.topic, str) else self.topic.pattern

    @property
    def groups(self) -> int:
        """How many groups the expression has."""
        return 0 if isinstance(self.topic, str) else len(self.topic.fields)

    def covers(self, template: Template) -> bool:
        """Whether it leaves nothing of the template; where patterns decide, no may be said for yes."""
        if isinstance(self.topic, Template):
            return self.topic.covers(template)
        if not all(topic_filters.overlap(self.topic, each) for each in template.filters):
            return False  # the quick answer, nearly always
        return template.is_within(re.compile(self.pattern), depth=self.topic.count("/") + 1)


def parse_entry(text: str, *, preset: str = "") -> Template | Exclusion:
    """A template or an exclusion. Raises `TemplateError`: what is wrong, and what to write."""
    if not text.startswith("!"):
        return parse_template(text, preset=preset)
    return Exclusion(text, _topic(text[1:], preset), preset)


def _topic(text: str, preset: str) -> str | Template:
    if "{" in text:
        return parse_exclusion(text, preset=preset)
    fault = topic_filters.fault(text)
    if fault is not None:
        raise TemplateError(
            f"exclusion {'!' + text!r}: {fault}; write ! and a topic filter, as in !zigbee2mqtt/bridge/#"
        )
    return text
