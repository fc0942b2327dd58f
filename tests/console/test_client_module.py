"""The client module and the console's scripts: their types by tsc, the client's behaviour by Node's test runner."""

import gzip
import json
import os
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
from tests.support.paths import CHECKOUT
from tests.support.programs import free_port, hermes, needs, wait_until

FOLDER = CHECKOUT / "tests" / "js"
CLIENT = CHECKOUT / "static" / "hermes-client.js"
GZIPPED_MAX_BYTES = 6 * 1024


def run(*command: str, timeout_s: float = 120) -> None:
    """A command in tests/js; its output is shown where it fails."""
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_client_behaves() -> None:
    """Sentence by sentence, in tests/js."""
    run(needs("node"), "--test")


@pytest.fixture(scope="module", name="npm")
def installed_npm() -> str:
    """npm, with the pinned packages installed."""
    npm = needs("npm")
    if not all((FOLDER / "node_modules" / package).is_dir() for package in ("typescript", "ws", "axe-core")):
        done = subprocess.run([npm, "ci", "--silent"], cwd=FOLDER, timeout=300, check=False)
        if done.returncode != 0 and os.environ.get("CI") != "true":
            pytest.skip("npm ci cannot fetch its packages here")
        assert done.returncode == 0
    return npm


def test_the_types_hold(npm: str) -> None:
    """tsc --checkJs --strict, from a pinned TypeScript; the console's strings are checked by their keys."""
    run(npm, "run", "--silent", "types")


def test_the_declarations_are_those_of_the_code(npm: str, tmp_path: Path) -> None:
    """What is committed is what would be made now."""
    made = tmp_path / "hermes-client.d.ts"
    run(npm, "run", "--silent", "declarations", str(made))
    assert made.read_text() == CLIENT.with_suffix(".d.ts").read_text(), "run npm run declarations in tests/js"


def test_a_program_in_typescript_compiles_against_the_declarations(npm: str) -> None:
    """And one that asks for an event that is not there does not."""
    assert npm
    flags = "--noEmit --strict --target ES2022 --module ES2022 --moduleResolution bundler --lib ES2022,DOM"
    run("node_modules/.bin/tsc", *flags.split(), "consumer.ts")


def test_the_client_is_small() -> None:
    """As browsers fetch it."""
    assert len(gzip.compress(CLIENT.read_bytes(), 9)) <= GZIPPED_MAX_BYTES


def test_the_client_needs_no_other_module() -> None:
    """One file to copy."""
    assert re.findall(r"^\s*(?:import|export .* from)\b.*", CLIENT.read_text(), re.MULTILINE) == []


class Talk:
    """The client in Node, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def wait_for(self, what: str, detail: object = ...) -> object:
        """The next such line; what comes before it is passed over."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said["what"] == what and detail in (..., said.get("detail")):
                return said.get("detail")
        raise AssertionError(f"it ended without {what} {detail}")

    def say(self, line: str) -> None:
        """Have this notification acknowledged."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()


def test_in_node_it_speaks_with_a_real_hermes(npm: str, tmp_path: Path) -> None:
    """A notification and its acknowledgement; a token renewed on the open socket in time; refused in the end."""
    assert npm
    words = ("serve", "--dev", "--port", "0", "--mqtt-url", "off")
    with hermes(*words, XDG_STATE_HOME=str(tmp_path)) as program:
        program.wait_for("Ctrl-C stops it")
        secret = (tmp_path / "hermes" / "jwt-secret").read_text().strip()
        tokens = [token(secret=secret, exp=int(time.time()) + life_s) for life_s in (4, 7)]
        url = program.url.replace("http", "ws") + "/ws/notifications"
        command = [needs("node"), "talk.mjs", url, *tokens]
        process = subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        with process:
            talk = Talk(process)
            talk.wait_for("asked", "first")
            talk.wait_for("rtt")
            notify(program, id="n1")
            heard = talk.wait_for("notification")
            assert isinstance(heard, dict)
            assert heard["id"] == "n1"
            talk.say("n1")
            talk.wait_for("acked", True)
            wait_until(lambda: metric(program, 'hermes_client_frames_total{action="ack"}') == 1)
            talk.wait_for("asked", "expiring")
            assert talk.wait_for("refreshed") == {"expires": int(_exp(tokens[1]) * 1_000)}
            assert metric(program, 'hermes_sockets_open{route="/ws/notifications"}') == 1
            talk.wait_for("asked", "expiring")
            talk.wait_for("asked", "expired")
            talk.wait_for("state", "refused")
            process.terminate()
        watchdog.cancel()


def test_in_node_a_server_that_is_down_is_waited_for(npm: str) -> None:
    """The package ws throws what nobody hears: a refused connection or a handshake cut short must not end it."""
    assert npm
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        for port, state in ((free_port(), "waiting"), (silent.getsockname()[1], "connecting")):
            command = [needs("node"), "talk.mjs", f"ws://127.0.0.1:{port}/ws/notifications", "a.b.c"]
            process = subprocess.Popen(command, cwd=FOLDER, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            watchdog = threading.Timer(30, process.kill)
            watchdog.start()
            with process:
                Talk(process).wait_for("state", state)
                assert process.stdin is not None
                process.stdin.close()  # it closes the client, and ends
                assert process.wait() == 0
            watchdog.cancel()


def _exp(text: str) -> float:
    claims = jwt.decode(text, options={"verify_signature": False})
    return float(claims["exp"])
