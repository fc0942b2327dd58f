"""Addresses, counts and shares: no exception, and no bound is exceeded."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from hermes.auth.principal import Principal
from hermes.delivery import channels
from hermes.delivery.last_values import OVERHEAD_BYTES, LastValues, LastValuesLimits
from hermes.delivery.messages import DeviceMessage, DeviceStatus
from hermes.errors import SocketRejected
from hermes.ids import DeviceId, TenantId, UserId
from hermes.metrics import Metrics
from hermes.quotas.addresses import client_key
from hermes.quotas.failed_auth import WINDOW_S, FailedAuth
from hermes.quotas.work_budget import BURST_S, WorkBudget
from hermes.settings.fields import networks
from hermes.web.origins.trusted_proxies import TrustedProxies
from hermes.web.sockets.admission import Admission, Place, SocketLimits

TRUSTED = TrustedProxies(networks(("127.0.0.0/8", "::1/128", "10.0.0.0/24", "fe80::/10")))

ADDRESSES = st.one_of(
    st.sampled_from(["127.0.0.1", "10.0.0.7", "::1", "[::1]", "::ffff:10.0.0.1", "fe80::1%eth0", "unknown", "_x", ""]),
    st.ip_addresses().map(str),
    st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=12),
)
FORWARDED = st.lists(st.lists(ADDRESSES, max_size=4).map(", ".join), max_size=3)


@given(ADDRESSES, FORWARDED)
def test_any_header_gives_the_connection_or_an_address(connection: str, forwarded: list[str]) -> None:
    """From a connection that is not trusted, always its own address."""
    headers = HTTPHeaders({"Host": "hermes"})
    for text in forwarded:
        headers._as_list.setdefault("X-Forwarded-For", []).append(text)
    request = HTTPServerRequest(start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=headers)
    request.remote_ip = connection
    client = TRUSTED.client(request)
    assert client_key(client) or not client
    if client != connection:
        assert TRUSTED.contain(connection)
        assert ipaddress.ip_address(client)


# -- counts -----------------------------------------------------------------------------------------------------------

LIMITS = st.builds(SocketLimits, *[st.integers(1, 6), *[st.integers(0, 4)] * 3])
SOCKETS = st.lists(st.tuples(*[st.sampled_from("ab")] * 3, st.booleans(), st.integers(0, 9)), max_size=40)


@given(LIMITS, SOCKETS)
def test_the_limits_of_sockets_hold(limits: SocketLimits, sockets: list[tuple[str, str, str, bool, int]]) -> None:
    """In any order of coming and leaving; in the end nothing is left behind."""
    admission, places = Admission(limits), list[Place]()
    for user, tenant, address, leaves, index in sockets:
        if leaves and places:
            admission.leave(places.pop(index % len(places)))
            continue
        try:
            admission.check(address)
            places.append(admission.admit(Principal(UserId(user), "name", TenantId(tenant)), address))
        except SocketRejected:
            assert len(places) == limits.total or any((limits.per_user, limits.per_tenant, limits.per_address))
        assert admission.open == len(places) <= limits.total
        kinds = ((limits.per_user, 0), (limits.per_tenant, 1), (limits.per_address, 2))
        for limit, kind in kinds:
            held = [place[kind] for place in places]
            assert not limit or max(map(held.count, held), default=0) <= limit
    for place in places:
        admission.leave(place)
    assert (admission.open, admission._users, admission._tenants, admission._addresses) == (0, {}, {}, {})


@given(st.integers(1, 4), st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 15)), max_size=40))
def test_an_address_has_only_so_many_wrong_tokens_in_a_window(limit: int, attempts: list[tuple[str, float]]) -> None:
    """At most twice the limit, at the border of two windows; the attempts of other addresses do not count."""
    now_s = [0.0]
    failed, *alone = [FailedAuth(limit, metrics=Metrics(), clock=lambda: now_s[0]) for _ in range(4)]
    checked: dict[str, list[float]] = {address: [] for address in "abc"}
    for address, wait_s in attempts:
        now_s[0] += wait_s
        assert failed.blocks(address) == alone["abc".index(address)].blocks(address)
        if not failed.blocks(address):
            failed.add(address)
            alone["abc".index(address)].add(address)
            checked[address].append(now_s[0])
    for times in checked.values():
        assert all(last - first > WINDOW_S - 1e-6 for first, last in zip(times, times[2 * limit - 1 :], strict=False))


@given(st.integers(1, 1_000), st.lists(st.tuples(st.floats(0, 1_000), st.floats(0, 1e6)), max_size=20))
def test_a_budget_gives_no_more_than_its_rate(rate: int, frames: list[tuple[float, float]]) -> None:
    """Over any time a client that waits as long as it must has its burst and the rate, before its last frame."""
    now_s = [0.0]
    budget = WorkBudget(rate, clock=lambda: now_s[0])
    spent = 0.0
    for wait_s, units in frames:
        now_s[0] += wait_s + budget.wait_s
        assert spent <= rate * (BURST_S + now_s[0]) * (1 + 1e-9)
        budget.spend(units)
        spent += units


# -- last values ------------------------------------------------------------------------------------------------------

IDS = st.sampled_from(["a", "b", "c"])
TENANTS, DEVICES, RARELY = IDS.map(TenantId), IDS.map(DeviceId), st.sampled_from([False, False, True])
DATA = st.sampled_from([b"1", b"2", b'"%s"' % (b"x" * 400), b'"%s"' % (b"x" * 3_000)])
Change = DeviceMessage | DeviceStatus | tuple[str, TenantId, DeviceId] | int
CHANGES: st.SearchStrategy[Change] = st.one_of(
    st.builds(
        DeviceMessage,
        tenant_id=TENANTS,
        device_id=DEVICES,
        series=IDS,
        topic=st.just("t"),
        data=DATA,
        timestamp_ms=st.just(1),
        retained=RARELY,
        historical=RARELY,
        clears=RARELY,
    ),
    st.builds(DeviceStatus, TENANTS, DEVICES, st.booleans(), st.just(1)),
    st.tuples(st.sampled_from(["remove", "watch"]), TENANTS, DEVICES),
    st.integers(0, 60),
)


@given(st.integers(1, 8), st.integers(1, 6), st.lists(CHANGES, max_size=60))
def test_the_limits_of_last_values_hold(max_values: int, max_kb: int, changes: list[Change]) -> None:
    """After any changes; in the end everything expires and nothing is left behind."""
    now_s = [0.0]
    limits = LastValuesLimits(max_values=max_values, max_bytes=max_kb * OVERHEAD_BYTES, max_age_s=100.0)
    values = LastValues(limits=limits, metrics=Metrics(), clock=lambda: now_s[0])
    for change in changes:
        apply(values, change, now_s)
        found = values.for_channels([channels.tenant(TenantId(tenant)) for tenant in "abc"])
        statuses = sum(isinstance(each.message, DeviceStatus) for each in found)
        assert len(found) - statuses == len(values) <= max_values
        assert statuses <= max_values
        assert values.size_bytes <= limits.max_bytes
    now_s[0] += 1_000
    values.expire()
    values.retain_only(lambda tenant, device: False)
    assert (len(values), values.size_bytes, values._tenants) == (0, 0, {})


def apply(values: LastValues, change: Change, now_s: list[float]) -> None:
    """Apply one change."""
    match change:
        case DeviceMessage():
            values.update(change)
        case DeviceStatus():
            values.update_status(change)
        case ("remove", tenant, device):
            values.remove_status(tenant, device)
        case (_, tenant, device):
            values.retain_only(lambda one, other: (one, other) != (tenant, device))
        case int():
            now_s[0] += change
            values.expire()
