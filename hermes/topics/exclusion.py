"""Exclusions: entries with ``!`` that exclude topics from all templates.

After the ``!`` comes an MQTT topic filter, ``!zigbee2mqtt/bridge/#``, or, if it contains a brace, a topic with fields:
``!zigbee2mqtt/{name...}/{command:set|get}`` expresses what a filter cannot.
"""

from dataclasses import dataclass

from hermes.errors import TemplateError
from hermes.topics import filters as topic_filters
from hermes.topics.parser import parse_exclusion, parse_template
from hermes.topics.template import Template


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Excluded topics.

    ``text`` is the entry as it was written, ``topic`` a topic filter or a topic with fields.
    """

    text: str
    topic: str | Template
    preset: str = ""

    @property
    def pattern(self) -> str:
        """A regular expression for the excluded topics, with `groups` groups."""
        return topic_filters.pattern(self.topic) if isinstance(self.topic, str) else self.topic.pattern

    @property
    def groups(self) -> int:
        """The number of groups in `pattern`."""
        return 0 if isinstance(self.topic, str) else len(self.topic.fields)


def parse_entry(text: str, *, preset: str = "") -> Template | Exclusion:
    """Return the template or the exclusion.

    Raises `TemplateError`: the problem, and what to write instead.
    """
    if not text.startswith("!"):
        return parse_template(text, preset=preset)
    return Exclusion(text, _topic(text[1:], preset), preset)


def _topic(text: str, preset: str) -> str | Template:
    if "{" in text:
        return parse_exclusion(text, preset=preset)
    problem = topic_filters.problem(text)
    if problem is not None:
        raise TemplateError(
            f"exclusion {'!' + text!r}: {problem}; write ! and a topic filter, as in !zigbee2mqtt/bridge/#"
        )
    return text
