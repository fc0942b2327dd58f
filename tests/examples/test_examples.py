"""The programs in examples/: each README's commands, run against a real Hermes."""

import contextlib
import functools
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.support.consoles import chromium
from tests.support.gateways import KEY, SECRET, token
from tests.support.paths import CHECKOUT
from tests.support.programs import Program, free_port, hermes, metric, needs, wait_until

EXAMPLES = CHECKOUT / "examples"
EVENT_TIMEOUT_S = 60.0  # only a bound: each wait ends with its event
SETUP_TIMEOUT_S = 300.0
NO_NETWORK = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|no such host|connection refused|i/o timeout")


def example(name: str) -> object:
    """The folder of an example as a test parameter; those with a toolchain of their own are slow."""
    return pytest.param(name, marks=pytest.mark.slow) if name == "go" else name


RECEIVERS = [example(name) for name in ("python", "node", "go")]
SENDERS = [example(name) for name in ("curl", "python", "node", "go")]


def command(name: str, word: str) -> str:
    """The one command in this example's README that contains this word."""
    blocks = re.findall(r"^```sh\n(.*)\n```$", (EXAMPLES / name / "README.md").read_text(), re.MULTILINE)
    (found,) = [line for line in blocks if word in line]
    assert isinstance(found, str)
    return found


@functools.cache
def set_up(name: str) -> None:
    """Install what the example's README has installed. Skip the test without the toolchain or its registry."""
    if name in ("node", "react"):
        needs("node")
        if not (EXAMPLES / name / "node_modules").is_dir():
            install(f"{needs('npm')} ci --silent", name)
    elif name == "go":
        if shutil.which("go") is None:
            pytest.skip("go is missing")
        install("go mod download", name)
        install("go vet ./...", name)  # it also compiles: what follows finds a warm cache
    elif name == "curl":
        needs("curl")


def install(line: str, name: str) -> None:
    """Run a command that may need a registry."""
    done = run(line, name, {}, timeout_s=SETUP_TIMEOUT_S)
    if done.returncode != 0 and NO_NETWORK.search(done.stderr) and optional(name):
        pytest.skip(f"{line}: the registry cannot be reached")
    assert done.returncode == 0, done.stdout + done.stderr


def optional(name: str) -> bool:
    """Whether the tests of this example may be skipped without a registry."""
    return name in ("go", "react") or os.environ.get("CI") != "true"


def run(
    line: str, name: str, environment: dict[str, str], *, timeout_s: float = EVENT_TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a command line in the folder of an example."""
    return subprocess.run(
        line,
        shell=True,
        cwd=EXAMPLES / name,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


@contextlib.contextmanager
def started(line: str, name: str, environment: dict[str, str]) -> Iterator[Program]:
    """Run a command line in the folder of an example until the end of the block, its children included."""
    program = Program([], environment, launcher=("sh", "-c", line), cwd=EXAMPLES / name, start_new_session=True)
    try:
        yield program
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(program.process.pid, signal.SIGTERM)
        program.end()


@dataclass
class Site:
    """A Hermes on a port that stays, and the settings with which the examples find it."""

    folder: Path
    port: int = field(default_factory=free_port)

    def __post_init__(self) -> None:
        (self.folder / "api-keys").write_text(f"{KEY}\n")
        (self.folder / "jwt-secret").write_text(SECRET)
        self.environment = {
            "HERMES_API_URL": f"http://127.0.0.1:{self.port}",
            "HERMES_API_KEY_FILE": str(self.folder / "api-keys"),
            "HERMES_JWT_SECRET_FILE": str(self.folder / "jwt-secret"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    @contextlib.contextmanager
    def hermes(self, *arguments: str) -> Iterator[Program]:
        """Run Hermes."""
        words = ("serve", "--port", str(self.port), "--mqtt-url", "off", *arguments)
        with hermes(*words, **self.environment) as self.running:
            self.running.wait_for(self.environment["HERMES_API_URL"], EVENT_TIMEOUT_S)
            yield self.running

    @contextlib.contextmanager
    def receiver(self, name: str, ask: str | None = None) -> Iterator[Program]:
        """Run the receiver of an example; ``ask`` is its token command, by default one that is quick on any machine."""
        words = {"HERMES_TOKEN_COMMAND": ask or f"echo {token()}"}
        with started(command(name, "listen"), name, self.environment | words) as program:
            yield program

    @property
    def acknowledged(self) -> float:
        """How many notifications have been acknowledged."""
        return metric(self.running, 'hermes_client_frames_total{action="ack"}')

    @property
    def open_sockets(self) -> float:
        """How many connections for notifications there are."""
        return metric(self.running, 'hermes_sockets_open{route="/ws/notifications"}')

    def notify(self, name: str) -> str:
        """Send the notification of an example's README; return the answer."""
        done = run(command(name, "notify"), name, self.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A place for one Hermes."""
    return Site(tmp_path)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A place with a running Hermes, for all tests of this file that do not stop it."""
    made = Site(tmp_path_factory.mktemp("live"))
    with made.hermes():
        yield made


def wait_for_lines(program: Program, pattern: str, count: int) -> None:
    """Wait until the program has printed so many lines that begin with this."""

    def seen() -> bool:
        return sum(re.match(pattern, line) is not None for line in program.output + program.errors) >= count

    wait_until(lambda: seen() or program.process.poll() is not None, EVENT_TIMEOUT_S, why=f"{count} x {pattern!r}")
    assert seen(), f"it ended: {program.output} {program.errors}"


def token_command(folder: Path, *tokens: str) -> str:
    """A command that prints another one of these tokens each time."""
    path = folder / "tokens"
    path.write_text("".join(f"{each}\n" for each in tokens))
    return f"head -n 1 {shlex.quote(str(path))} && sed -i 1d {shlex.quote(str(path))}"


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_prints_and_acknowledges_what_the_sender_of_its_readme_sends(name: str, site: Site) -> None:
    """By the commands of the README, with the key of a Hermes in production."""
    set_up(name)
    with site.hermes(), site.receiver(name) as receiver:
        wait_for_lines(receiver, "connected", 1)
        assert '"sent":true' in site.notify(name)
        line = receiver.wait_for(r".*New alert.*", EVENT_TIMEOUT_S)[0]
        assert re.fullmatch(r"""warning ['"]New alert['"]: ['"]Sensor X is hot['"]""", line)
        assert [line for line in receiver.output if "New alert" in line] == [f"{line}\n"], "on standard output, once"
        wait_until(lambda: site.acknowledged == 1, EVENT_TIMEOUT_S)


@pytest.mark.slow
def test_a_receiver_gets_its_token_from_the_hermes_command(live: Site) -> None:
    """Without further settings, as the README says."""
    with started(command("python", "listen"), "python", live.environment) as receiver:
        wait_for_lines(receiver, "connected", 1)


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_takes_the_longest_message(name: str, live: Site) -> None:
    """Of 16,384 characters: more bytes than some WebSocket libraries read by default."""
    set_up(name)
    with live.receiver(name) as receiver:
        wait_for_lines(receiver, "connected", 1)
        done = run(shlex.join(["python", "notify.py", "123", "Long", "€" * 16_384]), "python", live.environment)
        assert done.returncode == 0, done.stdout + done.stderr
        receiver.wait_for(r"info \WLong\W.*", EVENT_TIMEOUT_S)


@pytest.mark.parametrize("name", ["python", *(pytest.param(name, marks=pytest.mark.slow) for name in ("node", "go"))])
def test_a_receiver_comes_back_to_a_hermes_that_was_killed(name: str, site: Site) -> None:
    """Its connection ends without a close frame, and at least one of its attempts finds no Hermes."""
    set_up(name)
    with site.hermes() as first, site.receiver(name) as receiver:
        wait_for_lines(receiver, "connected", 1)
        first.end(signal.SIGKILL)
        wait_for_lines(receiver, ".*(1006|disconnected)", 2)
        with site.hermes():
            wait_for_lines(receiver, "connected", 2)
            site.notify("python")
            receiver.wait_for("New alert", EVENT_TIMEOUT_S)


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_gets_a_new_token_when_its_own_has_expired(name: str, live: Site, tmp_path: Path) -> None:
    """Close code 1008 makes it ask for a token and connect again."""
    set_up(name)
    expired, valid = token(exp=int(time.time()) - 60), token()
    with live.receiver(name, ask=token_command(tmp_path, expired, valid)) as receiver:
        wait_for_lines(receiver, ".*token_expired", 1)
        wait_for_lines(receiver, "connected", 1)
        live.notify("python")
        receiver.wait_for("New alert", EVENT_TIMEOUT_S)


@pytest.mark.parametrize("name", RECEIVERS)
def test_a_receiver_ends_when_its_new_token_is_rejected_too(name: str, live: Site, tmp_path: Path) -> None:
    """It does not ask for a third one, and its exit status is not 0."""
    set_up(name)
    expired = [token(exp=int(time.time()) - seconds) for seconds in (60, 50, 40)]
    with live.receiver(name, ask=token_command(tmp_path, *expired)) as receiver:
        receiver.wait_for("rejected: token_expired", EVENT_TIMEOUT_S)
        assert receiver.process.wait(EVENT_TIMEOUT_S) != 0
        assert (tmp_path / "tokens").read_text() == f"{expired[2]}\n"


@pytest.fixture(scope="module")
def receiver(live: Site) -> Iterator[Program]:
    """A connected receiver of user 123."""
    with live.receiver("python") as program:
        wait_for_lines(program, "connected", 1)
        yield program


@pytest.mark.parametrize("name", SENDERS)
def test_a_sender_sends_any_text(name: str, live: Site, receiver: Program) -> None:
    """Quotes, backslashes, line feeds and letters beyond ASCII arrive as they are."""
    set_up(name)
    program = shlex.split(command(name, "notify"))[:-4]
    text = f'{name} says "hi" \\ ¿qué?\n$HOME `x` %s\n'
    done = run(shlex.join([*program, "123", text, text, "error"]), name, live.environment)
    assert done.returncode == 0, done.stdout + done.stderr
    printed = receiver.wait_for(rf'error "{name} .*', EVENT_TIMEOUT_S)[0]
    quoted = rf'"{name} says \"hi\" \\ \u00bfqu\u00e9?\n$HOME `x` %s\n"'
    assert printed == f"error {quoted}: {quoted}"


@pytest.mark.parametrize("name", SENDERS)
def test_a_sender_without_a_valid_key_reports_that_and_fails(name: str, live: Site, tmp_path: Path) -> None:
    """The error is that of Hermes."""
    set_up(name)
    wrong = tmp_path / "wrong-key"
    wrong.write_text("not a key\n")
    done = run(command(name, "notify"), name, live.environment | {"HERMES_API_KEY_FILE": str(wrong)})
    assert done.returncode != 0
    assert '"code":"unauthorized"' in done.stdout + done.stderr


@pytest.mark.slow
def test_the_react_example_has_no_type_errors() -> None:
    """Checked with tsc against the declarations that Hermes serves."""
    set_up("react")
    done = run(command("react", "types"), "react", {})
    assert done.returncode == 0, done.stdout


@pytest.mark.slow
def test_the_react_page_shows_a_notification(site: Site) -> None:
    """In Chromium, with tokens from the example's own server; one connection stays although effects run twice."""
    set_up("react")
    with started(command("react", "start"), "react", site.environment | {"PORT": "0"}) as pages:
        url = pages.wait_for(r"http://\S+", EVENT_TIMEOUT_S)[0]
        with site.hermes("--origin", url), chromium() as browser, browser.new_page() as page:
            faults: list[str] = []
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.set_default_timeout(EVENT_TIMEOUT_S * 1_000)
            page.goto(url)
            expect(page.get_by_role("status")).to_have_text("Hermes: open", timeout=EVENT_TIMEOUT_S * 1_000)
            wait_until(lambda: site.open_sockets == 1, EVENT_TIMEOUT_S)
            site.notify("python")
            shown = page.get_by_role("listitem")
            expect(shown).to_contain_text("New alert Sensor X is hot", timeout=EVENT_TIMEOUT_S * 1_000)
            page.get_by_role("button", name="Acknowledge").click()
            wait_until(lambda: site.acknowledged == 1, EVENT_TIMEOUT_S)
            page.goto("about:blank")
            wait_until(lambda: site.open_sockets == 0, EVENT_TIMEOUT_S)
            assert faults == []
