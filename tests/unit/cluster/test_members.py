"""The other nodes, as they announce themselves."""

import logging

import pytest

from hermes.cluster.members import (
    CLOCK_CONFIRMED_S,
    FORGOTTEN_S,
    FORMER_MAX,
    FORMER_S,
    INBOX_CONFIRMED_S,
    MEMBERS_MAX,
    Members,
)
from hermes.metrics import Metrics
from hermes.testing import FakeClock


def make_members(clock: FakeClock | None = None) -> Members:
    """Return the members that node a sees."""
    return Members(name="a", instance="1", keys=lambda: "keys", metrics=Metrics(), clock=clock or FakeClock())


def here(node: str, instance: str = "2", **more: object) -> dict[str, object]:
    """Return an announcement."""
    head = {"op": "here", "node": node, "instance": instance, "version": "1", "protocol": 1, "keys": "keys"}
    return head | {"users": 3, "sockets": 4} | more


def test_a_node_is_known_until_it_leaves_or_is_silent() -> None:
    """It is forgotten after 15 s, or at once if it says so."""
    clock = FakeClock()
    members = make_members(clock)
    assert members.heard(here("b"))
    assert not members.heard(here("b"))
    assert members.heard(here("b", "3"))  # restarted
    clock.now_s += FORGOTTEN_S - 1
    members.heard(here("c"))
    members.expire()
    assert members.names == ["b", "c"]
    clock.now_s += 2
    members.expire()
    assert members.names == ["c"]
    members.left("c", "another")
    assert members.names == ["c"]
    members.left("c", "2")
    assert members.names == []


def test_a_node_that_is_gone_is_shown_for_an_hour() -> None:
    """Whether it said that it stops, and when it was last heard; until it returns."""
    clock = FakeClock()
    members = make_members(clock)
    members.heard(here("b"))
    members.heard(here("c"))
    clock.now_s += 1
    members.left("c", "2")
    clock.now_s += FORGOTTEN_S
    members.expire()
    assert [(each.name, each.has_left, clock.now_s - each.heard_s) for each in members.former] == [
        ("b", False, FORGOTTEN_S + 1),
        ("c", True, FORGOTTEN_S),
    ]
    members.heard(here("b"))
    assert [each.name for each in members.former] == ["c"]
    clock.now_s += FORMER_S
    assert members.former == []


def test_an_outage_of_nats_is_no_silence_of_the_nodes() -> None:
    """Nodes have their time to return; those that do not were last heard before it."""
    clock = FakeClock()
    members = make_members(clock)
    members.heard(here("b"))
    clock.now_s += 60
    members.connected()
    members.expire()
    assert members.names == ["b"]
    clock.now_s += FORGOTTEN_S + 1
    members.expire()
    assert [clock.now_s - each.heard_s for each in members.former] == [60 + FORGOTTEN_S + 1]


def test_nodes_that_are_gone_do_not_fill_the_memory() -> None:
    """At most `FORMER_MAX` are known: the last ones."""
    clock = FakeClock()
    members = make_members(clock)
    for number in range(FORMER_MAX + 10):
        members.heard(here(f"n{number:03}"))
        clock.now_s += 1
        members.left(f"n{number:03}", "2")
    assert (len(members.former), members.former[0].name) == (FORMER_MAX, "n010")


def test_other_keys_and_another_protocol_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Unknown keys of the announcement are ignored, and wrong types."""
    members = make_members()
    for _ in range(3):
        members.heard(here("b", keys="other", protocol=2, mood="fine", users="many"))
    assert [record.levelno for record in caplog.records if record.levelno > logging.INFO] == [
        logging.ERROR,
        logging.WARNING,
    ]
    assert members.all[0].users == 0


def test_a_namesake_is_reported_while_it_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    """It is not another member."""
    clock = FakeClock()
    members = make_members(clock)
    members.heard(here("a", "1"))  # itself
    assert len(caplog.records) == 0
    members.heard(here("a", "2"))
    members.heard(here("a", "2"))
    assert members.namesake == "2"
    assert len(members) == 0
    assert len(caplog.records) == 1
    clock.now_s += FORGOTTEN_S + 1
    members.expire()
    assert not members.namesake


def test_a_clock_that_differs_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """If two announcements say so; and again after it was right."""
    clock = FakeClock()
    members = Members(
        name="a", instance="1", keys=lambda: "keys", metrics=Metrics(), clock=clock, wall_clock=lambda: 1_000.0
    )
    found = []
    for clock_ms in (0, 1_000_000, 0, 0, 0, 1_000_000, 1_060_000, 1_060_000):
        members.heard(here("b", clock_ms=clock_ms))
        clock.now_s += CLOCK_CONFIRMED_S
        found.append(len([record for record in caplog.records if "the clock of" in record.getMessage()]))
    assert found == [0, 0, 0, 1, 1, 1, 1, 2]
    assert "b is 1000 s behind" in caplog.text
    assert "b is 60 s ahead" in caplog.text


def test_invented_names_do_not_fill_the_memory() -> None:
    """At most `MEMBERS_MAX` nodes are known."""
    members = make_members()
    for number in range(MEMBERS_MAX + 10):
        members.heard(here(f"n{number}"))
    assert len(members) == MEMBERS_MAX


def test_an_announcement_cannot_fill_the_memory() -> None:
    """Names are those of nodes, and texts are cut."""
    members = make_members()
    members.heard(here("b\n", version="x"))
    members.heard(here("b" * 65))
    members.heard(here("b", "i" * 1_000_000, version="v" * 1_000_000, keys="k" * 1_000_000))
    [member] = members.all
    assert (member.name, len(member.instance), len(member.version), len(member.keys)) == ("b", 64, 64, 64)


def test_a_node_with_another_inbox_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    """Not after a failover, which the nodes follow one after the other; once, and again after it was right."""
    caplog.set_level(logging.INFO)
    clock, epoch = FakeClock(), "one"
    members = Members(name="a", instance="1", keys=lambda: "keys", epoch=lambda: epoch, metrics=Metrics(), clock=clock)

    def after(epochs: list[str]) -> int:
        """Return the number of reports after announcements with these epochs, one in 5 s."""
        caplog.clear()
        for each in epochs:
            clock.now_s += 5
            members.heard(here("b", epoch=each))
        return sum("another database" in record.message for record in caplog.records)

    assert after(["one", "two", "two", "one", "two", "", "two", "two"]) == 0
    assert after(["two"] * (2 + int(INBOX_CONFIRMED_S / 5))) == 1
    assert after(["one"]) == 0
    assert "the same database again" in caplog.text
    assert after(["two"] * (2 + int(INBOX_CONFIRMED_S / 5))) == 1
    members.left("b", "2")
    assert after(["two"] * (2 + int(INBOX_CONFIRMED_S / 5))) == 1
    epoch = ""  # this node has no inbox, or has not reached it
    assert after(["two"] * (2 + int(INBOX_CONFIRMED_S / 5))) == 0
    assert after(["two"]) == 0
    caplog.clear()
