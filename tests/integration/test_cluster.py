"""Several nodes on a real NATS server: who gets a message, and what the sender is told."""

import asyncio
import contextlib
import json
import signal
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tornado.websocket import WebSocketClosedError, websocket_connect

from hermes.auth.revocation.revocation_list import Target
from hermes.cli.check import check
from hermes.cli.status import table
from hermes.cluster import comparison, deliveries, participation, revocations, subjects
from hermes.cluster.envelope import PROTOCOL, TEXT_MAX_CHARS, pack
from hermes.cluster.incoming.operations import TASKS_MAX
from hermes.cluster.nats.client import NatsClient
from hermes.cluster.participation import State
from hermes.errors import ConfigError
from hermes.gateway import Gateway
from hermes.metrics import Metrics, by_label
from hermes.settings.urls.nats import parse_nats_url
from hermes.testing import ClientSocket, gateway_settings, run_gateway
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.nats import NatsServer, nats_server, unchecked
from tests.support.nodes import bus as bus
from tests.support.nodes import note as note
from tests.support.nodes import open_on as open_on
from tests.support.nodes import ready
from tests.support.programs import Program
from tests.support.programs import hermes as hermes_program

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("complaints", "patient")]

Start = Callable[..., Awaitable[Hermes]]
TENANT_KEY = "a-key-of-the-tenant-acme"
REVOKED = (1008, "revoked")


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """Run one NATS server for the tests that leave it alone."""
    with nats_server(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def start(make_hermes: MakeHermes, nats: NatsServer, tmp_path: Path) -> Start:
    """Start nodes by name; each has joined when it is returned."""
    keys = tmp_path / "keys"
    keys.write_text(f"{KEY}\nacme {TENANT_KEY} notify,disconnect,presence tenant=acme\n")

    async def run(name: str, *others: Hermes, **given: object) -> Hermes:
        defaults = {
            "nats_url": nats.url,
            "node_name": name,
            "state_dir": tmp_path / name,
            "api_key_file": keys,
            "max_failed_auth_per_address": "0",
        }
        hermes = await make_hermes(**(defaults | given))
        await eventually(lambda: all(name in bus(other).members for other in others))
        await eventually(lambda: bus(hermes).state is State.JOINED)
        return hermes

    return run


# -- delivery ----------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_notification_reaches_the_sockets_of_every_node(start: Start) -> None:
    """``sent`` is true if any node has a socket, and false without one on any."""
    a = await start("a")
    b = await start("b", a)
    c = await start("c", a, b)
    on_b = await open_on(b, "/ws/notifications", token())
    assert await a.notify(note(id="n1")) == {"status": "success", "sent": True, "id": "n1"}
    first = await on_b.receive()
    assert (first["id"], first["title"], first["type"]) == ("n1", "New alert", "info")
    on_c, on_a = await open_on(c, "/ws", token()), await open_on(a, "/ws", token())
    assert await c.notify(note(id="n2", data={"x": [1]})) == {"status": "success", "sent": True, "id": "n2"}
    for socket in (on_b, on_c, on_a):
        frame = await socket.receive()
        assert (frame["id"], frame["data"]) == ("n2", {"x": [1]})
    assert await a.notify(note("nobody", id="n3")) == {"status": "success", "sent": False, "id": "n3"}
    await on_b.close()
    await on_c.close()
    await on_a.close()
    await eventually(lambda: not [s for each in (a, b, c) for s in each.gateway.hub.sessions])
    assert await asyncio.gather(*[bus(each).synchronised() for each in (a, b, c)]) == [True] * 3
    for each in (a, b, c):
        assert await each.notify(note(id="n4")) == {"status": "success", "sent": False, "id": "n4"}


@pytest.mark.gen_test
async def test_an_array_and_a_broadcast_cross_nodes(start: Start) -> None:
    """Each element has its own answer; a broadcast reaches the ``/ws`` sockets of its tenant only."""
    a = await start("a")
    b = await start("b", a)
    acme = await open_on(b, "/ws", token(tenant_id="acme"))
    other = await open_on(b, "/ws", token("456", tenant_id="globex"))
    results = (await a.notify([note(), note("nobody"), note("456"), {"bad": 1}]))["results"]
    assert [result["sent"] for result in results] == [True, False, True, False]
    assert (await acme.receive())["channel"] == (await other.receive())["channel"] == "notifications"
    assert (await a.notify({"tenant_id": "acme", "title": "t", "message": "m"}))["sent"] is True
    assert (await acme.receive())["channel"] == "tenant"
    assert (await a.notify({"tenant_id": "none", "title": "t", "message": "m"}))["sent"] is False
    await other.expect_silence()


@pytest.mark.gen_test
async def test_a_key_of_a_tenant_reaches_its_tenant_only(start: Start) -> None:
    """Also on other nodes; a socket of another tenant is certain not to have it, without a wait for the time-out."""
    a = await start("a")
    b = await start("b", a)
    globex = await open_on(b, "/ws/notifications", token(tenant_id="globex"))
    answer = await a.notify(note(), **{"X-API-Key": TENANT_KEY})
    assert (answer["sent"], "uncertain" in answer) == (False, False)
    acme = await open_on(b, "/ws/notifications", token(tenant_id="acme"))
    assert (await a.notify(note(id="n2"), **{"X-API-Key": TENANT_KEY}))["sent"] is True
    assert (await acme.receive())["id"] == "n2"
    await globex.expect_silence()


IDS = ["a.b", "a", "*", ">", "a b", "é.*", "\u2028", "😀" * 64, "x" * 256, "%2A", "\t"]


@pytest.mark.gen_test
async def test_no_id_reaches_the_sockets_of_another(start: Start) -> None:
    """Ids with dots, stars, white space and long ones."""
    a = await start("a")
    b = await start("b", a)
    sockets = [await open_on(b, "/ws/notifications", token(id)) for id in IDS]
    for id in IDS:
        assert (await a.notify(note(id, message=id)))["sent"] is True
    assert (await a.notify(note("a.c")))["sent"] is False
    for id, socket in zip(IDS, sockets, strict=True):
        assert (await socket.receive())["message"] == id
        await socket.expect_silence()


# -- nodes that fail ---------------------------------------------------------------------------------------------------


@pytest.fixture
def other_node(nats: NatsServer, tmp_path: Path) -> Iterator[Program]:
    """Run node z in a process of its own."""
    arguments = ("serve", "--port", "0", "--mqtt-url", "off", "--nats-url", nats.url, "--node-name", "z")
    with hermes_program(*arguments, HERMES_JWT_SECRET=SECRET, XDG_STATE_HOME=str(tmp_path)) as program:
        try:
            yield program
        finally:
            program.process.send_signal(signal.SIGCONT)


async def open_at(program: Program, hermes: Hermes, given: str = "") -> ClientSocket:
    """Open a socket at another process, as soon as it has joined; it is closed together with a node."""
    address = program.url.replace("http", "ws", 1)
    while True:
        socket = ClientSocket(await websocket_connect(f"{address}/ws/notifications?token={given or token()}"))
        hermes.sockets.append(socket)
        with contextlib.suppress(WebSocketClosedError):  # it is refused already
            await socket.send({"action": "ping"})
        if await socket.receive_text() is not None:
            return socket
        assert (socket.connection.close_reason or "").startswith("joining;retry_ms=")


@pytest.mark.gen_test
async def test_a_node_that_hangs_is_uncertain_and_a_killed_one_is_not(
    start: Start, other_node: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent to a node that hangs arrives when it goes on."""
    a = await start("a")
    await eventually(lambda: "z" in bus(a).members)
    socket = await open_at(other_node, a)
    while (await a.notify(note(id="first")))["sent"] is False:  # until NATS knows its user
        await socket.expect_silence()
    assert (await socket.receive())["id"] == "first"
    other_node.process.send_signal(signal.SIGSTOP)
    with monkeypatch.context() as patch:
        patch.setattr(deliveries, "ANSWER_TIMEOUT_S", 0.25)
        assert await a.notify(note(id="n1")) == {"status": "success", "sent": False, "id": "n1", "uncertain": ["z"]}
    assert await a.notify(note("nobody", id="n2")) == {"status": "success", "sent": False, "id": "n2"}
    other_node.process.send_signal(signal.SIGCONT)
    assert (await socket.receive())["id"] == "n1"
    assert (await a.notify(note(id="n3")))["sent"] is True
    assert (await socket.receive())["id"] == "n3"
    other_node.process.kill()
    assert await socket.wait_closed() == (None, None)
    monkeypatch.setattr(deliveries, "ANSWER_TIMEOUT_S", 0.25)  # for a request that NATS passes on before it notices
    while "uncertain" not in (answer := await a.notify(note())):  # until NATS has noticed, and it was probed again
        assert answer["sent"] is False
    assert answer["uncertain"] == ["z"]  # it may be cut off only
    bus(a).members.left("z", next(member.instance for member in bus(a).nodes))  # as after 15 s
    assert await a.notify(note(id="n4")) == {"status": "success", "sent": False, "id": "n4"}


@pytest.mark.gen_test
async def test_without_nats_each_node_continues_alone(
    start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture, complaints: list[Any]
) -> None:
    """It says so, delivers to its own sockets, is uncertain of the others, and heals without a restart."""
    with nats_server(tmp_path) as server:
        a = await start("a", nats_url=server.url)
        b = await start("b", a, nats_url=server.url)
        on_a = await open_on(a, "/ws/notifications", token())
        on_b = await open_on(b, "/ws/notifications", token("456"))
        assert (await ready(a))[0] == 200
        server.stop()
        await eventually(lambda: bool(bus(a).problems and bus(b).problems))
        assert await ready(a) == (503, ["cluster"])
        assert (await a.notify(note(id="n1")))["sent"] is True
        assert (await on_a.receive())["id"] == "n1"
        assert await a.notify(note("456", id="n2")) == {
            "status": "success",
            "sent": False,
            "id": "n2",
            "uncertain": ["b"],
        }
        late = await a.open("/ws/notifications", token("789"))
        await late.expect_silence()
        server.start()
        await eventually(lambda: bus(a).state is State.JOINED and bus(b).state is State.JOINED)
        assert (await ready(a))[0] == 200
        assert await bus(b).synchronised()
        assert (await a.notify(note("456", id="n3")))["sent"] is True
        assert (await on_b.receive())["id"] == "n3"
        assert await bus(a).synchronised()
        assert (await b.notify(note("789", id="n4")))["sent"] is True
        assert (await late.receive())["id"] == "n4"
        await asyncio.gather(a.gateway.stop(), b.gateway.stop())
    assert [record.message for record in complaints if "continuing without the other nodes" not in record.message] == []
    complaints.clear()


@pytest.mark.gen_test
async def test_nats_may_come_later(
    make_hermes: MakeHermes, tmp_path: Path, complaints: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it a node starts alone; no socket is opened for at most 5 s, then ``/ready`` names the reason."""
    server = NatsServer(tmp_path)
    given = {"nats_url": server.url, "node_name": "a", "state_dir": tmp_path / "a"}
    monkeypatch.setattr(participation, "JOIN_TIMEOUT_S", 3_600.0)
    a = await make_hermes(**given)
    assert (await ready(a))[1] == ["joining"]
    code, reason = await (await a.open("/ws/notifications", token())).wait_closed()
    assert (code, (reason or "").partition(";")[0]) == (1013, "joining")
    assert await a.notify(note(id="n1")) == {"status": "success", "sent": False, "id": "n1", "uncertain": []}
    await a.gateway.stop()
    monkeypatch.setattr(participation, "JOIN_TIMEOUT_S", 0.1)
    a = await make_hermes(**given)
    await eventually(lambda: bus(a).state is State.ALONE)
    monkeypatch.setattr(participation, "JOIN_TIMEOUT_S", 60.0)
    assert (await ready(a))[1] == ["cluster"]
    await (await a.open("/ws/notifications", token())).expect_silence()
    server.start()
    try:
        await eventually(lambda: bus(a).state is State.JOINED)
        assert await ready(a) == (200, [])
    finally:
        await a.gateway.stop()
        server.stop()
    complaints.clear()


# -- start -------------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_second_node_of_one_name_does_not_start(start: Start, nats: NatsServer) -> None:
    """The first one is not disturbed."""
    a = await start("a")
    with pytest.raises(ConfigError, match="another node has the name a") as caught:
        async with run_gateway(nats_url=nats.url, node_name="a"):
            pass
    assert caught.value.exit_code == 2
    assert await ready(a) == (200, [])


@pytest.mark.gen_test
async def test_a_node_with_wrong_credentials_does_not_start(tmp_path: Path, complaints: list[Any]) -> None:
    """User and password, a token, and an account that may not use the subjects."""
    lines = (
        'authorization { users: [ {user: hermes, password: "p/w"}, '
        '{user: narrow, password: "p", permissions: {subscribe: "other.>"}} ] }'
    )
    with nats_server(tmp_path, lines) as server:
        for credentials, words in (
            ("", "refuses this client: Authorization Violation"),
            ("hermes:wrong@", "Authorization Violation"),
            ("narrow:p@", "may not use a subject: Permissions Violation"),
        ):
            url = server.url.replace("//", f"//{credentials}")
            with pytest.raises(ConfigError, match=words):
                async with run_gateway(nats_url=url, node_name="a"):
                    pass
        async with run_gateway(nats_url=server.url.replace("//", "//hermes:p%2Fw@"), node_name="a") as gateway:
            await eventually(lambda: gateway.cluster is not None and gateway.cluster.state is State.JOINED)
    assert all("NATS refuses a subject" in record.getMessage() for record in complaints)
    complaints.clear()


@pytest.mark.gen_test
@pytest.mark.parametrize("number", [2, 3])
async def test_of_nodes_of_one_name_that_start_at_once_one_stays(nats: NatsServer, tmp_path: Path, number: int) -> None:
    """Whichever asks first: the others end, as if it had been there."""
    gateways = [
        Gateway(gateway_settings(nats_url=nats.url, node_name=f"twin{number}", state_dir=tmp_path / str(index)))
        for index in range(number)
    ]
    try:
        ends = await asyncio.gather(*(gateway.start() for gateway in gateways), return_exceptions=True)
        assert sorted(str(end).partition(" (")[0] for end in ends) == sorted(
            ["None", *[f"another node has the name twin{number}"] * (number - 1)]
        )
        [index] = [index for index, end in enumerate(ends) if end is None]
        cluster = gateways[index].cluster
        assert cluster is not None
        await eventually(lambda: cluster.state is State.JOINED)
        assert cluster.problems == []
    finally:
        for gateway in gateways:
            await gateway.stop()


@pytest.mark.gen_test
async def test_a_token_and_another_server(tmp_path: Path) -> None:
    """Of several servers one that does not answer is passed over."""
    with nats_server(tmp_path, 'authorization { token: "s3cret" }') as server:
        urls = f"nats://s3cret@127.0.0.1:1,{server.url.replace('//', '//s3cret@')}"
        async with run_gateway(nats_url=urls, node_name="a") as gateway:
            assert gateway.cluster is not None
            await eventually(lambda: gateway.cluster is not None and gateway.cluster.state is State.JOINED)


# -- peers -------------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_a_newer_node_is_a_member(
    start: Start, nats: NatsServer, caplog: pytest.LogCaptureFixture, complaints: list[Any]
) -> None:
    """Its protocol is logged; its unknown keys and operations are ignored, and what is no message of a node."""
    a = await start("a")
    socket = await open_on(a, "/ws/notifications", token())
    client = NatsClient([parse_nats_url(nats.url)], name="newer", metrics=Metrics())
    await client.start()
    try:
        head = {"op": "hello", "node": "newer", "instance": "9", "protocol": 2, "keys": "other", "mood": {"x": 1}}
        client.publish(subjects.NODES, pack(head))
        await eventually(lambda: "newer" in bus(a).members)
        for data in (b"", b"no JSON", b"[]\n", b'{"op":1,"node":"x"}\n', pack({"op": "dance", "node": "newer"})):
            client.publish(subjects.NODES, data)
            client.publish(subjects.node("a"), data)
            client.publish("hermes.user.123", data)
        for op in ("fence", "hello", "name", "probe", "presence"):
            client.publish(
                subjects.NODES, pack({"op": op, "node": "newer", "instance": "9", "protocol": 2, "keys": "other"})
            )
        bad = {"op": "deliver", "node": "newer", "to": "123", "kind": "notification", "only_tenant": 5}
        client.publish("hermes.user.123", pack(bad, b'{"never":1}'))
        client.publish("hermes.user.123", pack(bad | {"kind": "hologram"}, b'{"never":1}'))
        recall = {"op": "recall", "node": "newer", "to": "123", "kind": "notification"}
        client.publish("hermes.user.123", pack(recall, b'{"never":1}'))
        client.publish("hermes.user.123", pack(recall | {"op": "deliver", "channels": [[[], "123"]]}, b'{"never":1}'))
        good = {"op": "deliver", "node": "newer", "to": "123", "kind": "notification", "new": True}
        client.publish("hermes.user.123", pack(good, b'{"channel":"notifications","id":"n1"}'))
        assert (await socket.receive())["id"] == "n1"
        assert await bus(a).synchronised()
        assert bus(a).state is State.JOINED
    finally:
        await client.stop()
    logged = " ".join(record.getMessage() for record in caplog.records)
    assert "another version of the protocol between nodes (2, here 1)" in logged
    assert [record.getMessage() for record in complaints] == [
        "the node newer verifies tokens with other keys: give all nodes the same secrets and public keys"
    ]
    complaints.clear()


@pytest.mark.gen_test
async def test_what_no_node_sends_is_counted_and_harms_nothing(start: Start, nats: NatsServer) -> None:
    """Long ids, deep and large heads, from a peer with the rights of a node."""
    a = await start("a")
    socket = await open_on(a, "/ws/notifications", token())
    client = NatsClient([parse_nats_url(nats.url)], name="peer", metrics=Metrics())
    await client.start()
    try:
        before = by_label(a.gateway.metrics.cluster_received).get("bad", 0)
        deliver = {"op": "deliver", "node": "peer", "to": "123", "kind": "notification"}
        bad = [
            unchecked(deliver | {"only_tenant": "t" * (TEXT_MAX_CHARS + 1)}, b"{}"),
            unchecked(deliver | {"node": "n" * 65}, b"{}"),
            b'{"op":"deliver","node":"peer","to":' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
            unchecked({"op": "revoke", "node": "peer", "entries": [["user_id", "u" * (TEXT_MAX_CHARS + 1), None, 5]]}),
        ]
        for data in bad:
            assert client.publish("hermes.user.123", data)
            assert client.publish(subjects.NODES, data)
        client.publish("hermes.user.123", pack(deliver, b'{"channel":"notifications","id":"n1"}'))
        assert (await socket.receive())["id"] == "n1"
        assert by_label(a.gateway.metrics.cluster_received)["bad"] - before == 2 * len(bad)
        assert len(a.gateway.revocations) == 0
    finally:
        await client.stop()


@pytest.mark.gen_test
async def test_a_revocation_holds_on_every_node(start: Start) -> None:
    """Also on one that joins later; so does its removal."""
    a = await start("a")
    b = await start("b", a)
    socket = await open_on(b, "/ws/notifications", token(iat=1))
    answer = await disconnect(a, {"user_id": "123"})
    assert (answer["closed"], "uncertain" in answer) == (1, False)
    assert await socket.wait_closed() == REVOKED
    c = await start("c", a, b)
    for hermes in (a, b, c):
        assert await (await hermes.open("/ws", token(iat=1))).wait_closed() == REVOKED
    response = await c.request("/disconnect?user_id=123", method="DELETE", headers={"X-API-Key": KEY})
    assert json.loads(response.body)["removed"] == 1
    for hermes in (a, b, c):
        await (await hermes.open("/ws", token(iat=1))).expect_silence()


async def disconnect(hermes: Hermes, body: dict[str, object]) -> dict[str, Any]:
    headers = {"X-API-Key": KEY, "Content-Type": "application/json"}
    response = await hermes.request("/disconnect", method="POST", body=json.dumps(body), headers=headers)
    assert response.code == 200
    answer: dict[str, Any] = json.loads(response.body)
    return answer


@pytest.mark.gen_test
async def test_nodes_that_were_apart_exchange_their_revocations(start: Start, tmp_path: Path) -> None:
    """What was revoked or removed while a node was away is in effect when it is back."""
    a = await start("a")
    b = await start("b", a)
    await disconnect(a, {"user_id": "removed"})
    await b.gateway.stop()
    await eventually(lambda: "b" not in bus(a).members)
    await disconnect(a, {"tenant_id": "later"})
    await a.request("/disconnect?user_id=removed", method="DELETE", headers={"X-API-Key": KEY})
    file = tmp_path / "b" / "revocations"
    file.write_text(file.read_text() + json.dumps({"token_id": "only-b", "until": 5}) + "\n")
    again = await start("b", a)
    await eventually(lambda: len(a.gateway.revocations) == 2)
    expected = {("tenant_id", "later"), ("token_id", "only-b")}
    for hermes in (a, again):
        assert {(target.kind, target.id) for target, _ in hermes.gateway.revocations} == expected


@pytest.mark.gen_test
async def test_nodes_that_nats_had_divided_exchange_their_revocations(start: Start) -> None:
    """Each stayed connected to its server; they hear of each other again by an announcement."""
    a = await start("a")
    b = await start("b", a)
    for hermes, id in ((a, "of-a"), (b, "of-b")):
        assert await hermes.gateway.disconnector.end(Target("user_id", id), 5, "test", "") == 0
    for hermes, other in ((a, b), (b, a)):
        bus(hermes).members.left(bus(other).name, bus(other).instance)
    bus(b)._announce()
    await eventually(lambda: len(a.gateway.revocations) == len(b.gateway.revocations) == 2)
    await eventually(lambda: bus(a).state is bus(b).state is State.JOINED)


@pytest.mark.gen_test
async def test_many_revocations_of_long_ids_are_exchanged(start: Start, tmp_path: Path) -> None:
    """In both directions; none of the messages is larger than NATS accepts."""
    for name, ids in (("a", range(2_000)), ("b", range(1_000, 3_000))):
        (tmp_path / name).mkdir(mode=0o700)
        lines = [json.dumps({"user_id": f"{number:->256}".replace("-", "€"), "until": 5}) for number in ids]
        (tmp_path / name / "revocations").write_text("\n".join(['{"hermes_revocations": 1}', *lines, ""]))
    a = await start("a")
    b = await start("b", a)
    await eventually(lambda: len(a.gateway.revocations) == len(b.gateway.revocations) == 3_000)


@pytest.mark.gen_test
async def test_many_questions_displace_no_revocation(start: Start) -> None:
    """Each kind of operation has a limit of its own."""
    a = await start("a")
    b = await start("b", a)
    bus(b).operations.by_name["presence"] = lambda head: asyncio.sleep(60, {})
    for _ in range(150):
        bus(a).tell("presence", {})
    answer = await disconnect(a, {"user_id": "123"})
    assert ("uncertain" in answer, len(b.gateway.revocations)) == (False, 1)


@pytest.mark.gen_test
async def test_a_revocation_that_a_busy_node_refused_reaches_it(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """So does a removal: the announcements show that the nodes differ."""
    monkeypatch.setattr(participation, "ANNOUNCE_INTERVAL_S", 0.1)
    monkeypatch.setattr(comparison, "CONFIRMED_S", 0.2)
    monkeypatch.setattr(comparison, "PAUSE_S", 0.2)
    monkeypatch.setattr(revocations, "DISCONNECT_TIMEOUT_S", 0.2)
    monkeypatch.setattr(revocations, "PAGE_TIMEOUT_S", 0.2)
    a = await start("a")
    b = await start("b", a)
    with busy(b, "disconnect"):
        assert (await disconnect(a, {"user_id": "123"}))["uncertain"] == ["b"]
    await eventually(lambda: len(b.gateway.revocations) == 1)
    with busy(b, "restore"):
        await a.request("/disconnect?user_id=123", method="DELETE", headers={"X-API-Key": KEY})
    await eventually(lambda: not len(b.gateway.revocations))
    assert len(a.gateway.revocations) == 0


@contextlib.contextmanager
def busy(hermes: Hermes, op: str) -> Iterator[None]:
    """Let a node have as many operations of a kind under way as it accepts."""
    running = bus(hermes).operations._running
    running[op] += TASKS_MAX
    yield
    running[op] -= TASKS_MAX


async def answered(hermes: Hermes, path: str, key: str = KEY, *, but: Sequence[str] = ()) -> Any:
    """Get a page that all nodes have answered for but these; on a busy machine another one may take over 250 ms."""
    while True:
        found = await get(hermes, path, key)
        if found.get("cluster", found).get("uncertain", []) == [*but]:
            return found


@pytest.mark.slow
@pytest.mark.gen_test
async def test_presence_and_status_are_those_of_all_nodes(start: Start, other_node: Program) -> None:
    """A node that does not answer is named."""
    a = await start("a")
    b = await start("b", a)
    await eventually(lambda: "z" in bus(a).members)
    await open_on(a, "/ws/notifications", token(tenant_id="acme"))
    await open_on(b, "/ws", token(tenant_id="globex"))
    await open_at(other_node, a, token("456"))  # it has joined
    found = await answered(a, "/presence?user_id=123")
    assert (found["user_id"], found["sockets"], found["routes"]) == ("123", 2, {"/ws/notifications": 1, "/ws": 1})
    assert found["since"] <= found["last_seen"]
    assert (await answered(b, "/presence?user_id=123", TENANT_KEY))["routes"] == {"/ws/notifications": 1}
    status = (await answered(a, "/status"))["cluster"]
    assert (status["node"], status["state"], status["uncertain"]) == ("a", "joined", [])
    assert [(each["node"], each["figures"]["sockets"]["open"].get("/ws")) for each in status["nodes"]] == [
        ("b", 1),
        ("z", None),
    ]
    assert (status["users"], status["protocol"], status["former"]) == (1, PROTOCOL, [])
    assert [(each["state"], each["same_keys"]) for each in status["nodes"]] == [("joined", True)] * 2
    assert (await a.request("/status", headers={"X-API-Key": TENANT_KEY})).code == 403
    other_node.process.send_signal(signal.SIGSTOP)
    assert (await answered(b, "/presence?user_id=nobody", but=("z",)))["uncertain"] == ["z"]
    found = await answered(a, "/status", but=("z",))
    assert found["cluster"]["uncertain"] == ["z"]
    silent = found["cluster"]["nodes"][1]
    assert (silent["state"], silent["figures"], silent["heard"] <= found["now"]) == (None, None, True)
    lines = [text for name, text in table(found, a.url) if name == "node"]
    assert lines[0].startswith("a: joined, version ")
    assert lines[1].startswith("b: joined, version ")
    assert lines[2].startswith("z: no answer, last heard ")


@pytest.mark.gen_test
async def test_status_names_nodes_with_other_keys_and_those_that_are_gone(start: Start, complaints: list[Any]) -> None:
    """One that stopped, until it returns."""
    a = await start("a")
    b = await start("b", a, jwt_secret="another secret, also longer than thirty-two bytes")
    found = await get(a, "/status")
    assert [each["same_keys"] for each in found["cluster"]["nodes"]] == [False]
    assert "verifies tokens with other keys" in [text for name, text in table(found, a.url) if name == "node"][1]
    await b.gateway.stop()
    await eventually(lambda: "b" not in bus(a).members)
    found = await get(a, "/status")
    assert found["cluster"]["nodes"] == []
    assert [(each["node"], each["left"]) for each in found["cluster"]["former"]] == [("b", True)]
    assert [text for name, text in table(found, a.url) if name == "node"][1].startswith("b: stopped, last heard ")
    await start("b", a)
    assert (await get(a, "/status"))["cluster"]["former"] == []
    assert all("verifies tokens with other keys" in record.getMessage() for record in complaints)
    complaints.clear()


async def get(hermes: Hermes, path: str, key: str = KEY) -> dict[str, Any]:
    response = await hermes.request(path, headers={"X-API-Key": key})
    assert response.code == 200, response.body
    value: dict[str, Any] = json.loads(response.body)
    return value


@pytest.mark.gen_test
async def test_a_node_that_stops_is_not_waited_for(start: Start) -> None:
    """It says that it leaves; its clients are told to return in a time that the other nodes share."""
    a = await start("a")
    b = await start("b", a)
    socket = await open_on(b, "/ws/notifications", token())
    await b.gateway.stop()
    code, reason = await socket.wait_closed()
    assert (code, (reason or "").partition(";")[0]) == (1001, "stopping")
    await eventually(lambda: "b" not in bus(a).members)
    assert await a.notify(note(id="n1")) == {"status": "success", "sent": False, "id": "n1"}


@pytest.mark.gen_test
async def test_the_check_finds_servers_and_nodes(
    start: Start, nats: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], complaints: list[Any]
) -> None:
    """It is no node itself. A server that does not answer and one that refuses it are problems."""
    a = await start("a")
    settings = gateway_settings(nats_url=f"{nats.url},nats://127.0.0.1:1", node_name="b", state_dir=tmp_path / "b")
    assert await check(settings) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"ok      {nats.url} is a NATS server that this node can use" in lines
    assert "info    node b; running nodes: a" in lines
    assert any(line.startswith("FAIL    --nats-url: nats://127.0.0.1:1: ") for line in lines)
    assert bus(a).members.names == []
    with nats_server(tmp_path, 'authorization { token: "s3cret" }') as server:
        assert await check(gateway_settings(nats_url=server.url, state_dir=tmp_path / "b")) == 1
    assert "FAIL    --nats-url: nats://127.0.0.1" in capsys.readouterr().out
    complaints.clear()
