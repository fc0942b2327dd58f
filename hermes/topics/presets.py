"""Presets: the topic schemes of well-known device families.

Each preset is a list of entries of `hermes.topics.topic_map`: templates, or ``!`` and excluded topics. If a scheme has
no tenant, the tenant is ``default``; ``NAME;tenant_id=home`` sets another. ``docs/reference/topics.md`` shows a message
of each.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from hermes.errors import TemplateError

PRESETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hermes": ("tenants/{tenant_id}/devices/{device_id}/{series...}",),
        # ChirpStack 4. Commands to devices (…/command/down) do not match. What the codec decoded is in ``object``; an
        # event without it is one value.
        "chirpstack": (
            "application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId"
            ";name=/deviceInfo/deviceName;series=/object",
        ),
        # The Things Stack; the open-source edition has no tenant in its topics. Its devices have no name but their id.
        "ttn": (
            "!v3/+/devices/+/down/push",
            "!v3/+/devices/+/down/replace",
            "v3/{app}@{tenant_id}/devices/{device_id}/{series...}"
            ";name=/end_device_ids/device_id;series=/uplink_message/decoded_payload",
            "v3/{app:!*@*}/devices/{device_id}/{series...};tenant_id=default"
            ";name=/end_device_ids/device_id;series=/uplink_message/decoded_payload",
        ),
        # Friendly names may contain slashes. bridge/… is about the bridge itself: of it only the state is used, because
        # it applies to all devices. /set and /get are commands.
        "zigbee2mqtt": (
            "!zigbee2mqtt/bridge/#",
            "!zigbee2mqtt/{name...}/{command:set|get}",
            "!zigbee2mqtt/{name...}/{command:set|get}/{attribute}",
            "zigbee2mqtt/{device_id...}/{series:availability};tenant_id=default;online=availability;"
            "bridge=zigbee2mqtt/bridge/state",
            "zigbee2mqtt/{device_id...};tenant_id=default;series=/;bridge=zigbee2mqtt/bridge/state",
        ),
        # Reports of the devices, periodic (tele) and as an answer (stat), without the commands to them (cmnd).
        "tasmota": ("{kind:tele|stat}/{device_id...}/{series};tenant_id=default;online=LWT",),
        # First generation: shellies/ID/…. Later ones: a prefix of their own, by default MODEL-MAC. A filter cannot
        # distinguish such a first level from others, so Hermes subscribes to every topic of these shapes.
        "shelly": (
            "!shellies/command",
            "!shellies/+/command/#",
            "!shellies/+/+/+/command/#",
            "!shellies/+/+/+/set/#",
            "shellies/announce;device_id=/id;series=announce;tenant_id=default",
            "shellies/{device_id}/{series...};tenant_id=default;online=online",
            "{device_id:shelly*}/{series:online};tenant_id=default;online=online",
            "{device_id:shelly*}/events/rpc;series=events/rpc;tenant_id=default",
            "{device_id:shelly*}/status/{series};tenant_id=default",
        ),
        # Version 5 and its attributes, then version 4. …/set is a command. In version 5 a child device names its root
        # device in $description: only that has a connection, and so a last will.
        "homie": (
            "!homie/5/+/+/+/set",
            "!homie/{device:!5}/{node}/{property}/set",
            "!homie/5/$broadcast/#",
            "!homie/$broadcast/#",
            "homie/5/{device_id:!$*}/{series...};tenant_id=default;online=$state;bridge=homie/5/{/root}/$state",
            "homie/{device_id:!$*|5}/{series...};tenant_id=default;online=$state",
        ),
        # Births, data and deaths of edge nodes and of their devices, without commands (NCMD, DCMD) and STATE.
        "sparkplug": (
            "spBv1.0/{tenant_id}/{message:NBIRTH|NDATA|NDEATH}/{device_id};payload=sparkplug",
            "spBv1.0/{tenant_id}/{message:DBIRTH|DDATA|DDEATH}/{edge}/{device_id};payload=sparkplug",
        ),
        # The user is the tenant; the last will has the topic of the locations.
        "owntracks": (
            "!owntracks/+/+/cmd",
            "owntracks/{tenant_id}/{device_id}/{series?};online=/_type",
        ),
        # The states of entities that have their topics below homeassistant/. Discovery (…/config) and commands (…/set)
        # do not match; most programs announce state topics elsewhere.
        "homeassistant": (
            "homeassistant/{component}/{device_id}/{series:availability};tenant_id=default;online=availability",
            "homeassistant/{component}/{device_id}/{series:attributes};tenant_id=default;series=/",
            "homeassistant/{series}/{device_id}/state;tenant_id=default;series=/",
            "homeassistant/{component}/{device_id}/{object}/{series:availability};tenant_id=default"
            ";online=availability",
            "homeassistant/{component}/{device_id}/{series}/attributes;tenant_id=default;series=/",
            "homeassistant/{component}/{device_id}/{series}/state;tenant_id=default;series=/",
        ),
        # A camera, or a zone, is a device, and so is Frigate itself. Pictures and commands are excluded.
        "frigate": (
            "!frigate/+/+/snapshot",
            "!frigate/{name...}/{command:set|suspend|ptz}",
            "!frigate/{command:onConnect|restart}",
            "frigate/{series:events|reviews};device_id=/after/camera;tenant_id=default",
            "frigate/{series:triggers};device_id=/camera;tenant_id=default",
            "frigate/{series};device_id=frigate;tenant_id=default;online=available",
            "frigate/{device_id}/{series...:*};tenant_id=default",
        ),
        # The messages of a ThingsBoard gateway about the devices behind it: each names several devices.
        "thingsboard": (
            "v1/gateway/telemetry;tenant_id=default;devices=/;series=/values",
            "v1/gateway/{series:attributes};tenant_id=default;devices=/;series=/",
            "v1/gateway/{series:connect|disconnect};tenant_id=default;device_id=/device",
        ),
        # Device shadows of AWS IoT, classic and named: what a device reports. The answers of AWS that repeat it
        # (…/accepted, …/documents) do not match.
        "aws-iot": (
            "$aws/things/{device_id}/shadow/{series:update};tenant_id=default;series=/state/reported",
            "$aws/things/{device_id}/shadow/update/{series:delta|rejected};tenant_id=default",
            "$aws/things/{device_id}/shadow/name/{series}/update;tenant_id=default;series=/state/reported",
            "$aws/events/presence/{series:connected|disconnected}/{device_id};tenant_id=default;online=/eventType",
        ),
    }
)


def expanded(entry: str) -> list[tuple[str, str]]:
    """Return the texts of an entry, each with the name of its preset or ``""``.

    Raises `TemplateError`.
    """
    name, semicolon, settings = entry.partition(";")
    if name in PRESETS:
        texts = _with_settings(name, settings.split(";")) if semicolon else PRESETS[name]
        return [(text, name) for text in texts]
    if entry and not any(sign in entry for sign in "/{;!"):
        known, example = ", ".join(PRESETS), PRESETS["hermes"][0]
        raise TemplateError(f"{entry!r} is not a preset: write one of {known}, or a template such as {example}")
    return [(entry, "")]


def _with_settings(name: str, settings: list[str]) -> list[str]:
    """Return the texts of a preset with these settings in place of its own.

    A value that the topic contains stays.
    """
    texts = PRESETS[name]
    for setting in settings:
        key, _, value = setting.partition("=")
        if value[:1] not in ("", "/") and not any(_may_set(text, key) for text in texts):
            raise TemplateError(
                f"preset {name!r}: its topics contain the {key}, so it cannot be {value!r}; "
                "leave that out, or write a template"
            )
    return [text if text.startswith("!") else _set(text, settings) for text in texts]


def _set(text: str, settings: list[str]) -> str:
    given = [setting for setting in settings if _may_set(text, setting.partition("=")[0]) or "=/" in setting]
    keys = {setting.partition("=")[0] for setting in given}
    topic, *own = text.split(";")
    return ";".join([topic, *(setting for setting in own if setting.partition("=")[0] not in keys), *given])


def _may_set(text: str, key: str) -> bool:
    """Return whether the template does not have a field of this name."""
    return not text.startswith("!") and re.search(rf"\{{{re.escape(key)}[.:?}}]", text.partition(";")[0]) is None
