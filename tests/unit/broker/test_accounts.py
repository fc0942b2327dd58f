"""Device accounts: their names and their file."""

import errno
import os
import re
import stat
import subprocess
import threading
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hermes.broker import accounts as module
from hermes.broker.accounts import (
    FILE_NAME,
    Account,
    AccountsFile,
    account_of,
    hashed,
    lines_of,
    new_password,
    parse_account,
    parse_lines,
)
from hermes.errors import AccountError, ConfigError
from hermes.ids import DeviceId, TenantId
from tests.support.programs import needs

D1 = Account(TenantId("acme"), DeviceId("d1"))
HASH = hashed("a password")
ROOT = os.geteuid() == 0


@given(st.text(max_size=40), st.text(max_size=40))
@example("acme", "d1\nuser hermes")
@example("acme", "d1:$7$")
@example("# acme", "%2F")
@example("a b", "ä/ö")
def test_every_account_that_is_allowed_reads_back_from_its_line(tenant: str, device: str) -> None:
    """And its line contains no character that has a meaning in the file."""
    try:
        account = parse_account(f"{tenant}/{device}")
    except AccountError:
        return
    assert re.fullmatch(r"[A-Za-z0-9._~%/-]+", account.user)
    assert account_of(account.user) == account
    assert parse_lines(lines_of({account.user: HASH})) == {account: HASH}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("acme", "write TENANT/DEVICE"),
        ("/d1", "write TENANT/DEVICE"),
        ("acme/", "write TENANT/DEVICE"),
        ("acme/+", "wildcards of MQTT"),
        ("a#/d1", "wildcards of MQTT"),
        ("acme/d1\n", "cannot be printed"),
        ("acme/d\0", "cannot be printed"),
        ("acme/d1 ", "begins or ends with a space"),
        (" acme/d1", "begins or ends with a space"),
        ("acme/\udcff", "cannot be printed"),
        ("acme/" + "ä" * 200, "1024 are allowed"),
    ],
)
def test_invalid_ids_are_refused_with_the_reason(text: str, reason: str) -> None:
    """Before anything is written."""
    with pytest.raises(AccountError, match=reason):
        parse_account(text)


def test_other_ids_are_percent_encoded() -> None:
    """So that the user name can be typed everywhere."""
    assert parse_account("acme/d1").user == "acme/d1"
    assert parse_account("acme/kitchen lamp").user == "acme/kitchen%20lamp"
    assert parse_account("a:b/hall/lamp").user == "a%3Ab/hall/lamp"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (f"hermes:{HASH}", "'hermes' is not the user name of a device"),
        (f"acme/d 1:{HASH}", "not the user name of a device"),
        (f"acme/%ff:{HASH}", "not the user name of a device"),
        (f"acme/%64:{HASH}", "not the user name of a device"),
        ("acme/d1:clear", "not a password hash"),
        ("acme/d1", "not a password hash"),
        (f"acme/d1:{HASH}:x", "not a password hash"),
        (f"acme/d1:{HASH}\nacme/d1:{HASH}", "a second line for acme/d1"),
    ],
)
def test_an_invalid_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    """With the file, and what to do."""
    (tmp_path / FILE_NAME).write_text(f"# of the hall\n\n{line}\n")
    with pytest.raises(AccountError, match=rf"{FILE_NAME}, line \d: .*{reason}.*; fix or delete it"):
        AccountsFile(tmp_path).read()


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """As after an error of the disk."""
    (tmp_path / FILE_NAME).write_bytes(b"\xff\xfe")
    with pytest.raises(AccountError, match="is not UTF-8 text"):
        AccountsFile(tmp_path).read()


def test_lines_of_mosquittos_own_tool_are_accounts_too(tmp_path: Path) -> None:
    """So a password can be chosen."""
    path = tmp_path / FILE_NAME
    path.touch(0o600)
    subprocess.run([needs("mosquitto_passwd"), "-b", path, "acme/d1", "chosen"], check=True, timeout=60)
    assert list(AccountsFile(tmp_path).read()) == [D1]


def test_passwords_are_long_and_different() -> None:
    """And easy to type."""
    passwords = {new_password() for _ in range(1_000)}
    assert len(passwords) == 1_000
    assert all(re.fullmatch(r"[2-9a-km-zA-HJ-NP-Z]{24}", password) for password in passwords)


def test_the_file_is_private_and_complete(tmp_path: Path) -> None:
    """Beside it there is only the lock."""
    accounts = AccountsFile(tmp_path / "a" / "broker")
    password = accounts.add(D1)
    accounts.add(parse_account("acme/d2"))
    assert stat.S_IMODE(accounts.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(accounts.folder.stat().st_mode) == 0o700
    assert password not in accounts.path.read_text()
    assert [str(account) for account in accounts.read()] == ["acme/d1", "acme/d2"]
    assert sorted(os.listdir(accounts.folder)) == [module.LOCK_NAME, FILE_NAME]
    accounts.remove(D1)
    assert [str(account) for account in accounts.read()] == ["acme/d2"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a full disk."""
    accounts = AccountsFile(tmp_path)
    accounts.add(D1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(AccountError, match=r"cannot write .*: No space left on device; fix that"):
        accounts.add(parse_account("acme/d2"))
    assert list(accounts.read()) == [D1]
    assert sorted(os.listdir(tmp_path)) == [module.LOCK_NAME, FILE_NAME]


def test_the_next_change_removes_the_drafts_of_killed_writers(tmp_path: Path) -> None:
    """They contain hashes; other files stay."""
    (tmp_path / f".{FILE_NAME}.123.0123abcd").write_text(f"acme/d1:{HASH}\n")
    (tmp_path / f".{FILE_NAME}.mine").touch()
    AccountsFile(tmp_path).add(D1)
    assert sorted(os.listdir(tmp_path)) == [module.LOCK_NAME, f".{FILE_NAME}.mine", FILE_NAME]


def test_the_advice_to_be_root_is_given_only_if_rights_are_missing() -> None:
    """On a full disk it would not help."""
    assert "run this as root" in module.advice(PermissionError(errno.EACCES, "Permission denied"))
    assert "run this as root" in module.advice(PermissionError(errno.EPERM, "Operation not permitted"))
    assert "root" not in module.advice(OSError(errno.ENOSPC, "No space left on device"))
    assert "root" not in module.advice(OSError(errno.EROFS, "Read-only file system"))


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    """The second waits for the first."""
    faults: list[Exception] = []

    def add(name: str) -> None:
        try:
            for number in range(20):
                AccountsFile(tmp_path).add(parse_account(f"{name}/{number}"))
        except Exception as error:  # noqa: BLE001 - the test looks at them
            faults.append(error)

    threads = [threading.Thread(target=add, args=(name,)) for name in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert faults == []
    assert len(AccountsFile(tmp_path).read()) == 60


def test_a_link_in_place_of_the_lock_is_not_followed(tmp_path: Path) -> None:
    """Root may be writing in a folder of another user."""
    victim = tmp_path / "victim"
    folder = tmp_path / "broker"
    folder.mkdir()
    (folder / module.LOCK_NAME).symlink_to(victim)
    with pytest.raises(AccountError, match="cannot write"):
        AccountsFile(folder).add(D1)
    assert not victim.exists()


@pytest.mark.skipif(not ROOT, reason="only root adds devices for another user")
def test_what_root_writes_belongs_to_the_owner_of_the_folder_above(tmp_path: Path) -> None:
    """The service has a user of its own that must be able to read it."""
    os.chown(tmp_path, 12_345, 12_346)
    accounts = AccountsFile(tmp_path / "broker")
    accounts.add(D1)
    for path in (accounts.folder, accounts.path, accounts.folder / module.LOCK_NAME):
        assert (path.stat().st_uid, path.stat().st_gid) == (12_345, 12_346)


@pytest.mark.skipif(not ROOT, reason="only root can make a folder of another user")
def test_a_plain_user_does_not_change_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could not, also if the folder above has another group."""
    os.chown(tmp_path, 12_345, 12_346)
    monkeypatch.setattr(os, "geteuid", lambda: 1_000)
    accounts = AccountsFile(tmp_path / "broker")
    accounts.add(D1)
    for path in (accounts.folder, accounts.path, accounts.folder / module.LOCK_NAME):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.getuid(), os.getgid())


def test_a_folder_that_cannot_be_created_is_reported_with_what_to_do(tmp_path: Path) -> None:
    """Without a traceback."""
    (tmp_path / "file").touch()
    with pytest.raises(AccountError, match=r"cannot create .*/file/broker: .*; fix that, .*--broker-state-dir"):
        AccountsFile(tmp_path / "file" / "broker").add(D1)
    with pytest.raises(AccountError, match=r"cannot read .*--broker-state-dir"):
        AccountsFile(tmp_path / "file").read()


def test_the_file_has_a_version_and_a_newer_one_is_not_read(tmp_path: Path) -> None:
    """Files of earlier releases have none; the exit code is 2, because only a person can help."""
    accounts = AccountsFile(tmp_path)
    accounts.add(D1)
    text = accounts.path.read_text()
    assert text.startswith("# device accounts of Hermes, version 1\n")
    accounts.path.write_text(text.partition("\n")[2])
    assert set(accounts.read()) == {D1}
    accounts.path.write_text(text.replace("version 1", "version 2"))
    for use in (accounts.read, lambda: accounts.remove(D1)):
        with pytest.raises(ConfigError, match=r"has version 2, and this Hermes knows 1") as error:
            use()
        assert error.value.exit_code == 2
    assert "version 2" in accounts.path.read_text()
