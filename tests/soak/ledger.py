"""Notifications that a soak sends with ``POST /notify``, numbered, and which of them must arrive.

A calm begins when every socket is open again and Hermes is connected to the broker; it ends when the next fault begins.
A notification *counts* if its request and its response lie within one calm. It must then have the response
``sent: true`` and arrive at every socket of its user that carries notifications. A notification with a request or a
response during a fault may be lost. No notification may arrive twice on one route, whether it counts or not;
the frames of the console's sockets may, see `tests.soak.pages.SoakedConsole`.
"""

import json
import threading
import time
import urllib.request
from dataclasses import dataclass, field

INTERVAL_S = 0.1
TIMEOUT_S = 60.0  # reached only in a soak that fails


@dataclass(frozen=True, slots=True)
class Notification:
    """One notification; times are of ``time.monotonic()``."""

    id: str
    user_id: str
    requested_s: float
    answered_s: float
    outcome: str  # "sent", "unsent", or the error


@dataclass
class Ledger:
    """All notifications that were sent, and the calms as pairs of begin and end."""

    notifications: list[Notification] = field(default_factory=list)
    calms: list[tuple[float, float]] = field(default_factory=list)

    def within(self, since_s: float, until_s: float) -> list[Notification]:
        """Return the notifications with request and response in this interval."""
        return [
            notification
            for notification in self.notifications
            if since_s <= notification.requested_s and notification.answered_s <= until_s
        ]

    @property
    def counted(self) -> list[Notification]:
        """The notifications that lie within a calm."""
        return [notification for calm in self.calms for notification in self.within(*calm)]


class Sender(threading.Thread):
    """Thread that notifies each user in turn; the ids end in increasing numbers."""

    def __init__(self, url: str, api_key: str, users: tuple[str, ...], ledger: Ledger) -> None:
        super().__init__(name="soak-sender")
        self._url = url
        self._headers = {"Content-Type": "application/json", "X-API-Key": api_key}
        self._users = users
        self._ledger = ledger
        self._stopping = threading.Event()

    def run(self) -> None:
        """Notify every user once per ``INTERVAL_S`` until the thread is stopped."""
        number = 0
        while not self._stopping.wait(INTERVAL_S):
            number += 1
            for user_id in self._users:
                self._send(f"{user_id}-{number:06}", user_id)

    def stop(self) -> None:
        """Stop the thread; return after its last response."""
        self._stopping.set()
        self.join(2 * TIMEOUT_S)

    def _send(self, id: str, user_id: str) -> None:
        requested_s = time.monotonic()
        outcome = self._post({"id": id, "user_id": user_id, "title": f"Number {id}", "message": ""})
        self._ledger.notifications.append(Notification(id, user_id, requested_s, time.monotonic(), outcome))

    def _post(self, notification: dict[str, str]) -> str:
        request = urllib.request.Request(f"{self._url}/notify", json.dumps(notification).encode(), self._headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
                return "sent" if json.load(response)["sent"] else "unsent"
        except OSError as error:  # refused or reset, as urllib and http.client report it
            return str(error)
        except Exception as error:  # noqa: BLE001 - an incomplete response of a killed server; recorded as the outcome
            return repr(error)
