"""Keys: the algorithms of each, and what is not a key."""

import base64
import hmac
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hermes.auth.keys import Source, public_key, public_keys_of_pem, secret_key
from hermes.errors import TOKEN_INVALID, SocketRejected
from tests.support.certificates import Authority
from tests.support.gateways import SECRET, token
from tests.support.issuers import PrivateKey, private_key, public_pem, signed
from tests.support.verifiers import ring_of, secret_ring, verifier

RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
ASYMMETRIC = (*RSA, "ES256", "ES384", "ES512", "EdDSA")


def kind_of(algorithm: str) -> str:
    """Return the name under which `private_key` makes a key for an algorithm."""
    return "RS256" if algorithm in RSA else algorithm


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_public_key_verifies_tokens_of_its_own_algorithms_only(algorithm: str) -> None:
    """Whatever the token names: RSA, the three curves, Ed25519."""
    key = private_key(kind_of(algorithm))
    (found,) = public_keys_of_pem(public_pem(key))
    own = RSA if algorithm in RSA else (algorithm,)
    assert found.algorithms == own
    checked = verifier(keys=ring_of(found))
    assert checked.verify(signed(key, algorithm, kid="any")).key_id == found.id
    for other in {kind_of(each) for each in ASYMMETRIC} - set(own):
        with pytest.raises(SocketRejected) as rejection:
            checked.verify(signed(private_key(other), other))
        assert rejection.value.close is TOKEN_INVALID


def test_a_public_key_is_never_a_secret() -> None:
    """A token signed with HS256 and the text of the public key, in each of its forms, is refused."""
    key = private_key("RS256")
    checked = verifier(keys=ring_of(*public_keys_of_pem(public_pem(key))))
    raw = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for text in (public_pem(key), public_pem(key).strip(), raw.hex()):
        parts = [b'{"alg":"HS256"}', b'{"user_id":"1","username":"a"}']
        body = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
        mac = base64.urlsafe_b64encode(hmac.digest(text.encode(), body, "sha256")).rstrip(b"=")
        with pytest.raises(SocketRejected) as rejection:
            checked.verify(f"{body.decode()}.{mac.decode()}")
        assert "signed with HS256; this Hermes has only keys for RS256" in rejection.value.detail


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
@pytest.mark.parametrize(
    ("size", "algorithms"),
    [(32, ("HS256",)), (47, ("HS256",)), (48, ("HS256", "HS384")), (64, ("HS256", "HS384", "HS512"))],
)
def test_a_secret_verifies_what_its_length_allows(size: int, algorithms: tuple[str, ...]) -> None:
    """RFC 7518 §3.2: a key of at least the size of the hash."""
    secret = "x" * size
    assert secret_key(secret).algorithms == algorithms
    checked = verifier(keys=secret_ring(secret))
    for algorithm in ("HS256", "HS384", "HS512"):
        given = token(secret=secret, algorithm=algorithm)
        if algorithm in algorithms:
            assert checked.verify(given).user_id == "123"
        else:
            with pytest.raises(SocketRejected, match=f"its secret needs {int(algorithm[2:]) // 8} bytes"):
                checked.verify(given)


def test_every_secret_verifies() -> None:
    """So that one can be replaced by another without ending sessions."""
    old, new = "o" * 32, "n" * 32
    checked = verifier(secrets=(new, old))
    ids = {checked.verify(token(secret=each)).key_id for each in (old, new)}
    assert len(ids) == 2
    with pytest.raises(SocketRejected, match="any of the 2 JWT secrets"):
        checked.verify(token(secret="x" * 32))


def test_the_id_of_a_key_does_not_change_when_it_is_loaded_again() -> None:
    """It depends on source, name, algorithms and key, so that remembered tokens stay valid."""
    pem = public_pem(private_key("RS256"))
    (first,), (again,) = public_keys_of_pem(pem), public_keys_of_pem(pem, issuer="x")
    assert first.id == again.id
    public = private_key("RS256").public_key()
    others = {
        public_key(public, source=Source.JWKS_URL).id,
        public_key(public, source=Source.PUBLIC_KEY, kid="a").id,
        public_key(public, source=Source.PUBLIC_KEY, only="RS256").id,
        public_key(private_key("RS256", 1).public_key(), source=Source.PUBLIC_KEY).id,
    }
    assert len(others | {first.id}) == 5


def test_a_file_may_have_several_keys() -> None:
    """All of them verify."""
    keys = [private_key("RS256"), private_key("ES256")]
    text = "a comment\n" + "\n".join(map(public_pem, keys))
    checked = verifier(keys=ring_of(*public_keys_of_pem(text)))
    for key, algorithm in zip(keys, ("PS256", "ES256"), strict=True):
        assert checked.verify(signed(key, algorithm)).user_id == "123"


def private_pem(key: PrivateKey) -> str:
    """Return the private key as PEM text."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def pem_of(key: object) -> str:
    """Return the PEM text of any public key."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "it has no public key: PEM text"),
        ("ssh-ed25519 AAAA", "it has no public key"),
        (SECRET, "it has no public key"),
        ("-----BEGIN PUBLIC KEY-----\nrubbish\n-----END PUBLIC KEY-----", "not a public key that OpenSSL can read"),
        ("PRIVATE", "openssl pkey -in KEY -pubout"),
        ("WEAK", "an RSA key has 2048 to 8192 bits, this one has 1024"),
        ("EXPONENT", "the public exponent"),
        ("CURVE", "P-256, P-384 or P-521, this one has secp256k1"),
        ("ED448", "a key is RSA, EC"),
    ],
)
def test_what_is_not_a_usable_public_key_is_refused_in_words(text: str, words: str) -> None:
    """The error says what to write instead, and contains no key."""
    made = {
        "PRIVATE": lambda: private_pem(private_key("ES256")),
        "WEAK": lambda: pem_of(rsa.generate_private_key(65_537, 1_024).public_key()),
        "EXPONENT": lambda: pem_of(
            rsa.RSAPublicNumbers(2**40 + 1, private_key("RS256").public_key().public_numbers().n).public_key()  # type: ignore[union-attr]
        ),
        "CURVE": lambda: pem_of(ec.generate_private_key(ec.SECP256K1()).public_key()),
        "ED448": lambda: pem_of(ed448.Ed448PrivateKey.generate().public_key()),
    }
    given = made[text]() if text in made else text
    with pytest.raises(ValueError, match=words.replace("(", r"\(")):
        public_keys_of_pem(given)


def test_a_certificate_is_refused_with_the_command_that_makes_its_key(tmp_path: Path) -> None:
    """Keycloak shows one beside each key; the command works."""
    certificate = Authority(tmp_path).sign("site").certificate
    with pytest.raises(ValueError, match="openssl x509 -in CERTIFICATE -noout -pubkey"):
        public_keys_of_pem(certificate.read_text())
    command = ["openssl", "x509", "-in", str(certificate), "-noout", "-pubkey"]
    pem = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert len(public_keys_of_pem(pem)) == 1
