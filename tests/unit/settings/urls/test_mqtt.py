"""The URL of an MQTT broker."""

import pytest

from hermes.settings.urls.mqtt import MqttUrl, parse_mqtt_url


@pytest.mark.parametrize(
    ("text", "url", "shown"),
    [
        ("mqtt://broker", MqttUrl("broker", 1883), "mqtt://broker:1883"),
        ("mqtt://broker:1884/", MqttUrl("broker", 1884), "mqtt://broker:1884"),
        ("mqtts://broker", MqttUrl("broker", 8883, tls=True), "mqtts://broker:8883"),
        ("mqtt://[::1]", MqttUrl("::1", 1883), "mqtt://[::1]:1883"),
        ("mqtt://ana@broker", MqttUrl("broker", username="ana"), "mqtt://ana@broker:1883"),
        ("ws://broker", MqttUrl("broker", 80, transport="websockets", path="/mqtt"), "ws://broker:80/mqtt"),
        ("ws://h:9001/", MqttUrl("h", 9001, transport="websockets", path="/"), "ws://h:9001/"),
        ("wss://h/a/b%20c", MqttUrl("h", 443, True, transport="websockets", path="/a/b%20c"), "wss://h:443/a/b%20c"),
        ("wss://a:p%2F@h", MqttUrl("h", 443, True, "a", "p/", "websockets", "/mqtt"), "wss://a@h:443/mqtt"),
        ("unix:///run/m.sock", MqttUrl("", 0, transport="unix", path="/run/m.sock"), "unix:///run/m.sock"),
        ("mqtt://a%40b:p%3Aw%2F@h", MqttUrl("h", username="a@b", password="p:w/"), "mqtt://a%40b@h:1883"),
    ],
)
def test_a_broker_url_is_parsed(text: str, url: MqttUrl, shown: str) -> None:
    """Neither str nor repr contains the password."""
    assert parse_mqtt_url(text) == url
    assert str(url) == shown
    assert "p:w/" not in repr(url)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not begin with"),
        ("broker", "does not begin with"),
        ("broker:1883", "does not begin with"),
        ("http://broker", "does not begin with"),
        ("mqtt:broker", "does not begin with"),
        ("mqtt://", "no host"),
        ("mqtt://:1883", "no host"),
        ("mqtt://bro ker", "white space"),
        ("mqtt://broker..lan", "empty label"),
        (f"mqtt://{'x' * 64}.lan", "empty label"),
        ("mqtt://broker:0", "port is 0"),
        ("mqtt://broker:70000", "cannot be read"),
        ("mqtt://broker:x", "cannot be read"),
        ("mqtt://[::1", "cannot be read"),
        ("unix://run/m.sock", "absolute path"),
        ("unix:///", "absolute path"),
        ("unix:///" + "x" * 107, "107 bytes"),
        ("unix://ana:secret@/run/m.sock", "absolute path"),
        ("ws://broker/mqtt?x=1", "something after"),
        ("mqtt://broker/topic", "%2F"),
        ("mqtt://broker?x=1", "something after"),
        ("mqtt://ana:se#cret@broker", "%23"),
        ("mqtt://:secret@broker", "no user"),
    ],
)
def test_a_broker_url_that_cannot_work_is_refused(text: str, words: str) -> None:
    """The error says what to write, and repeats nothing of the URL, which may contain a password."""
    with pytest.raises(ValueError, match=words) as caught:
        parse_mqtt_url(text)
    assert "secret" not in str(caught.value)
