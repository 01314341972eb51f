"""The command ``leadfeeder sync``: its output, its exit codes and its interruption."""

from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path

import pytest

from leadfeeder_async import IncompleteListError
from leadfeeder_async.cli.shell import quote_argument
from leadfeeder_async.cli.sync_command import sync
from leadfeeder_async.jobs.progress import Progress
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import leadfeeder, start
from tests.jobs.sync.test_sync_crash_recovery import expected_contents, read_contents
from tests.jobs.test_duckdb_file import opened_elsewhere


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadfeeder.duckdb"


async def test_changes_are_printed(sandbox: Sandbox, path: Path) -> None:
    """The changes of each table go to stdout, one JSON object per line, and the summary to stderr."""
    code, stdout, stderr = await leadfeeder(sandbox, "sync", "--db", str(path), "--since", str(sandbox.start_date))
    assert code == 0, stderr
    lines = {line["table"]: line for line in map(json.loads, stdout.splitlines())}
    assert lines["visits"] == {"table": "visits", "new": 500, "updated": 0, "removed": 0}
    assert set(lines) == {"visits", "engagements", "companies", "locations", "tags", "lists", "usage", "credits"}
    assert f"{sandbox.start_date} to {sandbox.end_date} in " in stderr
    assert f"0 credits charged -> {path}" in stderr
    assert read_contents(path) == expected_contents(sandbox)


async def test_skipped_tables_are_printed(path: Path) -> None:
    """A table that the plan does not include is reported on stderr only, and the exit code is 0."""
    async with Sandbox(companies=9, visits=90, rate_limit=False, not_entitled=["get_usage"]) as sandbox:
        code, stdout, stderr = await leadfeeder(sandbox, "sync", "--db", str(path))
    assert (code, '"usage"' in stdout) == (0, False)
    assert "usage" in stderr
    assert "insufficient_entitlements" in stderr


async def test_locked_database_exits_with_5(sandbox: Sandbox, path: Path) -> None:
    """A database that another process has open is an error without a traceback, and the exit code is 5."""
    assert (await leadfeeder(sandbox, "sync", "--db", str(path)))[0] == 0
    with opened_elsewhere(path):
        code, _, stderr = await leadfeeder(sandbox, "sync", "--db", str(path), "--wait", "0")
    assert (code, "is open in another process" in stderr, "Traceback" in stderr) == (5, True, False)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_interrupted_command_can_be_repeated(path: Path, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM leave a valid database, and the command that is printed continues."""
    async with Sandbox(companies=9, visits=3_000, rate_limit=False, latency=0.1) as sandbox:
        arguments = ["sync", "--db", str(path), "--since", str(sandbox.start_date)]
        process = await start(sandbox, *arguments)
        while len(sandbox.ledger.requests) < 5:
            await asyncio.sleep(0.02)
        process.send_signal(number)
        async with asyncio.timeout(10):
            _, output = await process.communicate()
        stderr = output.decode()
        assert (process.returncode, "Traceback" in stderr) == (code, False), stderr
        printed = next(shlex.split(line) for line in stderr.splitlines() if line.startswith(" ") and " sync " in line)
        assert printed[1:] == arguments
        assert not path.exists()
        sandbox.latency = 0
        assert (await leadfeeder(sandbox, *printed[1:]))[0] == 0
        assert read_contents(path) == expected_contents(sandbox)


@pytest.mark.parametrize("run_completed", [True, False])
async def test_resume_hint(
    run_completed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command to resume is printed unless the sync has saved everything that it could read."""
    progress = Progress(done=2, total=2, pages=1, requests=1, rate_limited=0, credits=0, elapsed=1.0)

    async def sync_account(*_: object, **options: object) -> None:
        on_progress = options["on_progress"]
        assert callable(on_progress)
        on_progress(progress)
        error = IncompleteListError("1 row could not be read.")
        error.run_completed = run_completed
        raise error

    monkeypatch.setattr("leadfeeder_async.sync.sync_account", sync_account)
    monkeypatch.setattr("sys.argv", ["/usr/bin/leadfeeder", "sync", "--db", "visits of 2026.duckdb"])
    monkeypatch.setenv("LEADFEEDER_API_KEY", "k")
    db = tmp_path / "x.duckdb"
    with pytest.raises(IncompleteListError):
        await sync(db=db)
    name = quote_argument("visits of 2026.duckdb")
    hint = f"Not finished: 2 visits read and kept. To resume:\n  leadfeeder sync --db {name}\n"
    assert capsys.readouterr().err == ("" if run_completed else hint)
