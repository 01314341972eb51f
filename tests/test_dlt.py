"""The dlt source, loaded into DuckDB by dlt itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread

pytestmark = [
    pytest.mark.timeout(120),
]


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox with a tag and a list, in a thread of its own: dlt runs its own event loop."""
    with run_in_thread(Sandbox(companies=40, visits=450, days=20, accounts=2, rate_limit=False)) as running:
        yield running


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pipeline into a DuckDB file, that tells nobody of itself."""
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)
    import dlt

    return dlt.pipeline(
        "visits", destination=dlt.destinations.duckdb(str(tmp_path / "w.duckdb")), dataset_name="crm",
        pipelines_dir=str(tmp_path / "pipelines"),
    )  # fmt: skip


def run(pipeline: Any, sandbox: Sandbox, account: str, **options: Any) -> None:
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    source = leadfeeder_source(
        account, start_date=str(sandbox.start_date), api_key=sandbox.api_key, base_url=sandbox.url, **options
    )
    pipeline.run(source).raise_on_failed_jobs()


def ask(pipeline: Any, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return list(client.execute_sql(query) or [])


def test_first_and_second_run(pipeline: Any, sandbox: Sandbox) -> None:
    """Every visit is there once with its steps in a child table; a second run reads the new ones and a few days again."""
    run(pipeline, sandbox, sandbox.account_id)
    world = sandbox._state.world
    depth = sum(int(str(world.visit(number)["page_depth"])) for number in range(world.visits))
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]
    assert ask(pipeline, "SELECT count(*) FROM visits__engagements") == [(depth,)]
    assert ask(pipeline, "SELECT count(*) FROM visits WHERE company__id IS NULL") == [(0,)]
    assert ask(pipeline, "SELECT typeof(started_at) FROM visits LIMIT 1") == [("TIMESTAMP WITH TIME ZONE",)]
    first = sandbox.ledger.count("search_web_visits")
    sandbox.add_visits(7)
    run(pipeline, sandbox, sandbox.account_id)
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(457, 457)]
    assert sandbox.ledger.count("search_web_visits") - first < first
    assert sandbox.ledger.credits_charged == 0
    assert len(ask(pipeline, "SELECT DISTINCT company__id FROM visitor_companies")) <= 40


def test_tags_become_what_the_server_has(pipeline: Any, sandbox: Sandbox) -> None:
    """A tag that is gone on the server goes; those of another account in the same dataset stay."""
    first, second = sandbox.account_ids
    tags = sandbox._state.workspace.tags
    kept, gone = (tags.add({"name": name, "color": 1}) for name in ("Hot", "Cold"))
    run(pipeline, sandbox, first)
    run(pipeline, sandbox, second)
    sandbox._state.workspace.forget_tag(gone)
    run(pipeline, sandbox, first)
    assert ask(pipeline, "SELECT account_id, id FROM tags ORDER BY ALL") == [
        (first, kept),
        (second, kept),
        (second, gone),
    ]


def test_a_failed_run_loads_nothing_by_halves(pipeline: Any, sandbox: Sandbox) -> None:
    """Where the key is refused, the pipeline fails with the client's own error, and the next run is whole."""
    from dlt.pipeline.exceptions import PipelineStepFailed

    sandbox.fail_next(401, code="invalid_api_key", times=1_000)
    with pytest.raises(PipelineStepFailed, match="invalid_api_key"):
        run(pipeline, sandbox, sandbox.account_id)
    sandbox._faults.clear()
    run(pipeline, sandbox, sandbox.account_id)
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]
