"""A server of visits in memory, on a virtual clock, for watches of many days."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import msgspec

from leadfeeder_async import (
    BadRequestError,
    ErrorContext,
    LeadfeederError,
    OffsetExceededError,
    ServerError,
    WatchStatus,
    WebVisit,
)
from leadfeeder_async._core.client_state import ClientState
from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async._secret import Secret
from leadfeeder_async.jobs.watch.multi_account_watch import MultiAccountWatch
from leadfeeder_async.jobs.watch.state_store import WatchStore, make_account_journals, make_journal
from leadfeeder_async.jobs.watch.visit_reader import WatchQuery
from leadfeeder_async.jobs.watch.watcher import VisitWatcher, WatchOptions
from leadfeeder_async.resources.web_visits import RETRIEVE_VISITOR_COMPANIES, search_request
from leadfeeder_async.settings import CredentialSource, Options, Settings
from tests.support.clock import VirtualLoop

EPOCH = datetime(2026, 3, 1, 12, tzinfo=UTC)

ONE_DAY = timedelta(1)

Row = tuple[datetime, int, str]
"""The start of a visit, a random number that orders ties, and its id."""


class VisitServer(RequestExecutor):
    """Executes the requests of a watch against visits in memory."""

    def __init__(self, loop: VirtualLoop, account_id: str = "1") -> None:
        settings = Settings(credential=CredentialSource(kind="api_key", secret=Secret("k")))
        super().__init__(ClientState(settings), Options(account_id=account_id))
        self.loop = loop
        self.started = loop.now
        self.offset = timedelta(0)
        """How wrong the clock of the watch is."""
        self.days = dict[date, list[Row]]()
        self.times = dict[str, str]()
        """The times of visits whose times are not those of their days."""
        self.events = list[tuple[datetime, Callable[[], None]]]()
        """Changes that happen at a time, in order."""
        self.requests = 0
        self.sizes = list[int]()
        """The page size of each request."""
        self.error: LeadfeederError | None = None
        self.newest_first = False
        self.row_limit = 10_000
        self.caps_count = False
        self.hidden = 0
        """Visits that are counted but not returned yet."""
        self.used, self.quota = 0, 100_000
        self.feed = set[str]()
        self.feed_by_days = False
        """Return only companies with visits on the requested days."""
        self.zone = timedelta(0)
        """The time of the account's days ahead of UTC."""
        self.rejects_future: timedelta | None = None
        """The time of the account ahead of UTC, if days after its today are rejected."""
        self.fails_at_page = 0
        """The number of the page that fails, or 0."""
        self.failing_searches = 0
        """The number of requests for pages of visits that fail."""
        self.bad_companies = 0
        """The number of requests for companies in which the row of company c1 cannot be decoded."""

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=self.loop.now - self.started)

    def clock(self) -> datetime:
        return self.now() + self.offset

    def add(self, visit_id: str, start: datetime | None = None, tie: int = 0) -> None:
        row = (start or self.now(), tie, visit_id)
        insort(self.days.setdefault(row[0].date(), []), row)

    def remove(self, row: Row) -> None:
        rows = self.days.get(row[0].date(), [])
        index = bisect_left(rows, row)
        if index < len(rows) and rows[index] == row:
            del rows[index]

    def at(self, when: datetime, change: Callable[[], None]) -> None:
        insort(self.events, (when, change), key=lambda event: event[0])

    def advance(self) -> None:
        while self.events and self.events[0][0] <= self.now():
            self.events.pop(0)[1]()

    async def resolve_account_id(self) -> str:
        return str(self.options.account_id)

    @property
    def max_search_rows(self) -> int:
        return self.row_limit

    def monthly_usage(self) -> tuple[int, int]:
        return self.used, self.quota

    async def execute(self, request: ApiRequest[Any]) -> Any:
        self.advance()
        self.requests += 1
        if self.error is not None:
            raise self.error
        if request.endpoint.operation == "retrieve_visitor_companies":
            feed = self.feed
            if self.feed_by_days:
                days = (str(request.params["start_date"]), str(request.params["end_date"]))
                found = [row for day in self.days if days[0] <= day.isoformat() <= days[1] for row in self.days[day]]
                feed = feed & {f"c{tie % 5}" for _, tie, _ in found}
            rows: list[Any] = [{"id": f"{one}-1", "relationships": {"company": {"id": one}}} for one in sorted(feed)]
            if self.bad_companies:
                self.bad_companies, rows = self.bad_companies - 1, [7 if row["id"] == "c1-1" else row for row in rows]
            return msgspec.json.encode({"data": rows, "meta": {"pagination": {"total_count": len(rows)}}})
        if request.params["page[num]"] == self.fails_at_page:
            raise ServerError("down", ErrorContext(status=503))
        if request.params["page[size]"] != 1 and self.failing_searches:
            self.failing_searches -= 1
            raise ServerError("down", ErrorContext(status=503))
        body = msgspec.json.decode(request.body or b"{}")
        if self.rejects_future is not None and body["end_date"] > f"{self.now() + self.rejects_future:%Y-%m-%d}":
            raise BadRequestError("400 end_date_in_future", ErrorContext(status=400))
        number, size = int(str(request.params["page[num]"])), int(str(request.params["page[size]"]))
        self.sizes.append(size)
        return self.search(date.fromisoformat(body["start_date"]), date.fromisoformat(body["end_date"]), number, size)

    def search(self, start: date, end: date, number: int, size: int) -> bytes:
        if number * size > self.row_limit:
            raise OffsetExceededError("416")
        near = [day for day in sorted(self.days) if start - ONE_DAY <= day <= end + ONE_DAY]
        found = [row for day in near for row in self.days[day] if start <= (row[0] + self.zone).date() <= end]
        if self.newest_first:
            found.reverse()
        rows = [
            {
                "id": visit_id,
                "attributes": {"started_at": self.times.get(visit_id, begin.isoformat())},
                "relationships": {"company": {"id": f"c{tie % 5}"}},
            }
            for begin, tie, visit_id in found[(number - 1) * size : number * size]
        ]
        count = min(len(found), self.row_limit) if self.caps_count else len(found) + self.hidden
        meta = {"pagination": {"page_num": number, "page_count": -(-count // size), "total_count": count}}
        return msgspec.json.encode({"data": rows, "meta": meta})

    def watcher(
        self,
        *,
        every: float = 300,
        since: datetime | None = None,
        state: Path | WatchStore | None = None,
        lookback_days: int = 3,
        company_id: str | None = None,
        feed: bool = False,
        on_status: Callable[[WatchStatus], None] | None = None,
        accounts: int = 1,
    ) -> VisitWatcher:
        """Return the watch of this account."""
        visits = search_request(company_id, None, None, None, None)
        companies = ApiRequest(RETRIEVE_VISITOR_COMPANIES, params={"custom_feed_id": "6001"}) if feed else None
        options = WatchOptions(
            every=every,
            since=since or self.clock(),
            lookback_days=lookback_days,
            on_status=on_status,
            accounts=accounts,
        )
        return VisitWatcher(self, WatchQuery(visits, companies), options, make_journal(state), self.clock)

    def watch(self, **options: Any) -> Any:
        """Return the visits of a watch, as ``lf.web_visits.watch`` does."""
        return self.watcher(**options).visits()


def watch_servers(servers: Sequence[VisitServer], directory: Path | None = None, **options: Any) -> Any:
    """Return the visits of several accounts, as ``lf.watch_accounts`` does."""
    ids = [str(server.options.account_id) for server in servers]
    journals = make_account_journals(directory, ids)
    watchers = dict[str, VisitWatcher]()
    for account_id, server in zip(ids, servers, strict=True):
        watchers[account_id] = server.watcher(accounts=len(servers), **options)
        watchers[account_id]._journal = journals[account_id]
    return MultiAccountWatch(watchers).visits()


class MemoryStore:
    """A store of the caller, as a key in Redis would be."""

    def __init__(self) -> None:
        self.data: bytes | None = None
        self.saves = 0

    async def load(self) -> bytes | None:
        return self.data

    async def save(self, data: bytes) -> None:
        self.data = data
        self.saves += 1


def start_of(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def ids(visits: list[WebVisit]) -> list[str]:
    return [visit.id for visit in visits]
