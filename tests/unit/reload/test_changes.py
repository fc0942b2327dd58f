"""What a reload changes."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from hermes.reload.changes import APPLIED, READ_ANEW, Changes, contents_of, is_same_broker
from hermes.settings.load import load_settings
from hermes.settings.model import Settings
from hermes.settings.urls.mqtt import parse_mqtt_url
from tests.support.certificates import Authority
from tests.support.gateways import SECRET


def changes(before: Mapping[str, object], after: Mapping[str, object]) -> Changes:
    """Return what differs between these settings; a changed file is given by its new text."""
    old = contents_of(load_settings({"jwt_secret": SECRET, **before}))
    return Changes.between(old, contents_of(load_settings({"jwt_secret": SECRET, **after})))


def test_every_name_is_that_of_a_setting() -> None:
    """Otherwise a changed setting would be neither applied nor named."""
    assert Settings.model_fields.keys() >= APPLIED | READ_ANEW


def test_the_line_names_what_was_changed_and_what_needs_a_restart() -> None:
    """In the order of the alphabet, as flags."""
    found = changes({}, {"topics": ["chirpstack"], "origins": ["https://a.example"], "port": 1, "dev": False})
    assert str(found) == "changed --origin, --topic; a restart is needed for --port"
    assert str(changes({}, {})) == "nothing has changed"
    assert str(changes({}, {"port": 1})) == "nothing has changed; a restart is needed for --port"


def test_new_content_of_a_file_is_a_change(tmp_path: Path) -> None:
    """Its name is the same."""
    path = tmp_path / "keys"
    path.write_text("a-key-of-the-tests-1\n")
    settings = load_settings({"jwt_secret": SECRET, "api_key_file": path})
    old = contents_of(settings)
    assert Changes.between(old, contents_of(settings)) == Changes(frozenset(), frozenset())
    path.write_text("a-key-of-the-tests-2\n")
    assert Changes.between(old, contents_of(settings)).applied == {"api_key_file"}
    path.unlink()
    assert Changes.between(old, contents_of(settings)).applied == {"api_key_file"}


def test_files_that_are_read_for_each_connection_need_no_restart(tmp_path: Path) -> None:
    """Another name does."""
    authority = Authority(tmp_path)
    given = {"mqtt_url": "mqtts://h", "mqtt_ca_file": authority.certificate}
    old = contents_of(load_settings({"jwt_secret": SECRET, **given}))
    authority.certificate.write_bytes(Authority(tmp_path, "other").certificate.read_bytes())
    renewed = Changes.between(old, contents_of(load_settings({"jwt_secret": SECRET, **given})))
    assert renewed.applied == {"mqtt_ca_file"}
    assert not renewed.restart
    moved = contents_of(load_settings({"jwt_secret": SECRET, **given, "mqtt_ca_file": tmp_path / "other.pem"}))
    assert Changes.between(old, moved).restart == {"mqtt_ca_file"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("mqtt://a:x@h", "mqtt://b:y@h:1883", True),
        ("mqtt://h", "mqtt://b:y@h", True),
        ("mqtt://h", "mqtts://h", False),
        ("mqtt://h", "mqtt://i", False),
        ("ws://h/a", "ws://h/b", False),
    ],
)
def test_only_user_and_password_of_the_broker_may_differ(one: str, other: str, same: bool) -> None:
    """Another broker needs a restart."""
    assert is_same_broker(parse_mqtt_url(one), parse_mqtt_url(other)) is same
    assert not is_same_broker(parse_mqtt_url(one), None)
