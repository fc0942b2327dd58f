"""What a client can do within TLS, or before its handshake is done: bounded in time, number and work."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest

from hermes.metrics import by_label, total
from hermes.web.http.connections import HANDSHAKE_TIMEOUT_S, HEAD_TIMEOUT_S, IDLE_TIMEOUT_S, LINGER_S, Phase
from hermes.web.tls import handshakes
from hermes.web.tls.handshakes import Handshake, TlsHandshakes
from tests.support.gateways import MakeHermes, eventually, token
from tests.support.http_connections import at_end, get, response
from tests.support.raw_socket import RawSocket
from tests.support.tls_sites import TlsSite, tls_site

pytestmark = pytest.mark.usefixtures("complaints")

MOMENT_S = 0.001


class Clock:
    """A clock that stands still, and the sweeps that the test asks for."""

    def __init__(self, site: TlsSite) -> None:
        self.site = site
        self.now_s = 1_000.0
        site.connections.stop()
        site.connections.clock = lambda: self.now_s

    def after(self, seconds: float) -> None:
        """Let time pass, and look for what takes too long."""
        self.now_s += seconds
        self.site.connections.sweep()

    @property
    def phases(self) -> list[Phase]:
        """What the open connections wait for."""
        return [phase for phase, found in self.site.connections._in_phase.items() for _ in found]

    @property
    def closed(self) -> dict[str, float]:
        """How many were closed, by cause."""
        return by_label(self.site.hermes.gateway.metrics.http_closed)


def client_hello(context: ssl.SSLContext) -> tuple[bytes, ssl.SSLObject, ssl.MemoryBIO]:
    """Return what a client sends first, and what it needs to go on."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read(), tls, incoming


async def waiting(site: TlsSite, count: int) -> list[Handshake]:
    """Return the handshakes under way once there are so many."""
    found = site.connections._in_phase[Phase.HANDSHAKE]
    await eventually(lambda: len(found) == count)
    return [each for each in found if isinstance(each, Handshake)]


# -- time ---------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
@pytest.mark.parametrize("parser", ["httptools", "tornado"])
@pytest.mark.parametrize("part", [0, 5, 100, None])
async def test_a_handshake_that_never_ends_is_closed_and_counted(
    make_hermes: MakeHermes, tmp_path: Path, part: int | None, parser: str
) -> None:
    """Without a byte, within the hello, and after it."""
    site = await tls_site(make_hermes, tmp_path, http_parser=parser)
    clock = Clock(site)
    raw = await site.connect(plain=True)
    hello, _, _ = client_hello(site.context)
    await raw.send_bytes(hello[:part])
    (handshake,) = await waiting(site, 1)
    if part is None:
        assert await raw.reader.read(1)  # the server's part
    clock.after(HANDSHAKE_TIMEOUT_S - MOMENT_S)
    assert clock.phases == [Phase.HANDSHAKE]
    clock.after(MOMENT_S)
    assert clock.phases == []
    with contextlib.suppress(ConnectionResetError):  # what it sent was not read
        await at_end(raw)
    assert site.handshakes == {"timeout": 1}
    assert clock.closed == {"handshake": 1}
    assert (handshake._tls is None) is (part is not None), "OpenSSL sees complete hellos only"


@pytest.mark.gen_test
async def test_the_times_of_http_hold_within_tls(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Of a silent connection, a slow head, and an idle connection."""
    site = await tls_site(make_hermes, tmp_path)
    clock = Clock(site)
    silent, slow, idle = await site.connect(), await site.connect(), await site.connect()
    await idle.send_bytes(get())
    assert (await response(idle)).status == 200
    await slow.send_bytes(b"GET / HT")
    await eventually(lambda: sorted(phase.value for phase in clock.phases) == ["head", "head", "idle"])
    clock.after(HEAD_TIMEOUT_S)
    assert (await response(slow)).status == 408
    assert await at_end(silent) == b""
    clock.after(IDLE_TIMEOUT_S - HEAD_TIMEOUT_S)
    assert await at_end(idle) == b""
    assert clock.closed == {"head": 2, "idle": 1}


@pytest.mark.gen_test
async def test_a_plain_request_is_read_for_a_moment_only(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Its client may never end."""
    site = await tls_site(make_hermes, tmp_path)
    clock = Clock(site)
    raw = await site.connect(plain=True)
    await raw.send_bytes(get())
    assert (await response(raw)).status == 400
    await raw.send_bytes(b"more")
    assert clock.phases == [Phase.LINGER]
    clock.after(LINGER_S)
    assert clock.phases == []


# -- number -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_unfinished_handshakes_make_room_first(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """A client with an idle connection keeps it."""
    site = await tls_site(make_hermes, tmp_path, max_http_connections=4)
    clock = Clock(site)
    idle = await site.connect()
    await idle.send_bytes(get())
    await response(idle)
    silent = [await site.connect(plain=True) for _ in range(3)]
    await waiting(site, 3)
    clock.now_s += 1.0
    another = await site.connect()
    await at_end(silent[0])
    await another.send_bytes(get())
    assert (await response(another)).status == 200
    await idle.send_bytes(get())
    assert (await response(idle)).status == 200
    assert clock.closed == {"limit": 1}
    assert total(site.hermes.gateway.metrics.http_connections) == 4


@pytest.mark.gen_test
async def test_handshakes_that_have_begun_are_limited(
    make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has memory of OpenSSL; past the limit the oldest is closed."""
    monkeypatch.setattr(handshakes, "STARTED_MAX", 3)
    site = await tls_site(make_hermes, tmp_path)
    hello, _, _ = client_hello(site.context)
    clients: list[RawSocket] = []
    for _ in range(5):
        raw = await site.connect(plain=True)
        clients.append(raw)
        await raw.send_bytes(hello)
        assert await raw.reader.read(1)
    for raw in clients[:2]:
        await at_end(raw)
    assert site.handshakes == {"dropped": 2}
    await waiting(site, 3)


# -- work ---------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_one_step_of_a_handshake_is_done_in_each_iteration_of_the_loop(
    make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many hellos arrive at once; open sockets are served between them."""
    site = await tls_site(make_hermes, tmp_path)
    loop, iteration, steps = asyncio.get_running_loop(), [0], list[int]()
    counting = True

    def count() -> None:
        iteration[0] += 1
        if counting:
            loop.call_soon(count)

    step = Handshake.step

    def counted(handshake: Handshake) -> None:
        steps.append(iteration[0])
        step(handshake)

    clients = [await site.connect(plain=True) for _ in range(30)]
    await waiting(site, 30)
    hello, _, _ = client_hello(site.context)
    monkeypatch.setattr(Handshake, "step", counted)
    count()
    for raw in clients:
        raw.writer.write(hello)
    await eventually(lambda: len(steps) == 30)
    counting = False
    assert len(set(steps)) == 30, steps


@pytest.mark.gen_test
async def test_a_handshake_that_has_begun_goes_on_before_a_new_one_begins(
    make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every client would wait for all of them, twice."""
    site = await tls_site(make_hermes, tmp_path)
    held: list[TlsHandshakes] = []
    take_steps = TlsHandshakes._take_steps
    raw = await site.connect(plain=True)
    hello, _, _ = client_hello(site.context)
    await raw.send_bytes(hello)
    assert await raw.reader.read(1)
    (begun,) = await waiting(site, 1)
    monkeypatch.setattr(TlsHandshakes, "_take_steps", lambda owner: held.append(owner))
    clients = [await site.connect(plain=True) for _ in range(2)]
    for other in clients:
        await other.send_bytes(hello)
    await eventually(lambda: held and len(held[0]._due) == 2)
    await raw.send_bytes(b"\x17\x03\x03\x00\x01\0")  # whatever it is, the server must look at it
    await eventually(lambda: len(held[0]._due) == 3)
    assert held[0]._due[0] is begun
    monkeypatch.setattr(TlsHandshakes, "_take_steps", take_steps)
    held[0]._take_steps()
    await eventually(lambda: site.handshakes == {"failed": 1})


@pytest.mark.gen_test
async def test_a_failed_handshake_counts_as_a_refused_socket(
    make_hermes: MakeHermes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It made Hermes sign for nothing."""
    site = await tls_site(make_hermes, tmp_path)
    charged: list[str] = []
    raw = await site.connect(plain=True)
    hello, _, _ = client_hello(site.context)
    (handshake,) = await waiting(site, 1)
    monkeypatch.setattr(handshake._owner, "_on_failure", charged.append)
    await raw.send_bytes(hello)
    await raw.reader.read(1)
    raw.reset()
    await eventually(lambda: charged == ["127.0.0.1"])
    assert site.handshakes == {"failed": 1}


@pytest.mark.gen_test
async def test_the_time_of_the_handshake_is_part_of_what_a_socket_costs(
    make_hermes: MakeHermes, tmp_path: Path
) -> None:
    """So that after a restart sockets return as fast as Hermes can shake hands, and no faster."""
    site = await tls_site(make_hermes, tmp_path)
    seconds: list[float] = []
    site.connections.on_handshake = seconds.append
    await site.open("/ws/notifications", token())
    raw = await site.connect()
    (tls,) = [end._socket for end in site.connections._in_phase[Phase.HEAD]]  # type: ignore[attr-defined]
    assert len(seconds) == 1
    assert seconds[0] > tls.handshake_s / 100 > 0
    raw.writer.close()
