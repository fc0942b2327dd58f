"""Whether a device is online, from its status messages and its last will.

No standard defines this. These are the values of the topic schemes that Hermes has presets for; upper and lower case
are equal.
"""

import orjson

from hermes.ingest.payload import Payload
from hermes.topics.topic_map import Template

VALUES = {
    "online": True,
    "offline": False,
    "true": True,
    "false": False,
    "1": True,
    "0": False,
    "on": True,
    "off": False,
    "up": True,
    "down": False,
    "yes": True,
    "no": False,
    "connected": True,
    "disconnected": False,
    "alive": True,
    "dead": False,
    # Homie's $state (Homie 4 and 5, "Device lifecycle")
    "init": True,
    "ready": True,
    "sleeping": True,
    "alert": True,
    "lost": False,
    # OwnTracks' _type: the broker publishes the last will, the phone the others
    "lwt": False,
    "location": True,
    "transition": True,
}
MEMBERS = ("state", "status", "online")  # of a JSON object; zigbee2mqtt writes {"state":"online"}
PARSED_MAX_BYTES = 1_024  # of a larger payload only `MEMBERS` are read


def is_presence(template: Template, series: str) -> bool:
    """Return whether this series of the template has presence in its payloads."""
    return template.online_pointer is not None or bool(
        template.online and (series in template.online or series.rpartition("/")[2] in template.online)
    )


def presence(template: Template, payload: Payload) -> bool | None:
    """Return whether the device is online; None if the payload does not contain that.

    The payload is of a series for which `is_presence` is true.
    """
    if template.online_pointer is not None:
        return None if payload.encoding else _online(payload.at(template.online_pointer))
    return reported(payload)


def reported(payload: Payload) -> bool | None:
    """Return whether a payload reports online or offline; None if neither."""
    if payload.encoding == "text":
        return _online(orjson.loads(payload.data))
    few = len(payload.data) <= PARSED_MAX_BYTES
    value = payload.value if few else payload.selected([(name,) for name in MEMBERS])
    if isinstance(value, dict):
        return next((_online(value[name]) for name in MEMBERS if name in value), None)
    return _online(value)


def _online(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return VALUES.get(str(value).strip().lower()) if isinstance(value, str | int) else None
