"""The API key is in no file that exports, enrichment, sync and the report write."""

from __future__ import annotations

from pathlib import Path

import pytest

from leadfeeder_async import AsyncLeadfeeder, LeadfeederError
from leadfeeder_async.report import write_report
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import sync_account


async def test_key_is_in_no_file(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Complete and interrupted exports, results, a database and a report are written without the key."""
    visits = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date)
    for name in ("visits.ndjson", "visits.csv", "visits.parquet"):
        await visits.to_file(tmp_path / name)
    with pytest.raises(LeadfeederError):
        await visits.prefetch(0).to_file(tmp_path / "cut.ndjson", on_progress=lambda _: sandbox.fail_next(401))
    await lf.enrich.ips(["198.18.0.17", "198.18.0.18"]).to_file(tmp_path / "ips.ndjson")
    await sync_account(lf, tmp_path / "account.duckdb", since=sandbox.start_date)
    write_report(tmp_path / "account.duckdb", tmp_path / "report.html")
    files = {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert {"cut.ndjson.part", "cut.ndjson.checkpoint", "account.duckdb", "report.html"} <= set(files)
    assert [name for name, content in files.items() if sandbox.api_key.encode() in content] == []
