"""``lf.bulk``: jobs that change the tags and lists of many records."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Generator, Iterable, Iterator, Sized
from contextlib import aclosing, closing
from hashlib import sha256
from pathlib import Path

import msgspec

from leadfeeder_async._argument_checks import check_account_id, check_boolean, check_function, check_path, check_stream
from leadfeeder_async._core.endpoint import Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.errors import CheckpointError, LeadfeederError
from leadfeeder_async.jobs.bulk.change_queue import MAX_IN_FLIGHT
from leadfeeder_async.jobs.bulk.change_results import BulkResult, BulkSummary, ChangeLine
from leadfeeder_async.jobs.bulk.change_run import Change, ChangeRun
from leadfeeder_async.jobs.checkpoint import Checkpoint, JobKind, JobState
from leadfeeder_async.jobs.job_guard import JobGuard, forbid_second_read
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker, notify
from leadfeeder_async.jobs.resumable_file import JobIdentity, ResumableFile, open_resumable
from leadfeeder_async.jobs.tabular import check_table
from leadfeeder_async.models.columns import Column
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.request_bodies import Scope
from leadfeeder_async.resources.arguments import check_scope, encode_linkages
from leadfeeder_async.resources.companies import (
    ADD_COMPANY_TO_LISTS,
    ASSIGN_TAGS_TO_COMPANY,
    REMOVE_COMPANY_FROM_LISTS,
    UNASSIGN_TAGS_FROM_COMPANY,
)
from leadfeeder_async.resources.contacts import ADD_CONTACT_TO_LISTS, REMOVE_CONTACT_FROM_LISTS
from leadfeeder_async.types import Stats

MAX_PENDING_ROWS = 1_000
"""The most ids that were read and whose results the caller has not taken."""

_COLUMNS = (
    Column("row", ("row",), int),
    Column("id", ("id",), str),
    Column("outcome", ("outcome",), str),
    Column("error", ("error", "message"), str),
)

_DECODER = msgspec.json.Decoder(ChangeLine)
_ENCODER = msgspec.json.Encoder()


class BulkState(JobState, frozen=True, kw_only=True):
    """The state of a bulk change. It is empty, because the rows of the file contain all results."""


BULK_CHANGE = JobKind("bulk change", Checkpoint[BulkState])


class BulkChange(JobGuard):
    """A job that makes the same change to many records. ``lf.bulk`` creates it.

    Nothing is sent until the job is iterated over, run or written to a file. Each of these uses reads the ids from
    their start. If they are an iterator, which can be read only once, a second use raises
    :class:`~leadfeeder_async.ConfigurationError`.

    ``async for result in job`` yields one :class:`BulkResult` per id. An id that the server rejects is a result too,
    and does not stop the job. A change can be repeated safely, so a request whose response was lost is sent again.

    The job stops if no later request can succeed: after an invalid API key, a used-up quota or an exceeded budget,
    after 20 failed calls in a row, after 200 rejected ids in a row (20 if nothing was changed before, unless the last
    status is 404), and after 3 calls in a row that end with 403 (20 if only an earlier run changed an id, 200 if this
    run did). Results of requests in flight are yielded first, then the error is raised.

    Equal ids that are in flight at the same time share one request. At most 1,000 ids are pending, regardless of the
    input.
    """

    _method = "job.run()"

    def __init__(
        self,
        executor: RequestExecutor,
        change: Change,
        ids: Iterable[str] | AsyncIterable[str],
        *,
        ordered: bool,
    ) -> None:
        self._executor = executor
        self._change = change
        self._ids = forbid_second_read(ids)
        self._ordered = ordered
        self.summary = BulkSummary()
        """The totals of the latest use."""

    def __repr__(self) -> str:
        account = self._change.account_id or self._executor.options.account_id
        return f"<BulkChange {self._change.describe(account or 'of the key')}>"

    def __aiter__(self) -> AsyncGenerator[BulkResult, None]:  # noqa: PYI058 - callers may rely on aclose()
        """Iterate over the results."""
        return self._results()

    async def _results(self) -> AsyncGenerator[BulkResult, None]:
        run = self._start(ordered=self._ordered, max_pending=MAX_PENDING_ROWS, stats=Stats())
        async with aclosing(run.result_batches()) as batches:
            async for lines in batches:
                for line in lines:
                    yield line.to_result()

    async def run(self, *, on_progress: OnProgress | None = None) -> BulkSummary:
        """Make all changes, and return the totals.

        Args:
            on_progress: Called after each batch of results.

        Returns:
            The totals: ids by outcome. Use :meth:`to_file` or iterate over the job to get the result of each id.

        Raises:
            LeadfeederError: An error that stopped the job. ``summary`` has the totals so far.

        Credits:
            None. One request per id counts toward the rate limit and the monthly quota.

        """
        check_function("on_progress", on_progress)
        stats, total = Stats(), self._count()
        tracker = ProgressTracker(stats)
        run = self._start(ordered=False, max_pending=MAX_PENDING_ROWS, stats=stats)
        async with aclosing(run.result_batches()) as batches:
            async for lines in batches:
                notify(tracker.count(len(lines), total), on_progress)
        return self.summary

    async def to_file(
        self,
        path: Path | str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        on_progress: OnProgress | None = None,
    ) -> BulkSummary:
        """Make all changes, and write one line per id to a file, in the order of the ids.

        Until the last line is written, the file is called ``….part``. A job that was killed repeats at most the
        changes that were in flight: those of 16 ids.

        Args:
            path: The file. ``.csv`` and ``.parquet`` are tables, other suffixes are JSON lines.
            resume: Continue an unfinished file of the same job. The input must begin with the same ids.
            overwrite: Replace a file that exists.
            on_progress: Called after each batch of results.

        Returns:
            The totals of all runs: ids by outcome.

        Raises:
            CheckpointError: The file exists, is being written, cannot be written, or belongs to another job or input.
            LeadfeederError: An error that stopped the job. Results so far are written. Pass ``resume=True`` to
                continue.

        Credits:
            None. One request per id counts toward the rate limit and the monthly quota.

        """
        path, stats, total = check_path("path", path), Stats(), self._count()
        tracker = ProgressTracker(stats)
        check_boolean("resume", resume)
        check_boolean("overwrite", overwrite)
        check_function("on_progress", on_progress)
        check_table(path, "plain")
        with open_resumable(
            path, BULK_CHANGE, await self._identity(), BulkState(), resume=resume, overwrite=overwrite
        ) as output:
            tracker.start_from(output.checkpoint.rows)
            previous_lines = _previous_lines(output)
            run = self._start(
                ordered=True,
                max_pending=MAX_IN_FLIGHT,
                stats=stats,
                previous_lines=previous_lines,
                previous_rows=output.checkpoint.rows,
            )
            try:  # an exception that is kept would keep the file open, which Windows then cannot rename
                with closing(previous_lines):
                    async with aclosing(run.result_batches()) as batches:
                        async for lines in batches:
                            notify(tracker.count(_append(output, lines), total), on_progress)
            except LeadfeederError as error:
                if output.checkpoint.rows and not isinstance(error, CheckpointError):  # whose hint says how to go on
                    error.add_note(f"{output.checkpoint.rows:,} ids are done. Pass resume=True to continue.")
                raise
            output.finish(lambda: _COLUMNS)
        return self.summary

    async def _identity(self) -> JobIdentity:
        """Return the identity of the job. The account is part of it, also if it belongs to the key."""
        account = self._change.account_id or await self._executor.resolve_account_id()
        description = self._change.describe(account)
        facts = (self._executor.base_url, description, self._change.body)
        return JobIdentity(sha256(msgspec.json.encode(facts)).hexdigest(), description)

    def _start(
        self,
        *,
        ordered: bool,
        max_pending: int,
        stats: Stats,
        previous_lines: Iterator[ChangeLine] | None = None,
        previous_rows: int = 0,
    ) -> ChangeRun:
        run = ChangeRun(
            self._executor.with_stats(stats),
            self._change,
            self._ids,
            ordered=ordered,
            max_pending=max_pending,
            previous_lines=previous_lines or iter(()),
            previous_rows=previous_rows,
        )
        self.summary = run.summary
        return run

    def _count(self) -> int | None:
        return len(self._ids) if isinstance(self._ids, Sized) else None


def _append(output: ResumableFile[BulkState], lines: list[ChangeLine]) -> int:
    """Write the lines that follow the written ones without a gap, and save them at once. Return their number.

    A job that stops has results behind rows without one. The next run repeats these changes.
    """
    written = output.checkpoint.rows
    following = [line for index, line in enumerate(lines) if line.row == written + index + 1]
    if following:
        output.append(_ENCODER.encode_lines(following), len(following), output.state)
        output.save()
    return len(following)


def _previous_lines(output: ResumableFile[BulkState]) -> Generator[ChangeLine]:
    for number, line in enumerate(output.lines(), 1):
        try:
            yield _DECODER.decode(line)
        except UNREADABLE:
            raise CheckpointError(
                f"{output.path}, line {number:,} is damaged.",
                hint="Pass overwrite=True without resume=True to start over.",
                reason="damaged",
            ) from None


class Bulk:
    """Changes of the tags and lists of many companies or contacts."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def assign_tags(
        self,
        company_ids: Iterable[str] | AsyncIterable[str],
        tag_ids: Iterable[str],
        *,
        ordered: bool = True,
        account_id: str | None = None,
    ) -> BulkChange:
        """Assign tags to any number of companies. Their other tags stay assigned.

        ``summary = await lf.bulk.assign_tags(company_ids, ["7001"]).run()``

        One request is sent per company. API operation: ``assign_tags_to_company``, scope ``companies:write``.

        Args:
            company_ids: The ids of the companies: any iterable or async iterable, of any length.
            tag_ids: The ids of the tags. At least one is required.
            ordered: Yield results in the order of the ids. With False, they are yielded as soon as they are ready.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The job. Nothing is sent until it is used.

        Raises:
            ConfigurationError: An argument is not valid. Errors of requests are raised when the job is used.

        Credits:
            None.

        """
        check_stream("company_ids", company_ids, "id")
        return self._job(ASSIGN_TAGS_TO_COMPANY, company_ids, "tag", tag_ids, ordered=ordered, account_id=account_id)

    def unassign_tags(
        self,
        company_ids: Iterable[str] | AsyncIterable[str],
        tag_ids: Iterable[str],
        *,
        ordered: bool = True,
        account_id: str | None = None,
    ) -> BulkChange:
        """Remove tags from any number of companies. The tags themselves are kept.

        ``summary = await lf.bulk.unassign_tags(company_ids, ["7001"]).run()``

        One request is sent per company. It is a DELETE with a body, which some proxies drop.

        API operation: ``unassign_tags_from_company`` (inferred path), scope ``companies:write``.

        Args:
            company_ids: The ids of the companies: any iterable or async iterable, of any length.
            tag_ids: The ids of the tags. At least one is required.
            ordered: Yield results in the order of the ids. With False, they are yielded as soon as they are ready.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The job. Nothing is sent until it is used.

        Raises:
            ConfigurationError: An argument is not valid. Errors of requests are raised when the job is used.

        Credits:
            None.

        """
        check_stream("company_ids", company_ids, "id")
        return self._job(
            UNASSIGN_TAGS_FROM_COMPANY, company_ids, "tag", tag_ids, ordered=ordered, account_id=account_id
        )

    def add_to_lists(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        list_ids: Iterable[str],
        *,
        scope: Scope = "company",
        ordered: bool = True,
        account_id: str | None = None,
    ) -> BulkChange:
        """Add any number of companies or contacts to lists.

        ``await lf.bulk.add_to_lists(company_ids, ["8101"]).to_file("added.ndjson", resume=True)``

        One request is sent per record. API operations: ``add_company_to_lists``, ``add_contact_to_lists``.

        Args:
            ids: The ids of the companies or contacts: any iterable or async iterable, of any length.
            list_ids: The ids of the lists. At least one is required.
            scope: ``company`` or ``contact``: the records that the ids belong to.
            ordered: Yield results in the order of the ids. With False, they are yielded as soon as they are ready.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The job. Nothing is sent until it is used.

        Raises:
            ConfigurationError: An argument is not valid. Errors of requests are raised when the job is used.

        Credits:
            None.

        """
        check_stream("ids", ids, "id")
        check_scope(scope)
        endpoint = ADD_COMPANY_TO_LISTS if scope == "company" else ADD_CONTACT_TO_LISTS
        return self._job(endpoint, ids, "list", list_ids, ordered=ordered, account_id=account_id)

    def remove_from_lists(
        self,
        ids: Iterable[str] | AsyncIterable[str],
        list_ids: Iterable[str],
        *,
        scope: Scope = "company",
        ordered: bool = True,
        account_id: str | None = None,
    ) -> BulkChange:
        """Remove any number of companies or contacts from lists. The lists themselves are kept.

        ``summary = await lf.bulk.remove_from_lists(contact_ids, ["8102"], scope="contact").run()``

        One request is sent per record. It is a DELETE with a body, which some proxies drop.

        API operations: ``remove_company_from_lists``, ``remove_contact_from_lists`` (inferred paths).

        Args:
            ids: The ids of the companies or contacts: any iterable or async iterable, of any length.
            list_ids: The ids of the lists. At least one is required.
            scope: ``company`` or ``contact``: the records that the ids belong to.
            ordered: Yield results in the order of the ids. With False, they are yielded as soon as they are ready.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The job. Nothing is sent until it is used.

        Raises:
            ConfigurationError: An argument is not valid. Errors of requests are raised when the job is used.

        Credits:
            None.

        """
        check_stream("ids", ids, "id")
        check_scope(scope)
        endpoint = REMOVE_COMPANY_FROM_LISTS if scope == "company" else REMOVE_CONTACT_FROM_LISTS
        return self._job(endpoint, ids, "list", list_ids, ordered=ordered, account_id=account_id)

    def _job(
        self,
        endpoint: Endpoint[Response[None]],
        ids: Iterable[str] | AsyncIterable[str],
        kind: str,
        linked_ids: Iterable[str],
        *,
        ordered: bool,
        account_id: str | None,
    ) -> BulkChange:
        check_boolean("ordered", ordered)
        if account_id is not None:
            check_account_id("account_id", account_id)
        body = encode_linkages(kind, linked_ids, None)
        return BulkChange(self._executor, Change(endpoint, body, account_id), ids, ordered=ordered)
