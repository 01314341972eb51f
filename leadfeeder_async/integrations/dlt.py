"""A dlt source that loads visits, companies, tags and lists into any destination of dlt. Needs the extra ``dlt``.

dlt stores the state, creates the tables and merges the rows. Each resource opens its own client on dlt's event loop,
and all of them share one rate limit.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from math import isfinite
from typing import TypeAlias, TypeVar

import dlt
import msgspec
from dlt.common.normalizers.naming.snake_case import NamingConvention
from dlt.common.typing import TSecretStrValue
from dlt.extract import DltResource

from leadfeeder_async._argument_checks import check_integer
from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async._core.rate_limit import TokenBucket
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import DecodeError
from leadfeeder_async.jobs.row_cells import decode_row
from leadfeeder_async.models.columns import Json
from leadfeeder_async.pagination.date_range import DateLike, parse_date, utc_today
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.dedupe import SEPARATOR, id_text, row_id, row_identity
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import ProblemLog
from leadfeeder_async.settings import find_api_key

__all__ = ["leadfeeder_source"]

T = TypeVar("T", bound=HasId)

Column: TypeAlias = "dict[str, Column] | list[Column] | str | int | float | bool | datetime | None"
Row: TypeAlias = "dict[str, Column]"
Rows: TypeAlias = AsyncGenerator[list[Row], None]

KEY = ("account_id", "id")
"""The primary key. It contains the account, because a dataset can hold several accounts."""

VISITOR_KEY = ("account_id", "row_key")
"""The primary key of visitor companies. Several of them may have the same id."""

MAX_LOOKBACK_DAYS = 3_660
"""The largest ``lookback_days``, ten years."""


@dlt.source(name="leadfeeder")
def leadfeeder_source(
    account_id: str,
    start_date: DateLike = "2026-01-01",
    lookback_days: int = 3,
    api_key: TSecretStrValue | None = None,  # dlt keeps values of this type out of its traces
    base_url: str | None = None,
    *,
    trust_env: bool | None = None,
) -> Iterable[DltResource]:
    """Return the dlt resources ``visits``, ``visitor_companies``, ``tags`` and ``lists`` of one account.

    ``pipeline.run(leadfeeder_source(account_id="310042"))``

    Rows are merged by account and id, and visitor companies by their company and location too. The engagements of a
    visit become a child table. Tags and lists that were deleted on the server are deleted in the destination too.
    Arguments that are left out can come from dlt's configuration.

    Args:
        account_id: The account to load.
        start_date: The first day of visits to load, as a date or ``YYYY-MM-DD``. Defaults to 2026-01-01.
        lookback_days: Days before the newest loaded visit that each later run reads again, because visits can arrive
            late. Defaults to 3.
        api_key: The API key. Defaults to dlt's configuration, then to LEADFEEDER_API_KEY.
        base_url: The URL of the API. Defaults to LEADFEEDER_BASE_URL, then to https://api.leadfeeder.com.
        trust_env: Use the proxy and the certificates of the environment. Defaults to LEADFEEDER_TRUST_ENV, then to
            False.

    Returns:
        Four dlt resources.

    Raises:
        ConfigurationError: ``start_date`` is not a date, or ``lookback_days`` is not from 0 to 3,660.

    Credits:
        None.

    """
    try:
        source = _Source(account_id, api_key, base_url, trust_env=trust_env)
    finally:
        api_key = None  # a traceback with locals would show it
    first = parse_date("start_date", start_date)
    check_integer("lookback_days", lookback_days, 0, MAX_LOOKBACK_DAYS)
    return (
        _visits(source, first, lookback_days),
        _visitor_companies(source, first, lookback_days),
        _replaced("tags", source.tags),
        _replaced("lists", source.lists),
    )


def _visits(source: _Source, first: date, lookback_days: int) -> DltResource:
    @dlt.resource(name="visits", primary_key=KEY, write_disposition="merge")
    async def visits() -> Rows:
        state, today = _account_state(source), utc_today()
        since, newest = _since(state, first, lookback_days), state.get("last_day", str(first))
        async for page in source.rows(lambda lf: lf.web_visits.search(start_date=since, end_date=today)):
            days = [str(row["started_at"])[:10] for row in page if row.get("started_at")]
            newest = max([newest, *days])
            yield page
        state["last_day"] = min(newest, str(source.server_today()))  # a visit may be dated in the future

    return visits


def _visitor_companies(source: _Source, first: date, lookback_days: int) -> DltResource:
    @dlt.resource(name="visitor_companies", primary_key=VISITOR_KEY, write_disposition="merge")
    async def visitor_companies() -> Rows:
        state, until = _account_state(source), utc_today()
        since = _since(state, first, lookback_days)
        async for page in source.rows(
            lambda lf: lf.web_visits.companies(start_date=since, end_date=until, include=["company"]), has_row_key=True
        ):
            yield page
        state["last_day"] = str(min(until, source.server_today()))  # this clock may be ahead

    return visitor_companies


def _account_state(source: _Source) -> dict[str, str]:
    """Return the state of the running resource for one account, because a pipeline may load several accounts."""
    state: dict[str, str] = dlt.current.resource_state().setdefault(source.account_id, {})
    return state


def _since(state: dict[str, str], first: date, lookback_days: int) -> date:
    """Return the first day to read: some days before the last one that was loaded."""
    last_day = min(date.fromisoformat(state.get("last_day", str(first))), max(first, utc_today()))
    return max(first, last_day - timedelta(lookback_days))


def _replaced(name: str, rows: Callable[[], Rows]) -> DltResource:
    @dlt.resource(name=name, merge_key="account_id", write_disposition="merge")
    async def replaced() -> Rows:
        async for page in rows():
            yield page

    return replaced


class _Source:
    """Opens clients of one account on the current event loop, with one rate limit."""

    def __init__(self, account_id: str, api_key: str | None, base_url: str | None, *, trust_env: bool | None) -> None:
        self.account_id = account_id
        try:
            self._secret = None if api_key is None else find_api_key(api_key)
        finally:
            api_key = None
        self._base_url = base_url
        self._trust_env = trust_env
        self._server_now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._limiter: tuple[asyncio.AbstractEventLoop, TokenBucket] | None = None
        """The event loop of the latest run and its rate limiter."""

    async def rows(self, pager_of: Callable[[AsyncLeadfeeder], Pager[T]], *, has_row_key: bool = False) -> Rows:
        """Read a list page by page.

        Args:
            pager_of: Returns the list.
            has_row_key: Add the column ``row_key``, which tells rows with the same id apart.
        """
        account, url, limiter = self.account_id, self._base_url, self._limiter_of_run()
        key = None if self._secret is None else self._secret.reveal()
        try:
            client = AsyncLeadfeeder(key, account_id=account, base_url=url, limiter=limiter, trust_env=self._trust_env)
        finally:
            key = None
        problems = ProblemLog()
        async with client as lf, aclosing(pager_of(lf).raw_pages()) as pages:
            async for page in pages:
                problems.add(page)
                rows = [
                    row
                    for row in (_flat(row, account, has_row_key=has_row_key) for row in page.items)
                    if row is not None
                ]
                problems.extend([_NO_ID] * (len(page.items) - len(rows)), len(page.items) - len(rows))
                yield rows
            self._server_now = lf.server_now
        problems.raise_any()

    def server_today(self) -> date:
        """Return the current day by the server's clock, or by that of this machine before the first response."""
        return self._server_now().date()

    def _limiter_of_run(self) -> TokenBucket:
        """Return the rate limiter of this run. It belongs to an event loop, and dlt creates one for each run."""
        loop = asyncio.get_running_loop()
        if self._limiter is None or self._limiter[0] is not loop:
            self._limiter = loop, TokenBucket()
        return self._limiter[1]

    async def tags(self) -> Rows:
        """Read the tags."""
        async for page in self.rows(lambda lf: lf.tags.list()):
            yield page

    async def lists(self) -> Rows:
        """Read the lists of companies, then the lists of contacts."""
        async for page in self.rows(lambda lf: lf.lists.list(scope="company")):
            yield page
        async for page in self.rows(lambda lf: lf.lists.list(scope="contact")):
            yield page


_NO_ID = DecodeError("A row has no id, so it cannot be loaded.")


def _flat(row: bytes, account_id: str, *, has_row_key: bool) -> Row | None:
    """Return the columns of a record: its keys, its attributes, and its related records by name.

    Return None for a row that is not an object with an id.
    """
    found, record = row_id(row), decode_row(row)
    if found is None or not isinstance(record, dict):
        return None
    attributes, relationships = record.get("attributes"), record.get("relationships")
    keys: Row = {"account_id": account_id, "id": found}
    if has_row_key:
        keys["row_key"] = msgspec.json.encode((row_identity(row) or found).split(SEPARATOR)).decode()
    loadable = _loadable(attributes)
    flat: Row = loadable if isinstance(loadable, dict) else {}
    if isinstance(relationships, dict):
        flat.update({_column_name(name): _related(_loadable(value)) for name, value in relationships.items()})
    if "started_at" in flat:
        flat["started_at"] = _timestamp(flat["started_at"])
    others = {name: value for name, value in flat.items() if _normalized(name) not in keys}
    return keys | others  # an attribute with the name of a key would replace it


_NUMBERS = frozenset(
    {"earnings", "match_score", "net_worth", "revenue", "score", "time_on_page", "value", "value_eur", "visit_length"}
)
"""Fields that are numbers with fractions. Servers write some as integers, from which dlt would infer another column."""

_INTEGERS = frozenset({"color", "employee_count", "founded_year", "item_count", "num_contacts", "page_depth", "year"})
"""Fields that are integers, which some servers write with a fraction of zero or as texts."""

_TEXTS = frozenset({"confidence_score", "employee_range"})
"""Fields that are texts, which some servers write as numbers."""


def _loadable(value: Json, name: str = "") -> Column:
    """Return a value of the same type in each row, so that dlt loads all values of a field into one column.

    Numbers that no destination can store become strings in a column of their own, because dlt would convert them to the
    type of the other values. A time that is outside the calendar in UTC, and a text such as ``NaN`` in place of a
    number, becomes None. dlt would convert these texts, and fail in each run.
    """
    if isinstance(value, msgspec.Raw):
        return _loadable_raw(value, name)
    if isinstance(value, dict):
        loadable = {key: _loadable(inner, key) for key, inner in value.items()}
        return {
            f"{_column_name(key)}__v_text" if _is_oversized(value[key], inner, key) else _column_name(key): inner
            for key, inner in loadable.items()
        }
    if isinstance(value, list):
        return [_loadable(inner) for inner in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _loadable_number(value, name)
    return _loadable_text(value, name) if isinstance(value, str) else value


def _loadable_text(text: str, name: str) -> Column:
    if _exceeds_calendar(text):
        return None
    if name not in _NUMBERS | _INTEGERS or len(text) > _MAX_NUMBER_CHARS:
        return text
    try:
        number = int(text) if name in _INTEGERS and _WHOLE_NUMBER.fullmatch(text) else float(text)
    except ValueError:
        return text
    return _loadable_number(number, name) if isfinite(number) else None


_WHOLE_NUMBER = re.compile(r"\s*[-+]?\d+\s*")
_MAX_NUMBER_CHARS = 100


def _is_oversized(value: Json, loadable: Column, name: str) -> bool:
    """Return True if a number is loaded as text because no destination can store it."""
    if not isinstance(loadable, str) or name in _TEXTS:
        return False
    is_integer = name in _INTEGERS and isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) is not None
    return is_integer or loadable != value


def _loadable_raw(number: msgspec.Raw, name: str) -> Column:
    """Return a number of a row in which one is outside the range of Python's numbers. That one is returned as text."""
    try:
        return _loadable_number(msgspec.json.decode(number, type=int | float), name)
    except UNREADABLE:
        return bytes(number).decode()


def _fits_64_bits(number: int) -> bool:
    return -(2**63) <= number < 2**63


def _column_name(key: str) -> str:
    """Return the name of a column. dlt fails in each run if a name is one of its own, such as ``_dlt_parent_id``.

    It does so too if a name has no letter and no digit, such as ``__`` or an empty one.
    """
    name = re.sub(r"[\W_]+", "_", key).lower()
    return f"attribute_{key.strip('_')}" if name in {"", "_"} or name.startswith("_dlt") else key


@lru_cache(maxsize=1_000)
def _normalized(name: str) -> str:
    """Return the name that dlt gives to a column by default."""
    return NamingConvention().normalize_identifier(name)


def _loadable_number(value: float, name: str) -> Column:
    if name in _TEXTS:
        return str(value)
    if name in _NUMBERS and abs(value) <= sys.float_info.max:
        return float(value)
    if name in _INTEGERS and isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value) if isinstance(value, int) and not _fits_64_bits(value) else value


def _timestamp(value: Column) -> datetime | None:
    """Return a time, or None if the value is invalid. dlt would fail to compare an invalid time with the newest one."""
    try:
        timestamp = msgspec.convert(value, datetime, strict=False)
    except UNREADABLE:
        return None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)


def _exceeds_calendar(text: str) -> bool:
    """Return True for a time near the year 1 or 9999 that no date has in UTC."""
    if text[:4] not in {"0001", "9999"} or len(text) > _MAX_TIME_CHARS:
        return False
    try:
        timestamp = datetime.fromisoformat(text)
        if timestamp.tzinfo is not None:
            timestamp.astimezone(UTC)
    except ValueError:
        return False
    except OverflowError:
        return True
    return False


_MAX_TIME_CHARS = 40
"""Characters of a time with its fraction and its time zone."""


def _related(value: Column) -> Column:
    """Return a related record as one dict of its attributes and its id."""
    if isinstance(value, list):
        return [_related(record) for record in value]
    if not isinstance(value, dict):
        return _id_as_text(value)  # some servers send only the id
    if "id" not in value:
        return value
    attributes = value.get("attributes")
    named = attributes.items() if isinstance(attributes, dict) else ()
    return {**{name: item for name, item in named if _normalized(name) != "id"}, "id": _id_as_text(value["id"])}


def _id_as_text(value: Column) -> Column:
    return id_text(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
