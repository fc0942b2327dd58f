"""Which sockets are closed, how many in one iteration of the loop, and what is stored."""

import asyncio
import errno
import logging
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tornado.ioloop import IOLoop

from hermes.auth.principal import Principal
from hermes.auth.revocation import revocation_list
from hermes.auth.revocation.revocation_file import RevocationFile
from hermes.auth.revocation.revocation_list import RevocationList, RevocationsFull, Target
from hermes.delivery import channels
from hermes.delivery.hub import Hub
from hermes.delivery.outbox import OutboxLimits
from hermes.delivery.reconnect_delay import ReturnRate
from hermes.delivery.session import Session
from hermes.errors import RequestError
from hermes.ids import TenantId, UserId
from hermes.metrics import Metrics
from hermes.settings import private_file
from hermes.testing import FakeClock, FakeTransport
from hermes.web.sockets.admission import Admission, SocketLimits
from hermes.web.sockets.disconnect import CLOSED, LOOKED_AT, Disconnector, NotStored, one_target
from hermes.web.sockets.waiting import WaitingRequests

NOW_S = int(FakeClock().now_s)
ACME = TenantId("acme")
Changes = Sequence[tuple[Target, int | None]]


class CountedTransport(FakeTransport):
    """A transport that counts the closes of all."""

    closes = 0

    def close(self, code: int, reason: str) -> None:
        """Record code and reason."""
        super().close(code, reason)
        CountedTransport.closes += 1


class Bench:
    """A disconnector with sessions on fake transports."""

    def __init__(self, folder: Path) -> None:
        self.metrics = Metrics()
        self.hub = Hub(metrics=self.metrics)
        self.revocations = RevocationList(metrics=self.metrics, clock=FakeClock())
        self.file = RevocationFile(folder / "revocations", create=private_file.create, write=private_file.write)
        self.disconnector = Disconnector(
            hub=self.hub,
            revocations=self.revocations,
            file=self.file,
            return_rate=ReturnRate(),
            metrics=self.metrics,
            waiting=WaitingRequests(Admission(SocketLimits(9))),
        )

    def join(self, user: str, tenant: str | None = "acme", *, jti: str | None = None) -> FakeTransport:
        """Open a session; return its transport."""
        transport = CountedTransport()
        tenant_id = None if tenant is None else TenantId(tenant)
        principal = Principal(UserId(user), "ana", tenant_id, issued_at=NOW_S, token_id=jti)
        limits = OutboxLimits(65_536, 10)
        session = Session(principal=principal, transport=transport, limits=limits, metrics=self.metrics)
        self.hub.subscribe(session, [channels.user(UserId(user))])
        return transport

    def value(self, name: str, **labels: str) -> float | None:
        """Return a metric."""
        return self.metrics.registry.get_sample_value(name, labels)


@pytest.fixture
def bench(tmp_path: Path, io_loop: IOLoop) -> Iterator[Bench]:
    """Return a new one; at the end, everything is written."""
    made = Bench(tmp_path)
    yield made
    io_loop.run_sync(made.disconnector.stop)


@pytest.mark.gen_test
async def test_the_sockets_of_the_target_are_closed_and_no_others(bench: Bench) -> None:
    """By user, by token and by tenant; a bound target means one tenant."""
    transports = {
        "ana": bench.join("1", jti="t1"),
        "ana of globex": bench.join("1", "globex"),
        "luis": bench.join("2", jti="t2"),
        "nobody": bench.join("3", None),
    }

    def closed() -> set[str]:
        return {name for name, transport in transports.items() if transport.closed}

    done = await bench.disconnector.disconnect(Target("user_id", "1", ACME), revoke=True, by="test")
    assert (done.closed, done.revoked_until_s, closed()) == (1, NOW_S, {"ana"})
    assert transports["ana"].closed == (1008, "revoked")
    assert (await bench.disconnector.disconnect(Target("token_id", "t2"), revoke=True, by="test")).closed == 1
    done = await bench.disconnector.disconnect(Target("tenant_id", "globex"), revoke=False, by="test")
    assert (done.closed, done.revoked_until_s) == (1, None)
    code, reason = transports["ana of globex"].closed or (0, "")
    assert (code, reason.partition("=")[0]) == (1001, "disconnected;retry_ms")
    assert closed() == {"ana", "ana of globex", "luis"}
    assert (await bench.disconnector.disconnect(Target("user_id", "1"), revoke=False, by="test")).closed == 0
    assert [target for target, _ in bench.revocations] == [Target("user_id", "1", ACME), Target("token_id", "t2")]
    assert bench.file.read() == dict(bench.revocations)
    assert bench.value("hermes_disconnects_total", target="user_id", result="revoked") == 1
    assert bench.value("hermes_disconnects_total", target="tenant_id", result="disconnected") == 1


@pytest.mark.gen_test
async def test_many_sockets_are_closed_a_few_in_each_iteration(bench: Bench) -> None:
    """So that the loop serves all others meanwhile: 10,000 sockets of a tenant, among as many."""
    for number in range(10_000):
        bench.join(str(number))
        bench.join(str(number), "globex")
    CountedTransport.closes = before = most = 0
    task = asyncio.ensure_future(bench.disconnector.disconnect(Target("tenant_id", "acme"), revoke=True, by="test"))
    while not task.done():
        await asyncio.sleep(0)
        before, most = CountedTransport.closes, max(most, CountedTransport.closes - before)
    assert (await task).closed == before == 10_000
    assert 0 < most <= CLOSED
    assert LOOKED_AT < 20_000, "the search was divided too"


@pytest.mark.gen_test
async def test_a_failed_write_is_reported_and_the_revocation_is_in_effect(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The call can be repeated when there is space again."""

    def full(changes: Changes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.file, "append", full)
    transport = bench.join("1")
    target = Target("user_id", "1")
    with pytest.raises(NotStored, match="revoked until Hermes stops, but not stored: No space left"):
        await bench.disconnector.disconnect(target, revoke=True, by="test")
    assert transport.closed == (1008, "revoked")
    assert [each for each, _ in bench.revocations] == [target]
    assert bench.value("hermes_revocations_failed_total") == 1
    assert "cannot write" in caplog.text
    monkeypatch.undo()
    await bench.disconnector.disconnect(target, revoke=True, by="test")
    assert target in bench.file.read()


@pytest.mark.gen_test
async def test_calls_at_the_same_time_share_a_write(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is answered after its own line is on the disk."""
    writes: list[int] = []
    append = bench.file.append

    def counted(changes: Changes) -> None:
        append(changes)
        writes.append(len(changes))

    monkeypatch.setattr(bench.file, "append", counted)

    async def revoke(number: int) -> None:
        target = Target("user_id", str(number))
        await bench.disconnector.disconnect(target, revoke=True, by="test")
        assert target in bench.file.read()

    await asyncio.gather(*[revoke(number) for number in range(50)])
    await bench.disconnector.stop()
    assert sum(writes) == 50
    assert len(writes) < 10
    assert len(bench.file.read()) == 50


@pytest.mark.gen_test
async def test_a_cancelled_call_does_not_disturb_the_others(bench: Bench) -> None:
    """They share one write."""
    calls = [
        asyncio.ensure_future(bench.disconnector.disconnect(Target("user_id", name), revoke=True, by="test"))
        for name in ("1", "2")
    ]
    await asyncio.sleep(0)
    calls[0].cancel()
    assert (await calls[1]).revoked_until_s == NOW_S
    await bench.disconnector.stop()
    assert len(bench.file.read()) == 2


@pytest.mark.gen_test
async def test_a_reload_closes_what_the_file_refuses(bench: Bench) -> None:
    """For example after it was restored from a backup; what it does not have is accepted again."""
    first, second = bench.join("1"), bench.join("2")
    bench.file.append([(Target("user_id", "1"), NOW_S)])
    bench.revocations.add(Target("user_id", "2"))
    await bench.disconnector.reload()
    assert (first.closed, second.closed) == ((1008, "revoked"), None)
    assert dict(bench.revocations) == {Target("user_id", "1"): NOW_S}


@pytest.mark.gen_test
async def test_who_did_what_is_in_the_audit_log(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """With the name of the key and the reason."""
    caplog.set_level(logging.INFO, "hermes.audit")
    bench.join("1")
    await bench.disconnector.disconnect(Target("user_id", "1"), revoke=True, by="helpdesk", reason="laptop stolen")
    await bench.disconnector.disconnect(Target("token_id", "t1", ACME), revoke=False, by="portal")
    await bench.disconnector.restore(Target("user_id", "1"), by="helpdesk")
    assert [record.getMessage() for record in caplog.records if record.name == "hermes.audit"] == [
        "revoked by helpdesk: user 1, 1 sockets closed; reason: laptop stolen",
        "disconnected by portal: token t1 of tenant acme, 0 sockets closed",
        "revocation removed by helpdesk: user 1, 1 removed",
    ]
    assert bench.file.read() == {}


@pytest.mark.parametrize("ids", [{}, {"user_id": "1", "tenant_id": "2"}, {"user_id": None, "token_id": None}])
def test_a_target_is_exactly_one_id(ids: dict[str, str | None]) -> None:
    """Anything else names what to give."""
    with pytest.raises(RequestError) as caught:
        one_target(ids)
    assert caught.value.fields == {"user_id": "give exactly one of user_id, token_id, tenant_id"}
    assert one_target({"user_id": 7, "token_id": None}) == Target("user_id", "7")


@pytest.mark.gen_test
async def test_a_reload_keeps_what_could_not_be_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in effect until Hermes stops, or until it is written or removed."""
    ana, luis = Target("user_id", "1"), Target("user_id", "2")
    append = bench.file.append

    def fail(_changes: Changes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(bench.file, "append", fail)
    for target in (ana, luis):
        with pytest.raises(NotStored):
            await bench.disconnector.disconnect(target, revoke=True, by="test")
    await bench.disconnector.reload()
    assert [target for target, _ in bench.revocations] == [ana, luis]
    monkeypatch.setattr(bench.file, "append", append)
    await bench.disconnector.disconnect(ana, revoke=True, by="test")
    await bench.disconnector.restore(luis, by="test")
    await bench.disconnector.reload()
    assert dict(bench.revocations) == bench.file.read() == {ana: NOW_S}


@pytest.mark.gen_test
async def test_a_reload_loses_nothing_that_is_revoked_while_it_reads(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if that is written, and confirmed, before the old content has been read."""
    ana, luis = Target("user_id", "1"), Target("user_id", "2")
    await bench.disconnector.disconnect(luis, revoke=True, by="test")
    has_read, may_return = threading.Event(), threading.Event()
    read = bench.file.read

    def slow() -> dict[Target, int]:
        entries = read()
        has_read.set()
        may_return.wait(60)
        return entries

    monkeypatch.setattr(bench.file, "read", slow)
    reload = asyncio.ensure_future(bench.disconnector.reload())
    assert await asyncio.to_thread(has_read.wait, 60)
    await bench.disconnector.disconnect(ana, revoke=True, by="test")
    await bench.disconnector.restore(luis, by="test")
    await bench.disconnector.stop()
    may_return.set()
    await reload
    assert dict(bench.revocations) == read() == {ana: NOW_S}


@pytest.mark.gen_test
async def test_a_reload_builds_its_list_beside_the_loop(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 revocations would hold it for 50 ms; what is revoked meanwhile is in effect too."""
    for number in range(3):
        await bench.disconnector.disconnect(Target("user_id", str(number)), revoke=True, by="test")
    threads: list[int] = []
    add = revocation_list._Index.set

    def recorded(index: revocation_list._Index, target: Target, until_s: int) -> None:
        threads.append(threading.get_ident())
        add(index, target, until_s)

    monkeypatch.setattr(revocation_list._Index, "set", recorded)
    await bench.disconnector.reload()
    assert len(threads) == len(bench.revocations) == 3
    assert threading.get_ident() not in threads


def test_revocations_of_another_node_are_stored_as_they_are_in_effect(
    bench: Bench, io_loop: IOLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A later time stays, the removal of one leaves those that are bound to a tenant, and what has room is stored."""
    kept, bound, user = Target("user_id", "a", ACME), Target("user_id", "b", ACME), Target("user_id", "b")

    async def run() -> None:
        for target in (kept, bound, user):
            await bench.disconnector.end(target, NOW_S, "test", "")
        await bench.disconnector.apply([(kept, NOW_S - 9), (user, None)])
        monkeypatch.setattr(revocation_list, "REVOCATIONS_MAX", 3)
        with pytest.raises(RevocationsFull):
            await bench.disconnector.apply([(Target("token_id", "1"), 5), (Target("token_id", "2"), 5)])
        await bench.disconnector.stop()

    io_loop.run_sync(run)
    expected = {kept: NOW_S, bound: NOW_S, Target("token_id", "1"): 5}
    assert dict(bench.revocations) == expected
    assert bench.file.read() == expected
