"""Jobs on a simulated Windows."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leadfeeder_async.jobs.output_lock import FcntlCalls, MsvcrtCalls, choose_lock_calls
from tests.jobs.helpers import names_in, read_lines
from tests.jobs.windows_process import FakeMsvcrt
from tests.support.paths import ROOT
from tests.support.requirements import needs_fcntl


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc/self/fd")
def test_jobs_without_posix_calls(tmp_path: Path) -> None:
    """Exports, enrichment and sync work with the calls of Windows, and leave no working file."""
    command = [sys.executable, "-m", "tests.jobs.windows_process", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert result.returncode == 0, result.stderr
    assert names_in(tmp_path) == [
        "companies.ndjson", "leadfeeder.duckdb", "twice.ndjson", "visits.csv", "visits.ndjson", "visits.parquet",
    ]  # fmt: skip
    assert len(read_lines(tmp_path / "visits.ndjson")) == 500


@needs_fcntl
def test_lock_calls_are_chosen_by_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fcntl locks files if it can be imported, and msvcrt otherwise."""
    assert isinstance(choose_lock_calls(), FcntlCalls)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", FakeMsvcrt())
    assert isinstance(choose_lock_calls(), MsvcrtCalls)
