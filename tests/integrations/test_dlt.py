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


def source_of(sandbox: Sandbox, account: str, **options: Any) -> Any:
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    return leadfeeder_source(
        account, start_date=str(sandbox.start_date), api_key=sandbox.api_key, base_url=sandbox.url, **options
    )


def run(pipeline: Any, sandbox: Sandbox, account: str, **options: Any) -> None:
    pipeline.run(source_of(sandbox, account, **options)).raise_on_failed_jobs()


def ask(pipeline: Any, query: str) -> list[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        return list(client.execute_sql(query) or [])


def test_first_and_second_run(pipeline: Any, sandbox: Sandbox) -> None:
    """Every visit is there once with its steps in a child table; a second run reads the new ones and a few days again."""
    run(pipeline, sandbox, sandbox.account_id)
    world = sandbox.world
    depth = sum(int(str(world.visit(visit_id)["page_depth"])) for visit_id in world.visit_ids())
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]
    assert ask(pipeline, "SELECT count(*) FROM visits__engagements") == [(depth,)]
    assert ask(pipeline, "SELECT count(*) FROM visits WHERE company__id IS NULL") == [(0,)]
    assert ask(pipeline, "SELECT typeof(started_at) FROM visits LIMIT 1") == [("TIMESTAMP WITH TIME ZONE",)]
    first = sandbox.ledger.count("search_web_visits")
    sandbox.world.add_visits(7)
    run(pipeline, sandbox, sandbox.account_id)
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(457, 457)]
    assert sandbox.ledger.count("search_web_visits") - first < first
    assert sandbox.ledger.credits_charged == 0
    assert len(ask(pipeline, "SELECT DISTINCT company__id FROM visitor_companies")) <= 40


def test_tags_become_what_the_server_has(pipeline: Any, sandbox: Sandbox) -> None:
    """A tag that is gone on the server goes; those of another account in the same dataset stay."""
    first, second = sandbox.account_ids
    kept, gone = (sandbox.records.tags.add({"name": name, "color": 1}) for name in ("Hot", "Cold"))
    run(pipeline, sandbox, first)
    run(pipeline, sandbox, second)
    sandbox.records.delete_tag(gone)
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
    sandbox.clear_faults()
    run(pipeline, sandbox, sandbox.account_id)
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]


def test_visits_that_began_at_no_time(pipeline: Any, sandbox: Sandbox) -> None:
    """They end no run, are there without a time, and the next run begins at the newest of the others."""
    for index, started_at in ((3, "soon"), (4, 5), (5, None)):
        sandbox.world.update_visit(sandbox.world.visit_ids()[index], started_at=started_at)
    run(pipeline, sandbox, sandbox.account_id)
    assert ask(pipeline, "SELECT count(*), count(started_at) FROM visits") == [(450, 447)]
    first = sandbox.ledger.count("search_web_visits")
    sandbox.world.add_visits(7)
    run(pipeline, sandbox, sandbox.account_id)
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id), count(started_at) FROM visits") == [(457, 457, 454)]
    assert sandbox.ledger.count("search_web_visits") - first < first


def test_attributes_called_as_the_keys(pipeline: Any, sandbox: Sandbox) -> None:
    """They do not take the place of what makes a row the same row, nor of a related record's id."""
    for visit_id in sandbox.world.visit_ids():
        sandbox.world.update_visit(visit_id, id="1", account_id="2")
    run(pipeline, sandbox, sandbox.account_id)
    query = "SELECT count(DISTINCT id), min(account_id), max(account_id) FROM visits"
    assert ask(pipeline, query) == [(450, sandbox.account_id, sandbox.account_id)]
    from leadfeeder_async.integrations.dlt import _flat

    row = b'{"id":"1","relationships":{"company":{"id":"7","attributes":{"id":"8","name":"A"}}}}'
    assert _flat(row, "2")["company"] == {"id": "7", "name": "A"}


def test_one_source_runs_twice(pipeline: Any, sandbox: Sandbox) -> None:
    """A limit belongs to the loop of a run, and a warning would be an error here."""
    source = source_of(sandbox, sandbox.account_id)
    for _ in range(2):
        pipeline.run(source).raise_on_failed_jobs()
    assert ask(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]
