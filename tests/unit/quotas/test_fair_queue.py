"""The queue that tenants and devices share: which item is dropped, and what that costs."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.quotas.fair_queue import FairQueue, Item
from tests.support.growth import LINEAR_MAX, growth


class Thing(Item):
    """An item with what the tests want to know of it."""

    __slots__ = ("device", "name", "size", "tenant")

    def __init__(self, tenant: str, device: str, name: str = "", size: int = 1) -> None:
        self.tenant, self.device, self.name, self.size = tenant, device, name, size


def put(queue: FairQueue[Thing], *things: Thing) -> list[Thing]:
    """Append these, and return what is dropped."""
    dropped = []
    for thing in things:
        queue.append(thing, tenant=thing.tenant, device=thing.device, size=thing.size)
        while queue.exceeded():
            oldest, _ = queue.next_to_drop()
            queue.remove(oldest)
            dropped.append(oldest)
    return dropped


def of(tenant: str, device: str, count: int) -> list[Thing]:
    """Return so many things of one device."""
    return [Thing(tenant, device, str(number)) for number in range(count)]


def test_a_tenant_alone_may_use_all_of_it() -> None:
    """The oldest of all is dropped then."""
    queue: FairQueue[Thing] = FairQueue(max_count=10)
    things = of("acme", "d1", 5) + of("acme", "d2", 5)
    assert put(queue, *things) == []
    assert put(queue, Thing("acme", "d3")) == things[:1]


def test_the_oldest_of_the_tenant_with_more_than_half_is_dropped() -> None:
    """However old those of the others are."""
    queue: FairQueue[Thing] = FairQueue(max_count=10)
    put(queue, *of("globex", "d1", 5))
    things = [Thing("acme", f"d{number}") for number in range(50)]
    assert put(queue, *things) == things[:45]


def test_within_a_tenant_it_is_the_oldest_of_the_device_with_more_than_half() -> None:
    """The tenant's other devices lose nothing either."""
    queue: FairQueue[Thing] = FairQueue(max_count=12)
    put(queue, *of("globex", "d1", 4), *of("acme", "d1", 4))
    things = of("acme", "d2", 50)
    assert put(queue, *things) == things[:46]


def test_without_such_a_tenant_it_is_the_oldest_of_all() -> None:
    """The share is a protection for those within it, not a fixed part."""
    queue: FairQueue[Thing] = FairQueue(max_count=9)
    things = [Thing(tenant, "d1") for tenant in ("a", "b", "c") * 5]
    assert put(queue, *things) == things[:6]


def test_devices_with_the_same_id_in_two_tenants_are_two() -> None:
    """And ids that give the same text when they are joined are not the same."""
    queue: FairQueue[Thing] = FairQueue(max_count=8)
    first = of("a", "b/c", 4)
    put(queue, *first, *of("a/b", "c", 4))
    others = of("a/b", "b/c", 3)
    assert {thing.tenant for thing in put(queue, *others)} == {"a/b"}
    assert [thing for thing in first if thing not in put(queue, *of("a/b", "c", 9))] == first


@pytest.mark.parametrize("size", [60, 1_000])
def test_a_large_item_displaces_only_those_of_its_tenant(size: int) -> None:
    """Itself in the end, if it is over the limit alone."""
    queue: FairQueue[Thing] = FairQueue(max_size=100)
    others = [Thing("globex", "d1", size=10) for _ in range(5)]
    put(queue, *others, *[Thing("acme", "d1", size=10) for _ in range(5)])
    dropped = put(queue, Thing("acme", "d1", size=size))
    assert len(dropped) == 6
    assert not set(dropped) & set(others)


# -- against a model that looks at every item -------------------------------------------------------------------------


@dataclass
class Model:
    """The same rules, written without any thought of their cost."""

    max_count: int
    max_size: int
    things: list[Thing] = field(default_factory=list)

    def exceeded(self) -> str:
        """Return which limit is exceeded."""
        if len(self.things) > self.max_count:
            return "count"
        return "size" if sum(thing.size for thing in self.things) > self.max_size else ""

    def next_to_drop(self) -> Thing:
        """Return the item to drop."""
        things = self.things
        for name in ("tenant", "device"):
            things = self._majority(things, name) or things
            if things is self.things:
                break
        return things[0]

    def _majority(self, things: list[Thing], name: str) -> list[Thing]:
        for holder in {getattr(thing, name) for thing in things}:
            held = [thing for thing in things if getattr(thing, name) == holder]
            if 2 * self._amount(held) > self._amount(things):
                return held
        return []

    def _amount(self, things: list[Thing]) -> int:
        return len(things) if self.exceeded() == "count" else sum(thing.size for thing in things)


IDS = st.sampled_from("abc")
STEPS = st.lists(
    st.tuples(st.sampled_from(["append", "append", "append", "replace", "move", "resize", "remove"]), IDS, IDS,
              st.integers(0, 99), st.integers(0, 9)),
    max_size=120,
)  # fmt: skip


def change(queue: FairQueue[Thing], model: Model, kind: str, thing: Thing, place: int) -> None:
    """Apply the same change to both."""
    old = model.things[place % len(model.things)] if model.things and kind != "append" else None
    if old is None:
        queue.append(thing, tenant=thing.tenant, device=thing.device, size=thing.size)
        model.things.append(thing)
        return
    if kind == "resize":
        queue.resize(old, thing.size)
        old.size = thing.size
        return
    model.things.remove(old)
    if kind == "remove":
        queue.remove(old)
    elif kind == "move":
        queue.move_to_end(old)
        model.things.append(old)
    else:
        new = Thing(old.tenant, old.device, size=thing.size)
        queue.replace(old, new, size=new.size)
        model.things.append(new)


@given(max_count=st.integers(1, 12), max_size=st.integers(1, 60), steps=STEPS)
def test_who_is_within_the_share_loses_nothing_while_another_is_above_half(
    max_count: int, max_size: int, steps: list[tuple[str, str, str, int, int]]
) -> None:
    """Whatever was appended, changed and removed before; and it is exactly the item that the rules name."""
    queue: FairQueue[Thing] = FairQueue(max_count=max_count, max_size=max_size)
    model = Model(max_count, max_size)
    for kind, tenant, device, place, size in steps:
        change(queue, model, kind, Thing(tenant, device, size=size), place)
        while limit := queue.exceeded():
            assert limit == model.exceeded()
            dropped, holder = queue.next_to_drop()
            assert dropped is model.next_to_drop()
            shares = {name: sum(thing.tenant == name for thing in model.things) for name in "abc"}
            if limit == "count" and max(shares.values()) * 2 > len(model.things):
                assert shares[dropped.tenant] * 2 > len(model.things), "another tenant is above half"
                assert holder != "oldest"
            queue.remove(dropped)
            model.things.remove(dropped)
        assert not model.exceeded()
        assert (len(queue), queue.size) == (len(model.things), sum(thing.size for thing in model.things))
        seen, item = [], queue.oldest()
        while item is not None:
            seen.append(item)
            item = queue.after(item)
        assert seen == model.things
    for thing in model.things:
        queue.remove(thing)
    assert (queue._tenants, queue._large, queue._end._next) == ({}, set(), queue._end), "nothing is left behind"


# -- cost -------------------------------------------------------------------------------------------------------------


def flood_beside_others(count: int) -> None:
    """A tenant fills the queue again and again while it has old items of another one."""
    queue: FairQueue[Thing] = FairQueue(max_count=2 * count)
    put(queue, *of("globex", "d1", count), *of("acme", "d1", 3 * count))


def take_turns(count: int) -> None:
    """Two tenants are above half in turn, and have many old items of a third one before theirs."""
    queue: FairQueue[Thing] = FairQueue(max_count=5 * count)
    put(queue, *of("third", "d1", count), *of("acme", "d1", 2 * count), *of("globex", "d1", 2 * count))
    for _ in range(count):
        put(queue, *of("acme", "d1", 2), *of("globex", "d1", 2))


def take_many_tenants(count: int) -> None:
    """Every item is of another tenant."""
    queue: FairQueue[Thing] = FairQueue(max_count=count)
    put(queue, *[Thing(f"t{number}", "d") for number in range(4 * count)])


@pytest.mark.parametrize("run", [flood_beside_others, take_turns, take_many_tenants])
def test_a_drop_takes_constant_time(run: object) -> None:
    """Regardless of how many items, tenants and devices there are."""
    assert callable(run)
    assert growth(run, 125) < LINEAR_MAX


# -- scan -----------------------------------------------------------------------------------------------------------


def test_a_scan_visits_every_item_in_parts_while_the_queue_changes() -> None:
    """What is removed before its part is left out; what is moved to the end is visited there."""
    queue: FairQueue[Named] = FairQueue(max_count=1_000)
    items = [Named(str(number)) for number in range(10)]
    for item in items:
        queue.append(item, tenant="acme", device="d1", size=0)
    scan = queue.scan()
    assert [item.name for item in scan.next_items(3)] == ["0", "1", "2"]
    queue.remove(items[0])
    queue.remove(items[4])
    queue.move_to_end(items[5])
    assert queue.oldest() is items[1]
    assert [item.name for item in scan.next_items(4)] == ["3", "6", "7", "8"]
    assert [item.name for item in scan.next_items(4)] == ["9", "5"]
    assert scan.next_items(4) == []
    queue.append(late := Named("late"), tenant="globex", device="d1", size=0)
    assert scan.next_items(4) == [late]
    scan.close()
    scan.close()
    assert iterated(queue) == [items[1], items[2], items[3], *items[6:], items[5], late]


def test_a_scan_goes_on_when_everything_before_its_place_is_gone() -> None:
    """Its place is then the first one of the queue, and may be dropped as such."""
    queue: FairQueue[Named] = FairQueue(max_count=1_000)
    items = [Named(str(number)) for number in range(4)]
    for item in items:
        queue.append(item, tenant="acme", device="d1", size=0)
    scan = queue.scan()
    assert scan.next_items(2) == items[:2]
    for item in items[:2]:
        queue.remove(item)
    assert queue.oldest() is items[2]
    assert scan.next_items(9) == items[2:]


class Named(Item):
    """An item with a name."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def iterated(queue: FairQueue[Named]) -> list[Named]:
    """Return the items of a queue."""
    found: list[Named] = []
    item = queue.oldest()
    while item is not None:
        found.append(item)
        item = queue.after(item)
    return found
