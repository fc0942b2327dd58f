"""Rule of ``--broker-listen``: templates restrict each device to its own topics.

A device account may publish to the topics of its tenant and device. The broker can check these topics only with topic
filters. Therefore each of the tenant and the device id must be a whole level of the topic (``{tenant_id}``,
``{device_id}``), several levels (``{device_id...}``), or a constant. The filters of two templates must not overlap:
otherwise one template could read other ids from the topic of a device.
"""

import itertools
from collections.abc import Sequence

from hermes.topics import filters as topic_filters
from hermes.topics.template import DEVICE, ID_FIELDS, TENANT, Field, Level, Template


def isolation_problems(templates: Sequence[Template]) -> list[str]:
    """Return a line for each template, or pair, that does not restrict each device.

    Each line says what to write instead.
    """
    reasons = {template.text: _reason(template) for template in templates}
    problems = [
        f"template {_named(template)} {reason}, so one device could publish as another: leave it out, or write "
        f"{isolated(template)!r}"
        for template in templates
        if (reason := reasons[template.text]) is not None
    ]
    for one, other in itertools.combinations((each for each in templates if reasons[each.text] is None), 2):
        if _overlap(one, other):
            problems.append(
                f"the filters of templates {_named(one)} and {_named(other)} overlap, so one device could publish as "
                f"another: write only one of them, or {'one/' + one.text!r} and {'two/' + other.text!r}"
            )
    return problems


def _reason(template: Template) -> str | None:
    """Return why the template does not restrict each device, or None if it does."""
    rest = template.rest
    rest_is_id = rest is not None and rest.name in ID_FIELDS
    certain = (*template.levels, *(template.after if rest_is_id else ()))
    for name in ID_FIELDS:
        if name in template.constants or (rest is not None and rest.name == name):
            continue
        if name not in template.fields:
            return f"reads {name} from the payload"
        if not any(_is_field(level, name) for level in certain):
            uncertain = rest is not None and any(_is_field(level, name) for level in template.after)
            return f"has {{{name}}} {f'after {{{rest.name}...}}' if rest and uncertain else 'in a part of a level'}"
    return None


def _is_field(level: Level, name: str) -> bool:
    return len(level) == 1 and isinstance(level[0], Field) and level[0].name == name


def isolated(template: Template) -> str:
    """Return a similar template that gives tenant and device a whole level each."""
    levels = [_separated(level) for level in template.levels]
    after = [_separated(level) for level in template.after]
    last = template.optional and f"{{{template.optional.name}?}}"
    if template.rest is not None:
        rest = f"{{{template.rest.name}...}}"
        levels, last = ([*levels, rest], None) if template.rest.name in ID_FIELDS else (levels, rest)
    levels += after
    _, *settings = template.text.split(";")
    kept = [text for text in settings if not text.startswith((f"{TENANT}=/", f"{DEVICE}=/", "devices="))]
    if DEVICE not in (*template.fields, *template.constants):
        levels.append(f"{{{DEVICE}}}")
    if TENANT not in (*template.fields, *template.constants):
        kept.append(f"{TENANT}=home")
    return ";".join(["/".join([*levels, last] if last else levels), *kept])


def _separated(level: Level) -> str:
    """Return the level as text; if it is only partly an id, return the ids as levels."""
    ids = [str(part) for part in level if isinstance(part, Field) and part.name in ID_FIELDS]
    return "/".join(ids) if ids and len(level) > 1 else "".join(map(str, level))


def _overlap(one: Template, other: Template) -> bool:
    return any(topic_filters.overlap(text, each) for text in one.filters for each in other.filters)


def _named(template: Template) -> str:
    return f"{template.text!r}{f' (preset {template.preset})' if template.preset else ''}"
