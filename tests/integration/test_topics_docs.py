"""docs/reference/topics.md agrees with the code."""

import json
import re
import shlex

import pytest

from hermes.cli.main import main
from hermes.delivery.frames import encode
from hermes.delivery.messages import DeviceMessage
from hermes.ingest.ingest import InboundMessage
from hermes.ingest.presence import VALUES
from hermes.metrics import Metrics
from hermes.topics.parser import KEYS, PAYLOADS
from hermes.topics.topic_map import PRESETS, TopicMap
from tests.support.ingests import make_ingest
from tests.support.paths import CHECKOUT

TEXT = (CHECKOUT / "docs" / "reference" / "topics.md").read_text()
SECTIONS = dict(re.findall(r"^### ([\w-]+)\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE))
EXAMPLE = re.compile(r"^```\n(\S.*?)\n((?:\{\"channel\".*\n)+)```$", re.MULTILINE)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_message_and_the_frame_that_it_becomes(preset: str) -> None:
    """As the preset reads it."""
    examples = EXAMPLE.findall(SECTIONS[preset])
    assert examples
    for message, text in examples:
        frames = text.splitlines()
        topic = json.loads(frames[0])["topic"]
        assert message.startswith(f"{topic} ")
        match = TopicMap([preset]).match(topic)
        assert match is not None
        assert match.template.preset == preset
        if preset != "sparkplug":  # its payload is not text
            assert frames_of([preset], topic, message[len(topic) + 1 :]) == frames
            continue
        frame = json.loads(text)
        assert (frame["tenant_id"], frame["device_id"]) == match.resolve(None)[:2]


def frames_of(entries: list[str], topic: str, payload: str) -> list[str]:
    """The text of the frames that a message becomes."""
    published: list[DeviceMessage] = []
    ingest = make_ingest(TopicMap(entries), metrics=Metrics(), publish=published.append)
    ingest.handle(InboundMessage(topic, payload.encode(), False, (), 1_763_836_800_123))
    while ingest.unfinished is not None:
        ingest.continue_message()
    return [encode(message).payload.decode() for message in published]


@pytest.mark.parametrize(
    ("heading", "entry"),
    [
        ("Several series", "chirpstack"),
        ("Several devices", "v1/gateway/telemetry;tenant_id=default;devices=/;series=/values"),
    ],
)
def test_the_frames_of_a_message_with_several_values_are_those_of_the_text(heading: str, entry: str) -> None:
    """Each example that stands under the heading."""
    section = re.search(rf"^## {heading}\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE)
    assert section is not None
    ((message, text),) = EXAMPLE.findall(section[1])
    topic = json.loads(text.splitlines()[0])["topic"]
    assert frames_of([entry], topic, message[len(topic) + 1 :]) == text.splitlines()


def test_every_documented_preset_exists() -> None:
    """And no other has a section."""
    assert list(SECTIONS) == list(PRESETS)


def test_every_setting_word_and_payload_is_documented() -> None:
    """What may stand behind a template, and what devices may say of themselves."""
    for name in (*KEYS, *(f"payload={kind}" for kind in PAYLOADS)):
        assert re.search(rf"`[^`]*\b{name}\b", TEXT), name
    homie = {"init", "ready", "sleeping", "alert", "lost"}
    assert not [word for word in VALUES if word not in homie and f"`{word}`" not in TEXT]


def test_the_templates_in_the_text_parse() -> None:
    """All that name a tenant and a device."""
    found = re.findall(r"`([^`\n {]*/[^`\n ]*\{device_id[^`\n ]*)`", TEXT)
    whole = [text for text in found if "tenant_id" in text]
    assert len(whole) > 5
    for text in whole:
        assert TopicMap([text]).templates


def test_explain_prints_what_is_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of its examples, to the letter."""
    monkeypatch.delenv("HERMES_TOPICS", raising=False)
    monkeypatch.delenv("HERMES_CONFIG", raising=False)
    (block,) = re.findall(r"^```\n(\$ .*?)```$", TEXT, re.DOTALL | re.MULTILINE)
    for example in block.split("$ hermes ")[1:]:
        command, _, output = example.partition("\n")
        main(shlex.split(command))
        assert capsys.readouterr().out.strip() == output.strip()
