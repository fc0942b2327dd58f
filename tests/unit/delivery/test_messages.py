"""Messages as validated values; the errors that callers get are tested in test_notify_requests."""

import pytest

from hermes.delivery import channels
from hermes.delivery.messages import DATA_MAX_BYTES, Broadcast, DeviceMessage, Notification, parse_notification
from hermes.errors import RequestError
from hermes.ids import DeviceId, TenantId, UserId

BODY = {"title": "t", "message": "m"}


def test_a_body_with_a_user_id_is_a_notification() -> None:
    """An integer is the same user as its text; an id is generated if the body has none."""
    made = [parse_notification(BODY | {"user_id": user}, data=None) for user in (7, "7")]
    assert all(isinstance(message, Notification) for message in made)
    assert {message.channels for message in made} == {(channels.user(UserId("7")),)}
    assert len({message.id for message in made}) == 2


def test_a_body_with_a_tenant_id_is_a_broadcast() -> None:
    """With the type and the id of the body."""
    message = parse_notification(BODY | {"tenant_id": "acme", "type": "error", "id": "n1"}, data=None)
    assert isinstance(message, Broadcast)
    assert (message.type, message.id, message.channels) == ("error", "n1", (channels.broadcast(TenantId("acme")),))


def test_data_is_unchanged_up_to_the_limit() -> None:
    """Above it the error names the field."""
    body = BODY | {"user_id": "7", "data": {"n": 1}}
    assert parse_notification(body, data=b'{"n": 1}').data == b'{"n": 1}'
    largest = b" " * (DATA_MAX_BYTES - 8) + b'{"n": 1}'
    assert parse_notification(body, data=largest).data == largest
    with pytest.raises(RequestError) as error:
        parse_notification(body, data=b" " + largest)
    assert (error.value.status, set(error.value.fields)) == (422, {"data"})


def test_null_data_is_none() -> None:
    """The frame has no such key."""
    assert parse_notification(BODY | {"user_id": "7", "data": None}, data=b"null").data is None


def test_a_devices_value_has_four_channels() -> None:
    """Its tenant, its device, and its device id in every tenant; none collides with another kind."""
    message = DeviceMessage(TenantId("acme"), DeviceId("d1"), "temp", "t", b"1", 17)
    assert len(set(message.channels)) == 4
    assert channels.device(TenantId("acme"), DeviceId("d1")) in message.channels
    assert channels.user(UserId("acme")) not in message.channels
