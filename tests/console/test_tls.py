"""The console of a Hermes with TLS: https, and sockets over wss."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from tests.support.certificates import LOOPBACK, Authority
from tests.support.consoles import PROFILE, TIMEOUT_MS
from tests.support.programs import Program, hermes

pytestmark = pytest.mark.browser


@pytest.fixture
def encrypted(tmp_path: Path) -> Iterator[Program]:
    """A Hermes in --dev with TLS alone and without MQTT."""
    signed = Authority(tmp_path).sign("gateway", LOOPBACK)
    flags = ("--tls-cert", str(signed.certificate), "--tls-key", str(signed.key), "--mqtt-url", "off")
    with hermes("serve", "--dev", "--port", "0", *flags, XDG_STATE_HOME=str(tmp_path)) as program:
        yield program


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser profile that accepts the certificate of the test."""
    made = browser.new_context(**PROFILE, ignore_https_errors=True)
    made.set_default_timeout(TIMEOUT_MS)
    yield made
    made.close()


@pytest.mark.smoke
def test_the_console_opens_its_sockets_over_tls(context: BrowserContext, encrypted: Program) -> None:
    """Those that need no device, and a close frame of Hermes arrives with its reason."""
    url = encrypted.wait_for(r"https://\S+:\d+")[0]
    page = context.new_page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{url}/#connect")
    for name in ("notifications", "tenant", "combined"):
        expect(page.locator(f"[data-socket={name}] .tries")).to_have_text("1")
        expect(page.locator(f"[data-socket={name}] .rtt")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    assert {socket.partition("://")[0] for socket in sockets} == {"wss"}
    closed = page.evaluate(
        """async (url) => new Promise((resolve) => {
            const socket = new WebSocket(url);
            socket.onclose = ({ code, reason, wasClean }) => resolve([code, reason.split(';')[0], wasClean]);
        })""",
        f"{url.replace('https', 'wss')}/ws?token=no-token",
    )
    assert closed == [1008, "token_invalid", True]
