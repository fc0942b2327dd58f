"""The client module and the scripts of the console: types checked by tsc, behaviour by Node's test runner."""

import gzip
import json
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import jwt
import pytest

from tests.support.consoles import metric, notify
from tests.support.gateways import token
from tests.support.npm import FOLDER, run
from tests.support.npm import npm as npm_with_packages
from tests.support.paths import CHECKOUT
from tests.support.programs import free_port, hermes, needs, wait_until

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
    run("node_modules/.bin/tsc", *checks.split(), *modules.split(), "--lib", "ES2022,DOM", "consumer.ts")


def test_the_client_is_small() -> None:
    """Compressed, as browsers load it."""
    assert len(gzip.compress(CLIENT.read_bytes(), 9)) <= GZIPPED_MAX_BYTES


def test_the_client_needs_no_other_module() -> None:
    """So that an application can copy one file."""
    assert re.findall(r"^\s*(?:import|export .* from)\b.*", CLIENT.read_text(), re.MULTILINE) == []


class NodeClient:
    """The client in Node, tests/js/node-client.mjs."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def wait_for(self, event: str, detail: object = ...) -> object:
        """Wait for an event and return its detail; earlier events are skipped."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            received = json.loads(line)
            if received["event"] == event and detail in (..., received.get("detail")):
                return received.get("detail")
        raise AssertionError(f"the client ended without {event} {detail}")

    def acknowledge(self, notification_id: str) -> None:
        """Let the client acknowledge this notification."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{notification_id}\n")
        self.process.stdin.flush()


def test_the_client_works_in_node_with_a_real_server(npm: str, tmp_path: Path) -> None:
    """It acknowledges a notification, refreshes its token on the open socket, and ends in the state refused."""
    assert npm
    arguments = ("serve", "--dev", "--port", "0", "--mqtt-url", "off", "--inbox", "off")
    with hermes(*arguments, XDG_STATE_HOME=str(tmp_path)) as program:
        program.wait_for("Ctrl-C stops it")
        secret = (tmp_path / "hermes" / "jwt-secret").read_text().strip()
        tokens = [token(secret=secret, exp=int(time.time()) + life_s) for life_s in (4, 7)]
        url = program.url.replace("http", "ws") + "/ws/notifications"
        command = [needs("node"), "node-client.mjs", url, *tokens]
        process = subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        with process:
            client = NodeClient(process)
            client.wait_for("token-request", "first")
            client.wait_for("rtt")
            notify(program, id="n1")
            notification = client.wait_for("notification")
            assert isinstance(notification, dict)
            assert notification["id"] == "n1"
            client.acknowledge("n1")
            client.wait_for("acked-here", True)
            wait_until(lambda: metric(program, 'hermes_client_frames_total{action="ack"}') == 1)
            client.wait_for("token-request", "expiring")
            assert client.wait_for("refreshed") == {"expires": int(_exp(tokens[1]) * 1_000)}
            assert metric(program, 'hermes_sockets_open{route="/ws/notifications"}') == 1
            client.wait_for("token-request", "expiring")
            client.wait_for("token-request", "expired")
            client.wait_for("state", "refused")
            process.terminate()
        watchdog.cancel()


def test_the_client_in_node_waits_for_a_server_that_is_down(npm: str) -> None:
    """The package ws throws unhandled errors: a refused connection or an aborted handshake must not end the process."""
    assert npm
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and does not answer
        for port, state in ((free_port(), "waiting"), (silent.getsockname()[1], "connecting")):
            command = [needs("node"), "node-client.mjs", f"ws://127.0.0.1:{port}/ws/notifications", "a.b.c"]
            process = subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            watchdog = threading.Timer(30, process.kill)
            watchdog.start()
            with process:
                NodeClient(process).wait_for("state", state)
                assert process.stdin is not None
                process.stdin.close()  # closes the client and ends the process
                assert process.wait() == 0
            watchdog.cancel()


def _exp(text: str) -> float:
    claims = jwt.decode(text, options={"verify_signature": False})
    return float(claims["exp"])
