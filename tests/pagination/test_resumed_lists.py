"""Lists with cursors that are resumed: the rows of all runs together are those of the server."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import aclosing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from leadfeeder_async import (
    AsyncLeadfeeder,
    CursorExpiredError,
    CursorLoopError,
    IncompleteListError,
    LeadfeederError,
    Page,
    Pager,
    Progress,
    ResumePosition,
)
from tests.support.clients import client_of
from tests.support.servers import handler_server


class CursorApi:
    """A server whose cursors are offsets. ``fault`` returns the ids or the status of a page.

    Args:
        count: The number of its rows.
        charges: Whether each row is charged.
        never_ends: Whether empty pages with cursors follow the rows.

    """

    def __init__(self, count: int, *, charges: bool = False, never_ends: bool = False) -> None:
        self.ids = [str(number) for number in range(count)]
        self.fault: Callable[[str | None, list[str]], list[str] | int] = lambda _, ids: ids
        self.cursors = list[str | None]()
        self.charged = 0
        self.last_cursor: str | None = None
        """The cursor that the last page names."""
        self.total: int | None = None
        """The reported count. None reports the number of rows."""
        self.without_cursor: str | None = None
        """The cursor whose next response names no cursor."""
        self._charges, self._never_ends = charges, never_ends

    async def __call__(self, request: web.Request) -> web.Response:
        cursor = request.query.get("page[cursor]")
        self.cursors.append(cursor)
        start = int(cursor or 0)
        end = start + 100
        result = self.fault(cursor, self.ids[start:end])
        if isinstance(result, int):
            return web.json_response({"errors": [{"code": "cursor_expired"}]}, status=result)
        follows = end < len(self.ids) or self._never_ends
        if cursor is not None and cursor == self.without_cursor:
            self.without_cursor, follows = None, False
        meta: dict[str, Any] = {
            "pagination": {
                "total_count": self.total or len(self.ids),
                "next_cursor": str(end) if follows else self.last_cursor,
            }
        }
        if self._charges:
            self.charged += len(result)
            meta["credits"] = {"charged": len(result)}
        data = [{"id": one or None, "type": "company_summary", "attributes": {}} for one in result]
        return web.json_response({"data": data, "meta": meta})

    def once(self, cursor: str, change: Callable[[list[str]], list[str] | int]) -> None:
        """Change the next page of a cursor."""
        remaining = [change]

        def fault(current: str | None, ids: list[str]) -> list[str] | int:
            return remaining.pop()(ids) if current == cursor and remaining else ids

        self.fault = fault


class InterruptionError(Exception):
    """Ends a run from ``on_progress``. The checkpoint is saved, unlike after a kill."""


def companies(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.companies.search(search_terms=["x"])


def signals(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.companies.search_signals(company_ids=["1"])


def stop_after(pages: int) -> Callable[[Progress], None]:
    def stop(_: Progress) -> None:
        nonlocal pages
        pages -= 1
        if not pages:
            raise InterruptionError

    return stop


async def first_pages(pager: Pager[Any], pages: int) -> list[Page[Any]]:
    found = list[Page[Any]]()
    async for page in pager.prefetch(0).pages():
        found.append(page)
        if len(found) == pages:
            break
    return found


async def rest_of(pager: Pager[Any], page: Page[Any], stored: Iterable[str | Any]) -> set[str]:
    assert page.position is not None
    rest = await pager.prefetch(0).resume_from(page.position, stored).collect()
    ids = {row.id for row in rest}
    assert len(ids) == len(rest)
    return ids


def ids_of(pages: Iterable[Page[Any]]) -> list[str]:
    return [row.id for page in pages for row in page.items]


def ids_in(path: Path) -> set[str]:
    ids = [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(set(ids)) == len(ids)
    return set(ids)


@pytest.mark.parametrize(("removed", "added"), [(0, 0), (50, 1), (50, 40)])
async def test_second_reading_that_is_interrupted(tmp_path: Path, removed: int, added: int) -> None:
    """An export whose cursor expired, and whose second reading is interrupted twice, has all rows in the end."""
    path, at = tmp_path / "x.ndjson", "300" if removed else "400"
    api = CursorApi(500)
    api.once(at, lambda _: 410)
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(InterruptionError):
            await companies(lf).to_file(path, on_progress=stop_after(int(at) // 100 + 1))
        api.ids = [one for one in api.ids if not 210 <= int(one) < 210 + removed]
        with pytest.raises(InterruptionError):
            await companies(lf).to_file(path, resume=True, on_progress=stop_after(2))
        api.ids[:0] = [str(number) for number in range(1_000, 1_000 + added)]
        requests = len(api.cursors)
        await companies(lf).to_file(path, resume=True)
    assert set(api.ids) <= ids_in(path)
    if not removed:
        assert api.cursors[requests:] == ["300", "400"]


@pytest.mark.parametrize("stored", ["file", "own"])
async def test_count_that_fell_before_an_interruption(tmp_path: Path, stored: str) -> None:
    """A row that moved to an earlier page is found, although another one was added before the list is resumed."""
    path = tmp_path / "x.ndjson"
    api = CursorApi(400)

    def remove(_: object) -> None:
        if len(api.cursors) == 1:
            del api.ids[0]

    async with handler_server(api) as url, client_of(url) as lf:
        if stored == "file":
            api.fault = lambda cursor, ids: 403 if cursor == "300" else ids
            with pytest.raises(LeadfeederError):
                await companies(lf).prefetch(0).to_file(path, on_progress=remove)
        else:
            found = list[Page[Any]]()
            async for page in companies(lf).prefetch(0).pages():
                found.append(page)
                remove(page)
                if len(found) == 3:
                    break
        api.fault = lambda _, ids: ids
        api.ids.append("new")
        if stored == "file":
            await companies(lf).to_file(path, resume=True)
        else:
            ids = ids_of(found)
            assert set(api.ids) <= {*ids, *await rest_of(companies(lf), found[-1], ids)}
            return
    assert set(api.ids) <= ids_in(path)


async def test_row_without_an_id_before_the_position(tmp_path: Path) -> None:
    """A row without an id counts as a row that arrived if the list is read again after a resume."""
    path, api = tmp_path / "x.ndjson", CursorApi(250)
    api.ids[7] = ""
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(InterruptionError):
            await companies(lf).prefetch(0).to_file(path, on_progress=stop_after(1))
        api.once("100", lambda ids: ids[:60])
        assert (await companies(lf).to_file(path, resume=True)).done == 250


async def test_rows_without_an_id_on_both_sides_of_the_position(tmp_path: Path) -> None:
    """A row without an id is not taken for the last row before the position if that had no id either."""
    path, api = tmp_path / "x.ndjson", CursorApi(200)
    api.ids[:100] = [""] * 100
    api.ids[150] = ""
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(InterruptionError):
            await companies(lf).prefetch(0).to_file(path, on_progress=stop_after(1))
        assert (await companies(lf).to_file(path, resume=True)).done == 200


async def test_second_pass_of_a_resumed_list_without_ids() -> None:
    """A list without known ids that is read again because its cursor expired is read once more if rows are missing."""
    api = CursorApi(250)
    async with handler_server(api) as url, client_of(url) as lf:
        (first,) = await first_pages(companies(lf), 1)
        results: list[list[str] | int] = [api.ids[100:150], 410]
        api.fault = lambda cursor, ids: results.pop() if cursor == "100" and results else ids
        assert await rest_of(companies(lf), first, []) == set(api.ids)


@pytest.mark.parametrize("make", [companies, signals])
async def test_last_cursor_that_repeats_after_all_rows(make: Any) -> None:
    """A cursor that repeats ends a list of which all counted rows arrived, without another request."""
    api = CursorApi(200, charges=make is signals)
    api.last_cursor = "100"
    async with handler_server(api) as url, client_of(url) as lf:
        assert len(await make(lf).prefetch(0).collect()) == 200
    assert api.cursors == [None, "100"]


@pytest.mark.parametrize("end", ["200", None, "never"])
async def test_repeated_page_without_ids(end: str | None) -> None:
    """Rows before the position that come again are not counted twice, although their ids are not known."""
    api = CursorApi(200, never_ends=end == "never")
    async with handler_server(api) as url, client_of(url) as lf:
        (first,) = await first_pages(companies(lf), 1)
        api.last_cursor = end
        api.once("100", lambda _: api.ids[:100])
        with pytest.raises((IncompleteListError, CursorLoopError)):
            await rest_of(companies(lf), first, [])


async def test_older_page_without_ids_and_cursors_that_never_end() -> None:
    """Rows whose ids are not known may be counted twice, so they end no list with endless cursors."""
    api = CursorApi(300, never_ends=True)
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(companies(lf), 2)
        api.once("200", lambda _: api.ids[:100])
        with pytest.raises(CursorLoopError):
            await rest_of(companies(lf), pages[-1], [])


async def test_second_reading_without_ids_and_cursors_that_never_end() -> None:
    """After a list without known ids was read from its start, all of its rows are known."""
    api = CursorApi(300, never_ends=True)
    async with handler_server(api) as url, client_of(url) as lf:
        (first,) = await first_pages(companies(lf), 1)
        api.once("100", lambda _: 410)
        assert await rest_of(companies(lf), first, []) == set(api.ids)


async def test_rows_that_move_during_an_interrupted_second_reading(tmp_path: Path) -> None:
    """Rows that were added while others were removed are found, because only those of the second reading count."""
    path, api = tmp_path / "x.ndjson", CursorApi(500)
    api.once("400", lambda _: 410)
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(InterruptionError):
            await companies(lf).prefetch(0).to_file(path, on_progress=stop_after(5))
        api.ids[100:150] = []
        api.ids[:0] = [f"new {number}" for number in range(50)]
        await companies(lf).to_file(path, resume=True)
    assert set(api.ids) <= ids_in(path)


async def test_list_that_is_resumed_twice_with_foreign_ids() -> None:
    """A list that began with its first row skips none, however often it is resumed."""
    api = CursorApi(550, charges=True)
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(signals(lf), 2)
        found = [row for page in pages for row in page.items]
        stored = [*found, *(type(found[0])(id=f"other {number}") for number in range(150))]
        assert pages[-1].position is not None
        (third,) = await first_pages(signals(lf).resume_from(pages[-1].position, stored), 1)
        api.once("400", lambda _: api.ids[:100])
        with pytest.raises(IncompleteListError, match="100 of 550 rows"):
            await rest_of(signals(lf), third, [*stored, *third.items])


@pytest.mark.parametrize("added", [1, 30])
async def test_shifted_page_without_ids(added: int) -> None:
    """Only the rows after the last known one of a shifted page are new, so the added rows are missing."""
    api = CursorApi(250)
    async with handler_server(api) as url, client_of(url) as lf:
        (first,) = await first_pages(companies(lf), 1)
        api.ids[:0] = [f"new {number}" for number in range(added)]
        with pytest.raises(IncompleteListError, match=f"^{added} of {250 + added} rows"):
            await rest_of(companies(lf), first, [])


@pytest.mark.parametrize("is_cut", [False, True])
async def test_resumed_list_without_ids(is_cut: bool) -> None:
    """A list that is resumed without ids is compared with the server's count too, and not read again."""
    api = CursorApi(250)
    async with handler_server(api) as url, client_of(url) as lf:
        (first,) = await first_pages(companies(lf), 1)
        api.once("100", lambda ids: ids[: 60 if is_cut else 100])
        with pytest.raises(IncompleteListError, match="40 of 250 rows") if is_cut else nullcontext():
            assert len(await rest_of(companies(lf), first, [])) == 150
    assert api.cursors == [None, "100", "200"]


@pytest.mark.parametrize("foreign", [0, 50, 99, 100, 101])
@pytest.mark.parametrize("fault", ["insertion", "repeated page", "expired cursor and a cut page"])
@pytest.mark.parametrize("charges", [False, True])
async def test_rows_lost_after_the_position(foreign: int, fault: str, charges: bool) -> None:
    """A row that is missing after a resume is found in a free list, whatever other ids the caller passes."""
    api, make = CursorApi(250, charges=charges), signals if charges else companies
    async with handler_server(api) as url, client_of(url) as lf:
        (first,) = await first_pages(make(lf), 1)
        if fault == "insertion":
            api.ids.insert(0, "new")
        elif fault == "repeated page":
            api.once("100", lambda _: api.ids[:100])
        else:
            api.ids.insert(0, "new")
            results: list[list[str] | int] = [api.ids[100:150], 410]
            api.fault = lambda cursor, ids: results.pop() if cursor == "100" and results else ids
        stored = [*first.items, *(type(first.items[0])(id=f"other {number}") for number in range(foreign))]
        with pytest.raises(LeadfeederError) if charges else nullcontext():
            rest = await rest_of(make(lf), first, stored)
    if not charges:
        assert {*ids_of([first]), *rest} == set(api.ids)
        return
    assert api.cursors[1:] == (["100"] if "expired" in fault else ["100", "200"])


@pytest.mark.parametrize(("at", "foreign", "charges"), [("200", 150, False), ("300", 100, False), ("300", 150, True)])
async def test_repeated_older_page_and_foreign_ids(at: str, foreign: int, charges: bool) -> None:
    """Rows of a page before the position that comes again are not taken for rows that the caller used after it."""
    api, make = CursorApi(450, charges=charges), signals if charges else companies
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(make(lf), 2)
        api.once(at, lambda _: api.ids[:100])
        found = [row for page in pages for row in page.items]
        stored = [*found, *(type(found[0])(id=f"other {number}") for number in range(foreign))]
        with pytest.raises(IncompleteListError, match="100 of 450 rows") if charges else nullcontext():
            assert {*ids_of(pages), *await rest_of(make(lf), pages[-1], stored)} == set(api.ids)


async def test_last_cursor_that_goes_back() -> None:
    """Ids of other lists do not make a list fail whose last page names an earlier cursor."""
    api = CursorApi(500, charges=True)
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(signals(lf), 2)
        api.last_cursor = "100"
        found = [row for page in pages for row in page.items]
        stored = [*found, *(type(found[0])(id=f"other {number}") for number in range(50))]
        assert len(await rest_of(signals(lf), pages[-1], stored)) == 300


@pytest.mark.parametrize("pages_a_run", [1, 2])
@pytest.mark.parametrize("is_counted", [True, False])
async def test_charged_cursor_that_goes_back_after_interruptions(pages_a_run: int, is_counted: bool) -> None:
    """A charged page is not requested again if the last page names its cursor, however often the list is resumed."""
    api = CursorApi(300, charges=True)
    api.last_cursor, api.total = "100", None if is_counted else -1
    found, position, errors = list[Any](), ResumePosition(), list[LeadfeederError]()
    async with handler_server(api) as url, client_of(url) as lf:
        for _ in range(8):
            pages = signals(lf).prefetch(0).resume_from(position, found).pages()
            async with aclosing(pages):
                for _ in range(pages_a_run):
                    page = await anext(pages, None)
                    if page is None or page.position is None:
                        break
                    found += page.items
                    errors += page.partial_errors
                    position = page.position
    assert [row.id for row in found] == api.ids
    assert (api.cursors, api.charged) == ([None, "100", "200"], 300)
    assert bool(errors) is not is_counted


@pytest.mark.parametrize("stored", ["file", "own"])
async def test_runs_that_never_reach_the_end(tmp_path: Path, stored: str) -> None:
    """Each run continues a reading without the rows of earlier ones, although no run reads the whole list."""
    path, api = tmp_path / "x.ndjson", CursorApi(1_000)
    async with handler_server(api) as url, client_of(url) as lf:
        if stored == "file":
            api.once("400", lambda _: 410)
            for _ in range(2):
                with pytest.raises(InterruptionError):
                    await companies(lf).prefetch(0).to_file(path, resume=True, on_progress=stop_after(6))
            await companies(lf).to_file(path, resume=True)
            assert ids_in(path) == set(api.ids)
            assert len(api.cursors) == 15
            return
        ids, position = api.ids[:50], ResumePosition()
        for _ in range(2):
            pages = await first_pages(companies(lf).resume_from(position, ids), 5)
            ids += ids_of(pages)
            assert pages[-1].position is not None
            position = pages[-1].position
    assert (sorted(ids), len(api.cursors)) == (sorted(api.ids), 10)


@pytest.mark.parametrize("pages_used", [3, 4, 6])
@pytest.mark.parametrize("charges", [False, True])
async def test_position_that_is_older_than_the_rows(pages_used: int, charges: bool) -> None:
    """Pages that the caller had used completely after the position do not end a list."""
    api, make = CursorApi(1_000, charges=charges), signals if charges else companies
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(make(lf), pages_used)
        stored = [row for page in pages for row in page.items]
        assert len(await rest_of(make(lf), pages[0], stored)) == 1_000 - len(stored)
    assert len(api.cursors) - pages_used == (9 if charges else 19)


@pytest.mark.parametrize("used", [0, 1, 30, 99])
@pytest.mark.parametrize("charges", [False, True])
async def test_pages_that_begin_with_the_row_before(used: int, charges: bool) -> None:
    """Rows that the caller used count, although each page begins with the last row of the page before."""
    api, make = CursorApi(300, charges=charges), signals if charges else companies
    api.fault = lambda cursor, ids: [str(int(cursor) - 1), *ids] if cursor is not None else ids
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(make(lf), 2)
        stored = [row for page in pages for row in page.items][: 100 + used]
        assert len(await rest_of(make(lf), pages[0], stored)) == 200 - used
    assert api.cursors[2:] == ["100", "200"]


@pytest.mark.parametrize("empty", [3, 8])
@pytest.mark.parametrize("fault", ["lost cursor", "added row", "endless cursors", "cut page"])
async def test_empty_pages_in_a_later_pass(tmp_path: Path, empty: int, fault: str) -> None:
    """Empty pages in the middle of a list are no loop, if no earlier pass showed where the list ends."""
    path, api = tmp_path / "x.ndjson", CursorApi(1_200, never_ends=fault in {"endless cursors", "cut page"})
    api.total = 1_200 - 100 * empty

    def respond(cursor: str | None, ids: list[str]) -> list[str]:
        if fault == "cut page" and cursor == "100" and api.cursors.count("100") == 2:
            return ids[:60]
        return [] if 300 <= int(cursor or 0) < 300 + 100 * empty else ids

    api.fault = respond
    async with handler_server(api) as url, client_of(url) as lf:
        if fault == "lost cursor":
            api.without_cursor = "100"
        else:
            with pytest.raises(InterruptionError):
                await companies(lf).prefetch(0).to_file(path, on_progress=stop_after(11))
            api.ids.insert(1_200 if fault == "added row" else 50, "new")
            api.total += 1
        await companies(lf).prefetch(0).to_file(path, resume=fault != "lost cursor")
    assert {*api.ids[:300], *api.ids[300 + 100 * empty :]} <= ids_in(path)


@pytest.mark.parametrize("used", [9, 50])
async def test_page_used_in_part_before_its_cursor_expired(used: int) -> None:
    """Rows that were used after the position come again if the list is read from its start, and are counted."""
    api = CursorApi(250)
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(companies(lf), 3)
        stored = ids_of(pages)[: 200 + used]
        for _ in range(2):
            api.once("200", lambda _: 410)
            assert {*stored, *await rest_of(companies(lf), pages[1], stored)} == set(api.ids)


@pytest.mark.parametrize("used", [0, 50, 100])
@pytest.mark.parametrize("charges", [False, True])
async def test_empty_page_before_a_page_used_in_part(used: int, charges: bool) -> None:
    """An empty page after the position does not end the count of rows that the caller had used."""
    api, make = CursorApi(300, charges=charges), signals if charges else companies
    api.total = 200  # those of the second page are never returned
    api.fault = lambda cursor, ids: [] if cursor == "100" else ids
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(make(lf), 3)
        stored = [row for page in pages for row in page.items][: 100 + used]
        assert len(await rest_of(make(lf), pages[0], stored)) == 100 - used
    assert len(api.cursors) == 5


@pytest.mark.parametrize(
    ("stored", "fault", "missing"), [(300, "", 0), (300, "cut", 10), (300, "repeats", 100), (250, "repeats before", 50)]
)
async def test_charged_list_that_leaves_out_stored_rows(stored: int, fault: str, missing: int) -> None:
    """A charged list without the rows of earlier runs is compared with the count after an interruption too."""
    api = CursorApi(400, charges=True)
    async with handler_server(api) as url, client_of(url) as lf:
        old = [row for page in await first_pages(signals(lf), 3) for row in page.items][:stored]
        api.ids = [*(f"new {number}" for number in range(100)), *api.ids]
        pages = await first_pages(signals(lf).resume_from(ResumePosition(), old), 2)
        first, api.charged = api.ids[:100], 0
        if fault:
            api.once("300" if "before" in fault else "400", lambda ids: ids[:90] if fault == "cut" else first)
        with pytest.raises(IncompleteListError, match=f"{missing} of 500 rows") if missing else nullcontext():
            await rest_of(signals(lf), pages[-1], [*old, *pages[0].items, *pages[1].items])
    assert api.charged == (290 if fault == "cut" else 300)


async def test_charged_stored_page_that_comes_twice() -> None:
    """A page of stored rows that comes twice after a position does not hide rows that are missing."""
    api = CursorApi(500, charges=True)
    async with handler_server(api) as url, client_of(url) as lf:
        old = [row for page in await first_pages(signals(lf), 4) for row in page.items]
        pages = await first_pages(signals(lf).resume_from(ResumePosition(), old[100:]), 1)
        api.once("300", lambda _: api.ids[100:200])
        with pytest.raises(IncompleteListError, match="100 of 500 rows"):
            await rest_of(signals(lf), pages[-1], old)


@pytest.mark.parametrize("fault", ["cut page", "repeated cursor"])
async def test_end_of_a_charged_list_that_lacks_rows(tmp_path: Path, fault: str) -> None:
    """The last page of a charged list reports the gap, and its position requests nothing again."""
    path = tmp_path / "x.ndjson"
    api = CursorApi(250, charges=True)
    if fault == "repeated cursor":
        api.last_cursor = "200"
    api.fault = lambda cursor, ids: ids[:40] if cursor == "200" else ids
    async with handler_server(api) as url, client_of(url) as lf:
        pages = [page async for page in signals(lf).pages()]
        assert pages[-1].position is not None
        assert pages[-1].position.ended
        assert (len(pages[-1].items), pages[-1].problem_count) == (40, 1)
        requests = len(api.cursors)
        assert await rest_of(signals(lf), pages[-1], []) == set()
        assert len(api.cursors) == requests
        with pytest.raises((IncompleteListError, CursorLoopError)):
            await signals(lf).to_file(path)
        await signals(lf).to_file(path, resume=True)
    assert len(api.cursors) == 2 * requests


async def test_charged_pages_are_saved_at_once(tmp_path: Path) -> None:
    """The checkpoint on the disk counts each charged page, so that a kill does not charge it again."""
    path, saved = tmp_path / "x.ndjson", list[tuple[int, int]]()

    def read(progress: Progress) -> None:
        checkpoint = json.loads((tmp_path / "x.ndjson.checkpoint").read_bytes())
        saved.append((progress.done, checkpoint["rows"]))

    async with handler_server(CursorApi(250, charges=True)) as url, client_of(url) as lf:
        await signals(lf).to_file(path, on_progress=read)
    assert saved == [(100, 100), (200, 200), (250, 250)]


async def test_pages_that_may_have_charged_are_saved_at_once(tmp_path: Path) -> None:
    """A list that may charge is saved after each page, although its responses do not report credits."""
    path, saved = tmp_path / "x.ndjson", list[tuple[int, int]]()

    async def respond(request: web.Request) -> web.Response:
        found = [{"id": one, "type": "company"} for one in request.query["ids"].split(",")]
        return web.json_response({"data": found})

    def read(progress: Progress) -> None:
        saved.append((progress.done, json.loads((tmp_path / "x.ndjson.checkpoint").read_bytes())["rows"]))

    for server, make in ((CursorApi(250), signals), (respond, lambda lf: lf.companies.get_many(map(str, range(250))))):
        async with handler_server(server) as url, client_of(url) as lf:
            await make(lf).to_file(path, on_progress=read, overwrite=True)
    assert saved == 2 * [(100, 100), (200, 200), (250, 250)]


async def test_unexpected_charge_is_remembered_by_the_position() -> None:
    """A list that turned out to charge is not read again after a resume."""
    api = CursorApi(250, charges=True)
    api.fault = lambda cursor, ids: 410 if cursor == "200" else ids
    async with handler_server(api) as url, client_of(url) as lf:
        found = list[Page[Any]]()
        with pytest.raises(CursorExpiredError):
            async for page in companies(lf).pages():
                found.append(page)
        for _ in range(2):
            with pytest.raises(CursorExpiredError):
                await rest_of(companies(lf), found[-1], ids_of(found))
    assert api.charged == 200
    assert api.cursors == [None, "100", "200", "200", "200"]


@pytest.mark.parametrize("fault", ["cut page", "removed row", "row removed before the resume"])
async def test_cursors_that_never_end(tmp_path: Path, fault: str) -> None:
    """A counted list that names a cursor on each page is read again if rows may be missing, and then ends."""
    path = tmp_path / "x.ndjson"
    api = CursorApi(250, never_ends=True)
    resumes = fault == "row removed before the resume"
    if fault == "cut page":
        api.once("100", lambda ids: ids[:60])
    elif resumes:
        api.fault = lambda cursor, ids: 403 if cursor == "200" else ids

    def remove(_: Progress) -> None:
        if fault == "removed row" and len(api.cursors) == 2:
            del api.ids[120]

    async with handler_server(api) as url, client_of(url) as lf:
        if resumes:
            with pytest.raises(LeadfeederError):
                await companies(lf).to_file(path)
            del api.ids[20]
            api.fault = lambda _, ids: ids
        await companies(lf).prefetch(0).to_file(path, resume=resumes, on_progress=remove)
    assert set(api.ids) <= ids_in(path)
    assert len(api.cursors) < 70


@pytest.mark.parametrize("last", [None, "200"])
async def test_count_that_rises_while_cursors_never_end(tmp_path: Path, last: str | None) -> None:
    """A list whose count rose once is read again and ends, although its cursors do not."""
    api = CursorApi(250, never_ends=last is None)
    api.last_cursor = last

    def add(_: Progress) -> None:
        if len(api.cursors) == 1:
            api.ids.append("new")

    async with handler_server(api) as url, client_of(url) as lf:
        assert (await companies(lf).prefetch(0).to_file(tmp_path / "x.ndjson", on_progress=add)).done == 251
    assert len(api.cursors) <= 58


@pytest.mark.parametrize("end", [None, "200", "never"])
async def test_rows_of_two_passes(end: str | None) -> None:
    """A list whose rows arrived in two passes ends, however it names its cursors."""
    api = CursorApi(450, never_ends=end == "never")
    api.last_cursor = end

    def fault(cursor: str | None, ids: list[str]) -> list[str]:
        is_empty = (cursor, api.cursors.count(cursor)) in {("300", 1), ("100", 2)}
        return [] if is_empty else ids

    api.fault = fault
    async with handler_server(api) as url, client_of(url) as lf:
        assert {row.id for row in await companies(lf).prefetch(0).collect()} == set(api.ids)
    assert len(api.cursors) <= 62


async def test_count_that_is_too_high_while_cursors_never_end() -> None:
    """A later pass ends soon after the pages that the first one had."""
    api = CursorApi(450, never_ends=True)
    api.total = 451
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="3 consecutive pages"):
            await companies(lf).prefetch(0).collect()
    assert len(api.cursors) <= 75


async def test_charged_pages_without_new_rows() -> None:
    """A list ends, and reports it, after three pages that charged and had no new rows."""
    api = CursorApi(250, charges=True, never_ends=True)
    api.total = 251
    api.fault = lambda cursor, ids: ids or api.ids[200:]
    async with handler_server(api) as url, client_of(url) as lf:
        with pytest.raises(CursorLoopError, match="3 consecutive pages"):
            await signals(lf).collect()
    assert (len(api.cursors), api.charged) == (6, 400)


@pytest.mark.parametrize("status", [400, 410])
async def test_rejected_cursor_after_a_second_pass(status: int) -> None:
    """A cursor that is rejected after all counted rows came in a second pass is the end of the list."""
    api = CursorApi(250, never_ends=True)
    is_cut = [True]

    def fault(cursor: str | None, ids: list[str]) -> list[str] | int:
        if cursor == "100" and is_cut:
            is_cut.clear()
            return ids[:60]
        return status if cursor == "300" else ids

    api.fault = fault
    async with handler_server(api) as url, client_of(url) as lf:
        assert {row.id for row in await companies(lf).collect()} == set(api.ids)


@pytest.mark.parametrize("make", [companies, signals])
async def test_complete_position_without_ids(make: Any) -> None:
    """A position with all counted rows ends a list whose further cursor is rejected, although no ids are passed."""
    api = CursorApi(200, charges=make is signals, never_ends=True)
    async with handler_server(api) as url, client_of(url) as lf:
        pages = await first_pages(make(lf), 2)
        api.fault = lambda cursor, ids: 410 if cursor == "200" else ids
        assert await rest_of(make(lf), pages[1], []) == set()


async def test_cursor_that_is_too_long_to_be_sent() -> None:
    """A list whose next cursor cannot be sent ends with an error, and keeps the rows so far."""
    api, found = CursorApi(100), list[str]()
    api.last_cursor = "x" * 65_537
    async with handler_server(api) as url, client_of(url) as lf:
        api.total = 250
        with pytest.raises(IncompleteListError, match="has 65,537 characters"):
            async for row in companies(lf):
                found.append(row.id)
    assert found == api.ids


async def test_repeated_page_of_a_day_below_the_limit() -> None:
    """A page that comes twice below the row limit is requested again, although a further page is rejected."""
    repeats = [50]

    async def respond(request: web.Request) -> web.Response:
        page = int(request.query["page[num]"])
        if page > 100:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        if page in repeats:
            repeats.clear()
            page -= 1
        data = [
            {"id": str(row), "type": "company_location"} for row in range(100 * page, min(100 * page + 100, 10_050))
        ]
        return web.json_response({"data": data, "meta": {"pagination": {"total_count": 9_950, "page_count": 100}}})

    async with handler_server(respond) as url, client_of(url, rate=1e6, burst=10_000) as lf:
        pager = lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-01")
        assert len({row.id for row in await pager.collect()}) == 9_950


async def test_row_that_comes_again_by_cursor_without_count() -> None:
    """A row that changed, and comes again on a later page, is no reason to read a list by cursors again."""
    cursors = list[str | None]()

    async def respond(request: web.Request) -> web.Response:
        cursors.append(cursor := request.query.get("page[cursor]"))
        first = int(cursor or 0)
        ids = [str(number) for number in range(first, first + 100)]
        if cursor == "200":
            ids[50] = "7"
        meta = {"pagination": {"next_cursor": str(first + 100) if first < 300 else None}}
        return web.json_response({"data": [{"id": one, "type": "company_summary"} for one in ids], "meta": meta})

    async with handler_server(respond) as url, client_of(url) as lf:
        assert len(await companies(lf).prefetch(0).collect()) == 399
    assert cursors == [None, "100", "200", "300"]
