"""Which of several nodes exchanges its revocations when they differ."""

from itertools import pairwise

from hermes.cluster.comparison import CONFIRMED_S, PAUSE_MAX_S, PAUSE_S, Comparison
from hermes.cluster.members import FORGOTTEN_S, Members
from hermes.metrics import Metrics
from hermes.testing import FakeClock


class Node:
    """A node with the digest "mine", and what others announce to it."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.members = Members(name="a", instance="1", keys=str, metrics=Metrics(), clock=self.clock)
        self.comparison = Comparison(self.members, clock=self.clock)
        self.comparison.digest = lambda: "mine"

    def hears(self, name: str, digest: str | None) -> bool:
        """Return whether it exchanges revocations now."""
        head = {"op": "here", "node": name, "instance": name, "keys": ""}
        self.members.heard(head if digest is None else head | {"revocations": digest})
        member = self.members.get(name)
        assert member is not None
        return self.comparison.must_exchange(member)

    def hears_twice(self, **digests: str) -> list[str]:
        """Return the nodes with which it exchanges after the second announcement."""
        for name, digest in digests.items():
            assert not self.hears(name, digest)
        self.clock.now_s += CONFIRMED_S
        return [name for name, digest in digests.items() if self.hears(name, digest)]


def test_a_difference_must_be_seen_twice() -> None:
    """A change may be under way; an older version announces nothing."""
    node = Node()
    assert not node.hears("old", None)
    assert not node.hears("b", "theirs")
    node.clock.now_s += CONFIRMED_S
    assert not node.hears("b", "mine")
    assert node.hears_twice(b="theirs") == ["b"]
    assert not node.hears("old", None)


def test_the_smaller_group_exchanges() -> None:
    """So that one node that missed something does not get a question from every other one."""
    assert Node().hears_twice(b="theirs", c="theirs") == ["b"]
    assert Node().hears_twice(b="theirs", c="mine") == []
    assert Node().hears_twice(b="theirs", c="mine", d="theirs") == ["b"]
    assert Node().hears_twice(b="one", c="two", d="three") == ["b"]


def test_a_difference_that_stays_costs_less_and_less() -> None:
    """A node may have no room for more."""
    node = Node()
    times = []
    for second in range(3_600):
        node.clock.now_s += 1
        if node.hears("b", "theirs"):
            times.append(second)
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses[0] >= PAUSE_S
    assert pauses == sorted(pauses)
    assert PAUSE_MAX_S <= pauses[-1] <= PAUSE_MAX_S + CONFIRMED_S + 1


def test_a_node_that_is_forgotten_is_not_remembered() -> None:
    """Nothing is kept of names that are gone."""
    node = Node()
    node.hears("b", "theirs")
    node.clock.now_s += FORGOTTEN_S + 1
    node.members.expire()
    node.hears("c", "theirs")
    assert list(node.comparison._since) == ["c"]
