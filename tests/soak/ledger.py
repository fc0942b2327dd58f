"""What a soak sends, and what of it may be lost: numbered notifications by ``POST /notify``, all along.

A notification *counts* when it was asked for and answered in one calm: from the moment when every socket was open again
and Hermes had its link to the broker, until the next fault began. In a calm each must be answered with ``sent: true``
and reach every socket of its user that carries notifications. What is asked for or answered during a fault may be lost:
nobody promises it to a socket that is not there. Nothing may ever come twice on one route, counted or not.
"""

import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field

INTERVAL_S = 0.1
TIMEOUT_S = 60.0  # reached only in a soak that fails


@dataclass(frozen=True, slots=True)
class Notice:
    """One notification; the moments are of ``time.monotonic()``."""

    id: str
    user_id: str
    asked_s: float
    answered_s: float
    outcome: str  # "sent", "unsent", or what went wrong


@dataclass
class Ledger:
    """All of them, and the calms."""

    notices: list[Notice] = field(default_factory=list)
    calms: list[tuple[float, float]] = field(default_factory=list)

    def within(self, since_s: float, until_s: float) -> list[Notice]:
        """Those that were asked for and answered in this time."""
        return [notice for notice in self.notices if since_s <= notice.asked_s and notice.answered_s <= until_s]

    @property
    def counted(self) -> list[Notice]:
        """Those that lie within a calm."""
        return [notice for calm in self.calms for notice in self.within(*calm)]


class Sender(threading.Thread):
    """Sends to each user in turn until it is stopped; ids go up and end in their number."""

    def __init__(self, url: str, api_key: str, users: tuple[str, ...], ledger: Ledger) -> None:
        super().__init__(name="soak-sender")
        self._url = url
        self._headers = {"Content-Type": "application/json", "X-API-Key": api_key}
        self._users = users
        self._ledger = ledger
        self._stopping = threading.Event()

    def run(self) -> None:
        """One every ``INTERVAL_S``."""
        number = 0
        while not self._stopping.wait(INTERVAL_S):
            number += 1
            for user_id in self._users:
                self._send(f"{user_id}-{number:06}", user_id)

    def stop(self) -> None:
        """Until it has its last answer."""
        self._stopping.set()
        self.join(2 * TIMEOUT_S)

    def _send(self, id: str, user_id: str) -> None:
        asked_s = time.monotonic()
        outcome = self._post({"id": id, "user_id": user_id, "title": f"Number {id}", "message": ""})
        self._ledger.notices.append(Notice(id, user_id, asked_s, time.monotonic(), outcome))

    def _post(self, notice: dict[str, str]) -> str:
        request = urllib.request.Request(f"{self._url}/notify", json.dumps(notice).encode(), self._headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return "sent" if json.load(response)["sent"] else "unsent"
        except OSError as error:  # refused, reset, and all that urllib and http.client make of it
            return str(error)
        except Exception as error:  # noqa: BLE001 - a half-read answer of a killed server; told as the outcome
            return repr(error)
