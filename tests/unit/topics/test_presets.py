"""The presets: invented messages of each device family, and collected ones if they are present."""

import base64
import json
from typing import Any

import pytest

from hermes.errors import AddressNotFound, TemplateError
from hermes.ingest.parts import Parts
from hermes.ingest.payload import decode
from hermes.ingest.presence import is_presence, presence
from hermes.topics.topic_map import PRESETS, TopicMap, TopicMatch, matching_preset
from tests.support.paths import SAMPLES

ALL = TopicMap(list(PRESETS))

Read = tuple[str, str, str] | list[tuple[str, str, str]] | str


def read(topics: TopicMap, topic: str, payload: bytes) -> Read:
    """Tenant, device and series, several of them, or the reason why the message is dropped."""
    match = topics.match(topic)
    if match is None:
        return "excluded" if topics.excluded(topic) else "unmatched"
    try:
        if not match.template.extended or match.template.payload == "sparkplug" or not payload:
            return match.resolve(decode(payload).value)
        return parts_of(match, topic, payload)
    except AddressNotFound as fault:
        return fault.reason


def parts_of(match: TopicMatch, topic: str, payload: bytes) -> Read:
    """The same of a message that may have several parts."""
    errors: list[AddressNotFound] = []
    parts = Parts(match, decode(payload), topic=topic, on_error=errors.append)
    found: list[tuple[str, str, str]] = [(part.tenant_id, part.device_id, part.series) for part in parts if part]
    if not found:
        return errors[0].reason
    return found[0] if len(found) == 1 else found


CHIRPSTACK = b'{"deviceInfo":{"tenantId":"acme","devEui":"0102030405060708"},"fPort":1,"data":"qg=="}'
DECODED = b'{"deviceInfo":{"tenantId":"acme","deviceName":"Soil"},"dr":5,"object":{"temperature":21.5,"moisture":31}}'

MESSAGES = [
    ("hermes", "tenants/acme/devices/d1/temp", b"21.4", ("acme", "d1", "temp")),
    ("hermes", "tenants/acme/devices/d1", b"{}", ("acme", "d1", "")),
    ("chirpstack", "application/17c8/device/0102/event/up", CHIRPSTACK, ("acme", "0102", "up")),
    (
        "chirpstack",
        "application/17c8/device/0102/event/up",
        DECODED,
        [("acme", "0102", "up/temperature"), ("acme", "0102", "up/moisture")],
    ),
    ("chirpstack", "application/17c8/device/0102/event/join", CHIRPSTACK, ("acme", "0102", "join")),
    ("chirpstack", "application/17c8/device/0102/event/up", b'{"deviceInfo":{}}', "pointer"),
    ("chirpstack", "application/17c8/device/0102/event/up", b"", "pointer"),
    ("chirpstack", "application/17c8/device/0102/command/down", b'{"devEui":"0102"}', "unmatched"),
    ("ttn", "v3/farm@acme/devices/soil-1/up", b"{}", ("acme", "soil-1", "up")),
    (
        "ttn",
        "v3/farm@acme/devices/soil-1/up",
        b'{"uplink_message":{"f_port":2,"decoded_payload":{"moisture":31,"ok":true}}}',
        [("acme", "soil-1", "up/moisture"), ("acme", "soil-1", "up/ok")],
    ),
    (
        "ttn",
        "v3/farm/devices/soil-1/up",
        b'{"uplink_message":{"decoded_payload":{"t":3}}}',
        ("default", "soil-1", "up/t"),
    ),
    ("ttn", "v3/farm@acme/devices/soil-1/join", b"{}", ("acme", "soil-1", "join")),
    ("ttn", "v3/farm@acme/devices/soil-1/down/queued", b"{}", ("acme", "soil-1", "down/queued")),
    ("ttn", "v3/farm@acme/devices/soil-1/down/push", b"{}", "excluded"),
    ("ttn", "v3/farm@acme/devices/soil-1/down/replace", b"{}", "excluded"),
    ("ttn", "v3/farm/devices/soil-1/up", b"{}", ("default", "soil-1", "up")),
    ("ttn", "v3/farm/devices/soil-1/down/push", b"{}", "excluded"),
    ("ttn", "v3/farm@/devices/soil-1/up", b"{}", "unmatched"),
    ("zigbee2mqtt", "zigbee2mqtt/lamp", b'{"state":"ON"}', ("default", "lamp", "state")),
    ("zigbee2mqtt", "zigbee2mqtt/lamp", b'{"b":1,"c":{"x":0}}', [("default", "lamp", "b"), ("default", "lamp", "c")]),
    ("zigbee2mqtt", "zigbee2mqtt/floor 1/hall/lamp", b'{"state":"ON"}', ("default", "floor 1/hall/lamp", "state")),
    ("zigbee2mqtt", "zigbee2mqtt/lamp/state", b"ON", ("default", "lamp/state", "")),
    ("zigbee2mqtt", "zigbee2mqtt/hall/lamp/availability", b"online", ("default", "hall/lamp", "availability")),
    ("zigbee2mqtt", "zigbee2mqtt/availability", b"{}", ("default", "availability", "")),
    ("zigbee2mqtt", "zigbee2mqtt/bridge/state", b'{"state":"online"}', "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/bridge/devices", b"[]", "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/bridges/1", b"{}", ("default", "bridges/1", "")),
    ("zigbee2mqtt", "zigbee2mqtt/hall/lamp/set", b'{"state":"ON"}', "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/hall/lamp/left/set", b"TOGGLE", "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/lamp/set/state", b"ON", "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/lamp/get", b'{"state":""}', "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/lamp/set", b"", "excluded"),
    ("zigbee2mqtt", "zigbee2mqtt/set", b"{}", ("default", "set", "")),
    ("zigbee2mqtt", "zigbee2mqtt/lamp", b"", ("default", "lamp", "")),
    ("tasmota", "tele/plug/STATE", b'{"POWER":"ON"}', ("default", "plug", "STATE")),
    ("tasmota", "tele/plug/LWT", b"Online", ("default", "plug", "LWT")),
    ("tasmota", "stat/plug/POWER1", b"OFF", ("default", "plug", "POWER1")),
    ("tasmota", "tele/hall/plug/SENSOR", b"{}", ("default", "hall/plug", "SENSOR")),
    ("tasmota", "tele/STATE", b"{}", "unmatched"),
    ("tasmota", "cmnd/plug/POWER", b"", "unmatched"),
    ("shelly", "shellies/shelly1-A4CF12/relay/0", b"on", ("default", "shelly1-A4CF12", "relay/0")),
    ("shelly", "shellies/shelly1-A4CF12/online", b"true", ("default", "shelly1-A4CF12", "online")),
    ("shelly", "shellies/shelly1-A4CF12/relay/0/command", b"on", "excluded"),
    ("shelly", "shellies/shellyswitch25-A4/roller/0/command/pos", b"50", "excluded"),
    ("shelly", "shellies/shellydimmer-A4/light/0/set", b'{"turn":"on"}', "excluded"),
    ("shelly", "shellies/shelly1-A4CF12/command", b"update", "excluded"),
    ("shelly", "shellies/command", b"announce", "excluded"),
    ("shelly", "shellies/announce", b'{"id":"shelly1-A4CF12"}', ("default", "shelly1-A4CF12", "announce")),
    ("shelly", "shellies/announce", b"{}", "pointer"),
    ("shelly", "shellyplus1-44179/online", b"true", ("default", "shellyplus1-44179", "online")),
    ("shelly", "shellyplus1-44179/events/rpc", b'{"src":"x"}', ("default", "shellyplus1-44179", "events/rpc")),
    ("shelly", "shellyplus1-44179/status/switch:0", b"{}", ("default", "shellyplus1-44179", "switch:0")),
    ("shelly", "shellyplus1-44179/rpc", b"{}", "unmatched"),
    ("shelly", "kitchen-plug/online", b"true", "unmatched"),
    ("homie", "homie/5/car/$state", b"ready", ("default", "car", "$state")),
    ("homie", "homie/5/car/engine/temperature", b"21.5", ("default", "car", "engine/temperature")),
    ("homie", "homie/5/car/engine/speed/$target", b"80", ("default", "car", "engine/speed/$target")),
    ("homie", "homie/5/car/engine/speed/set", b"80", "excluded"),
    ("homie", "homie/5/car/engine/set", b"1", ("default", "car", "engine/set")),
    ("homie", "homie/5/$broadcast/alert", b"fire", "excluded"),
    ("homie", "homie/car/$state", b"ready", ("default", "car", "$state")),
    ("homie", "homie/car/engine/temperature", b"21.5", ("default", "car", "engine/temperature")),
    ("homie", "homie/car/engine/speed/set", b"80", "excluded"),
    ("homie", "homie/$broadcast/alert", b"fire", "excluded"),
    ("homie", "homie/5/car/$state", b"", ("default", "car", "$state")),
    ("homie", "/homie/5/car/$alert/battery", b"low", "unmatched"),
    ("sparkplug", "spBv1.0/plant 1/NBIRTH/edge 1", b"\x08\x01", ("plant 1", "edge 1", "")),
    ("sparkplug", "spBv1.0/plant 1/DDATA/edge 1/pump", b"\x08\x01", ("plant 1", "pump", "")),
    ("sparkplug", "spBv1.0/plant 1/NBIRTH/edge 1/pump", b"\x08\x01", "unmatched"),
    ("sparkplug", "spBv1.0/plant 1/DCMD/edge 1/pump", b"\x08\x01", "unmatched"),
    ("sparkplug", "spBv1.0/STATE/scada", b'{"online":true}', "unmatched"),
    ("sparkplug", "STATE/scada", b"ONLINE", "unmatched"),
    ("owntracks", "owntracks/jane/phone", b'{"_type":"location"}', ("jane", "phone", "")),
    ("owntracks", "owntracks/jane/phone/event", b'{"_type":"transition"}', ("jane", "phone", "event")),
    ("owntracks", "owntracks/jane/phone/cmd", b'{"_type":"cmd"}', "excluded"),
    ("owntracks", "owntracks/jane", b"{}", "unmatched"),
    ("homeassistant", "homeassistant/switch/pump/state", b"ON", ("default", "pump", "switch")),
    (
        "homeassistant",
        "homeassistant/sensor/bed/state",
        b'{"temperature":23.20,"humidity":43}',
        [("default", "bed", "sensor/temperature"), ("default", "bed", "sensor/humidity")],
    ),
    ("homeassistant", "homeassistant/sensor/hall/lux/state", b"12", ("default", "hall", "lux")),
    ("homeassistant", "homeassistant/sensor/hall/lux/state", b'{"value":12}', ("default", "hall", "lux/value")),
    ("homeassistant", "homeassistant/light/hall/availability", b"online", ("default", "hall", "availability")),
    ("homeassistant", "homeassistant/light/hall/lamp/availability", b"online", ("default", "hall", "availability")),
    ("homeassistant", "homeassistant/light/hall/attributes", b'{"rssi":-70}', ("default", "hall", "attributes/rssi")),
    ("homeassistant", "homeassistant/light/hall/lamp/attributes", b'{"rssi":-70}', ("default", "hall", "lamp/rssi")),
    ("homeassistant", "homeassistant/light/hall/config", b'{"name":"Hall"}', "unmatched"),
    ("homeassistant", "homeassistant/light/hall/set", b"ON", "unmatched"),
    ("homeassistant", "homeassistant/status", b"online", "unmatched"),
    ("frigate", "frigate/available", b"online", ("default", "frigate", "available")),
    ("frigate", "frigate/stats", b'{"cpu":3}', ("default", "frigate", "stats")),
    ("frigate", "frigate/events", b'{"type":"new","after":{"camera":"door"}}', ("default", "door", "events")),
    ("frigate", "frigate/reviews", b'{"type":"new","after":{"camera":"door"}}', ("default", "door", "reviews")),
    ("frigate", "frigate/reviews", b"{}", "pointer"),
    ("frigate", "frigate/triggers", b'{"name":"car","camera":"door"}', ("default", "door", "triggers")),
    ("frigate", "frigate/door/motion", b"ON", ("default", "door", "motion")),
    ("frigate", "frigate/door/person", b"1", ("default", "door", "person")),
    ("frigate", "frigate/door/detect/state", b"ON", ("default", "door", "detect/state")),
    ("frigate", "frigate/door/person/snapshot", b"\xff\xd8", "excluded"),
    ("frigate", "frigate/door/detect/set", b"ON", "excluded"),
    ("frigate", "frigate/door/suspend", b"5", "excluded"),
    ("frigate", "frigate/door/ptz", b"MOVE_LEFT", "excluded"),
    ("frigate", "frigate/notifications/set", b"ON", "excluded"),
    ("frigate", "frigate/restart", b"", "excluded"),
    (
        "thingsboard",
        "v1/gateway/telemetry",
        b'{"A":[{"ts":1,"values":{"t":1,"h":2}},{"ts":2,"values":{"t":3}}],"B":[{"ts":1,"values":{"t":4}}]}',
        [("default", "A", "t"), ("default", "A", "h"), ("default", "A", "t"), ("default", "B", "t")],
    ),
    ("thingsboard", "v1/gateway/telemetry", b'{"A":[{"t":1}]}', "pointer"),
    (
        "thingsboard",
        "v1/gateway/attributes",
        b'{"A":{"fw":"1.0"},"B":{"fw":"1.1"}}',
        [("default", "A", "attributes/fw"), ("default", "B", "attributes/fw")],
    ),
    ("thingsboard", "v1/gateway/connect", b'{"device":"A"}', ("default", "A", "connect")),
    ("thingsboard", "v1/gateway/disconnect", b'{"device":"A"}', ("default", "A", "disconnect")),
    ("thingsboard", "v1/gateway/rpc", b'{"device":"A","data":{}}', "unmatched"),
    ("thingsboard", "v1/devices/me/telemetry", b'{"t":1}', "unmatched"),
    (
        "aws-iot",
        "$aws/things/pump/shadow/update",
        b'{"state":{"reported":{"t":1,"on":true},"desired":{"on":true}}}',
        [("default", "pump", "update/t"), ("default", "pump", "update/on")],
    ),
    ("aws-iot", "$aws/things/pump/shadow/update", b'{"state":{"desired":{"on":1}}}', ("default", "pump", "update")),
    ("aws-iot", "$aws/things/pump/shadow/update/delta", b'{"state":{"on":1}}', ("default", "pump", "delta")),
    ("aws-iot", "$aws/things/pump/shadow/update/rejected", b'{"code":409}', ("default", "pump", "rejected")),
    ("aws-iot", "$aws/things/pump/shadow/update/accepted", b'{"state":{}}', "unmatched"),
    ("aws-iot", "$aws/things/pump/shadow/get", b"", "unmatched"),
    (
        "aws-iot",
        "$aws/things/pump/shadow/name/config/update",
        b'{"state":{"reported":{"rate":5}}}',
        ("default", "pump", "config/rate"),
    ),
    (
        "aws-iot",
        "$aws/events/presence/connected/pump",
        b'{"clientId":"pump","eventType":"connected"}',
        ("default", "pump", "connected"),
    ),
]


@pytest.mark.parametrize(("preset", "topic", "payload", "expected"), MESSAGES)
def test_a_preset_reads_its_familys_messages(preset: str, topic: str, payload: bytes, expected: Read) -> None:
    """Alone, and together with all other presets."""
    assert read(TopicMap([preset]), topic, payload) == expected
    assert read(ALL, topic, payload) == expected


def test_every_preset_has_its_messages_here() -> None:
    """A new preset needs messages in this file."""
    assert {preset for preset, *_ in MESSAGES} == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_works_alone_and_behind_any_other(preset: str) -> None:
    """No preset makes another unreachable."""
    for other in PRESETS:
        names = list(dict.fromkeys([other, preset]))
        assert len(TopicMap(names).templates) == sum(len(TopicMap([name]).templates) for name in names)


@pytest.mark.parametrize(
    ("preset", "topic", "payload", "online"),
    [
        ("hermes", "tenants/acme/devices/d1/online", b"true", True),
        ("hermes", "tenants/acme/devices/d1/online", b"false", False),
        ("hermes", "tenants/acme/devices/d1/plug/LWT", b"Offline", False),
        ("hermes", "tenants/acme/devices/d1/temp", b"1", "no presence"),
        ("tasmota", "tele/plug/LWT", b"Online", True),
        ("tasmota", "tele/plug/LWT", b"Offline", False),
        ("tasmota", "tele/plug/STATE", b'{"POWER":"ON"}', "no presence"),
        ("zigbee2mqtt", "zigbee2mqtt/hall/lamp/availability", b'{"state":"online"}', True),
        ("zigbee2mqtt", "zigbee2mqtt/hall/lamp/availability", b'{"state":"offline"}', False),
        ("zigbee2mqtt", "zigbee2mqtt/lamp/availability", b"online", True),
        ("zigbee2mqtt", "zigbee2mqtt/lamp/availability", b"offline", False),
        ("zigbee2mqtt", "zigbee2mqtt/lamp", b'{"state":"OFF"}', "no presence"),
        ("shelly", "shellies/shelly1-A4CF12/online", b"true", True),
        ("shelly", "shellies/shelly1-A4CF12/online", b"false", False),
        ("shelly", "shellies/shelly1-A4CF12/relay/0", b"off", "no presence"),
        ("shelly", "shellyplus1-44179/online", b"true", True),
        ("shelly", "shellyplus1-44179/online", b"false", False),
        ("shelly", "shellyplus1-44179/status/switch:0", b'{"output":false}', "no presence"),
        ("homie", "homie/5/car/$state", b"init", True),
        ("homie", "homie/5/car/$state", b"ready", True),
        ("homie", "homie/5/car/$state", b"sleeping", True),
        ("homie", "homie/5/car/$state", b"disconnected", False),
        ("homie", "homie/5/car/$state", b"lost", False),
        ("homie", "homie/car/$state", b"alert", True),
        ("homie", "homie/car/$state", b"lost", False),
        ("homie", "homie/car/engine/on", b"true", "no presence"),
        ("owntracks", "owntracks/jane/phone", b'{"_type":"lwt","tst":1}', False),
        ("owntracks", "owntracks/jane/phone", b'{"_type":"location"}', True),
        ("owntracks", "owntracks/jane/phone/event", b'{"_type":"transition"}', True),
        ("owntracks", "owntracks/jane/phone/info", b'{"_type":"card"}', None),
        ("chirpstack", "application/17c8/device/0102/event/status", CHIRPSTACK, "no presence"),
        ("homeassistant", "homeassistant/light/hall/availability", b"offline", False),
        ("homeassistant", "homeassistant/light/hall/lamp/availability", b"online", True),
        ("homeassistant", "homeassistant/switch/pump/state", b"OFF", "no presence"),
        ("frigate", "frigate/available", b"online", True),
        ("frigate", "frigate/available", b"offline", False),
        ("frigate", "frigate/door/motion", b"OFF", "no presence"),
        ("thingsboard", "v1/gateway/connect", b'{"device":"A"}', "no presence"),
        ("aws-iot", "$aws/events/presence/connected/pump", b'{"eventType":"connected"}', True),
        ("aws-iot", "$aws/events/presence/disconnected/pump", b'{"eventType":"disconnected"}', False),
        ("ttn", "v3/farm@acme/devices/soil-1/up", b"{}", "no presence"),
    ],
)
def test_a_preset_reads_presence(preset: str, topic: str, payload: bytes, online: bool | str | None) -> None:
    """Last wills and availability; similar topics are data."""
    match = TopicMap([preset]).match(topic)
    assert match is not None
    value = decode(payload)
    if not is_presence(match.template, match.resolve(value.value)[2]):
        assert online == "no presence"
    else:
        assert presence(match.template, value) is online


@pytest.mark.parametrize(
    ("entry", "topic", "payload", "expected"),
    [
        ("zigbee2mqtt;tenant_id=home", "zigbee2mqtt/lamp", b"{}", ("home", "lamp", "")),
        ("zigbee2mqtt;tenant_id=home", "zigbee2mqtt/lamp/availability", b"{}", ("home", "lamp", "availability")),
        ("zigbee2mqtt;tenant_id=home", "zigbee2mqtt/bridge/state", b"{}", "excluded"),
        ("tasmota;tenant_id=home", "tele/plug/STATE", b"{}", ("home", "plug", "STATE")),
        ("shelly;tenant_id=home", "shellies/announce", b'{"id":"s"}', ("home", "s", "announce")),
        ("shelly;tenant_id=home", "shellyplus1/online", b"true", ("home", "shellyplus1", "online")),
        ("homie;tenant_id=home", "homie/5/car/$state", b"ready", ("home", "car", "$state")),
        ("homie;tenant_id=home", "homie/car/$state", b"ready", ("home", "car", "$state")),
        ("ttn;tenant_id=home", "v3/farm/devices/soil/up", b"{}", ("home", "soil", "up")),
        ("ttn;tenant_id=home", "v3/farm@acme/devices/soil/up", b"{}", ("acme", "soil", "up")),
        ("chirpstack;tenant_id=home", "application/1/device/2/event/up", b"{}", ("home", "2", "up")),
        ("zigbee2mqtt;tenant_id=/site", "zigbee2mqtt/lamp", b'{"site":"s1"}', ("s1", "lamp", "site")),
        ("thingsboard;tenant_id=home", "v1/gateway/connect", b'{"device":"A"}', ("home", "A", "connect")),
        ("chirpstack;series=/fPort", "application/1/device/2/event/up", DECODED, ("acme", "2", "up")),
        ("chirpstack;name=/x;tenant_id=t", "application/1/device/2/event/join", b"{}", ("t", "2", "join")),
        ("hermes;tenant_id=/site", "tenants/acme/devices/d1/t", b'{"site":"evil"}', "mismatch"),
    ],
)
def test_settings_after_the_name_of_a_preset_apply_to_its_templates(
    entry: str, topic: str, payload: bytes, expected: Read
) -> None:
    """They replace the settings of the preset, but not the values in topics."""
    assert read(TopicMap([entry]), topic, payload) == expected


def test_other_settings_of_a_preset_can_be_given_too() -> None:
    """The payload format, and the series that report presence."""
    (template,) = TopicMap(["hermes;payload=cbor;online=alive"]).templates
    assert (template.payload, template.online) == ("cbor", frozenset({"alive"}))


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            "hermes;tenant_id=home",
            ["preset 'hermes'", "its topics contain the tenant_id", "'home'", "write a template"],
        ),
        ("owntracks;tenant_id=home", ["preset 'owntracks'", "its topics contain the tenant_id"]),
        ("sparkplug;tenant_id=home", ["preset 'sparkplug'", "its topics contain the tenant_id"]),
        ("zigbee2mqtt;device_id=x", ["preset 'zigbee2mqtt'", "its topics contain the device_id"]),
        ("sparkplug;tenant_id=/x", ["no JSON for pointers"]),
        ("zigbee2mqtt;tenant_id=", ["tenant_id has no value"]),
        ("zigbee2mqtt;tenant_id=a;tenant_id=b", ["set twice"]),
        ("zigbee2mqtt;", ["'' after ;"]),
        ("zigbee2mqtt;color=red", ["'color' after ;"]),
        ("zigbee2mqtt@home", ["is not a preset"]),
    ],
)
def test_settings_that_a_preset_cannot_take_are_refused(entry: str, words: list[str]) -> None:
    """With what to write."""
    with pytest.raises(TemplateError) as caught:
        TopicMap([entry])
    assert [word for word in words if word not in str(caught.value)] == []


# The collected messages


def samples(name: str) -> list[dict[str, Any]]:
    """All lines of a file; the test is skipped if it is absent."""
    path = SAMPLES / f"{name}.jsonl"
    if not path.exists():
        pytest.skip("the collected messages are not here")
    return [json.loads(line) for line in path.read_text().splitlines()]


def body(sample: dict[str, Any]) -> bytes:
    """The payload's bytes."""
    if "payload_base64" in sample:
        return base64.b64decode(sample["payload_base64"])
    return str(sample["payload"]).encode()


def sampled(preset: str, name: str) -> list[Read]:
    """The result of a preset for each line."""
    topics = TopicMap([preset])
    return [read(topics, sample["topic"], body(sample)) for sample in samples(name)]


def test_the_collected_messages_of_chirpstack() -> None:
    """Each event has its tenant in the payload."""
    kinds = ("up", "status", "ack", "txack", "location")
    *found, decoded = sampled("chirpstack", "chirpstack")
    (tenant,) = {json.loads(body(sample))["deviceInfo"]["tenantId"] for sample in samples("chirpstack")}
    assert found == [(tenant, "0101010101010101", kind) for kind in kinds]
    members = json.loads(body(samples("chirpstack")[-1]))["object"]
    assert decoded == [(tenant, "0016c001f000175a", f"integration/{member}") for member in members]


def test_the_collected_messages_of_the_things_stack() -> None:
    """Commands are excluded, and so is a message of another integration."""
    series = ["join", "up", "excluded", "down/ack", "down/ack", "down/failed", "unmatched", "excluded", "up"]
    dropped = ("excluded", "unmatched")
    assert sampled("ttn", "ttn_v3") == [each if each in dropped else ("tenant1", "dev1", each) for each in series]


def test_the_collected_messages_of_zigbee2mqtt() -> None:
    """Messages of the bridge and commands are excluded; groups are devices."""
    out = "excluded"
    devices = [out, "bulb", "group_1", "bulb", out, out, "weather_sensor", "bulb_color", out, out, out, out]
    devices.append("QS-Zigbee-D02-TRIAC-2C-LN")
    for sample, device, found in zip(
        samples("zigbee2mqtt"), devices, sampled("zigbee2mqtt", "zigbee2mqtt"), strict=True
    ):
        whole = sample["topic"].endswith("/availability")
        series = ["availability"] if whole or device == out else list(json.loads(body(sample)))
        expected = [("default", device, each) for each in series]
        assert found == (out if device == out else expected if len(expected) > 1 else expected[0])


def test_the_collected_messages_of_tasmota() -> None:
    """Device and series are in the topic."""
    for sample, found in zip(samples("tasmota"), sampled("tasmota", "tasmota"), strict=True):
        _, device, series = sample["topic"].split("/")
        assert found == ("default", device, series)


def test_the_collected_messages_of_shelly() -> None:
    """Second generation; two of the first are among the plain values."""
    assert sampled("shelly", "shelly") == [("default", "shellyplus1pm-4417939a5610", "events/rpc")] * 2
    first = [found for found in sampled("shelly", "plain") if found != "unmatched"]
    device = "shellyswitch25-485519032A7E"
    assert first == [("default", device, "temperature"), ("default", device, "roller/0/pos")]


def test_the_collected_messages_of_homie() -> None:
    """Both versions; misprints of the convention that begin with a slash match nothing."""
    assert sampled("homie", "homie") == [
        ("default", "super-car", "$state"),
        ("default", "super-car", "engine/temperature"),
        "excluded",
        ("default", "kitchen-light", "light/brightness/$target"),
        "unmatched",
        "unmatched",
        ("default", "my-device", "$log/warn"),
        ("default", "super-car", "$stats/uptime"),
        ("default", "super-car", "$mac"),
        ("default", "super-car", "$fw/name"),
    ]


def test_the_collected_messages_of_sparkplug() -> None:
    """Group, and node or device; STATE of host applications does not match."""
    group, node, device = "Sparkplug B Devices", "Python Edge Node 1", "Emulated Device"
    assert sampled("sparkplug", "sparkplug_b") == [
        *[("flnc246", "Inverter", "")] * 2,
        *["unmatched"] * 2,
        (group, node, ""),
        *[(group, device, "")] * 3,
    ]


def test_the_collected_messages_of_owntracks() -> None:
    """User, device, kind; commands are excluded."""
    assert sampled("owntracks", "owntracks") == [
        ("jane", "phone", "waypoint"),
        ("jane", "phone", "event"),
        ("jane", "iphone", ""),
        ("jane", "phone", ""),
        ("jjolie", "phone", "info"),
        ("jjolie", "4s", ""),
        "excluded",
        "excluded",
    ]


def test_the_collected_messages_of_a_thingsboard_gateway() -> None:
    """Devices in one message; what the platform sends on the topic of the attributes looks like two devices."""
    assert sampled("thingsboard", "thingsboard_gateway") == [
        *[("default", "Device A", "connect")] * 2,
        [("default", "Device A", f"attributes/{name}") for name in ("fw_version", "battery")],
        [("default", f"Device {name}", f"attributes/attribute{number}") for name in "AB" for number in (1, 2)],
        [("default", "Device A", name) for name in ("temperature", "humidity")],
        [("default", "device", "attributes"), *[("default", "data", f"attributes/attribute{n}") for n in (1, 2)]],
        [("default", "Device A", f"key{number}") for number in range(1, 6)],
        "unmatched",
    ]


def test_the_collected_messages_of_home_assistant() -> None:
    """States, without the discovery."""
    states = {
        "homeassistant/binary_sensor/garden/state": ("default", "garden", "binary_sensor"),
        "homeassistant/sensor/sensorBedroom/state": [
            ("default", "sensorBedroom", f"sensor/{name}") for name in ("temperature", "humidity")
        ],
        "homeassistant/light/kitchen/state": [
            ("default", "kitchen", f"light/{name}") for name in ("state", "brightness")
        ],
    }
    found = sampled("homeassistant", "homeassistant_discovery")
    assert found == [states.get(sample["topic"], "unmatched") for sample in samples("homeassistant_discovery")]


def test_the_collected_messages_of_frigate() -> None:
    """Of a camera if the message names one."""
    server = [("default", "frigate", "tracked_object_update")] * 3
    assert sampled("frigate", "frigate") == [
        ("default", "front_door", "events"),
        *server,
        ("default", "driveway", "triggers"),
        *[("default", "frigate", "available")] * 2,
        ("default", "front_door", "motion"),
        ("default", "front_door", "review_status"),
    ]


def test_the_collected_messages_of_aws_iot() -> None:
    """What devices report; what is only desired is one value."""
    assert sampled("aws-iot", "aws_iot_shadow") == [
        ("default", "MyThing", "shadow1"),
        [("default", "MyThing", f"shadow1/{name}") for name in ("color", "engine")],
        ("default", "MyThing", "rejected"),
        ("default", "MyThing", "shadow1"),
        *[("default", "myLightBulb", "update/connected")] * 2,
        [("default", "MyThing", f"update/{name}") for name in ("color", "power")],
        ("default", "186b5", "connected"),
    ]


@pytest.mark.parametrize("preset", PRESETS)
def test_the_preset_of_a_topic_is_found(preset: str) -> None:
    """For the log and for ``hermes topics explain``; none for an excluded topic, or for one of no family."""
    topics = [
        topic for name, topic, _, result in MESSAGES if name == preset and result not in ("unmatched", "excluded")
    ]
    assert {matching_preset(topic) for topic in topics} == {preset}
    others = [topic for name, topic, _, result in MESSAGES if name == preset and result in ("unmatched", "excluded")]
    assert {matching_preset(topic) for topic in others} <= {None}


@pytest.mark.parametrize(
    ("preset", "name"),
    [
        ("ttn", "ttn_v3"),
        ("sparkplug", "sparkplug_b"),
        ("thingsboard", "thingsboard_gateway"),
        ("homeassistant", "homeassistant_discovery"),
        ("frigate", "frigate"),
        ("aws-iot", "aws_iot_shadow"),
        *[(name, name) for name in ("chirpstack", "zigbee2mqtt", "tasmota", "shelly", "homie", "owntracks")],
    ],
)
def test_all_presets_at_once_read_the_collected_messages_as_the_familys_own_does(preset: str, name: str) -> None:
    """No preset matches messages of another."""
    assert [read(ALL, sample["topic"], body(sample)) for sample in samples(name)] == sampled(preset, name)


ODD: dict[str, list[Read]] = {
    "plain": [
        *[("default", f"bulb/{name}", "") for name in ("state", "brightness", "color", "dummy-1")],
        ("default", "shellyswitch25-485519032A7E", "temperature"),
        ("default", "shellyswitch25-485519032A7E", "roller/0/pos"),
        *["unmatched"] * 2,
    ],
    "empty": [
        ("default", "bulb/test", ""),
        ("default", "bulb_color", "availability"),
        ("default", "foo", ""),
        "excluded",
        *["unmatched"] * 2,
        ("default", "super-car", "$state"),
        "unmatched",
    ],
    "invalid": [
        ("tenant1", "dev1", "up"),
        "excluded",
        ("default", "sonoffIRBridge_1", "RESULT"),
        "unmatched",
        ("default", "My_IoT_Thing", "update"),
        *["unmatched"] * 3,
    ],
}


@pytest.mark.parametrize("name", ODD)
def test_unusual_payloads_do_not_change_the_match(name: str) -> None:
    """A message without a payload, or without JSON, is mapped by its topic."""
    assert [read(ALL, sample["topic"], body(sample)) for sample in samples(name)] == ODD[name]
