"""The other nodes, as they announce themselves."""

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from hermes.cluster.envelope import PROTOCOL, Head, number_of, text_of
from hermes.delivery.messages import now_ms
from hermes.metrics import Metrics
from hermes.settings.cluster.fields import NODE_NAME

logger = logging.getLogger(__name__)

ANNOUNCE_INTERVAL_S = 5.0
FORGOTTEN_S = 15.0  # three announcements are missing
CLOCK_DIFFERENCE_MAX_S = 5.0  # more is reported
CLOCK_CONFIRMED_S = 4.0  # after which the next announcement must show the same
INBOX_CONFIRMED_S = 14.0  # the nodes follow a failover one after the other
TEXT_MAX_CHARS = 64  # of each text of an announcement; those of Hermes are shorter
MEMBERS_MAX = 1_000  # more than any site has: a peer that invents names must not fill the memory
FORMER_MAX = 100  # nodes that are gone; the oldest make room
FORMER_S = 3_600.0  # for which they are shown


@dataclass(slots=True)
class Member:
    """Another node, as it last announced itself; ``heard_s`` is in monotonic seconds."""

    name: str
    instance: str
    version: str
    protocol: int
    keys: str
    users: int
    sockets: int
    has_joined: bool
    revocations: str
    heard_s: float


@dataclass(frozen=True, slots=True)
class FormerMember:
    """A node that is gone, and when it was last heard in monotonic seconds.

    ``has_left`` is False if it did not say that it was stopping.
    """

    name: str
    version: str
    has_left: bool
    heard_s: float


class Members:
    """The other living nodes by name.

    ``name`` and ``instance`` are those of this node, ``keys`` the hash of its token keys, ``epoch`` that of the shared
    inbox. ``clock`` gives monotonic seconds, ``wall_clock`` Unix seconds.
    """

    def __init__(
        self,
        *,
        name: str,
        instance: str,
        keys: Callable[[], str],
        epoch: Callable[[], str] = str,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._instance = instance
        self._keys = keys
        self._epoch = epoch
        self._metrics = metrics
        self._clock = clock
        self._members: dict[str, Member] = {}
        self._former: OrderedDict[str, FormerMember] = OrderedDict()  # the last that has gone is the last
        self._wall_clock = wall_clock
        self._clock_since: dict[str, float] = {}  # by node: since when its clock differs
        self._inbox_since: dict[str, float] = {}  # by node: since when its inbox is in another epoch
        self._logged: set[tuple[str, str]] = set()  # of a node and what is unusual about it
        self.namesake = ""  # the instance of another node with this node's name
        self._namesake_s = 0.0  # when it was heard
        self._connected_s = 0.0

    def __len__(self) -> int:
        return len(self._members)

    @property
    def all(self) -> list[Member]:
        """The other living nodes, by name."""
        return [self._members[name] for name in sorted(self._members)]

    @property
    def names(self) -> list[str]:
        """The names of the other living nodes, in order."""
        return sorted(self._members)

    @property
    def former(self) -> list[FormerMember]:
        """The nodes that have gone in the last `FORMER_S` and not returned, by name."""
        after_s = self._clock() - FORMER_S
        return [self._former[name] for name in sorted(self._former) if self._former[name].heard_s > after_s]

    def get(self, name: str) -> Member | None:
        """Return another living node by name."""
        return self._members.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def has_same_keys(self, member: Member) -> bool:
        """Return whether a node verifies tokens with the keys of this one."""
        return member.keys == self._keys()

    def heard_ms(self, member: Member | FormerMember) -> int:
        """Return when a node was last heard, in Unix milliseconds."""
        return now_ms() - round((self._clock() - member.heard_s) * 1_000)

    def heard(self, head: Head) -> bool:
        """Note an announcement; return whether the node was not known."""
        name, instance = str(head["node"]), _short(head, "instance")
        if instance == self._instance:
            return False
        if name == self._name:
            self._note_namesake(instance)
            return False
        known = self._members.get(name)
        if known is None and (len(self._members) >= MEMBERS_MAX or NODE_NAME.fullmatch(name) is None):
            return False
        member = self._members[name] = Member(
            name=name,
            instance=instance,
            version=_short(head, "version"),
            protocol=number_of(head, "protocol"),
            keys=_short(head, "keys"),
            users=number_of(head, "users"),
            sockets=number_of(head, "sockets"),
            has_joined=head.get("joined") is True,
            revocations=_short(head, "revocations"),
            heard_s=self._clock(),
        )
        self._former.pop(name, None)
        is_new = known is None or known.instance != instance
        if is_new:
            logger.info("the node %s is there: version %s, %d users", name, member.version, member.users)
        self._note_differences(member)
        self._compare_clocks(name, head)
        self._compare_inboxes(name, _short(head, "epoch"))
        self._metrics.cluster_nodes.set(len(self._members))
        return is_new

    def _note_namesake(self, instance: str) -> None:
        if self.namesake != instance:
            logger.error(
                "another node has the name %s too: messages may be lost; give each node its own --node-name", self._name
            )
        self.namesake = instance
        self._namesake_s = self._clock()

    def _note_differences(self, member: Member) -> None:
        if not self.has_same_keys(member):
            self._log_once(
                member.name,
                f"keys {member.keys}",
                logging.ERROR,
                "the node %s verifies tokens with other keys: give all nodes the same secrets and public keys",
            )
        if member.protocol != PROTOCOL:
            self._log_once(
                member.name,
                f"protocol {member.protocol}",
                logging.WARNING,
                f"the node %s has another version of the protocol between nodes ({member.protocol}, here {PROTOCOL}): "
                "upgrade all nodes",
            )

    def _compare_clocks(self, name: str, head: Head) -> None:
        """Report a clock that differs in two announcements.

        One alone may have waited on its way.
        """
        difference_s = number_of(head, "clock_ms") / 1_000 - self._wall_clock()
        if "clock_ms" not in head or abs(difference_s) <= CLOCK_DIFFERENCE_MAX_S:
            self._clock_since.pop(name, None)
            self._logged.discard((name, "clock"))
        elif self._clock() - self._clock_since.setdefault(name, self._clock()) >= CLOCK_CONFIRMED_S:
            self._log_once(
                name,
                "clock",
                logging.ERROR,
                f"the clock of the node %s is {abs(difference_s):.0f} s {'ahead' if difference_s > 0 else 'behind'}: "
                "revocations need clocks that are right; use NTP",
            )

    def _compare_inboxes(self, name: str, epoch: str) -> None:
        """Report a node that stores in another database.

        After a failover the nodes need some time until all have the same epoch again.
        """
        if epoch in ("", self._epoch()) or not self._epoch():
            self._inbox_since.pop(name, None)
            if (name, "inbox") in self._logged:
                self._logged.discard((name, "inbox"))
                logger.info("the node %s stores in the same database again", name)
        elif self._clock() - self._inbox_since.setdefault(name, self._clock()) >= INBOX_CONFIRMED_S:
            self._log_once(
                name,
                "inbox",
                logging.ERROR,
                "the node %s stores in another database: its users do not get what is stored here; give all nodes the "
                "same --inbox, and stop an old primary that was replaced",
            )

    def _log_once(self, name: str, what: str, level: int, text: str) -> None:
        if (name, what) not in self._logged and len(self._logged) < 2 * MEMBERS_MAX:
            self._logged.add((name, what))
            logger.log(level, text, name)

    def connected(self) -> None:
        """Give the nodes that were known before an outage the time to return."""
        self._connected_s = self._clock()

    def left(self, name: str, instance: str) -> None:
        """Forget a node that is stopping."""
        known = self._members.get(name)
        if known is not None and known.instance == instance:
            known.heard_s = self._clock()
            self._forget(known, "has left", has_left=True)

    def expire(self) -> None:
        """Forget the nodes that have been silent for `FORGOTTEN_S`."""
        before_s = self._clock() - FORGOTTEN_S
        if self._namesake_s < before_s:
            self.namesake = ""
        for member in self.all:
            if max(member.heard_s, self._connected_s) < before_s:
                self._forget(member, f"has been silent for {FORGOTTEN_S:g} s", has_left=False)

    def _forget(self, member: Member, why: str, *, has_left: bool) -> None:
        del self._members[member.name]
        self._former[member.name] = FormerMember(member.name, member.version, has_left, member.heard_s)
        self._former.move_to_end(member.name)
        if len(self._former) > FORMER_MAX:
            self._former.popitem(last=False)
        self._clock_since.pop(member.name, None)
        self._inbox_since.pop(member.name, None)
        self._logged.discard((member.name, "inbox"))
        logger.warning("the node %s %s", member.name, why)
        self._metrics.cluster_nodes.set(len(self._members))


def _short(head: Head, key: str) -> str:
    """Return a text of an announcement, at most `TEXT_MAX_CHARS` of it."""
    return (text_of(head, key) or "")[:TEXT_MAX_CHARS]
