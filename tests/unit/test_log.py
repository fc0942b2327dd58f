"""Tokens, keys and passwords are never logged or shown."""

import base64
import errno
import io
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from hermes import log
from tests.support.brokers import mosquitto
from tests.support.gateways import KEY, SECRET, token
from tests.support.growth import LINEAR_MAX, growth
from tests.support.programs import hermes

JWT = token()
TIMEOUT_S = 60  # reached only in a test that fails


@pytest.mark.parametrize(
    "text",
    [
        f"GET /ws?token={JWT} from 127.0.0.1",
        f"GET /ws?a=1&token={JWT}&b=2",
        f"Authorization: Bearer {JWT}",
        f"Sec-WebSocket-Protocol: hermes.v1, {JWT}",
        "GET /ws?token=not-even-a-jwt",
        "mqtt://user:secret-pass@broker:1883 lost",
        "the key is known-secret",
    ],
)
def test_secrets_are_masked_anywhere_in_a_line(text: str) -> None:
    """Each form in which a secret is logged."""
    shown = log.masked(text, ["known-secret"])
    assert log.MASK in shown
    assert not any(secret in shown for secret in (JWT, "not-even-a-jwt", "secret-pass", "known-secret"))


HEADERS = (
    '{"alg":"HS256"}',
    '{ "alg":"HS256"}',
    '{\n  "alg": "HS256"\n}',
    ' \t{"alg":"HS256"}',
    "\r\n" * 10 + '{"typ":"JWT","alg":"HS256"}',
    '{"\\u0061lg":"HS256"}',
)


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize(
    "line", ["GET /ws?%%74oken=%s", "/ws?jwt=%s&a=1", "/a/%s/b", "x-%s", "%%22%s%%22", "hermes.v1.%s", "a.b.c/%s.d"]
)
def test_a_token_is_masked_however_its_header_is_written(header: str, line: str) -> None:
    """The header may begin with white space and have escapes (RFC 8259), and the token may be anywhere."""
    parts = [base64.urlsafe_b64encode(text).rstrip(b"=").decode() for text in (header.encode(), b'{"user_id":"1"}')]
    token = ".".join([*parts, JWT.rpartition(".")[2]])
    shown = log.masked(line % token)
    assert log.MASK in shown
    assert parts[1] not in shown


def test_other_lines_are_unchanged() -> None:
    """Names with dots are not tokens."""
    for text in (
        "hermes.mqtt.client: up",
        "mqtt://broker:1883",
        "a@b",
        "http://127.0.0.1:8080/ws/tenant/acme",
        "a3k7odshaiipe8-ats.iot.eu-west-1.amazonaws.com",
        "monkey-example-gateway.example.org",
        "spBv1.0/Group-1/DDATA/edge-node/2001:db8::1 from 192.168.100.200 version 1.2.3.dev4567890123",
    ):
        assert log.masked(text) == text


HOSTILE = (
    *("eyJ-", "eyJ.", "ey", "e30.", "IHsi-", "eyJa.b.", ".", "-", "a.", "é.", "token=", "token=&", "bearer "),
    *("a://b:", "a://:", "://@", "a://", "\u202e", " ", "a" * 19 + " "),
)


@pytest.mark.parametrize("unit", HOSTILE)
def test_whatever_strangers_write_is_masked_in_linear_time(unit: str) -> None:
    """One request of 62 KB must not stop the event loop."""
    formatter = log.MaskingFormatter([SECRET])

    def format_line(size: int) -> str:
        return formatter.format(logging.LogRecord("hermes", logging.INFO, __file__, 1, unit * size, None, None))

    assert growth(format_line, 2_048) < LINEAR_MAX


@pytest.mark.parametrize(
    "character", ["\x1b", "\x85", "\x9b", "\u2028", "\u202e", "\u2066", "\u200b", "\ufeff", "\U0001343f", "\U000e0041"]
)
def test_no_character_can_control_a_terminal(character: str) -> None:
    """Control, bidirectional and invisible characters are escaped; letters of any language are not."""
    record = logging.LogRecord("hermes", logging.INFO, __file__, 1, f"user José{character}東京", None, None)
    shown = log.MaskingFormatter().format(record)
    assert shown.endswith(f"user José{character.encode('unicode_escape').decode()}東京")


def test_tracebacks_are_masked_too() -> None:
    """A secret in the text of an exception."""
    formatter = log.MaskingFormatter(["", "known-secret"])
    try:
        raise ValueError(f"bad known-secret {JWT}")
    except ValueError:
        record = logging.LogRecord("hermes", logging.ERROR, __file__, 1, "failed %s", (JWT,), sys.exc_info())
    shown = formatter.format(record)
    assert "ValueError" in shown
    assert JWT not in shown
    assert "known-secret" not in shown


@pytest.mark.parametrize("message", ["a\tsecret", "hush and hush-hush", "the secret hush-hush"])
def test_secrets_are_masked_completely_and_in_their_escaped_form(message: str) -> None:
    """One secret is a prefix of another; one contains a character that the log escapes."""
    formatter = log.MaskingFormatter(["hush", "a\tsecret", "hush-hush"])
    shown = formatter.format(logging.LogRecord("hermes", logging.INFO, __file__, 1, message, None, None))
    assert log.MASK in shown
    assert not any(part in shown for part in ("hush", "a\tsecret", "a\\tsecret", "***-"))


def test_set_up_logs_to_standard_error_at_the_level(capsys: pytest.CaptureFixture[str]) -> None:
    """It replaces the earlier handlers."""
    log.set_up("info", ["known-secret"])
    logging.getLogger("hermes.test").info("opened with known-secret")
    logging.getLogger("hermes.test").debug("not shown")
    shown = capsys.readouterr().err
    assert "opened with ***" in shown
    assert "not shown" not in shown


def test_secrets_show_neither_in_ps_nor_in_the_log(tmp_path: Path, key_file: Path) -> None:
    """At level debug, with requests that contain them."""
    secret_file = tmp_path / "secret"
    secret_file.write_text(SECRET)
    words = ("serve", "--port", "0", "--mqtt-url", "off", "--log-level", "debug")
    given = token()
    with hermes(*words, "--jwt-secret-file", str(secret_file), "--api-key-file", str(key_file)) as program:
        url = program.url
        command = Path(f"/proc/{program.process.pid}/cmdline").read_text()
        curl = [sys.executable, "-c", _TWO_REQUESTS, url, given, KEY]
        subprocess.run(curl, check=True, timeout=TIMEOUT_S)
        program.wait_for("GET /ws from 127.0.0.1")
        assert program.end() == 0
    shown = command + "".join(program.output + program.errors)
    assert not any(secret in shown for secret in (SECRET, KEY, given))


@pytest.mark.broker
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("url", ("--dev",)),
        pytest.param("file", ("--api-key-file", "KEYS"), marks=pytest.mark.slow),
        pytest.param("url", ("--api-key-file", "KEYS"), marks=pytest.mark.slow),
        pytest.param("file", ("--dev",), marks=pytest.mark.slow),
    ],
)
def test_the_password_of_the_broker_is_shown_nowhere(
    given: str, words: tuple[str, ...], tmp_path: Path, key_file: Path
) -> None:
    """Neither in ps nor in the log, the banner, /ready or /metrics, while the broker refuses it."""
    broker_lines = (f"password_file {tmp_path / 'passwords'}", "allow_anonymous false")
    (tmp_path / "passwords").write_text("")
    (tmp_path / "password").write_text("hush@hush\n")
    with mosquitto(tmp_path, *broker_lines) as broker:
        where = f"127.0.0.1:{broker.port}"
        environment = {
            "url": {"HERMES_MQTT_URL": f"mqtt://ana:hush%40hush@{where}"},
            "file": {
                "HERMES_MQTT_URL": f"mqtt://{where}",
                "HERMES_MQTT_USERNAME": "ana",
                "HERMES_MQTT_PASSWORD_FILE": str(tmp_path / "password"),
            },
        }[given] | {"HERMES_JWT_SECRET": SECRET, "XDG_STATE_HOME": str(tmp_path)}
        flags = ["--port", "0", "--log-level", "debug", *(str(key_file) if word == "KEYS" else word for word in words)]
        with hermes("serve", *flags, **environment) as program:
            url = program.url
            program.wait_for("the broker refused the connection: .*--mqtt-password-file")
            shown = Path(f"/proc/{program.process.pid}/cmdline").read_text()
            shown += subprocess.run(
                [sys.executable, "-c", _TWO_PAGES, url], check=True, timeout=TIMEOUT_S, capture_output=True, text=True
            ).stdout
            assert "refused" in shown
            assert "hermes_mqtt_connects_total 0.0" in shown
            assert program.end() == 0
        with hermes("check", *flags, **environment) as checking:
            checking.wait_for("FAIL    broker mqtt://.*refused the connection")
            assert checking.process.wait(TIMEOUT_S) == 1
    for done in (program, checking):
        shown += "".join(done.output + done.errors)
    assert "Hermes" in shown
    assert "hush" not in shown


_TWO_PAGES = """
import sys, urllib.request, urllib.error
for page in ("/ready", "/metrics"):
    try:
        answer = urllib.request.urlopen(sys.argv[1] + page, timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    print(answer.read().decode())
"""


_TWO_REQUESTS = """
import sys, urllib.request, urllib.error
url, token, key = sys.argv[1:]
for request in (
    urllib.request.Request(f"{url}/ws?token={token}"),
    urllib.request.Request(f"{url}/notify", data=b"{}", headers={"X-API-Key": key, "Content-Type": "application/json"}),
):
    try:
        urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError:
        pass
"""


class FullDisk(io.StringIO):
    """A stream that cannot be written while it is full."""

    full = False

    def write(self, text: str) -> int:
        """Write the text, or raise the error of a full disk."""
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(text)


def test_log_lines_that_cannot_be_written_are_counted_in_the_next_one(capsys: pytest.CaptureFixture[str]) -> None:
    """They cause neither an exception nor a traceback; a wrong call of the logger is still reported."""
    stream = FullDisk()
    handler = log.LogHandler(stream)

    def write(text: str, *arguments: object) -> None:
        handler.handle(logging.LogRecord("hermes", logging.INFO, __file__, 1, text, arguments, None))

    write("first")
    stream.full = True
    write("second")
    write("third")
    stream.full = False
    write("fourth")
    write("fifth")
    assert stream.getvalue().splitlines() == [
        "first",
        "2 log lines before this one may be missing",
        "fourth",
        "fifth",
    ]
    assert capsys.readouterr().err == ""
    write("%d", "not a number")
    assert "Traceback" in capsys.readouterr().err
