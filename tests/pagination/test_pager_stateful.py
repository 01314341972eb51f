"""A model server that changes under a walk: every row that was there all the time comes once, or an error says why."""

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

ROW = Endpoint(
    "model", "GET", "/v1/model", Response[tuple[ResourceIdentifier, ...]], pagination=PaginationStyle.PAGE_NUMBER
)
DAY = date(2026, 11, 1)
SIZE = 3
OPTIONS = PagerOptions(page_size=SIZE, prefetch=2)


class Model(RuleBasedStateMachine):
    """What both kinds of walk have in common: rows that come in, a consumer that takes a page at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.rows: list[str] = []
        self.made = 0
        self.got: list[str] = []
        self.ended: str | None = None
        self.told = False
        """A page said that rows are missing."""

    def add(self, place: int) -> str:
        self.made += 1
        self.rows.insert(place, str(self.made))
        return str(self.made)

    def begin(self, count: int) -> None:
        for _ in range(count):
            self.add(len(self.rows))
        self.always = set(self.rows)

    max_search_rows = 10_000

    async def decode(self, body: bytes) -> Page[ResourceIdentifier]:
        page = decode_page(ROW, body, ErrorContext(), REDACTOR)
        return Page(page.items, page.meta, decode_errors=page.decode_errors, undecodable=page.undecodable)

    def row_ids(self, rows: Iterable[ResourceIdentifier]) -> list[str]:
        return [row.id for row in rows]

    async def execute(self, call: ApiRequest[bytes]) -> bytes:
        raise NotImplementedError

    @precondition(lambda self: self.ended is None)
    @rule()
    def take_a_page(self) -> None:
        try:
            page = self.loop.run_until_complete(self.walk.__anext__())
            self.got.extend(one.id for one in page.items)
            self.told |= any(isinstance(one, PaginationError) for one in page.problems)
        except StopAsyncIteration:
            self.ended = "whole"
        except PaginationError as error:
            self.ended = type(error).__name__

    @invariant()
    def nothing_twice(self) -> None:
        assert len(self.got) == len(set(self.got))

    @invariant()
    def nothing_missing(self) -> None:
        if self.ended == "whole" and not self.told:
            assert self.always <= set(self.got), (self.always - set(self.got), self.rows)

    def teardown(self) -> None:
        self.loop.run_until_complete(self.walk.aclose())
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


def page_of(rows: Iterable[str], **pagination: object) -> bytes:
    return msgspec.json.encode({"data": [{"id": row} for row in rows], "meta": {"pagination": pagination}})


class CursorMachine(Model):
    """A list along cursors, which name the last row given: rows come in anywhere, pages come short, cursors expire."""

    @initialize(count=st.integers(0, 12))
    def start(self, count: int) -> None:
        self.begin(count)
        self.short = self.expired = 0
        self.walk = CursorSource(self, ApiRequest(ROW).undecoded).pages(self, OPTIONS)

    @rule(place=st.integers(0, 20))
    def insert(self, place: int) -> None:
        self.add(min(place, len(self.rows)))

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
            raise BadRequestError("expired")
        at = self.rows.index(str(cursor)) + 1 if cursor else 0
        size = SIZE - bool(self.short)
        self.short = max(0, self.short - 1)
        rows = self.rows[at : at + size]
        more = at + size < len(self.rows)
        return page_of(rows, next_cursor=rows[-1] if more and rows else None, total_count=at)


class NumberedMachine(Model):
    """Numbered pages of days: rows come in, pages come short at the end, counts lag behind, walls stand in the way.

    Rows that vanish before the reader's place move later rows past it: that is a limit of page numbers, not modeled.
    """

    @initialize(count=st.integers(0, 12), days=st.integers(1, 6), counts=st.booleans())
    def start(self, count: int, days: int, counts: bool) -> None:
        self.days, self.counts = days, counts
        self.begin(count)
        window = DateWindow(DAY, DAY + timedelta(days - 1))
        self.walk = DateWindowSource(self, ApiRequest(ROW).undecoded, window).pages(self, OPTIONS)

    @rule(place=st.integers(0, 20))
    def insert(self, place: int) -> None:
        self.add(min(place, len(self.rows)))

    async def execute(self, call: ApiRequest[bytes]) -> bytes:
        first, last = (date.fromisoformat(str(call.params[name])) for name in ("start_date", "end_date"))
        at = (int(str(call.params["page[num]"])) - 1) * SIZE
        rows = [row for row in self.rows if first <= DAY + timedelta(int(row) % self.days) <= last]
        if at >= 12:
            raise OffsetExceededError("wall")
        counts = {"total_count": len(rows), "page_count": -(-len(rows) // SIZE)} if self.counts else {}
        return page_of(rows[at : at + SIZE], **counts)


TestCursors = CursorMachine.TestCase
TestNumbers = NumberedMachine.TestCase
TestCursors.settings = TestNumbers.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
