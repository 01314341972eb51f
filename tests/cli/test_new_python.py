"""The ``leadfeeder`` command in a Python of its own: each command, each exit code, and the installed script."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import COMMAND, leadfeeder_in_new_python
from tests.support.paths import SCRIPTS
from tests.support.requirements import is_windows, needs_signals

SCRIPT = SCRIPTS / ("leadfeeder.exe" if is_windows else "leadfeeder")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("accounts",), 0),
        (("brief", "--since", "7d"), 0),
        (("companies", "search", "--country", "DE", "--limit", "2"), 0),
        (("contacts", "search", "--company-id", "159000003", "--limit", "2"), 0),
        (("contract", "probe"), 0),
        (("demo", "--out", "demo.ndjson", "--visits", "50"), 0),
        (("enrich", "companies.csv", "--by", "domain", "--out", "enriched.csv", "--yes"), 0),
        (("feeds", "list"), 0),
        (("ip", "192.0.2.1"), 0),
        (("lists", "list"), 0),
        (("sync", "--db", "visits.duckdb"), 0),
        (("usage",), 0),
        (("companies", "get", "nonsense"), 1),
        (("export", "visits", "--resume"), 2),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else str(value),
)
async def test_command(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: int
) -> None:
    """Each command imports all modules that it needs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "companies.csv").write_text("domain\ncompany-1.test\n", encoding="utf-8")
    code, _, stderr = await leadfeeder_in_new_python(sandbox, *arguments)
    assert (code, "Traceback" in stderr) == (expected, False), stderr


@pytest.mark.parametrize(
    ("status", "error_code", "expected"),
    [(401, "invalid_api_key", 3), (402, "insufficient_credits", 4), (400, "bad_request", 1)],
)
async def test_exit_code_of_a_failure(sandbox: Sandbox, status: int, error_code: str, expected: int) -> None:
    """A failed request ends the command with the exit code of its error."""
    sandbox.fail_next(status, code=error_code, times=20)
    code, stdout, stderr = await leadfeeder_in_new_python(sandbox, "tags", "list")
    assert (code, stdout, error_code in stderr) == (expected, "", True), stderr


@pytest.mark.parametrize(("number", "expected"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@needs_signals
async def test_exit_code_of_a_signal(sandbox: Sandbox, tmp_path: Path, number: int, expected: int) -> None:
    """SIGINT and SIGTERM end the command with the exit code that a shell gives them."""
    sandbox.latency = 0.5
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, "export", "visits", "--since", "2020-01-01", "--out", tmp_path / "visits.ndjson"),
        env={**os.environ, **sandbox.environment},
        stderr=asyncio.subprocess.PIPE,
    )
    while not sandbox.ledger.requests:
        await asyncio.sleep(0.01)
    process.send_signal(number)
    _, stderr = await process.communicate()
    assert (process.returncode, b"Traceback" in stderr) == (expected, False), stderr


@pytest.mark.parametrize(
    ("words", "number", "expected"),
    [
        (("tags", "add", "X", "--yes", "--ids"), signal.SIGINT, 130),
        (("tags", "add", "X", "--yes", "--ids"), signal.SIGTERM, 143),
        (("export", "visits", "--since", "2026-11-01", "--filter"), signal.SIGINT, 130),
        (("feeds", "create", "X", "--yes", "--filters"), signal.SIGTERM, 143),
    ],
)
@needs_signals
async def test_signal_while_a_pipe_is_read(
    sandbox: Sandbox, tmp_path: Path, words: tuple[str, ...], number: int, expected: int
) -> None:
    """A command that waits for a pipe without a writer ends at the first signal."""
    pipe = tmp_path / "ids"
    os.mkfifo(pipe)
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *words, pipe),
        env={**os.environ, **sandbox.environment},
        stderr=asyncio.subprocess.PIPE,
    )
    writer = await asyncio.to_thread(os.open, pipe, os.O_WRONLY)  # waits until the command reads
    try:
        await asyncio.sleep(0.2)
        process.send_signal(number)
        _, stderr = await asyncio.wait_for(process.communicate(), 20)
    finally:
        os.close(writer)
    assert (process.returncode, b"Traceback" in stderr) == (expected, False), stderr


@pytest.mark.skipif(not SCRIPT.exists(), reason="the package is not installed with its scripts")
@pytest.mark.e2e
async def test_installed_script(sandbox: Sandbox) -> None:
    """The script that pip installs runs the command."""
    code, stdout, _ = await leadfeeder_in_new_python(sandbox, "accounts", command=(str(SCRIPT),))
    assert (code, sandbox.account_id in stdout) == (0, True)
