"""Which tokens are refused, and the file of the revocations."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hermes.auth.principal import Principal
from hermes.auth.revocation import revocation_file, revocation_list
from hermes.auth.revocation.revocation_file import HEADER, RevocationFile
from hermes.auth.revocation.revocation_list import KINDS, Kind, RevocationList, RevocationsFull, Target
from hermes.errors import ConfigError
from hermes.ids import TenantId, UserId
from hermes.metrics import Metrics
from hermes.settings import private_file
from hermes.testing import FakeClock

NOW_S = int(FakeClock().now_s)
ACME, GLOBEX = TenantId("acme"), TenantId("globex")


def principal(
    user: str = "123", tenant: str | None = "acme", *, iat: float | None = NOW_S, jti: str | None = None
) -> Principal:
    """Return the principal of a token."""
    return Principal(UserId(user), "ana", None if tenant is None else TenantId(tenant), issued_at=iat, token_id=jti)


def revoked(*targets: Target, clock: FakeClock | None = None, **rules: Any) -> RevocationList:
    """Return a list with these revocations."""
    found = RevocationList(metrics=Metrics(), clock=clock or FakeClock(), **rules)
    for target in targets:
        found.add(target)
    return found


# -- which tokens -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("iat", "refused"), [(NOW_S - 1, True), (NOW_S, True), (NOW_S + 0.9, True), (NOW_S + 1, False), (None, True)]
)
def test_a_token_is_refused_up_to_the_second_of_the_call(iat: float | None, refused: bool) -> None:
    """One that does not say when it was signed always; the next one is signed a second later."""
    clock = FakeClock(NOW_S + 0.7)
    found = revoked(clock=clock)
    assert found.add(Target("user_id", "123")) == NOW_S
    assert found.refuses(principal(iat=iat)) is refused
    assert revoked(Target("tenant_id", "acme"), clock=clock).refuses(principal(iat=iat)) is refused


def test_the_leeway_of_the_clocks_is_added() -> None:
    """An issuer may be ahead of Hermes; parts of a second count as one."""
    found = revoked(leeway_s=1.5)
    assert found.add(Target("user_id", "123")) == NOW_S + 2
    assert [found.refuses(principal(iat=NOW_S + after)) for after in (2, 3)] == [True, False]


def test_a_token_is_refused_by_its_id_whenever_it_was_signed() -> None:
    """Other tokens of the same user are not."""
    found = revoked(Target("token_id", "7"))
    assert found.refuses(principal(jti="7", iat=NOW_S + 999))
    assert not found.refuses(principal(jti="8"))
    assert not found.refuses(principal(jti=None))


def test_others_are_not_refused() -> None:
    """Another user, another tenant, no tenant; an id of one kind is none of another."""
    found = revoked(Target("user_id", "7"), Target("tenant_id", "globex"), Target("token_id", "123"))
    for each in (principal(), principal(tenant=None), principal("globex", "7", jti="globex")):
        assert not found.refuses(each)
    assert found.refuses(principal("7"))
    assert found.refuses(principal(tenant="globex"))


@pytest.mark.parametrize(
    ("target", "claims"),
    [
        (Target("user_id", "123", ACME), {}),
        (Target("token_id", "t1", ACME), {"jti": "t1"}),
        (Target("tenant_id", "acme", ACME), {}),
    ],
)
def test_what_is_bound_to_a_tenant_refuses_tokens_of_this_tenant_only(target: Target, claims: dict[str, str]) -> None:
    """The same user may have tokens of several tenants."""
    found = revoked(target)
    assert found.refuses(principal(**claims))  # type: ignore[arg-type]
    assert not found.refuses(principal(tenant="globex", **claims))  # type: ignore[arg-type]
    assert not found.refuses(principal(tenant=None, **claims))  # type: ignore[arg-type]
    assert not found.refuses(principal(iat=NOW_S + 1, tenant="acme"))


def test_a_second_revocation_moves_the_second(  # the user got a new token, which was stolen too
) -> None:
    """Never back, if the clock of Hermes is set back."""
    clock = FakeClock(NOW_S)
    found = revoked(Target("user_id", "123"), clock=clock)
    clock.now_s += 60
    assert found.add(Target("user_id", "123")) == NOW_S + 60
    clock.now_s -= 3_600
    assert found.add(Target("user_id", "123")) == NOW_S + 60
    assert len(found) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_removed_revocation_refuses_nothing(kind: Kind) -> None:
    """Of a bound target only itself is removed, of another one also those that are bound."""
    all_of_them = [Target(kind, "acme"), Target(kind, "acme", ACME), Target(kind, "acme", GLOBEX)]
    one = principal("acme", "acme", jti="acme")
    found = revoked(*all_of_them)
    assert found.remove(Target(kind, "acme", ACME)) == [all_of_them[1]]
    assert found.refuses(one)
    assert found.remove(Target(kind, "acme")) == [all_of_them[0], all_of_them[2]]
    assert not found.refuses(one)
    assert found.remove(Target(kind, "acme")) == []
    assert (len(found), found._index.bound, found._index.bound_by) == (0, {}, {})


def test_the_number_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there can still be revoked again, and be removed."""
    monkeypatch.setattr(revocation_list, "REVOCATIONS_MAX", 3)
    metrics = Metrics()
    found = RevocationList(metrics=metrics, clock=FakeClock())
    for user in ("1", "2", "3"):
        found.add(Target("user_id", user))
    with pytest.raises(RevocationsFull, match="DELETE /disconnect"):
        found.add(Target("user_id", "4"))
    found.add(Target("user_id", "3"))
    found.remove(Target("user_id", "1"))
    found.add(Target("user_id", "4"))
    assert metrics.registry.get_sample_value("hermes_revocations") == 3


def test_with_a_maximum_age_revocations_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """When every token that they refuse is too old anyway; so old ones never fill the list."""
    monkeypatch.setattr(revocation_list, "REVOCATIONS_MAX", 2)
    clock = FakeClock(NOW_S)
    found = revoked(Target("user_id", "1"), Target("user_id", "2", ACME), clock=clock, max_age_s=600, leeway_s=5)
    clock.now_s = NOW_S + 610
    with pytest.raises(RevocationsFull):
        found.add(Target("user_id", "3"))
    clock.now_s = NOW_S + 611
    found.add(Target("user_id", "3"))
    assert [target.id for target, _ in found] == ["3"]


def test_outdated_revocations_are_removed_a_part_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """100,000 at once would hold the event loop; the next calls remove the others."""
    monkeypatch.setattr(revocation_list, "REMOVED_AT_ONCE", 3)
    clock = FakeClock(NOW_S)
    found = revoked(*(Target("user_id", f"old{number}") for number in range(7)), clock=clock, max_age_s=600)
    clock.now_s = NOW_S + 601
    sizes = []
    for number in range(3):
        found.add(Target("user_id", f"new{number}"))
        sizes.append(len(found))
    assert sizes == [5, 3, 3]
    assert [target.id for target, _ in found] == ["new0", "new1", "new2"]


# -- the file -----------------------------------------------------------------------------------------------------

USER, BOUND = Target("user_id", "123"), Target("token_id", 'a \u2028\n"b"', ACME)


@pytest.fixture
def file(tmp_path: Path) -> RevocationFile:
    """A file in a folder that does not exist yet."""
    return file_at(tmp_path / "state" / "revocations")


def file_at(path: Path) -> RevocationFile:
    """Return the file at a path."""
    return RevocationFile(path, create=private_file.create, write=private_file.write)


def test_what_is_appended_is_read_again(file: RevocationFile) -> None:
    """In the order of the last change; only the owner may read the file."""
    assert file.read() == {}
    file.append([(USER, 1), (BOUND, 2)])
    file.append([(Target("tenant_id", "acme"), 3), (USER, 4), (BOUND, None)])
    assert list(file_at(file.path).read().items()) == [(Target("tenant_id", "acme"), 3), (USER, 4)]
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert file.path.parent.stat().st_mode & 0o777 == 0o700
    assert file.path.read_text().startswith('{"hermes_revocations": 1}\n{"user_id": "123", "until": 1}\n')


@pytest.mark.parametrize("torn", [b'{"user_id": "9", "unt', b"\0\0\0\0", b"x" * 5_000])
def test_an_end_that_a_crash_left_is_ignored(file: RevocationFile, torn: bytes) -> None:
    """It was never confirmed; the next line replaces it."""
    file.append([(USER, 1)])
    with file.path.open("ab") as opened:
        opened.write(torn)
    assert file_at(file.path).read() == {USER: 1}
    file.append([(BOUND, 2)])
    assert file_at(file.path).read() == {USER: 1, BOUND: 2}


@pytest.mark.parametrize("content", [b"", b"{", HEADER.encode()[:-1]])
def test_a_file_without_its_first_line_is_new(file: RevocationFile, content: bytes) -> None:
    """A crash may have left it while it was created by another program."""
    file.path.parent.mkdir()
    file.path.write_bytes(content)
    assert file.read() == {}
    file.append([(USER, 1)])
    assert file_at(file.path).read() == {USER: 1}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("hello\n", "line 1 .* cannot be read"),
        ("[]\n", "line 1 .* cannot be read"),
        ('{"hermes_revocations": "1"}\n', "line 1 .* cannot be read"),
        ('{"user_id": "1", "until": 5}\n', "line 1 .* cannot be read"),
        (f"{HEADER}\n", "line 2 .* cannot be read"),
        (f"{HEADER}7\n", "line 2 .* cannot be read"),
        (HEADER + '{"user_id": "1"}\n', "line 2 .* cannot be read"),
        (HEADER + '{"user_id": 1, "until": 5}\n', "line 2 .* cannot be read"),
        (HEADER + '{"user_id": "1", "token_id": "2", "until": 5}\n', "line 2 .* cannot be read"),
        (HEADER + '{"user_id": "1", "until": "5"}\n', "line 2 .* cannot be read"),
        (HEADER + '{"user_id": "1", "bound_to": 7, "until": 5}\n', "line 2 .* cannot be read"),
        (f"{HEADER}{'[' * 100_000}\n", "line 2 .* cannot be read"),
        ('{"hermes_revocations": 2}\n', r"is of a newer Hermes \(version 2\)"),
    ],
    ids=range(13),
)
def test_a_file_that_cannot_be_understood_is_refused(file: RevocationFile, content: str, why: str) -> None:
    """To go on without it would accept revoked tokens; the problem names the file."""
    file.path.parent.mkdir()
    file.path.write_text(content)
    with pytest.raises(ConfigError, match=why) as caught:
        file.read()
    assert str(file.path) in str(caught.value)


def test_what_is_not_a_file_is_refused(file: RevocationFile) -> None:
    """A folder, a pipe, a link; nothing is read or written through it."""
    target = file.path.parent / "target"
    file.path.parent.mkdir()
    makers: list[Callable[[], None]] = [
        file.path.mkdir,
        lambda: os.mkfifo(file.path),
        lambda: file.path.symlink_to(target),
    ]
    for make in makers:
        make()
        with pytest.raises(ConfigError, match="cannot read the revocations"):
            file.read()
        with pytest.raises(OSError):  # noqa: PT011 - of three kinds
            file.append([(USER, 1)])
        if file.path.is_dir():
            file.path.rmdir()
        else:
            file.path.unlink()
    assert not target.exists()


def test_a_write_that_fails_leaves_the_file_as_it_was(file: RevocationFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a part of it was written, so that the next one is no part of a broken line."""
    file.append([(USER, 1)])
    before = file.path.read_bytes()
    write = os.write

    def no_space(descriptor: int, data: bytes) -> int:
        write(descriptor, data[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", no_space)
    with pytest.raises(OSError, match="No space"):
        file.append([(BOUND, 2)])
    monkeypatch.undo()
    assert file.path.read_bytes() == before


def test_a_file_with_many_outdated_lines_is_written_anew(file: RevocationFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that repeated calls cannot fill the disk; what counts stays."""
    monkeypatch.setattr(revocation_file, "LINES_LEAST", 10)
    for second in range(12):
        file.append([(USER, second), (BOUND, None)])
        file.compact(1)
        assert len(file.path.read_bytes().splitlines()) <= 14
    assert file_at(file.path).read() == {USER: 11}
    assert {path.name for path in file.path.parent.iterdir()} == {"revocations"}


def test_several_processes_may_use_one_file(file: RevocationFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line is lost while another one writes the file anew."""
    monkeypatch.setattr(revocation_file, "LINES_LEAST", 1)
    files = [file_at(file.path) for _ in range(3)]

    def write(own: RevocationFile, name: str) -> None:
        for number in range(40):
            own.append([(Target("user_id", "same"), number), (Target("user_id", f"{name}-{number}"), number)])
            own.compact(0)

    threads = [threading.Thread(target=write, args=(own, str(n))) for n, own in enumerate(files)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = {target.id for target in file.read()}
    assert found == {"same"} | {f"{n}-{number}" for n in range(3) for number in range(40)}


IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
TARGETS = st.builds(Target, st.sampled_from(KINDS), IDS, st.none() | IDS.map(TenantId))


@given(st.lists(st.tuples(TARGETS, st.none() | st.integers(0, 2**40)), max_size=20))
def test_any_ids_survive_the_file(changes: list[tuple[Target, int | None]]) -> None:
    """The file gives what memory has."""
    expected: dict[Target, int] = {}
    for target, until_s in changes:
        expected.pop(target, None)
        if until_s is not None:
            expected[target] = until_s
    lines = [HEADER, *(revocation_file._line(*change) for change in changes)]
    assert all(len(line.splitlines()) == 1 for line in lines)
    assert list(reading("".join(lines)).items()) == list(expected.items())


def reading(text: str) -> dict[Target, int]:
    """Return what a file with this text has."""
    return file_at(Path("unused"))._parsed(text.encode().split(b"\n")[:-1])


@given(st.lists(st.one_of(st.binary(max_size=30).filter(lambda line: b"\n" not in line), st.just(b"null")), max_size=5))
def test_any_bytes_are_read_or_refused(lines: list[bytes]) -> None:
    """With a line number, never with another exception."""
    try:
        file_at(Path("unused"))._parsed([HEADER.encode(), *lines])
    except ConfigError as error:
        assert "cannot be read" in str(error)  # noqa: PT017 - either is right


def test_the_digest_is_that_of_the_revocations() -> None:
    """In whatever order they came, and what had been there; without outdated ones."""
    clock = FakeClock(NOW_S)
    one = RevocationList(metrics=Metrics(), clock=clock, max_age_s=600)
    two = RevocationList(metrics=Metrics(), clock=clock, max_age_s=600)
    empty = one.digest
    targets = [Target("user_id", "1"), Target("user_id", "1", ACME), Target("token_id", "1"), Target("tenant_id", "ü")]
    for target in targets:
        one.add(target, NOW_S)
    for target in reversed(targets):
        two.add(target, NOW_S - 1)
    assert one.digest != two.digest
    two.replace(dict.fromkeys(targets[::2] + targets[1::2], NOW_S))
    assert one.digest == two.digest
    two.remove_one(targets[1])
    assert one.digest != two.digest
    two.add(targets[1], NOW_S)
    assert one.digest == two.digest
    one.add(Target("user_id", "old"), NOW_S - 590)  # after newer ones
    clock.now_s += 20
    assert one.digest == two.digest
    clock.now_s += 600
    assert one.digest == empty
