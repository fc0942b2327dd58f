"""``/inbox/stats``, ``/inbox/purge`` and ``/inbox/backup``.

``hermes inbox`` asks a running Hermes for them.
"""

import asyncio
import contextlib
import os
import tempfile
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from hermes.auth.api_keys import Scope
from hermes.delivery.request_model import RequestModel
from hermes.errors import RequestError
from hermes.ids import UserId
from hermes.inbox.inbox import InboxStats, InboxUnavailable
from hermes.inbox.parts import InboxParts
from hermes.web.api_handler import ApiHandler
from hermes.web.inbox.json_body import JsonBodyHandler
from hermes.web.inbox.reader_api import unavailable

CHUNK_BYTES = 262_144
USER_MAX_CHARS = 256


class OperatorHandler(ApiHandler):
    """A request with a key of the scope ``inbox``."""

    scope = Scope.INBOX

    @property
    def inbox(self) -> InboxParts:
        """The inbox; without one the routes do not exist."""
        assert self.gateway.inbox is not None
        return self.gateway.inbox


class StatsHandler(OperatorHandler):
    """``GET /inbox/stats``: the size of the inbox."""

    methods = ("GET", "HEAD")

    async def get(self) -> None:
        """Respond with the figures."""
        try:
            self.write_json(200, stats_body(await self.inbox.store.stats()))
        except InboxUnavailable as failure:
            self.write_fault(unavailable(failure))

    head = get


class PurgeRequest(RequestModel):
    """The body of ``POST /inbox/purge``."""

    user_id: Annotated[str, StringConstraints(strict=True, min_length=1, max_length=USER_MAX_CHARS)]


class PurgeHandler(JsonBodyHandler, OperatorHandler):
    """``POST /inbox/purge``: remove everything about a user."""

    async def post(self) -> None:
        """Respond with the number of notifications that were removed."""
        try:
            self.check_caller_again()
            request = PurgeRequest.from_json(self.json())
            removed = await self.inbox.store.purge(UserId(request.user_id))
        except InboxUnavailable as failure:
            self.write_fault(unavailable(failure))
        except RequestError as error:
            self.write_fault(error)
        else:
            self.write_json(200, {"status": "success", "removed": removed})


class BackupHandler(OperatorHandler):
    """``POST /inbox/backup``: a copy of the inbox, as an SQLite file."""

    async def post(self) -> None:
        """Stream the copy; its temporary file is beside the inbox."""
        beside = self.inbox.store.backup_folder
        if beside is None:
            self.write_fault(RequestError(409, "not_a_file", "this inbox is in PostgreSQL: back it up with pg_dump"))
            return
        with tempfile.TemporaryDirectory(prefix=".backup-", dir=beside) as folder:
            copy = Path(folder, "inbox.db")
            try:
                await self.inbox.store.back_up(copy)
            except InboxUnavailable as failure:
                self.write_fault(unavailable(failure))
                return
            self.set_header("Content-Type", "application/vnd.sqlite3")
            with await asyncio.to_thread(copy.open, "rb") as file, contextlib.suppress(ConnectionError):
                self.set_header("Content-Length", str(os.fstat(file.fileno()).st_size))
                while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
                    self.write(chunk)
                    await self.flush()
                await self.finish()


def stats_body(stats: InboxStats) -> dict[str, object]:
    """Return the JSON form of the figures."""
    return {
        "epoch": stats.epoch,
        "rows": stats.rows,
        "bytes": stats.bytes,
        "oldest": stats.oldest_ms,
        "last_seq": stats.last_seq,
    }
