"""``hermes topics explain``, as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hermes.cli.main import main
from hermes.errors import install_command
from hermes.ingest import extras
from hermes.ingest.sparkplug.sparkplug_b_pb2 import Payload

UPLINK = '{"deviceInfo":{"tenantId":"acme"},"data":"qg=="}'
UP = "application/17/device/0102/event/up"


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the settings of the environment."""
    for name in [name for name in os.environ if name.startswith("HERMES_")]:
        monkeypatch.delenv(name)


def explain(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, list[str]]:
    """The exit code and the lines, with single spaces."""
    code = main(["topics", "explain", *words])
    return code, [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_topic_is_explained_by_its_template(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a secret, without a payload, without a broker."""
    code, lines = explain(capsys, "tenants/acme/devices/d1/a/b")
    assert code == 0
    assert lines == [
        "topic tenants/acme/devices/d1/a/b",
        "template tenants/{tenant_id}/devices/{device_id}/{series...} (preset hermes)",
        "tenant acme",
        "device d1",
        "series a/b",
        "subscribed tenants/+/devices/+/# (matches this topic)",
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["tenants/a/devices/d/t", "21.5"], ["payload JSON number, 4 bytes", "series t"]),
        (["tenants/a/devices/d", "nan"], ["payload text, 3 bytes, because it is not JSON", 'series "" (none)']),
        (["tenants/a/devices/d", '{"a":1}'], ["payload JSON object, 7 bytes"]),
        (["tenants/a/devices/d", ""], ["payload empty: clears the last value"]),
        (["tenants/a/devices/d/LWT", "Offline"], ["presence offline"]),
        (["tenants/a/devices/d/LWT"], ["presence this series reports whether the device is online"]),
        (["tenants/a/devices/d/LWT", "21"], ["presence this series can report it, but not this payload"]),
        (["tenants/a/devices/d/LWT", ""], ["presence unknown, because the payload is empty"]),
        (["--topic", "zigbee2mqtt", "zigbee2mqtt/a/b/availability", '{"state":"online"}'], ["presence online"]),
        (["--topic", "zigbee2mqtt;tenant_id=h", "zigbee2mqtt/a/b"], ["tenant h", "device a/b"]),
        (["--topic", "chirpstack", UP], ["tenant from the payload, at /deviceInfo/tenantId", "device 0102"]),
        (
            ["--topic", "chirpstack", UP, UPLINK],
            ['pointer tenant_id=/deviceInfo/tenantId finds "acme"', "tenant acme", "device 0102", "series up"],
        ),
        (
            ["--topic", "{tenant_id}/{device_id};payload=cbor", "a/b", "x"],
            ["payload cbor: to decode it, give its bytes as @FILE,"],
        ),
        (["--topic", "{tenant_id}/{device_id};payload=cbor", "a/b"], ["tenant a", "device b"]),
        (
            ["--topic", "chirpstack", UP, '{"deviceInfo":{"tenantId":"t","deviceName":"Hall"},"object":{"v":1.50}}'],
            ["pointer name=/deviceInfo/deviceName finds", "name Hall", "series up/v 1.50"],
        ),
        (["--topic", "chirpstack", UP], ["series up/MEMBER for each member of the object at /object, or else up"]),
        (
            [
                "--topic",
                "thingsboard",
                "v1/gateway/telemetry",
                '{"A":{"values":{"t":1}},"B":{},"C":{"values":{"t":2}}}',
            ],
            [
                "pointer devices=/ finds",
                "device A",
                "series t 1",
                "device C",
                "series t 2",
                "dropped a part: series is neither text nor an integer at /values",
            ],
        ),
        (["--topic", "thingsboard", "v1/gateway/telemetry"], ["device those in the payload, at /"]),
        (
            ["--topic", "zigbee2mqtt", "zigbee2mqtt/lamp", json.dumps({str(number): 1 for number in range(1_005)})],
            ["series 19 1", "series and 980 more", "dropped 5 values (hermes_mqtt_dropped_total, reason too_many)"],
        ),
        (
            ["--topic", "{tenant_id}/{device_id};series=/", "a/b", '{"online":true}'],
            ["series online true", "presence online"],
        ),
        (["--topic", "sparkplug", "spBv1.0/g/NBIRTH/e"], ["tenant g", "device e", "series one for each metric"]),
    ],
)
def test_what_hermes_would_deliver_is_explained_with_exit_code_0(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]
) -> None:
    """Payload, pointers, ids, presence."""
    code, lines = explain(capsys, *words)
    assert code == 0
    assert [text for text in expected if not any(line.startswith(text) for line in lines)] == [], lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["zigbee2mqtt/lamp"],
            ["template none matches", "preset zigbee2mqtt matches this topic: add --topic zigbee2mqtt"],
        ),
        (
            ["--topic", "thingsboard", "v1/gateway/telemetry", '{"A":{}}'],
            ["dropped a part: series is neither text nor an integer at /values"],
        ),
        (["--topic", "thingsboard", "v1/gateway/telemetry", "[]"], ["dropped the pointer of devices= finds no object"]),
        (["a/b"], ["template none matches", "level 1 is 'a', expected 'tenants'"]),
        (
            ["--topic", "hermes", "--topic", "tasmota", "tele/STATE"],
            ["level 1 is 'tele', expected 'tenants'", "too few levels: {device_id...}/{series} needs 2 or more,"],
        ),
        (
            ["--topic", "zigbee2mqtt", "zigbee2mqtt/bridge/x"],
            ["excluded by !zigbee2mqtt/bridge/# (preset zigbee2mqtt)"],
        ),
        (["--topic", "zigbee2mqtt", "zigbee2mqtt/a/set"], ["excluded by !zigbee2mqtt/{name...}/{command:set|get}"]),
        (
            ["--topic", "chirpstack", UP, "{}"],
            ["pointer tenant_id=/deviceInfo/tenantId finds nothing", "dropped tenant"],
        ),
        (
            ["--topic", "t/{tenant_id}/{device_id};tenant_id=/t", "t/a/d", '{"t":"b"}'],
            [
                "dropped tenant_id is 'b' in the payload and 'a' in the topic"
                " (hermes_mqtt_dropped_total, reason mismatch)"
            ],
        ),
        (["tenants/a/devices/" + "d" * 1_025, "1"], ["dropped an id has more than 1,024 characters"]),
    ],
)
def test_what_hermes_would_drop_is_explained_with_exit_code_1(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]
) -> None:
    """With the reason."""
    code, lines = explain(capsys, *words)
    assert code == 1
    assert [text for text in expected if not any(line.startswith(text) for line in lines)] == [], lines


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            [
                "--topic",
                "a/{tenant_id:t*}/{device_id...}",
                "--topic",
                "{x}/{device_id};tenant_id=t",
                "--topic",
                "a/{y:t}/{device_id};tenant_id=t",
                "a/t/d",
            ],
            ["template a/{tenant_id:t*}/{device_id...}", "shadowed a/{y:t}/{device_id};tenant_id=t, which matches too"],
        ),
        (
            ["--topic", "zigbee2mqtt", "zigbee2mqtt/lamp/availability"],
            [
                "template zigbee2mqtt/{device_id...}/{series:availability};tenant_id=default;online=availability;"
                "bridge=zigbee2mqtt/bridge/state (preset zigbee2mqtt)",
                "shadowed zigbee2mqtt/{device_id...};tenant_id=default;series=/;bridge=zigbee2mqtt/bridge/state"
                " (preset zigbee2mqtt), which matches too",
            ],
        ),
        (
            ["--topic", "{tenant_id}/{device_id}", "--topic", "!a/b", "a/b"],
            ["excluded by !a/b", "shadowed {tenant_id}/{device_id}, which matches too"],
        ),
    ],
)
def test_templates_that_match_too_are_named_as_shadowed(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: list[str]
) -> None:
    """Templates that do not match are not."""
    _, lines = explain(capsys, *words)
    assert [line for line in lines if line.startswith(("template", "excluded", "shadowed"))] == expected


def test_payloads_come_from_files_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Byte by byte."""
    (tmp_path / "raw").write_bytes(b"\xff\xfe")
    assert (
        "payload base64, 2 bytes, because it is not JSON"
        in explain(capsys, "tenants/a/devices/d", f"@{tmp_path / 'raw'}")[1]
    )
    (tmp_path / "large").write_bytes(b" " * 1_048_577)
    code, lines = explain(capsys, "tenants/a/devices/d", f"@{tmp_path / 'large'}")
    assert code == 1
    assert (
        "dropped 1,048,577 bytes; at most 1,048,576 are allowed (hermes_mqtt_dropped_total, reason too_large)" in lines
    )


def test_cbor_is_decoded_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Ids too; an invalid payload is reported."""
    pytest.importorskip("cbor2")
    topic = ["--topic", "{device_id};tenant_id=/t;payload=cbor", "d1"]
    (tmp_path / "good").write_bytes(b"\xa1\x61t\x64acme")
    code, lines = explain(capsys, *topic, f"@{tmp_path / 'good'}")
    assert code == 0
    assert {"payload CBOR object, 8 bytes", 'pointer tenant_id=/t finds "acme"', "tenant acme"} <= set(lines)
    (tmp_path / "bad").write_bytes(b"\xa1\x61")
    code, lines = explain(capsys, *topic, f"@{tmp_path / 'bad'}")
    assert code == 1
    assert any(line.endswith("reason undecodable)") for line in lines)


def test_sparkplug_is_decoded_from_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Each metric, and the presence of the node."""
    payload = Payload(timestamp=1, seq=0)
    payload.metrics.add(name="bdSeq", datatype=4, long_value=1)
    payload.metrics.add(name="speed", datatype=3, int_value=1450)
    (tmp_path / "birth").write_bytes(payload.SerializeToString())
    code, lines = explain(capsys, "--topic", "sparkplug", "spBv1.0/g/NBIRTH/e", f"@{tmp_path / 'birth'}")
    assert code == 0
    assert "presence e is online" in lines
    assert any(line.startswith('metric speed {"value":1450,') for line in lines)


def test_a_missing_extra_is_reported(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the command to run; the ids of the topic are printed nevertheless."""
    monkeypatch.setattr(extras, "_importable", lambda name: False)
    (tmp_path / "raw").write_bytes(b"\x01")
    for extra, *words in (
        ("cbor", "{tenant_id}/{device_id};payload=cbor", "a/b"),
        ("sparkplug", "sparkplug", "spBv1.0/g/NDATA/e"),
    ):
        code, lines = explain(capsys, "--topic", *words, f"@{tmp_path / 'raw'}")
        assert code == 0
        assert any(install_command(extra) in line for line in lines)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["a/+"], "is not a topic"),
        (["a/#"], "is not a topic"),
        ([""], "is not a topic"),
        (["\udcff"], "not UTF-8"),
        (["a" * 65_536], "is not a topic"),
        (["a", "@/nowhere/at/all"], "cannot read /nowhere/at/all"),
        (["--topic", "nope", "a"], "'nope' is not a preset"),
    ],
)
def test_an_invalid_topic_ends_with_exit_code_2(
    capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    """Without an explanation."""
    assert main(["topics", "explain", *words]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert expected in output.err


def test_the_templates_come_from_the_same_sources_as_for_serve(tmp_path: Path) -> None:
    """Environment variable and TOML file; the payload from standard input."""
    (tmp_path / "hermes.toml").write_text('host = "0.0.0.0"\ntopics = ["tasmota;tenant_id=home"]\n')
    command = [sys.executable, "-m", "hermes", "topics", "explain", "tele/plug/LWT", "-"]
    for given in ({"HERMES_TOPICS": "hermes,tasmota;tenant_id=home"}, {"HERMES_CONFIG": str(tmp_path / "hermes.toml")}):
        done = subprocess.run(
            command, env=os.environ | given, input=b"Online", capture_output=True, timeout=30, check=True
        )
        assert b"home\n" in done.stdout
        assert b"presence    online\n" in done.stdout
        assert done.stderr == b""


def test_the_bridge_of_a_device_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    """And, for its topic, what it does; as data it is ignored."""
    code, lines = explain(capsys, "--topic", "zigbee2mqtt", "zigbee2mqtt/lamp", "{}")
    assert code == 0
    assert "bridge zigbee2mqtt/bridge/state: the device is offline while that topic reports offline" in lines
    code, lines = explain(capsys, "--topic", "zigbee2mqtt", "zigbee2mqtt/bridge/state", "offline")
    assert code == 1
    assert "bridge its devices are offline while this topic reports that it is" in lines
