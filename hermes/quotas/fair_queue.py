"""A bounded queue that tenants and their devices share fairly.

The items are in the order in which they were appended or moved to the end. When the queue is over a limit, the next
item to drop is the oldest

- of the device that has more than half of the items of a tenant that has more than half of the queue,
- or of that tenant, if it has no such device,
- or of all, if there is no such tenant.

So one tenant may fill the queue as long as no other needs it, and then gives up its own items first.

The items are one linked list. A bookmark in this list replaces a list for each tenant and device: no item of its share
is before it. Items are only added at the end, so a bookmark only moves forward, and passes an item once. Every
operation takes constant time, on average over many.
"""

from collections.abc import Hashable
from typing import Generic, Literal, TypeVar, cast

Holder = Literal["device", "tenant", "oldest"]  # which share the dropped item belongs to
HOLDERS: tuple[Holder, ...] = ("device", "tenant", "oldest")
LARGE = 4  # a device with over half of a tenant with over half of the queue has over a quarter
LARGE_MAX = 4 * LARGE  # at most so many shares are over a quarter: tenants and devices, in number and in size


class _Share:
    """The share of one tenant or one device in the queue, or the whole queue.

    ``whole`` is the share that includes it; None for the whole queue.
    """

    __slots__ = ("bookmark", "count", "key", "size", "whole")

    def __init__(self, whole: "_Share | None", key: Hashable) -> None:
        self.whole = whole
        self.key = key
        self.count = 0
        self.size = 0
        self.bookmark: _Bookmark | None = None


class _Tenant(_Share):
    __slots__ = ("devices",)

    def __init__(self, whole: _Share, key: Hashable) -> None:
        super().__init__(whole, key)
        self.devices: dict[Hashable, _Share] = {}


class Item:
    """The base class of what a `FairQueue` contains; an item is in one queue at most."""

    __slots__ = ("_next", "_previous", "_share", "_size")

    _next: "Item"
    _previous: "Item"
    _share: _Share
    _size: int


class _Bookmark(Item):
    """A place in the list: no item of the share ``of`` is before it."""

    __slots__ = ("of",)

    def __init__(self, of: _Share) -> None:
        self.of = of
        self._share = _NOBODY


_NOBODY = _Share(None, None)
AnyItem = TypeVar("AnyItem", bound=Item)


class FairQueue(Generic[AnyItem]):
    """Items with a size each; None means that there is no such limit."""

    def __init__(self, *, max_count: int | None = None, max_size: int | None = None) -> None:
        self._max_count = float("inf") if max_count is None else max_count
        self._max_size = float("inf") if max_size is None else max_size
        self._large_count, self._large_size = self._max_count / LARGE, self._max_size / LARGE
        self._all = _Share(None, None)
        self._tenants: dict[Hashable, _Tenant] = {}
        self._large: set[_Share] = set()  # all shares of over a quarter of a limit, and some that were
        self._end = Item()  # before the first and after the last item
        self._end._next = self._end._previous = self._end
        self._end._share = _NOBODY

    def __len__(self) -> int:
        """Return the number of items."""
        return self._all.count

    @property
    def size(self) -> int:
        """The sum of the sizes."""
        return self._all.size

    def exceeded(self) -> Literal["", "count", "size"]:
        """Return which limit is exceeded, or an empty text."""
        everything = self._all
        if everything.count > self._max_count:
            return "count"
        return "size" if everything.size > self._max_size else ""

    # -- change ---------------------------------------------------------------------------------------------------

    def append(self, item: AnyItem, *, tenant: Hashable, device: Hashable, size: int) -> None:
        """Add a new item at the end."""
        owner = self._tenants.get(tenant)
        if owner is None:
            owner = self._tenants[tenant] = _Tenant(self._all, tenant)
        share = owner.devices.get(device)
        if share is None:
            share = owner.devices[device] = _Share(owner, device)
        item._share, item._size = share, size
        _link(item, self._end)
        self._add(share, 1, size)

    def replace(self, old: AnyItem, new: AnyItem, *, size: int) -> None:
        """Remove an item, and add a new one of the same device at the end."""
        share = new._share = old._share
        new._size = size
        _unlink(old)
        _link(new, self._end)
        if size != old._size:
            self._add(share, 0, size - old._size)

    def move_to_end(self, item: AnyItem) -> None:
        """Make this item the newest."""
        _unlink(item)
        _link(item, self._end)

    def resize(self, item: AnyItem, size: int) -> None:
        """Change the size of an item."""
        self._add(item._share, 0, size - item._size)
        item._size = size

    def remove(self, item: AnyItem) -> None:
        """Remove an item of the queue."""
        _unlink(item)
        share = item._share
        self._add(share, -1, -item._size)
        if not share.count:
            owner = cast("_Tenant", share.whole)
            del owner.devices[share.key]
            self._forget(share)
            if not owner.count:
                del self._tenants[owner.key]
                self._forget(owner)

    def _add(self, share: _Share, count: int, size: int) -> None:
        """Count a change of an item in the shares of its device, of its tenant and of all."""
        owner, everything = cast("_Share", share.whole), self._all
        share.count += count
        share.size += size
        owner.count += count
        owner.size += size
        everything.count += count
        everything.size += size
        if owner.count > self._large_count or owner.size > self._large_size:
            self._note_large(owner)
            self._note_large(share)

    def _note_large(self, share: _Share) -> None:
        if share.count > self._large_count or share.size > self._large_size:
            self._large.add(share)

    def _forget(self, share: _Share) -> None:
        self._large.discard(share)
        self._remove_bookmark(share)

    def _remove_bookmark(self, share: _Share) -> None:
        if share.bookmark is not None:
            _unlink(share.bookmark)
            share.bookmark = None

    # -- find -----------------------------------------------------------------------------------------------------

    def oldest(self) -> AnyItem | None:
        """Return the first item, None if the queue is empty."""
        while isinstance(self._end._next, _Bookmark):  # a share without a bookmark is searched from the first item, too
            self._remove_bookmark(self._end._next.of)
        return self.after(self._end)

    def after(self, item: Item) -> AnyItem | None:
        """Return the item after this one, None if it is the last."""
        found = item._next
        while isinstance(found, _Bookmark):
            found = found._next
        return None if found is self._end else cast("AnyItem", found)

    def scan(self) -> "Scan[AnyItem]":
        """Return a scan that has visited nothing yet."""
        return Scan(self)

    def next_to_drop(self) -> tuple[AnyItem, Holder]:
        """Return the item to drop while a limit is exceeded, and its holder.

        It is not removed.
        """
        by_count = self.exceeded() == "count"
        if len(self._large) > LARGE_MAX:
            large, self._large = self._large, set()
            for share in large:
                self._note_large(share)
        tenant = self._over_half(self._all, by_count=by_count)
        if tenant is None:
            return cast("AnyItem", self.oldest()), "oldest"
        device = self._over_half(tenant, by_count=by_count)
        if device is None:
            return self._oldest_of(tenant), "tenant"
        return self._oldest_of(device), "device"

    def _over_half(self, whole: _Share, *, by_count: bool) -> _Share | None:
        """Return the tenant or device with more than half of the whole, if there is one."""
        for share in self._large:
            if share.whole is whole and (2 * share.count > whole.count if by_count else 2 * share.size > whole.size):
                return share
        return None

    def _oldest_of(self, share: _Share) -> AnyItem:
        """Return the oldest item of a share, and set the bookmark before it.

        The share is not empty.
        """
        bookmark = share.bookmark
        if bookmark is None:
            bookmark = share.bookmark = _Bookmark(share)
            _link(bookmark, self._end._next)
        first = item = bookmark._next
        while item._share is not share and item._share.whole is not share:
            item = item._next
        if item is not first:
            _unlink(bookmark)
            _link(bookmark, item)
        return cast("AnyItem", item)


class Scan(Generic[AnyItem]):
    """Visit the items of a queue in parts, the first one first.

    The queue may change between the parts. What was appended or moved to the end meanwhile is visited there, so the
    caller decides where to stop, and then calls `close`.
    """

    def __init__(self, queue: FairQueue[AnyItem]) -> None:
        self._queue = queue
        self._place = _Share(None, None)  # its bookmark is before the next item; without one that is the first

    def next_items(self, most: int) -> list[AnyItem]:
        """Return the next items, at most so many; none at the end of the queue."""
        bookmark, end = self._place.bookmark, self._queue._end
        item = end._next if bookmark is None else bookmark._next
        found: list[AnyItem] = []
        while item is not end and len(found) < most:
            if not isinstance(item, _Bookmark):
                found.append(cast("AnyItem", item))
            item = item._next
        self.close()
        self._place.bookmark = _Bookmark(self._place)
        _link(self._place.bookmark, item)
        return found

    def close(self) -> None:
        """Remove the place from the queue; may be repeated."""
        self._queue._remove_bookmark(self._place)


def _link(item: Item, after: Item) -> None:
    """Insert an item into the list, before ``after``."""
    before = after._previous
    item._previous, item._next = before, after
    before._next = after._previous = item


def _unlink(item: Item) -> None:
    """Take an item out of the list; it does not refer to its neighbours any longer."""
    before, after = item._previous, item._next
    before._next, after._previous = after, before
    del item._previous, item._next
