"""A reload of a running gateway: what it applies, which sockets it closes, and that it is all or nothing."""

import asyncio
import logging
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from hermes.errors import ConfigError
from hermes.settings.load import load_settings
from hermes.testing import ClientSocket
from tests.support.brokers import mosquitto
from tests.support.certificates import LOOPBACK
from tests.support.gateways import KEY, SECRET, Hermes, MakeHermes, eventually, token
from tests.support.programs import needs
from tests.support.tls_sites import tls_site

pytestmark = pytest.mark.usefixtures("complaints")

OTHER_SECRET = "another secret of a gateway that runs in a test"
KEY_2 = "a-second-key-of-the-tests"


class Site:
    """A gateway of which the settings are in files."""

    def __init__(self, folder: Path, make_hermes: MakeHermes, caplog: pytest.LogCaptureFixture) -> None:
        self.folder = folder
        self._make_hermes = make_hermes
        self._caplog = caplog
        self.given: dict[str, Any] = {"port": "0", "mqtt_url": "off", "drain_timeout_s": "1"}
        self.write("keys", KEY)
        self.given["api_key_file"] = folder / "keys"

    def write(self, name: str, text: str) -> Path:
        """Write a file."""
        path = self.folder / name
        path.write_text(text)
        return path

    async def start(self, **given: object) -> Hermes:
        """Start with these settings."""
        self.given |= given
        self.hermes = await self._make_hermes(jwt_secret=None, **{**self.given, **given})
        return self.hermes

    async def reload(self, **given: object) -> str:
        """Reload with these settings in addition; return the line of the log."""
        self.given |= given
        self._caplog.clear()
        self._caplog.set_level(logging.INFO)
        await self.hermes.gateway.reload(load_settings(self.given))
        (line,) = [text for text in self._caplog.messages if re.match("reload: (changed|nothing)", text)]
        return line.removeprefix("reload: ")


@pytest.fixture
def site(tmp_path: Path, make_hermes: MakeHermes, caplog: pytest.LogCaptureFixture) -> Site:
    """A gateway that is not started yet."""
    return Site(tmp_path, make_hermes, caplog)


async def closed_with(socket: ClientSocket) -> str:
    """Return code and reason of a closed socket, without the number of the hint."""
    code, reason = await socket.wait_closed()
    return f"{code} {re.sub(r'retry_ms=[0-9]+', 'retry_ms', reason or '')}"


TOKEN_INVALID = "1008 token_invalid;retry_ms"


# -- tokens -------------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_secrets_are_rotated_under_open_sockets(site: Site) -> None:
    """With both secrets all stay open; without the old one those that it vouched for are closed, and no others."""
    old_file, new_file = site.write("old", SECRET), site.write("new", OTHER_SECRET)
    hermes = await site.start(jwt_secret_file=(old_file,))
    old = await hermes.open("/ws/notifications", token())
    assert await site.reload(jwt_secret_file=(new_file, old_file)) == "changed --jwt-secret-file"
    new = await hermes.open("/ws/notifications", token(secret=OTHER_SECRET))
    refreshed = await hermes.open("/ws/notifications", token())
    await refreshed.send({"action": "refresh", "token": token(secret=OTHER_SECRET)})
    assert (await refreshed.receive())["action"] == "refreshed"
    await old.expect_silence()
    await site.reload(jwt_secret_file=(new_file,))
    assert await closed_with(old) == TOKEN_INVALID
    await new.expect_silence()
    await refreshed.expect_silence()
    refused = await hermes.open("/ws/notifications", token())
    assert (await refused.wait_closed())[0] == 1008


@pytest.mark.gen_test
async def test_a_secret_that_changes_in_its_file_is_used(site: Site) -> None:
    """The setting is the same."""
    file = site.write("secret", SECRET)
    hermes = await site.start(jwt_secret_file=(file,))
    old = await hermes.open("/ws/notifications", token())
    site.write("secret", OTHER_SECRET)
    assert await site.reload() == "changed --jwt-secret-file"
    assert await closed_with(old) == TOKEN_INVALID
    new = await hermes.open("/ws/notifications", token(secret=OTHER_SECRET))
    await new.expect_silence()


@pytest.mark.gen_test
async def test_sockets_follow_changed_claim_rules(site: Site) -> None:
    """Those with another tenant or superuser claim by the new rules are closed."""
    hermes = await site.start(jwt_secret_file=(site.write("secret", SECRET),))
    same = await hermes.open("/ws/tenant/acme", token(tenant_id="acme", org="acme"))
    other = await hermes.open("/ws/tenant/acme", token(tenant_id="acme", org="umbrella"))
    without = await hermes.open("/ws/notifications", token(tenant_id="acme"))
    refreshed = await hermes.open("/ws/tenant/acme", token(tenant_id="acme", org="umbrella"))
    await refreshed.send({"action": "refresh", "token": token(tenant_id="acme", org="acme")})
    assert (await refreshed.receive())["action"] == "refreshed"
    admin = await hermes.open("/ws/notifications", token(org="acme", tenant_id="acme", is_superuser=True))
    assert await site.reload(claim_tenant="org") == "changed --claim-tenant"
    assert await closed_with(other) == TOKEN_INVALID
    assert await closed_with(without) == TOKEN_INVALID
    for socket in (same, refreshed, admin):
        await socket.expect_silence()
    await site.reload(claim_superuser="roles=admin")
    assert await closed_with(admin) == TOKEN_INVALID
    await same.expect_silence()


@pytest.mark.gen_test
async def test_a_new_audience_ends_the_tokens_of_others(site: Site) -> None:
    """They would be refused now."""
    hermes = await site.start(jwt_secret_file=(site.write("secret", SECRET),))
    mine = await hermes.open("/ws/notifications", token(aud="hermes"))
    other = await hermes.open("/ws/notifications", token())
    await site.reload(jwt_audience="hermes")
    assert await closed_with(other) == TOKEN_INVALID
    await mine.expect_silence()


# -- the rest -----------------------------------------------------------------------------------------------------


@pytest.mark.gen_test
async def test_lower_limits_refuse_newcomers_only(site: Site) -> None:
    """And higher ones let them in."""
    hermes = await site.start(jwt_secret_file=(site.write("secret", SECRET),))
    sockets = [await hermes.open("/ws/notifications", token()) for _ in range(2)]
    assert await site.reload(max_sockets_per_user=1, ping_interval_s=7, max_failed_auth_per_address=1) == (
        "changed --max-failed-auth-per-address, --max-sockets-per-user, --ping-interval-s"
    )
    refused = await hermes.open("/ws/notifications", token())
    assert ((await refused.wait_closed())[1] or "").startswith("user_full")
    for socket in sockets:
        await socket.expect_silence()
    assert hermes.gateway._sweep.ping_interval_s == 7
    assert (await hermes.request("/status", headers={"X-API-Key": "a-wrong-key-of-the-tests"})).code == 401
    assert (await hermes.request("/status", headers={"X-API-Key": "a-wrong-key-of-the-tests"})).code == 429
    await site.reload(max_sockets_per_user=0, max_http_connections=17)
    sockets.append(await hermes.open("/ws/notifications", token()))
    await sockets[-1].expect_silence()
    http = hermes.gateway._server._http
    assert http is not None
    assert http.connections.limit == 17


@pytest.mark.gen_test
async def test_origins_and_proxies_are_replaced(site: Site) -> None:
    """For the next request."""
    hermes = await site.start(jwt_secret_file=(site.write("secret", SECRET),))
    page = {"Origin": "https://app.example.com"}
    handshake = page | {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
    assert (await hermes.request("/ws/notifications", headers=handshake)).code == 403
    assert await site.reload(origins=["https://app.example.com"], trusted_proxies=["10.0.0.1"]) == (
        "changed --origin, --trusted-proxy"
    )
    socket = await hermes.open("/ws/notifications", token(), headers=page)
    await socket.expect_silence()
    assert hermes.gateway.trusted_proxies.contain("10.0.0.1")
    assert not hermes.gateway.trusted_proxies.contain("127.0.0.1")


@pytest.mark.gen_test
async def test_a_certificate_is_replaced_with_all_else_or_not_at_all(
    make_hermes: MakeHermes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that does not match keeps the old API keys too."""
    keys, secret = tmp_path / "keys", tmp_path / "secret"
    keys.write_text(KEY)
    secret.write_text(SECRET)
    given: dict[str, Any] = {"api_key_file": keys, "jwt_secret": None, "jwt_secret_file": (secret,)}
    here = await tls_site(make_hermes, tmp_path, **given)
    given |= {"tls_cert": here.signed.certificate, "tls_key": here.signed.key, "mqtt_url": "off", "port": "0"}
    given |= {"drain_timeout_s": "1"}

    async def status(key: str) -> int:
        return (await here.request("/status", headers={"X-API-Key": key})).code

    async def presented() -> bytes:
        raw = await here.connect()
        found = raw.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        raw.writer.close()
        assert isinstance(found, bytes)
        return found

    first, old_key = await presented(), here.signed.key.read_bytes()
    here.authority.sign("gateway", LOOPBACK, days=30)
    new_key = here.signed.key.read_bytes()
    here.signed.key.write_bytes(old_key)
    keys.write_text(KEY_2)
    with pytest.raises(ConfigError, match="do not match"):
        await here.hermes.gateway.reload(load_settings(given))
    assert (await status(KEY), await status(KEY_2), await presented()) == (200, 401, first)
    here.signed.key.write_bytes(new_key)
    caplog.set_level(logging.INFO)
    await here.hermes.gateway.reload(load_settings(given))
    assert "reload: changed --api-key-file, --tls-cert, --tls-key" in caplog.messages
    assert (await status(KEY), await status(KEY_2)) == (401, 200)
    assert await presented() != first


@pytest.mark.gen_test
async def test_stored_keys_of_a_newer_hermes_change_nothing(site: Site, tmp_path: Path) -> None:
    """As at the start they are refused, with everything else that was to change."""
    hermes = await site.start(jwt_secret_file=(site.write("secret", SECRET),), state_dir=tmp_path / "state")
    (tmp_path / "state" / "keys").mkdir(parents=True)
    site.write("state/keys/jwks_url.json", '{"version": 99}')
    with pytest.raises(ConfigError, match="newer Hermes"):
        await site.reload(jwks_url="http://127.0.0.1:9/keys", max_sockets_per_user=7)
    settings = hermes.gateway.settings
    assert (settings.jwks_url, settings.max_sockets_per_user == 7, hermes.gateway.remote_keys) == (None, False, ())


@pytest.mark.gen_test
async def test_what_needs_a_restart_is_named_each_time(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """As a warning, and the running gateway keeps its own."""
    hermes = await site.start(jwt_secret_file=(site.write("secret", SECRET),))
    for _ in range(2):
        line = await site.reload(host="localhost", log_level="debug")
        assert line.endswith("a restart is needed for --host")
    assert caplog.records[-1].levelno == logging.WARNING
    assert hermes.gateway.settings.host == "127.0.0.1"
    assert hermes.gateway.settings.log_level == "debug"


def add_users(passwords: Path, *users: str) -> None:
    """Give each user a password at the broker."""
    for user in users:
        command = [needs("mosquitto_passwd"), "-b", str(passwords), user, f"password of {user}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@pytest.mark.broker
@pytest.mark.gen_test
async def test_another_user_of_the_broker_opens_the_link_anew(site: Site, tmp_path: Path) -> None:
    """Also one within the URL; only a new password is used at the next connection."""
    passwords = tmp_path / "passwords"
    passwords.touch(mode=0o600)
    add_users(passwords, "one", "two", "three")
    with mosquitto(tmp_path, "allow_anonymous false", f"password_file {passwords}") as broker:
        address = f"127.0.0.1:{broker.port}"
        file = site.write("password", "password of one")
        hermes = await site.start(
            jwt_secret_file=(site.write("secret", SECRET),),
            mqtt_url=f"mqtt://{address}",
            mqtt_username="one",
            mqtt_password_file=file,
        )
        gateway = hermes.gateway
        await eventually(lambda: gateway.link.ready)
        feed = gateway._feed
        site.write("password", "password of two")
        assert await site.reload() == "changed --mqtt-password-file"
        assert gateway._feed is feed
        assert await site.reload(mqtt_username="two") == "changed --mqtt-username"
        assert gateway._feed is not feed
        await eventually(lambda: gateway.link.ready)
        url = f"mqtt://three:password%20of%20three@{address}"
        line = await site.reload(mqtt_url=url, mqtt_username=None, mqtt_password_file=None)
        assert line == "changed --mqtt-password-file, --mqtt-url, --mqtt-username"
        await asyncio.sleep(0)
        await eventually(lambda: gateway.link.ready)
        feed = gateway._feed
        elsewhere = {"mqtt_url": "mqtt://other.example", "mqtt_username": "four", "mqtt_password_file": file}
        line = await site.reload(**elsewhere)
        assert line.endswith("a restart is needed for --mqtt-password-file, --mqtt-url, --mqtt-username")
        assert gateway._feed is feed  # the present broker gets nothing that is for another one
        assert gateway.link.ready


@pytest.mark.broker
@pytest.mark.gen_test
async def test_values_of_templates_that_are_gone_are_cleared_and_announced(site: Site, tmp_path: Path) -> None:
    """Open sockets get the frame that clears; those of templates that stay are kept."""
    with mosquitto(tmp_path) as broker:
        hermes = await site.start(
            jwt_secret_file=(site.write("secret", SECRET),),
            mqtt_url=f"mqtt://127.0.0.1:{broker.port}",
            topics=["a/{tenant_id}/{device_id}", "b/{tenant_id}/{device_id}"],
        )
        await eventually(lambda: hermes.gateway.link.ready)
        socket = await hermes.open("/ws/tenant/acme", token(tenant_id="acme"))
        for topic in ("a", "b"):
            await asyncio.to_thread(broker.publish, f"{topic}/acme/of-{topic}", "1")
            assert (await data_frame(socket))["device_id"] == f"of-{topic}"
        assert await site.reload(topics=["b/{tenant_id}/{device_id}", "c/{tenant_id}/{device_id}"]) == "changed --topic"
        frame = await data_frame(socket)
        assert (frame["device_id"], frame["data"], frame["cleared"]) == ("of-a", None, True)
        await eventually(lambda: hermes.gateway.link.ready)
        await asyncio.to_thread(broker.publish, "c/acme/of-c", "1")
        assert (await data_frame(socket))["device_id"] == "of-c"
        late = await hermes.open("/ws/tenant/acme", token(tenant_id="acme"))
        assert sorted([(await data_frame(late))["device_id"] for _ in range(2)]) == ["of-b", "of-c"]


async def data_frame(socket: ClientSocket) -> dict[str, Any]:
    """Return the next frame of a device's data."""
    while (frame := await socket.receive())["channel"] != "device":
        pass
    return frame
