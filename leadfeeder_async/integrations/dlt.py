"""A dlt source: visits, companies, tags and lists, into any warehouse that dlt knows; the extra ``dlt``.

dlt keeps the state, makes the tables and merges; this package reads fast and completely. Each resource opens its client
on dlt's own event loop, and all of them share one limit.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from typing import TypeAlias, TypeVar

import dlt
import msgspec
from dlt.extract import DltResource

from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.pagination.date_range import DateLike, parse_date
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import raise_at_end

__all__ = ["leadfeeder_source"]

T = TypeVar("T", bound=HasId)

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | datetime | None"
Row: TypeAlias = "dict[str, Json]"
Rows: TypeAlias = AsyncGenerator[list[Row], None]

KEY = ("account_id", "id")
"""What makes a row the same row: one dataset can hold several accounts."""


@dlt.source(name="leadfeeder")
def leadfeeder_source(
    account_id: str,
    start_date: DateLike = "2026-01-01",
    lookback_days: int = 3,
    api_key: str | None = None,
    base_url: str | None = None,
) -> Iterable[DltResource]:
    """Make the resources ``visits``, ``visitor_companies``, ``tags`` and ``lists`` of one account; all are free.

    ``pipeline.run(leadfeeder_source(account_id="310042"))``. The first run reads visits from ``start_date`` on, later
    ones from ``lookback_days`` before the newest visit that is there, since visits come late; rows are merged on
    (account_id, id), and the engagements of a visit become a child table. Tags and lists become what the server has.
    Arguments that are left out come from dlt's configuration, and the key from LEADFEEDER_API_KEY where dlt has none.
    """
    first, source = parse_date("start_date", start_date), _Source(account_id, api_key, base_url)
    return (
        _visits(source, first, lookback_days),
        _visitor_companies(source, first, lookback_days),
        _mirrored("tags", source.tags),
        _mirrored("lists", source.lists),
    )


def _visits(source: _Source, first: date, lookback_days: int) -> DltResource:
    newest = dlt.sources.incremental[datetime](
        "started_at", lag=lookback_days * 86_400.0, on_cursor_value_missing="include"
    )

    @dlt.resource(name="visits", primary_key=KEY, write_disposition="merge")
    async def visits(started: dlt.sources.incremental[datetime] = newest) -> Rows:
        since = first if started.start_value is None else max(first, started.start_value.date())
        async for page in source.rows(lambda lf: lf.web_visits.search(start_date=since, end_date=_today())):
            yield page

    return visits


def _visitor_companies(source: _Source, first: date, lookback_days: int) -> DltResource:
    @dlt.resource(name="visitor_companies", primary_key=KEY, write_disposition="merge")
    async def visitor_companies() -> Rows:
        state, until = dlt.current.resource_state(), _today()
        since = max(first, date.fromisoformat(state.get("last_day", str(first))) - timedelta(lookback_days))
        async for page in source.rows(
            lambda lf: lf.web_visits.companies(start_date=since, end_date=until, include=["company"])
        ):
            yield page
        state["last_day"] = str(until)

    return visitor_companies


def _mirrored(name: str, rows: Callable[[], Rows]) -> DltResource:
    @dlt.resource(name=name, merge_key="account_id", write_disposition="merge")
    async def mirrored() -> Rows:
        async for page in rows():
            yield page

    return mirrored


class _Source:
    """Opens clients of one account on the loop that asks, under one limit."""

    def __init__(self, account_id: str, api_key: str | None, base_url: str | None) -> None:
        self._account_id = account_id
        self._api_key = api_key
        self._base_url = base_url
        self._limited: tuple[asyncio.AbstractEventLoop, TokenBucket] | None = None
        """The loop of the latest run, and its limit."""

    async def rows(self, pager_of: Callable[[AsyncLeadfeeder], Pager[T]]) -> Rows:
        """Read a list, page by page."""
        account, key, url = self._account_id, self._api_key, self._base_url
        client = AsyncLeadfeeder(key, account_id=account, base_url=url, limiter=self._limiter())
        async with client as lf, aclosing(raise_at_end(pager_of(lf).raw_pages())) as pages:
            async for page in pages:
                yield [_flat(row, account) for row in page.items]

    def _limiter(self) -> TokenBucket:
        """Return the limit of this run: it belongs to a loop, and dlt makes a new one for each run of a source."""
        loop = asyncio.get_running_loop()
        if self._limited is None or self._limited[0] is not loop:
            self._limited = loop, TokenBucket()
        return self._limited[1]

    async def tags(self) -> Rows:
        """Read the tags."""
        async for page in self.rows(lambda lf: lf.tags.list()):
            yield page

    async def lists(self) -> Rows:
        """Read the lists of companies, then those of contacts."""
        async for page in self.rows(lambda lf: lf.lists.list(scope="company")):
            yield page
        async for page in self.rows(lambda lf: lf.lists.list(scope="contact")):
            yield page


def _flat(row: bytes, account_id: str) -> Row:
    """Put a record's attributes beside its id, and its relations' ids and attributes under their names.

    What makes the row the same row is nothing else, whatever attributes there are.
    """
    record: Row = msgspec.json.decode(row)
    attributes, related = record.get("attributes"), record.get("relationships")
    keys: Row = {"account_id": account_id, "id": record["id"]}
    flat: Row = dict(attributes) if isinstance(attributes, dict) else {}
    if isinstance(related, dict):
        flat.update({name: _related(one) for name, one in related.items()})
    if "started_at" in flat:
        flat["started_at"] = _moment(flat["started_at"])
    return {**keys, **flat, **keys}  # first in the table, and last to be set


def _moment(value: Json) -> datetime | None:
    """Read a time; None where it is none, since dlt ends where it cannot compare one with the newest."""
    try:
        moment = msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _related(value: Json) -> Json:
    """Show a related record as its id beside its attributes."""
    if isinstance(value, list):
        return [_related(one) for one in value]
    if not isinstance(value, dict) or "id" not in value:
        return value
    attributes = value.get("attributes")
    return {**(attributes if isinstance(attributes, dict) else {}), "id": value["id"]}


def _today() -> date:
    return datetime.now(UTC).date()
