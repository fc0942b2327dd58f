"""An identity provider for tests: discovery, keys, login and tokens as Keycloak 26 has them, on a free port.

`Issuer.behave` makes it answer as a broken or hostile one does.
"""

import base64
import contextlib
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

REALM = "/realms/site"
CERTS = f"{REALM}/protocol/openid-connect/certs"
DISCOVERY = f"{REALM}/.well-known/openid-configuration"
CLIENT_ID = "hermes-console"
AUDIENCE = "hermes"

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

CURVES: dict[str, Callable[[], ec.EllipticCurve]] = {
    "ES256": ec.SECP256R1,
    "ES384": ec.SECP384R1,
    "ES512": ec.SECP521R1,
}


@cache
def private_key(algorithm: str, number: int = 0, bits: int = 2_048) -> PrivateKey:
    """Return one of several keys for an algorithm; RSA keys take a tenth of a second to make."""
    if algorithm in CURVES:
        return ec.generate_private_key(CURVES[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65_537, bits)


def public_pem(key: PrivateKey) -> str:
    """Return the public key as PEM text."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwk(key: PrivateKey, **members: object) -> dict[str, Any]:
    """Return the public key as a JWK, with more members."""
    public = key.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        value = RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        value = ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        value = OKPAlgorithm.to_jwk(public, as_dict=True)
    value.pop("key_ops", None)
    return value | members


def signed(key: PrivateKey, algorithm: str, *, kid: str | None = None, **claims: object) -> str:
    """Return a token; a claim of None is left out."""
    given = {"user_id": "123", "username": "ana"} | claims
    headers = {"typ": "JWT"} if kid is None else {"typ": "JWT", "kid": kid}
    payload = json.dumps({name: value for name, value in given.items() if value is not None}).encode()
    return jwt.api_jws.encode(payload, key, algorithm, headers)


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Issuer:
    """A running issuer, with the keys that it publishes."""

    port: int
    algorithm: str = "RS256"
    kids: list[str] = field(default_factory=lambda: ["first"])
    requests: list[str] = field(default_factory=list)
    answers: dict[str, Answer] = field(default_factory=dict)
    arrived: threading.Condition = field(default_factory=threading.Condition)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_tokens: set[str] = field(default_factory=set)
    token_lifetime_s: float = 300.0
    user_claims: dict[str, object] = field(default_factory=dict)
    scheme: str = "http"
    signed_in: bool = False  # whether the browser has a session
    change_answer: Callable[[str], str] = field(default=lambda back: back)

    @property
    def origin(self) -> str:
        """Its address."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The issuer, as in tokens."""
        return self.origin + REALM

    @property
    def jwks_url(self) -> str:
        """The address of its keys."""
        return self.origin + CERTS

    def key(self, kid: str) -> PrivateKey:
        """Return the key of this name."""
        return private_key(self.algorithm, hash(kid) % 1_000)

    def token(self, kid: str | None = None, *, named: str | None = None, **claims: object) -> str:
        """Return an access token with the claims of Keycloak, signed with the newest key; it may name another one."""
        kid = self.kids[-1] if kid is None else kid
        now_s = int(time.time())
        given = {
            "exp": now_s + int(self.token_lifetime_s),
            "iat": now_s,
            "jti": f"onrtac:{secrets.token_hex(8)}",
            "iss": self.url,
            "aud": AUDIENCE,
            "typ": "Bearer",
            "azp": CLIENT_ID,
            "sub": "f3c5c9e2-8e5c-4f5e-9d3b-0a1b2c3d4e5f",
            "realm_access": {"roles": ["offline_access", "hermes-admin"]},
            "tenant_id": "acme",
            "preferred_username": "ana",
        }
        merged = given | self.user_claims | claims
        return signed(self.key(kid), self.algorithm, kid=named or kid, **({"user_id": None, "username": None} | merged))

    def rotate(self, kid: str, *, keep: int = 1) -> None:
        """Sign with a new key, and publish it beside the last ``keep`` ones."""
        self.kids = [*self.kids[len(self.kids) - keep :], kid] if keep else [kid]

    def key_set(self) -> dict[str, Any]:
        """Return its key set; Keycloak lists a key for encryption first."""
        encryption = jwk(private_key("RS256", -1), kid="encryption", alg="RSA-OAEP", use="enc")
        own = [jwk(self.key(kid), kid=kid, alg=self.algorithm, use="sig", x5t="x") for kid in self.kids]
        return {"keys": [encryption, *own]}

    def behave(self, path: str, answer: Answer | None) -> None:
        """Answer requests for this path in another way; None for the right way."""
        if answer is None:
            self.answers.pop(path, None)
        else:
            self.answers[path] = answer

    def reset(self) -> None:
        """Forget what a test did and asked for; the issuer has the same address and first key as before."""
        vars(self).update(vars(Issuer(self.port, self.algorithm, scheme=self.scheme)))

    def count(self, path: str) -> int:
        """Return how many requests came for a path."""
        return self.requests.count(path)

    def wait_for_requests(self, path: str, number: int, timeout_s: float = 60.0) -> None:
        """Wait until this number of requests came for a path."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.count(path) >= number, timeout_s), self.requests


def json_answer(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    """Return an answer with this JSON, or these bytes."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        request.send_response(status)
        for name, text in (headers or {}).items():
            request.send_header(name, text)
        request.send_header("Content-Type", "application/json")
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def redirect(location: str) -> Answer:
    """Return an answer that sends the client elsewhere."""
    return json_answer({}, 302, {"Location": location})


@contextlib.contextmanager
def running_issuer(*, algorithm: str = "RS256", port: int = 0, tls: ssl.SSLContext | None = None) -> Iterator[Issuer]:
    """Run an issuer in a thread."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    server.daemon_threads = True
    server.block_on_close = False
    issuer = Issuer(server.server_address[1], algorithm, scheme="http" if tls is None else "https")
    server.issuer = issuer  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="test-issuer")
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answer one request."""

    @property
    def issuer(self) -> Issuer:
        """The issuer that is asked."""
        found = self.server.issuer  # type: ignore[attr-defined]
        assert isinstance(found, Issuer)
        return found

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing."""

    def do_GET(self) -> None:
        """Answer as `Issuer.behave` says, else as Keycloak."""
        path = urlsplit(self.path).path
        with self.issuer.arrived:
            self.issuer.requests.append(path)
            self.issuer.arrived.notify_all()
        with contextlib.suppress(OSError):  # the client may be gone
            if path in self.issuer.answers:
                self.issuer.answers[path](self)
            else:
                self._routes().get(path, json_answer({"error": "not found"}, 404))(self)

    def do_POST(self) -> None:
        """Answer as to a GET."""
        self.do_GET()

    def do_OPTIONS(self) -> None:
        """Answer as to a GET."""
        self.do_GET()

    def _routes(self) -> Mapping[str, Answer]:
        issuer, protocol = self.issuer, f"{REALM}/protocol/openid-connect"
        discovery = {
            "issuer": issuer.url,
            "authorization_endpoint": f"{issuer.origin}{protocol}/auth",
            "token_endpoint": f"{issuer.origin}{protocol}/token",
            "end_session_endpoint": f"{issuer.origin}{protocol}/logout",
            "jwks_uri": issuer.jwks_url,
            "code_challenge_methods_supported": ["plain", "S256"],
        }
        return {
            DISCOVERY: json_answer(discovery),
            CERTS: json_answer(issuer.key_set()),
            f"{protocol}/auth": _authorize,
            f"{protocol}/token": _exchange,
            f"{protocol}/logout": _log_out,
        }


def _issuer_of(request: BaseHTTPRequestHandler) -> Issuer:
    assert isinstance(request, _Handler)
    return request.issuer


def _authorize(request: BaseHTTPRequestHandler) -> None:
    """Show a login form; after it, send the browser back with a code."""
    query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
    fault = None
    if query.get("client_id") != CLIENT_ID or query.get("response_type") != "code":
        fault = "client_id or response_type"
    if query.get("code_challenge_method") != "S256" or not query.get("code_challenge") or not query.get("state"):
        fault = "PKCE or state"
    if fault is not None:
        json_answer({"error": fault}, 400)(request)
        return
    issuer = _issuer_of(request)
    silent = query.get("prompt") == "none"
    if request.command == "GET" and not silent and not issuer.signed_in:
        _page(request, '<form method="post"><button id="kc-login">Sign in</button></form>')
        return
    answer = {"state": query["state"], "iss": issuer.url}
    if silent and not issuer.signed_in:
        answer["error"] = "login_required"
    else:
        issuer.signed_in = True
        answer |= {"session_state": "s", "code": secrets.token_urlsafe(16)}
        issuer.codes[answer["code"]] = query
    sign = "#" if query.get("response_mode") == "fragment" else "?"
    redirect(f"{query['redirect_uri']}{sign}{issuer.change_answer(urlencode(answer))}")(request)


def _page(request: BaseHTTPRequestHandler, html: str) -> None:
    body = f"<!doctype html><title>Sign in</title>{html}".encode()
    request.send_response(200)
    request.send_header("Content-Type", "text/html")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _exchange(request: BaseHTTPRequestHandler) -> None:
    """Exchange a code or a refresh token for tokens."""
    issuer = _issuer_of(request)
    allowed = {"Access-Control-Allow-Origin": request.headers.get("Origin", "*"), "Cache-Control": "no-store"}
    form = {}
    if request.command == "POST":
        size = int(request.headers.get("Content-Length", "0"))
        form = {name: values[0] for name, values in parse_qs(request.rfile.read(size).decode()).items()}
    if form.get("client_id") != CLIENT_ID or not _is_granted(issuer, form):
        json_answer({"error": "invalid_grant", "error_description": "Code not valid"}, 400, allowed)(request)
        return
    refresh_token = secrets.token_urlsafe(16)
    issuer.refresh_tokens.add(refresh_token)
    tokens = {
        "access_token": issuer.token(),
        "expires_in": issuer.token_lifetime_s,
        "refresh_token": refresh_token,
        "refresh_expires_in": 1_800,
        "token_type": "Bearer",
        "id_token": issuer.token(typ="ID", aud=CLIENT_ID),
        "scope": "openid",
    }
    json_answer(tokens, 200, allowed)(request)


def _is_granted(issuer: Issuer, form: Mapping[str, str]) -> bool:
    """Return whether a code with its verifier (RFC 7636 §4.6) or a refresh token is valid; both are for one use."""
    if form.get("grant_type") == "refresh_token":
        token = form.get("refresh_token", "")
        known = token in issuer.refresh_tokens
        issuer.refresh_tokens.discard(token)
        return known
    query = issuer.codes.pop(form.get("code", ""), None)
    if query is None or query["redirect_uri"] != form.get("redirect_uri"):
        return False
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == query["code_challenge"]


def _log_out(request: BaseHTTPRequestHandler) -> None:
    query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
    issuer = _issuer_of(request)
    issuer.signed_in = False
    issuer.refresh_tokens.clear()
    redirect(query["post_logout_redirect_uri"])(request)
