"""A simulated server that changes while a list is read: each permanent row is returned once, or an error is raised."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import date, timedelta

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from leadfeeder_async import PaginationError
from leadfeeder_async._core.codec import decode_page
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle
from leadfeeder_async.errors import BadRequestError, ErrorContext, OffsetExceededError
from leadfeeder_async.models.envelope import ResourceIdentifier, Response
from leadfeeder_async.pagination.cursor import CursorSource
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.numbered import DateWindowSource
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.source import PagerOptions
from tests.support.clients import REDACTOR

ENDPOINT = Endpoint(
    "model", "GET", "/v1/model", Response[tuple[ResourceIdentifier, ...]], pagination=PaginationStyle.PAGE_NUMBER
)
DAY = date(2026, 11, 1)
SIZE = 3
OPTIONS = PagerOptions(page_size=SIZE, prefetch=2)


class Model(RuleBasedStateMachine):
    """The common part of both lists: rows are inserted, and a consumer takes one page start_row a time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rows: list[str] = []
        self.created = 0
        self.returned: list[str] = []
        self.ended: str | None = None
        self.has_problems = False
        """True if a page has reported missing rows."""

    def add(self, index: int) -> str:
        self.created += 1
        self.rows.insert(index, str(self.created))
        return str(self.created)

    def begin(self, count: int) -> None:
        for _ in range(count):
            self.add(len(self.rows))
        self.always = set(self.rows)

    max_search_rows = 10_000

    async def decode(self, body: bytes) -> Page[ResourceIdentifier]:
        page = decode_page(ENDPOINT, body, ErrorContext(), REDACTOR)
        return Page(page.items, page.meta, decode_errors=page.decode_errors, undecodable=page.undecodable)

    def row_ids(self, rows: Iterable[ResourceIdentifier]) -> list[str]:
        return [row.id for row in rows]

    def row_relations(self, _: Iterable[ResourceIdentifier]) -> list[str]:
        return []

    async def execute(self, call: ApiRequest[bytes]) -> bytes:
        raise NotImplementedError

    @precondition(lambda self: self.ended is None)
    @rule()
    def take_page(self) -> None:
        try:
            page = self.loop.run_until_complete(self.pages.__anext__())
            self.returned.extend(row.id for row in page.items)
            self.has_problems |= any(isinstance(problem, PaginationError) for problem in page.problems)
        except StopAsyncIteration:
            self.ended = "complete"
        except PaginationError as error:
            self.ended = type(error).__name__

    @invariant()
    def no_row_is_duplicated(self) -> None:
        assert len(self.returned) == len(set(self.returned))

    @invariant()
    def no_row_is_missing(self) -> None:
        if self.ended == "complete" and not self.has_problems:
            assert self.always <= set(self.returned), (self.always - set(self.returned), self.rows)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.pages.aclose())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


def page_of(rows: Iterable[str], **pagination: object) -> bytes:
    return msgspec.json.encode({"data": [{"id": row} for row in rows], "meta": {"pagination": pagination}})


class CursorMachine(Model):
    """A cursor list: rows are inserted anywhere, pages are short, and cursors expire."""

    @initialize(count=st.integers(0, 12))
    def start(self, count: int) -> None:
        self.begin(count)
        self.short = self.expired = 0
        self.pages = CursorSource(self, ApiRequest(ENDPOINT).undecoded).pages(self, OPTIONS)

    @rule(index=st.integers(0, 20))
    def insert(self, index: int) -> None:
        self.add(min(index, len(self.rows)))

    @rule()
    def shorten_the_next_page(self) -> None:
        self.short += 1

    @rule()
    def expire_the_next_cursor(self) -> None:
        self.expired += 1

    async def execute(self, call: ApiRequest[bytes]) -> bytes:
        cursor = call.params.get("page[cursor]")
        if cursor and self.expired:
            self.expired -= 1
            raise BadRequestError("expired", ErrorContext(status=400))
        start_row = self.rows.index(str(cursor)) + 1 if cursor else 0
        size = SIZE - bool(self.short)
        self.short = max(0, self.short - 1)
        rows = self.rows[start_row : start_row + size]
        more = start_row + size < len(self.rows)
        return page_of(rows, next_cursor=rows[-1] if more and rows else None, total_count=start_row)


class NumberedMachine(Model):
    """Numbered pages by date: rows are inserted, counts may be missing, and a row limit applies.

    Rows are never removed, because page numbers cannot detect rows that move to an earlier page.
    """

    @initialize(count=st.integers(0, 12), days=st.integers(1, 6), counts=st.booleans())
    def start(self, count: int, days: int, counts: bool) -> None:
        self.days, self.counts = days, counts
        self.begin(count)
        window = DateWindow(DAY, DAY + timedelta(days - 1))
        self.pages = DateWindowSource(self, ApiRequest(ENDPOINT).undecoded, window).pages(self, OPTIONS)

    @rule(index=st.integers(0, 20))
    def insert(self, index: int) -> None:
        self.add(min(index, len(self.rows)))

    async def execute(self, call: ApiRequest[bytes]) -> bytes:
        first, last = (date.fromisoformat(str(call.params[name])) for name in ("start_date", "end_date"))
        start_row = (int(str(call.params["page[num]"])) - 1) * SIZE
        rows = [row for row in self.rows if first <= DAY + timedelta(int(row) % self.days) <= last]
        if start_row >= 12:
            raise OffsetExceededError("row limit")
        counts = {"total_count": len(rows), "page_count": -(-len(rows) // SIZE)} if self.counts else {}
        return page_of(rows[start_row : start_row + SIZE], **counts)


TestCursors = CursorMachine.TestCase
TestNumbers = NumberedMachine.TestCase
TestCursors.settings = TestNumbers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
