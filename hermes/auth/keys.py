"""The keys that verify tokens; each fixes the algorithms of its tokens.

If the token chose, one signed with HS256 and an RSA public key as the secret would be valid (RFC 8725 §2.1).
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1, SECP521R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jwt.algorithms import HMACAlgorithm, get_default_algorithms

SECRET_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}  # RFC 7518 §3.2: a key of at least the hash's size
SECRET_ALGORITHMS = frozenset(SECRET_BYTES)
SECRET_MIN_BYTES = SECRET_BYTES["HS256"]
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
RSA_MIN_BITS = 2_048  # RFC 7518 §3.3
RSA_MAX_BITS = 8_192  # of which a check takes 0.3 ms
RSA_MAX_EXPONENT = 2**32  # common is 65,537; one as long as the modulus makes a check hundred times slower
CURVE_ALGORITHMS: dict[str, str] = {SECP256R1.name: "ES256", SECP384R1.name: "ES384", SECP521R1.name: "ES512"}
PUBLIC_ALGORITHMS = frozenset({*RSA_ALGORITHMS, *CURVE_ALGORITHMS.values(), "EdDSA"})

_IMPLEMENTATIONS = get_default_algorithms()
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


class Source(StrEnum):
    """Where keys come from; the label of their metrics."""

    SECRET = "secret"
    PUBLIC_KEY = "public_key"
    JWKS_FILE = "jwks_file"
    JWKS_URL = "jwks_url"
    OIDC = "oidc"


@dataclass(frozen=True, slots=True, eq=False)
class VerificationKey:
    """One key, and what its tokens must be.

    ``id`` stands for source, key id, algorithms and key together: it stays the same when the same key is loaded again.
    ``kid`` is what tokens call the key, None if it has no name. ``issuer`` is the ``iss`` that its tokens must have;
    None if that is not checked.
    """

    id: str
    source: Source
    kid: str | None
    algorithms: tuple[str, ...]
    issuer: str | None
    _material: PublicKey | bytes = field(repr=False)

    def verifies(self, message: bytes, signature: bytes, *, algorithm: str) -> bool:
        """Return whether this key has made the signature.

        It is False for an algorithm that is not one of the key's own.
        """
        if algorithm not in self.algorithms:
            return False
        try:
            return _IMPLEMENTATIONS[algorithm].verify(message, self._material, signature)
        except (jwt.PyJWTError, ValueError):  # a signature that is not one of the algorithm
            return False


def secret_key(secret: str, *, issuer: str | None = None) -> VerificationKey:
    """Return the key of a shared secret.

    It is for HS256, and for HS384 and HS512 if it is long enough. Raises ValueError with PyJWT's reason for a PEM or
    SSH key, or a JWK.
    """
    raw = secret.encode()
    algorithms = tuple(name for name, least in SECRET_BYTES.items() if name == "HS256" or len(raw) >= least)
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(raw)
    except jwt.InvalidKeyError as error:
        raise ValueError(str(error)) from None
    key_id = _key_id(Source.SECRET, None, algorithms, raw)
    return VerificationKey(key_id, Source.SECRET, None, algorithms, issuer, raw)


def unusable_secret(secret: str) -> str | None:
    """Return the reason why a text cannot be a secret; None if it can."""
    try:
        secret_key(secret)
    except ValueError as error:
        return str(error)
    return None


def public_key(
    key: object,
    *,
    source: Source,
    kid: str | None = None,
    only: str | None = None,
    issuer: str | None = None,
) -> VerificationKey:
    """Return a key of an issuer.

    ``only`` is the one algorithm that the issuer uses it for. Raises ValueError that says what is wrong with the key.
    """
    usable, algorithms = _algorithms_of(key)
    if only is not None:
        algorithms = tuple(name for name in algorithms if name == only)
        if not algorithms:
            raise ValueError(f"the algorithm {only} is not one of its kind that verifies tokens")
    raw = usable.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerificationKey(_key_id(source, kid, algorithms, raw), source, kid, algorithms, issuer, usable)


def _algorithms_of(key: object) -> tuple[PublicKey, tuple[str, ...]]:
    if isinstance(key, RSAPublicKey):
        if not RSA_MIN_BITS <= key.key_size <= RSA_MAX_BITS:
            raise ValueError(f"an RSA key has {RSA_MIN_BITS} to {RSA_MAX_BITS} bits, this one has {key.key_size}")
        if key.public_numbers().e > RSA_MAX_EXPONENT:
            raise ValueError("the public exponent of the RSA key is too large; the usual one is 65537")
        return key, RSA_ALGORITHMS
    if isinstance(key, EllipticCurvePublicKey):
        if key.curve.name not in CURVE_ALGORITHMS:
            raise ValueError(f"the curve of an EC key is P-256, P-384 or P-521, this one has {key.curve.name}")
        return key, (CURVE_ALGORITHMS[key.curve.name],)
    if isinstance(key, Ed25519PublicKey):
        return key, ("EdDSA",)
    raise ValueError("a key is RSA, EC (P-256, P-384, P-521) or Ed25519")


def public_keys_of_pem(text: str, *, issuer: str | None = None) -> tuple[VerificationKey, ...]:
    """Return every public key of a PEM text.

    Raises ValueError that says what to write instead.
    """
    return tuple(_key_of_block(found[1], found[0], issuer) for found in _blocks(text))


def _blocks(text: str) -> Iterable[re.Match[str]]:
    blocks = list(_PEM.finditer(text))
    if not blocks:
        raise ValueError('it has no public key: PEM text that begins with "-----BEGIN PUBLIC KEY-----"')
    return blocks


def _key_of_block(kind: str, block: str, issuer: str | None) -> VerificationKey:
    if "PRIVATE" in kind:
        raise ValueError("it has a private key, which Hermes must not have: openssl pkey -in KEY -pubout -out PUBLIC")
    if "CERTIFICATE" in kind:
        raise ValueError("it has a certificate: openssl x509 -in CERTIFICATE -noout -pubkey > PUBLIC makes its key")
    try:
        key = load_pem_public_key(block.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("it is not a public key that OpenSSL can read") from None
    return public_key(key, source=Source.PUBLIC_KEY, issuer=issuer)


def describe(keys: Sequence[VerificationKey]) -> str:
    """Return the algorithms of some keys as text."""
    return ", ".join(dict.fromkeys(name for key in keys for name in key.algorithms)) or "none"


def _key_id(source: Source, kid: str | None, algorithms: Sequence[str], raw: bytes) -> str:
    digest = hashlib.sha256(repr((source.value, kid, tuple(algorithms))).encode("utf-8", "backslashreplace") + raw)
    return f"{source.value}:{digest.hexdigest()[:32]}"
