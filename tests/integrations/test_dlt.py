"""The dlt source, loaded into DuckDB by dlt."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sandbox.threads import run_in_thread
from tests.support.clients import client_for
from tests.support.servers import handler_server

T = TypeVar("T")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox in its own thread, because dlt runs its own event loop."""
    with run_in_thread(Sandbox(companies=40, visits=450, days=20, accounts=2, rate_limit=False)) as running:
        yield running


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A pipeline that loads into a DuckDB file and sends no telemetry."""
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.chdir(tmp_path)
    import dlt

    return dlt.pipeline(
        "visits", destination=dlt.destinations.duckdb(str(tmp_path / "w.duckdb")), dataset_name="crm",
        pipelines_dir=str(tmp_path / "pipelines"),
    )  # fmt: skip


def source_of(sandbox: Sandbox, account: str, **options: Any) -> Any:
    """Return the dlt source of an account."""
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    return leadfeeder_source(
        account, start_date=str(sandbox.start_date), api_key=sandbox.api_key, base_url=sandbox.url, **options
    )


def run(pipeline: Any, sandbox: Sandbox, account: str, **options: Any) -> None:
    """Load an account."""
    pipeline.run(source_of(sandbox, account, **options)).raise_on_failed_jobs()


def query(pipeline: Any, sql: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with pipeline.sql_client() as client:
        return list(client.execute_sql(sql) or [])


def call(sandbox: Sandbox, function: Callable[[AsyncLeadfeeder], Awaitable[T]]) -> T:
    """Return the result of a function that uses a client of the sandbox."""

    async def run_function() -> T:
        async with client_for(sandbox) as lf:
            return await function(lf)

    return asyncio.run(run_function())


def test_second_run_reads_only_recent_visits(pipeline: Any, sandbox: Sandbox) -> None:
    """Each visit is loaded once, with its engagements in a child table. A second run reads new visits and some days."""
    run(pipeline, sandbox, sandbox.account_id)
    world = sandbox.world
    engagements = sum(int(str(world.visit(visit_id)["page_depth"])) for visit_id in world.visit_ids())
    assert query(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]
    assert query(pipeline, "SELECT count(*) FROM visits__engagements") == [(engagements,)]
    assert query(pipeline, "SELECT count(*) FROM visits WHERE company__id IS NULL") == [(0,)]
    assert query(pipeline, "SELECT typeof(started_at) FROM visits LIMIT 1") == [("TIMESTAMP WITH TIME ZONE",)]
    before = sandbox.ledger.count("search_web_visits")
    sandbox.world.add_visits(7)
    run(pipeline, sandbox, sandbox.account_id)
    assert query(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(457, 457)]
    assert sandbox.ledger.count("search_web_visits") - before < before
    assert sandbox.ledger.credits_charged == 0
    assert len(query(pipeline, "SELECT DISTINCT company__id FROM visitor_companies")) <= 40


@pytest.mark.parametrize("days", [-1, 10**9])
def test_lookback_is_checked(days: int) -> None:
    """The number of days is checked before a run."""
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    with pytest.raises(Exception, match="lookback_days"):
        leadfeeder_source("1", lookback_days=days, api_key="k")


def test_deleted_tags_are_removed(pipeline: Any, sandbox: Sandbox) -> None:
    """A tag that was deleted on the server is removed. Tags of other accounts in the same dataset are kept."""
    first, second = sandbox.account_ids
    kept, deleted = (call(sandbox, lambda lf, name=name: lf.tags.create(name=name)).data.id for name in ("Hot", "Cold"))
    run(pipeline, sandbox, first)
    run(pipeline, sandbox, second)
    call(sandbox, lambda lf: lf.tags.delete(deleted))
    run(pipeline, sandbox, first)
    assert query(pipeline, "SELECT account_id, id FROM tags ORDER BY ALL") == [
        (first, kept),
        (second, kept),
        (second, deleted),
    ]


def test_failed_run_loads_nothing(pipeline: Any, sandbox: Sandbox) -> None:
    """If the key is rejected, the pipeline fails with the client's error, and the next run is complete."""
    from dlt.pipeline.exceptions import PipelineStepFailed

    sandbox.fail_next(401, code="invalid_api_key", operation="search_web_visits")
    with pytest.raises(PipelineStepFailed, match="invalid_api_key"):
        run(pipeline, sandbox, sandbox.account_id)
    run(pipeline, sandbox, sandbox.account_id)
    assert query(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]


def test_visits_without_valid_start_time(pipeline: Any, sandbox: Sandbox) -> None:
    """Invalid start times are loaded as null, and the next run begins at the newest valid one."""
    for visit_id, invalid in zip(sandbox.world.visit_ids()[3:6], ("soon", 253402300799.9999999, None), strict=True):
        sandbox.world.update_visit(visit_id, started_at=invalid)
    run(pipeline, sandbox, sandbox.account_id)
    assert query(pipeline, "SELECT count(*), count(started_at) FROM visits") == [(450, 447)]
    before = sandbox.ledger.count("search_web_visits")
    sandbox.world.add_visits(7)
    run(pipeline, sandbox, sandbox.account_id)
    assert query(pipeline, "SELECT count(*), count(DISTINCT id), count(started_at) FROM visits") == [(457, 457, 454)]
    assert sandbox.ledger.count("search_web_visits") - before < before


def test_run_before_the_first_visit(pipeline: Any, sandbox: Sandbox) -> None:
    """If no visit has a start time, the next run begins at the same day."""
    for visit_id in sandbox.world.visit_ids():
        sandbox.world.update_visit(visit_id, started_at=None)
    run(pipeline, sandbox, sandbox.account_id)
    run(pipeline, sandbox, sandbox.account_id)
    assert query(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]


def test_attributes_do_not_replace_keys(pipeline: Any, sandbox: Sandbox) -> None:
    """Attributes named like the primary key do not replace it, nor the id of a related record."""
    for visit_id in sandbox.world.visit_ids():
        sandbox.world.update_visit(visit_id, id="1", account_id="2")
    for company_id in sandbox.world.company_ids():
        sandbox.world.update_company(company_id, id="1")
    run(pipeline, sandbox, sandbox.account_id)
    sql = "SELECT count(DISTINCT id), min(account_id), max(account_id) FROM visits"
    assert query(pipeline, sql) == [(450, sandbox.account_id, sandbox.account_id)]
    assert query(pipeline, "SELECT count(*) FROM visitor_companies WHERE company__id = '1'") == [(0,)]
    assert query(pipeline, "SELECT count(company__name) > 0 FROM visitor_companies") == [(True,)]


def test_source_can_run_twice(pipeline: Any, sandbox: Sandbox) -> None:
    """The rate limiter belongs to the event loop of a run. Warnings are errors in this test."""
    source = source_of(sandbox, sandbox.account_id)
    for _ in range(2):
        pipeline.run(source).raise_on_failed_jobs()
    assert query(pipeline, "SELECT count(*), count(DISTINCT id) FROM visits") == [(450, 450)]


def test_key_is_in_no_file_of_dlt(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key is in no trace, state or file of dlt, and in no source, wherever dlt takes it from."""
    import dlt

    from leadfeeder_async.integrations.dlt import leadfeeder_source

    key = sandbox.api_key
    for number, argument in enumerate((None, key)):
        monkeypatch.setenv("SOURCES__LEADFEEDER__API_KEY", "" if argument else key)
        if argument:
            monkeypatch.delenv("SOURCES__LEADFEEDER__API_KEY")
        folder = tmp_path / str(number)
        database = dlt.destinations.duckdb(str(tmp_path / f"{number}.duckdb"))
        pipeline = dlt.pipeline(f"keys{number}", destination=database, pipelines_dir=str(folder))
        options = {"api_key": argument} if argument else {}
        source = leadfeeder_source(sandbox.account_id, base_url=sandbox.url, **options)
        pipeline.run(source.with_resources("tags"))
        shown = [source, vars(source), *map(vars, source.resources.values()), pipeline.last_trace.asdict()]
        assert key not in repr(shown)
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert [path.name for path in files if key.encode() in path.read_bytes()] == []


def scripted(*pages: list[Any]) -> Any:
    """Run a server whose visits are those of the next page at each load. It has no other records."""
    script = list(pages)

    async def respond(request: web.Request) -> web.Response:
        rows: list[Any] = []
        if request.path == "/v1/web-visits" and request.query.get("page[num]", "1") == "1":
            rows = script.pop(0)
        meta = {"pagination": {"total_count": len(rows), "page_count": 1}}
        return web.Response(body=msgspec.json.encode({"data": rows, "meta": meta}), content_type="application/json")

    return handler_server(respond)


async def load(pipeline: Any, url: str, account: str = "1", **options: Any) -> None:
    from leadfeeder_async.integrations.dlt import leadfeeder_source

    source = leadfeeder_source(account, start_date="2026-11-01", api_key="k", base_url=url, **options)
    await asyncio.to_thread(lambda: pipeline.run(source).raise_on_failed_jobs())


def visit(visit_id: str, day: date, **attributes: Any) -> dict[str, Any]:
    return {"id": visit_id, "type": "web_visit", "attributes": {"started_at": f"{day}T10:00:00Z", **attributes}}


@pytest.mark.parametrize(("lookback_days", "days_ahead"), [(3, 30), (0, 1)])
async def test_visit_dated_in_the_future(pipeline: Any, lookback_days: int, days_ahead: int) -> None:
    """After a visit with a wrong clock, the next run loads visits of today."""
    today = datetime.now(UTC).date()
    async with scripted([visit("1", today + timedelta(days_ahead))], [visit("2", today)]) as url:
        for _ in range(2):
            await load(pipeline, url, lookback_days=lookback_days)
    assert query(pipeline, "SELECT id FROM visits ORDER BY id") == [("1",), ("2",)]


async def test_clock_ahead_of_the_server(pipeline: Any) -> None:
    """The next run begins at the server's date of this run, whatever the clock of this machine says."""
    starts = dict[str, list[str]]()

    async def respond(request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else {}
        if "web-visits" in request.path:
            start = body.get("start_date") or request.query["start_date"]
            starts.setdefault(request.path, []).append(start)
        rows = [visit("1", date(2026, 12, 30))] if request.path == "/v1/web-visits" else []
        meta = {"pagination": {"total_count": len(rows), "page_count": 1}}
        return web.json_response({"data": rows, "meta": meta}, headers={"Date": "Tue, 10 Nov 2026 12:00:00 GMT"})

    async with handler_server(respond) as url:
        for _ in range(2):
            await load(pipeline, url)
    assert starts == {path: ["2026-11-01", "2026-11-07"] for path in ("/v1/web-visits", "/v1/web-visits/companies")}


@pytest.mark.parametrize("value", [1e19, -1e300, 2**64, 5])
async def test_large_numbers_with_fractions(pipeline: Any, value: float) -> None:
    """A field with fractions is loaded as a number of any size, also if the server writes it as an integer."""
    rows = [visit("1", datetime.now(UTC).date(), visit_length=value, other=float(value))]
    async with scripted(rows) as url:
        await load(pipeline, url)
    assert query(pipeline, "SELECT visit_length, other FROM visits") == [(float(value), float(value))]


async def test_fractions_after_integers(pipeline: Any) -> None:
    """A number that the first row has without a fraction, and a text that it has as a number, stay in one column."""
    today = datetime.now(UTC).date()
    rows = [
        {
            **visit(str(number), today, visit_length=length, engagements=[{"time_on_page": length}]),
            "relationships": {
                "company": {
                    "id": str(number),
                    "type": "company",
                    "attributes": {"intent": {"score": length}, "employee_range": employees},
                }
            },
        }
        for number, (length, employees) in enumerate([(6, 250), (6.25, "51-200"), (3, 7)])
    ]
    async with scripted(rows) as url:
        await load(pipeline, url)
    values = query(
        pipeline, "SELECT visit_length, company__intent__score, company__employee_range FROM visits ORDER BY id"
    )
    assert values == [(6.0, 6.0, "250"), (6.25, 6.25, "51-200"), (3.0, 3.0, "7")]
    assert query(pipeline, "SELECT sum(time_on_page) FROM visits__engagements") == [(15.25,)]


async def test_ids_are_loaded_as_text(pipeline: Any) -> None:
    """Ids that are numbers in some rows are in one column, and none replaces another one."""
    ids = [1, "01", 0, "a", 7.0]
    day = datetime.now(UTC).date()
    rows = [
        visit("", day) | {"id": row_id, "relationships": {"company": {"id": row_id, "type": "company"}}}
        for row_id in ids
    ]
    async with scripted(rows) as url:
        await load(pipeline, url)
    expected = [(text, text) for text in sorted(["1", "01", "0", "a", "7"])]
    assert query(pipeline, "SELECT id, company__id FROM visits ORDER BY id") == expected


async def test_related_records_as_plain_ids(pipeline: Any) -> None:
    """Related records that are sent as ids are loaded as text, also in lists, and keep their zeros."""
    day = datetime.now(UTC).date()
    related: list[dict[str, Any]] = [{"company": 7, "tags": [7001, 7]}, {"company": "007", "tags": ["007", "vip"]}]
    rows = [visit("", day) | {"id": str(row), "relationships": found} for row, found in enumerate(related)]
    async with scripted(rows) as url:
        await load(pipeline, url)
    assert query(pipeline, "SELECT company FROM visits ORDER BY id") == [("7",), ("007",)]
    tags = query(pipeline, "SELECT value FROM visits__tags")
    assert sorted(value for (value,) in tags) == ["007", "7", "7001", "vip"]


async def test_attribute_named_like_the_id_of_a_related_record(pipeline: Any) -> None:
    """An attribute whose column would be that of the id is left out."""
    company = {"id": "c1", "type": "company", "attributes": {"id": "x", "ID": 9, "name": "Acme"}}
    row = visit("", datetime.now(UTC).date()) | {"id": "1", "relationships": {"company": company}}
    async with scripted([row]) as url:
        await load(pipeline, url)
    assert query(pipeline, "SELECT company__id, company__name FROM visits") == [("c1", "Acme")]


async def test_visitor_companies_with_the_same_id(pipeline: Any) -> None:
    """Rows of different companies or locations that have the same id are all loaded, once."""

    def row(company: str, location: str) -> dict[str, Any]:
        related = {"company": {"id": company, "type": "company"}, "location": {"id": location, "type": "location"}}
        attributes = {"rowKey": "1", "ROWKey": "2", "ID": "1", "accountId": "1", "_id": company}
        return {"id": "1", "type": "company_location", "relationships": related, "attributes": attributes}

    async def respond(request: web.Request) -> web.Response:
        is_list = request.path == "/v1/web-visits/companies"
        rows = [row("A", "x"), row("B", "x"), row("A", "y"), row("A/B", "x"), row("A", "B/x")] if is_list else []
        return web.json_response({"data": rows, "meta": {"pagination": {"total_count": len(rows), "page_count": 1}}})

    async with handler_server(respond) as url:
        for _ in range(2):
            await load(pipeline, url)
    assert query(pipeline, "SELECT count(*) FROM visitor_companies WHERE _id = company__id") == [(5,)]
    assert query(pipeline, "SELECT id, company__id, location__id FROM visitor_companies ORDER BY ALL") == [
        ("1", "A", "B/x"), ("1", "A", "x"), ("1", "A", "y"), ("1", "A/B", "x"), ("1", "B", "x")
    ]  # fmt: skip


async def test_times_outside_the_calendar(pipeline: Any) -> None:
    """A time that no date has in UTC is null, wherever it is. dlt would fail in each run."""
    far = ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"]
    attributes = [{"started_at": time, "campaign": time, "engagements": [{"started_at": time}]} for time in far]
    visits = [{"id": str(number), "type": "web_visit", "attributes": one} for number, one in enumerate(attributes)]
    visits.append(visit("9", date(2026, 11, 2), campaign="0001 summer"))
    async with scripted(visits) as url:
        await load(pipeline, url)
    assert query(pipeline, "SELECT id, started_at::DATE::VARCHAR, campaign FROM visits ORDER BY id") == [
        ("0", None, None),
        ("1", None, None),
        ("9", "2026-11-02", "0001 summer"),
    ]


async def test_attributes_with_names_of_dlt(pipeline: Any) -> None:
    """An attribute whose name dlt reserves is loaded under another one. It would make each later run fail."""
    today = datetime.now(UTC).date()
    names = ["_dlt_parent_id", "_dlt_root_id", "_dlt_list_idx", "__", "-_", "_DltId", "_dlt_id"]
    rows = [
        visit("1", today, **dict.fromkeys(names, "x"), engagements=[{"_dlt_parent_id": "y", "__": 1}]),
        visit("2", today),
    ]
    for _ in range(2):
        async with scripted(rows) as url:
            await load(pipeline, url)
    assert query(pipeline, "SELECT id, attribute_dlt_parent_id FROM visits ORDER BY id") == [("1", "x"), ("2", None)]
    assert query(pipeline, "SELECT attribute_dlt_parent_id FROM visits__engagements") == [("y",)]


@pytest.mark.parametrize(
    "depths",
    [
        (7, 2**64, -(2**70)),
        (2**64, 7, -(2**70)),
        (7, str(2**64), f"-{2**70}"),
        (2.0e30, "7", str(2**63)),
        (3, "1e22", "9223372036854775808.0"),
    ],
)
async def test_integers_beyond_64_bits(pipeline: Any, depths: tuple[float | str, ...]) -> None:
    """An attribute that no destination can store as an integer is loaded as text, beside the column of the others."""
    today = datetime.now(UTC).date()
    rows = [visit(str(number), today, page_depth=depth) for number, depth in enumerate(depths)]
    rows.append(visit("9", today, new={"deep": [2**70]}))
    for _ in range(2):
        async with scripted(rows) as url:
            await load(pipeline, url)
    columns = "page_depth::VARCHAR, page_depth__v_text"
    found = query(pipeline, f"SELECT coalesce({columns}) FROM visits WHERE id <> '9' ORDER BY id")
    assert found == [(str(int(Decimal(depth))),) for depth in depths]
    assert query(pipeline, "SELECT typeof(any_value(page_depth)) FROM visits") == [("BIGINT",)]


@pytest.mark.parametrize("text", ["NaN", "inf", "-Infinity", "1e999"])
@pytest.mark.parametrize(("name", "last"), [("visit_length", "12.5"), ("page_depth", "12")])
async def test_texts_in_place_of_numbers(pipeline: Any, name: str, last: str, text: str) -> None:
    """A text that dlt would convert to a number without a value is loaded as null."""
    today = datetime.now(UTC).date()
    for value in (3.0, text, last):
        async with scripted([visit("1", today, **{name: value})]) as url:
            await load(pipeline, url)
        expected = {3.0: 3.0, last: float(last)}.get(value)
        assert query(pipeline, f"SELECT {name} FROM visits") == [(expected,)]


async def test_numbers_outside_the_range_of_python(pipeline: Any) -> None:
    """A number such as 1e400 is loaded as text, and the other numbers of its row as numbers."""
    today = datetime.now(UTC).date()
    numbers = {"page_depth": 7, "visit_length": 2.5, "score": 1, "new": 3, "inner": [4], "big": 2**70}
    rows = [visit(str(number), today, **numbers) for number in (1, 2)]
    body = (
        json.dumps(rows[0])
        .replace('"score": 1', '"score": 1e400')
        .replace('"page_depth": 7', f'"page_depth": {"7" * 5_000}')
    )
    for _ in range(2):
        async with scripted([msgspec.Raw(body.encode()), rows[1]]) as url:
            await load(pipeline, url)
    columns = "page_depth, page_depth__v_text, visit_length, score, score__v_text, new, big__v_text"
    assert query(pipeline, f"SELECT {columns} FROM visits ORDER BY id") == [
        (None, "7" * 5_000, 2.5, None, "1e400", 3, str(2**70)),
        (7, None, 2.5, 1.0, None, 3, str(2**70)),
    ]
    assert query(pipeline, "SELECT value FROM visits__inner") == [(4,), (4,)]


async def test_attribute_without_a_name(pipeline: Any) -> None:
    """An attribute whose key is empty has a column too."""
    async with scripted([visit("1", datetime.now(UTC).date(), **{"": 7})]) as url:
        await load(pipeline, url)
    assert query(pipeline, "SELECT id FROM visits") == [("1",)]


def test_accounts_of_one_pipeline_have_their_own_days(pipeline: Any, sandbox: Sandbox) -> None:
    """The first run of a second account reads all days, although the first account is loaded."""
    first, second = sandbox.account_ids
    run(pipeline, sandbox, first)
    run(pipeline, sandbox, second)
    counts = query(pipeline, "SELECT account_id, min(started_at)::DATE::VARCHAR FROM visits GROUP BY ALL ORDER BY ALL")
    assert [account for account, _ in counts] == sorted([first, second])
    assert all(day <= str(sandbox.start_date + timedelta(3)) for _, day in counts)
