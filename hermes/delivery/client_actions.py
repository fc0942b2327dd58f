"""The actions that a client can send, parsed into validated values."""

from dataclasses import dataclass
from typing import Any

import orjson

from hermes.errors import ClientError
from hermes.ids import DeviceId
from hermes.topics.template import ID_MAX_CHARS

ACTIONS_TEXT = "action must be ping, ack, refresh, subscribe or unsubscribe"


@dataclass(frozen=True, slots=True)
class Ping:
    """``ping``: answered with ``pong`` and the other keys of the ping."""

    echo: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ack:
    """``ack``: the user has seen a notification, or all rows up to a number.

    ``epoch`` is that of ``upto``. ``other_keys`` is True if the frame has any other.
    """

    notification_id: str | None
    upto: int | None = None
    epoch: str | None = None
    other_keys: bool = False


@dataclass(frozen=True, slots=True)
class Resume:
    """``resume``: send what was stored after this position."""

    since: str


@dataclass(frozen=True, slots=True)
class Refresh:
    """``refresh``: a new token for this socket."""

    token: str


@dataclass(frozen=True, slots=True)
class Subscribe:
    """``subscribe``: restrict the device feed to the named devices."""

    device_ids: tuple[DeviceId, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """``unsubscribe``: remove devices from the restricted feed."""

    device_ids: tuple[DeviceId, ...]


Action = Ping | Ack | Refresh | Resume | Subscribe | Unsubscribe


def parse_action(text: str) -> Action:
    """Return the action of a client's text frame.

    Raises `ClientError` with ``bad_json``, ``not_object``, ``unknown_action`` or ``invalid``.
    """
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise ClientError("bad_json", "the frame is not JSON") from None
    if not isinstance(value, dict):
        raise ClientError("not_object", 'expected a JSON object such as {"action":"ping"}')
    match value.get("action"):
        case "ping":
            return Ping({name: item for name, item in value.items() if name != "action"})
        case "ack":
            return _ack(value)
        case "resume":
            return Resume(_text(value, "since"))
        case "refresh":
            return Refresh(_text(value, "token"))
        case "subscribe":
            return Subscribe(_devices(value))
        case "unsubscribe":
            return Unsubscribe(_devices(value))
        case _:
            raise ClientError("unknown_action", ACTIONS_TEXT)


_ACK_KEYS = frozenset({"action", "notification_id", "upto", "epoch"})


def _ack(value: dict[str, Any]) -> Ack:
    upto = value.get("upto")
    is_number = isinstance(upto, int) and not isinstance(upto, bool) and 0 <= upto < 2**53
    return Ack(
        _optional_text(value, "notification_id"),
        upto=upto if is_number else None,
        epoch=_optional_text(value, "epoch"),
        other_keys=not _ACK_KEYS.issuperset(value) or (upto is not None and not is_number),
    )


def _devices(value: dict[str, Any]) -> tuple[DeviceId, ...]:
    """Return the ids in ``devices``, or the one in ``device``."""
    if value.get("devices") is None:
        return (_device(_text(value, "device")),)
    given = value["devices"]
    if (
        value.get("device") is not None
        or not isinstance(given, list)
        or not all(isinstance(each, str) and each for each in given)
    ):
        raise ClientError("invalid", "give either device, a non-empty string, or devices, an array of them")
    return tuple(dict.fromkeys(map(_device, given)))


def _device(text: str) -> DeviceId:
    if len(text) > ID_MAX_CHARS:
        raise ClientError("invalid", f"a device must have at most {ID_MAX_CHARS} characters")
    return DeviceId(text)


def _text(value: dict[str, Any], name: str) -> str:
    text = _optional_text(value, name)
    if not text:
        raise ClientError("invalid", f"{name} must be a non-empty string")
    return text


def _optional_text(value: dict[str, Any], name: str) -> str | None:
    text = value.get(name)
    if text is not None and not isinstance(text, str):
        raise ClientError("invalid", f"{name} must be a string")
    return text
