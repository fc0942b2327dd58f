"""``hermes check --site URL``: what it finds behind proxies that are set up wrongly."""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from hermes.cli.main import main
from hermes.cli.site_check import Finding, check_site
from tests.support.gateways import KEY, SECRET, Hermes, eventually
from tests.support.programs import free_port
from tests.support.programs import hermes as hermes_program
from tests.support.raw_socket import open_at, port_of

Change = Callable[[bytes], bytes]


@contextlib.asynccontextmanager
async def proxy(hermes: Hermes, change: Change) -> AsyncIterator[str]:
    """Run a proxy that changes the head of the first request of each connection; yield its URL."""
    running: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = change(await reader.readuntil(b"\r\n\r\n"))
        answers, requests = await asyncio.open_connection("127.0.0.1", port_of(hermes))
        requests.write(head)
        for task in (asyncio.create_task(pump(answers, writer)), asyncio.create_task(pump(reader, requests))):
            running.add(task)
            task.add_done_callback(running.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await eventually(lambda: not running)


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Forward bytes to the end."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
    writer.close()


async def findings(url: str) -> list[Finding]:
    """Return what the check finds."""
    return [finding async for finding in check_site(url)]


@pytest.mark.gen_test
async def test_a_proxy_that_changes_nothing_is_right(hermes: Hermes) -> None:
    """Also if the address has no slash at its end."""
    async with proxy(hermes, lambda head: head) as url:
        for site in (url, f"{url}/"):
            assert await findings(site) == [
                ("ok", f"{url}/ is the console"),
                ("ok", f"a page of {url} can open sockets at {url.replace('http', 'ws')}/ws/notifications"),
            ]


@pytest.mark.gen_test
async def test_a_proxy_that_changes_host_is_named_with_the_remedy(hermes: Hermes) -> None:
    """By the words of Hermes itself."""
    async with proxy(hermes, lambda head: re.sub(rb"Host: [^\r]*", b"Host: gw", head)) as url:
        (page, _), (verdict, text) = await findings(url)
    assert (page, verdict) == ("ok", "FAIL")
    for part in ("403", "Host is gw.", "$http_host", f"--origin {url}"):
        assert part in text


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("change", "page", "text"),
    [
        (lambda head: re.sub(rb"Upgrade: [^\r]*\r\n", b"", head), "ok", "must pass on Upgrade and Connection"),
        (lambda head: head.replace(b"GET /", b"GET /hermes/"), "FAIL", "404"),
    ],
    ids=["no Upgrade", "prefix kept"],
)
async def test_a_proxy_that_passes_on_too_little_or_too_much_is_found(
    hermes: Hermes, change: Change, page: str, text: str
) -> None:
    """Headers that are missing, or a prefix that is still there."""
    async with proxy(hermes, change) as url:
        found = await findings(url)
    assert [verdict for verdict, _ in found] == [page, "FAIL"]
    assert text in found[1][1]


@pytest.mark.gen_test
async def test_another_server_is_not_hermes(hermes: Hermes) -> None:
    """A page that exists, and an address without a server."""
    page, _ = await findings(f"{hermes.url}/health")
    assert page[0] == "FAIL"
    assert "not the console" in page[1]
    for verdict, text in await findings(f"http://127.0.0.1:{free_port()}"):
        assert verdict == "FAIL"
        assert "127.0.0.1" in text


def test_the_address_must_be_one(capsys: pytest.CaptureFixture[str]) -> None:
    """With a scheme."""
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--site", "gw.example"])
    assert "must look like http://" in capsys.readouterr().err


# Tornado leaves the socket that it could not bind to the garbage collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore:unclosed:ResourceWarning")
def test_a_running_hermes_tells_of_refused_origins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In `hermes check` and in `hermes status`."""
    keys = tmp_path / "keys"
    keys.touch(mode=0o600)
    keys.write_text(f"{KEY}\n")
    port = free_port()
    flags = ["--port", str(port), "--mqtt-url", "off", "--api-key-file", str(keys)]
    with hermes_program("serve", *flags, HERMES_JWT_SECRET=SECRET) as program:
        program.wait_for("listening")

        async def refused() -> int:
            raw = await open_at(port, "/ws", headers={"Origin": "https://app.example.com"})
            raw.writer.close()
            await raw.writer.wait_closed()
            return raw.status

        assert asyncio.run(refused()) == 403
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("HERMES_JWT_SECRET", SECRET)
            assert main(["check", *flags]) == 0
        output = capsys.readouterr().out
        assert re.search(r"^warn +1 requests .*--origin https://app\.example\.com$", output, re.MULTILINE)
        assert main(["status", "--url", program.url, "--api-key-file", str(keys)]) == 0
        assert re.search(r"^origins +1 requests refused.*--origin https://app", capsys.readouterr().out, re.MULTILINE)
