"""Which keys a token may be signed with, and when a missing key may still come."""

import asyncio
from dataclasses import dataclass

import jwt
import pytest

from hermes.auth import key_ring
from hermes.auth.key_ring import TRIES_MAX, UNKNOWN_MAX, UNKNOWN_S, KeyRing, UnknownKids
from hermes.auth.keys import Source, VerificationKey, public_key, secret_key
from hermes.auth.principal import Principal
from hermes.errors import KEYS_UNAVAILABLE, REVOKED, TOKEN_INVALID, Close, SocketRejected
from hermes.metrics import Metrics, total
from hermes.testing import FakeClock
from tests.support.gateways import SECRET, token
from tests.support.issuers import private_key, signed
from tests.support.verifiers import verifier


@dataclass
class FakeSource:
    """A fetched source with a settable state."""

    url: str = "https://sso.example/keys"
    is_stale: bool = False
    good_began_s: float = 0.0
    requests: int = 0

    def request(self) -> None:
        """Count the call."""
        self.requests += 1


@pytest.fixture
def clock() -> FakeClock:
    """Return a monotonic clock."""
    return FakeClock(100.0)


@pytest.fixture
def ring(clock: FakeClock) -> KeyRing:
    """Return a ring without keys."""
    return KeyRing(metrics=Metrics(), clock=clock)


def key_of(number: int, kid: str | None, source: Source = Source.OIDC, issuer: str | None = None) -> VerificationKey:
    """Return an EC key: they are made fast."""
    return public_key(private_key("ES256", number).public_key(), source=source, kid=kid, issuer=issuer)


def token_of(number: int, kid: str | None, **claims: object) -> str:
    """Return a token that `key_of` verifies."""
    return signed(private_key("ES256", number), "ES256", kid=kid, **claims)


def close_of(ring: KeyRing, text: str) -> Close:
    """Return the close code of a token that is rejected."""
    with pytest.raises(SocketRejected) as rejection:
        verifier(keys=ring).verify(text)
    return rejection.value.close


def test_a_token_is_checked_with_the_key_that_it_names(ring: KeyRing) -> None:
    """Not with another one of the same algorithm."""
    ring.replace(Source.OIDC, [key_of(1, "a"), key_of(2, "b")])
    checked = verifier(keys=ring)
    assert checked.verify(token_of(1, "a")).user_id == "123"
    assert close_of(ring, token_of(1, "b")) is TOKEN_INVALID


def test_a_token_without_a_key_id_is_checked_with_every_key_of_its_algorithm(
    ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most eight signatures are checked, however many keys there are."""
    keys = [key_of(number, str(number)) for number in range(20)]
    ring.replace(Source.OIDC, keys)
    checked = verifier(keys=ring)
    assert checked.verify(token_of(TRIES_MAX - 1, None)).user_id == "123"
    tried: list[str] = []
    real = VerificationKey.verifies

    def counted(key: VerificationKey, message: bytes, signature: bytes, *, algorithm: str) -> bool:
        tried.append(key.id)
        return real(key, message, signature, algorithm=algorithm)

    monkeypatch.setattr(VerificationKey, "verifies", counted)
    assert close_of(ring, token_of(TRIES_MAX, None)) is TOKEN_INVALID
    assert len(tried) == TRIES_MAX == 8


def test_a_key_without_a_name_verifies_tokens_that_name_any(ring: KeyRing) -> None:
    """A PEM file has no key id, but the issuer may write one."""
    ring.replace(Source.PUBLIC_KEY, [key_of(1, None, Source.PUBLIC_KEY)])
    ring.replace(Source.OIDC, [key_of(2, "b")])
    checked = verifier(keys=ring)
    for kid in (None, "anything"):
        assert checked.verify(token_of(1, kid)).user_id == "123"


def test_each_source_checks_its_own_issuer(ring: KeyRing) -> None:
    """Keys of the OIDC issuer its `iss`; the same key in a file, that of the files."""
    ring.replace(Source.OIDC, [key_of(1, "a", issuer="https://sso")])
    checked = verifier(keys=ring)
    assert checked.verify(token_of(1, "a", iss="https://sso")).user_id == "123"
    for other in ("https://sso/", "https://other", None, ["https://sso"], 5):
        assert close_of(ring, token_of(1, "a", iss=other)) is TOKEN_INVALID
    ring.replace(Source.JWKS_FILE, [key_of(1, "a", Source.JWKS_FILE, issuer="https://files")])
    assert checked.verify(token_of(1, "a", iss="https://files")).user_id == "123"
    assert checked.verify(token_of(1, "a", iss="https://sso", jti="2")).user_id == "123"


def test_an_unknown_key_id_is_unavailable_until_a_later_fetch_has_ended(ring: KeyRing, clock: FakeClock) -> None:
    """A fetch that began before the key id was seen proves nothing."""
    source = FakeSource(good_began_s=90.0)
    ring.replace(Source.OIDC, [key_of(1, "a")])
    ring.fetch_from(Source.OIDC, source)
    assert close_of(ring, token_of(2, "b")) is KEYS_UNAVAILABLE  # first seen at 100
    assert source.requests == 1
    clock.now_s, source.good_began_s = 110.0, 99.0
    assert close_of(ring, token_of(2, "b")) is KEYS_UNAVAILABLE
    source.good_began_s = 105.0
    assert close_of(ring, token_of(2, "b")) is TOKEN_INVALID
    assert source.requests == 2
    clock.now_s += UNKNOWN_S
    assert close_of(ring, token_of(2, "b")) is KEYS_UNAVAILABLE  # forgotten after an hour
    ring.replace(Source.OIDC, [key_of(2, "b")])
    assert verifier(keys=ring).verify(token_of(2, "b")).user_id == "123"


def test_without_any_answer_every_token_of_an_issuer_is_unavailable(ring: KeyRing) -> None:
    """Also one without a key id; a secret's tokens are judged at once."""
    ring.replace(Source.SECRET, [secret_key(SECRET)])
    ring.fetch_from(Source.OIDC, FakeSource(is_stale=True, good_began_s=float("-inf")))
    assert close_of(ring, token_of(1, None)) is KEYS_UNAVAILABLE
    assert close_of(ring, token_of(1, "a")) is KEYS_UNAVAILABLE
    assert close_of(ring, token(secret="x" * 32)) is TOKEN_INVALID
    assert verifier(keys=ring).verify(token()).user_id == "123"


def test_keys_of_a_source_that_is_silent_for_too_long_open_nothing(ring: KeyRing) -> None:
    """Also for a remembered token, until the source answers; a file with the same key is not concerned."""
    source = FakeSource()
    ring.replace(Source.OIDC, [key_of(1, "a")])
    ring.fetch_from(Source.OIDC, source)
    checked = verifier(keys=ring)
    given = token_of(1, "a")
    first = checked.verify(given)
    source.is_stale = True
    for text in (given, token_of(1, "a", jti="new")):
        with pytest.raises(SocketRejected) as rejection:
            checked.verify(text)
        assert rejection.value.close is KEYS_UNAVAILABLE
    ring.replace(Source.PUBLIC_KEY, [key_of(1, "a", Source.PUBLIC_KEY)])
    assert checked.verify(token_of(1, "a", jti="new")).user_id == "123"
    source.is_stale = False
    assert checked.verify(given) is first


def test_remembered_tokens_of_a_key_that_is_gone_are_dropped_at_once(ring: KeyRing) -> None:
    """Those of other keys stay remembered."""
    ring.replace(Source.OIDC, [key_of(1, "a"), key_of(2, "b")])
    ring.replace(Source.SECRET, [secret_key(SECRET)])
    checked = verifier(keys=ring)
    gone, kept, of_secret = token_of(1, "a"), token_of(2, "b"), token()
    for text in (gone, kept, of_secret):
        checked.verify(text)
    ring.replace(Source.OIDC, [key_of(3, "c"), key_of(2, "b")])
    assert [checked.is_known(text) for text in (gone, kept, of_secret)] == [False, True, True]
    with pytest.raises(SocketRejected):
        checked.verify(gone)


def test_a_revocation_applies_to_remembered_tokens_too(ring: KeyRing) -> None:
    """It is asked at each use, with `iat`, `jti` and the key's id."""
    asked: list[Principal] = []

    class Revoked:
        """Refuses from the second use on."""

        def refuses(self, principal: Principal) -> bool:
            """Record the call."""
            asked.append(principal)
            return len(asked) > 1

    ring.replace(Source.OIDC, [key_of(1, "a")])
    checked = verifier(keys=ring, revocations=Revoked())
    given = token_of(1, "a", iat=1_000, jti="x")
    checked.verify(given)
    with pytest.raises(SocketRejected) as rejection:
        checked.verify(given)
    assert rejection.value.close is REVOKED
    assert [(each.issued_at, each.token_id) for each in asked] == [(1_000.0, "x")] * 2
    assert asked[0].key_id == ring.keys[0].id


def test_a_revoked_token_is_not_remembered(ring: KeyRing) -> None:
    """It would take the place of a valid one."""

    class AllRevoked:
        """Refuses every token."""

        def refuses(self, principal: Principal) -> bool:
            """Refuse."""
            return True

    ring.replace(Source.SECRET, [secret_key(SECRET)])
    checked = verifier(keys=ring, revocations=AllRevoked())
    with pytest.raises(SocketRejected):
        checked.verify(token())
    assert not checked.is_known(token())


def test_unknown_key_ids_are_bounded_and_counted() -> None:
    """The oldest is forgotten first; an attacker cannot fill the memory."""
    clock, counted = FakeClock(0.0), []
    unknown = UnknownKids(clock=clock)
    for number in range(UNKNOWN_MAX + 10):
        clock.now_s = float(number)
        unknown.first_seen_s(str(number), count=lambda: counted.append(1))
    assert len(unknown) == UNKNOWN_MAX
    assert unknown.first_seen_s("10", count=lambda: counted.append(1)) == 10.0
    assert len(counted) == UNKNOWN_MAX + 10
    assert unknown.first_seen_s("0", count=lambda: counted.append(1)) == clock.now_s


def test_random_key_ids_cause_no_signature_check(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one that is longer than any key's is refused without being remembered."""
    source = FakeSource(good_began_s=1_000.0)
    ring.replace(Source.OIDC, [key_of(1, "a")])
    ring.fetch_from(Source.OIDC, source)
    monkeypatch.setattr(VerificationKey, "verifies", None)
    assert close_of(ring, token_of(2, "random")) is TOKEN_INVALID
    assert close_of(ring, token_of(2, "x" * 300)) is TOKEN_INVALID
    assert total(ring._metrics.unknown_kids) == 1
    assert source.requests == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            token_of(1, None),
            "signed with ES256; this Hermes has only an HS256 secret: add --jwks-url or --jwt-public-key-file",
        ),
        (
            token(secret="x" * 64, algorithm="HS512"),
            "signed with HS512; this Hermes has only an HS256 secret: its secret needs 64 bytes",
        ),
        (token(secret="x" * 32), "the signature does not match the JWT secret of this Hermes"),
        ("eyJhbGciOiJub25lIn0.e30.", "it is not signed"),
        ("eyJhbGciOiJub25lIn0.e30.e30", "signed with none, which Hermes never accepts"),
        ("eyJhbGciOiJkaXIifQ.a.b.c.d", "it is encrypted (JWE)"),
        ("opaque", "it is not a JWT, which has three parts"),
        ("YQ.YQ.YQ", "its header cannot be read"),
        ("eyJhbGciOiJIUzI1NiJ9.e3.e30", "a part is not base64url"),
        ("e30.e30.e30", "its header has no alg"),
        ("eyJhbGciOiJIUzI1NiIsInR5cCI6ImxvZ291dCtqd3QifQ.e30.e30", "the typ of its header is logout+jwt"),
    ],
)
def test_a_refused_token_is_explained_in_words(ring: KeyRing, text: str, words: str) -> None:
    """With what to change on the site."""
    ring.replace(Source.SECRET, [secret_key("0123456789abcdef" * 2)])
    with pytest.raises(SocketRejected) as rejection:
        verifier(keys=ring).verify(text)
    assert words in rejection.value.detail


def test_an_unknown_key_is_explained_by_the_known_ones(ring: KeyRing) -> None:
    """By name."""
    ring.replace(Source.JWKS_FILE, [key_of(1, "a", Source.JWKS_FILE), key_of(2, "b", Source.JWKS_FILE)])
    with pytest.raises(SocketRejected, match="signed with the key c; the ES256 keys of this Hermes are a, b"):
        verifier(keys=ring).verify(token_of(3, "c"))


def test_an_access_token_type_is_accepted(ring: KeyRing) -> None:
    """RFC 9068 §2.1; other explicit types are for other purposes."""
    ring.replace(Source.SECRET, [secret_key(SECRET)])
    claims = {"user_id": "1", "username": "a"}
    for kind in ("at+jwt", "application/at+jwt", "JWT", "AT+JWT"):
        assert verifier(keys=ring).verify(jwt.encode(claims, SECRET, "HS256", {"typ": kind})).user_id == "1"
    for kind in ("dpop+jwt", "secevent+jwt"):
        assert close_of(ring, jwt.encode(claims, SECRET, "HS256", {"typ": kind})) is TOKEN_INVALID


@pytest.mark.gen_test
async def test_what_waits_for_a_fetch_is_called_once_after_it(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few in each iteration of the event loop; what was cancelled is not called."""
    monkeypatch.setattr(key_ring, "WAITING_AT_ONCE", 2)
    called: list[int] = []
    cancels = [ring.after_fetch(lambda number=number: called.append(number)) for number in range(5)]  # type: ignore[misc]
    cancels[1]()
    ring.fetched()
    assert called == [0, 2]
    while len(called) < 4:
        await asyncio.sleep(0)
    ring.fetched()
    assert called == [0, 2, 3, 4]
