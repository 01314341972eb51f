"""Lists of any length: one object to iterate, count or collect, whatever the API's paging style."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from copy import copy
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Protocol, Self, TypeVar, get_args

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.codec import body_excerpt
from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, PaginationStyle, QueryValue
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import DecodeError, ErrorContext, LeadfeederError, check_argument
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.cursor import cursor_pages
from leadfeeder_async.pagination.date_range import DateWindow
from leadfeeder_async.pagination.numbered import NumberedPages
from leadfeeder_async.pagination.page import (
    DEFAULT_PREFETCH,
    IdBatches,
    Page,
    PageSource,
    ResumePosition,
    batch_size,
    raise_at_end,
    raise_problems,
    row_ids,
)

if TYPE_CHECKING:
    from leadfeeder_async.jobs.progress import OnProgress, Progress

PAGE_SIZE = 100
"""The largest page the API gives, and the default here: pages cost requests, and requests are scarce."""


class HasId(Protocol):
    """Whatever has an id."""

    @property
    def id(self) -> str:
        """The id, as the API gave it."""
        ...


T = TypeVar("T", bound=HasId)
U = TypeVar("U")


class Pager(Generic[T]):
    """A list that is fetched as it is read.

    Nothing is sent before the first row is asked for, and every iteration starts anew. Numbered pages are fetched up
    to 16 ahead and come in order; cursors are followed one page ahead. A row whose id came before is left out. Date
    ranges that hold more than the API's 10,000 rows are cut into smaller ones; where one day alone holds more,
    :class:`~leadfeeder_async.IncompleteWindowError` is raised after all rows that can be reached. Breaking out of a
    loop cancels what is under way.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        endpoint: Endpoint[Response[tuple[T, ...]]],
        request_for: Callable[[DateWindow | None], ApiRequest[object]],
        *,
        window: DateWindow | None = None,
        ids: Sequence[str] = (),
        page_size: int = PAGE_SIZE,
        limit: int | None = None,
    ) -> None:
        check_argument(1 <= page_size <= PAGE_SIZE, f"page_size={page_size!r} must be 1 to {PAGE_SIZE}.")
        check_argument(limit is None or limit >= 0, f"limit={limit!r} must be 0 or more.")
        self._executor = executor
        self._endpoint = endpoint
        self._request_for = request_for
        self._window = window
        self._ids = tuple(ids)
        self._page_size = page_size
        self._limit = limit
        self._prefetch = DEFAULT_PREFETCH
        self._resume_position = ResumePosition()
        self._exclude_ids = frozenset[str]()

    def __repr__(self) -> str:
        window = f" {self._window}" if self._window else ""
        return f"<Pager {self._endpoint.operation}{window}>"

    def __aiter__(self) -> AsyncGenerator[T, None]:  # noqa: PYI058 - the generator's aclose is part of the promise
        """Iterate over the rows."""
        return self._items()

    async def _items(self) -> AsyncGenerator[T, None]:
        problems = list[LeadfeederError]()
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                problems.extend(page.problems)
                for item in page.items:
                    yield item
                del page  # its rows are gone before the next ones come, and their memory is warm
        raise_problems(problems)

    def pages(self) -> AsyncGenerator[Page[T], None]:
        """Iterate over the pages: ``.items``, ``.meta``, ``.total``, the ``.window`` and the ``.problems`` of each.

        What a list lacks is in ``problems`` only, and not raised: rows that cannot be read, days past the wall.
        """
        return self._apply_limit(self._typed_pages())

    def raw_pages(self) -> AsyncGenerator[Page[bytes], None]:
        """Iterate over pages whose items are JSON as the API sent it, white space between tokens taken out."""
        as_sent = self._raw_decoder()
        return self._apply_limit(self._paginate(self._source(lambda body: _detach_rows(as_sent(body)), row_ids)))

    def _raw_views(self) -> AsyncGenerator[Page[msgspec.Raw], None]:
        """Iterate over the pages that :meth:`raw_pages` gives, with rows that are views of a page's body."""
        return self._apply_limit(self._paginate(self._source(self._raw_decoder(), row_ids)))

    def _raw_decoder(self) -> Callable[[bytes], Page[msgspec.Raw]]:
        row = self._endpoint.with_response_type(Response[tuple[msgspec.Raw, ...]])
        return lambda body: _one_line_per_row(self._page(row, body), body, self._executor.redact)

    async def batches(self, size: int) -> AsyncGenerator[list[T], None]:
        """Iterate over lists of ``size`` rows; the last may be shorter."""
        check_argument(size >= 1, f"size={size!r} must be 1 or more.")
        batch, problems = list[T](), list[LeadfeederError]()
        async with aclosing(self.pages()) as pages:
            async for page in pages:
                problems.extend(page.problems)
                batch.extend(page.items)
                del page
                while len(batch) >= size:
                    yield batch[:size]
                    batch = batch[size:]
        if batch:
            yield batch
        raise_problems(problems)

    def resume_from(self, position: ResumePosition, exclude_ids: Iterable[str] = ()) -> Self:
        """Return the rest of this list after a page's ``position``, so that an interrupted walk can go on.

        ``handed_out`` are ids of rows that must not come again: a range of days that was being read is read anew.
        """
        window = self._window
        if position.day is not None and window is not None:
            check_argument(position.day <= window.end, f"{position.day} is after {window}.")
            window = DateWindow(max(position.day, window.start), window.end)
        return self._replace(_resume_position=position, _exclude_ids=frozenset(exclude_ids), _window=window)

    def prefetch(self, pages: int) -> Self:
        """Return the same list, read with at most ``pages`` pages under way or waiting; 0 fetches each when asked for.

        The default is 16. A cursor list has one at most, and one that charges none.
        """
        check_argument(pages >= 0, f"pages={pages!r} must be 0 or more.")
        return self._replace(_prefetch=pages)

    async def to_file(
        self,
        path: Path | str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Progress:
        """Export the list to a file: JSON lines as the API sent them, or a table where it ends in .csv or .parquet.

        Until the last row is safe, the file is called ``….part``, with a checkpoint beside it; with ``resume`` the same
        query goes on where it stopped, after any interruption, and no row is lost or doubled. ``on_progress`` is called
        after each page. Costs what reading the list costs. Where rows could not be read, IncompleteListError or
        IncompleteWindowError comes at the end, with all others in the ``….part``; who resumes then, finishes the file
        without them. Raises CheckpointError, before anything is sent, where the
        file exists, is being written, or holds another query; ConfigurationError where the
        suffix is of another format, or parquet cannot be written.
        """
        from leadfeeder_async.jobs.export import ExportJob, export_file
        from leadfeeder_async.jobs.progress import ProgressTracker
        from leadfeeder_async.jobs.resumable_file import JobIdentity  # only for who writes files

        subject = JobIdentity(self._fingerprint(), self._query(), self._window)
        row = get_args(get_args(self._endpoint.response_type)[0])[0]
        job = ExportJob(subject, self._remaining, row, self._limit, self._endpoint.partitioned_by_day)
        meter = ProgressTracker(self._executor.stats, self._limit)
        return await export_file(job, Path(path), meter, on_progress, resume=resume, overwrite=overwrite)

    def _remaining(
        self, position: ResumePosition | None, handed_out: frozenset[str], done: int
    ) -> AsyncGenerator[Page[msgspec.Raw], None]:
        left = None if self._limit is None else max(0, self._limit - done)
        rest = self._replace(_limit=left).resume_from(position or ResumePosition(), handed_out)
        return rest._raw_views()  # noqa: SLF001 - its own copy

    def _query(self) -> str:
        account = self._request_for(self._window).account_id or self._executor.options.account_id
        parts = (self._endpoint.operation, self._window, f"{len(self._ids):,} ids" if self._ids else None)
        return ", ".join([*(str(part) for part in parts if part), f"account {account or 'of the key'}"])

    def _fingerprint(self) -> str:
        """Return a hash of everything that decides which rows the list holds, but not how many are read at once."""
        call = self._request_for(self._window)
        asked = (
            self._executor.base_url,
            self._query(),
            sorted(call.params.items()),
            call.path_params,
            call.body,
            self._ids,
        )
        return sha256(msgspec.json.encode(asked)).hexdigest()

    async def first(self) -> T | None:
        """Return the first row, or None where there is none; fetches no page, and by id no record, needlessly."""
        async with aclosing(raise_at_end(self._with_limit(1).pages())) as pages:
            async for page in pages:
                if page.items:
                    return page.items[0]
        return None

    async def collect(self, limit: int | None = None) -> list[T]:
        """Return all rows, or the first ``limit``, as a list; a list by id asks for hardly more ids than that."""
        pager = self if limit is None else self._with_limit(limit)
        async with aclosing(raise_at_end(pager.pages())) as pages:
            return [item async for page in pages for item in page.items]

    async def count(self) -> int | None:
        """Ask the server how many rows there are, with one request; None where it does not say.

        On an operation that charges, that request charges too.
        """
        size = (
            1 if self._endpoint.pagination in {PaginationStyle.CURSOR, PaginationStyle.PAGE_NUMBER} else self._page_size
        )
        call = self._request_for(self._window).with_params(self._page_params(1, size))
        body = await self._executor.execute_raw(call)
        return self._executor.decode(self._endpoint, body).meta.total_count

    def _with_limit(self, limit: int) -> Self:
        check_argument(limit >= 0, f"limit={limit!r} must be 0 or more.")
        return self._replace(_limit=limit if self._limit is None else min(limit, self._limit))

    def _replace(self, **attributes: object) -> Self:
        changed = copy(self)
        vars(changed).update(attributes)
        return changed

    def _typed_pages(self) -> AsyncGenerator[Page[T], None]:
        return self._paginate(self._source(lambda body: self._page(self._endpoint, body), _ids_of))

    def _page(self, row: Endpoint[Response[tuple[U, ...]]], body: bytes) -> Page[U]:
        answer, bad, errors = self._executor.decode_page(row, body)
        return Page(answer.data, answer.meta, decode_errors=bad, partial_errors=errors)

    def _apply_limit(self, walk: AsyncGenerator[Page[U], None]) -> AsyncGenerator[Page[U], None]:
        limit = 0 if self._resume_position.ended else self._limit
        return walk if limit is None else _limit_rows(walk, limit, self._resume_position)

    def _source(self, decode: Callable[[bytes], Page[U]], ids_of: Callable[[Sequence[U]], list[str]]) -> PageSource[U]:
        return PageSource(
            fetch=self._executor.execute_raw,
            decode=decode,
            ids_of=ids_of,
            page_size=self._page_size,
            prefetch=0
            if self._endpoint.billing is Billing.BILLED and self._endpoint.pagination is PaginationStyle.CURSOR
            else self._prefetch,
            pages_wanted=None if self._limit is None else -(-self._limit // self._page_size),
            dedupe=self._endpoint.pagination is not PaginationStyle.ID_BATCH,
            partitioned_by_day=self._endpoint.partitioned_by_day,
            exclude_ids=self._exclude_ids,
            charges=self._endpoint.billing is Billing.BILLED,
        )

    def _paginate(self, source: PageSource[U]) -> AsyncGenerator[Page[U], None]:
        if self._endpoint.pagination is PaginationStyle.CURSOR:
            call = self._request_for(self._window).with_params(self._params_of(1))
            return cursor_pages(source, call, self._resume_position.cursor)
        if self._endpoint.pagination is PaginationStyle.ID_BATCH:
            return NumberedPages(source, self._request_for, self._params_of, None, batches=self._batches()).pages()
        return NumberedPages(source, self._request_for, self._params_of, self._window).pages()

    def _batches(self) -> IdBatches:
        return IdBatches(self._ids, self._resume_position.ids, batch_size(self._limit))

    def _params_of(self, number: int) -> dict[str, QueryValue]:
        return self._page_params(number, self._page_size)

    def _page_params(self, number: int, page_size: int) -> dict[str, QueryValue]:
        match self._endpoint.pagination:
            case PaginationStyle.CURSOR:
                return {"page[size]": page_size}
            case PaginationStyle.PAGE_NUMBER:
                return {"page[num]": number, "page[size]": page_size}
            case PaginationStyle.ID_BATCH:
                return {"ids": self._batches().batch(number)}
            case PaginationStyle.NONE:
                return {}


async def _limit_rows(
    walk: AsyncGenerator[Page[U], None], limit: int, before: ResumePosition
) -> AsyncGenerator[Page[U], None]:
    """Hand out so many rows; a page along cursors that is cut is to be read again by who goes on."""
    if limit == 0:
        return
    async with aclosing(walk) as pages:
        async for page in pages:
            after = page.position
            is_cut = len(page.items) > limit and after is not None and after.day is None and not after.ids
            yield replace(page, items=page.items[:limit], position=before if is_cut else after)
            before = after or before
            limit -= len(page.items)
            del page
            if limit <= 0:
                return


def _ids_of(rows: Sequence[HasId]) -> list[str]:
    return [row.id for row in rows]


def _detach_rows(page: Page[msgspec.Raw]) -> Page[bytes]:
    return Page(
        tuple(map(bytes, page.items)), page.meta, decode_errors=page.decode_errors, partial_errors=page.partial_errors
    )


def _one_line_per_row(page: Page[msgspec.Raw], body: bytes, redacted: Callable[[bytes], bytes]) -> Page[msgspec.Raw]:
    """Put each row on a line; one that is no text at all would spoil the file it goes into."""
    if _is_text(body) and b"\n" not in body and b"\r" not in body:
        return page
    rows = tuple(map(bytes, page.items))
    bad = tuple(
        DecodeError(f"A row is not UTF-8: {body_excerpt(redacted(row))!r}.", ErrorContext(sent="yes", phase="decode"))
        for row in rows
        if not _is_text(row)
    )
    good = tuple(msgspec.Raw(strip_line_breaks(row)) for row in rows if not bad or _is_text(row))
    return Page(good, page.meta, decode_errors=bad, partial_errors=page.partial_errors)


def _is_text(row: bytes) -> bool:
    try:
        return row.isascii() or bool(row.decode())
    except UnicodeDecodeError:
        return False


def strip_line_breaks(item: bytes) -> bytes:
    """Put an item on one line; what has no line break is left as it came."""
    return msgspec.json.format(item, indent=-1) if b"\n" in item or b"\r" in item else item
