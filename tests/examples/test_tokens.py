"""The programs that sign tokens, by the commands of their README."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jwt
import pytest

from tests.support.gateways import SECRET, MakeHermes
from tests.support.page_commands import commands
from tests.support.paths import CHECKOUT

FOLDER = CHECKOUT / "examples" / "tokens"
COMMANDS = ("python", "node", "go", "php", "mcs")
USER = ('u"1\\', "Ána\n</script> 'x' €😀", "acme/7 é")
LIFETIME_S = 600


def sign(name: str, folder: Path, *user: str) -> str:
    """Return what the program prints for a user; skip the test without its language."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if shutil.which(name, path=path) is None:
        pytest.skip(f"{name} is missing")
    (command,) = [line for line in commands(FOLDER / "README.md").splitlines() if line.startswith(f"{name} ")]
    secret = folder / "jwt-secret"
    secret.write_text(f"{SECRET}\n")
    copy = folder / "tokens"  # a compiler writes beside its source
    shutil.copytree(FOLDER, copy, dirs_exist_ok=True)
    done = subprocess.run(
        command.replace("123 ana acme", shlex.join(user)),
        shell=True,
        cwd=copy,
        env=os.environ | {"PATH": path, "HERMES_JWT_SECRET_FILE": str(secret)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removesuffix("\n")


def by_command(name: str) -> object:
    """A command as a test parameter; those that compile are slow."""
    return pytest.param(name, marks=pytest.mark.slow) if name in ("go", "mcs") else name


@pytest.mark.parametrize("name", [by_command(name) for name in COMMANDS])
@pytest.mark.gen_test
async def test_a_signed_token_opens_the_sockets_of_its_user(name: str, make_hermes: MakeHermes, tmp_path: Path) -> None:
    """Its claims are those of the arguments, whatever characters they have, and it expires."""
    before = int(time.time())
    token = sign(name, tmp_path, *USER)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["iat", "exp"]})
    issued = claims.pop("iat")
    assert before <= issued <= time.time()
    assert claims.pop("exp") - issued == LIFETIME_S
    assert claims == {"user_id": USER[0], "username": USER[1], "tenant_id": USER[2]}
    hermes = await make_hermes()
    socket = await hermes.open("/ws", token)
    await hermes.notify({"user_id": USER[0], "title": "New alert", "message": ""})
    assert (await socket.receive())["title"] == "New alert"
