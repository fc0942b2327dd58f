"""Floor 1: the presets: topic schemes of well-known device families, as entries of `hermes.topics`.

An entry is a template, or ``!`` and a topic filter whose topics are left out. Where a scheme has no tenant it is
``default``; ``NAME;tenant_id=home`` names another. ``docs/topics.md`` shows a message of each.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PRESETS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "hermes": ("tenants/{tenant_id}/devices/{device_id}/{series...}",),
        # ChirpStack 4. Commands to devices (…/command/down) are no data.
        "chirpstack": ("application/{app}/device/{device_id}/event/{series};tenant_id=/deviceInfo/tenantId",),
        # The Things Stack; the open-source edition has no tenant in its topics.
        "ttn": (
            "!v3/+/devices/+/down/push",
            "!v3/+/devices/+/down/replace",
            "v3/{app}@{tenant_id}/devices/{device_id}/{series...}",
            "v3/{app}/devices/{device_id}/{series...};tenant_id=default",
        ),
        # Friendly names may hold slashes. What is below bridge is the bridge's own, /set and /get are commands.
        "zigbee2mqtt": (
            "!zigbee2mqtt/bridge/#",
            "zigbee2mqtt/{device_id...}/{series:availability};tenant_id=default;online=availability",
            "zigbee2mqtt/{device_id...:!*/set|*/get|*/set/*|*/get/*};tenant_id=default",
        ),
        # What devices tell, now and then (tele) and as an answer (stat); not the commands to them (cmnd).
        "tasmota": ("{kind:tele|stat}/{device_id...}/{series};tenant_id=default;online=LWT",),
        # First generation: shellies/ID/…. Second and later: their own prefix, by default MODEL-MAC. No filter can tell
        # such a first level from others, so every topic of these shapes is read that no earlier template takes.
        "shelly": (
            "!shellies/+/+/+/command",
            "!shellies/+/command",
            "!shellies/command",
            "shellies/announce;device_id=/id;series=announce;tenant_id=default",
            "shellies/{device_id}/{series...};tenant_id=default;online=online",
            "{device_id:shelly*}/{series:online};tenant_id=default;online=online",
            "{device_id:shelly*}/events/rpc;series=events/rpc;tenant_id=default",
            "{device_id:shelly*}/status/{series};tenant_id=default",
        ),
        # Version 5 and its attributes, then version 4. …/set is a command.
        "homie": (
            "!homie/5/+/+/+/set",
            "!homie/+/+/+/set",
            "!homie/5/$broadcast/#",
            "!homie/$broadcast/#",
            "homie/5/{device_id:!$*}/{series...};tenant_id=default;online=$state",
            "homie/{device_id:!$*|5}/{series...};tenant_id=default;online=$state",
        ),
        # Births, data and deaths of edge nodes and of their devices; commands (NCMD, DCMD) and STATE are no data.
        "sparkplug": (
            "spBv1.0/{tenant_id}/{message:NBIRTH|NDATA|NDEATH}/{device_id};payload=sparkplug",
            "spBv1.0/{tenant_id}/{message:DBIRTH|DDATA|DDEATH}/{edge}/{device_id};payload=sparkplug",
        ),
        # The user is the tenant; the last will comes on the topic of the locations.
        "owntracks": (
            "!owntracks/+/+/cmd",
            "owntracks/{tenant_id}/{device_id}/{series?};online=/_type",
        ),
    }
)
