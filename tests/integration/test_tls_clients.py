"""Clients of a Hermes with TLS: the Python client and the commands."""

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hermes.client import HermesClient, NotifyResult, Reconnect
from hermes.errors import HermesError
from hermes.settings.tls import own_context
from tests.support.certificates import LOOPBACK, Authority
from tests.support.gateways import KEY, SECRET, TIMEOUT_S, MakeHermes, token
from tests.support.programs import Program, free_port
from tests.support.tls_sites import tls_site


async def notify(client: HermesClient) -> NotifyResult:
    """Send a notification."""
    return await client.notify(user_id="123", title="New alert", message="Sensor X is hot")


@pytest.mark.gen_test
async def test_the_python_client_trusts_a_ca_file(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """For requests and for sockets."""
    site = await tls_site(make_hermes, tmp_path)
    client = HermesClient(site.hermes.url, api_key=KEY, token=token(), ca_file=site.authority.certificate)
    frames = client.listen("notifications")
    first = asyncio.ensure_future(anext(frames))
    while not (await notify(client)).sent:
        await asyncio.sleep(0.01)
    assert (await asyncio.wait_for(first, TIMEOUT_S))["title"] == "New alert"
    await frames.aclose()
    assert (await client.status())["version"]


@pytest.mark.gen_test
@pytest.mark.filterwarnings("ignore::ResourceWarning")
async def test_without_the_ca_file_it_says_what_to_give(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Once for a request; a socket tries again."""
    site = await tls_site(make_hermes, tmp_path)
    with pytest.raises(HermesError, match=r"certificate is not trusted: .*--ca-file"):
        await notify(HermesClient(site.hermes.url, api_key=KEY))
    reasons: asyncio.Queue[Reconnect] = asyncio.Queue()
    frames = HermesClient(site.hermes.url, token=token()).listen("notifications", on_reconnect=reasons.put_nowait)
    reading = asyncio.ensure_future(anext(frames))
    assert "--ca-file" in (await asyncio.wait_for(reasons.get(), TIMEOUT_S)).reason
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    other = site.hermes.url.replace("127.0.0.1", "localhost")
    with pytest.raises(HermesError, match="write a name in the URL that the certificate has"):
        await HermesClient(other, ca_file=site.authority.certificate).status()


@pytest.mark.gen_test
async def test_the_wrong_scheme_is_explained(make_hermes: MakeHermes, tmp_path: Path) -> None:
    """http on a port with TLS, and https on one without."""
    site = await tls_site(make_hermes, tmp_path)
    with pytest.raises(HermesError, match="use https://"):
        await notify(HermesClient(site.hermes.url.replace("https", "http"), api_key=KEY))
    plain = await make_hermes()
    with pytest.raises(HermesError, match="it does not speak TLS: write http://"):
        await notify(HermesClient(plain.url.replace("http", "https"), api_key=KEY))


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    """Run a Hermes with TLS alone, of which the certificate has another name than its address; return its TOML file."""
    signed = Authority(tmp_path).sign("gateway.example")
    for name, text in (("secret", SECRET), ("keys", KEY)):
        (tmp_path / name).write_text(text)
    path = tmp_path / "hermes.toml"
    lines = {
        "jwt_secret_file": str(tmp_path / "secret"),
        "api_key_file": str(tmp_path / "keys"),
        "mqtt_url": "off",
        "port": free_port(),
        "tls_cert": str(signed.certificate),
        "tls_key": str(signed.key),
    }
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in lines.items()))
    program = Program(["serve", "--config", str(path)], {})
    try:
        program.wait_for("listening on https://")
        yield path
    finally:
        program.end()


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a command."""
    command = [sys.executable, "-m", "hermes", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False, env=os.environ)


def test_commands_on_the_same_machine_trust_the_certificate_of_the_settings(config: Path) -> None:
    """It need not have the name of the address: the file says which certificate Hermes has."""
    notified = run("notify", "--user", "1", "--title", "t", "--message", "m", "--config", str(config))
    assert (notified.returncode, '"status": "success"' in notified.stdout) == (0, True), notified.stderr
    status = run("status", "--config", str(config))
    assert "at https://127.0.0.1:" in status.stdout, status.stderr
    assert run("status", "--quiet", "--config", str(config)).returncode == 0
    checked = run("check", "--config", str(config))
    assert "a Hermes is running at https://127.0.0.1:" in checked.stdout
    assert "CN=gateway.example" in checked.stdout


@pytest.mark.slow
def test_a_command_explains_a_failed_handshake_in_one_line(config: Path) -> None:
    """And what to give."""
    port = re.search(r"^port = (\d+)", config.read_text(), re.MULTILINE)
    assert port is not None
    address = f"127.0.0.1:{port[1]}"
    body = ("--user", "1", "--title", "t", "--message", "m", "--api-key-file", str(config.with_name("keys")))
    for scheme, words in (("https", "certificate is not trusted"), ("http", "use https://")):
        notified = run("notify", *body, "--url", f"{scheme}://{address}")
        status = run("status", "--url", f"{scheme}://{address}", "--api-key-file", str(config.with_name("keys")))
        assert (notified.returncode, status.returncode) == (1, 1)
        for text in (notified.stderr or notified.stdout, status.stderr):
            assert words in text
            assert len(text.splitlines()) == 1
            assert "give --api-key-file" not in text


@pytest.mark.slow
def test_another_certificate_of_the_same_authority_is_not_trusted_in_its_place(config: Path, tmp_path: Path) -> None:
    """Only the first certificate of the file, not its chain."""
    authority = Authority(tmp_path, "other authority")
    other = authority.sign("other", LOOPBACK)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(other.certificate.read_bytes() + authority.certificate.read_bytes())
    config.write_text(config.read_text().replace(str(tmp_path / "gateway.example.pem"), str(chain)))
    done = run("status", "--config", str(config))
    assert done.returncode == 1
    assert "certificate is not trusted" in done.stderr
    assert own_context(chain).cert_store_stats()["x509"] == 1
    assert own_context(chain).verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
