"""The inbox at its edges: large rows, users with many rows, strange ids and positions, an id of a new person."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from hermes.testing import ClientSocket
from tests.support.gateways import KEY, Hermes, MakeHermes, token

pytestmark = pytest.mark.usefixtures("patient")

ANA = token(tenant_id="acme")
ROWS_MAX = 10_000
NASTY_IDS = [
    "a'b",
    'a"b',
    "a;b",
    "a:b",
    "a/b",
    "a%b",
    "a%2Fb",
    "*",
    ">",
    "+",
    "#",
    "a b",
    "a\tb",
    "a\nb",
    "a\0b",
    "..",
    "🔔",
]
NASTY_IDS += ["'; DROP TABLE log; --", "\\", "$(id)", "?", "a&id=b", "ä", "\u202e", "NULL", "0", "-1", "{}", "\ufeff"]

MakeInbox = Callable[[], Awaitable[Hermes]]


@pytest.fixture
def make_inbox(make_hermes: MakeHermes, tmp_path: Path) -> MakeInbox:
    """Start a gateway with an inbox."""

    async def start() -> Hermes:
        return await make_hermes(inbox=str(tmp_path / "inbox.db"))

    return start


async def asked(hermes: Hermes, path: str, given: str = ANA) -> dict[str, Any]:
    """Return the answer of a reader's request."""
    response = await hermes.request(path, headers={"Authorization": f"Bearer {given}"})
    assert response.code == 200, response.body
    body: dict[str, Any] = json.loads(response.body)
    return body


async def api(hermes: Hermes, path: str, method: str = "GET", body: object = None) -> dict[str, Any]:
    """Return the answer to a request with a key."""
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    given = {} if body is None else {"body": json.dumps(body)}
    response = await hermes.request(path, method=method, headers=headers, **given)
    assert response.code == 200, response.body
    answer: dict[str, Any] = json.loads(response.body)
    return answer


async def resumed(socket: ClientSocket) -> dict[str, Any]:
    """Return the first frame."""
    frame = await socket.receive()
    assert frame["action"] == "resumed"
    return frame


@pytest.mark.gen_test
async def test_rows_with_64_kib_of_data(make_inbox: MakeInbox) -> None:
    """The largest that a request may have: stored, replayed and read as it was sent, in bounded answers."""
    hermes = await make_inbox()
    data = {"text": "x" * 65_500}
    elements = [{"user_id": "123", "title": "t", "message": "", "id": f"n{n}", "data": data} for n in range(15)]
    sent = [(await hermes.notify([element]))["results"][0] for element in elements]
    assert [answer["seq"] for answer in sent] == list(range(1, 16))
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    await resumed(socket)
    frames = [await socket.receive() for _ in sent]
    assert [frame["id"] for frame in frames] == [f"n{n}" for n in range(15)]
    assert all(frame["data"] == data for frame in frames)
    page = await asked(hermes, "/inbox?limit=1000")
    assert page["frames"] == frames[: len(page["frames"])]
    too_large = await hermes.notify([elements[0] | {"id": "x", "data": {"text": "x" * 65_536}}])
    assert too_large["results"][0]["error"]["fields"] == {"data": "at most 65536 bytes"}


@pytest.mark.gen_test
@pytest.mark.slow
async def test_a_user_with_more_than_ten_thousand_rows(make_inbox: MakeInbox) -> None:
    """The oldest end, which is a gap; a socket gets the newest thousand, and ``GET /inbox`` all that are kept."""
    hermes = await make_inbox()
    more = 500
    for start in range(0, ROWS_MAX + more, 500):
        elements = [{"user_id": "123", "title": "t", "message": "", "id": f"n{start + n}"} for n in range(500)]
        results = (await hermes.notify(elements))["results"]
        assert all(result["stored"] for result in results)
    socket = await hermes.open("/ws/notifications?since=0", ANA)
    answer = await resumed(socket)
    assert (answer["gap"], answer["unread"], answer["to"]) == (True, ROWS_MAX, ROWS_MAX + more)
    assert [(await socket.receive())["seq"] for _ in range(1_000)] == list(
        range(ROWS_MAX + more - 999, ROWS_MAX + more + 1)
    )
    await socket.expect_silence()
    found: list[int] = []
    position, is_more = "0", True
    while is_more:
        page = await asked(hermes, f"/inbox?limit=1000&since={position}")
        position, is_more = f"{page['epoch']}:{page['to']}", page["more"]
        found += [frame["seq"] for frame in page["frames"]]
    assert found == list(range(more + 1, ROWS_MAX + more + 1))
    await socket.send({"action": "ack", "upto": ROWS_MAX + more})
    assert (await socket.receive())["upto"] == ROWS_MAX + more
    assert (await asked(hermes, f"/inbox?since={position}"))["unread"] == 0


@pytest.mark.gen_test
async def test_an_id_that_is_given_to_a_new_person(make_inbox: MakeInbox) -> None:
    """After a purge nothing of the former one is left for the new one, who can get the same ids of notifications."""
    hermes = await make_inbox()
    for number in range(3):
        await hermes.notify({"user_id": "123", "title": "secret", "message": "", "id": f"n{number}"})
    former = await hermes.open("/ws/notifications?since=0", ANA)
    position = f"{(await resumed(former))['epoch']}:3"
    await former.send({"action": "ack", "notification_id": "n0"})
    assert (await api(hermes, "/inbox/purge", "POST", {"user_id": "123"}))["removed"] == 3
    page = await asked(hermes, "/inbox")
    assert (page["frames"], page["unread"], page["gap"]) == ([], 0, True)
    answer = await hermes.notify({"user_id": "123", "title": "new", "message": "", "id": "n0"})
    assert (answer["stored"], answer.get("duplicate")) == (True, None)
    new = await hermes.open("/ws/notifications?since=0", ANA)
    assert (await resumed(new))["unread"] == 1
    frame = await new.receive()
    assert (frame["title"], "acked_at" in frame) == ("new", False)
    await new.expect_silence()
    old = await hermes.open(f"/ws/notifications?since={position}", ANA)
    assert (await resumed(old))["to"] == answer["seq"]


@pytest.mark.gen_test
async def test_positions_that_make_no_sense(make_inbox: MakeInbox) -> None:
    """Nonsense, of another inbox, from the future: everything that is kept, and a gap; on a socket and over HTTP."""
    hermes = await make_inbox()
    answer = await hermes.notify({"user_id": "123", "title": "t", "message": "", "id": "a"})
    epoch = (await asked(hermes, "/inbox"))["epoch"]
    nonsense = ["x", "", ":", "1", "-1", "0:", f"{epoch}:", f"{epoch}:-1", f"{epoch}:01", f"{epoch}:1e3", f"{epoch}:٣"]
    nonsense += [
        f"{epoch}:{2**53}",
        f"{epoch}:{'9' * 400}",
        f"{epoch} :1",
        f"{epoch}:1:1",
        "a" * 33 + ":0",
        "%00",
        "🔔",
    ]
    for since in (
        *nonsense,
        f"{epoch}:{answer['seq'] + 1}",
        f"{epoch}:{2**53 - 1}",
        "other:0",
        "other:1",
        f"{epoch[:-1]}:1",
    ):
        page = await asked(hermes, f"/inbox?since={quote(since, safe='')}")
        assert (page["gap"], [frame["id"] for frame in page["frames"]]) == (True, ["a"]), since
        socket = await hermes.open(f"/ws?snapshot=0&since={quote(since, safe='')}", ANA)
        first = await resumed(socket)
        assert (first["gap"], first["from"], (await socket.receive())["id"]) == (True, 0, "a"), since
        await socket.close()


@pytest.mark.gen_test
async def test_ids_with_every_separator_and_quote(make_inbox: MakeInbox) -> None:
    """As ids of notifications and users: each row, receipt, acknowledgement and withdrawal is of exactly this one."""
    hermes = await make_inbox()
    for id in NASTY_IDS:
        await hermes.notify([{"user_id": user, "title": "t", "message": "", "id": id} for user in (id, "other")])
    assert len((await asked(hermes, "/inbox?limit=1000", token("other", "o")))["frames"]) == len(NASTY_IDS)
    for id in NASTY_IDS:
        given, query = token(id, "name"), f"id={quote(id, safe='')}&user_id={quote(id, safe='')}"
        assert [frame["id"] for frame in (await asked(hermes, "/inbox", given))["frames"]] == [id]
        socket = await hermes.open("/ws/notifications?since=0", given)
        assert (await resumed(socket))["unread"] == 1
        assert (await socket.receive())["id"] == id
        await socket.send({"action": "ack", "notification_id": id})
        assert (await socket.receive())["notification_id"] == id
        receipt = await api(hermes, f"/receipts?{query}")
        assert (receipt["id"], receipt["user_id"], receipt["acked_at"] is None) == (id, id, False)
        assert (await api(hermes, f"/notify?{query}", "DELETE"))["withdrawn"]
        assert (await socket.receive())["notification_id"] == id
        assert (await api(hermes, "/inbox/purge", "POST", {"user_id": id}))["removed"] == 1
        await socket.close()
    page = await asked(hermes, "/inbox?limit=1000", token("other", "o"))
    assert (len(page["frames"]), page["unread"]) == (len(NASTY_IDS), len(NASTY_IDS))
