"""Which topics each device may publish to: mosquitto's ACL file (mosquitto.conf(5)), derived from the templates.

A device may write the topics that the templates give to it, and read nothing. mosquitto takes every SUBSCRIBE and
then keeps back what the client may not read. **Where it cannot read this file at a reload it lets everyone do
everything**, so each line is checked here, and `hermes.broker.supervisor` ends it at once should it complain all the
same.
"""

import re
from collections.abc import Iterable, Iterator

from hermes.broker.accounts import Account
from hermes.errors import AccountError
from hermes.topics import filters as topic_filters
from hermes.topics.template import DEVICE, TENANT, Template, level_pattern
from hermes.topics.topic_map import TopicMap

LEVELS_MAX = 200  # mosquitto's; one more is a fault in the file
FILTER_MAX_BYTES = 65_535
FILLER = "x"  # for a level that may be anything


class AclBuilder:
    """What these templates let a device do. Remembers its answers: thousands of accounts are asked for again."""

    def __init__(self, topics: TopicMap) -> None:
        self._topics = topics
        self._known: dict[Account, tuple[str, ...] | AccountError] = {}

    def filters(self, account: Account) -> tuple[str, ...]:
        """The topic filters that it may publish to. Raises `AccountError`: why there are none."""
        known = self._known.get(account)
        if known is None:
            known = self._known[account] = self._derived(account)
        if isinstance(known, AccountError):
            raise known
        return known

    def text(self, accounts: Iterable[Account], *, free: Iterable[str]) -> str:
        """The ACL file. The users of ``free`` may do everything; accounts without any topic are not in it."""
        lines = [line for user in free for line in self._free_lines(user)]
        for account in accounts:
            try:
                filters = self.filters(account)
            except AccountError:
                continue
            lines += [f"user {account.user}", *(f"topic write {text}" for text in filters)]
        return "\n".join([*lines, ""])

    def _free_lines(self, user: str) -> Iterator[str]:
        yield f"user {user}"
        yield "topic readwrite #"
        for text in self._topics.filters:
            if text.startswith("$"):  # which # does not match
                yield f"topic readwrite {text}"

    def _derived(self, account: Account) -> tuple[str, ...] | AccountError:
        try:
            found = [text for template in self._topics.templates for text in self._own(template, account)]
        except AccountError as fault:
            return fault
        if not found:
            return AccountError(f"no template has a topic for {account}: look at --topic, and at the ids' / and length")
        return topic_filters.uncovered(found)

    def _own(self, template: Template, account: Account) -> Iterator[str]:
        """What a template gives to this account, where nobody else's topics are among it."""
        for text in filled(template, account):
            if not _fits(text):
                continue
            for other in self._topics.templates:
                if self._speaks_for_others(text, other, account):
                    raise AccountError(
                        f"{account} could speak for other devices: {text} of template {template.text!r} is also in "
                        f"{other.text!r}, which finds other ids there; change one of the two, or the id"
                    )
            yield text

    def _speaks_for_others(self, text: str, other: Template, account: Account) -> bool:
        """Whether the other template may see topics of this filter as another device's. Rather yes than no."""
        return any(
            self._is_anothers(_shared(text, each), other, account)
            for each in other.filters
            if topic_filters.overlap(text, each)
        )

    def _is_anothers(self, shared: str, other: Template, account: Account) -> bool:
        if self._read_otherwise(shared, account):
            return True
        if not _has_wildcard(shared) or _contradicts(shared, other):
            return False
        return not any(topic_filters.covers(own, shared) for own in filled(other, account))

    def _read_otherwise(self, text: str, account: Account) -> bool:
        """Whether a topic of this filter is seen as another device's: within a level, ids may divide elsewhere."""
        match = self._topics.match("/".join(FILLER if level in ("+", "#") else level for level in text.split("/")))
        return match is not None and (match.tenant_id, match.device_id) != account


def filled(template: Template, account: Account) -> tuple[str, ...]:
    """The filters that bring only this device's topics; none where the template cannot hold it."""
    if not all(template.confines(name) for name in (TENANT, DEVICE)):
        return ()
    return template.filters_for(account.tenant_id, account.device_id)


def _shared(one: str, other: str) -> str:
    """The filter of the topics that two overlapping filters have in common."""
    left, right = one.split("/"), other.split("/")
    levels: list[str] = []
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a == "#":
            return "/".join([*levels, *right[index:]])
        if b == "#":
            return "/".join([*levels, *left[index:]])
        levels.append(b if a == "+" else a)
    return "/".join(levels)  # of a/# and a, the # stands for no level


def _contradicts(shared: str, template: Template) -> bool:
    """Whether a level that each topic of the filter has is one that the template never takes: its text, or a pattern,
    says otherwise. A ``+`` never does, for it may be anything.
    """
    known = shared.removesuffix("#").split("/")
    return any(
        text not in ("", "+") and re.fullmatch(level_pattern(level), text) is None
        for text, level in zip(known, template.levels, strict=False)
    )


def _has_wildcard(text: str) -> bool:
    return not {"+", "#"}.isdisjoint(text.split("/"))


def _fits(text: str) -> bool:
    """Whether mosquitto reads the line as it is meant."""
    return (
        text.isprintable()
        and text == text.strip()
        and text.count("/") < LEVELS_MAX
        and len(text.encode()) <= FILTER_MAX_BYTES
    )
