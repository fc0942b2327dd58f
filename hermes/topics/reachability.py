"""Templates that can never match: entries before them match all their topics.

Decided on MQTT topic filters alone: each filter of the template is covered by a filter of an entry that matches all
topics of its filter. Patterns of fields, parts of levels and levels after ``{name...}`` are not compared; such a
template is accepted, and ``hermes topics explain`` shows for a topic which template shadows which.
"""

from collections.abc import Mapping, Sequence

from hermes.topics import filters as topic_filters
from hermes.topics.exclusion import Exclusion
from hermes.topics.template import Template

Entry = Exclusion | Template


def unreachable_problems(templates: Sequence[Template], exclusions: Sequence[Exclusion]) -> list[str]:
    """Return a line for each template that is given twice or can never match."""
    problems: list[str] = []
    before: list[tuple[Entry, tuple[str, ...]]] = [(exclusion, _filters(exclusion)) for exclusion in exclusions]
    for template in templates:
        filters = template.filters
        if any(entry.text == template.text for entry, _ in before):
            problems.append(f"template {template.text!r} is given twice: leave one out")
        elif covering := _covering(template, filters, before):
            problems.append(f"template {template.text!r} is never reached, because {_reason(covering)}")
        before.append((template, filters))
    return problems


def _covering(
    template: Template, filters: Sequence[str], before: Sequence[tuple[Entry, tuple[str, ...]]]
) -> dict[str, Entry]:
    """Return entries, by their text, that together match every topic of the template.

    The result is empty if a topic may be left.
    """
    covering: dict[str, Entry] = {}
    for text in filters:
        for entry, others in before:
            if any(topic_filters.covers(other, text) for other in others) and _matches_filters(entry, template):
                covering[entry.text] = entry
                break
        else:
            return {}
    return covering


def _filters(entry: Entry) -> tuple[str, ...]:
    if isinstance(entry, Template):
        return entry.filters
    return (entry.topic,) if isinstance(entry.topic, str) else entry.topic.filters


def _matches_filters(entry: Entry, template: Template) -> bool:
    """Return whether the entry matches all topics of the template in its filters.

    ``+`` and ``#`` match empty levels and fields do not, so the template must not have topics with an empty level in
    place of a field of the entry.
    """
    topic = entry.topic if isinstance(entry, Exclusion) else entry
    if isinstance(topic, str):
        return True
    if not topic.is_plain or ("",) in template.levels:
        return False
    return not topic.rest_needs_text or len(template.levels) > len(topic.levels) or template.rest_needs_text


def _reason(covering: Mapping[str, Entry]) -> str:
    names = " and ".join(map(repr, covering))
    if all(isinstance(entry, Exclusion) for entry in covering.values()):
        return f"every topic of it is excluded by {names}: leave one out"
    return f"every topic of it is matched before by {names}: put it first, or leave one out"
