"""Days over the row limit, read in groups of countries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from leadfeeder_async import AsyncLeadfeeder, IncompleteListError, IncompleteWindowError
from leadfeeder_async.pagination.country_split import COUNTRY_CODES, find_country_groups
from leadfeeder_async.sandbox import Sandbox
from tests.support.clients import client_of
from tests.support.servers import handler_server

DAY = date(2026, 11, 1)
LIMIT = 40
REMOVED = "removed"


@dataclass
class VisitServer:
    """A server of visits, each with a day and a country, that returns at most 40 rows of a search."""

    countries_by_day: list[list[str | None]]
    ignores_countries: bool = False
    is_count_limited: bool = False
    count_limit: int = LIMIT
    counts_page: bool = False
    """Count the rows of the page, as some servers do."""
    on_group: Callable[[list[str | None]], None] | None = None
    """Changes the countries of the last day before the first page of a group is returned."""
    rejects_large_searches: bool = False
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def ids(self) -> list[str]:
        return [
            f"{number}-{row}"
            for number, day in enumerate(self.countries_by_day)
            for row, country in enumerate(day)
            if country != REMOVED
        ]

    async def __call__(self, request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        self.requests.append({**request.query, **body})
        codes = body.get("filters", {}).get("location_country_codes")
        if codes and request.query["page[size]"] != "1" and self.on_group is not None:
            self.on_group(self.countries_by_day[-1])
            self.on_group = None
        start, end = (date.fromisoformat(body[name]) for name in ("start_date", "end_date"))
        rows = [
            {"id": f"{number}-{row}", "type": "web_visit", "attributes": {"country_code": country}}
            for number, day in enumerate(self.countries_by_day)
            if start <= DAY + timedelta(number) <= end
            for row, country in enumerate(day)
            if country != REMOVED
            if codes is None or self.ignores_countries or country in codes
        ]
        if self.rejects_large_searches and len(rows) > LIMIT:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        size, page = int(request.query["page[size]"]), int(request.query["page[num]"])
        total = min(len(rows), self.count_limit) if self.is_count_limited else len(rows)
        data = rows[:LIMIT][(page - 1) * size : page * size]
        pagination = {"page_num": page, "page_count": -(-total // size), "total_count": total}
        if self.counts_page:
            pagination = {"total_count": len(data)}
        return web.json_response({"data": data, "meta": {"pagination": pagination}})


async def read(
    server: VisitServer, **options: Any
) -> tuple[list[str], IncompleteListError | IncompleteWindowError | None]:
    end = DAY + timedelta(len(server.countries_by_day) - 1)
    ids = list[str]()
    async with handler_server(server) as url, client_of(url, max_search_rows=LIMIT) as lf:
        try:
            async for visit in lf.web_visits.search(start_date=DAY, end_date=end, page_size=10, **options):
                ids.append(visit.id)
        except (IncompleteListError, IncompleteWindowError) as error:
            return ids, error
    return ids, None


def spread(count: int) -> list[str | None]:
    return [COUNTRY_CODES[number * 7 % 250] for number in range(count)]


async def test_day_over_the_row_limit_is_complete() -> None:
    """A day with more visits than the API returns is read by country, between two days that are not."""
    server = VisitServer([spread(30), spread(170), spread(10)])
    ids, error = await read(server)
    assert error is None
    assert sorted(ids) == sorted(server.ids)
    counts = [request for request in server.requests if request["page[size]"] == "1"]
    assert len(counts) <= 2 + 16 * 170 // LIMIT


async def test_visits_without_country() -> None:
    """Visits without a country are returned by the search of the complete day."""
    server = VisitServer([[None, *spread(30), None, *spread(100)]])
    ids, error = await read(server)
    assert error is None
    assert sorted(ids) == sorted(server.ids)


async def test_missing_visits_without_country_are_counted() -> None:
    """Visits without a country over the row limit cannot be read, and the error counts them."""
    server = VisitServer([[*spread(100), None, None, None]])
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert len(ids) == len(set(ids)) == 100
    assert error.message == (
        "2026-11-01 contains more rows than the API returns: 100 of 103 were returned, 3 are missing."
    )


async def test_country_over_the_row_limit() -> None:
    """A single country with too many visits is read up to the limit."""
    server = VisitServer([["DE"] * 70 + ["FR"] * 30])
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert len(ids) == len(set(ids)) == 70
    assert "70 of 100 were returned, 30 are missing." in error.message


async def test_server_that_ignores_countries() -> None:
    """Inconsistent counts end the split after few requests."""
    for is_count_limited in (False, True):
        server = VisitServer([spread(170)], ignores_countries=True, is_count_limited=is_count_limited)
        ids, error = await read(server)
        assert isinstance(error, IncompleteWindowError)
        assert len(ids) == LIMIT
        assert len([request for request in server.requests if request["page[size]"] == "1"]) <= 4


async def test_server_that_counts_up_to_the_limit() -> None:
    """If the total is capped at the row limit, the sum of the countries is used."""
    server = VisitServer([spread(170)], is_count_limited=True)
    ids, error = await read(server)
    assert error is None
    assert sorted(ids) == sorted(server.ids)
    server = VisitServer([[None, *spread(170)]], is_count_limited=True)
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert sorted(ids) == sorted(server.ids)
    assert "may contain more rows" in error.message


@pytest.mark.parametrize(("french", "returned"), [(0, 40), (30, 70)])
async def test_country_over_the_limit_of_counts(french: int, returned: int) -> None:
    """If the count of a single country is capped at the row limit, more of its visits may exist."""
    server = VisitServer([["DE"] * 70 + ["FR"] * french], is_count_limited=True)
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert (len(ids), "may contain more rows" in error.message) == (returned, True)


async def test_many_visits_without_country_over_the_limit_of_counts() -> None:
    """If the count of a day is capped, visits without a country may be missing, however many have one."""
    server = VisitServer([["DE", "FR", None] * 18], is_count_limited=True)
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert (len(ids), "may contain more rows" in error.message) == (49, True)


@pytest.mark.parametrize("day", [[*spread(100), None], [*spread(38), None, *spread(3)], [None, *spread(39)] * 2])
async def test_counts_limited_above_the_row_limit(day: list[str | None]) -> None:
    """A count that is capped just above the row limit does not hide visits without a country."""
    server = VisitServer([day], is_count_limited=True, count_limit=LIMIT + 1)
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert len(ids) == len(set(ids))


async def test_server_that_counts_the_rows_of_the_page() -> None:
    """Such a count shows neither that a day is complete, nor that all visits have a country."""
    server = VisitServer([spread(30), [*spread(30), *[None] * 30], spread(30)], counts_page=True)
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert len(ids) == len(set(ids)) == 100
    server = VisitServer([spread(30)] * 4, counts_page=True)
    assert await read(server) == (server.ids, None)


async def test_removed_visits_do_not_hide_missing_ones() -> None:
    """Visits that are removed while a day is read in groups are not counted as visits without a country."""
    day = [None if number % 10 == 0 else country for number, country in enumerate(spread(60))]

    def remove_two(day: list[str | None]) -> None:
        day[11] = day[21] = REMOVED

    server = VisitServer([day], on_group=remove_two)
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert set(server.ids) - set(ids)


async def test_interrupted_day_of_server_that_counts_up_to_the_limit() -> None:
    """If the pages of a day end early, its limited count still shows that visits without a country are missing."""
    visits = VisitServer([[*spread(30), *[None] * 10]], is_count_limited=True)

    async def respond(request: web.Request) -> web.Response:
        is_whole_day = "filters" not in await request.json()
        if is_whole_day and request.query["page[num]"] == "3":
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        return await visits(request)

    async with handler_server(respond) as url, client_of(url, max_search_rows=LIMIT) as lf:
        with pytest.raises(IncompleteWindowError, match="10 are missing"):
            await lf.web_visits.search(start_date=DAY, end_date=DAY, page_size=10).collect()


async def test_new_visits_do_not_hide_missing_ones() -> None:
    """Visits that arrive while a day is read in groups do not make up for visits that cannot be read."""
    day = [None if number % 10 == 0 else country for number, country in enumerate(spread(60))]
    server = VisitServer([day], on_group=lambda day: day.extend(["DE", "DE"]))
    ids, error = await read(server)
    assert isinstance(error, IncompleteWindowError)
    assert len(set(server.ids) - set(ids)) == 2
    assert "2 are missing" in error.message


@pytest.mark.parametrize("days", [1, 2])
async def test_removed_visit_of_large_day_is_not_missing(days: int) -> None:
    """A visit that is removed while a day is read in groups is not reported as missing."""
    server = VisitServer([spread(5)] * (days - 1) + [spread(100)], on_group=lambda day: day.__setitem__(-1, REMOVED))
    ids, error = await read(server)
    assert error is None
    assert sorted(ids) == sorted(server.ids)


async def test_new_visits_of_large_day_are_no_gap() -> None:
    """Visits that arrive while a day is read in groups, of a new country or of another, are no gap."""
    for new in ("AQ", "DE"):
        server = VisitServer([[None, *spread(100)]], on_group=lambda day, new=new: day.extend([new] * 5))
        ids, error = await read(server)
        assert error is None
        assert len(server.ids) - len(ids) <= 5


async def test_server_that_rejects_large_searches() -> None:
    """If the server does not count a day, visits without a country may be missing."""
    for day in (spread(100), [*spread(100), None]):
        server = VisitServer([spread(5), day], rejects_large_searches=True)
        ids, error = await read(server)
        assert isinstance(error, IncompleteWindowError)
        assert (len(ids), "may contain more rows" in error.message) == (105, True)


async def test_countries_of_the_filter_are_split() -> None:
    """A search that is restricted to countries is split into these."""
    server = VisitServer([["DE"] * 30 + ["FR"] * 30 + ["AT"] * 30])
    ids, error = await read(server, filters={"location_country_codes": ["DE", "FR"]})
    assert (len(ids), error) == (60, None)
    codes = {code for request in server.requests for code in request["filters"]["location_country_codes"]}
    assert codes == {"DE", "FR"}


async def test_split_days_false_reports_the_gap() -> None:
    """Without the split, the day ends at the row limit."""
    server = VisitServer([spread(170)])
    ids, error = await read(server, split_days=False)
    assert isinstance(error, IncompleteWindowError)
    assert len(ids) == LIMIT
    assert all("filters" not in request or not request["filters"] for request in server.requests)


async def test_small_limit_needs_no_split() -> None:
    """If the pager needs no more rows than one search returns, nothing is counted by country."""
    server = VisitServer([spread(170)])
    ids, error = await read(server, limit=15)
    assert (len(ids), error) == (15, None)
    assert len(server.requests) == 2


async def test_split_day_of_sandbox() -> None:
    """A sandbox with a small row limit has a day that can only be read by country."""
    async with Sandbox(visits=100, max_search_rows=150, rate_limit=False) as server:
        middle = server.world.start_date + timedelta(1)
        server.world.add_visits(300, day=middle)
        async with AsyncLeadfeeder(
            server.api_key, base_url=server.url, account_id=server.account_id, max_search_rows=150
        ) as lf:
            pager = lf.web_visits.search(start_date=server.start_date, end_date=server.end_date, page_size=20)
            ids = [visit.id async for visit in pager]
    assert len(ids) == len(set(ids)) == 400


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from([None, "DE", "FR", "US", "GB", "NL", "ZW"]), max_size=130), min_size=1, max_size=3
    ),
    st.booleans(),
    st.booleans(),
)
def test_days_are_complete_or_raise(
    days: list[list[str | None]], ignores_countries: bool, is_count_limited: bool
) -> None:
    """No visit is returned twice, and none is missing without an error."""
    server = VisitServer(days, ignores_countries=ignores_countries, is_count_limited=is_count_limited)
    with asyncio.Runner() as runner:
        ids, error = runner.run(read(server))
    assert len(ids) == len(set(ids))
    if error is None:
        assert sorted(ids) == sorted(server.ids)
    elif not is_count_limited:
        assert len(ids) < len(server.ids)


@given(st.dictionaries(st.sampled_from(COUNTRY_CODES), st.integers(0, 300), max_size=40), st.integers(2, 100))
def test_groups_are_under_the_limit_and_cover_all(counts: dict[str, int], max_search_rows: int) -> None:
    """Groups contain each country with rows once, and only single countries reach the limit."""
    counted = list[tuple[str, ...]]()

    async def count(codes: tuple[str, ...]) -> int:
        counted.append(codes)
        return sum(counts.get(code, 0) for code in codes)

    groups = asyncio.run(find_country_groups(COUNTRY_CODES, max_search_rows, count))
    if groups is None:
        assert counts.keys() == {"BV"} or sum(counts.values()) == counts.get("BV")
        return
    codes = [code for group in groups for code in group.codes]
    assert len(codes) == len(set(codes))
    assert {code for code, number in counts.items() if number} <= set(codes)
    assert all(group.count < max_search_rows or len(group.codes) == 1 for group in groups)
    assert len(counted) <= 2 + 16 * sum(counts.values()) / max_search_rows


@pytest.mark.parametrize("reply", [None, -1])
async def test_countries_without_a_count_are_not_split(reply: int | None) -> None:
    """A server that does not count by country cannot be split."""

    async def count(codes: tuple[str, ...]) -> int | None:
        return reply if len(codes) < 250 else 90

    assert await find_country_groups(COUNTRY_CODES, LIMIT, count) is None
