"""``leadfeeder sync``: the resume hint."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadfeeder_async import IncompleteListError
from leadfeeder_async.cli.sync_command import sync
from leadfeeder_async.jobs.progress import Progress


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
    hint = "Not finished: 2 visits read and kept. To resume:\n  leadfeeder sync --db 'visits of 2026.duckdb'\n"
    assert capsys.readouterr().err == ("" if run_completed else hint)
