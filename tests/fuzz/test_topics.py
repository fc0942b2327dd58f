"""Any topic, and any text as a template: an answer or a `TemplateError`."""

import contextlib
import json

from hypothesis import given
from hypothesis import strategies as st

from hermes.errors import AddressNotFound, TemplateError
from hermes.ingest.parts import Parts
from hermes.ingest.payload import decode
from hermes.topics.isolation import isolation_problems
from hermes.topics.mismatch import mismatch
from hermes.topics.presets import PRESETS
from hermes.topics.topic_map import TopicMap
from tests.support.random_templates import templates, topics_like

ALL_PRESETS = TopicMap(tuple(PRESETS))
PIECES = ("{tenant_id}", "{device_id}", "{series...}", "{a}", "{b?}", "{c:x*}", "a", "/", "@", "-", "+", "#", "!", "$")
SETTINGS = (
    "tenant_id=x",
    "device_id=/a/0",
    "series=/s",
    "series=/",
    "name=/a",
    "name=x",
    "devices=/",
    "devices=/a/d",
    "online=a|b",
    "payload=cbor",
    "payload=x",
    "=",
    "tenant_id",
    "",
)
ENTRIES = st.builds(
    lambda pieces, settings: ";".join(["".join(pieces), *settings]),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8),
    st.lists(st.sampled_from(SETTINGS), max_size=3),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("atds"), inner, max_size=3),
)


@given(st.lists(ENTRIES, min_size=1, max_size=4), st.text(max_size=20), JSON)
def test_any_entries_are_templates_or_refused(entries: list[str], topic: str, value: object) -> None:
    """What is accepted reads any topic and any payload without another exception."""
    try:
        topics = TopicMap(entries)
    except TemplateError as error:
        assert str(error)
        return
    isolation_problems(topics.templates)
    read(topics, topic, value)


@given(st.lists(templates(), min_size=1, max_size=3), st.data(), JSON)
def test_any_topic_is_read_by_any_template(entries: list[str], data: st.DataObject, value: object) -> None:
    """Also one that is nearly that of a template."""
    topic = data.draw(topics_like(*entries))
    with contextlib.suppress(TemplateError):
        read(TopicMap(entries), topic, value)
    read(ALL_PRESETS, topic, value)


def read(topics: TopicMap, topic: str, value: object) -> None:
    """Call everything that reads a topic."""
    topics.excluded(topic)
    tenant, device = topics.sender_of(topic)
    hash((tenant, device))
    match = topics.match(topic)
    if match is None:
        assert topics.excluded(topic) or all(mismatch(template, topic) is not None for template in topics.templates)
        return
    with contextlib.suppress(AddressNotFound):
        if match.template.extended and match.template.payload != "sparkplug":
            payload = decode(json.dumps(value).encode())
            for part in Parts(match, payload, topic=topic, on_error=lambda error: None):
                assert part is None or (part.tenant_id and part.device_id)
            return
        tenant_id, device_id, _ = match.resolve(value)
        assert tenant_id
        assert device_id
