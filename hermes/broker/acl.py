"""Access rules of the embedded broker, derived from the templates.

They are mosquitto's ACL file (mosquitto.conf(5)). A device may publish to the topics of its tenant and device, and read
nothing: mosquitto grants every SUBSCRIBE and then sends nothing that the client may not read. **If mosquitto cannot
read this file at a reload, it allows everything to everyone**: so each line is checked here, and
`hermes.broker.supervisor` kills the broker at once if it reports an error nevertheless.
"""

from collections.abc import Iterable, Iterator

from hermes.broker.accounts import Account
from hermes.errors import AccountError
from hermes.topics import filters as topic_filters
from hermes.topics.isolation import isolation_problems
from hermes.topics.topic_map import TopicMap

LEVELS_MAX = 200  # mosquitto's limit; a longer filter is an error in the file
FILTER_MAX_BYTES = 65_535


class AclBuilder:
    """Rules for the devices of these templates.

    The filters of an account are remembered: 10,000 accounts take 0.3 s with one template, and are all needed again
    whenever one of them changes.
    """

    def __init__(self, topics: TopicMap) -> None:
        self._topics = topics
        self._problem = next(iter(isolation_problems(topics.templates)), None)
        self._known: dict[Account, tuple[str, ...]] = {}

    def filters(self, account: Account) -> tuple[str, ...]:
        """Return the topic filters that the account may publish to.

        Raises `AccountError` with the reason if there are none.
        """
        if self._problem is not None:
            raise AccountError(self._problem)
        if account not in self._known:
            self._known[account] = self._derived(account)
        if not self._known[account]:
            raise AccountError(
                f"no template has a topic for {account}: check --topic, the slashes of the ids and their length"
            )
        return self._known[account]

    def _derived(self, account: Account) -> tuple[str, ...]:
        found = (
            text
            for template in self._topics.templates
            for text in template.filters_for(account.tenant_id, account.device_id)
        )
        return topic_filters.uncovered(text for text in found if _is_valid_rule(text))

    def text(self, accounts: Iterable[Account], *, unrestricted: Iterable[str]) -> str:
        """Return the ACL file, without accounts that have no topic.

        The ``unrestricted`` users may do everything.
        """
        lines = [line for user in unrestricted for line in self._unrestricted_lines(user)]
        for account in accounts:
            try:
                filters = self.filters(account)
            except AccountError:
                continue
            lines += [f"user {account.user}", *(f"topic write {text}" for text in filters)]
        return "\n".join([*lines, ""])

    def _unrestricted_lines(self, user: str) -> Iterator[str]:
        yield f"user {user}"
        yield "topic readwrite #"
        for text in self._topics.filters:
            if text.startswith("$"):  # # does not match these topics
                yield f"topic readwrite {text}"


def _is_valid_rule(text: str) -> bool:
    """Return whether mosquitto reads ``topic write TEXT`` as exactly this filter."""
    return (
        text.isprintable()
        and text == text.strip()
        and text.count("/") < LEVELS_MAX
        and len(text.encode()) <= FILTER_MAX_BYTES
    )
