"""Lists of any length: one object to iterate, count, collect or export, whatever the pagination style."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Self, TypeAlias, TypeVar, get_args

import msgspec
from msgspec.structs import asdict, replace

from leadfeeder_async._argument_checks import (
    check_boolean,
    check_function,
    check_integer,
    check_list,
    check_path,
    check_strings,
    check_type,
    reject,
)
from leadfeeder_async._core.endpoint import ApiRequest, PaginationStyle
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import LeadfeederError, OffsetExceededError, check_argument
from leadfeeder_async.models.columns import columns_of
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.cursor import CursorSource
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.decoders import HasId, ModelDecoder, RawDecoder
from leadfeeder_async.pagination.dedupe import SEPARATOR, row_id, row_identity
from leadfeeder_async.pagination.id_batches import IdBatchSource
from leadfeeder_async.pagination.newest_first import newest_first
from leadfeeder_async.pagination.numbered import DateWindowSource, NumberedSource
from leadfeeder_async.pagination.page import Page, PageDecoder, ResumePosition, RowFilter
from leadfeeder_async.pagination.problems import raise_at_end
from leadfeeder_async.pagination.single_page import SinglePageSource
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE, PagerOptions
from leadfeeder_async.types import CsvDialect, Stats, VisitOrder

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl

    from leadfeeder_async.jobs.frames import FrameFactory
    from leadfeeder_async.jobs.progress import OnProgress, Progress

T = TypeVar("T", bound=HasId)
U = TypeVar("U")
F = TypeVar("F")

PageSource: TypeAlias = CursorSource | IdBatchSource | DateWindowSource | NumberedSource | SinglePageSource
"""Reads the pages of one list. It is chosen once, when the pager is created."""


_AMBIGUOUS_IDS = "Several rows of this list may have the same id, so ids do not tell which rows to leave out."
_ROWS_HINT = "Pass the rows instead of their ids, or no rows, and leave out repeated rows yourself."


class Pager(Generic[T]):
    """A list that is requested while it is read.

    Nothing is sent before the first row is needed, and each iteration starts again. A row is left out if an earlier one
    had the same id and, for signals and visitor companies, the same company and location. Numbered pages are
    prefetched, up to 16, and arrive in order. Cursor lists are prefetched by one page. A date range over the API's row
    limit of 10,000 is split into smaller ones. Leaving a loop cancels the requests in flight.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        request: ApiRequest[Response[tuple[T, ...]]],
        *,
        window: DateWindow | None = None,
        source: PageSource | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        split_days: bool = True,
        row_filters: tuple[RowFilter, ...] = (),
        days: DateWindow | None = None,
        order: VisitOrder = "oldest",
    ) -> None:
        check_integer("page_size", page_size, 1, MAX_PAGE_SIZE)
        check_boolean("split_days", split_days)
        if order not in ("oldest", "newest"):
            reject("order", order, "must be oldest or newest.")
        if limit is not None:
            check_integer("limit", limit, 0)
        self._executor = executor
        self._request = request
        self._source: PageSource = source or _choose_source(executor, request.undecoded, window, days)
        self._options = PagerOptions(page_size=page_size, limit=limit, split_days=split_days)
        self._row_filters = row_filters
        self._days = days or window  # as the caller counts them
        self._order = order

    def __repr__(self) -> str:
        return (
            f"<Pager {' '.join(part for part in (self._request.endpoint.operation, self._source.describe()) if part)}>"
        )

    def __aiter__(self) -> AsyncGenerator[T, None]:  # noqa: PYI058 - the generator's aclose is part of the promise
        """Iterate over the rows."""
        return self._items()

    if not TYPE_CHECKING:  # type checkers report these mistakes by themselves

        def __await__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} is not awaitable. Use `async for`, or `await pager.collect()`.")

        def __iter__(self) -> NoReturn:
            raise TypeError(f"{type(self).__name__} is not iterable. Use `async for`, or `await pager.collect()`.")

        def __getitem__(self, index: object) -> NoReturn:
            name = type(self).__name__
            raise TypeError(
                f"{name} has no item {index!r}. Use `await pager.first()`, or index `await pager.collect()`."
            )

        def __len__(self) -> NoReturn:
            raise TypeError(
                f"{type(self).__name__} has no length. Use `await pager.count()`, or `len(await pager.collect())`."
            )

        def __bool__(self) -> NoReturn:
            raise TypeError(
                f"{type(self).__name__} is neither true nor false. To check if it is empty, use `await pager.first()`."
            )

    async def _items(self) -> AsyncGenerator[T, None]:
        async with aclosing(raise_at_end(self.pages())) as pages:
            async for page in pages:
                for item in page.items:
                    yield item
                del page  # so that the next page can use its memory

    @property
    def record_type(self) -> type[T]:
        """The model of the rows."""
        model: type[T] = get_args(get_args(self._request.endpoint.response_type)[0])[0]
        return model

    def pages(self) -> AsyncGenerator[Page[T], None]:
        """Iterate over the pages.

        Undecodable rows, days over the row limit and other missing rows are reported in ``page.problems``. This
        iterator does not raise for them.
        """
        decoder = ModelDecoder(self._executor, self._request.endpoint)
        return self._apply_limit(_without_tracebacks(self._read(decoder)))

    def raw_pages(self) -> AsyncGenerator[Page[bytes], None]:
        """Iterate over pages whose items are JSON, on one line and without ``data`` wrappers around related records."""
        return _detach_rows(self._raw_views())

    def batches(self, size: int) -> AsyncGenerator[list[T], None]:
        """Iterate over lists of ``size`` rows. The last one may be shorter.

        Args:
            size: Rows per list.

        Raises:
            IncompleteListError: Some rows could not be read. All others were returned before.
            IncompleteWindowError: One day contains more rows than the API returns.

        """
        return self._batches(check_integer("size", size, 1))

    async def _batches(self, size: int) -> AsyncGenerator[list[T], None]:
        batch = list[T]()
        failure: LeadfeederError | None = None
        async with aclosing(raise_at_end(self.pages())) as pages:
            try:
                async for page in pages:
                    batch.extend(page.items)
                    del page
                    end = len(batch) - len(batch) % size
                    for start in range(0, end, size):
                        yield batch[start : start + size]
                    del batch[:end]
            except LeadfeederError as error:
                failure = error
        if batch:
            yield batch  # also before an error, because its rows may have been charged
        if failure is not None:
            raise failure

    def resume_from(self, position: ResumePosition, exclude_ids: Iterable[str | T] = ()) -> Self:
        """Return the rest of this list after the position of a page, to continue an interrupted iteration.

        Args:
            position: The ``position`` of the last page that was processed.
            exclude_ids: The rows that must not be returned again, or their ids. A date range that was being read is
                read again from its start. For signals and visitor companies, pass the rows, because several of them
                may have the same id.

        Raises:
            ConfigurationError: The position is after the end of this list's date range, or several rows of this list
                may have the same id and ids were passed instead of rows.

        """
        check_type("position", position, ResumePosition, "a ResumePosition", "Pass `page.position` of the last page.")
        if position.day is not None and isinstance(self._source, DateWindowSource):
            window = self._source.window
            check_argument(
                position.day <= window.end,
                f"The position is at {position.day}, after the last day of this list ({window}).",
                "Pass a position of the same list.",
                argument="position",
            )
        ids = [self._id_to_exclude(value) for value in check_list("exclude_ids", exclude_ids)]
        return self._variant(position=position, exclude_ids=frozenset(check_strings("exclude_ids", ids)))

    def _id_to_exclude(self, value: object) -> object:
        """Return the id of a row, or its identity if several rows may have the same id. Other values are unchanged.

        A row without an id cannot be recognized, so the result is empty.
        """
        shares_ids = self._request.endpoint.shares_ids
        if not isinstance(value, msgspec.Struct):
            is_ambiguous = shares_ids and isinstance(value, str) and SEPARATOR not in value
            check_argument(not is_ambiguous, _AMBIGUOUS_IDS, _ROWS_HINT, argument="exclude_ids")
            return value
        identify = row_identity if shares_ids else row_id
        return identify(msgspec.json.encode(value)) or ""

    def prefetch(self, pages: int) -> Self:
        """Return the same list, read with at most ``pages`` pages in flight or waiting.

        Args:
            pages: The number of pages. A list without this call prefetches 16. 0 requests each page when it is needed.
                A cursor list prefetches at most one page, and none if it may charge.

        """
        check_integer("pages", pages, 0)
        return self._variant(prefetch=pages)

    async def to_file(
        self,
        path: Path | str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        csv_dialect: CsvDialect = "plain",
        fields: Iterable[str] | None = None,
        on_progress: OnProgress | None = None,
    ) -> Progress:
        """Export the list to a file: JSON lines as the API sent them, or a table if it ends in .csv or .parquet.

        Until the export is complete, the file has the suffix ``.part`` and a checkpoint beside it.

        Args:
            path: The file to write.
            resume: Continue an interrupted export of the same query. No row is lost or duplicated.
            overwrite: Replace a file that exists.
            csv_dialect: ``"excel"`` writes a .csv file that Excel opens by a double-click: with a byte order mark, the
                list separator of this computer's region, and an apostrophe before text that Excel would run as a
                formula. ``"plain"`` writes UTF-8 with commas and unchanged text.
            fields: The names of the columns to write, in this order, such as ``["id", "company.name"]``. JSON lines
                then have these keys. None writes all columns, and JSON lines as the API sent them.
            on_progress: Called with a ``Progress`` after each page. It must not block.

        Returns:
            The final progress.

        Raises:
            CheckpointError: The file exists, is being written, or belongs to another query. Nothing was sent.
            ConfigurationError: The suffix belongs to another format, parquet cannot be written, or a field is unknown.
            IncompleteListError: Some rows could not be read. All others are in the ``.part`` file, and resuming
                finishes the file without the missing rows.
            IncompleteWindowError: One day contains more rows than the API returns. Resuming works as above.

        Credits:
            The same as iterating over the list.

        """
        target = check_path("path", path)
        check_boolean("resume", resume)
        check_boolean("overwrite", overwrite)
        check_function("on_progress", on_progress)
        from leadfeeder_async.jobs.export import ExportJob, export_file  # imported only if files are written
        from leadfeeder_async.jobs.progress import ProgressTracker
        from leadfeeder_async.jobs.resumable_file import JobIdentity

        identity = JobIdentity(self._fingerprint(), self._description(), self._days)
        endpoint, limit = self._request.endpoint, self._options.limit
        stats = Stats()
        remaining = self._with_stats(stats)._remaining  # noqa: SLF001 - a copy of its own
        job = ExportJob(
            identity,
            self._account_id,
            remaining,
            self.record_type,
            limit,
            endpoint.partitioned_by_day,
            row_identity if endpoint.shares_ids else row_id,
            may_charge=endpoint.is_billed,
            is_sorted=self._order == "newest",
        )
        tracker = ProgressTracker(stats, limit)
        return await export_file(
            job,
            target,
            tracker,
            on_progress,
            resume=resume,
            overwrite=overwrite,
            csv_dialect=csv_dialect,
            fields=fields,
        )

    async def to_polars(self, *, fields: Iterable[str] | None = None) -> pl.DataFrame:
        """Return all rows as a polars DataFrame, with the columns of :meth:`to_file`.

        ``frame = await lf.web_visits.search(start_date=..., end_date=..., include=["company"]).to_polars()``

        The columns and their types do not depend on the rows, so an empty list has them too. Rows are converted while
        the list is read.

        Args:
            fields: The names of the columns, in this order. None returns all columns.

        Returns:
            The frame. Times have the time zone UTC. Lists and open objects are JSON strings.

        Raises:
            ConfigurationError: polars is not installed, or a field is unknown. Nothing was sent.
            IncompleteListError: Some rows could not be read.
            IncompleteWindowError: One day contains more rows than the API returns.

        Credits:
            The same as iterating over the list.

        """
        from leadfeeder_async.jobs.frames import PolarsFrame  # imported only if frames are made

        return await self._to_frame(PolarsFrame, fields)

    async def to_pandas(self, *, fields: Iterable[str] | None = None) -> pd.DataFrame:
        """Return all rows as a pandas DataFrame, with the columns of :meth:`to_file`.

        ``frame = await lf.web_visits.search(start_date=..., end_date=..., include=["company"]).to_pandas()``

        The columns and their types do not depend on the rows, so an empty list has them too. Rows are converted while
        the list is read.

        Args:
            fields: The names of the columns, in this order. None returns all columns.

        Returns:
            The frame. All types have missing values: ``string``, ``Int64``, ``Float64``, ``boolean`` and
            ``datetime64``. Times have the time zone UTC, and dates are times without one.

        Raises:
            ConfigurationError: pandas is not installed, or a field is unknown. Nothing was sent.
            IncompleteListError: Some rows could not be read.
            IncompleteWindowError: One day contains more rows than the API returns.

        Credits:
            The same as iterating over the list.

        """
        from leadfeeder_async.jobs.frames import PandasFrame  # imported only if frames are made

        return await self._to_frame(PandasFrame, fields)

    async def _to_frame(self, kind: FrameFactory[F], fields: Iterable[str] | None) -> F:
        from leadfeeder_async.jobs.tabular import pick_columns

        frame = kind(pick_columns(columns_of(self.record_type), fields))
        async with aclosing(raise_at_end(self.pages())) as pages:
            async for page in pages:
                await frame.add(page.items)
                del page
        return await frame.finish()

    async def first(self) -> T | None:
        """Return the first row. No more pages or ids are requested than needed.

        Returns:
            The row, or None if the list is empty.

        Raises:
            IncompleteListError: No row could be read.

        Credits:
            Those of one page or one id, if the list charges.

        """
        async with aclosing(raise_at_end(self._with_limit(1).pages())) as pages:
            async for page in pages:
                if page.items:
                    return page.items[0]
        return None

    async def collect(self, limit: int | None = None) -> list[T]:
        """Return all rows as a list.

        If an error is raised, no rows are returned. To keep the rows of a list that charges, iterate or use
        :meth:`to_file`.

        Args:
            limit: The most rows to return. None returns all rows, up to the ``limit`` of the list. A list by id never
                has more ids in flight than rows are still wanted.

        Returns:
            The rows.

        Raises:
            IncompleteListError: Some rows could not be read.
            IncompleteWindowError: One day contains more rows than the API returns.

        """
        pager = self if limit is None else self._with_limit(limit)
        async with aclosing(raise_at_end(pager.pages())) as pages:
            return [item async for page in pages for item in page.items]

    async def count(self) -> int | None:
        """Return the number of rows that the server counts. The ``limit`` of the list is ignored.

        Returns:
            The number. None for lists of ids, for lists that this package filters, and if the server reports no count.

        Credits:
            None, unless the operation charges. Then this request may charge too.
        """
        request = self._source.count_request(self._options)
        if request is None or self._row_filters:
            return None
        try:
            body = await self._executor.execute(request)
        except OffsetExceededError:  # some servers reject any page of a search with too many rows
            return None
        return (await self._executor.decode_page(self._request.endpoint, body)).meta.total_count

    def _with_limit(self, limit: int) -> Self:
        check_integer("limit", limit, 0)
        current = self._options.limit
        return self._with_options(limit=limit if current is None else min(limit, current))

    def _variant(self, **changes: object) -> Self:
        """Return a list for the caller, with a state of its own. Copies by ``_with_options`` share the state."""
        return self._with_options(**changes)

    def _with_options(self, **changes: object) -> Self:
        other = copy(self)
        other._options = replace(self._options, **changes)  # noqa: SLF001 - a copy of its own
        return other

    def _with_stats(self, stats: Stats) -> Self:
        """Return the same list, whose requests are also counted in ``stats``."""
        other = copy(self)
        other._executor = self._executor.with_stats(stats)  # noqa: SLF001 - a copy of its own
        other._source = replace(self._source, executor=other._executor)  # noqa: SLF001
        return other

    def _read(self, decoder: PageDecoder[U]) -> AsyncGenerator[Page[U], None]:
        options = replace(self._options, limit=None) if self._row_filters else self._options
        if self._order == "newest" and isinstance(self._source, DateWindowSource):
            pages = newest_first(self._source, decoder, options)
        else:
            pages = self._source.pages(decoder, options)
        for row_filter in self._row_filters:
            pages = row_filter.apply(pages)
        return pages

    def _raw_views(self) -> AsyncGenerator[Page[msgspec.Raw], None]:
        endpoint = self._request.endpoint.with_response_type(Response[tuple[msgspec.Raw, ...]])
        return self._apply_limit(_without_tracebacks(self._read(RawDecoder(self._executor, endpoint))))

    def _apply_limit(self, pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        limit = 0 if self._options.position.ended else self._options.limit
        return pages if limit is None else _limit_rows(pages, limit, self._options.position)

    def _remaining(
        self, position: ResumePosition | None, exclude_ids: frozenset[str], done: int
    ) -> AsyncGenerator[Page[msgspec.Raw], None]:
        limit = None if self._options.limit is None else max(0, self._options.limit - done)
        changes = {"limit": limit, "position": position or ResumePosition(), "exclude_ids": exclude_ids}
        return self._with_options(**changes)._raw_views()  # noqa: SLF001 - a copy of its own

    def _description(self) -> str:
        account_id = account_of(self)
        row_filters = [row_filter.description for row_filter in self._row_filters]
        order = "newest first" if self._order == "newest" else ""
        parts = (self._request.endpoint.operation, self._source.describe(), *row_filters, order)
        return ", ".join([*(part for part in parts if part), f"account {account_id or 'of the key'}"])

    async def _account_id(self) -> str | None:
        if not self._request.endpoint.names_account:
            return None
        return self._request.account_id or await self._executor.resolve_account_id()

    def _fingerprint(self) -> str:
        """Return a hash of everything that decides which rows the list contains."""
        request, source = self._request, self._source
        ids = source.ids if isinstance(source, IdBatchSource) else ()
        parts = (
            self._executor.base_url,
            self._description(),
            sorted(request.params.items()),
            request.path_params,
            request.body,
            ids,
        )
        return sha256(msgspec.json.encode(parts)).hexdigest()


def account_of(pager: Pager[T]) -> str | None:
    """Return the account of a list, or None for the account of the key."""
    request, executor = pager._request, pager._executor  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return request.account_id or executor.options.account_id


def charges_per_page(pager: Pager[T]) -> bool:
    """Return True if each page of a list may charge, so that none is requested before it is needed."""
    endpoint = pager._request.endpoint  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the same module
    return endpoint.is_billed and endpoint.pagination is not PaginationStyle.ID_BATCH


def until_stopped(pager: Pager[T], prefetch: int, stopped: asyncio.Event) -> Pager[T]:
    """Return the same list with another prefetch, which requests nothing more after ``stopped`` is set."""
    return pager._with_options(prefetch=prefetch, stopped=stopped)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def may_charge(pager: Pager[T]) -> bool:
    """Return True if the requests of a list may charge."""
    return pager._request.endpoint.is_billed  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - the same module


async def _without_tracebacks(pages: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
    """Yield pages. Errors are raised without the frames that hold a body, because some servers echo the key in it."""
    async with aclosing(pages):
        try:
            async for page in pages:
                yield page
                del page  # so that the next page can use its memory
        except LeadfeederError as error:
            raise error.with_traceback(None)  # noqa: B904 - the same error


def _choose_source(
    executor: RequestExecutor,
    request: ApiRequest[bytes],
    window: DateWindow | None,
    days: DateWindow | None,
) -> PageSource:
    match request.endpoint.pagination:
        case PaginationStyle.CURSOR:
            return CursorSource(executor, request)
        case PaginationStyle.PAGE_NUMBER if window is not None:
            return DateWindowSource(executor, request, window, days)
        case PaginationStyle.PAGE_NUMBER:
            return NumberedSource(executor, request)
        case PaginationStyle.NONE:
            return SinglePageSource(executor, request)
        case PaginationStyle.ID_BATCH:
            raise AssertionError("a list of ids passes its source")


async def _limit_rows(
    pages: AsyncGenerator[Page[U], None], limit: int, before: ResumePosition
) -> AsyncGenerator[Page[U], None]:
    """Yield at most ``limit`` rows. A cursor page that is cut keeps the position before it, so it is read again."""
    async with aclosing(pages):
        if limit == 0:
            return
        async for page in pages:
            after = page.position
            is_cut = len(page.items) > limit and after is not None and after.day is None and not after.ids
            yield replace(page, items=page.items[:limit], position=before if is_cut else after)
            before = after or before
            limit -= len(page.items)
            del page
            if limit <= 0:
                return


async def _detach_rows(pages: AsyncGenerator[Page[msgspec.Raw], None]) -> AsyncGenerator[Page[bytes], None]:
    """Yield pages whose rows no longer reference the body."""
    async with aclosing(pages):
        async for page in pages:
            fields: dict[str, Any] = {**asdict(page), "items": tuple(map(bytes, page.items))}
            yield Page(**fields)
            del page
