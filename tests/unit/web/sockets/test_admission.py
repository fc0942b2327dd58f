"""Which sockets are admitted, and what becomes of those that are not."""

from collections.abc import Callable
from functools import partial

import pytest

from hermes.auth.principal import Principal
from hermes.errors import ADDRESS_FULL, SERVER_FULL, STOPPING, TENANT_FULL, USER_FULL, Close, SocketRejected
from hermes.ids import TenantId, UserId
from hermes.web.sockets.admission import WAITING_MAX, Admission, Place, SocketLimits


def open_socket(admission: Admission, user: str = "1", tenant: str | None = "acme", address: str = "a") -> Place:
    """Admit one socket."""
    admission.check(address)
    return admission.admit(Principal(UserId(user), "ana", None if tenant is None else TenantId(tenant)), address)


def refused(admission: Admission, **who: str | None) -> Close:
    """Return the close of a socket that is not admitted."""
    with pytest.raises(SocketRejected) as rejected:
        open_socket(admission, **who)  # type: ignore[arg-type]
    return rejected.value.close


def test_each_limit_refuses_with_its_own_reason() -> None:
    """Sockets in all, of an address, of a user, and of a tenant; others are admitted."""
    admission = Admission(SocketLimits(total=4, per_user=2, per_tenant=3, per_address=3))
    open_socket(admission, "1"), open_socket(admission, "1")
    assert refused(admission, user="1") == USER_FULL
    open_socket(admission, "2", address="b")
    assert refused(admission, user="3", address="b") == TENANT_FULL
    open_socket(admission, "1", "globex")  # the same id in another tenant is another user
    assert refused(admission, user="4", tenant="initech", address="c") == SERVER_FULL
    admission = Admission(SocketLimits(total=9, per_address=1))
    open_socket(admission)
    assert refused(admission, user="2") == ADDRESS_FULL
    open_socket(admission, address="b")


def test_a_socket_that_left_makes_room() -> None:
    """Every count goes back, and takes no memory any more."""
    admission = Admission(SocketLimits(total=1, per_user=1, per_tenant=1, per_address=1))
    for _ in range(3):
        place = open_socket(admission)
        assert refused(admission) == SERVER_FULL
        admission.leave(place)
    assert admission.open == 0
    assert not admission._users
    assert not admission._tenants
    assert not admission._addresses


def test_the_default_limits_are_shares_of_the_whole() -> None:
    """A quarter for a user, half for an address; zero is no limit."""
    limits = SocketLimits.of(1_000, per_user=None, per_tenant=0, per_address=None)
    assert limits == SocketLimits(total=1_000, per_user=250, per_tenant=0, per_address=500)
    assert SocketLimits.of(1, per_user=None, per_tenant=0, per_address=None).per_user == 1
    unlimited = Admission(SocketLimits.of(1_000, per_user=0, per_tenant=0, per_address=0))
    for _ in range(1_000):
        open_socket(unlimited)


def test_while_stopping_nobody_is_admitted() -> None:
    """With 1001, so that clients return."""
    admission = Admission(SocketLimits(total=1))
    admission.stopping = True
    assert refused(admission) == STOPPING


def test_refused_sockets_are_bounded_and_cut_when_files_are_needed() -> None:
    """The oldest is cut first; one that has ended is forgotten."""
    admission = Admission(SocketLimits(total=80))
    assert admission.waiting_max == 10
    assert Admission(SocketLimits(total=1)).waiting_max == 1
    assert Admission(SocketLimits(total=1_000_000)).waiting_max == WAITING_MAX
    cut: list[int] = []
    cuts: list[Callable[[], None]] = [partial(cut.append, number) for number in range(12)]
    for each in cuts:
        admission.add_refused(each)
    assert cut == [0, 1]
    admission.remove_refused(cuts[2])
    admission.remove_refused(cuts[2])
    admission.cut_refused()
    assert cut == [0, 1, *range(3, 12)]
    admission.cut_refused()
    assert len(cut) == 11
