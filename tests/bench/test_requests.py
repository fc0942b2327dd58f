"""The request client counts answers, refusals and received frames correctly."""

import json
import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from bench.contenders.bare_tornado import BareTornado, bare_tornado
from bench.contenders.hermes import Hermes, hermes
from bench.load.requests import Asked, post, upgrade
from bench.processes import BenchError
from hermes.auth.tokens import TokenSigner
from tests.support.programs import needs

WRONG_SECRET = "not the one that Hermes was started with"


@pytest.fixture(scope="module", autouse=True)
def compiler() -> None:
    """The client is compiled when it is first needed."""
    needs("cc")


@pytest.fixture(scope="module")
def gateway() -> Iterator[Hermes]:
    """A real Hermes."""
    with hermes() as server:
        yield server


@pytest.fixture(scope="module")
def bare() -> Iterator[BareTornado]:
    """A real bare Tornado."""
    with bare_tornado() as server:
        yield server


def notifications(users: Sequence[str]) -> list[dict[str, str]]:
    """One for each."""
    return [{"user_id": user, "title": "A door is open", "message": "Cold room 4, since 08:15"} for user in users]


def notify(
    server: Hermes,
    bodies: Sequence[object],
    *,
    key: str,
    count: int,
    connected: Sequence[str] = (),
    frames_each: int = 1,
) -> Asked:
    """Ask over three connections, while these users listen; so many frames are awaited for each answer."""
    return post(
        server.port,
        "/notify",
        [json.dumps(body).encode() for body in bodies],
        headers=[f"X-API-Key: {key}"],
        connections=3,
        count=count,
        word='"sent":true',
        listeners=[server.user_socket(user) for user in connected],
        frames_each=frames_each if connected else 0,
    )


# -- requests ---------------------------------------------------------------------------------------------------


def test_every_answer_is_counted(bare: BareTornado) -> None:
    """As many as were asked for, also where bodies and connections do not divide them."""
    asked = post(
        bare.port, "/notify", [b"{}", b"[]"], connections=3, count=41, word="success", server_pid=bare.child.pid
    )
    assert asked.only(200, 41).words == 41
    assert 0 < asked.p50_ms <= asked.p99_ms < asked.answering_s * 1_000
    assert asked.server_cpu_s > 0
    assert asked.cpu_s > 0


def test_each_body_is_sent_in_its_turn(bare: BareTornado) -> None:
    """A body that is no JSON makes bare Tornado fail: every second one here."""
    asked = post(bare.port, "/notify", [b"{}", b"no JSON"], connections=1, count=10)
    assert asked.statuses == {"200": 5, "500": 5}
    with pytest.raises(BenchError, match="not 10 times 200"):
        asked.only(200, 10)


@pytest.mark.slow
def test_a_large_body_is_sent_whole(gateway: Hermes) -> None:
    """More than a socket takes at once."""
    body = [notification | {"message": "x" * 900} for notification in notifications(["absent"] * 1_000)]
    asked = notify(gateway, [body], key=gateway.api_key, count=6)
    assert asked.only(200, 6).words == 0


def test_a_wrong_key_is_counted_as_401(gateway: Hermes) -> None:
    """And delivers nothing."""
    asked = notify(gateway, notifications(["1"]), key="wrong", count=20, connected=["1"])
    assert asked.only(401, 20).frames == [0]


def test_received_frames_are_those_asked_for(gateway: Hermes) -> None:
    """Each listener its own: of 21 requests for two users by turns the first gets 11, a third user none."""
    asked = notify(gateway, notifications(["1", "2"]), key=gateway.api_key, count=21, connected=["1", "2", "3"])
    asked.only(200, 21).sent(21, [11, 10, 0])
    assert asked.receiving_s > 0


@pytest.mark.slow
def test_a_missing_frame_voids_the_run(gateway: Hermes) -> None:
    """The second user has no socket, so half of the awaited frames never arrive."""
    asked = notify(gateway, notifications(["1", "2"]), key=gateway.api_key, count=10, connected=["1"]).only(200, 10)
    with pytest.raises(BenchError, match="5 of 10 reported as sent, 5 of 10 frames received"):
        asked.sent(10, [10])


def test_frames_of_every_length_are_parsed(gateway: Hermes) -> None:
    """Lengths of one byte and of two, small frames between large ones."""
    longest = {"user_id": "1", "title": "t", "message": "", "data": {"text": "x" * 7_000}}
    shortest = {"user_id": "1", "title": "t", "message": ""}
    bodies = [[shortest, longest] * 10, [longest] + [shortest] * 19]
    asked = notify(gateway, bodies, key=gateway.api_key, count=12, connected=["1"], frames_each=20)
    asked.only(200, 12).sent(12 * 20, [12 * 20])


def test_a_server_that_cuts_is_counted_as_broken() -> None:
    """Each connection is taken and closed without an answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut() -> None:
            for _ in range(3):
                connection, _ = server.accept()
                connection.recv(65_536)
                connection.close()

        thread = threading.Thread(target=cut, name="cutting server")
        thread.start()
        asked = post(server.getsockname()[1], "/", [b"{}"], connections=1, count=3)
        thread.join()
    assert (asked.answers, asked.broken, asked.unanswered) == (0, 3, 0)
    with pytest.raises(BenchError, match="3 broken"):
        asked.only(200, 3)


# -- handshakes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [1, 5, 100])
def test_accepted_handshakes_are_counted(gateway: Hermes, bare: BareTornado, kept: int) -> None:
    """However many stay open."""
    for server in (gateway, bare):
        paths = [server.user_socket(str(number)) for number in range(7)]
        assert upgrade(server.port, paths, connections=3, count=40, kept=kept).only(101, 40).answers == 40


@pytest.mark.parametrize("kept", [1, 100])
def test_a_refusal_after_the_handshake_is_counted(gateway: Hermes, kept: int) -> None:
    """Hermes accepts a bad token's handshake, only to close it with 1008."""
    bad = TokenSigner(WRONG_SECRET).sign(user_id="1", username="ana")
    paths = [gateway.user_socket("1"), f"/ws/notifications?token={bad}", "/ws/notifications"]
    asked = upgrade(gateway.port, paths, connections=1, count=30, kept=kept)
    assert (asked.statuses, asked.refused) == ({"101": 30}, 20)
    with pytest.raises(BenchError, match="20 refused"):
        asked.only(101, 30)


def test_a_refused_upgrade_is_counted_by_its_status(bare: BareTornado) -> None:
    """A path without a WebSocket."""
    asked = upgrade(bare.port, ["/nowhere", "/ws"], connections=1, count=10, kept=10)
    assert (asked.statuses, asked.refused) == ({"101": 5, "404": 5}, 0)


def test_a_listener_that_is_refused_stops_the_run(bare: BareTornado) -> None:
    """Nothing is measured that could not have been received."""
    with pytest.raises(BenchError, match="a listener was refused"):
        post(bare.port, "/notify", [b"{}"], connections=1, count=1, listeners=["/nowhere"])
