"""A server of lists with random faults, which change while they are read."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from aiohttp import web

ROW_LIMIT = 300
"""The row limit of a search by date."""

FIRST_DAY, LAST_DAY = "2026-11-01", "2026-11-30"
"""The days of the visits. The last one is the current day of the server."""

COUNT_FAULTS = ("zero", "negative", "missing")
"""Counts that cannot be trusted. Nothing else shows a loss then, so these servers return full pages."""

LISTS = {
    "/v1/tags": "tag",
    "/v1/lists": "list",
    "/v1/companies/search": "company",
    "/v1/web-visits": "web_visit",
    "/v1/web-visits/companies": "company_location",
}
"""The paths of all lists, and the types of their rows."""

STYLES = {"tags": "/v1/tags", "companies": "/v1/companies/search", "visits": "/v1/web-visits"}


class RandomServer:
    """Lists of the same rows, with random faults.

    Args:
        seed: Decides the rows and the faults.
        style: The list that is read: ``tags``, ``companies`` or ``visits``. Random by default.

    """

    def __init__(self, seed: int, style: str | None = None) -> None:
        self.rng = rng = random.Random(seed)
        chosen = rng.choice(list(STYLES))
        self.style = style or chosen
        self.made = 0
        counts = [0, 1, 37, 100, 101, 250] if self.style == "tags" else [0, 1, 37, 100, 101, 250, 600]
        self.rows = [self.new_row() for _ in range(rng.choice(counts))]
        self.size = rng.choice([10, 20, 100])
        self.removable = {row for row in self.rows if rng.random() < 0.1}
        self.always = set(self.rows) - self.removable
        self.count = rng.choice(["right", "right", "right", *COUNT_FAULTS])
        trusted = self.count == "right"
        self.page_cap = rng.choice([None, None, 7, 50])
        self.change_rate = rng.choice([0.0, 0.0, 0.05, 0.15]) if trusted else 0.0
        self.fault_rate = rng.choice([0.0, 0.0, 0.3]) if trusted else 0.0
        self.change_kind = rng.choice(["added", "removed", "both"])
        self.changes_show = not self.change_rate or self.change_kind != "both"
        """True if the counts show each change. An added and a removed row between two responses leave them unchanged."""
        self.is_unstable = trusted and rng.random() < 0.15
        self.lost_pages = {rng.randrange(1, 7)} if trusted and rng.random() < 0.15 else set[int]()
        """Pages that are always empty."""
        self.faulty_once = set[tuple[str, int]]()

    @property
    def may_fail(self) -> bool:
        """True if reading the list again may not return all rows, or cannot prove it, as of a list that always grows."""
        has_new_faults = self.fault_rate and (
            self.change_rate or self.style == "visits"
        )  # each part of a range has some
        pages = len(self.rows) / min(self.size, self.page_cap or self.size)
        always_grows = self.change_rate > 0.1 or self.change_rate * pages > 1
        return self.is_unstable or bool(self.lost_pages) or bool(has_new_faults) or always_grows

    def lacks(self, ids: list[str]) -> bool:
        """Return True if the counts show that rows which always exist are missing."""
        return not self.always <= set(ids) and (self.changes_show or len(ids) < len(self.rows))

    def heal(self) -> None:
        """Stop all faults and changes."""
        self.count, self.page_cap, self.is_unstable = "right", None, False
        self.change_rate = self.fault_rate = 0.0
        self.lost_pages.clear()

    def new_row(self) -> str:
        self.made += 1
        return f"{self.rng.randrange(30):02}-{self.made}"  # the day, then a number

    def change(self) -> None:
        """Insert a row at a random place, or remove one."""
        adds = self.rng.random() < 0.5 if self.change_kind == "both" else self.change_kind == "added"
        if adds:
            self.rows.insert(self.rng.randrange(len(self.rows) + 1), self.new_row())
        elif self.removable:
            row = self.rng.choice(sorted(self.removable))
            self.removable.discard(row)
            self.rows.remove(row)

    async def __call__(self, request: web.Request) -> web.Response:
        response = await self.respond(request)
        response.headers["Date"] = "Mon, 30 Nov 2026 12:00:00 GMT"
        return response

    async def respond(self, request: web.Request) -> web.Response:
        kind = LISTS.get(request.path)
        if kind is None:
            account = {"id": "1", "type": "account", "attributes": {}}
            return web.json_response({"data": [account] if request.path == "/v1/accounts" else [], "meta": {}})
        if self.rng.random() < self.change_rate:
            self.change()
        params = {**request.query, **msgspec.json.decode(await request.read() or b"{}")}
        rows = self.rows
        if "web-visits" in request.path:
            first, last = int(params["start_date"][-2:]) - 1, int(params["end_date"][-2:]) - 1
            rows = [row for row in rows if first <= int(row[:2]) <= last]
        elif request.query.get("filter[scope]") == "contact":
            rows = []
        if self.is_unstable:
            rows = self.rng.sample(rows, len(rows))
        size = min(int(params["page[size]"]), self.page_cap or 1_000)
        cursor = params.get("page[cursor]")
        start = int(cursor) if cursor else (int(params.get("page[num]", "1")) - 1) * size
        if "web-visits" in request.path and start + size > ROW_LIMIT:
            return web.json_response({"errors": [{"code": "offset_exceeded"}]}, status=416)
        page, number = rows[start : start + size], start // size + 1
        shown = self.damage(page, number, f"{request.path}{params.get('start_date')}{params.get('end_date')}")
        meta: dict[str, Any] = {"page_count": -(-len(rows) // size)} if self.count == "right" else {}
        meta |= {"right": {"total_count": len(rows)}, "zero": {"total_count": 0}, "negative": {"total_count": -1}}.get(
            self.count, {}
        )
        if kind == "company":
            meta["next_cursor"] = str(start + size) if start + size < len(rows) else None
        return web.json_response({"data": [record(row, kind) for row in shown], "meta": {"pagination": meta}})

    def damage(self, page: list[str], number: int, window: str) -> list[str]:
        """Return a page with the faults of the server."""
        if number in self.lost_pages:
            return []
        fault = (window, number)
        if fault in self.faulty_once or self.rng.random() >= self.fault_rate:
            return page
        self.faulty_once.add(fault)
        return page[: self.rng.randrange(len(page))] if page else page


def record(row: str, kind: str) -> dict[str, Any]:
    """Return the record of a row."""
    company = {"id": row, "type": "company", "attributes": {"name": f"Company {row}"}}
    if kind == "web_visit":
        attributes = {"started_at": f"2026-11-{int(row[:2]) + 1:02}T10:00:00Z"}
        return {"id": row, "type": kind, "attributes": attributes, "relationships": {"company": company}}
    if kind == "company_location":
        return {"id": row, "type": kind, "relationships": {"company": company}}
    return {"id": row, "type": kind, "attributes": {"name": row}}
