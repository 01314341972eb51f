"""Exports of a list: its rows as the API sent them. The file gets its name when the list was read to its end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.worker_thread import run_for_rows, run_in_worker_thread
from leadfeeder_async.errors import IncompleteListError, IncompleteWindowError, PaginationError
from leadfeeder_async.jobs.export_state import EXPORT, ExportState
from leadfeeder_async.jobs.progress import OnProgress, Progress, ProgressTracker, notify
from leadfeeder_async.jobs.resumable_file import JobIdentity, ResumableFile, check_replaceable, open_resumable
from leadfeeder_async.jobs.tabular import check_table, pick_columns
from leadfeeder_async.models.columns import columns_of
from leadfeeder_async.pagination.page import Page, ResumePosition, reads_from_start
from leadfeeder_async.pagination.problems import (
    ProblemLog,
    combine_problems,
    count_gaps,
    join_messages,
    raise_at_end,
)
from leadfeeder_async.types import CsvDialect

Write: TypeAlias = Callable[[bytes], Awaitable[object]]
"""Writes the next bytes of an export."""


class ExportJob(msgspec.Struct, frozen=True):
    """A list to export."""

    identity: JobIdentity
    account_id: Callable[[], Awaitable[str | None]]
    """Returns the account of the list, which may take a request."""
    pages: Callable[[ResumePosition | None, frozenset[str], int], AsyncGenerator[Page[msgspec.Raw], None]]
    """Reads the list after a position, without the rows of some ids. The last argument is the number of rows so far."""
    row: type[object]
    """The model of a row, for the columns of a table."""
    limit: int | None
    """The most rows of the export."""
    partitioned_by_day: bool
    """True if each row belongs to one day, so that a day that is done does not repeat its rows."""
    row_id: Callable[[bytes], str | None]
    """Returns the id of a written row, with its key if several rows may have the same id."""
    may_charge: bool = False
    """True if each page may charge credits, also if its response does not report them."""
    is_sorted: bool = False
    """True if the rows are sorted, so that an interrupted export writes all of them again."""


async def write_rows(
    pages: AsyncGenerator[Page[bytes], None],
    write: Write,
    tracker: ProgressTracker,
    on_progress: OnProgress | None = None,
) -> Progress:
    """Write every row of a list, one JSON object per line.

    Args:
        pages: The pages of the list.
        write: Receives the lines of each page.
        tracker: Counts the rows.
        on_progress: Called after each page.

    Returns:
        The final progress.

    Raises:
        IncompleteListError: Some rows could not be read. All others were written.
        IncompleteWindowError: One day contains more rows than the API returns. All others were written.
    """
    async with aclosing(raise_at_end(pages)) as complete:
        async for page in complete:
            await write(_lines(page.items))
            notify(tracker.count(len(page.items), page.total), on_progress)
    return tracker.now()


async def export_file(
    job: ExportJob,
    path: Path,
    tracker: ProgressTracker,
    on_progress: OnProgress | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
    csv_dialect: CsvDialect = "plain",
    fields: Iterable[str] | None = None,
) -> Progress:
    """Write every row of a list to a file. `Pager.to_file` documents the behavior.

    Args:
        job: The list.
        path: The file. Its suffix selects the format.
        tracker: Counts the rows.
        on_progress: Called after each page.
        resume: Continue an unfinished export of the same list.
        overwrite: Replace a file that exists, or start over.
        csv_dialect: The dialect of a .csv file.
        fields: The columns to write. None writes all of them.
    """
    check_table(path, csv_dialect)
    columns = pick_columns(columns_of(job.row), fields)
    initial = ExportState(days=job.identity.days)
    if overwrite:
        check_replaceable(path)
    with open_resumable(path, EXPORT, job.identity, initial, resume=resume, overwrite=overwrite) as output:
        output.set_account(await job.account_id())  # raises before rows of another account are removed
        written = await run_in_worker_thread(partial(_ids_already_written, output, job))
        is_read = job.limit is not None and output.checkpoint.rows >= job.limit
        if written is None or (job.is_sorted and output.state.position is None and not is_read):
            output.restart(replace(initial, stopped_at=output.state.stopped_at))
            written = frozenset[str]()
        tracker.start_from(output.checkpoint.rows)
        output.update(output.state.for_resume())
        pages = job.pages(output.state.position, written, output.checkpoint.rows)
        problems = ProblemLog()
        async with aclosing(pages):
            async for page in pages:
                problems.add(page)
                await run_for_rows(partial(_append, output, page), len(page.items))
                if page.meta.charged or job.may_charge:
                    await run_in_worker_thread(output.save)  # after a kill, the page would be charged again
                notify(tracker.count(len(page.items), page.total), on_progress)
                # If the list stopped early, the next run may find its end, so do not continue past this point.
                # If it stops at the same place again, the rows are missing for good, so read the rest.
                stops = [problem for problem in page.problems if isinstance(problem, IncompleteListError)]
                has_ended = page.position is not None and page.position.ended
                if stops and not has_ended and not output.state.has_stopped_at(page.window):
                    output.update(output.state.with_stop(page.window))
                    raise combine_problems(stops, len(stops))
                del page  # so that the next page can use its memory
        if job.limit is None or output.checkpoint.rows < job.limit:
            output.update(output.state.at_end())
        if output.state.gap_count:
            error = _incomplete_error(output, problems)
            output.update(output.state.with_gaps_acknowledged())
            raise error
        await run_in_worker_thread(
            partial(output.finish, lambda: columns, csv_dialect, only_columns=fields is not None)
        )
    return tracker.now()


def _ids_already_written(output: ResumableFile[ExportState], job: ExportJob) -> frozenset[str] | None:
    """Return the ids of written rows that the rest of the list may repeat, or None if it repeats rows without an id."""
    offset, position = output.state.resume_offset if job.partitioned_by_day else 0, output.state.position
    found = {job.row_id(line) for line in output.lines(offset)}
    if None in found and (position is None or position.day is not None or reads_from_start(position)):
        return None
    return frozenset(written for written in found if written is not None)


def _append(output: ResumableFile[ExportState], page: Page[msgspec.Raw]) -> None:
    state = output.state.after_page(page.position, page.window, output.checkpoint.size)
    if page.problems:
        state = state.with_gaps(page.problems, page.window, page.problem_count)
    output.append(_lines(page.items), len(page.items), state)


def _incomplete_error(output: ResumableFile[ExportState], problems: ProblemLog) -> PaginationError:
    """Return the error for all gaps of an export, those of earlier runs included."""
    state = output.state
    error = combine_problems(problems.problems, problems.count) if problems.count else IncompleteListError("")
    message = error.message
    if state.gap_count > problems.count:  # earlier runs found some
        messages = join_messages([gap.message for gap in state.gaps], state.gap_count)
        message = f"{count_gaps(state.gap_count)} of this list could not be read. {messages}"
    hint = f"All other rows are in {output.path}. Pass resume=True to finish the file without the missing rows."
    if isinstance(error, IncompleteWindowError):
        hint = f"{error.hint} {hint}"
    return error.with_context(error.context, message=message, hint=hint)


def _lines(rows: Sequence[bytes]) -> bytes:
    return b"\n".join((*rows, b""))
