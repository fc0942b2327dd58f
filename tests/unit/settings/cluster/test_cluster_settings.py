"""Settings of several nodes, and what cannot be combined with them."""

from pathlib import Path

import pytest

from hermes.errors import ConfigError
from hermes.settings.load import load, load_settings
from hermes.settings.model import Settings
from hermes.settings.rules import warnings
from tests.support.gateways import SECRET

BASE: dict[str, object] = {"jwt_secret": SECRET}


def problems(**values: object) -> str:
    """Return what is wrong with these values."""
    with pytest.raises(ConfigError) as error:
        load_settings(BASE | values)
    return "\n".join(error.value.problems)


def test_without_a_url_there_is_one_node() -> None:
    """The name of the node is then that of the host."""
    settings = load_settings(BASE)
    assert settings.nats_servers == ()
    assert settings.own_node_name


def test_several_urls_are_separated_by_commas_or_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a flag, a variable and the file alike; passwords are masked in logs."""
    for given in ("nats://a, nats://b:1", ["nats://a", "nats://b:1"], ["nats://a,nats://b:1"]):
        found = load_settings(BASE | {"nats_url": given}).nats_servers
        assert [(url.host, url.port) for url in found] == [("a", 4222), ("b", 1)]
    monkeypatch.setenv("HERMES_NATS_URL", "nats://ana:p%2Fw@a")
    settings = load(Settings, BASE | {})
    assert {"p/w", "p%2Fw"} <= set(settings.secrets)
    assert "p%2Fw" not in repr(settings)


@pytest.mark.parametrize("url", ["nats://ana:pw@h", "nats://t0ken@h", "nats://h,nats://ana:pw@h"])
def test_a_flag_takes_no_password_and_no_token(url: str) -> None:
    """They are visible in ps."""
    with pytest.raises(ConfigError, match="visible in ps; set HERMES_NATS_URL"):
        load(Settings, BASE | {"nats_url": [url]})


def test_what_cannot_be_combined(tmp_path: Path) -> None:
    """Each text says what to do."""
    assert "does not begin with nats://" in problems(nats_url="http://h")
    assert "they are one system" in problems(nats_url="nats://a,tls://b")
    assert "1 to 64 of the characters" in problems(node_name="a b")
    creds = tmp_path / "creds"
    creds.write_text("nothing")
    assert "--nats-creds-file is for several nodes" in problems(nats_creds_file=creds)
    assert "not a creds file of NATS" in problems(nats_url="nats://a", nats_creds_file=creds)
    assert "cannot read" in problems(nats_url="nats://a", nats_creds_file=tmp_path / "absent")
    assert "are both given; remove one" in problems(nats_url="nats://t@a", nats_creds_file=creds)
    assert "all nodes must share one inbox" in problems(nats_url="nats://a", inbox=tmp_path / "inbox.db")


def test_a_ca_file_needs_tls(tmp_path: Path) -> None:
    """Otherwise it would have no effect."""
    from tests.support.certificates import Authority

    path = Authority(tmp_path).certificate
    assert "--nats-ca-file is for TLS" in problems(nats_url="nats://a", nats_ca_file=path)
    assert "--nats-ca-file is for several nodes" in problems(nats_ca_file=path)
    assert load_settings(BASE | {"nats_url": "tls://a", "nats_ca_file": path}).nats_servers[0].tls


def test_dev_has_no_inbox_with_several_nodes() -> None:
    """It would be that of one node."""
    values = BASE | {"dev": "true"}
    assert load_settings(values).inbox_path is not None
    assert load_settings(values | {"nats_url": "nats://127.0.0.1"}).inbox_path is None


def test_plain_traffic_to_another_machine_is_a_warning() -> None:
    """On loopback it is not, nor with TLS."""
    assert any("use tls://" in line for line in warnings(load_settings(BASE | {"nats_url": "nats://10.0.0.5"})))
    for url in ("nats://127.0.0.1", "tls://10.0.0.5"):
        assert not any("tls://" in line for line in warnings(load_settings(BASE | {"nats_url": url})))
