"""Rows of different companies that have the same id, where the contract does not say that ids are unique."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from leadfeeder_async import AsyncLeadfeeder, LeadfeederError, Pager
from leadfeeder_async.pagination.dedupe import related_row_id
from tests.support.clients import client_of
from tests.support.servers import handler_server

ROWS = [("1", "A", "x"), ("2", "A", "x"), ("1", "B", "x"), ("1", "A", "x"), ("1", "A", "y"), ("3", "C", "x")]
"""The id, company and location of each row. The fourth one repeats the first."""


def row_of(row_id: str, company: str, location: str, *, is_nested: bool) -> dict[str, Any]:
    references = {"company": {"id": company}, "location": {"id": location}}
    related = {name: {"data": one} for name, one in references.items()} if is_nested else references
    return {"id": row_id, "type": "row", "relationships": related}


def signals(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.companies.search_signals(company_ids=["A", "B", "C"], page_size=3)


def companies(lf: AsyncLeadfeeder) -> Pager[Any]:
    return lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-01", page_size=3)


def key_of(row: dict[str, Any]) -> tuple[str, str, str]:
    related = row["relationships"]
    company, location = (related[name].get("data") or related[name] for name in ("company", "location"))
    return row["id"], company["id"], location["id"]


@pytest.mark.parametrize("is_nested", [False, True])
@pytest.mark.parametrize("make", [signals, companies])
async def test_rows_with_the_same_id(make: Any, is_nested: bool, tmp_path: Path) -> None:
    """Each row is returned and exported once, also if the export is interrupted and resumed."""
    fails = False
    rows = ROWS[:4] + ROWS[5:] if make is signals else ROWS  # a signal has no location
    different = sorted(set(rows))

    async def respond(request: web.Request) -> web.Response:
        second = request.query.get("page[cursor]") == "2" or request.query.get("page[num]") == "2"
        if fails and second:
            return web.json_response({}, status=400)
        data = [row_of(*row, is_nested=is_nested) for row in (rows[3:] if second else rows[:3])]
        meta = {"page_count": 2, "total_count": len(different), "next_cursor": None if second else "2"}
        return web.json_response({"data": data, "meta": {"pagination": meta}})

    async with handler_server(respond) as url, client_of(url, retries=0) as lf:
        assert len([row async for row in make(lf)]) == len(different)
        path = tmp_path / "rows.ndjson"
        fails = True
        with pytest.raises(LeadfeederError):
            await make(lf).to_file(path)
        fails = False
        await make(lf).to_file(path, resume=True)
    written = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    assert sorted(map(key_of, written)) == different


@pytest.mark.parametrize("relationships", ["[]", "null", "5", '{"company":{"data":[]}}', '{"company":"A"}'])
def test_other_relationships(relationships: str) -> None:
    """A row whose relationships have another form is known by its id."""
    found = related_row_id(f'{{"id":"1","relationships":{relationships}}}'.encode())
    assert found is not None
    assert found.partition("\0")[0] == "1"
    assert related_row_id(b'{"type":"x"}') is None
