"""The path of device data, from mosquitto_pub to an open socket."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import Broker, mosquitto
from tests.support.gateways import Hermes, MakeHermes, eventually, token

pytestmark = pytest.mark.broker

TENANT = "52f14cd4-0000-4fbd-8f87-4025e1d49242"
DEV_EUI = "a81758fffe0345bc"
UPLINK_TOPIC = f"application/17c82e96-0000-4f38-aef3-f83d48582d97/device/{DEV_EUI}/event/up"
UPLINK = {
    "deduplicationId": "3ac7e3c4-0000-4b8d-9386-a5c902f9202d",
    "time": "2026-07-18T09:34:15.775023242+00:00",
    "deviceInfo": {
        "tenantId": TENANT,
        "tenantName": "Test site",
        "applicationName": "Cold rooms",
        "deviceName": "Room 4",
        "devEui": DEV_EUI,
    },
    "fCnt": 17,
    "fPort": 2,
    "data": "AQDi",
    "object": {"temperature": 22.6},
    "rxInfo": [{"gatewayId": "0016c001f1530000", "rssi": -36, "snr": 10.5}],
}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Run a real broker."""
    with mosquitto(tmp_path) as running:
        yield running


async def connected(make_hermes: MakeHermes, broker: Broker, *topics: str) -> Hermes:
    """Start a gateway; return it when it is subscribed."""
    given = {"topics": list(topics)} if topics else {}
    hermes = await make_hermes(mqtt_url=f"mqtt://127.0.0.1:{broker.port}", **given)
    await eventually(lambda: hermes.gateway.link.ready)
    return hermes


@pytest.mark.gen_test
async def test_a_chirpstack_uplink_reaches_its_tenant_and_its_device_only(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """The payload has the tenant; a token of another tenant gets 1008 or, on the device route, no frames."""
    hermes = await connected(make_hermes, broker, "chirpstack")
    tenant = await hermes.open(f"/ws/tenant/{TENANT}", token(tenant_id=TENANT))
    device = await hermes.open(f"/ws/device/{DEV_EUI}", token(tenant_id=TENANT))
    other_device = await hermes.open(f"/ws/device/{DEV_EUI}", token("456", "luis", tenant_id="globex"))
    other_tenant = await hermes.open(f"/ws/tenant/{TENANT}", token("456", "luis", tenant_id="globex"))
    assert await other_tenant.wait_closed() == (1008, "forbidden")
    broker.publish(UPLINK_TOPIC, json.dumps(UPLINK))
    for socket in (tenant, device):
        frame = await socket.receive()
        assert (frame["tenant_id"], frame["device_id"], frame["series"]) == (TENANT, DEV_EUI, "up/temperature")
        assert (frame["topic"], frame["data"], frame["device_name"]) == (UPLINK_TOPIC, 22.6, "Room 4")
        await socket.expect_silence()
    await other_device.expect_silence()


@pytest.mark.gen_test
async def test_the_decoded_values_of_chirpstack_are_series_of_a_named_device(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """Live and in the snapshot, with the digits of the codec; an event without them is one value."""
    hermes = await connected(make_hermes, broker, "chirpstack")
    socket = await hermes.open(f"/ws/tenant/{TENANT}", token(tenant_id=TENANT))
    info = f'"deviceInfo":{{"tenantId":"{TENANT}","deviceName":"Soil 1"}}'
    broker.publish(UPLINK_TOPIC, f'{{{info},"dr":5,"object":{{"temperature":21.50,"count":12345678901234567890}}}}')
    texts = [await socket.receive_text() or "" for _ in range(2)]
    frames = [json.loads(text) for text in texts]
    assert [(frame["series"], frame["device_name"]) for frame in frames] == [
        ("up/temperature", "Soil 1"),
        ("up/count", "Soil 1"),
    ]
    assert '"data":21.50,' in texts[0]
    assert '"data":12345678901234567890,' in texts[1]
    broker.publish(UPLINK_TOPIC.replace("/up", "/join"), f"{{{info}}}")
    assert (await socket.receive())["series"] == "join"
    later = await hermes.open(f"/ws/device/{DEV_EUI}", token(tenant_id=TENANT))
    snapshot = [await later.receive() for _ in range(3)]
    assert {(frame["series"], frame["device_name"], frame["snapshot"]) for frame in snapshot} == {
        (series, "Soil 1", True) for series in ("up/temperature", "up/count", "join")
    }


@pytest.mark.gen_test
async def test_a_message_of_five_thousand_devices_reaches_a_socket_as_a_thousand_frames(
    make_hermes: MakeHermes, broker: Broker
) -> None:
    """The first thousand, in order; the next message of another device is delivered too."""
    hermes = await connected(make_hermes, broker, "thingsboard", "hermes")
    socket = await hermes.open("/ws/tenants", token(is_superuser=True))
    devices = {f"d{number}": [{"ts": number, "values": {"t": number}}] for number in range(5_000)}
    broker.publish("v1/gateway/telemetry", json.dumps(devices))
    broker.publish("tenants/acme/devices/d1/temp", "1")
    frames = [await socket.receive() for _ in range(1_001)]
    assert [frame["device_id"] for frame in frames[:-1]] == [f"d{number}" for number in range(1_000)]
    assert (frames[-1]["tenant_id"], frames[-1]["data"]) == ("acme", 1)
    registry = hermes.gateway.metrics.registry
    assert registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": "too_many"}) == 4_000


PAYLOADS = [
    (b'{"value": 21.40, "unit":"\xc2\xb0C"}', {"value": 21.4, "unit": "°C"}, None),
    (b"21.5", 21.5, None),
    (b"null", None, None),
    (b"ON", "ON", "text"),
    (b'1},"x":{', '1},"x":{', "text"),
    (b"NaN", "NaN", "text"),
    (b'{"a":NaN}', '{"a":NaN}', "text"),
    (b'"\\ud800"', '"\\ud800"', "text"),
    (b"\xff\xfe\x00", base64.b64encode(b"\xff\xfe\x00").decode(), "base64"),
    (b"", None, None),
    (b"x" * 1_048_576, "x" * 1_048_576, "text"),
]


@pytest.mark.gen_test
async def test_every_payload_arrives_in_a_valid_frame_and_in_order(make_hermes: MakeHermes, broker: Broker) -> None:
    """JSON, text, bytes, an empty payload, a mebibyte."""
    hermes = await connected(make_hermes, broker)
    socket = await hermes.open("/ws/tenant/acme", token(tenant_id="acme"))
    for payload, data, encoding in PAYLOADS:
        broker.publish("tenants/acme/devices/d1/odd", payload)
        frame = await socket.receive()
        assert frame["data"] == data
        assert frame.get("encoding") == encoding
        assert frame.get("cleared") is (None if payload else True)
        optional = {"encoding", "cleared"}
        assert set(frame) - optional == {"channel", "tenant_id", "device_id", "series", "topic", "data", "timestamp"}


@pytest.mark.gen_test
async def test_a_message_without_a_device_is_dropped_and_counted(
    make_hermes: MakeHermes, broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    """A topic without a tenant, payloads without a tenant, a payload over the limit."""
    hermes = await connected(make_hermes, broker, "hermes", "chirpstack")
    socket = await hermes.open("/ws", token(tenant_id="acme"))
    broker.publish("tenants//devices/d1/temp", "1")
    broker.publish(UPLINK_TOPIC, '{"deviceInfo":{}}')
    broker.publish(UPLINK_TOPIC, "not JSON")
    broker.publish("tenants/acme/devices/d1/big", b"x" * 1_048_577)
    broker.publish("tenants/acme/devices/d1/temp", "21")
    assert (await socket.receive())["data"] == 21
    dropped = {
        reason: hermes.gateway.metrics.registry.get_sample_value("hermes_mqtt_dropped_total", {"reason": reason})
        for reason in ("unmatched", "pointer", "too_large")
    }
    assert dropped == {"unmatched": 1, "pointer": 2, "too_large": 1}
    assert "tenants//devices/d1/temp" in caplog.text


@pytest.mark.gen_test
async def test_a_retained_value_is_marked_and_has_no_time(make_hermes: MakeHermes, broker: Broker) -> None:
    """The same value, received live, has its time and no ``retained``."""
    hermes = await connected(make_hermes, broker)
    socket = await hermes.open("/ws/device/d1", token(tenant_id="acme"))
    broker.publish("tenants/acme/devices/d1/temp", "20", "-r")
    frame = await socket.receive()
    assert "retained" not in frame
    assert isinstance(frame["timestamp"], int)
    later = await connected(make_hermes, broker)
    late_socket = await later.open("/ws/device/d1", token(tenant_id="acme"))
    broker.publish("tenants/acme/devices/d1/temp", "21")
    frame = await late_socket.receive()
    while frame.get("retained"):  # it may arrive before the socket opens, or after
        assert frame["timestamp"] is None
        frame = await late_socket.receive()
    assert frame["data"] == 21


@pytest.mark.gen_test
async def test_overlapping_templates_deliver_each_message_once(make_hermes: MakeHermes, broker: Broker) -> None:
    """The broker sends two copies; the first matching template is used."""
    hermes = await connected(
        make_hermes, broker, "o/{device_id}/x;tenant_id=first", "o/b/{series...};tenant_id=second;device_id=d"
    )
    first = await hermes.open("/ws/tenant/first", token(tenant_id="first"))
    second = await hermes.open("/ws/tenant/second", token(tenant_id="second"))
    broker.publish("o/b/x", "1")
    broker.publish("o/b/y", "2")
    assert (await first.receive())["device_id"] == "b"
    assert (await second.receive())["data"] == 2
    await first.expect_silence()
    await second.expect_silence()


@pytest.mark.gen_test
async def test_ready_follows_the_link_through_a_restart_of_the_broker(make_hermes: MakeHermes, broker: Broker) -> None:
    """503 with what is missing while the broker is stopped, then 200 and data again."""
    hermes = await connected(make_hermes, broker)
    assert (await hermes.request("/ready")).code == 200
    broker.stop()
    await eventually(lambda: not hermes.gateway.link.ready)
    response = await hermes.request("/ready")
    assert response.code == 503
    ready = json.loads(response.body)
    assert (ready["ready"], ready["mqtt"]) == (False, "down")
    assert ready["missing"][0]
    socket = await hermes.open("/ws/device/d1", token(tenant_id="acme"))
    assert await socket.receive() == {"channel": "status", "mqtt": "down", "since": ready["since"]}
    broker.start()
    await eventually(lambda: hermes.gateway.link.ready)
    assert (await hermes.request("/ready")).code == 200
    up = await socket.receive()
    assert (up["mqtt"], up["since"] > ready["since"]) == ("up", True)
    broker.publish("tenants/acme/devices/d1/temp", "21")
    assert (await socket.receive())["data"] == 21


@pytest.mark.gen_test
async def test_the_combined_feed_receives_only_the_named_devices(make_hermes: MakeHermes, broker: Broker) -> None:
    """Without a named device it receives all of them."""
    hermes = await connected(make_hermes, broker)
    socket = await hermes.open("/ws", token(tenant_id="acme"))
    await socket.send({"action": "subscribe", "device": "d2"})
    assert await socket.receive() == {"action": "subscribed", "devices": ["d2"]}
    for device in ("d1", "d2"):
        broker.publish(f"tenants/acme/devices/{device}/temp", "1")
    assert (await socket.receive())["device_id"] == "d2"
    await socket.send({"action": "unsubscribe", "device": "d2"})
    assert await socket.receive() == {"action": "subscribed", "devices": []}
    broker.publish("tenants/acme/devices/d1/temp", "1")
    assert (await socket.receive())["device_id"] == "d1"
