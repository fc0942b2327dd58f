"""``hermes status``: a table, and an exit code."""

from pathlib import Path

import pytest

from hermes.auth.api_keys import Scope
from hermes.cli.main import main
from hermes.cli.status import duration
from hermes.errors import ConfigError
from hermes.settings.folders import SERVICE_CONFIG
from hermes.settings.load import load_client
from tests.support.gateways import KEY, SECRET
from tests.support.programs import free_port, hermes


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The file of the API key."""
    path = tmp_path / "keys"
    path.touch(mode=0o600)
    path.write_text(f"{KEY}\n")
    return path


def test_a_running_hermes_is_shown(key_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its state and figures; the exit code is 0."""
    flags = ("serve", "--port", "0", "--mqtt-url", "off", "--api-key-file", str(key_file))
    with hermes(*flags, HERMES_JWT_SECRET=SECRET) as program:
        assert main(["status", "--url", program.url, "--api-key-file", str(key_file)]) == 0
        lines = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
        assert f"pid {program.process.pid}" in lines["Hermes"]
        assert lines["ready"] == "yes"
        assert lines["MQTT"].startswith("off since ")
        assert main(["status", "--quiet", "--url", program.url]) == 0
        assert main(["status", "--url", program.url]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "give --api-key-file" in captured.err


def test_without_hermes_the_exit_code_is_1(capsys: pytest.CaptureFixture[str]) -> None:
    """Quiet, or with the reason."""
    url = f"http://127.0.0.1:{free_port()}"
    assert main(["status", "--quiet", "--url", url]) == 1
    assert capsys.readouterr() == ("", "")
    assert main(["status", "--url", url]) == 1
    assert "does Hermes run there?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "url"),
    [
        ("", "http://127.0.0.1:8080"),
        ('host = "0.0.0.0"\nport = 9090\n', "http://127.0.0.1:9090"),
        ('host = "::"\n', "http://[::1]:8080"),
        ('host = "192.0.2.7"\njwt_secret_file = "/nothing"\n', "http://192.0.2.7:8080"),
        ('host = "192.0.2.7"\napi_url = "http://other:1"\n', "http://other:1"),
    ],
)
def test_the_file_of_the_service_names_address_and_key(
    tmp_path: Path, key_file: Path, content: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the command needs no flags on the gateway itself."""
    monkeypatch.delenv("HERMES_CONFIG", raising=False)
    monkeypatch.delenv("HERMES_API_URL", raising=False)
    config = tmp_path / "hermes.toml"
    config.write_text(f'{content}api_key_file = "{key_file}"\n')
    settings = load_client({}, config)
    assert (settings.api_url, settings.api_key(Scope.STATUS)) == (url, KEY)
    elsewhere = load_client({"api_url": "http://flag:2"}, config)
    assert (elsewhere.api_url, elsewhere.api_key(Scope.STATUS)) == ("http://flag:2", None), (
        "the key is for this machine alone"
    )
    monkeypatch.setenv("HERMES_PORT", "9999")
    assert load_client({}, config).api_url == (
        "http://other:1" if "api_url" in content else url.rpartition(":")[0] + ":9999"
    )
    monkeypatch.delenv("HERMES_PORT")
    key_file.unlink()
    with pytest.raises(ConfigError):
        load_client({}, config)
    assert load_client({}, config, with_key=False).api_url == url
    assert load_client({}, tmp_path / "none").api_url == "http://127.0.0.1:8080"
    assert Path("/etc/hermes/hermes.toml") == SERVICE_CONFIG


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7_200, "2 h"), (90_061, "1 d 1 h"), (31_622_400, "366 d")],
)
def test_durations_have_two_units(seconds: float, text: str) -> None:
    """The largest ones."""
    assert duration(seconds) == text
