"""Send a notification: store it first, and deliver it after the commit.

This is the only path from a request to the hub when there is an inbox.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from hermes.cluster.bus import Bus
from hermes.delivery import channels
from hermes.delivery.channels import Channel
from hermes.delivery.frames import notification_text, with_seq
from hermes.delivery.hub import Receipt
from hermes.delivery.messages import Broadcast, EncodedMessage, Notification, StoreOptions
from hermes.errors import RequestError
from hermes.ids import TenantId
from hermes.inbox.inbox import (
    Conflict,
    Duplicate,
    FailureReason,
    Inbox,
    InboxUnavailable,
    Stored,
    Submission,
)
from hermes.inbox.wakeups import Wakeups
from hermes.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of a notification: the sockets that accepted it, and its row.

    ``seq`` is None if no row is stored; ``reason`` then says why, if it was to be stored. ``acked_ms`` is when the row
    of a duplicate was acknowledged, in Unix milliseconds. ``uncertain`` is that of `Receipt`.
    """

    id: str
    sockets: int
    seq: int | None = None
    reason: FailureReason | None = None
    replaced: bool | None = None
    duplicate: bool = False
    acked_ms: int | None = None
    uncertain: tuple[str, ...] | None = None


class Sender:
    """Store and deliver notifications.

    ``ttl_s`` is how long a row is kept by default, in seconds. ``receipt_of`` returns which sockets of this process
    took a row.
    """

    def __init__(
        self,
        *,
        inbox: Inbox,
        bus: Bus,
        wakeups: Wakeups,
        metrics: Metrics,
        ttl_s: int,
        receipt_of: Callable[[int | None], Receipt],
    ) -> None:
        self._receipt_of = receipt_of
        self._requests = metrics.inbox_requests
        self._stored, self._id_only = metrics.inbox_requests.labels("stored"), metrics.inbox_requests.labels("id_only")
        self._inbox = inbox
        self._wakeups = wakeups
        self._bus = bus
        self._ttl_s = ttl_s

    async def send(
        self,
        message: Notification | Broadcast,
        options: StoreOptions,
        *,
        only_tenant: TenantId | None = None,
        sender: str = "",
    ) -> Sent:
        """Store and deliver a notification.

        One that cannot be stored is delivered without a number.

        Raises `RequestError` 409 ``conflict`` if another one had the same id, and 503 ``not_stored`` if it must be
        stored and cannot be.
        """
        submission = self._submission(message, options, only_tenant=only_tenant, sender=sender)
        receipt = Receipt()

        def publish(stored: Stored) -> None:
            nonlocal receipt
            if stored.replaced is not None:  # its number is the lower one
                self._bus.publish(stored.replaced, only_tenant=stored.replaced.bound_tenant)
            if stored.seq is None:
                receipt = self._publish_unstored(message, only_tenant)
            else:
                encoded = EncodedMessage(
                    message.kind, message.channels[0], with_seq(submission.text, stored.seq), stored.seq
                )
                receipt = self._bus.publish(encoded, only_tenant=only_tenant)
            self._wakeups.wake(message.channels)

        try:
            outcome = await self._inbox.append(submission, publish)
        except InboxUnavailable as failure:
            self._requests.labels(failure.reason).inc()
            return await self._send_unstored(submission, options, failure.reason)
        if isinstance(outcome, Conflict):
            self._requests.labels("conflict").inc()
            raise RequestError(409, "conflict", f"another notification had the id {message.id!r} in the last 24 hours")
        if isinstance(outcome, Duplicate):
            self._requests.labels("duplicate").inc()
            replaced = outcome.replaced if message.replaces is not None else None
            receipt = await self._receipt_again(submission, outcome)
            return Sent(
                message.id,
                receipt.sockets,
                outcome.seq,
                outcome.reason,
                replaced,
                duplicate=True,
                acked_ms=outcome.acked_ms,
                uncertain=receipt.uncertain,
            )
        (self._id_only if outcome.seq is None else self._stored).inc()
        await self._bus.flushed((receipt,))
        self._inbox.delivered(submission, receipt.sockets)
        replaced = outcome.replaced is not None if message.replaces is not None else None
        return Sent(message.id, receipt.sockets, outcome.seq, replaced=replaced, uncertain=receipt.uncertain)

    async def _receipt_again(self, submission: Submission, known: Duplicate) -> Receipt:
        """Return the receipt of a request that was accepted before.

        If the store knows no socket, another process may be delivering it now.
        """
        if known.sockets or known.reason is not None:
            receipt = Receipt()
            receipt.sockets = known.sockets
            return receipt
        return await self._bus.ask_again(
            submission.message, known.seq, self._receipt_of(known.seq), only_tenant=submission.bound_tenant
        )

    async def _send_unstored(self, submission: Submission, options: StoreOptions, reason: FailureReason) -> Sent:
        message = submission.message
        if options.required:
            self._inbox.delivered(submission, None)
            raise RequestError(503, "not_stored", f"it cannot be stored now ({reason}); nothing was delivered")
        receipt = self._publish_unstored(message, submission.bound_tenant)
        await self._bus.flushed((receipt,))
        self._inbox.delivered(submission, receipt.sockets)
        return Sent(
            message.id,
            receipt.sockets,
            reason=reason,
            replaced=None if message.replaces is None else False,
            uncertain=receipt.uncertain,
        )

    def _publish_unstored(self, message: Notification | Broadcast, only_tenant: TenantId | None) -> Receipt:
        """Deliver a message without a row.

        It is in no page of a replay, so it also goes to sockets that are replaying.
        """
        return self._bus.publish(message, only_tenant=only_tenant, to=[*message.channels, unstored_channel(message)])

    def _submission(
        self,
        message: Notification | Broadcast,
        options: StoreOptions,
        *,
        only_tenant: TenantId | None,
        sender: str,
    ) -> Submission:
        ttl_s = self._ttl_s if options.ttl_s is None else options.ttl_s
        return Submission(
            message=message,
            text=notification_text(message),
            digest=digest_of(message, options),
            expires_ms=message.timestamp_ms + 1_000 * ttl_s if ttl_s else None,
            replaces=message.replaces,
            bound_tenant=only_tenant,
            sender=sender,
        )


def unstored_channel(message: Notification | Broadcast) -> Channel:
    """Return the channel of a message without a row for sockets that are replaying."""
    if isinstance(message, Notification):
        return channels.user_unstored(message.user_id)
    return channels.broadcast_unstored(message.tenant_id)


def digest_of(message: Notification | Broadcast, options: StoreOptions) -> bytes:
    """Return the hash of the request's values.

    They are compared as JSON values, without the id and the recipient.
    """
    values = [
        message.title,
        message.message,
        message.type,
        None if message.data is None else orjson.loads(message.data),
        message.priority,
        message.replaces,
        options.ttl_s,
        options.required,
    ]
    return hashlib.sha256(orjson.dumps(values, option=orjson.OPT_SORT_KEYS)).digest()
