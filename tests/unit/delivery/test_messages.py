"""What Hermes delivers, as validated values. The refusals as callers see them stand in test_notify."""

import pytest

from hermes.delivery import channels
from hermes.delivery.messages import DATA_MAX_BYTES, Broadcast, DeviceMessage, Notification, parse_notification
from hermes.errors import RequestError
from hermes.ids import DeviceId, TenantId, UserId

NOTICE = {"title": "t", "message": "m"}


def test_a_notice_to_a_user_is_a_notification() -> None:
    """An integer means the same user as its string; the id is made where none is given."""
    made = [parse_notification(NOTICE | {"user_id": user}, data=None) for user in (7, "7")]
    assert all(isinstance(message, Notification) for message in made)
    assert {message.channels for message in made} == {(channels.user(UserId("7")),)}
    assert len({message.id for message in made}) == 2


def test_a_notice_to_a_tenant_is_a_broadcast() -> None:
    """With the type and the id asked for."""
    message = parse_notification(NOTICE | {"tenant_id": "acme", "type": "error", "id": "n1"}, data=None)
    assert isinstance(message, Broadcast)
    assert (message.type, message.id, message.channels) == ("error", "n1", (channels.broadcast(TenantId("acme")),))


def test_data_keeps_its_text_up_to_the_bound() -> None:
    """Beyond it the field is named."""
    notice = NOTICE | {"user_id": "7", "data": {"n": 1}}
    assert parse_notification(notice, data=b'{"n": 1}').data == b'{"n": 1}'
    largest = b" " * (DATA_MAX_BYTES - 8) + b'{"n": 1}'
    assert parse_notification(notice, data=largest).data == largest
    with pytest.raises(RequestError) as refused:
        parse_notification(notice, data=b" " + largest)
    assert (refused.value.status, set(refused.value.fields)) == (422, {"data"})


def test_null_data_is_none() -> None:
    """It means nothing, so the key does not appear."""
    assert parse_notification(NOTICE | {"user_id": "7", "data": None}, data=b"null").data is None


def test_a_devices_value_goes_to_its_tenant_its_device_and_who_asked_for_the_id() -> None:
    """Three channels that never collide with other kinds."""
    message = DeviceMessage(TenantId("acme"), DeviceId("d1"), "temp", "t", b"1", 17)
    assert len(set(message.channels)) == 3
    assert channels.device(TenantId("acme"), DeviceId("d1")) in message.channels
    assert channels.user(UserId("acme")) not in message.channels
