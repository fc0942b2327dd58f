"""No id can be a wildcard, or reach the subject of another id."""

import re
import sys

from hypothesis import example, given
from hypothesis import strategies as st

from hermes.cluster import subjects
from hermes.delivery import channels
from hermes.ids import DeviceId, TenantId, UserId

ID = st.text(st.characters(codec=None), min_size=1, max_size=256)
TOKEN = re.compile(r"[A-Za-z0-9_~%-]{1,200}", re.ASCII)
STRANGE = ["a.b", "*", ">", "a b", "\t", "\r\nPUB x 0", "%2E", "%h", "é", "\ud800", "\0", "-", "a" * 256, "😀" * 256]


def one_of_each_category() -> list[str]:
    """Return a character of each Unicode category."""
    import unicodedata

    found: dict[str, str] = {}
    for code in range(sys.maxunicode + 1):
        found.setdefault(unicodedata.category(chr(code)), chr(code))
    return list(found.values())


def test_every_kind_of_character_becomes_a_part_of_one_token() -> None:
    """Dots, stars, white space and control characters are encoded."""
    for id in [*STRANGE, *one_of_each_category()]:
        assert TOKEN.fullmatch(subjects.token(id)), repr(id)
    assert len({subjects.token(id) for id in STRANGE}) == len(STRANGE)


@given(ID, ID)
@example("a.b", "a%2Eb")
@example("é" * 100, "é" * 101)
@example("%h" + "0" * 64, "x" * 300)
def test_two_ids_have_two_subjects(one: str, other: str) -> None:
    """The encoding is injective."""
    assert (subjects.token(one) == subjects.token(other)) == (one == other)
    assert TOKEN.fullmatch(subjects.token(one))


def test_the_subject_of_a_channel() -> None:
    """A user and a tenant with the same id have different ones; device data has none."""
    assert subjects.of_channel(channels.user(UserId("ana@x.org"))) == "hermes.user.ana%40x%2Eorg"
    assert subjects.of_channel(channels.broadcast(TenantId("a"))) == "hermes.tenant.a"
    assert subjects.of_channel(channels.device(TenantId("a"), DeviceId("d"))) is None
    assert subjects.of_channel(channels.LINK) is None
