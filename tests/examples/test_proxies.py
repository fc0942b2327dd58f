"""The configurations for nginx, Caddy, HAProxy and Apache, run by the real programs.

They are those of examples/, and those of the guide for a Hermes below a prefix.
"""

import asyncio
import contextlib
import http.client
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from hermes.testing import ClientSocket
from tests.support.certificates import LOOPBACK, Authority, Signed
from tests.support.consoles import SOCKETS, Console, chromium
from tests.support.gateways import KEY, SECRET, TIMEOUT_S, token
from tests.support.page_commands import blocks
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, accepts, free_port, hermes, needs, wait_until

EXAMPLES = CHECKOUT / "examples"
GUIDE = CHECKOUT / "docs" / "guide" / "reverse-proxy.md"
PREFIX = "/hermes"
ELSEWHERE = "127.0.0.9"  # a client with an address other than the proxy's
NGINX = """\
daemon off;
user root;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/hermes.conf;
}}
"""


APACHE = """\
ServerRoot {folder}
ServerName localhost
User nobody
Group nogroup
PidFile {folder}/apache.pid
Mutex file:{folder}
ErrorLog {folder}/start.log
Listen 127.0.0.1:{http}
Listen 127.0.0.1:{https}
Include {folder}/hermes.conf
"""
APACHE_MODULES = (
    *("mpm_event", "authz_core", "ssl", "socache_shmcb", "headers", "rewrite", "alias"),
    *("proxy", "proxy_http", "proxy_wstunnel"),
)


@dataclass
class Site:
    """A Hermes, and a proxy in front of it."""

    gateway: Program
    proxy: Program
    folder: Path
    ports: dict[str, int]
    authority: Authority
    prefix: str

    @property
    def origin(self) -> str:
        """The origin of its pages, ``https://127.0.0.1:PORT``."""
        return f"https://127.0.0.1:{self.ports['https']}"

    @property
    def url(self) -> str:
        """The address of the console without the slash at its end."""
        return self.origin + self.prefix

    @property
    def tls(self) -> ssl.SSLContext:
        """What a client trusts."""
        return ssl.create_default_context(cafile=str(self.authority.certificate))

    def fetch(self, path: str, body: object = None, **headers: str) -> bytes:
        """Return the body of a response with status 200; with ``body`` the request is a POST of JSON."""
        data = None if body is None else json.dumps(body).encode()
        given = {"Content-Type": "application/json"} | {name.replace("_", "-"): text for name, text in headers.items()}
        request = urllib.request.Request(self.url + path, data, given)
        with urllib.request.urlopen(request, context=self.tls, timeout=TIMEOUT_S) as response:
            content: bytes = response.read()
        return content

    def shake_hands(self, path: str, **headers: str) -> int:
        """Send the handshake of a WebSocket from another address; return the status of the response."""
        connection = http.client.HTTPSConnection(
            "127.0.0.1", self.ports["https"], timeout=TIMEOUT_S, source_address=(ELSEWHERE, 0), context=self.tls
        )
        given = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        with contextlib.closing(connection):
            more = {name.replace("_", "-"): text for name, text in headers.items()}
            connection.request("GET", self.prefix + path, headers=given | more)
            return connection.getresponse().status

    async def receive(self, **notification: str) -> dict[str, object]:
        """Open a socket as a page of the proxy's address does, send a notification and return the frame."""
        request = HTTPRequest(
            f"{self.url.replace('https', 'wss')}/ws/notifications",
            headers={"Origin": self.origin, "Sec-WebSocket-Protocol": f"hermes.v1, {token()}"},
            ssl_options=self.tls,
        )
        socket = ClientSocket(await websocket_connect(request))
        answer = await asyncio.to_thread(self.fetch, "/notify", notification, X_API_Key=KEY)
        assert json.loads(answer)["sent"] is True
        frame = await socket.receive()
        await socket.close()
        return frame


def changed(text: str, replacements: dict[str, str]) -> str:
    """Return the text of an example with other ports and paths, each of which it must contain."""
    for old, new in replacements.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


def below_prefix(name: str) -> str:
    """Return the lines of the guide for this proxy below a prefix."""
    section = [text for _, text in blocks(GUIDE, "Below a prefix")]
    return section[("nginx", "caddy", "haproxy", "apache").index(name)]


def nginx(folder: Path, ports: dict[str, int], signed: Signed, *, prefix: str = "") -> list[str]:
    """Write the configuration of nginx; return the command."""
    name = "hermes-prefix.conf" if prefix else "hermes.conf"
    text = (EXAMPLES / "nginx" / name).read_text()
    if prefix:
        for line in below_prefix("nginx").splitlines():
            assert line.split(";")[0].strip() in text, "the guide has other lines"
    else:
        text = changed(text, {"listen 80;": f"listen 127.0.0.1:{ports['http']};"})
    replacements = {
        "listen 443 ssl;": f"listen 127.0.0.1:{ports['https']} ssl;",
        "127.0.0.1:8080": f"127.0.0.1:{ports['hermes']}",
        "/etc/nginx/hermes.pem": str(signed.certificate),
        "/etc/nginx/hermes.key": str(signed.key),
        "/var/log/nginx": str(folder),
    }
    (folder / "hermes.conf").write_text(changed(text, replacements))
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder))
    return [needs("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, ports: dict[str, int], signed: Signed, *, prefix: str = "") -> list[str]:
    """Write the configuration of Caddy; return the command."""
    text = (EXAMPLES / "caddy/Caddyfile").read_text()
    if prefix:
        site, _, _ = text.partition("\t# Caddy sends")
        text = f"{site}{below_prefix('caddy')}}}\n"
    replacements = {
        "{\n\t# errors": f"{{\n\tadmin off\n\tdefault_bind 127.0.0.1\n\thttp_port {ports['http']}\n\t# errors",
        "https://hermes.example.com": f"https://127.0.0.1:{ports['https']}",
        "127.0.0.1:8080": f"127.0.0.1:{ports['hermes']}",
        "/etc/caddy/hermes.pem": str(signed.certificate),
        "/etc/caddy/hermes.key": str(signed.key),
    }
    (folder / "Caddyfile").write_text(changed(text, replacements))
    return [needs("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]


def haproxy(folder: Path, ports: dict[str, int], signed: Signed, *, prefix: str = "") -> list[str]:
    """Write the configuration of HAProxy; return the command."""
    text = (EXAMPLES / "haproxy/haproxy.cfg").read_text()
    if prefix:
        front, _, back = below_prefix("haproxy").partition("\n\n")
        text = changed(text, {"    default_backend hermes\n": f"{front}\n    default_backend hermes\n"}) + back
    bundle = folder / "bundle.pem"
    bundle.write_bytes(signed.certificate.read_bytes() + signed.key.read_bytes())
    replacements = {
        "log /dev/log local0": "log stdout format raw local0",
        "    user haproxy\n    group haproxy\n": "",
        "bind :80\n": f"bind 127.0.0.1:{ports['http']}\n",
        "bind :443 ssl": f"bind 127.0.0.1:{ports['https']} ssl",
        "127.0.0.1:8080": f"127.0.0.1:{ports['hermes']}",
        "/etc/haproxy/hermes.pem": str(bundle),
    }
    (folder / "haproxy.cfg").write_text(changed(text, replacements))
    return [needs("haproxy"), "-db", "-f", str(folder / "haproxy.cfg")]


def apache(folder: Path, ports: dict[str, int], signed: Signed, *, prefix: str = "") -> list[str]:
    """Write the configuration of Apache; return the command."""
    program = needs("apache2")
    text = (EXAMPLES / "apache/hermes.conf").read_text()
    if prefix:
        site, _, _ = text.partition("    # WebSockets, then")
        text = f"{site}    RewriteEngine on\n{below_prefix('apache')}</VirtualHost>\n"
    replacements = {
        "*:80>": f"127.0.0.1:{ports['http']}>",
        "*:443>": f"127.0.0.1:{ports['https']}>",
        "127.0.0.1:8080": f"127.0.0.1:{ports['hermes']}",
        "/etc/apache2/hermes.pem": str(signed.certificate),
        "/etc/apache2/hermes.key": str(signed.key),
        "/var/log/apache2": str(folder),
    }
    (folder / "hermes.conf").write_text(changed(text, replacements))
    modules = [f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so" for name in APACHE_MODULES]
    start = APACHE.format(folder=folder, http=ports["http"], https=ports["https"])
    (folder / "apache.conf").write_text("\n".join([*modules, start]))
    return [program, "-D", "FOREGROUND", "-f", str(folder / "apache.conf")]


COMMANDS = {"nginx": nginx, "caddy": caddy, "haproxy": haproxy, "apache": apache}
PROXIES = ["nginx", *(pytest.param(name, marks=pytest.mark.slow) for name in COMMANDS if name != "nginx")]


@contextlib.contextmanager
def running(name: str, folder: Path, prefix: str = "") -> Iterator[Site]:
    """Run Hermes and this proxy with its example; only the proxy's own address is trusted."""
    (folder / "api-keys").write_text(f"{KEY}\n")
    ports = {port: free_port() for port in ("http", "https", "hermes")}
    authority = Authority(folder)
    command = COMMANDS[name](folder, ports, authority.sign("proxy", LOOPBACK), prefix=prefix)
    words = ("serve", "--port", str(ports["hermes"]), "--mqtt-url", "off", "--trusted-proxy", "127.0.0.1")
    with hermes(*words, "--api-key-file", str(folder / "api-keys"), HERMES_JWT_SECRET=SECRET) as gateway:
        wait_until(lambda: accepts(ports["hermes"]))
        proxy = Program(command[1:], {"HOME": str(folder)}, launcher=(command[0],))
        site = Site(gateway, proxy, folder, ports, authority, prefix)
        try:
            wait_until(lambda: reachable(site), why=f"no answer: {proxy.output} {proxy.errors}")
            yield site
        finally:
            proxy.end()


def reachable(site: Site) -> bool:
    """Whether the proxy has found Hermes."""
    try:
        return site.fetch("/health") != b""
    except urllib.error.URLError:
        return False


@pytest.fixture(scope="module", params=PROXIES)
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A site with each of the proxies, for all tests that do not stop it."""
    with running(request.param, tmp_path_factory.mktemp(request.param)) as here:
        yield here


@pytest.fixture(scope="module", params=PROXIES)
def below(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same with Hermes below a prefix, by the lines of the guide."""
    with running(request.param, tmp_path_factory.mktemp(request.param), PREFIX) as here:
        yield here


def test_hermes_works_below_a_prefix(below: Site) -> None:
    """Page, files and a socket; the address without the slash is redirected."""
    assert b"<html" in below.fetch("/")
    assert b"<html" in below.fetch("")
    assert below.fetch("/static/hermes-client.js") == (CHECKOUT / "static/hermes-client.js").read_bytes()
    frame = asyncio.run(below.receive(user_id="123", title="New alert", message="Sensor X is hot"))
    assert frame["title"] == "New alert"
    path = f"/ws/device/hall%2Flamp?token={token(tenant_id='acme')}"
    assert below.shake_hands(path, Origin=below.origin) == 101
    assert below.shake_hands(path, Origin="https://127.0.0.1") == 403


def test_the_check_finds_the_console_and_a_socket(site: Site) -> None:
    """At the address that browsers open."""
    check(site)


def test_the_check_finds_them_below_a_prefix(below: Site) -> None:
    """At the address with the prefix."""
    check(below)


def check(site: Site) -> None:
    """Run `hermes check --site` as a user does who trusts the CA of the certificate."""
    words = ("check", "--port", "0", "--mqtt-url", "off", "--site", f"{site.url}/")
    trusted = str(site.authority.certificate)
    with hermes(*words, HERMES_JWT_SECRET=SECRET, SSL_CERT_FILE=trusted) as program:
        program.wait_for("ready to serve")
        assert f"ok      {site.url}/ is the console\n" in program.output
        assert any(line.startswith(f"ok      a page of {site.origin} can open sockets") for line in program.output)


def test_the_page_loads(site: Site) -> None:
    """With its files."""
    assert b"<html" in site.fetch("/")
    assert site.fetch("/static/hermes-client.js") == (CHECKOUT / "static/hermes-client.js").read_bytes()


def test_a_socket_of_the_proxys_own_address_receives_a_notification(site: Site) -> None:
    """The Origin has the proxy's port, and `/notify` is called through the proxy with a key."""
    frame = asyncio.run(site.receive(user_id="123", title="New alert", message="Sensor X is hot"))
    assert frame["title"] == "New alert"


def test_another_origin_is_refused(site: Site) -> None:
    """Also the same host with another port."""
    path = f"/ws/notifications?token={token()}"
    assert site.shake_hands(path, Origin=site.origin) == 101
    assert site.shake_hands(path, Origin="https://127.0.0.1") == 403
    assert site.shake_hands(path, Origin="https://elsewhere.example") == 403


def test_notify_needs_a_key(site: Site) -> None:
    """The proxy's loopback address gives no right."""
    with pytest.raises(urllib.error.HTTPError, match="401"):
        site.fetch("/notify", {"user_id": "123", "title": "New alert", "message": "Sensor X is hot"})


def test_hermes_gets_the_address_of_the_client(site: Site) -> None:
    """By X-Forwarded-For, in which the client cannot write another one."""
    assert site.shake_hands("/ws/notifications?token=wrong", X_Forwarded_For="203.0.113.7") == 101
    line = site.gateway.wait_for(r"rejected from (\S+): token_invalid")
    assert line[1] == ELSEWHERE


def test_http_is_redirected_to_https(site: Site) -> None:
    """Permanently."""
    connection = http.client.HTTPConnection("127.0.0.1", site.ports["http"], timeout=TIMEOUT_S)
    with contextlib.closing(connection):
        connection.request("GET", "/?page=1")
        response = connection.getresponse()
        assert response.status in (301, 308)
        assert str(response.getheader("Location")).startswith("https://127.0.0.1")


@pytest.mark.parametrize("name", PROXIES)
def test_the_log_of_the_proxy_contains_no_token(name: str, tmp_path: Path) -> None:
    """Neither of a socket nor of a request that Hermes does not answer."""
    with running(name, tmp_path) as site:
        path = f"/ws/notifications?token={token()}"
        assert site.shake_hands(path, Origin=site.origin) == 101
        site.gateway.end()
        assert site.shake_hands(path, Origin=site.origin) in (502, 503)
        wait_until(lambda: "/ws/notifications" in log(site))
        assert token() not in log(site)


def log(site: Site) -> str:
    """Return all that the proxy has logged."""
    files = [path.read_text() for path in site.folder.glob("*.log")]
    return "".join([*files, *site.proxy.output, *site.proxy.errors])


@pytest.mark.browser
def test_the_console_opens_its_sockets_through_the_proxy(site: Site) -> None:
    """All four, in Chromium."""
    with chromium() as browser, contextlib.closing(browser.new_context(ignore_https_errors=True)) as context:
        console = Console(context.new_page(), f"{site.url}/")
        console.watch()
        console.open("connect")
        console.page.fill("[data-socket=tenant] input", "acme")
        console.page.fill("[data-socket=device] input", "d1")
        console.page.fill("#token-value", token(tenant_id="acme"))
        console.page.get_by_role("button", name="Connect all", exact=True).click()
        for name in SOCKETS:
            console.card(name).expect_state("open")
        assert console.unexpected == []
