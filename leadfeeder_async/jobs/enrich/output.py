"""Enrichment into a file, with one line per row, in the order of the rows.

The job saves the cost and the ids of each request that may charge, before it sends the request. After a kill, the next
run stays within ``max_credits``. It requests saved companies again without reserving credits, because these are counted
already. It reserves credits for saved IP addresses, because a repeated lookup may charge.

When a response arrives, its ids leave the checkpoint. An id stays if it was charged, if an unknown part of its response
was charged, or if the response was lost.
"""

from __future__ import annotations

import asyncio
from codecs import BOM_UTF8
from collections.abc import Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from functools import partial
from hashlib import file_digest, sha256
from itertools import islice
from pathlib import Path

import msgspec

from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async._core.worker_thread import run_in_worker_thread
from leadfeeder_async.budget import Budget
from leadfeeder_async.errors import BudgetExceededError, CheckpointError, check_argument
from leadfeeder_async.jobs.checkpoint import lines_between
from leadfeeder_async.jobs.enrich.enrichment_state import ENRICHMENT, EnrichmentState
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.lookup import Lookup
from leadfeeder_async.jobs.enrich.pending_rows import split_results
from leadfeeder_async.jobs.enrich.pipeline import MAX_PENDING_ROWS, Pipeline
from leadfeeder_async.jobs.enrich.request_queue import CostJournal, split_credits
from leadfeeder_async.jobs.enrich.result_table import read_result_table
from leadfeeder_async.jobs.enrich.results import EnrichmentSummary, ResultLine, encode_lines
from leadfeeder_async.jobs.enrich.row_intake import START_OVER_HINT, EnrichmentOptions, PreviousResults, row_count_error
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker, notify
from leadfeeder_async.jobs.resumable_file import (
    JobIdentity,
    ResumableFile,
    check_replaceable,
    load_unfinished,
    open_resumable,
    partial_path,
    validate_target,
)
from leadfeeder_async.jobs.tabular import check_table, is_table, pick_columns
from leadfeeder_async.models.columns import Column, columns_of
from leadfeeder_async.types import CsvDialect

_DECODER = msgspec.json.Decoder(ResultLine)


class EnrichmentJob(msgspec.Struct, frozen=True):
    """One enrichment, independent of its output."""

    executor: RequestExecutor
    lookup: Lookup[object]
    options: EnrichmentOptions
    max_credits: int | None
    account_id: str | None
    """The account, or None for the only account of the key."""
    settings: tuple[object, ...]
    """The options of the lookup, which decide the results."""
    record: type[object]
    """The model of a record, for the columns of a table."""

    @property
    def description(self) -> str:
        """The job in words, for errors."""
        return self._describe(self.account_id or "of the key")

    async def identity(self) -> JobIdentity:
        """Return the identity of the job. The account is part of it, also if it belongs to the key."""
        account_id = self.account_id or await self.executor.resolve_account_id()
        description = self._describe(account_id)
        facts = (self.executor.base_url, description, self.settings)
        return JobIdentity(sha256(msgspec.json.encode(facts)).hexdigest(), description)

    def _describe(self, account: str) -> str:
        return f"enrichment by {self.options.keys}, account {account}"

    def pipeline(
        self,
        summary: EnrichmentSummary,
        previous_results: PreviousResults | None = None,
        journal: CostJournal | None = None,
        *,
        spent: int = 0,
    ) -> Pipeline:
        """Return a pipeline that runs the job once.

        Args:
            summary: The totals to update.
            previous_results: The results of the previous runs.
            journal: Records credits before they are spent.
            spent: The credits that the previous runs may have been charged.

        """
        left = None if self.max_credits is None else max(0, self.max_credits - spent)
        return Pipeline(
            self.executor,
            self.lookup,
            self.options,
            summary=summary,
            budget=Budget(max_credits=0 if self.options.dry_run else left),
            previous_results=previous_results or PreviousResults(),
            journal=journal or CostJournal(),
        )


class CheckpointCostJournal(CostJournal):
    """Saves credits and their ids in the checkpoint of a file.

    Args:
        output: The file.
    """

    is_persistent = True

    def __init__(self, output: ResumableFile[EnrichmentState]) -> None:
        self._output = output
        self._settled = output.state.reserved_credits
        self._in_flight = 0
        self._paid_ids = dict(output.state.paid_ids)
        self._previous_ids = output.state.paid_ids
        self._uncertain_ids = dict.fromkeys(output.state.uncertain_ids)
        self._written_ids = list[str]()

    def reserve(self, ids: Iterable[str], cost: int) -> None:
        """Record credits that are about to be spent, even without a limit, because a later run may have one."""
        self._in_flight += cost
        self._paid_ids.update(split_credits(tuple(ids), cost))
        self._output.update(self._state(counts_lines=True))
        self._output.save()
        self._forget_written_ids()

    def settle(
        self, ids: Iterable[str], cost: int, spent: int, paid: Mapping[str, int], uncertain: Iterable[str] = ()
    ) -> None:
        """Replace reserved credits with the credits that were spent."""
        self._in_flight -= cost
        self._settled += spent
        for record_id in ids:
            self._paid_ids.pop(record_id, None)
        self._paid_ids.update(paid)
        self._uncertain_ids.update(dict.fromkeys(uncertain))
        if spent > cost:  # more than the checkpoint records
            self._output.save_state(self._state())

    def cover(self, ids: Iterable[str], charged: int) -> int:
        """Take a charge from the credits that an earlier run has reserved for some ids. Return the rest of it."""
        for record_id in ids:
            reserved = self._paid_ids.get(record_id, 0)
            if reserved:
                self._paid_ids[record_id] = max(0, reserved - charged)
                charged = max(0, charged - reserved)
        if charged:
            self._settled += charged
            self._output.save_state(self._state())
        return charged

    def reserved_for(self, ids: Iterable[str]) -> int:
        """Return the credits that an earlier run has reserved for some ids and that were perhaps not charged then."""
        return sum(self._previous_ids.get(record_id, 0) for record_id in ids)

    def write(self, lines: Sequence[ResultLine], lookup: Lookup[object]) -> None:
        """Write some lines. When a checkpoint counts them, the ids of their records are no longer needed."""
        ids = map(lookup.record_id, lines)
        self._written_ids.extend(record_id for record_id in ids if record_id is not None)
        if self._output.append(encode_lines(lines), len(lines), self._state(counts_lines=True)):
            self._forget_written_ids()

    def _forget_written_ids(self) -> None:
        for record_id in self._written_ids:
            self._paid_ids.pop(record_id, None)
            self._uncertain_ids.pop(record_id, None)
        self._written_ids.clear()
        # A merged company is written under its current id, so the requested id never appears in a line.
        for ids in (self._paid_ids, self._uncertain_ids):
            for record_id in list(islice(ids, max(0, len(ids) - 2 * MAX_PENDING_ROWS))):
                del ids[record_id]

    def include_canceled_requests(self) -> None:
        """Update the state for the last checkpoint, including requests that were canceled."""
        self._output.update(self._state(counts_lines=True))

    def _state(self, *, counts_lines: bool = False) -> EnrichmentState:
        """Return the state. A checkpoint that counts all lines so far needs no ids of these lines."""
        written = set(self._written_ids) if counts_lines else set[str]()
        return EnrichmentState(
            reserved_credits=self._settled + self._in_flight,
            paid_ids={
                record_id: reserved for record_id, reserved in self._paid_ids.items() if record_id not in written
            },
            uncertain_ids=tuple(record_id for record_id in self._uncertain_ids if record_id not in written),
        )


async def enrich_file(
    job: EnrichmentJob,
    path: Path,
    tracker: ProgressTracker,
    total: int | None,
    on_progress: OnProgress | None,
    *,
    summary: EnrichmentSummary,
    resume: bool,
    overwrite: bool,
    csv_dialect: CsvDialect,
    fields: Iterable[str] | None = None,
) -> None:
    """Write one line per row to a file. ``Enrichment.to_file`` documents the behavior.

    Args:
        job: The enrichment.
        path: The file. Its suffix selects the format.
        tracker: Counts the rows.
        total: The number of rows, if it is known.
        on_progress: Called after each batch of rows.
        summary: The totals to update, also if the job fails.
        resume: Continue an unfinished file of the same job.
        overwrite: Replace a file that exists.
        csv_dialect: The dialect of a .csv file.
        fields: The columns to write. None writes all of them.

    """
    check_table(path, csv_dialect)
    columns = pick_columns(all_columns(job), fields)
    is_retry = job.options.retry_failed
    if is_retry:
        validate_target(path, overwrite=True)
        _check_dialect(path, csv_dialect)
    if is_retry and fields is not None:
        _check_retryable(path, columns)
    if overwrite or is_retry:
        check_replaceable(path)
    if is_retry and resume and load_unfinished(path, ENRICHMENT) is None:
        raise CheckpointError(
            f"{path} has no unfinished retry to resume.",
            hint="Check the file. Leave out resume=True to start a new retry, with credits of its own.",
        )
    if resume and not is_retry and not overwrite:
        _check_unfinished(path)
    identity = await job.identity()
    if is_retry:
        identity = await run_in_worker_thread(partial(_identity_of_retry, job, columns, identity, path, total))
    with open_resumable(
        path, ENRICHMENT, identity, EnrichmentState(), resume=resume, overwrite=overwrite, replaces=is_retry
    ) as output:
        rows, state = output.checkpoint.rows, output.state
        tracker.start_from(rows)
        journal = CheckpointCostJournal(output)
        finished = _finished_lines(columns, path) if is_retry else iter(())
        lines = _previous_lines(output.path, rows, output.checkpoint.size, finished)
        summary.credits_of_previous_runs = state.reserved_credits
        _check_reserved(state, job.max_credits)
        previous_results = PreviousResults(lines, rows, frozenset(state.paid_ids), frozenset(state.uncertain_ids))
        pipeline = job.pipeline(summary, previous_results, journal, spent=state.reserved_credits)
        try:  # an exception that is kept would keep the file open, which Windows then cannot rename
            with closing(lines):
                async with aclosing(pipeline.result_batches()) as batches:
                    async for batch in batches:
                        await _write_parts(journal, batch, job.lookup)
                        notify(tracker.count(len(batch), total), on_progress)
        finally:
            journal.include_canceled_requests()
        await run_in_worker_thread(
            partial(output.finish, lambda: columns, csv_dialect, only_columns=fields is not None)
        )


async def _write_parts(journal: CheckpointCostJournal, lines: Sequence[ResultLine], lookup: Lookup[object]) -> None:
    """Write results in parts, between which other tasks get a turn. A cancellation does not lose the other parts."""
    parts = split_results(lines)
    try:
        for part in parts:
            journal.write(part, lookup)
            await asyncio.sleep(0)
    except asyncio.CancelledError:
        for part in parts:
            journal.write(part, lookup)
        raise


def _check_unfinished(path: Path) -> None:
    """Raise CheckpointError if a file is finished, so that it cannot be resumed."""
    if path.is_file() and load_unfinished(path, ENRICHMENT) is None:
        raise CheckpointError(
            f"{path} exists and appears to be complete, so there is nothing to resume.",
            hint="Pass retry_failed=True to request failed and skipped rows again, or overwrite=True to start over.",
            reason="finished",
        )


def _check_reserved(state: EnrichmentState, max_credits: int | None) -> None:
    """Raise BudgetExceededError if more credits are reserved than this run may spend.

    Each of the reserved ids is either charged already, or would be charged beyond the limit now.
    """
    reserved = state.reserved_credits
    if max_credits is not None and reserved > max_credits and state.paid_ids:
        raise BudgetExceededError(
            f"Earlier runs of this job may have been charged {reserved:,} credits, but max_credits is {max_credits:,}.",
            hint=f"Raise max_credits to {reserved:,} or more to fetch the records that may be paid for already.",
        )


def _finished_lines(columns: Sequence[Column], path: Path) -> Iterator[ResultLine]:
    """Return the results of a finished file."""
    return read_result_table(path, columns) if is_table(path) else _lines_in(path, path.stat().st_size)


def _previous_lines(path: Path, rows: int, size: int, finished: Iterator[ResultLine]) -> Generator[ResultLine]:
    """Yield the lines of the previous runs: those of the unfinished file, then the rest of the file to retry.

    Args:
        path: The unfinished file.
        rows: Its rows at the beginning of this run.
        size: Its bytes at the beginning of this run.
        finished: The lines of the file to retry.
    """
    yield from _lines_in(path, size)
    yield from islice(finished, rows, None)


def _lines_in(path: Path, size: int) -> Iterator[ResultLine]:
    """Yield the lines of a file. Raise CheckpointError if a line is damaged or is not a result."""
    for number, line in enumerate(lines_between(path, 0, size), 1):
        try:  # a line with picked fields has no record, so it is not a complete result
            yield _DECODER.decode(line if b'"record":' in line else b"")
        except UNREADABLE:
            raise CheckpointError(
                f"{path}, line {number:,} is damaged or is not a complete result of an enrichment.",
                hint=f"Pass the path of the file that this enrichment wrote without fields. {START_OVER_HINT}",
                reason="damaged",
            ) from None


def _check_dialect(path: Path, csv_dialect: CsvDialect) -> None:
    """Raise ConfigurationError if a retry would write a file for Excel without its protection from formulas."""
    if csv_dialect == "excel" or path.suffix.lower() != ".csv" or not path.is_file():
        return
    with path.open("rb") as file:
        check_argument(
            file.read(len(BOM_UTF8)) != BOM_UTF8,
            f"{path} was written for Excel.",
            'Pass csv_dialect="excel" again.',
            argument="csv_dialect",
        )


def _check_retryable(path: Path, columns: Sequence[Column]) -> None:
    """Raise ConfigurationError if a file with only these columns does not show which rows failed."""
    reason = reason_against_retry(path, [column.name for column in columns])
    check_argument(
        reason is None,
        f"{path} cannot be retried: {reason}.",
        "Retry a table with these columns, or a file that was written without fields.",
        argument="fields",
    )


def reason_against_retry(path: Path, fields: Collection[str]) -> str | None:
    """Return why a file that has only these fields cannot be retried, or None if it can be."""
    if not is_table(path):
        return "JSON lines with fields do not show which rows failed"
    missing = [name for name in RESULT_COLUMNS if name not in fields]
    return f"its fields do not include {', '.join(missing)}" if missing else None


def _identity_of_retry(
    job: EnrichmentJob, columns: Sequence[Column], identity: JobIdentity, path: Path, total: int | None
) -> JobIdentity:
    """Return the identity of a retry: the same job and the same complete file, with one line per row."""
    try:
        with path.open("rb") as file:
            digest = file_digest(file, sha256).hexdigest()
            file.seek(0)
            lines = sum(1 for _ in (_finished_lines(columns, path) if is_table(path) else file))
    except OSError as error:
        is_missing = isinstance(error, FileNotFoundError)
        is_unfinished = is_missing and partial_path(path).exists()
        hint = "Make the file readable."
        if is_missing:
            hint = "Check the path. There is no unfinished file with this name either."
        raise CheckpointError(
            f"{path} cannot be retried: {error.strerror}.",
            hint="Finish the file first, with resume=True." if is_unfinished else hint,
            reason="not_finished" if is_unfinished else "unusable",
        ) from None
    expected = lines if total is None else total if job.options.limit is None else min(total, job.options.limit)
    if lines != expected:
        raise row_count_error(lines)
    fingerprint = sha256(f"{identity.fingerprint} {digest}".encode()).hexdigest()
    return JobIdentity(fingerprint, f"{identity.description}, a retry of {path.name}")


RESULT_COLUMNS: dict[str, type[object]] = {
    "row": int,
    "key": str,
    "by": str,
    "outcome": str,
    "id": str,
    "score": float,
    "charged": int,
}
"""The columns of a result without its record. A table that has them all can be retried."""


def result_columns(record: type[object]) -> tuple[Column, ...]:
    """Return the columns of a table of results: those of the row, then those of its record."""
    of_record = [Column(c.name, ("record", *c.path), c.type) for c in columns_of(record) if c.name != "id"]
    error = Column("error", ("error", "message"), str)
    return (*(Column(name, (name,), kind) for name, kind in RESULT_COLUMNS.items()), error, *of_record)


def all_columns(job: EnrichmentJob) -> tuple[Column, ...]:
    """Return the columns of a job's table."""
    return (*result_columns(job.record), *input_columns(job.options.rows))


def input_columns(rows: object) -> Iterator[Column]:
    """Yield the columns of the input file, or a single one if the file has no header."""
    if isinstance(rows, InputFile):
        yield Column("line", ("line",), int)
        yield from (Column(f"input.{name}", ("input", name), str) for name in rows.columns)
        if not rows.columns:
            yield Column("input", ("input",), str)
