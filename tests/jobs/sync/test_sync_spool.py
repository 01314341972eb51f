"""The rows that a sync has read and not merged yet, and the database that other processes read in between."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
import subprocess
import sys
from contextlib import ExitStack, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    ConfigurationError,
    DatabaseError,
    DatabaseLockedError,
    IncompleteListError,
    IncompleteWindowError,
)
from leadfeeder_async.jobs.sync import date_plan, sync_run
from leadfeeder_async.jobs.sync.schema import ADDED_COLUMNS, VERSION, schema_sql
from leadfeeder_async.sandbox import Sandbox
from leadfeeder_async.sync import SyncChanges, sync_account
from tests.jobs.helpers import names_in
from tests.jobs.sync.test_sync import changes_of, query
from tests.jobs.sync.test_sync_crash_recovery import expected_contents, read_contents
from tests.jobs.test_duckdb_file import opened_elsewhere
from tests.support.clients import client_of
from tests.support.requirements import PATTERN_FOLDER, make_link, needs_permissions
from tests.support.servers import handler_server

OLD_KEYS = {"visits": "account_id, id", "engagements": "account_id, visit_id, step", "companies": "account_id, id"}
"""The tables that had an index in files of version 1, and their keys."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leadfeeder.duckdb"


def requests_of(sandbox: Sandbox, path: str) -> int:
    """Return the number of requests of a path that the sandbox received."""
    return sum(request.path == path for request in sandbox.ledger.requests)


class StopError(Exception):
    """The interruption of a run."""


async def interrupt(lf: AsyncLeadfeeder, path: Path, visits: int, since: date) -> None:
    """Sync until some visits are read."""

    def stop(progress: Any) -> None:
        if progress.done >= visits:
            raise StopError

    with pytest.raises(StopError):
        await sync_account(lf, path, since=since, on_progress=stop)


@pytest.mark.parametrize("slice_rows", [50, 5_000])
async def test_problems_survive_a_kill(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch, slice_rows: int
) -> None:
    """Rows that cannot be decoded are reported once by the run after a kill, merged or not."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", slice_rows)
    for number in (3, 100):
        sandbox.world.update_visit(sandbox.world.visit_ids()[number], page_depth="many")
    killed = path.parent / "killed"

    def copy_files(progress: Any) -> None:
        if progress.done > 400 and not killed.exists():
            shutil.copytree(path.parent, killed)

    with pytest.raises(IncompleteListError, match=r"^2 rows or days"):
        await sync_account(lf, path, since=sandbox.start_date, on_progress=copy_files)
    with pytest.raises(IncompleteListError, match=r"^2 rows or days"):
        await sync_account(lf, killed / path.name, since=sandbox.start_date)
    assert names_in(killed) == [path.name]
    await sync_account(lf, killed / path.name, since=sandbox.start_date)


async def test_problems_of_continued_days_are_reported_once(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A continued run reads the days of its position again, and counts their undecodable rows once."""
    sandbox.world.update_visit(sandbox.world.visit_ids()[3], page_depth="many")
    await interrupt(lf, path, 300, sandbox.start_date)
    with pytest.raises(IncompleteListError, match=r"^1 row or day"):
        await sync_account(lf, path, since=sandbox.start_date)


async def test_spool_is_continued(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """After an interruption, the companies are not read again, and the rows that were read are merged once."""
    await interrupt(lf, path, 300, sandbox.start_date)
    assert names_in(path.parent) == [f"{path.name}.checkpoint", f"{path.name}.part"]
    companies = requests_of(sandbox, "/v1/web-visits/companies")
    result = await sync_account(lf, path, since=sandbox.start_date)
    assert requests_of(sandbox, "/v1/web-visits/companies") == companies
    assert result.tables["visits"] == SyncChanges(new=500)
    assert read_contents(path) == expected_contents(sandbox)
    assert names_in(path.parent) == [path.name]


@pytest.mark.parametrize("change", ["other days", "other account", "database", "damaged"])
async def test_spool_that_does_not_fit_is_dropped(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, change: str
) -> None:
    """A spool of other days, of another account or of an older state of the database is read again."""
    await sync_account(lf, path, since=sandbox.end_date, lookback_days=0)
    await interrupt(lf, path, 300, sandbox.start_date)
    since = sandbox.start_date
    if change == "other days":
        since += timedelta(1)
    elif change == "other account":
        lf = lf.with_options(account_id=sandbox.account_id)
        with duckdb.connect(path) as database:
            database.execute("UPDATE sync_state SET account_id = 'other'")
    elif change == "database":
        path.unlink()
    else:
        path.with_name(f"{path.name}.checkpoint").write_text(
            '{"format":"leadfeeder-async checkpoint","version":2}', encoding="utf-8"
        )
    await sync_account(lf, path, since=since)
    expected = expected_contents(sandbox)
    if change == "other days":
        expected = {visit: expected[visit] for visit in sandbox.world.visit_ids(since, sandbox.end_date)}
    assert read_contents(path) == expected


async def test_earlier_since_after_an_interruption(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """If the call that continues a spool has an earlier first day, the days before the spool are read after it."""
    since = sandbox.start_date
    await interrupt(lf, path, 100, since + timedelta(9))
    result = await sync_account(lf, path, since=since)
    assert result.first_day == since
    assert read_contents(path) == expected_contents(sandbox)


@needs_permissions
async def test_spool_is_as_private_as_the_database(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """The files beside a private database are private too."""
    await sync_account(lf, path, since=sandbox.end_date, lookback_days=0)
    path.chmod(0o600)
    await interrupt(lf, path, 100, sandbox.start_date)
    modes = {name: stat.S_IMODE((path.parent / name).stat().st_mode) for name in names_in(path.parent)}
    assert modes == dict.fromkeys((path.name, f"{path.name}.checkpoint", f"{path.name}.part"), 0o600)
    await sync_account(lf, path, since=sandbox.start_date)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_database_behind_a_link(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A link to a database is followed, and the spool is beside the database."""
    make_link(path, path.with_name("real.duckdb"))
    duckdb.connect(path.with_name("real.duckdb")).close()
    await sync_account(lf, path)
    assert read_contents(path) == expected_contents(sandbox)
    assert names_in(path.parent) == [path.name, "real.duckdb"]


async def test_unusual_folder(lf: AsyncLeadfeeder, sandbox: Sandbox, tmp_path: Path) -> None:
    """Characters that DuckDB would expand in the name of a file are taken as they are."""
    path = tmp_path / PATTERN_FOLDER / "leadfeeder.duckdb"
    path.parent.mkdir()
    await sync_account(lf, path)
    assert read_contents(path) == expected_contents(sandbox)


READ = """
import sys, duckdb
with duckdb.connect(sys.argv[1], read_only=True) as database:
    print(database.execute("SELECT count(*) FROM visits").fetchone()[0])
"""


async def test_other_processes_read_during_a_sync(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """While a run reads from the server, other processes can open the database."""
    await sync_account(lf, path, since=sandbox.end_date, lookback_days=0)
    before = query(path, "SELECT count(*) FROM visits")[0][0]
    found = list[subprocess.CompletedProcess[str]]()

    def read(_: Any) -> None:
        if not found:
            found.append(
                subprocess.run(
                    [sys.executable, "-c", READ, str(path)], capture_output=True, encoding="utf-8", check=False
                )
            )

    await sync_account(lf, path, since=sandbox.start_date, on_progress=read)
    assert [(reader.stdout.strip(), reader.stderr) for reader in found] == [(str(before), "")]
    assert read_contents(path) == expected_contents(sandbox)


async def test_reader_is_waited_for(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While another process has the database open, the next slices are read, and all are merged later."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 50)
    await sync_account(lf, path, since=sandbox.end_date, lookback_days=0)
    saved = asyncio.Event()
    with ExitStack() as held:

        def hold(progress: Any) -> None:
            if progress.done > 100 and not saved.is_set():
                held.enter_context(opened_elsewhere(path, read_only=True))
                saved.set()

        job = asyncio.create_task(sync_account(lf, path, since=sandbox.start_date, on_progress=hold, wait=30))
        await asyncio.wait({job, waiting := asyncio.create_task(saved.wait())}, return_when="FIRST_COMPLETED")
        assert waiting.done()
        requests = len(sandbox.ledger.requests)
        await asyncio.sleep(1)
        assert not job.done()
        assert len(sandbox.ledger.requests) > requests
    await job
    assert read_contents(path) == expected_contents(sandbox)


async def test_reader_is_waited_for_until_the_limit(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database stays open elsewhere, the run fails, and the next one merges the rows that were read."""
    monkeypatch.setattr(sync_run, "MAX_SPOOLED_LINES", 1)
    await sync_account(lf, path, since=sandbox.end_date, lookback_days=0)
    with ExitStack() as held:
        is_held = list[bool]()

        def hold(_: Any) -> None:
            if not is_held:
                is_held.append(True)
                held.enter_context(opened_elsewhere(path, read_only=True))

        with pytest.raises(DatabaseLockedError, match="is open in another process"):
            await sync_account(lf, path, since=sandbox.start_date, on_progress=hold, wait=0.3)
    await sync_account(lf, path, since=sandbox.start_date)
    assert read_contents(path) == expected_contents(sandbox)


async def test_complete_spool_is_merged_without_requests(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """If all days were read but the database was open elsewhere, the next run only merges them."""
    duckdb.connect(path).close()
    with ExitStack() as held:
        is_held = list[bool]()

        def hold(_: Any) -> None:
            if not is_held:
                is_held.append(True)
                held.enter_context(opened_elsewhere(path, read_only=True))

        with pytest.raises(DatabaseLockedError):
            await sync_account(lf, path, since=sandbox.start_date, on_progress=hold, wait=0.3)
    requests = requests_of(sandbox, "/v1/web-visits"), requests_of(sandbox, "/v1/web-visits/companies")
    result = await sync_account(lf, path, since=sandbox.start_date)
    assert requests == (
        requests_of(sandbox, "/v1/web-visits"),
        requests_of(sandbox, "/v1/web-visits/companies"),
    )
    assert result.tables["visits"] == SyncChanges(new=500)
    assert read_contents(path) == expected_contents(sandbox)


async def test_two_syncs_of_one_file(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A sync waits for another one of the same file, or is refused."""
    sandbox.latency = 0.05
    first = asyncio.create_task(sync_account(lf, path))
    while not path.with_name(f"{path.name}.part").exists():
        await asyncio.sleep(0.01)
    with pytest.raises(DatabaseLockedError, match="Another sync is writing"):
        await sync_account(lf, path, wait=0)
    second = await sync_account(lf, path)
    assert (await first).tables["visits"].new == 500
    assert second.tables["visits"] == SyncChanges()


async def test_negative_wait_is_refused(lf: AsyncLeadfeeder, path: Path) -> None:
    """A negative time to wait is an error."""
    with pytest.raises(ConfigurationError, match="wait=-1"):
        await sync_account(lf, path, wait=-1)


async def test_file_of_version_1_is_continued(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A file of version 1 has indexes, which stay. Its rows are merged as those of a new file."""
    other = path.with_name("other.duckdb")
    await sync_account(lf, other)
    with duckdb.connect(path) as database:
        database.execute(schema_sql())
        for table, column in ADDED_COLUMNS:
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        for table, keys in OLD_KEYS.items():
            database.execute(f"ALTER TABLE {table} ADD PRIMARY KEY ({keys})")
        database.execute(f"ATTACH '{other}' AS other (READ_ONLY)")
        for table in (*OLD_KEYS, "locations"):
            columns = "* EXCLUDE (first_seen_at)" if table in {"visits", "companies"} else "*"
            database.execute(f"INSERT INTO {table} BY NAME SELECT {columns} FROM other.{table}")
        database.execute(
            "INSERT INTO sync_state SELECT account_id, 1, first_day, last_day, finished_at FROM other.sync_state"
        )
    world = sandbox.world
    for visit_id in world.visit_ids()[-60:]:
        visit: Any = world.visit(visit_id)
        world.update_visit(visit_id, engagements=visit["engagements"][:1], source="edited")
    world.update_company(world.company_of_visit(world.visit_ids()[-1]), name="Renamed AG")
    world.add_visits(5)
    result = await sync_account(lf, path, lookback_days=30)
    assert (result.tables["visits"].new, result.tables["companies"].updated) == (5, 1)
    assert result.tables["visits"].updated == 60
    expected = expected_contents(sandbox)
    expected |= {visit_id: [1] for visit_id in world.visit_ids()[-65:-5]}
    assert read_contents(path) == expected
    assert query(path, "SELECT version, reread_on IS NOT NULL FROM sync_state") == [(VERSION, True)]


async def test_file_of_version_2_is_continued(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """A file of version 2 gets the new columns and keeps all rows. The time of its old rows is unknown."""
    await sync_account(lf, path)
    with duckdb.connect(path) as database:
        for table, column in ADDED_COLUMNS - {("sync_state", "reread_on")}:
            database.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        database.execute("UPDATE sync_state SET version = 2")
    before = read_contents(path)
    sandbox.world.add_visits(5)
    await sync_account(lf, path)
    assert before.items() <= read_contents(path).items()
    assert query(path, "SELECT version FROM sync_state") == [(VERSION,)]
    counts = "SELECT count(*) - count(first_seen_at), count(first_seen_at) FROM visits"
    assert query(path, counts) == [(len(before), 5)]


async def test_file_of_version_3_is_continued(busy: Sandbox, path: Path) -> None:
    """A file of version 3 has no counts of visits, so the days of the lookback are read again."""
    async with AsyncLeadfeeder(busy.api_key, base_url=busy.url, account_id=busy.account_id, rate=1e6, burst=99) as lf:
        await sync_account(lf, path, since=busy.start_date)
        with duckdb.connect(path) as database:
            database.execute("ALTER TABLE sync_state DROP COLUMN visit_counts")
            database.execute("UPDATE sync_state SET version = 3")
        assert (await sync_account(lf, path)).requests > 9
        assert (await sync_account(lf, path)).requests == 9
        busy.world.add_visits(2)
        assert (await sync_account(lf, path)).tables["visits"] == SyncChanges(new=2)
    assert query(path, "SELECT version FROM sync_state") == [(VERSION,)]


async def test_first_seen_at(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """The time of a row is that of the run that added it. Later changes of the row keep it."""
    await sync_account(lf, path)
    first = query(path, "SELECT DISTINCT first_seen_at FROM visits UNION SELECT first_seen_at FROM companies")
    assert None not in {moment for (moment,) in first}
    assert query(path, "SELECT previous_finished_at FROM sync_state") == [(None,)]
    assert query(path, "SELECT finished_at >= max(first_seen_at) FROM visits, sync_state GROUP BY finished_at") == [
        (True,)
    ]
    sandbox.world.update_company(sandbox.world.company_of_visit(sandbox.world.visit_ids()[-1]), name="Renamed AG")
    sandbox.world.update_visit(sandbox.world.visit_ids()[-1], source="edited")
    sandbox.world.add_visits(5)
    await sync_account(lf, path)
    new = "SELECT count(*) FROM visits JOIN sync_state USING (account_id) WHERE first_seen_at > previous_finished_at"
    assert query(path, new) == [(5,)]
    assert query(path, "SELECT count(*) FROM visits WHERE source = 'edited' AND first_seen_at > ?", max(first)[0]) == [
        (0,)
    ]


async def test_view_of_visits(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """The view has the columns and values of an exported visit, without its engagements."""
    await sync_account(lf, path)
    pager = lf.web_visits.search(start_date=sandbox.start_date, end_date=sandbox.end_date, include=["company"], limit=5)
    with duckdb.connect(path, read_only=True) as database:
        database.execute("SET TimeZone = 'UTC'")
        for visit in await pager.collect():
            result = database.execute("SELECT * FROM visit_rows WHERE id = ?", [visit.id])
            names = [column[0] for column in result.description or ()]
            (row,) = [dict(zip(names, values, strict=True)) for values in result.fetchall()]
            expected = {name: value for name, value in visit.to_row().items() if name != "engagements"}
            assert list(row) == ["account_id", *expected, "first_seen_at"]
            assert {name: row[name] for name in expected} == expected


async def test_view_of_companies(lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path) -> None:
    """The view has columns and values of an exported company, and those that only a synced database has."""
    await sync_account(lf, path)
    pager = lf.web_visits.companies(
        start_date=sandbox.start_date, end_date=sandbox.end_date, include=["company"], limit=5
    )
    with duckdb.connect(path, read_only=True) as database:
        for record in await pager.collect():
            assert record.company is not None
            result = database.execute("SELECT * FROM company_rows WHERE id = ?", [record.company.id])
            names = [column[0] for column in result.description or ()]
            (row,) = [dict(zip(names, values, strict=True)) for values in result.fetchall()]
            exported = record.company.to_row()
            only_here = ["account_id", "industry", "nace", "tag_ids", "list_ids", "first_seen_at"]
            assert [name for name in row if name not in exported] == only_here
            shared = [name for name in row if name in exported]
            assert [name for name in exported if name in shared] == shared
            assert {name: row[name] for name in shared} == {name: exported[name] for name in shared}
            assert row["address.country_code"]


@pytest.fixture
async def busy() -> Any:
    """A sandbox with so many visits a day that counting them costs less than reading them."""
    async with Sandbox(companies=100, visits=3_000, days=6, rate_limit=False) as sandbox:
        yield sandbox


async def test_unchanged_days_are_only_counted(busy: Sandbox, path: Path) -> None:
    """If no visit is new, the days of the lookback are counted and not read."""
    async with AsyncLeadfeeder(busy.api_key, base_url=busy.url, account_id=busy.account_id, rate=1e6, burst=99) as lf:
        await sync_account(lf, path, since=busy.start_date)
        again = await sync_account(lf, path)
        assert (again.requests, changes_of(again)) == (9, {})
        busy.world.add_visits(3, day=busy.end_date - timedelta(2))
        late = await sync_account(lf, path)
        assert late.tables["visits"] == SyncChanges(new=3)
        busy.world.add_visits(2)
        assert (await sync_account(lf, path)).tables["visits"] == SyncChanges(new=2)
    assert read_contents(path) == expected_contents(busy)


@pytest.mark.parametrize("counted", ["all", "none", "row", "limit", "unknown"])
async def test_new_visits_of_a_server_that_counts_otherwise(path: Path, counted: str) -> None:
    """New visits are found, whatever the server reports as the number of visits."""
    today, rows = datetime.now(UTC).date(), 300

    async def respond(request: web.Request) -> web.Response:
        if request.path != "/v1/web-visits":
            return web.json_response({"data": []})
        body = json.loads(await request.read())
        first, last = (date.fromisoformat(body[name]) for name in ("start_date", "end_date"))
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        days = [today - timedelta(row % 4) for row in range(rows)]
        found = [row for row, day in enumerate(days) if first <= day <= last]
        shown = found[size * (page - 1) : size * page]
        data = [
            {"id": str(row), "type": "web_visit", "attributes": {"started_at": f"{days[row]}T00:00:01Z"}}
            for row in shown
        ]
        total = {"all": len(found), "none": 0, "row": len(shown), "limit": 10_000, "unknown": None}[counted]
        return web.json_response({"data": data, "meta": {"pagination": {"total_count": total}}})

    async with handler_server(respond) as url, client_of(url) as lf:
        for _ in range(3):
            with suppress(IncompleteListError, IncompleteWindowError):  # rows are missing by the count
                await sync_account(lf, path, since=today - timedelta(3))
            assert query(path, "SELECT count(*) FROM visits") == [(rows,)]
            rows += 3


async def test_late_visit_is_found_after_a_deletion(busy: Sandbox, path: Path) -> None:
    """The database keeps deleted visits. They do not make up for late ones, and do not cause a reread each time."""
    async with AsyncLeadfeeder(busy.api_key, base_url=busy.url, account_id=busy.account_id, rate=1e6, burst=99) as lf:
        await sync_account(lf, path, since=busy.start_date)
        day = busy.end_date - timedelta(2)
        deleted = busy.world.visit_ids(day, day)[:2]
        for visit_id in deleted:
            busy.world.remove_visit(visit_id)
        assert (await sync_account(lf, path)).requests > 9
        assert (await sync_account(lf, path)).requests == 9
        [late] = busy.world.add_visits(1, day=day)
        result = await sync_account(lf, path)
        assert result.tables["visits"] == SyncChanges(new=1)
        assert (await sync_account(lf, path)).requests == 9
    assert {late, *deleted} < read_contents(path).keys()


async def test_edits_are_found_when_a_reread_is_due(busy: Sandbox, path: Path) -> None:
    """Counts do not show an edit. It is found at once with a long lookback, and otherwise within the lookback."""
    async with AsyncLeadfeeder(busy.api_key, base_url=busy.url, account_id=busy.account_id, rate=1e6, burst=99) as lf:
        await sync_account(lf, path, since=busy.start_date)
        busy.world.update_visit(busy.world.visit_ids()[-1], source="first edit")
        assert changes_of(await sync_account(lf, path)) == {}
        assert changes_of(await sync_account(lf, path, lookback_days=8)) == {"visits": SyncChanges(updated=1)}
        busy.world.update_visit(busy.world.visit_ids()[-1], source="second edit")
        with duckdb.connect(path) as database:
            database.execute("UPDATE sync_state SET reread_on = ?", [datetime.now(UTC).date() - timedelta(3)])
        assert changes_of(await sync_account(lf, path)) == {"visits": SyncChanges(updated=1)}
        assert changes_of(await sync_account(lf, path)) == {}


async def test_companies_are_listed_once_per_run(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of several slices lists the companies of all of them once."""
    monkeypatch.setattr(date_plan, "SLICE_ROWS", 50)
    await sync_account(lf, path, since=sandbox.start_date)
    assert requests_of(sandbox, "/v1/web-visits/companies") <= 3
    assert query(path, "SELECT count(*) FROM companies WHERE name IS NULL") == [(0,)]


async def test_spool_on_a_full_disk(
    lf: AsyncLeadfeeder, sandbox: Sandbox, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the spool cannot grow, the error says so, and the rows before it are kept."""
    from leadfeeder_async.jobs.resumable_file import ResumableFile, translate_os_errors

    write, calls = ResumableFile._write, list[int]()

    def fail(self: ResumableFile[Any], data: bytes) -> None:
        calls.append(len(data))
        if len(calls) == 4:
            with translate_os_errors(self.path):
                raise OSError(28, "No space left on device")
        write(self, data)

    monkeypatch.setattr(ResumableFile, "_write", fail)
    with pytest.raises(DatabaseError, match="cannot grow") as caught:
        await sync_account(lf, path, since=sandbox.start_date)
    assert caught.value.reason == "no_space"
    await sync_account(lf, path, since=sandbox.start_date)
    assert read_contents(path) == expected_contents(sandbox)
