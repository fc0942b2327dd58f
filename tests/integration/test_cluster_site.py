"""The site of ``make cluster``, as processes behind a proxy: a node is killed, and the site ends without a trace."""

import asyncio
import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPRequest
from tornado.websocket import websocket_connect

from hermes.testing import ClientSocket
from tests.support.cluster_site import Site, cluster_site
from tests.support.postgres import needs_postgres
from tests.support.programs import Program, needs

pytestmark = [pytest.mark.broker, pytest.mark.slow]

CLIENTS, RATE_PER_S, FOR_S = 200, 50, 8


@dataclass
class Page:
    """One page, which returns and resumes whenever its socket ends."""

    user: str
    token: str
    position: str = "0"
    got: list[str] = field(default_factory=list)
    sockets: list[ClientSocket] = field(default_factory=list)
    ends: bool = False

    async def run(self, site: Site) -> None:
        """Read until `ends` is set and the socket has ended."""
        while not self.ends:
            url = f"{site.url.replace('http', 'ws', 1)}/ws/notifications?since={self.position}&token={self.token}"
            try:
                socket = ClientSocket(await websocket_connect(url))
            except Exception:  # noqa: BLE001 - the proxy has no node for it at this moment
                await asyncio.sleep(0.2)
                continue
            self.sockets.append(socket)
            epoch = ""
            while (text := await socket.connection.read_message()) is not None:
                frame = json.loads(text)
                epoch = frame.get("epoch", epoch)
                if "id" in frame:
                    self.position = f"{epoch}:{frame['seq']}"
                    self.got.append(frame["id"])
            socket.connection.close()  # otherwise one that was cut counts as open

    async def end(self) -> None:
        """Close the socket."""
        self.ends = True
        self.sockets[-1].connection.close()


async def post(site: Site, body: dict[str, object]) -> dict[str, Any] | None:
    """Return the answer; None if there is none, as from a node that was killed."""
    headers = {"X-API-Key": site.api_key, "Content-Type": "application/json"}
    request = HTTPRequest(f"{site.url}/notify", method="POST", headers=headers, body=json.dumps(body))
    response = await AsyncHTTPClient().fetch(request, raise_error=False)
    return json.loads(response.body) if response.code == 200 else None


@pytest.mark.gen_test
async def test_a_killed_node_loses_and_doubles_nothing() -> None:
    """What was answered as stored arrives once at each page, also at those that were on the node."""
    needs_postgres()
    needs("nats-server")
    needs("haproxy")
    with cluster_site() as site:
        pages = [Page(f"u{number}", site.token(f"u{number}")) for number in range(CLIENTS)]
        running = [asyncio.create_task(page.run(site)) for page in pages]
        while not all(page.sockets for page in pages):
            await asyncio.sleep(0.05)
        stored: dict[str, set[str]] = {page.user: set() for page in pages}

        async def send(number: int) -> None:
            user = pages[number % CLIENTS].user
            body: dict[str, object] = {"user_id": user, "title": "t", "message": "m", "id": f"n{number}"}
            answer = await post(site, body) or await post(site, body)  # with the same id, as a sender does
            if answer is not None and answer["stored"]:
                stored[user].add(f"n{number}")

        sending, began_s = [], time.monotonic()
        for number in range(RATE_PER_S * FOR_S):
            sending.append(asyncio.create_task(send(number)))
            if number == RATE_PER_S * FOR_S // 3:
                os.kill(site.children["node-2"].pid, signal.SIGKILL)
            await asyncio.sleep(max(0.0, began_s + number / RATE_PER_S - time.monotonic()))
        await asyncio.gather(*sending)
        deadline_s = time.monotonic() + 60
        while not all(stored[page.user] <= set(page.got) for page in pages) and time.monotonic() < deadline_s:
            await asyncio.sleep(0.05)
        for page in pages:
            await page.end()
        await asyncio.gather(*running)
    assert sum(map(len, stored.values())) > RATE_PER_S * FOR_S // 2
    assert [sorted(stored[page.user] - set(page.got)) for page in pages if stored[page.user] - set(page.got)] == []
    assert [page.got for page in pages if len(page.got) != len(set(page.got))] == []


def test_the_site_ends_without_a_trace(tmp_path: Path) -> None:
    """By SIGTERM; its processes and folders are gone."""
    needs_postgres()
    needs("nats-server")
    needs("haproxy")
    program = Program(
        ["--port", "0"], {"TMPDIR": "/tmp"}, launcher=(sys.executable, "-m", "tests.support.cluster_site")
    )
    try:
        program.wait_for("Ctrl-C stops all of it")
        folder = Path(program.wait_for(r"--api-key-file (\S+)/api-keys")[1])
        pids = [
            int(pid) for _, pid in (line.split() for line in "".join(program.output).splitlines() if _is_part(line))
        ]
        assert len(pids) == 8
    finally:
        assert program.end() == 0
    assert not folder.exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def _is_part(line: str) -> bool:
    words = line.split()
    return len(words) == 2 and words[1].isdigit()
