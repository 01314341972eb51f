"""``leadfeeder login`` and ``logout``, and the keyring as the source of the key."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest

from leadfeeder_async import AsyncLeadfeeder, MissingKeyError
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import leadfeeder, leadfeeder_on_terminal
from tests.support.keyring_file import FileKeyring


@pytest.fixture
def environment(sandbox: Sandbox, tmp_path: Path) -> dict[str, str]:
    """The address of a sandbox without its key, and a keyring in a file."""
    return {
        "LEADFEEDER_BASE_URL": sandbox.url,
        "LEADFEEDER_KEYRING": "1",
        "PYTHON_KEYRING_BACKEND": "tests.support.keyring_file.FileKeyring",
        "KEYRING_FILE": str(tmp_path / "keyring.json"),
    }


def stored(environment: dict[str, str]) -> dict[str, str]:
    file = Path(environment["KEYRING_FILE"])
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


async def test_login_and_logout(sandbox: Sandbox, environment: dict[str, str]) -> None:
    """After login, commands use the stored key. After logout, they need another one."""
    key = f"{sandbox.api_key}\n".encode()
    code, stdout, stderr = await leadfeeder(None, "login", stdin=key, **environment)
    assert (code, stdout) == (0, "")
    assert f"The key of ada@seller.test for {sandbox.url} is stored in the test keyring." in stderr
    assert sandbox.api_key not in stderr
    assert stored(environment) == {f"leadfeeder {sandbox.url}": sandbox.api_key}
    assert (await leadfeeder(None, "accounts", **environment))[0] == 0
    code, _, stderr = await leadfeeder(None, "logout", **environment)
    assert (code, "The key itself stays valid" in stderr) == (0, True)
    code, _, stderr = await leadfeeder(None, "accounts", **environment)
    assert (code, "`leadfeeder login`" in stderr) == (3, True)
    code, _, stderr = await leadfeeder(None, "logout", **environment)
    assert (code, "No key for" in stderr) == (0, True)


async def test_rejected_key_is_not_stored(environment: dict[str, str]) -> None:
    """A key that the API rejects, or none, is not stored."""
    for key in (b"canary-wrong-key-123\n", b"\n", b"two\x01words\n"):
        code, _, stderr = await leadfeeder(None, "login", stdin=key, **environment)
        assert code in {2, 3}
        assert "canary" not in stderr
    assert stored(environment) == {}


async def test_login_asks_without_showing_the_key(
    sandbox: Sandbox, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal, the key is asked for, and is not shown."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    code, screen = await leadfeeder_on_terminal(None, "login", answer=f"{sandbox.api_key}\n", answer_at="(not shown): ")
    assert code == 0
    assert "(not shown)" in screen
    assert sandbox.api_key not in screen
    assert stored(environment) == {f"leadfeeder {sandbox.url}": sandbox.api_key}


async def test_key_is_stored_for_one_address(sandbox: Sandbox, environment: dict[str, str]) -> None:
    """A stored key is not sent to another server."""
    await leadfeeder(None, "login", stdin=sandbox.api_key.encode(), **environment)
    async with Sandbox(companies=5, visits=5) as other:
        code, _, stderr = await leadfeeder(None, "accounts", **{**environment, "LEADFEEDER_BASE_URL": other.url})
        assert other.ledger.requests == []
    assert (code, "No API key" in stderr) == (3, True)


async def test_environment_wins_over_keyring(sandbox: Sandbox, environment: dict[str, str]) -> None:
    """LEADFEEDER_API_KEY is used although a key is stored, and login says so."""
    both = {**environment, "LEADFEEDER_API_KEY": "other"}
    _, _, stderr = await leadfeeder(None, "login", stdin=sandbox.api_key.encode(), **both)
    assert "LEADFEEDER_API_KEY is set and takes precedence" in stderr
    code, _, stderr = await leadfeeder(None, "accounts", **both)
    assert (code, "invalid_api_key" in stderr) == (3, True)


async def test_locked_keyring(environment: dict[str, str]) -> None:
    """A locked keyring is reported, and does not end in a traceback."""
    Path(environment["KEYRING_FILE"]).write_text("locked", encoding="utf-8")
    for command, expected in (("accounts", 3), ("logout", 2)):
        code, _, stderr = await leadfeeder(None, command, **environment)
        assert (code, "(KeyringLocked)" in stderr) == (expected, True), stderr


@pytest.fixture
def file_keyring(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Use the keyring in a file in this process."""
    for name in ("KEYRING_FILE", "LEADFEEDER_BASE_URL", "LEADFEEDER_KEYRING"):
        monkeypatch.setenv(name, environment[name])
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeyring())
    yield
    keyring.set_keyring(before)


@pytest.mark.usefixtures("file_keyring")
async def test_client_reads_the_keyring(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With LEADFEEDER_KEYRING=1, the client uses the stored key, and reads a new one after a rejection."""
    from leadfeeder_async.integrations.keyring import store_api_key
    from leadfeeder_async.settings import find_api_key

    with pytest.raises(MissingKeyError):
        AsyncLeadfeeder()
    store_api_key(sandbox.url, sandbox.api_key)
    assert find_api_key(None).reveal() == sandbox.api_key
    async with AsyncLeadfeeder() as lf:
        await lf.users.me()
        store_api_key(sandbox.url, sandbox.rotate_key())
        await lf.users.me()
    monkeypatch.setenv("LEADFEEDER_KEYRING", "0")
    with pytest.raises(MissingKeyError):
        AsyncLeadfeeder()


async def test_system_without_keyring(sandbox: Sandbox, environment: dict[str, str]) -> None:
    """Without a keyring, commands miss a key as before, and login names the alternative."""
    none = {**environment, "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring"}
    code, _, stderr = await leadfeeder(None, "accounts", **none)
    assert (code, "No API key was given" in stderr) == (3, True)
    code, _, stderr = await leadfeeder(None, "login", stdin=sandbox.api_key.encode(), **none)
    assert (code, "LEADFEEDER_API_KEY_FILE" in stderr) == (2, True)


async def test_login_without_a_key() -> None:
    """An empty stdin is an error that names the ways to give the key."""
    code, _, stderr = await leadfeeder(None, "login", stdin=b"\n", LEADFEEDER_BASE_URL="http://127.0.0.1:9")
    assert (code, "pipe it into the command" in stderr, "leadfeeder login" in stderr) == (2, True, False)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("\ufeff{key}\r\n", 0, "is stored"),
        ("\n{key}\n", 0, "is stored"),
        ("LEADFEEDER_API_KEY={key}\n", 2, "has an assignment or quotes"),
        ("{key}\n\n", 0, "is stored"),
    ],
)
async def test_key_file_as_input(
    sandbox: Sandbox, environment: dict[str, str], text: str, code: int, message: str
) -> None:
    """A key from a Windows editor is accepted, and anything but a key is refused before a request."""
    given = text.format(key=sandbox.api_key).encode()
    found, _, stderr = await leadfeeder(None, "login", stdin=given, **environment)
    assert (found, message in stderr, sandbox.api_key in stderr) == (code, True, False)
    assert len(sandbox.ledger.requests) == (1 if code == 0 else 0)


async def test_keyring_that_fails(environment: dict[str, str], sandbox: Sandbox, tmp_path: Path) -> None:
    """An error of the keyring's own is one line, without its text."""
    Path(environment["KEYRING_FILE"]).mkdir()
    for command in ("login", "logout"):
        code, _, stderr = await leadfeeder(None, command, stdin=sandbox.api_key.encode(), **environment)
        assert (code, "system keyring" in stderr, "Traceback" in stderr) == (2, True, False)


async def test_pipe_that_stays_open(sandbox: Sandbox, environment: dict[str, str]) -> None:
    """The key is read from a pipe that is not closed after it."""
    read_end, write_end = os.pipe()
    os.write(write_end, f"\n{sandbox.api_key}\n".encode())
    with os.fdopen(read_end, "rb") as stdin, os.fdopen(write_end, "wb"):
        async with asyncio.timeout(20):
            code, _, stderr = await leadfeeder(None, "login", stdin=stdin, **environment)
    assert (code, "is stored" in stderr) == (0, True)
