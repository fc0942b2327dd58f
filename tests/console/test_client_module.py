"""The client module and the scripts of the console: types checked by tsc, behaviour by Node's test runner."""

import gzip
import re
import socket
import time
from pathlib import Path

import pytest

from tests.support.consoles import notify
from tests.support.gateways import token
from tests.support.node_clients import node_client
from tests.support.npm import npm as npm_with_packages
from tests.support.npm import run
from tests.support.paths import CHECKOUT
from tests.support.programs import free_port, hermes, metric, needs, wait_until

CLIENT = CHECKOUT / "static" / "hermes-client.js"
GZIPPED_MAX_BYTES = 7_680


def test_the_client_behaves() -> None:
    """The tests in tests/js pass."""
    run(needs("node"), "--test")


@pytest.fixture(scope="module", name="npm")
def installed_npm() -> str:
    """The npm command, with the pinned packages installed."""
    return npm_with_packages()


def test_the_types_hold(npm: str) -> None:
    """By tsc --checkJs --strict of a pinned TypeScript, including the keys of the console's texts."""
    run(npm, "run", "--silent", "types")


@pytest.mark.slow
def test_the_declarations_are_those_of_the_code(npm: str, tmp_path: Path) -> None:
    """The committed file equals a newly generated one."""
    made = tmp_path / "hermes-client.d.ts"
    run(npm, "run", "--silent", "declarations", str(made))
    assert made.read_text() == CLIENT.with_suffix(".d.ts").read_text(), "run npm run declarations in tests/js"


def test_a_program_in_typescript_compiles_against_the_declarations(npm: str) -> None:
    """A program that subscribes to an unknown event does not compile."""
    assert npm
    checks = "--ignoreConfig --noEmit --strict --skipDefaultLibCheck"
    modules = "--target ES2022 --module ES2022 --moduleResolution bundler"
    run("node_modules/typescript/bin/tsc", *checks.split(), *modules.split(), "--lib", "ES2022,DOM", "consumer.ts")


def test_the_client_is_small() -> None:
    """Compressed, as browsers load it."""
    assert len(gzip.compress(CLIENT.read_bytes(), 9)) <= GZIPPED_MAX_BYTES


def test_the_client_needs_no_other_module() -> None:
    """So that an application can copy one file."""
    assert re.findall(r"^\s*(?:import|export .* from)\b.*", CLIENT.read_text(), re.MULTILINE) == []


def test_the_client_works_in_node_with_a_real_server(npm: str, tmp_path: Path) -> None:
    """It acknowledges a notification, refreshes its token on the open socket, and ends refused after an expired one."""
    assert npm
    arguments = ("serve", "--dev", "--port", "0", "--mqtt-url", "off", "--inbox", "off")
    with hermes(*arguments, XDG_STATE_HOME=str(tmp_path)) as program:
        program.wait_for("Ctrl-C stops it")
        secret = (tmp_path / "hermes" / "jwt-secret").read_text().strip()
        now_s = int(time.time())
        tokens = [token(secret=secret, exp=now_s + life_s) for life_s in (3_600, 3_500, -60)]
        url = program.url.replace("http", "ws") + "/ws/notifications"
        with node_client(url, *tokens) as client:
            client.wait_for("token-request", "first")
            client.wait_for("rtt")
            notify(program, id="n1")
            assert client.wait_for("notification")["id"] == "n1"
            client.acknowledge("n1")
            client.wait_for("acked-here", True)
            wait_until(lambda: metric(program, 'hermes_client_frames_total{action="ack"}') == 1)
            client.begin_refresh()
            client.wait_for("token-request", "expiring")
            assert client.wait_for("refreshed") == {"expires": (now_s + 3_500) * 1_000}
            assert metric(program, 'hermes_sockets_open{route="/ws/notifications"}') == 1
            client.begin_refresh()
            client.wait_for("token-request", "expiring")  # gets one that has expired
            client.wait_for("token-request", "expired")
            client.wait_for("state", "refused")


def test_the_client_in_node_waits_for_a_server_that_is_down(npm: str) -> None:
    """The package ws throws unhandled errors: a refused connection or an aborted handshake must not end the process."""
    assert npm
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and does not answer
        for port, state in ((free_port(), "waiting"), (silent.getsockname()[1], "connecting")):
            with node_client(f"ws://127.0.0.1:{port}/ws/notifications", "a.b.c") as client:
                client.wait_for("state", state)
