"""The requests of a watch, and the rows that they return."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256

import msgspec

from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.company_filter import read_company_ids
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.decoders import ModelDecoder
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import ProblemLog


class WatchQuery(msgspec.Struct, frozen=True):
    """The visits to watch."""

    visits: ApiRequest[Response[tuple[WebVisit, ...]]]
    """The search, without its dates."""
    feed: ApiRequest[Response[tuple[CompanyLocation, ...]]] | None = None
    """The visitor companies of a custom feed. Only their visits are delivered."""

    def identify(self, base_url: str, account_id: str) -> tuple[str, str]:
        """Return a hash that identifies the watch, and the watch in words.

        The hash does not depend on ``include``, which adds data to visits but does not select them.
        """
        feed = None if self.feed is None else self.feed.params.get("custom_feed_id")
        facts = (base_url, account_id, self.visits.body, feed)
        filters = "" if (self.visits.body or b"{}") == b"{}" and feed is None else ", with filters"
        return sha256(msgspec.json.encode(facts)).hexdigest(), f"visits of account {account_id}{filters}"


class VisitReader:
    """Sends the requests of a watch. It has no state.

    Args:
        executor: Sends the requests.
        query: The visits to watch.
        prefetch: The pages to prefetch.

    """

    def __init__(self, executor: RequestExecutor, query: WatchQuery, prefetch: int) -> None:
        self._executor = executor
        self._query = query
        self._prefetch = prefetch
        self._decoder = ModelDecoder(executor, query.visits.endpoint)

    @property
    def max_search_rows(self) -> int:
        """The most rows of one search that the API returns."""
        return self._executor.max_search_rows

    def pager(self, window: DateWindow) -> Pager[WebVisit]:
        """Return the visits of some days."""
        return Pager(self._executor, self._query.visits, window=window).prefetch(self._prefetch)

    async def page(self, window: DateWindow, size: int, number: int) -> Page[WebVisit]:
        """Return one page of the visits of some days."""
        request = self._query.visits.undecoded.with_dates(window.start, window.end)
        return await self._decoder.decode(
            await self._executor.execute(request.with_params({"page[num]": number, "page[size]": size}))
        )

    @property
    def has_feed(self) -> bool:
        """True if only the visits of a custom feed are delivered."""
        return self._query.feed is not None

    async def companies(self, window: DateWindow) -> tuple[frozenset[str], ProblemLog]:
        """Return the ids of the companies of the custom feed that visited on some days, and the errors of others."""
        assert self._query.feed is not None
        companies = Pager(self._executor, self._query.feed, window=window).prefetch(self._prefetch)
        return await read_company_ids(companies.pages())


class RowCounter:
    """Counts the rows of some days while all their pages are read.

    Args:
        window: The days.
        max_search_rows: The most rows of one search that the API returns.

    """

    def __init__(self, window: DateWindow, max_search_rows: int) -> None:
        self._window = window
        self._max_search_rows = max_search_rows
        self._rows = 0
        self._total: int | None = None
        self._is_split = False
        self._starts = list[datetime]()

    def add(self, page: Page[WebVisit]) -> None:
        """Count a page."""
        self._rows += page.row_count
        self._is_split |= page.window not in {None, self._window}
        if page.meta.total_count is not None:
            self._total = page.meta.total_count
        starts = [visit.started_at for visit in page.items if visit.started_at is not None]
        if starts:
            self._starts = [*(self._starts or starts)[:1], starts[-1]]

    @property
    def count(self) -> int:
        """The count of the server, or the rows that it returned if the days were split or it counts too few."""
        if self._total is None or self._total >= self._max_search_rows or self._is_split:
            return self._rows
        return max(self._total, self._rows)

    @property
    def missing(self) -> int:
        """The rows that the server counts and did not return."""
        return max(0, self.count - self._rows)

    @property
    def newest_first(self) -> bool | None:
        """True if the newest rows came first. None if there are too few rows to tell."""
        return self._starts[0] > self._starts[-1] if len(set(self._starts)) > 1 else None
