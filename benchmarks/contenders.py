"""The ways to read 20 pages of 100 visits: ours, what people write by hand, and the floor."""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import aiohttp
import httpx
import msgspec
import orjson
import pydantic

from benchmarks.data import PAGES_A_DAY
from benchmarks.floor import Wire
from benchmarks.measure import Turn
from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async.models import CompanySummary, WebVisit
from leadfeeder_async.models.envelope import Response

DAY = "2026-11-02"
BODY = json.dumps({"start_date": DAY, "end_date": DAY}).encode()
KEY = {"X-Api-Key": "k"}

BARE = "aiohttp + msgspec Structs, by hand"
OURS_ONE = "leadfeeder_async, one page at a time"
OURS = "leadfeeder_async, 16 pages in flight"
FLOOR = "asyncio protocol + msgspec Structs (floor)"
ORJSON, JSON = "aiohttp + orjson, dicts", "aiohttp + json, dicts"
HTTPX_JSON, HTTPX_PYDANTIC = "httpx + json, dicts", "httpx + pydantic"
OPC, OAG = "openapi-python-client", "openapi-generator"
BARE_CURSOR, OURS_CURSOR = "aiohttp + msgspec Structs, along cursors", "leadfeeder_async, along cursors"

Get: TypeAlias = Callable[[str], Awaitable[bytes | memoryview]]

VISITS = msgspec.json.Decoder(Response[tuple[WebVisit, ...]])
ROWS = msgspec.json.Decoder(Response[tuple[msgspec.Raw, ...]])
SUMMARIES = msgspec.json.Decoder(Response[tuple[CompanySummary, ...]])


def client_of(url: str) -> AsyncLeadfeeder:
    """Return a client of ours with every part at work, and limits that never hold it back."""
    return AsyncLeadfeeder("k", account_id="1", base_url=url, rate=1e6, burst=10**6, monthly_quota=10**12)


async def sweeps(stack: AsyncExitStack, url: str) -> dict[str, Turn]:
    """Open every client; return each one's sweep."""
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=KEY))
    client = await stack.enter_async_context(httpx.AsyncClient(headers=KEY))
    lf = await stack.enter_async_context(client_of(url))
    wire = await Wire.connect(url)
    stack.callback(wire.close)

    async def by_aiohttp(target: str) -> bytes:
        async with session.post(target, data=BODY) as answer:
            return await answer.read()

    async def by_httpx(target: str) -> bytes:
        return (await client.post(target, content=BODY)).content

    async def by_wire(target: str) -> memoryview:
        return await wire.post(target.removeprefix(url), BODY)

    return {
        BARE: _sweep(url, by_aiohttp, lambda body: VISITS.decode(body).data),
        OURS_ONE: ours(lf, ahead=0),
        OURS: ours(lf),
        FLOOR: _sweep(url, by_wire, lambda body: VISITS.decode(body).data),
        ORJSON: _sweep(url, by_aiohttp, lambda body: orjson.loads(body)["data"]),
        JSON: _sweep(url, by_aiohttp, lambda body: json.loads(bytes(body))["data"]),
        HTTPX_JSON: _sweep(url, by_httpx, lambda body: json.loads(bytes(body))["data"]),
        HTTPX_PYDANTIC: _sweep(url, by_httpx, lambda body: Visits.model_validate_json(bytes(body)).data),
    }


def _sweep(url: str, get: Get, rows_of: Callable[[bytes | memoryview], Sequence[object]]) -> Turn:
    async def turn() -> int:
        rows = 0
        for page in range(1, PAGES_A_DAY + 1):
            target = f"{url}/v1/web-visits?account_id=1&page%5Bnum%5D={page}&page%5Bsize%5D=100"
            for _ in rows_of(await get(target)):
                rows += 1
        return rows

    return turn


def ours(lf: AsyncLeadfeeder, ahead: int = 16) -> Turn:
    """Return the sweep of a client of ours: what the README shows."""

    async def turn() -> int:
        rows = 0
        async for _ in lf.web_visits.search(start_date=DAY, end_date=DAY).prefetch(ahead):
            rows += 1
        return rows

    return turn


async def export(stack: AsyncExitStack, url: str, path: Path) -> Turn:
    """Return what writes 100 pages to a file by hand: rows as they came, no page twice, one fsync, and nothing else."""
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=KEY))

    async def turn() -> int:
        rows, part = 0, path.with_suffix(".part")
        with part.open("wb", buffering=0) as file:
            for day in range(5):
                body = json.dumps({"start_date": f"2026-11-0{2 + day}", "end_date": f"2026-11-0{2 + day}"}).encode()
                for page in range(1, PAGES_A_DAY + 1):
                    target = f"{url}/v1/web-visits?account_id=1&page%5Bnum%5D={page}&page%5Bsize%5D=100"
                    async with session.post(target, data=body) as answer:
                        found = ROWS.decode(await answer.read()).data
                    file.write(b"\n".join((*found, b"")))
                    rows += len(found)
            os.fsync(file.fileno())
        part.replace(path)
        return rows

    return turn


async def cursors(stack: AsyncExitStack, url: str) -> dict[str, Turn]:
    """Return sweeps of 20 pages of company summaries along cursors: by hand, and ours with one page ahead."""
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=KEY))
    lf = await stack.enter_async_context(client_of(url))

    async def by_hand() -> int:
        rows, following, target = 0, "", f"{url}/v1/companies/search?account_id=1&page%5Bsize%5D=100"
        while True:
            async with session.post(target + following, data=b"{}") as answer:
                page = SUMMARIES.decode(await answer.read())
            for _ in page.data:
                rows += 1
            if page.meta.next_cursor is None:
                return rows
            following = f"&page%5Bcursor%5D={page.meta.next_cursor}"

    async def ours() -> int:
        rows = 0
        async for _ in lf.companies.search(search_terms=["robotik"]):
            rows += 1
        return rows

    return {BARE_CURSOR: by_hand, OURS_CURSOR: ours}


class _Model(pydantic.BaseModel):
    pass


class _Page(_Model):
    path: str | None = None
    title: str | None = None
    url: str | None = None


class _Engagement(_Model):
    event_type: str | None = None
    hostname: str | None = None
    page: _Page | None = None
    previous_page_path: str | None = None
    time_on_page: float | None = None
    has_met_goals: bool | None = None


class _Identifiers(_Model):
    lf_client_id: str | None = None
    ga_client_ids: list[str] | None = None


class _Visitor(_Model):
    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None


class _Attributes(_Model):
    source: str | None = None
    medium: str | None = None
    campaign: str | None = None
    keyword: str | None = None
    referring_url: str | None = None
    landing_page_path: str | None = None
    device_type: str | None = None
    visit_length: float | None = None
    page_depth: int | None = None
    started_at: datetime | None = None
    identifiers: _Identifiers | None = None
    visitor: _Visitor | None = None
    engagements: list[_Engagement] | None = None


class _Named(_Model):
    id: str
    type: str


class _Location(_Named):
    attributes: dict[str, str | None] = {}


class _Relationships(_Model):
    company: _Named | None = None
    location: _Location | None = None


class PydanticVisit(_Model):
    """A visit with the fields of ours."""

    id: str
    type: str
    attributes: _Attributes
    relationships: _Relationships


class Visits(_Model):
    """A page of them."""

    data: list[PydanticVisit]
