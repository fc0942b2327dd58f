"""docs/reference/topics.md agrees with the code."""

import json
import re
import shlex

import pytest

from hermes.cli.main import main
from hermes.ingest.payload import decode
from hermes.ingest.presence import VALUES
from hermes.topics.parser import KEYS, PAYLOADS
from hermes.topics.topic_map import PRESETS, TopicMap
from tests.support.paths import CHECKOUT

TEXT = (CHECKOUT / "docs" / "reference" / "topics.md").read_text()
SECTIONS = dict(re.findall(r"^### (\w+)\n(.*?)(?=^##)", TEXT, re.DOTALL | re.MULTILINE))
EXAMPLE = re.compile(r"^```\n(\S.*?)\n(\{\"channel\".*)\n```$", re.MULTILINE)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_has_a_message_and_the_frame_that_it_becomes(preset: str) -> None:
    """As the preset reads it."""
    examples = EXAMPLE.findall(SECTIONS[preset])
    assert examples
    for message, text in examples:
        frame = json.loads(text)
        topic = frame["topic"]
        assert message.startswith(f"{topic} ")
        match = TopicMap([preset]).match(topic)
        assert match is not None
        assert match.template.preset == preset
        payload = decode(message[len(topic) + 1 :].encode())
        tenant_id, device_id, series = match.resolve(payload.value)
        assert (frame["tenant_id"], frame["device_id"]) == (tenant_id, device_id)
        if preset != "sparkplug":  # whose series and data come from the payload
            assert (frame["series"], frame["data"]) == (series, json.loads(payload.data))
            assert frame.get("encoding", "") == payload.encoding


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
    """Both of its examples, to the letter."""
    monkeypatch.delenv("HERMES_TOPICS", raising=False)
    monkeypatch.delenv("HERMES_CONFIG", raising=False)
    (block,) = re.findall(r"^```\n(\$ .*?)```$", TEXT, re.DOTALL | re.MULTILINE)
    for example in block.split("$ hermes ")[1:]:
        command, _, output = example.partition("\n")
        main(shlex.split(command))
        assert capsys.readouterr().out.strip() == output.strip()
