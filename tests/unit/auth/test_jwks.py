"""JSON Web Key Sets: which keys of a set verify tokens."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from hermes.auth.jwks import KID_MAX_CHARS, SET_MAX_BYTES, SET_MAX_KEYS, KeySet, parse_key_set
from hermes.auth.keys import Source
from tests.support.issuers import jwk, private_key, signed
from tests.support.verifiers import ring_of, verifier

RSA = jwk(private_key("RS256"), kid="rsa")
EC = jwk(private_key("ES256"), kid="ec")
ED = jwk(private_key("EdDSA"), kid="ed")


def key_set(*entries: object) -> KeySet:
    """Return the parsed set with these entries."""
    return parse_key_set(json.dumps({"keys": list(entries)}).encode(), source=Source.JWKS_URL)


def test_the_signing_keys_of_a_set_verify() -> None:
    """RSA, EC and OKP, each by its name."""
    found = key_set(RSA, EC, ED | {"use": "sig"})
    assert [(key.kid, key.algorithms[0]) for key in found.keys] == [("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")]
    checked = verifier(keys=ring_of(*found.keys))
    for algorithm, kid in (("PS512", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")):
        key = private_key("RS256" if algorithm == "PS512" else algorithm)
        assert checked.verify(signed(key, algorithm, kid=kid)).user_id == "123"


def test_the_algorithm_of_an_entry_is_its_only_one() -> None:
    """RFC 7517 §4.4."""
    assert key_set(RSA | {"alg": "PS256"}).keys[0].algorithms == ("PS256",)
    assert key_set(EC, RSA | {"alg": "ES256"}, EC | {"alg": "ES384"}).skipped == {"unusable": 2}


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (RSA | {"use": "enc"}, "use"),
        (RSA | {"use": ["sig"]}, "use"),
        (RSA | {"alg": "RSA-OAEP"}, "unusable"),
        (RSA | {"key_ops": ["encrypt"]}, "key_ops"),
        (RSA | {"key_ops": "verify"}, "key_ops"),
        (RSA | {"key_ops": []}, "key_ops"),
        ({"kty": "oct", "k": "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U", "kid": "a", "alg": "HS256"}, "kty"),
        ({"kty": "AKP", "kid": "a"}, "kty"),
        ({"kid": "a"}, "kty"),
        ({"kty": ["RSA"]}, "kty"),
        ("RSA", "malformed"),
        (None, "malformed"),
        ({"kty": "RSA", "n": "AQAB", "e": "AQAB"}, "malformed"),
        ({"kty": "RSA", "n": RSA["n"]}, "malformed"),
        ({"kty": "RSA", "n": 5, "e": "AQAB"}, "malformed"),
        ({"kty": "RSA", "n": "!", "e": "AQAB"}, "malformed"),
        ({"kty": "RSA", "n": "", "e": ""}, "malformed"),
        (RSA | {"e": "AQ"}, "malformed"),
        (RSA | {"e": RSA["n"]}, "unusable"),
        (RSA | {"kid": 5}, "malformed"),
        (RSA | {"kid": "x" * (KID_MAX_CHARS + 1)}, "malformed"),
        (RSA | {"alg": 256}, "malformed"),
        (EC | {"y": EC["x"]}, "malformed"),
        (EC | {"crv": "secp256k1"}, "malformed"),
        (EC | {"crv": "P-384"}, "malformed"),
        (ED | {"x": "AAAA"}, "malformed"),
        (ED | {"crv": "X25519"}, "malformed"),
    ],
)
def test_an_entry_that_does_not_verify_tokens_is_skipped_and_counted(entry: Any, reason: str) -> None:
    """The others of the set are used."""
    found = key_set(entry, EC)
    assert [key.kid for key in found.keys] == ["ec"]
    assert sum(found.skipped.values()) == 1
    assert set(found.skipped) <= {reason, "malformed", "unusable"}


def test_weak_and_huge_rsa_keys_are_skipped() -> None:
    """From 2,048 bits to 8,192."""
    weak = rsa.generate_private_key(65_537, 1_024).public_key()
    huge = rsa.RSAPublicNumbers(65_537, (1 << 16_383) + 1).public_key()
    found = key_set(*(RSAAlgorithm.to_jwk(key, as_dict=True) for key in (weak, huge)), EC)
    assert found.skipped == {"unusable": 2}


def test_private_members_are_neither_used_nor_kept() -> None:
    """An issuer that publishes its private key by mistake does not have it stored on this machine as well."""
    key = private_key("ES256")
    assert isinstance(key, EllipticCurvePrivateKey)
    private = ECAlgorithm.to_jwk(key, as_dict=True) | {"kid": "ec", "x5c": ["certificate"]}
    assert "d" in private
    found = key_set(private)
    assert set(found.entries[0]) == {"kty", "kid", "crv", "x", "y"}
    assert verifier(keys=ring_of(*found.keys)).verify(signed(private_key("ES256"), "ES256", kid="ec"))


def test_at_most_a_hundred_entries_are_read() -> None:
    """The others are counted."""
    found = key_set(*[EC | {"kid": str(number)} for number in range(SET_MAX_KEYS + 3)])
    assert (len(found.keys), found.skipped) == (SET_MAX_KEYS, {"too_many": 3})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "not JSON"),
        (b"<html>", "not JSON"),
        (b"[]", "not a JWK set"),
        (b"{}", "not a JWK set"),
        (b'{"keys":{}}', "not a JWK set"),
        (b'{"keys":[]}', "no key that verifies tokens .none at all"),
        (json.dumps({"keys": [RSA | {"use": "enc"}]}).encode(), "no key that verifies tokens .1 use"),
        (b'{"keys":' + b"[" * 200 + b"]" * 200 + b"}", "nested too deeply"),
        (b" " * (SET_MAX_BYTES + 1), "more than 512 KiB"),
        ('{"keys":["\ud800"]}'.encode("utf-8", "surrogatepass"), "not JSON"),
    ],
)
def test_what_is_not_a_usable_set_is_an_error(text: bytes, words: str) -> None:
    """In words; nothing of the text is repeated."""
    with pytest.raises(ValueError, match=words):
        parse_key_set(text, source=Source.JWKS_URL)
