"""Check the arguments of a watch, and make its watcher."""

from __future__ import annotations

from datetime import UTC, datetime, time

from leadfeeder_async._argument_checks import check_function, check_integer, check_positive, reject
from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.jobs.watch.state_store import StateJournal
from leadfeeder_async.jobs.watch.visit_reader import WatchQuery
from leadfeeder_async.jobs.watch.watcher import OnStatus, VisitWatcher, WatchOptions
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.date_range import DateLike, parse_days

MAX_INTERVAL = 86_400
"""The longest interval of a watch in seconds."""


def make_watcher(
    executor: RequestExecutor,
    visits: ApiRequest[Response[tuple[WebVisit, ...]]],
    feed: ApiRequest[Response[tuple[CompanyLocation, ...]]] | None,
    journal: StateJournal,
    *,
    every: float,
    since: DateLike,
    lookback_days: int,
    on_status: OnStatus | None,
    accounts: int = 1,
) -> VisitWatcher:
    """Return a watch of one account, or raise ConfigurationError for arguments that are out of range."""
    check_positive("every", every, "seconds")
    if not 1 <= every <= MAX_INTERVAL:
        reject("every", every, f"must be 1 to {MAX_INTERVAL:,} seconds.")
    check_integer("lookback_days", lookback_days, 0, 90)
    check_function("on_status", on_status)
    start = None if since == "now" else _parse_start(since)
    options = WatchOptions(
        every=every, since=start, lookback_days=lookback_days, on_status=on_status, accounts=accounts
    )
    return VisitWatcher(executor, WatchQuery(visits, feed), options, journal, executor.server_now)


def _parse_start(since: DateLike) -> datetime:
    """Return a time in UTC. A day means its start."""
    if isinstance(since, datetime):
        return since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
    try:
        if isinstance(since, str) and len(since) > len("YYYY-MM-DD"):
            return _parse_start(datetime.fromisoformat(since))
    except ValueError:
        raise ConfigurationError(
            f"since={since!r} is not a date or time.", hint="Write `now`, YYYY-MM-DD or an ISO time.", argument="since"
        ) from None
    return datetime.combine(parse_days("since", since, "since", since).start, time(), UTC)
