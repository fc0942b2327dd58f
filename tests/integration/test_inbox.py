"""The inbox from outside: stored notifications, resuming sockets, acknowledgements, receipts.

Each test runs with an inbox in a file and with one in PostgreSQL.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.errors import KEYS_UNAVAILABLE, SocketRejected
from hermes.ids import DeviceId, TenantId
from hermes.inbox import wakeups
from hermes.inbox.inbox import PAGE_ENTRIES, InboxUnavailable
from hermes.testing import ClientSocket, FakeClock
from hermes.web.inbox.reader_api import ANSWER_MAX_BYTES
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.postgres import Databases

ANA = token(tenant_id="acme")
BEN = token(user_id="ben", tenant_id="acme")
RESUMING = ("/ws/notifications", "/ws")

pytestmark = [pytest.mark.slow_on_postgres, pytest.mark.usefixtures("patient")]

MakeInbox = Callable[[], Awaitable[Hermes]]


@pytest.fixture
def place(inbox_databases: Databases | None, tmp_path: Path) -> str:
    """Where the inbox is: a file or a database, empty."""
    return str(tmp_path / "inbox.db") if inbox_databases is None else inbox_databases.empty()


@pytest.fixture
def make_inbox(make_hermes: MakeHermes, tmp_path: Path, place: str) -> MakeInbox:
    """Start a gateway with an inbox."""

    async def start() -> Hermes:
        return await make_hermes(inbox=place, state_dir=tmp_path / "state")

    return start


def note(number: int, **fields: object) -> dict[str, object]:
    """Return the body of a notification to ana."""
    return {"user_id": "123", "title": f"n{number}", "message": "", "id": f"n{number}", **fields}


async def send(hermes: Hermes, number: int, **fields: object) -> dict[str, Any]:
    """Send a notification; return the answer."""
    return await hermes.notify(note(number, **fields))


async def resumed(socket: ClientSocket) -> dict[str, Any]:
    """Return the first frame, which answers the position."""
    frame = await socket.receive()
    assert frame["action"] == "resumed"
    return frame


async def ids(socket: ClientSocket, number: int) -> list[tuple[str, bool]]:
    """Return id and whether it is replayed, of this number of frames; assert that no other follows."""
    frames = [await socket.receive() for _ in range(number)]
    await socket.expect_silence()
    return [(frame["id"], frame.get("replayed", False)) for frame in frames]


async def get(hermes: Hermes, path: str, given: str = ANA) -> tuple[int, dict[str, Any]]:
    """Send a request with a token; return status and body."""
    response = await hermes.request(path, headers={"Authorization": f"Bearer {given}"})
    return response.code, json.loads(response.body)


async def api(hermes: Hermes, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
    """Send a request with a key; return status and body."""
    response = await hermes.request(path, method=method, headers={"X-API-Key": KEY})
    return response.code, json.loads(response.body)


async def ack(hermes: Hermes, body: object, given: str = ANA) -> tuple[int, dict[str, Any]]:
    """Acknowledge over HTTP."""
    response = await hermes.request(
        "/ack",
        method="POST",
        body=json.dumps(body),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {given}"},
    )
    return response.code, json.loads(response.body)


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
@pytest.mark.parametrize("path", RESUMING)
async def test_a_closed_page_misses_nothing(make_inbox: MakeInbox, path: str) -> None:
    """What was sent while it was away comes once, in order, and then the live frames."""
    hermes = await make_inbox()
    answers = [await send(hermes, number) for number in range(3)]
    assert [(answer["sent"], answer["stored"], answer["seq"]) for answer in answers] == [
        (False, True, 1),
        (False, True, 2),
        (False, True, 3),
    ]
    socket = await hermes.open(f"{path}?since=0", ANA)
    first = await resumed(socket)
    assert (first["from"], first["to"], first["gap"], first["unread"]) == (0, 3, False, 3)
    assert await ids(socket, 3) == [("n0", True), ("n1", True), ("n2", True)]
    assert (await send(hermes, 3))["sent"]
    assert await ids(socket, 1) == [("n3", False)]
    again = await hermes.open(f"{path}?since={first['epoch']}:2", ANA)
    assert (await resumed(again))["from"] == 2
    assert await ids(again, 2) == [("n2", True), ("n3", True)]


@pytest.mark.gen_test
@pytest.mark.parametrize("path", RESUMING)
async def test_the_end_of_a_replay_is_a_frame_for_those_who_ask(make_inbox: MakeInbox, path: str) -> None:
    """After the last row, also if there is none, and after resuming in band; its number is the new position."""
    hermes = await make_inbox()
    for number in range(3):
        await send(hermes, number)
    await hermes.notify({"user_id": "ben", "title": "t", "message": ""})
    end = {"action": "replay_end", "seq": 4}
    socket = await hermes.open(f"{path}?since=0&replay_end=1", ANA)
    epoch = (await resumed(socket))["epoch"]
    assert [(await socket.receive())["id"] for _ in range(3)] == ["n0", "n1", "n2"]
    assert await socket.receive() == end
    again = await hermes.open(f"{path}?since={epoch}:4&replay_end=1", ANA)
    await resumed(again)
    assert await again.receive() == end
    await again.send({"action": "resume", "since": f"{epoch}:2"})
    await resumed(again)
    assert (await again.receive())["id"] == "n2"
    assert await again.receive() == end
    await send(hermes, 3)
    assert await ids(again, 1) == [("n3", False)]


@pytest.mark.gen_test
async def test_resuming_in_band_replays_on_the_same_socket(make_inbox: MakeInbox) -> None:
    """Live frames before it are frames without a promise; after the answer each comes once."""
    hermes = await make_inbox()
    socket = await hermes.open("/ws/notifications", ANA)
    await send(hermes, 0)
    assert await ids(socket, 1) == [("n0", False)]
    await socket.send({"action": "resume", "since": "0"})
    assert (await resumed(socket))["to"] == 1
    assert await ids(socket, 1) == [("n0", True)]
    await send(hermes, 1)
    assert await ids(socket, 1) == [("n1", False)]


@pytest.mark.gen_test
@pytest.mark.parametrize("since", ["x", "other:1", "9999", "%00", "a" * 5_000])
async def test_a_position_that_is_nonsense_is_a_gap(make_inbox: MakeInbox, since: str) -> None:
    """Everything that is kept is replayed."""
    hermes = await make_inbox()
    await send(hermes, 0)
    socket = await hermes.open(f"/ws/notifications?since={since}", ANA)
    assert (await resumed(socket))["gap"]
    assert await ids(socket, 1) == [("n0", True)]


@pytest.mark.gen_test
async def test_each_row_comes_once_while_others_are_sent(make_inbox: MakeInbox) -> None:
    """Across the seam between replay and live frames, in rising order, for many sockets that open meanwhile."""
    hermes = await make_inbox()
    number = 60

    async def publish() -> None:
        for index in range(number):
            await send(hermes, index)

    async def read(socket: ClientSocket) -> list[int]:
        await resumed(socket)
        return [(await socket.receive())["seq"] for _ in range(number)]

    sending = asyncio.ensure_future(publish())
    readers = []
    while not sending.done():
        socket = await hermes.open("/ws?since=0&snapshot=0", ANA)
        readers.append(asyncio.ensure_future(read(socket)))
    await sending
    assert await asyncio.gather(*readers) == [list(range(1, number + 1))] * len(readers)
    for socket in hermes.sockets:
        await socket.expect_silence()


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_an_ack_reaches_every_device_of_the_user_that_resumed(make_inbox: MakeInbox) -> None:
    """Once; other users and sockets that did not resume get nothing."""
    hermes = await make_inbox()
    await send(hermes, 0)
    one = await hermes.open("/ws/notifications?since=0", ANA)
    await resumed(one)
    await ids(one, 1)
    two = await hermes.open("/ws?since=0&snapshot=0", ANA)
    await resumed(two)
    await ids(two, 1)
    old, other = await hermes.open("/ws/notifications", ANA), await hermes.open("/ws/notifications?since=0", BEN)
    await resumed(other)
    await one.send({"action": "ack", "notification_id": "n0"})
    await one.send({"action": "ack", "notification_id": "n0"})
    for socket in (one, two):
        frame = await socket.receive()
        assert (frame["action"], frame["notification_id"], frame["seq"]) == ("acked", "n0", 2)
        assert isinstance(frame["acked_at"], int)
        await socket.expect_silence()
    for socket in (old, other):
        await socket.expect_silence()
    third = await hermes.open("/ws/notifications?since=0", ANA)
    assert (await resumed(third))["unread"] == 0
    assert "acked_at" in await third.receive()


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_broadcast_is_stored_for_the_members_of_the_tenant(make_inbox: MakeInbox) -> None:
    """On ``/ws``, and elsewhere with ``broadcasts=1``."""
    hermes = await make_inbox()
    answer = await hermes.notify({"tenant_id": "acme", "title": "t", "message": "m", "id": "b"})
    assert (answer["sent"], answer["stored"]) == (False, True)
    for path, number in (("/ws?snapshot=0&", 1), ("/ws/notifications?", 0), ("/ws/notifications?broadcasts=1&", 1)):
        socket = await hermes.open(f"{path}since=0", BEN)
        await resumed(socket)
        assert await ids(socket, number) == [("b", True)] * number


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_withdrawn_notification_disappears_everywhere(make_inbox: MakeInbox) -> None:
    """A socket that resumed is told; later ones do not get it; its receipt says so."""
    hermes = await make_inbox()
    await send(hermes, 0)
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    await resumed(socket)
    await ids(socket, 1)
    assert await api(hermes, "/notify?id=n0&user_id=123", "DELETE") == (
        200,
        {"status": "success", "withdrawn": True},
    )
    assert await socket.receive() == {"action": "withdrawn", "notification_id": "n0", "seq": 2}
    status, receipt = await api(hermes, "/receipts?id=n0&user_id=123")
    assert (status, receipt["withdrawn"], receipt["sockets"], receipt["acked_at"]) == (200, True, 0, None)
    assert (await api(hermes, "/notify/n0", "DELETE"))[1]["withdrawn"] is False
    assert (await get(hermes, "/inbox"))[1]["frames"] == []


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_replacing_is_one_step(make_inbox: MakeInbox) -> None:
    """The old one is withdrawn and the new one has its id."""
    hermes = await make_inbox()
    await send(hermes, 0)
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    await resumed(socket)
    await ids(socket, 1)
    assert (await send(hermes, 1, replaces="n0"))["replaced"] is True
    frames = [await socket.receive(), await socket.receive()]
    assert [frame.get("action", "new") for frame in frames] == ["withdrawn", "new"]
    assert frames[0]["seq"] < frames[1]["seq"]
    assert [frame["replaces"] for frame in frames if "replaces" in frame] == ["n0"]
    assert (await send(hermes, 2, replaces="unknown"))["replaced"] is False


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_repeated_request_is_delivered_once(make_inbox: MakeInbox) -> None:
    """It gets the first answer; other values are a conflict; an array is handled element by element."""
    hermes = await make_inbox()
    socket = await hermes.open("/ws/notifications", ANA)
    data = {"b": 1, "a": [1, 2]}
    first = await send(hermes, 0, data=data)
    again = await send(hermes, 0, data=dict(reversed(data.items())))
    assert again == first | {"duplicate": True}
    assert again["sent"]
    response = await hermes.post(note(0, title="other"), {"X-API-Key": KEY})
    assert (response.code, json.loads(response.body)["error"]["code"]) == (409, "conflict")
    results = (await hermes.notify([note(1), note(1), note(0, title="x"), note(2)]))["results"]
    assert [result.get("seq") for result in results] == [2, 2, None, 3]
    assert [result.get("duplicate", False) for result in results] == [False, True, False, False]
    assert results[2]["error"]["code"] == "conflict"
    assert await ids(socket, 3) == [("n0", False), ("n1", False), ("n2", False)]


@pytest.mark.gen_test
async def test_the_fields_of_the_inbox_travel(make_inbox: MakeInbox) -> None:
    """``expires`` and ``priority`` only if they were given; ``ttl_s: 0`` is not stored."""
    hermes = await make_inbox()
    socket = await hermes.open("/ws/notifications", ANA)
    await send(hermes, 0, ttl_s=60, priority=5)
    frame = await socket.receive()
    assert frame["expires"] == frame["timestamp"] + 60_000
    assert (frame["priority"], frame["seq"]) == (5, 1)
    assert (await send(hermes, 1, ttl_s=0)).items() >= {"stored": False, "sent": True}.items()
    frame = await socket.receive()
    assert not {"seq", "expires", "priority", "replaces"} & set(frame)
    response = await hermes.post(note(2, ttl_s=-1, priority=6, require="x", replaces=""), {"X-API-Key": KEY})
    assert set(json.loads(response.body)["error"]["fields"]) == {"ttl_s", "priority", "require", "replaces"}


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_sender_can_wait_for_the_first_ack(make_inbox: MakeInbox) -> None:
    """The answer comes with the acknowledgement, by id or by number."""
    hermes = await make_inbox()
    reader = await hermes.open("/ws/notifications?since=0&replay_end=1", ANA)
    await resumed(reader)
    assert (await reader.receive())["action"] == "replay_end"  # from here on it is sent what is stored
    for number, action in ((0, {"notification_id": "n0"}), (1, {"upto": 9})):
        waiting = asyncio.ensure_future(
            hermes.request(
                "/notify?wait=acked&timeout_s=60",
                method="POST",
                body=json.dumps(note(number)),
                headers={"Content-Type": "application/json", "X-API-Key": KEY},
            )
        )
        assert (await reader.receive())["id"] == f"n{number}"
        assert not waiting.done()
        await reader.send({"action": "ack", **action})
        body = json.loads((await waiting).body)
        assert (body["acked"], body["acked_at"] > 0, body["sent"]) == (True, True, True)
        assert (await reader.receive())["action"] == "acked"


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "query", ["wait=x", "wait=acked&timeout_s=0", "wait=acked&timeout_s=61", "wait=acked&timeout_s=a"]
)
async def test_a_wrong_wait_is_refused(make_inbox: MakeInbox, query: str) -> None:
    """Before anything is sent."""
    hermes = await make_inbox()
    response = await hermes.request(
        f"/notify?{query}",
        method="POST",
        body=json.dumps(note(0)),
        headers={"Content-Type": "application/json", "X-API-Key": KEY},
    )
    assert response.code == 422
    assert (await get(hermes, "/inbox"))[1]["frames"] == []


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_the_inbox_is_read_page_by_page(make_inbox: MakeInbox) -> None:
    """The frames are those of a socket; ``to`` is where to go on."""
    hermes = await make_inbox()
    await hermes.notify([note(number) for number in range(5)])
    status, page = await get(hermes, "/inbox?limit=2")
    assert (status, page["more"], page["unread"], page["gap"]) == (200, True, 5, False)
    assert [frame["id"] for frame in page["frames"]] == ["n0", "n1"]
    _, page = await get(hermes, f"/inbox?since={page['epoch']}:{page['to']}")
    assert ([frame["id"] for frame in page["frames"]], page["more"], page["to"]) == (["n2", "n3", "n4"], False, 5)
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    await resumed(socket)
    assert [await socket.receive() for _ in range(5)] == (await get(hermes, "/inbox"))[1]["frames"]


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_long_poll_ends_with_the_next_notification(make_inbox: MakeInbox) -> None:
    """And of no other user."""
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None
    polls = hermes.gateway.inbox.wakeups
    waiting = asyncio.ensure_future(get(hermes, "/inbox?wait_s=60"))
    await eventually(lambda: polls.waiters == 1)
    await hermes.notify(note(0, user_id="ben"))
    assert not waiting.done()
    await send(hermes, 1)
    _, page = await waiting
    assert [frame["id"] for frame in page["frames"]] == ["n1"]


@pytest.mark.gen_test
async def test_a_long_poll_ends_when_its_token_is_revoked(make_inbox: MakeInbox) -> None:
    """At once, with 401 ``revoked``; that of another user goes on."""
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None
    polls = hermes.gateway.inbox.wakeups
    waiting, other = (asyncio.ensure_future(get(hermes, "/inbox?wait_s=60", given)) for given in (ANA, BEN))
    await eventually(lambda: polls.waiters == 2)
    await hermes.gateway.disconnect(user_id="123")
    status, body = await waiting
    assert (status, body["error"]["code"]) == (401, "revoked")
    await eventually(lambda: polls.waiters == 1)
    await hermes.notify(note(0, user_id="ben"))
    assert [frame["id"] for frame in (await other)[1]["frames"]] == ["n0"]


@pytest.mark.gen_test
async def test_a_long_poll_gives_nothing_to_a_token_that_expired_meanwhile(make_hermes: MakeHermes, place: str) -> None:
    """401 ``token_expired`` in place of the notification."""
    clock = FakeClock()
    hermes = await make_hermes(inbox=place, clock=clock)
    assert hermes.gateway.inbox is not None
    polls = hermes.gateway.inbox.wakeups
    waiting = asyncio.ensure_future(get(hermes, "/inbox?wait_s=60", token(exp=clock.now_s + 5)))
    await eventually(lambda: polls.waiters == 1)
    clock.now_s += 6
    await send(hermes, 0)
    status, body = await waiting
    assert (status, body["error"]["code"]) == (401, "token_expired")


@pytest.mark.gen_test
async def test_one_user_cannot_take_all_long_polls(make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """503 ``busy`` for that user; others can wait."""
    monkeypatch.setattr(wakeups, "USER_WAITERS_MAX", 2)
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None
    waiting = hermes.gateway.inbox.wakeups
    polls = [asyncio.ensure_future(get(hermes, "/inbox?wait_s=60")) for _ in range(2)]
    await eventually(lambda: waiting.waiters == 2)
    assert (await get(hermes, "/inbox?wait_s=60"))[1]["error"]["code"] == "busy"
    polls.append(asyncio.ensure_future(get(hermes, "/inbox?wait_s=60", BEN)))
    await eventually(lambda: waiting.waiters == 3)
    await hermes.notify([note(0), note(0, user_id="ben")])
    assert [status for status, _ in await asyncio.gather(*polls)] == [200, 200, 200]


@pytest.mark.gen_test
async def test_a_page_of_the_inbox_is_bounded_in_bytes(make_inbox: MakeInbox) -> None:
    """The rest follows with ``more``, whatever the limit."""
    hermes = await make_inbox()
    for number in range(40):
        await send(hermes, number, data={"text": "x" * 60_000})
    found: list[str] = []
    position, more = "0", True
    while more:
        response = await hermes.request(
            f"/inbox?limit=1000&since={position}", headers={"Authorization": f"Bearer {ANA}"}
        )
        assert len(response.body) < 2 * ANSWER_MAX_BYTES
        page = json.loads(response.body)
        position, more = f"{page['epoch']}:{page['to']}", page["more"]
        found += [frame["id"] for frame in page["frames"]]
    assert found == [f"n{number}" for number in range(40)]


@pytest.mark.gen_test
async def test_the_keys_of_two_tenants_learn_nothing_of_each_other(
    make_hermes: MakeHermes, tmp_path: Path, place: str
) -> None:
    """The same user and the same id: acknowledgements, receipts and withdrawals are those of one tenant."""
    keys = tmp_path / "keys"
    acme, globex = "key-of-the-tenant-acme", "key-of-the-tenant-globex"
    keys.write_text(f"acme {acme} tenant=acme\nglobex {globex} tenant=globex\n")
    hermes = await make_hermes(inbox=place, api_key_file=keys)

    async def post(key: str, query: str = "") -> dict[str, Any]:
        response = await hermes.request(
            f"/notify{query}",
            method="POST",
            body=json.dumps(note(0)),
            headers={"Content-Type": "application/json", "X-API-Key": key},
        )
        body: dict[str, Any] = json.loads(response.body)
        return body

    async def asked(key: str, path: str, method: str = "GET") -> tuple[int, dict[str, Any]]:
        response = await hermes.request(path, method=method, headers={"X-API-Key": key})
        return response.code, json.loads(response.body)

    there = await hermes.open("/ws/notifications?since=0", token(tenant_id="globex"))
    await resumed(there)
    waiting = asyncio.ensure_future(post(globex, "?wait=acked&timeout_s=3"))
    assert (await there.receive())["id"] == "n0"
    assert (await post(acme))["stored"]
    assert (await ack(hermes, {"notification_id": "n0"}, ANA))[1]["acked"] == 1
    await there.expect_silence()
    assert not (await waiting)["acked"]
    assert (await asked(acme, "/receipts/n0"))[1]["acked_at"] is not None
    assert (await asked(globex, "/receipts/n0"))[1]["acked_at"] is None
    assert not (await post(globex, "?wait=acked&timeout_s=3"))["acked"]
    assert (await post(acme, "?wait=acked&timeout_s=3"))["acked"]
    again = await hermes.open("/ws/notifications?since=0", token(tenant_id="globex"))
    assert (await resumed(again))["unread"] == 1
    assert await ids(again, 1) == [("n0", True)]
    assert (await asked(globex, "/notify/n0", "DELETE"))[1]["withdrawn"]
    assert not (await asked(acme, "/receipts/n0"))[1]["withdrawn"]


@pytest.mark.gen_test
async def test_a_key_that_gets_another_tenant_does_not_see_what_it_sent_before(
    make_hermes: MakeHermes, tmp_path: Path
) -> None:
    """Although its name is the same; back in the first tenant it does."""
    keys = tmp_path / "keys"

    async def start(tenant: str) -> Hermes:
        keys.write_text(f"shop {KEY} tenant={tenant}\n")
        return await make_hermes(inbox=str(tmp_path / "inbox.db"), api_key_file=keys)

    hermes = await start("acme")
    await hermes.notify(note(0))
    for tenant, status in (("globex", 404), ("acme", 200)):
        await hermes.gateway.stop()
        hermes = await start(tenant)
        assert (await api(hermes, "/receipts?id=n0&user_id=123"))[0] == status
        assert (await api(hermes, "/notify/n0", "DELETE"))[0] == status


@pytest.mark.gen_test
async def test_parameters_that_are_not_utf8_are_named(make_inbox: MakeInbox) -> None:
    """422 with the field, and no word of a failure of Hermes; a path is 400."""
    hermes = await make_inbox()
    for path, field in (("since=%ff", "since"), ("limit=%ff", "limit"), ("broadcasts=%ff", "broadcasts")):
        status, body = await get(hermes, f"/inbox?{path}")
        assert (status, list(body["error"]["fields"])) == (422, [field])
    for path, field in (("id=%ff&user_id=1", "id"), ("id=a&user_id=%ff", "user_id")):
        status, body = await api(hermes, f"/receipts?{path}")
        assert (status, list(body["error"]["fields"])) == (422, [field])
        status, body = await api(hermes, f"/notify?{path}", "DELETE")
        assert (status, list(body["error"]["fields"])) == (422, [field])
    status, body = await api(hermes, "/receipts/%ff")
    assert (status, body["error"]["code"]) == (400, "bad_request")


@pytest.mark.gen_test
@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "wait_s=61", "wait_s=-1"])
async def test_wrong_numbers_of_the_inbox_are_named(make_inbox: MakeInbox, query: str) -> None:
    """422 with the field."""
    hermes = await make_inbox()
    status, body = await get(hermes, f"/inbox?{query}")
    assert (status, list(body["error"]["fields"])) == (422, [query.partition("=")[0]])


@pytest.mark.gen_test
async def test_http_acks_answer_after_the_commit(make_inbox: MakeInbox) -> None:
    """With the number of rows; a position of another inbox has no effect."""
    hermes = await make_inbox()
    await hermes.notify([note(number) for number in range(3)])
    epoch = (await get(hermes, "/inbox"))[1]["epoch"]
    assert await ack(hermes, {"notification_id": "n1"}) == (200, {"status": "success", "acked": 1})
    assert (await ack(hermes, {"upto": 2, "epoch": "other"}))[1]["acked"] == 0
    assert (await ack(hermes, {"upto": 2, "epoch": epoch}))[1]["acked"] == 1
    assert (await get(hermes, "/inbox"))[1]["unread"] == 1
    bodies: list[object] = [
        {},
        {"upto": 1},
        {"epoch": "x"},
        {"notification_id": "a", "upto": 1, "epoch": "x"},
        {"x": 1},
        [],
    ]
    for body in bodies:
        assert (await ack(hermes, body))[0] == 422
    assert (await ack(hermes, {"notification_id": "n0"}, "wrong"))[0] == 401


@pytest.mark.gen_test
async def test_an_ack_on_a_socket_is_checked(make_inbox: MakeInbox) -> None:
    """Both forms at once, unknown keys, and a number without its epoch are errors; the socket stays open."""
    hermes = await make_inbox()
    socket = await hermes.open("/ws/notifications", ANA)
    for fields in (
        {"notification_id": "a", "upto": 1},
        {"notification_id": "a", "x": 1},
        {"upto": 1},
        {"upto": "1"},
        {"upto": -1},
        {"upto": True},
    ):
        await socket.send({"action": "ack", **fields})
        assert (await socket.receive())["code"] == "invalid"
    await socket.send({"action": "ack"})
    await socket.expect_silence()


@pytest.mark.gen_test
@pytest.mark.parametrize("path", ["/ws/tenant/acme", "/ws/device/d1"])
async def test_other_routes_have_no_rows(make_inbox: MakeInbox, path: str) -> None:
    """``?since=`` is ignored, ``resume`` is an error."""
    hermes = await make_inbox()
    await send(hermes, 0)
    socket = await hermes.open(f"{path}?since=0", ANA)
    await socket.send({"action": "resume", "since": "0"})
    assert (await socket.receive())["code"] == "not_here"


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_store_that_fails_does_not_stop_delivery(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer says so; ``require: stored`` is refused and delivers nothing."""
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None
    store = hermes.gateway.inbox.store

    async def fail(*_arguments: object) -> None:
        raise InboxUnavailable("disk_full")

    monkeypatch.setattr(store, "_append", fail)
    socket = await hermes.open("/ws/notifications", ANA)
    answer = await send(hermes, 0)
    assert (answer["sent"], answer["stored"], answer["reason"]) == (True, False, "disk_full")
    assert "seq" not in await socket.receive()
    response = await hermes.post(note(1, require="stored"), {"X-API-Key": KEY})
    assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "not_stored")
    await socket.expect_silence()


@pytest.mark.gen_test
async def test_receipts_are_for_the_sender(make_inbox: MakeInbox) -> None:
    """What does not exist and what may not be seen is the same 404; several recipients are ambiguous."""
    hermes = await make_inbox()
    await hermes.notify([note(0), note(0, user_id="ben")])
    assert (await api(hermes, "/receipts/n0"))[1]["error"]["code"] == "ambiguous"
    status, receipt = await api(hermes, "/receipts?id=n0&user_id=ben")
    assert (status, receipt["user_id"], receipt["stored"], receipt["seq"]) == (200, "ben", True, 2)
    assert (await api(hermes, "/receipts?id=n0&user_id=cyd"))[0] == 404
    assert (await api(hermes, "/receipts?id=n0"))[0] == 422
    assert (await hermes.request("/receipts?id=n0&user_id=ben")).code == 401


@pytest.mark.slow_on_postgres(False)
@pytest.mark.gen_test
async def test_a_restart_keeps_what_was_stored(make_inbox: MakeInbox) -> None:
    """The position of before the restart is still one."""
    hermes = await make_inbox()
    await send(hermes, 0)
    epoch = (await get(hermes, "/inbox"))[1]["epoch"]
    await hermes.gateway.stop()
    hermes = await make_inbox()
    await send(hermes, 1)
    socket = await hermes.open(f"/ws/notifications?since={epoch}:1", ANA)
    assert not (await resumed(socket))["gap"]
    assert await ids(socket, 1) == [("n1", True)]


@pytest.mark.gen_test
async def test_without_an_inbox_nothing_changes(hermes: Hermes) -> None:
    """Its fields are refused by name, its routes do not exist, its actions are unknown."""
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    await hermes.notify(note(0))
    assert set(await socket.receive()) == {"channel", "id", "title", "message", "type", "timestamp"}
    await socket.send({"action": "resume", "since": "0"})
    assert (await socket.receive())["code"] == "unknown_action"
    await socket.send({"action": "ack", "notification_id": "n0", "upto": 1, "x": 1})
    await socket.expect_silence()
    response = await hermes.post(note(0, ttl_s=1, replaces="a", priority=1, require="stored"), {"X-API-Key": KEY})
    assert set(json.loads(response.body)["error"]["fields"].values()) == {"needs --inbox"}
    for path in ("/inbox", "/receipts?id=a&user_id=b"):
        assert (await hermes.request(path)).code == 404
    assert (await ack(hermes, {"notification_id": "a"}))[0] == 404


@pytest.mark.gen_test
async def test_keys_that_cannot_be_fetched_are_a_temporary_fault(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 with ``Retry-After``, and no wrong token is counted."""
    hermes = await make_inbox()

    def unavailable(_token: str) -> Principal:
        raise SocketRejected(KEYS_UNAVAILABLE)

    monkeypatch.setattr(hermes.gateway.token_verifier, "verify", unavailable)
    for _ in range(200):
        response = await hermes.request("/inbox", headers={"Authorization": f"Bearer {ANA}"})
        assert (response.code, json.loads(response.body)["error"]["code"]) == (503, "keys_unavailable")
        assert int(response.headers["Retry-After"]) > 0


class Gate:
    """Calls of one method of the store end when this is open."""

    def __init__(self, hermes: Hermes, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        assert hermes.gateway.inbox is not None
        store = hermes.gateway.inbox.store
        call = getattr(store, name)
        self.is_open = asyncio.Event()
        self.waiting = 0

        async def wait(*given: Any, then: Callable[..., None], **named: Any) -> Any:
            pages: list[tuple[object, ...]] = []
            result = await call(*given, **named, then=lambda *page: pages.append(page))
            self.waiting += 1
            await self.is_open.wait()
            for page in pages:
                then(*page)
            return result

        monkeypatch.setattr(store, name, wait)


@pytest.mark.gen_test
async def test_a_replay_that_fails_closes_the_socket(make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live frames would move the position of the client over the rows that it did not get."""
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None
    store = hermes.gateway.inbox.store
    await hermes.notify([note(number) for number in range(150)])
    replay = store.replay

    async def fail_later(*given: Any, after_seq: int, **named: Any) -> None:
        if after_seq:
            raise InboxUnavailable("busy")
        await replay(*given, after_seq=after_seq, **named)

    monkeypatch.setattr(store, "replay", fail_later)
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    await resumed(socket)
    assert [(await socket.receive())["seq"] for _ in range(PAGE_ENTRIES)] == list(range(1, PAGE_ENTRIES + 1))
    assert (await socket.wait_closed())[0] == 1011


@pytest.mark.gen_test
async def test_a_new_token_does_not_get_the_rows_of_the_old_one(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that was read for another tenant is not sent after ``refreshed``."""
    hermes = await make_inbox()
    await hermes.notify([{"tenant_id": "acme", "id": "b", "title": "t", "message": ""}, note(1)])
    gate = Gate(hermes, "resume", monkeypatch)
    socket = await hermes.open("/ws?since=0", ANA)
    await eventually(lambda: gate.waiting == 1)
    await socket.send({"action": "refresh", "token": token(tenant_id="other")})
    assert (await socket.receive())["action"] == "refreshed"
    gate.is_open.set()
    await resumed(socket)
    assert await ids(socket, 1) == [("n1", True)]


@pytest.mark.gen_test
async def test_devices_may_be_named_before_the_answer_to_a_position(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their data begins after ``resumed``."""
    hermes = await make_inbox()
    gate = Gate(hermes, "resume", monkeypatch)
    socket = await hermes.open("/ws?since=0", ANA)
    await eventually(lambda: gate.waiting == 1)
    await socket.send({"action": "subscribe", "device": "d1"})
    assert (await socket.receive())["devices"] == ["d1"]
    [session] = hermes.gateway.hub.sessions
    assert not hermes.gateway.hub.channels_of(session)
    gate.is_open.set()
    await resumed(socket)
    device = channels.device(TenantId("acme"), DeviceId("d1"))
    await eventually(lambda: device in hermes.gateway.hub.channels_of(session))
    assert channels.tenant(TenantId("acme")) not in hermes.gateway.hub.channels_of(session)


@pytest.mark.gen_test
@pytest.mark.parametrize("after", [1, 2])
async def test_a_long_poll_does_not_miss_what_comes_while_it_reads(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """Between its read and its wait nothing is lost."""
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None
    store = hermes.gateway.inbox.store
    replay = store.replay
    reads = 0

    async def replay_then_send(*given: Any, **named: Any) -> None:
        nonlocal reads
        await replay(*given, **named)
        reads += 1
        if reads == after:
            await send(hermes, 0)

    monkeypatch.setattr(store, "replay", replay_then_send)
    _, page = await asyncio.wait_for(get(hermes, "/inbox?wait_s=60"), 50)
    assert [frame["id"] for frame in page["frames"]] == ["n0"]


@pytest.mark.gen_test
async def test_a_repetition_of_what_was_not_stored_says_why(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the first answer again."""
    hermes = await make_inbox()
    assert hermes.gateway.inbox is not None

    async def fail(*_arguments: object) -> None:
        raise InboxUnavailable("disk_full")

    monkeypatch.setattr(hermes.gateway.inbox.store, "_append", fail)
    first = await send(hermes, 0)
    assert await send(hermes, 0) == first | {"duplicate": True}


@pytest.mark.gen_test
@pytest.mark.parametrize("body", [note(0), [note(0)]])
async def test_waiting_for_an_ack_needs_an_inbox(hermes: Hermes, body: object) -> None:
    """The query is refused as the fields are."""
    response = await hermes.request(
        "/notify?wait=acked",
        method="POST",
        body=json.dumps(body),
        headers={"Content-Type": "application/json", "X-API-Key": KEY},
    )
    assert (response.code, json.loads(response.body)["error"]["fields"]) == (422, {"wait": "needs --inbox"})


@pytest.mark.gen_test
@pytest.mark.parametrize("in_band", [False, True])
async def test_what_has_no_row_reaches_a_socket_that_is_replaying(
    make_inbox: MakeInbox, monkeypatch: pytest.MonkeyPatch, in_band: bool
) -> None:
    """It is in no page; it comes once, and so does the next one when the socket is live."""
    hermes = await make_inbox()
    await hermes.notify([note(number) for number in range(PAGE_ENTRIES + 1)])
    gate = Gate(hermes, "replay", monkeypatch)
    socket = await hermes.open("/ws?snapshot=0" if in_band else "/ws?since=0&snapshot=0", ANA)
    if in_band:
        await socket.send({"action": "resume", "since": "0"})
    await resumed(socket)
    assert await ids(socket, PAGE_ENTRIES) == [(f"n{number}", True) for number in range(PAGE_ENTRIES)]
    await eventually(lambda: gate.waiting == 1)
    assert (await send(hermes, 1_001, ttl_s=0))["sent"]
    answer = await hermes.notify({"tenant_id": "acme", "title": "t", "message": "", "id": "b", "ttl_s": 0})
    assert answer["sent"]
    assert await ids(socket, 2) == [("n1001", False), ("b", False)]
    gate.is_open.set()
    assert await ids(socket, 1) == [(f"n{PAGE_ENTRIES}", True)]
    assert (await send(hermes, 1_003, ttl_s=0))["sent"]
    assert await ids(socket, 1) == [("n1003", False)]


@pytest.mark.gen_test
async def test_an_ack_of_all_stays_in_the_tenant_of_its_token(make_inbox: MakeInbox) -> None:
    """The same user has other rows up to that number in another tenant."""
    hermes = await make_inbox()
    await send(hermes, 0)
    sockets = [
        await hermes.open("/ws/notifications?since=0", given)
        for given in (ANA, token(tenant_id="globex"), token(), token(tenant_id="acme"))
    ]
    for socket in sockets:
        await resumed(socket)
        await ids(socket, 1)
    acme, globex, none, acme_too = sockets
    await acme.send({"action": "ack", "upto": 99})
    for each in (acme, acme_too):
        assert (await each.receive())["upto"] == 1
    for each in (globex, none):
        await each.expect_silence()
    await send(hermes, 1)
    assert {(await each.receive())["id"] for each in sockets} == {"n1"}
    await none.send({"action": "ack", "upto": 99})
    assert "upto" in await none.receive()
    for each in (acme, globex, acme_too):
        await each.expect_silence()
