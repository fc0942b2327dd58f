"""The devices' door: what devices and their last wills say about whether they are there.

There is no standard; these are the words of the schemes that Hermes has presets for, compared without regard to case.
"""

import orjson

from hermes.ingest.payload import Payload
from hermes.topics.json_pointer import pointed_at
from hermes.topics.topic_map import Template

WORDS = {
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
    # OwnTracks' _type: the broker publishes the last will, the phone all others
    "lwt": False,
    "location": True,
    "transition": True,
}
MEMBERS = ("state", "status", "online")  # of a JSON object; zigbee2mqtt writes {"state":"online"}


def is_presence(template: Template, series: str) -> bool:
    """Whether this series of the template says that its device is there, or not."""
    return template.online_pointer is not None or bool(
        template.online and (series in template.online or series.rpartition("/")[2] in template.online)
    )


def presence(template: Template, payload: Payload) -> bool | None:
    """Whether the device is there, by a payload for which `is_presence` holds; None where it does not say."""
    value = orjson.loads(payload.data) if payload.encoding == "text" else payload.value
    if template.online_pointer is not None:
        return _word(pointed_at(template.online_pointer, value))
    if isinstance(value, dict):
        return next((_word(value[name]) for name in MEMBERS if name in value), None)
    return _word(value)


def _word(value: object) -> bool | None:
    if isinstance(value, bool):
        return value
    return WORDS.get(str(value).strip().lower()) if isinstance(value, str | int) else None
