"""Who may not take part, what a peer forges, and ids that must not reach another subject."""

import asyncio
import json
import random
import sys
import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from hermes.cluster import deliveries, subjects
from hermes.cluster.envelope import pack
from hermes.cluster.nats import client
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.nats.protocol import NatsMessage
from hermes.cluster.participation import State
from hermes.errors import ConfigError
from hermes.metrics import Metrics, by_label
from hermes.settings.urls.nats import parse_nats_url
from hermes.testing import run_gateway
from tests.support.gateways import KEY, Hermes, MakeHermes, eventually, token
from tests.support.nats import NatsServer, nats_server, unchecked
from tests.support.nodes import bus, note, open_on, ready

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("complaints", "patient")]

ALLOWED = 'permissions: {publish: "hermes.>", subscribe: "hermes.>"}'
Start = Callable[..., Awaitable[Hermes]]


def authorization(permissions: str = ALLOWED, password: str = "p") -> str:
    """Return the lines of a NATS server for the user of the nodes, and one in another account."""
    return (
        f'accounts {{ HERMES {{ users: [ {{user: hermes, password: "{password}", {permissions}}} ] }}, '
        'OTHER { users: [ {user: other, password: "p"} ] } }'
    )


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    """Run a NATS server with the account of the guide."""
    with nats_server(tmp_path, authorization()) as server:
        yield server


@pytest.fixture
def start(make_hermes: MakeHermes, nats: NatsServer, tmp_path: Path) -> Start:
    """Start nodes by name; each has joined when it is returned."""
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\n")

    async def run(name: str, *others: Hermes) -> Hermes:
        url = nats.url.replace("//", "//hermes:p@")
        hermes = await make_hermes(nats_url=url, node_name=name, state_dir=tmp_path / name, api_key_file=keys)
        await eventually(lambda: all(name in bus(other).members for other in others))
        await eventually(lambda: bus(hermes).state is State.JOINED)
        return hermes

    return run


async def peer_of(nats: NatsServer, user: str = "hermes", name: str = "peer") -> NatsClient:
    """Connect a client that is no node."""
    peer = NatsClient([parse_nats_url(nats.url.replace("//", f"//{user}:p@"))], name=name, metrics=Metrics())
    await peer.start()
    assert peer.is_connected
    return peer


# -- accounts ----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_an_account_that_may_not_publish_or_answer(tmp_path: Path, complaints: list[Any]) -> None:
    """A node does not start with it, and says which subject is refused."""
    for permissions, subject in (
        ('permissions: {publish: "other.>", subscribe: "hermes.>"}', "hermes.nodes"),
        ('permissions: {publish: "hermes.>", subscribe: ["hermes.nodes"]}', "hermes.reply"),
    ):
        words = f"may not use a subject: Permissions Violation .*{subject}"
        with nats_server(tmp_path, authorization(permissions)) as server, pytest.raises(ConfigError, match=words):
            async with run_gateway(nats_url=server.url.replace("//", "//hermes:p@"), node_name="a"):
                pass
    assert all("NATS refuses a subject" in record.getMessage() for record in complaints)
    complaints.clear()


@pytest.mark.slow
@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (authorization('permissions: {publish: "hermes.>", subscribe: "other.>"}'), "NATS refuses a subject"),
        (authorization('permissions: {publish: "other.>", subscribe: "hermes.>"}'), "NATS refuses a subject"),
        (authorization(password="other"), "Authorization Violation"),
    ],
    ids=["subscribe", "publish", "password"],
)
async def test_an_account_that_changes_while_nodes_run(
    start: Start,
    nats: NatsServer,
    complaints: list[Any],
    changed: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each node goes on alone, says why, and returns when the account is as before."""
    monkeypatch.setattr(client, "RENEWED_AFTER_S", 0.0)
    monkeypatch.setattr(deliveries, "ANSWER_TIMEOUT_S", 0.25)  # NATS refuses a request without an answer
    a = await start("a")
    b = await start("b", a)
    on_a = await open_on(a, "/ws/notifications", token())
    nats.reload(changed)
    await eventually(lambda: all(words in " ".join(bus(node).problems) for node in (a, b)))
    assert await ready(a) == (503, ["cluster"])
    assert (await a.notify(note(id="own")))["sent"] is True
    assert (await on_a.receive())["id"] == "own"
    answer = await b.notify(note())
    assert (answer["sent"], answer["uncertain"]) == (False, ["a"])
    nats.reload(authorization())
    await eventually(lambda: all(bus(node).state is State.JOINED and not bus(node).problems for node in (a, b)))
    assert await bus(a).synchronised()
    while not (await b.notify(note(id="back")))["sent"]:
        await asyncio.sleep(0.02)
    assert (await on_a.receive())["id"] == "back"
    await asyncio.gather(a.gateway.stop(), b.gateway.stop())
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


@pytest.mark.gen_test
async def test_another_account_neither_reads_nor_forges(start: Start, nats: NatsServer) -> None:
    """With the accounts of the guide, its messages do not meet those of the nodes."""
    a = await start("a")
    b = await start("b", a)
    socket = await open_on(b, "/ws/notifications", token())
    seen: list[NatsMessage] = []
    other = await peer_of(nats, "other")
    try:
        other.subscribe(">", seen.append)
        forged = {"op": "deliver", "node": "a", "to": "123", "kind": "notification"}
        other.publish("hermes.user.123", pack(forged, b'{"forged":1}'))
        other.publish(subjects.NODES, pack({"op": "here", "node": "forged", "instance": "9", "protocol": 1}))
        assert await other.flush()
        assert (await a.notify(note(id="n1")))["sent"] is True
        assert (await socket.receive())["id"] == "n1"
        assert await other.flush()
        assert {message.subject for message in seen} <= {"hermes.user.123", subjects.NODES}  # its own: none of a node
        assert not [message for message in seen if b"n1" in message.data]
        assert bus(a).members.names == ["b"]
    finally:
        await other.stop()
        await asyncio.gather(a.gateway.stop(), b.gateway.stop())


# -- forged messages ---------------------------------------------------------------------------------------------------

TARGETS: list[list[object]] = [
    ["user_id", "x", None],
    ["user_id", "x", "acme"],
    ["tenant_id", "t" * 300, None],
    ["token_id", "\0", None],
]
NUMBERS = [0, -1, 1, 2**31, 2**53, 2**63, 2**64 - 1, -(2**63), 1e308, 0.5]
TEXTS = ["", "x", "\0", "\r\nPUB hermes.nodes 0\r\n", "*", ">", "é" * 300, "z" * 20_000, "\u2028\u202e\x1b[2J", "b"]
OTHERS: list[object] = [None, True, False, [], [[]], {}, {"a": {"b": []}}]
ENTRIES = [[*target, until] for target in TARGETS for until in NUMBERS]
VALUES: list[object] = [*NUMBERS, *TEXTS, *OTHERS, *TARGETS, ENTRIES, ENTRIES[:1]]
KEYS = (
    *("instance", "version", "protocol", "keys", "users", "sockets", "link", "joined", "seq", "to", "kind", "closed"),
    *("only_tenant", "channels", "target", "until", "by", "reason", "after", "entries", "removed", "next", "user_id"),
    *("tenant_id", "error", "mood"),
)
OPS = (
    *("deliver", "hello", "here", "leave", "fence", "name", "probe", "greet", "link", "stored", "disconnect"),
    *("restore", "revocations", "revoke", "presence", "status", "delivered", "passed", "unread", "answer", "dance"),
)
BROKEN = (
    b"",
    b"\n",
    b"null\n",
    b"[]\n{}",
    b"{",
    b'{"op":1,"node":"b"}\n',
    b'{"op":"here"}\n',
    b'{"op":"here","node":2}',
)
DEEP = (b'{"op":"revoke","node":"b","entries":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n", b"[" * 500_000)


def forged(chance: random.Random) -> bytes:
    """Return a message that no node sends."""
    if chance.random() < 0.05:
        return chance.choice([*BROKEN, *DEEP])
    head = {key: chance.choice(VALUES) for key in chance.sample(KEYS, chance.randint(0, 8))}
    if chance.random() < 0.5:
        head |= {"to": "123", "kind": chance.choice(["notification", "broadcast", "hologram"])}
    body = chance.choice([b"", b"x", b'{"never":1}', b"\xff" * 1_000, b"{" * 100_000])
    return unchecked({"op": chance.choice(OPS), "node": chance.choice(["a", "b", "ghost", *TEXTS]), **head}, body)


async def forge(nats: NatsServer, target: Hermes, chance: random.Random, messages: int) -> None:
    """Publish random messages on the subjects of a node."""
    peer = await peer_of(nats)
    replies = subjects.replies(bus(target).instance)
    try:
        for number in range(messages):
            subject = chance.choice(
                [
                    subjects.NODES,
                    subjects.node(bus(target).name),
                    "hermes.user.unknown",
                    "hermes.tenant.acme",
                    f"{replies}{chance.choice([number, chance.randint(0, messages), 'x', 2**70])}",
                ]
            )
            reply = chance.choice(["", "hermes.nobody", f"{replies}{number}", "hermes.user.456"])
            peer.publish(subject, forged(chance), reply=reply)
            if number % 20 == 0:
                assert await peer.flush()
        assert await peer.flush()
    finally:
        await peer.stop()


@pytest.mark.gen_test(timeout=300)
@pytest.mark.parametrize(
    ("messages", "seed"), [(300, 1), *(pytest.param(5_000, seed, marks=pytest.mark.slow) for seed in range(2, 6))]
)
async def test_forged_messages_stop_no_node(
    start: Start, nats: NatsServer, complaints: list[Any], messages: int, seed: int
) -> None:
    """Whatever a peer sends, the nodes go on, and nothing of it is an error of Hermes."""
    a = await start("a")
    b = await start("b", a)
    on_b = await open_on(b, "/ws/notifications", token("456"))
    await forge(nats, a, random.Random(seed), messages)
    while not (await a.notify(note("456", id="after")))["sent"]:
        await asyncio.sleep(0.02)
    assert json.loads(await on_b.receive_text() or "")["id"] == "after"
    await eventually(lambda: bus(a).state is State.JOINED)  # a node that does not exist has sent no revocations
    assert [record.getMessage() for record in complaints if record.exc_info] == []
    await asyncio.gather(a.gateway.stop(), b.gateway.stop())
    complaints.clear()


@pytest.mark.gen_test
async def test_a_message_as_large_as_nats_allows(start: Start, nats: NatsServer, complaints: list[Any]) -> None:
    """It is counted as bad, as no node sends it; the connection stays."""
    a = await start("a")
    peer = await peer_of(nats)
    connects = bus(a)._client.connects
    try:
        before = by_label(a.gateway.metrics.cluster_received).get("bad", 0)
        for data in (b"x" * 1_048_576, orjson.dumps({"op": "here", "node": "b", "keys": "k" * 1_000_000}) + b"\n"):
            assert peer.publish(subjects.NODES, data)
        assert await peer.flush()
        await eventually(lambda: by_label(a.gateway.metrics.cluster_received).get("bad", 0) == before + 2)
        assert bus(a)._client.connects == connects
        assert "b" not in bus(a).members
    finally:
        await peer.stop()
        await a.gateway.stop()
    assert [record for record in complaints if record.exc_info] == []
    complaints.clear()


# -- ids ---------------------------------------------------------------------------------------------------------------

STRANGE = [
    *("a.b", "a", "*", ">", "hermes.nodes", "a b", " ", "\t", "\r\n", "a\r\nPUB hermes.nodes 0\r\n\r\n", "\0", "%2A"),
    *("%", "%h", "é.*", "\u2028", "😀" * 64, "x" * 256, "x" * 255, ".", "..", ".a", "a.", "user", "$SYS", "_INBOX.>"),
]


def one_of_each_category() -> list[str]:
    """Return a character of each Unicode category; a surrogate is no text that JSON can have."""
    found: dict[str, str] = {}
    for code in range(sys.maxunicode + 1):
        found.setdefault(unicodedata.category(chr(code)), chr(code))
    return [character for category, character in found.items() if category != "Cs"]


@pytest.mark.slow
@pytest.mark.gen_test(timeout=300)
async def test_every_id_has_a_subject_of_its_own(start: Start, nats: NatsServer) -> None:
    """One message of one subject, which only the sockets of this user, or of this tenant, get."""
    a = await start("a")
    b = await start("b", a)
    chance = random.Random(1)
    characters = [*one_of_each_category(), *".*> \r\n\0%/"]
    drawn = ["".join(chance.choices(characters, k=chance.randint(1, 40))) for _ in range(60)]
    ids = list(dict.fromkeys([*STRANGE, *one_of_each_category(), *drawn]))
    users = [await open_on(b, "/ws/notifications", token(id)) for id in ids]
    tenants = [await open_on(b, "/ws", token("of-a-tenant", tenant_id=id)) for id in ids]
    seen: list[str] = []
    spy = await peer_of(nats)
    spy.subscribe("hermes.user.>", lambda message: seen.append(message.subject))
    spy.subscribe("hermes.tenant.>", lambda message: seen.append(message.subject))
    assert await spy.flush()
    try:
        for key, sockets, prefix in (("user_id", users, "hermes.user."), ("tenant_id", tenants, "hermes.tenant.")):
            for id, socket in zip(ids, sockets, strict=True):
                answer = await a.notify({key: id, "title": "t", "message": id})
                assert answer["sent"], id
                assert (await socket.receive())["message"] == id
                assert await spy.flush()
                assert seen == [prefix + subjects.token(id)], id
                assert len(seen.pop().split(".")) == 3
        for socket in (*users, *tenants):
            await socket.expect_silence()
    finally:
        await spy.stop()
        await asyncio.gather(a.gateway.stop(), b.gateway.stop())
