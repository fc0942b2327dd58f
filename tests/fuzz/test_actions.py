"""Any JSON as an action of a client: an answer or a close, never an internal error."""

import json
from functools import partial
from logging import LogRecord
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tornado.ioloop import IOLoop

from hermes.delivery.client_actions import parse_action
from hermes.errors import ClientError
from tests.support.gateways import Hermes, MakeHermes, token
from tests.support.raw_socket import CLOSE, OPCODE, TEXT, open_raw

ACME = token(tenant_id="acme")
NAMES = ("action", "device", "devices", "token", "notification_id", "echo", "")
WORDS = ("ping", "ack", "refresh", "subscribe", "unsubscribe", "d1", ACME, "", "\ud800", "\0", "x" * 1_025)

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(WORDS),
    st.text(max_size=5),
    st.integers(),
    st.sampled_from([10**18, 2**64, 10**400, -(10**4_299)]),
    st.floats(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=12,
)
ACTIONS = st.fixed_dictionaries(
    {"action": st.sampled_from(WORDS[:5]) | VALUES}, optional=dict.fromkeys(NAMES[1:], VALUES)
)
DEEP = st.builds(
    lambda opening, levels, closes: '{"action":"ping","x":' + opening * levels + "1" + "]}"[closes] * levels + "}",
    st.sampled_from(["[", '{"a":']),
    st.integers(1, 10_000),
    st.booleans(),
)
FRAMES = st.one_of(
    ACTIONS.map(json.dumps),
    VALUES.map(json.dumps),
    ACTIONS.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode()),
    DEEP,
    st.text(max_size=30),
    st.integers(3_000, 9_000).map(lambda number: json.dumps({"action": "subscribe", "devices": ["d"] * number})),
    st.integers(1, 1_200).map(lambda count: json.dumps({"action": "subscribe", "devices": [*map(str, range(count))]})),
)


@given(FRAMES)
@example('{"action":"ping","x":1e999}')
@example('{"action":["ping"]}')
@example('{"action":"ack","notification_id":"\\ud800"}')
def test_any_text_is_an_action_or_an_error(text: str) -> None:
    """Parsing raises no other exception."""
    try:
        parse_action(text)
    except ClientError as error:
        assert error.code in {"bad_json", "not_object", "unknown_action", "invalid"}


def test_any_action_is_answered_or_closes_the_socket(
    io_loop: IOLoop, make_hermes: MakeHermes, complaints: list[LogRecord]
) -> None:
    """Whatever was sent before; every answer is one JSON object."""
    limits = {"client_frames_per_s": "0", "max_failed_auth_per_address": "0", "max_connects_per_address_s": "0"}
    hermes = io_loop.run_sync(partial(make_hermes, **limits))

    @given(st.sampled_from(["/ws", "/ws/notifications", "/ws/device/d1"]), st.lists(FRAMES, max_size=8))
    def attack(route: str, texts: list[str]) -> None:
        io_loop.run_sync(partial(talk, hermes, route, texts))

    attack()


async def talk(hermes: Hermes, route: str, texts: list[str]) -> None:
    """Send the actions, then a last ping; read until its answer or the close."""
    socket = await open_raw(hermes, route, ACME)
    for text in texts:
        await socket.send(TEXT, text.encode())
    await socket.send(TEXT, b'{"action":"ping","last":true}')
    answer: dict[str, Any] = {}
    while answer != {"action": "pong", "last": True}:
        frame = await socket.frame()
        assert frame is not None
        if frame[0] & OPCODE == CLOSE:
            assert int.from_bytes(frame[1][:2], "big") == 1008
            break
        answer = json.loads(frame[1])
        assert answer["action"] in {"pong", "error", "subscribed", "refreshed"}
    socket.writer.close()
    hermes.at_end.remove(socket.writer.close)
