"""The file of API keys, and the caller of each key."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.auth.api_keys import DEFAULT_SCOPES, LOCAL, NAME, TENANT_SCOPES, ApiKeys, Caller, Scope, parse_keys
from hermes.ids import TenantId
from hermes.metrics import Metrics

FIRST, SECOND, THIRD = "first-key-of-the-site", "second-key-of-the-site", "#third=key,of;the:site"


def callers(text: str) -> list[Caller]:
    """Return the callers of a file."""
    return [key.caller for key in parse_keys(text)]


def test_a_line_is_a_key_or_a_name_with_a_key() -> None:
    """Blank lines and comments are none; a key without a name is called by its digest, never by its beginning."""
    text = f"# rotated 2026-01\n{FIRST}\n\n \t\r\nnode-red {SECOND}\r\n#node-red old\n  _.- \t {THIRD}\t\n"
    keys = parse_keys(text)
    assert [key.text for key in keys] == [FIRST, SECOND, THIRD]
    assert [key.caller.name for key in keys] == ["key-f70599", "node-red", "_.-"]
    assert all(key.caller.scopes == DEFAULT_SCOPES and key.caller.is_unrestricted for key in keys)
    assert FIRST not in repr(keys)


def test_scopes_limit_what_a_key_may_do() -> None:
    """None named means all but ``tap``; every scope of the contract is known."""
    assert {str(scope) for scope in Scope} == {
        "notify", "receipts", "status", "presence", "metrics", "disconnect", "inbox", "tap",
    }  # fmt: skip
    assert frozenset(Scope) - {Scope.TAP} == DEFAULT_SCOPES
    (prometheus,) = callers(f"prometheus {FIRST} metrics")
    (all_of_them,) = callers(f"admin {FIRST} {','.join(Scope)}")
    assert prometheus.scopes == {Scope.METRICS}
    assert all_of_them.scopes == set(Scope)
    assert (prometheus.is_unrestricted, all_of_them.is_unrestricted) == (False, True)


@pytest.mark.parametrize(
    ("field", "tenant"),
    [
        ("acme", "acme"),
        ("my%20site", "my site"),
        ("100%25", "100%"),
        ("b%C3%BCro", "büro"),
        ("büro", "büro"),
        ("a=b", "a=b"),
    ],
)
def test_a_key_with_a_tenant_has_the_scopes_that_can_be_bound(field: str, tenant: str) -> None:
    """The id is percent-encoded."""
    (plain,) = callers(f"site {FIRST} tenant={field}")
    (narrow,) = callers(f"site {FIRST} notify,disconnect tenant={field}")
    assert plain == Caller("site", TENANT_SCOPES, TenantId(tenant))
    assert narrow == Caller("site", frozenset({Scope.NOTIFY, Scope.DISCONNECT}), TenantId(tenant))
    assert not plain.is_unrestricted


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("x", "has 1 characters, less than 16"),
        ("x" * 15, "has 15 characters"),
        (f"name {'x' * 15}", "has 15 characters"),
        (f"{FIRST} notify", "has 6 characters"),
        (f"{'n' * 33} {FIRST}", "the name may have 1 to 32"),
        (f"näme {FIRST}", "the name may have"),
        (f"na/me {FIRST}", "the name may have"),
        (f" # {FIRST}", "a comment begins with #"),
        (f"name {FIRST} everything", "'everything' is none of them"),
        (f"name {FIRST} Notify", "that is named is none of them"),
        (f"name {FIRST} notify,", "the scopes of a key are"),
        (f"name {FIRST} notify, status", "not separated by commas alone"),
        (f"name {FIRST} tenant=acme notify", "not separated by commas alone"),
        (f"name {FIRST} status tenant=acme", "the scopes of a key with a tenant are notify, receipts, presence"),
        (f"name {FIRST} metrics tenant=acme", "'metrics' is none of them"),
        (f"name {FIRST} tap tenant=acme", "'tap' is none of them"),
        (f"name {FIRST} tenant=", "write tenant=ID"),
        (f"name {FIRST} tenant=50%", "percent-encoded"),
        (f"name {FIRST} tenant=%zz", "percent-encoded"),
        (f"name {FIRST} tenant=%ff", "not UTF-8"),
        (f"{FIRST}\N{NO-BREAK SPACE}notify", "invisible or not ASCII"),
        (f"{FIRST}\x0b{SECOND}", "invisible or not ASCII"),
        (f"{FIRST}\n{FIRST}", "line 3: its key is that of line 2"),
        (f"a {FIRST}\nb {FIRST}", "line 3: its key is that of line 2"),
        (f"a {FIRST}\na {SECOND}", "line 3: its name is that of line 2"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_with_its_number(line: str, why: str) -> None:
    """The text has no part of a key, wherever it stands."""
    with pytest.raises(ValueError, match=r"^line [23]: ") as caught:
        parse_keys(f"# the keys\n{line}")
    assert why in str(caught.value)
    assert FIRST not in str(caught.value)
    assert SECOND not in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), max_size=200))
def test_any_text_is_read_or_refused_with_a_line(text: str) -> None:
    """Every key that is accepted is long enough, and can be sent."""
    with contextlib.suppress(ValueError):
        keys = parse_keys(text)
        assert all(len(key.text) >= 16 and key.text.isascii() and " " not in key.text for key in keys)
        assert all(NAME.fullmatch(key.caller.name) for key in keys)


def test_a_key_has_its_caller_and_nothing_similar_has() -> None:
    """Requests are counted by name."""
    metrics = Metrics()
    keys = ApiKeys(parse_keys(f"a {FIRST}\nb {SECOND}"), metrics=metrics)
    found = [keys.find(text) for text in (FIRST, SECOND, FIRST)]
    assert [caller and caller.name for caller in found] == ["a", "b", "a"]
    similar = ("", FIRST[:-1], f"{FIRST} ", FIRST.upper(), "a", f"a {FIRST}", "\ud800", "x" * 100_000)
    assert not any(map(keys.find, similar))
    assert counted(metrics) == {"a": 2, "b": 1}
    assert keys
    assert not ApiKeys((), metrics=Metrics())


def test_replaced_keys_are_forgotten() -> None:
    """Also their counts; a key that stays keeps its count."""
    metrics = Metrics()
    keys = ApiKeys(parse_keys(f"a {FIRST}\nb {SECOND}"), metrics=metrics)
    for text in (FIRST, SECOND):
        keys.find(text)
    keys.replace(parse_keys(f"b {FIRST[::-1]}"))
    assert (keys.find(FIRST), keys.find(SECOND)) == (None, None)
    assert counted(metrics) == {"b": 1}


def test_no_key_has_the_name_of_a_client_without_one() -> None:
    """The log must not confuse them."""
    assert NAME.fullmatch(LOCAL.name) is None


def counted(metrics: Metrics) -> dict[str, float]:
    """Return the number of requests of each key."""
    samples = [sample for family in metrics.key_requests.collect() for sample in family.samples]
    return {sample.labels["key"]: sample.value for sample in samples if sample.name.endswith("_total")}
