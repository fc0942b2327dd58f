"""The ``hermes`` command, as a user types it."""

import json
import logging
import os
import re
import shlex
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from hermes import __version__
from hermes.auth.claims import ClaimNames, SuperuserClaim
from hermes.cli.listen import _all as listen_all
from hermes.cli.main import COMMANDS, main
from hermes.errors import install_command
from hermes.settings.flags import Group, settings_of
from hermes.settings.load import load
from hermes.settings.model import ClientSettings, Settings
from tests.support.brokers import mosquitto
from tests.support.gateways import SECRET, token
from tests.support.programs import Program, free_port, hermes, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Isolate the test: its own state folder, none of the caller's variables, and the log restored at its end."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in ("HERMES_TOKEN", "HERMES_API_URL", "HERMES_CONFIG", "HERMES_JWT_SECRET"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    root.handlers[:], root.level = before


@pytest.fixture
def running(key_file: Path) -> Iterator[Program]:
    """Run a Hermes without MQTT."""
    words = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file))
    with hermes(*words, HERMES_JWT_SECRET=SECRET) as program:
        assert program.url
        yield program


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command that ends by itself."""
    try:
        code = main(words)
    except SystemExit as end:
        code = int(str(end.code))
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Name and number on the first line, then what it runs on."""
    code, shown, errors = run("--version", capsys=capsys)
    first, *others = shown.splitlines()
    assert (code, first, errors) == (0, f"hermes {__version__}", "")
    assert f"Python {sys.version.split()[0]}" in others


@pytest.mark.parametrize(
    ("words", "unused"),
    [
        (["--version"], {"tornado", "paho", "pydantic", "jinja2"}),
        (["--help"], {"tornado", "paho", "pydantic", "jinja2"}),
        (["token", "--user", "1"], {"tornado", "paho", "jinja2"}),
        (["device", "list"], {"tornado", "paho", "jinja2"}),
        (["topics", "explain", "tenants/a/devices/d"], {"tornado", "paho", "jinja2"}),
        (["listen", "--help"], {"paho", "jinja2"}),
        (["notify", "--help"], {"paho", "jinja2"}),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_command_imports_only_what_it_needs(words: list[str], unused: set[str]) -> None:
    """The answer of ``hermes --version`` does not wait for Tornado and paho."""
    code = (
        "import contextlib, sys; from hermes.cli.main import main\n"
        f"with contextlib.suppress(SystemExit): main({words!r})\n"
        f"print('imported', sorted({unused!r} & sys.modules.keys()))"
    )
    environment = os.environ | {"HERMES_JWT_SECRET": SECRET}
    shown = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "imported []"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_description(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With its summary, its usage and examples; `hermes --help` lists it."""
    code, shown, _ = run(command, "--help", capsys=capsys)
    assert code == 0
    assert f"usage: hermes {command}" in shown
    assert COMMANDS[command][1:] in shown.replace("\n", " ")
    assert "examples:\n  hermes " in shown
    assert f"    {command} " in run("--help", capsys=capsys)[1]


def test_the_flags_of_serve_are_grouped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each setting has its flag, meaning and default, in the order of the reference page; a secret has none."""
    monkeypatch.setenv("COLUMNS", "200")
    _, shown, _ = run("serve", "--help", capsys=capsys)
    options = [setting.option for setting in settings_of(Settings) if setting.option]
    assert re.findall(r"^  (--[\w-]+)", shown, re.MULTILINE) == ["--config", *options]
    groups = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert groups == ["options", *(group for group in Group if group is not Group.CLIENT), "examples"]
    line = r"  --port PORT +port to listen on; 0 chooses a free port and prints it \(default: 8080\)\n"
    assert re.search(line, shown)
    assert re.search(r"--topic TEMPLATE .*repeatable; variable HERMES_TOPICS \(default: hermes\)", shown)
    assert "`" not in shown


@pytest.mark.parametrize(
    "words", [(), ("fly",), ("serve", "--fly"), ("token",), ("notify", "--user", "1"), ("listen",), ("device", "fly")]
)
def test_invalid_arguments_exit_with_2(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """The usage is printed."""
    code, _, errors = run(*words, capsys=capsys)
    assert code == 2
    assert "usage:" in errors


def test_invalid_settings_exit_with_2_and_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a traceback."""
    code, _, errors = run("serve", "--port", "many", "--host", "0.0.0.0", "--topic", "a/#", capsys=capsys)
    assert code == 2
    assert len([line for line in errors.splitlines() if line.startswith("hermes: ")]) == 4
    assert "Traceback" not in errors


def test_no_flag_takes_a_secret(capsys: pytest.CaptureFixture[str]) -> None:
    """It would be visible in ps."""
    assert run("serve", "--jwt-secret", SECRET, capsys=capsys)[0] == 2
    code, _, errors = run("serve", "--mqtt-url", "mqtt://user:secret-pass@broker", capsys=capsys)
    assert code == 2
    assert "HERMES_MQTT_URL" in errors
    assert "secret-pass" not in errors


def test_token_prints_a_jwt_that_the_secret_verifies(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has the claims that were given."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    words = ("token", "--user", "123", "--username", "ana", "--tenant", "acme", "--ttl", "1h", "--superuser")
    code, shown, _ = run(*words, capsys=capsys)
    claims = jwt.decode(shown.strip(), SECRET, ["HS256"])
    assert code == 0
    assert {name: claims[name] for name in ("user_id", "username", "tenant_id", "is_superuser")} == {
        "user_id": "123",
        "username": "ana",
        "tenant_id": "acme",
        "is_superuser": True,
    }
    assert 3_500 < claims["exp"] - time.time() <= 3_600
    assert run("token", "--user", "1", "--ttl", "soon", capsys=capsys)[0] == 2


def test_a_token_is_written_into_a_file_that_listen_accepts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the umask is; one that a shell has written for everyone to read is refused with what to do."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    path, printed = tmp_path / "token", tmp_path / "printed"
    before = os.umask(0o022)
    try:
        assert run("token", "--user", "1", "--output", str(path), capsys=capsys)[:2] == (0, "")
        printed.write_text(path.read_text())
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert load(ClientSettings, {"token_file": str(path)}).bearer == path.read_text().strip()
    assert f"chmod o= {printed}" in run("listen", "--token-file", str(printed), "notifications", capsys=capsys)[2]
    code, _, errors = run("token", "--user", "1", "--output", str(tmp_path / "no" / "token"), capsys=capsys)
    assert (code, "cannot write" in errors) == (1, True)


@pytest.mark.parametrize("flag", ["--user", "--username", "--tenant"])
@pytest.mark.parametrize(("value", "why"), [("", "must not be empty"), ("\udcff", "must be UTF-8 text")])
def test_token_refuses_claims_that_the_gateway_would_refuse(
    flag: str, value: str, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Instead of printing a token that opens no socket."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    code, shown, errors = run("token", "--user", "1", flag, value, capsys=capsys)
    assert (code, shown) == (2, "")
    assert f"argument {flag}: {why}" in errors


@pytest.mark.parametrize("ttl", ["9" * 400, "9" * 400 + "d", "36526d", "9" * 20])
def test_a_lifetime_beyond_a_century_is_refused(
    ttl: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a traceback; the error names the word to write instead."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    code, shown, errors = run("token", "--user", "1", "--ttl", ttl, capsys=capsys)
    assert (code, shown) == (2, "")
    assert "more than 36525 days; write never instead" in errors


def test_token_without_a_secret_reports_what_to_give(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    code, _, errors = run("token", "--user", "123", capsys=capsys)
    assert code == 2
    assert "--jwt-secret-file" in errors


def test_notify_prints_the_answer(running: Program, key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For a user or a tenant; after a refusal the exit code is 1."""
    words = ("notify", "--url", running.url, "--title", "t", "--message", "m", "--api-key-file", str(key_file))
    for addressee in (("--user", "123"), ("--tenant", "acme")):
        code, shown, _ = run(*words, *addressee, capsys=capsys)
        answer = json.loads(shown)
        assert (code, answer["status"], answer["sent"]) == (0, "success", False)
    code, shown, _ = run(*words[:-2], "--user", "123", capsys=capsys)
    assert code == 1
    refusal = json.loads(shown)
    assert (refusal["status"], refusal["sent"], refusal["error"]["code"]) == ("error", False, "unauthorized")
    code, shown, _ = run(*words[:4], "", *words[5:], "--user", "123", capsys=capsys)
    assert code == 1
    assert set(json.loads(shown)["error"]["fields"]) == {"title"}


@pytest.mark.slow
def test_notify_requires_a_socket_only_if_it_is_told_to(
    running: Program, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With ``--require sent`` the exit code is 1 if no socket received it; the answer is the same."""
    words = ("notify", "--url", running.url, "--title", "t", "--message", "m", "--api-key-file", str(key_file))
    code, shown, _ = run(*words, "--user", "nobody", "--id", "n-1", "--require", "sent", capsys=capsys)
    assert (code, json.loads(shown)) == (1, {"status": "success", "sent": False, "id": "n-1"})
    assert run(*words, "--user", "nobody", "--id", "n-1", capsys=capsys)[0] == 0
    with hermes("listen", "notifications", "--url", running.url, HERMES_TOKEN=token()) as listening:
        running.wait_for("/ws/notifications: open for user 123")
        data = '{"price": 1.10, "id": 12345678901234567890}'
        code, shown, _ = run(*words, "--user", "123", "--data", data, "--require", "sent", capsys=capsys)
        assert (code, json.loads(shown)["sent"]) == (0, True)
        assert data in listening.wait_for(r"\{.*price.*\}")[0]


@pytest.mark.parametrize("data", ["nonsense", "[1]", "7", '{"a":1},"user_id":"2"', '{"a":', ""])
def test_notify_refuses_data_that_is_no_object(data: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, before anything is sent."""
    code, _, errors = run("notify", "--user", "1", "--title", "t", "--message", "m", "--data", data, capsys=capsys)
    assert code == 2
    assert "argument --data: not" in errors


@pytest.mark.slow
def test_listen_all_shows_every_tenant_to_a_superuser(running: Program) -> None:
    """Others are told what they see; ``combined`` is the route ``/ws`` for both."""
    root, ana = token("1", "root", is_superuser=True), token(tenant_id="acme")
    with hermes("listen", "all", "--url", running.url, HERMES_TOKEN=root) as listening:
        listening.wait_for("showing the devices of all tenants")
        running.wait_for("/ws/tenants: open for user 1")
    with hermes("listen", "all", "--url", running.url, HERMES_TOKEN=ana) as listening:
        listening.wait_for("not a superuser's: showing the devices of tenant acme and the notifications of user 123")
        running.wait_for("/ws: open for user 123")
    with hermes("listen", "all", "--url", running.url, HERMES_TOKEN=token("9")) as listening:
        listening.wait_for("showing no devices, because it has no tenant, and the notifications of user 9")
    with hermes("listen", "combined", "--url", running.url, HERMES_TOKEN=root):
        running.wait_for("/ws: open for user 1 ")


def test_listen_all_reads_the_claims_that_the_settings_name() -> None:
    """Of the superuser, the tenant and the user."""
    names = ClaimNames("sub", "name", "org.id", SuperuserClaim("roles", "admin"))
    admin = jwt.encode({"sub": "1", "roles": ["admin"]}, SECRET)
    assert listen_all(admin, names) == ("tenants", "showing the devices of all tenants")
    ana = jwt.encode({"sub": "7", "org": {"id": "acme"}, "is_superuser": True}, SECRET)
    target, shown = listen_all(ana, names)
    assert (target, "the devices of tenant acme and the notifications of user 7" in shown) == ("combined", True)


def test_notify_reports_that_nothing_answers(capsys: pytest.CaptureFixture[str]) -> None:
    """With the URL that it tried."""
    where = f"http://127.0.0.1:{free_port()}"
    words = ("notify", "--url", where, "--user", "1", "--title", "t", "--message", "m")
    code, _, errors = run(*words, capsys=capsys)
    assert code == 1
    assert where in errors


def test_listen_prints_frames_and_reconnects_after_a_restart(key_file: Path, tmp_path: Path) -> None:
    """One frame per line on standard output, messages about the connection on standard error."""
    port = str(free_port())
    words = ("serve", "--port", port, "--mqtt-url", "off", "--api-key-file", str(key_file))
    url = f"http://127.0.0.1:{port}"
    send = ("notify", "--url", url, "--user", "123", "--message", "m", "--api-key-file", str(key_file))
    token_file = tmp_path / "token"
    token_file.write_text(token() + "\n")
    with hermes(*words, HERMES_JWT_SECRET=SECRET) as server:
        assert server.url
        with hermes("listen", "notifications", "--url", url, "--token-file", str(token_file)) as listening:
            server.wait_for(r"/ws/notifications: open")
            assert main([*send, "--title", "first"]) == 0
            assert json.loads(listening.wait_for(r"\{.*first.*\}")[0])["channel"] == "notifications"
            assert server.end() == 0
            listening.wait_for(r"1001 stopping;retry_ms=\d+; next attempt in")
            with hermes(*words, HERMES_JWT_SECRET=SECRET) as again:
                assert again.url  # however long its start takes: meanwhile the back-off grows to 30 s
                again.wait_for(r"/ws/notifications: open")
                assert main([*send, "--title", "second"]) == 0
                listening.wait_for(r"\{.*second.*\}")
                assert listening.end(signal.SIGINT) == 0


def test_listen_ends_if_the_token_is_refused(running: Program, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, because another attempt would not help; 2 without any token."""
    with hermes("listen", "tenant/acme", "--url", running.url, HERMES_TOKEN=token(tenant_id="globex")) as listening:
        listening.wait_for("refused: forbidden")
        assert listening.process.wait(60) == 1
    code, _, errors = run("listen", "all", "--url", running.url, capsys=capsys)
    assert code == 2
    assert "no token" in errors


@pytest.mark.parametrize("target", ["everything", "tenant", "tenant/", "notifications/5", "all/5"])
def test_listen_names_the_targets_that_exist(target: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2."""
    code, _, errors = run("listen", target, capsys=capsys)
    assert code == 2
    assert "tenant/ID" in errors


@pytest.mark.parametrize("url", ["nonsense", "127.0.0.1:8080", "http://h:99999"])
@pytest.mark.parametrize(
    "words", [("listen", "all"), ("notify", "--user", "1", "--title", "t", "--message", "m")], ids=["listen", "notify"]
)
def test_a_wrong_url_is_a_problem_at_once(
    words: tuple[str, ...], url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and an example, instead of attempts forever."""
    monkeypatch.setenv("HERMES_TOKEN", token())
    code, _, errors = run(*words, "--url", url, capsys=capsys)
    assert code == 2
    assert "must look like http://127.0.0.1:8080" in errors


def test_a_taken_port_is_reported_with_another_to_use(running: Program) -> None:
    """Exit code 1, without a traceback."""
    port = running.url.rpartition(":")[2]
    with hermes("serve", "--port", port, "--mqtt-url", "off", HERMES_JWT_SECRET=SECRET) as second:
        second.wait_for(f"port {port} on 127.0.0.1 is in use")
        assert second.process.wait(60) == 1
        assert f"--port {int(port) + 1}" in "".join(second.errors)
        assert "Traceback" not in "".join(second.errors)


def test_check_accepts_a_good_set_up(
    tmp_path: Path, key_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names what it tested."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    key_file.chmod(0o600)
    with mosquitto(tmp_path) as broker:
        words = (
            "check",
            "--port",
            "0",
            "--api-key-file",
            str(key_file),
            "--mqtt-url",
            f"mqtt://127.0.0.1:{broker.port}",
        )
        code, shown, _ = run(*words, capsys=capsys)
    assert code == 0, shown
    assert "grants every subscription" in shown
    assert "ready to serve" in shown


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Tornado does not close its socket
def test_check_reports_every_problem(
    key_file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that others can read, an address of another machine, a broker that is not there."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    monkeypatch.setattr("hermes.cli.check.BROKER_TIMEOUT_S", 0.5)
    key_file.chmod(0o644)
    words = (
        "check",
        "--host",
        "192.0.2.1",
        "--api-key-file",
        str(key_file),
        "--mqtt-url",
        f"mqtt://127.0.0.1:{free_port()}",
    )
    code, shown, _ = run(*words, capsys=capsys)
    assert code == 1
    assert "chmod o=" in shown
    assert "cannot listen on 192.0.2.1 port 8080" in shown
    assert "FAIL    broker" in shown
    assert shown.endswith("\n3 problems\n")


@pytest.mark.parametrize("dev", [(), ("--dev",)], ids=["plain", "dev"])
def test_topics_that_cannot_be_subscribed_to_are_invalid_settings(
    dev: tuple[str, ...], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 and what to write, also with ``--dev``, which would continue without devices."""
    monkeypatch.setenv("HERMES_JWT_SECRET", SECRET)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr("hermes.broker.mosquitto.EXTRA_PATH", "/nowhere")
    monkeypatch.setattr("hermes.ingest.extras.EXTRAS", {"cbor": "no_such_package"})
    words = ("serve", "--port", "0", *dev, "--topic", "a/{tenant_id}/{device_id};payload=cbor")
    overlapping = ("--topic", "a/x/{device_id...};tenant_id=q", "--mqtt-on-demand", "true")
    code, _, errors = run(*words, *overlapping, capsys=capsys)
    assert code == 2
    assert f"hermes: topics with payload=cbor need another package: {install_command('cbor')}" in errors
    assert "hermes: --mqtt-on-demand needs topics that do not overlap" in errors
    assert len(errors.splitlines()) == 2


def test_dev_stores_its_secrets_privately_and_the_other_commands_use_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tokens stay valid across a restart."""
    words = ("serve", "--dev", "--port", "0", "--mqtt-url", "off")
    with hermes(*words) as first:
        url = first.url
        folder = tmp_path / "state/hermes"
        kept = {name: (folder / name).read_text() for name in ("jwt-secret", "api-key")}
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        with hermes("listen", "notifications", "--url", url) as listening:
            first.wait_for("/ws/notifications: open for user 123")
            code, shown, _ = run(
                "notify", "--url", url, "--user", "123", "--title", "t", "--message", "m", capsys=capsys
            )
            assert (code, json.loads(shown)["sent"]) == (0, True)
            listening.wait_for(r'\{"channel":"notifications"')
    old = run("token", "--user", "123", "--ttl", "1h", capsys=capsys)[1].strip()
    with hermes(*words) as second, hermes("listen", "all", "--url", second.url, HERMES_TOKEN=old):
        second.wait_for("/ws: open for user 123")
        assert {name: (folder / name).read_text() for name in kept} == kept


@pytest.mark.slow
def test_dev_reports_that_it_cannot_store_its_secrets(tmp_path: Path) -> None:
    """It names the variable to set."""
    (tmp_path / "file").write_text("")
    with hermes("serve", "--dev", "--port", "0", XDG_STATE_HOME=str(tmp_path / "file")) as program:
        program.wait_for("set XDG_STATE_HOME")
        assert program.process.wait(60) == 2


@pytest.mark.measured_programs
def test_the_printed_commands_of_dev_work(tmp_path: Path) -> None:
    """The notification by curl, the message of a device, the listener: pasted into a shell."""
    with hermes("serve", "--dev", "--port", "0") as program:
        program.wait_for("Ctrl-C stops it")
        shown = "".join(program.output)
        assert re.search(r"2\d simulated devices", shown)
        listener = re.search(r"^ +hermes (listen .*)$", shown, re.MULTILINE)
        device = re.search(r"^ +(mosquitto_pub .*)$", shown, re.MULTILINE)
        curl = re.search(r"^ +(curl .*)$", shown, re.MULTILINE)
        assert listener
        assert device
        assert curl
        with hermes(*listener[1].split()) as tenant, hermes("listen", "notifications", "--url", program.url) as notes:
            program.wait_for("/ws/tenant: open")
            program.wait_for("/ws/notifications: open")
            subprocess.run(device[1], shell=True, check=True, timeout=60)
            tenant.wait_for(r'"device_id":"mine".*"value":21.4')
            tenant.wait_for(r'"device_id":"\w+-\d+"')
            answer = subprocess.run(curl[1], shell=True, check=True, timeout=60, capture_output=True)
            assert json.loads(answer.stdout)["sent"] is True
            notes.wait_for("New alert")
        tokens = re.findall(r"^ +(eyJ\S+)$", shown, re.MULTILINE)
        assert len(tokens) == 3


@pytest.mark.slow
def test_listen_ends_quietly_when_its_output_is_closed(tmp_path: Path) -> None:
    """As with ``| head``."""
    with hermes("serve", "--dev", "--port", "0") as program:
        command = f"{sys.executable} -m hermes listen all --url {program.url} | head -n 2"
        done = subprocess.run(command, shell=True, timeout=60, capture_output=True, text=True, check=True)
        assert len(done.stdout.splitlines()) == 2
        assert "Traceback" not in done.stderr
        wait_until(lambda: "/ws/tenants: closed" in "".join(program.errors))


@pytest.mark.parametrize("bad", ["a\nb", "two words", "é"])
def test_a_token_with_stray_characters_is_refused_without_printing_it(
    bad: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2."""
    monkeypatch.setenv("HERMES_TOKEN", bad)
    code, _, errors = run("listen", "all", capsys=capsys)
    assert code == 2
    assert "stray characters" in errors
    assert bad not in errors


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n123"],
)
def test_notify_reports_that_another_program_answers(answer: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer that is cut off, or is not one of Hermes."""

    def serve_once(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            while (part := connection.recv(65_536)) and not part.endswith(b"}"):
                pass  # with a part unread the end is a reset, after which Tornado waits for 10 s
            connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=serve_once, args=(listening,), daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        words = ("notify", "--url", url, "--user", "1", "--title", "t", "--message", "m")
        code, _, errors = run(*words, capsys=capsys)
        server.join(60)
    assert code == 1
    assert url in errors


@pytest.mark.parametrize("words", ["sbom | head -c 10", "licenses | head -1", "licenses | true", "--version >&-"])
def test_a_reader_of_the_output_may_leave(words: str) -> None:
    """Without a word on standard error."""
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{shlex.quote(sys.executable)} -m hermes {words}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", ["sbom", "licenses", "--version"])
def test_a_full_disk_behind_the_output_is_one_line(words: str) -> None:
    """And a failure."""
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} -m hermes {words} >/dev/full"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "hermes: cannot write the output: No space left on device\n")
