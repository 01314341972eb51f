"""Exports: the rows of a list, as the API sent them, into a file that is whole or not there."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TypeAlias

import msgspec

from leadfeeder_async.errors import IncompleteListError, IncompleteWindowError, LeadfeederError, PaginationError
from leadfeeder_async.jobs.progress import OnProgress, Progress, ProgressTracker, notify
from leadfeeder_async.jobs.resumable_file import JobIdentity, ResumableFile, open_resumable
from leadfeeder_async.jobs.tabular import check_table, columns_of
from leadfeeder_async.pagination.page import Page, ResumePosition
from leadfeeder_async.pagination.problems import (
    combine_problems,
    count_gaps,
    join_messages,
    raise_at_end,
    raise_problems,
)

Write: TypeAlias = Callable[[bytes], Awaitable[object]]
"""Takes the next bytes of an export."""


class ExportJob(msgspec.Struct, frozen=True):
    """A list to export."""

    identity: JobIdentity
    pages: Callable[[ResumePosition | None, frozenset[str], int], AsyncGenerator[Page[msgspec.Raw], None]]
    """Reads the list after a position, without the rows of some ids; the number is how many rows are done."""
    row: type[object]
    """What a row is, for the columns of a table."""
    limit: int | None
    """How many rows are wanted."""
    partitioned_by_day: bool
    """Each row belongs to one day, so that a day that is done brings none of its rows again."""


async def write_rows(
    pages: AsyncGenerator[Page[bytes], None],
    write: Write,
    meter: ProgressTracker,
    on_progress: OnProgress | None = None,
) -> Progress:
    """Write every row of ``pages``, one JSON object a line."""
    async with aclosing(raise_at_end(pages)) as rows:
        async for page in rows:
            await write(_lines(page.items))
            notify(meter.count(len(page.items), page.total), on_progress)
    return meter.now()


async def export_file(
    job: ExportJob,
    path: Path,
    meter: ProgressTracker,
    on_progress: OnProgress | None = None,
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> Progress:
    """Write every row of a list to ``path``; until the last one is safe, the file is called ``….part``.

    The suffix chooses the format: ``.csv`` and ``.parquet`` are tables, ``.ndjson`` and ``.jsonl`` JSON lines.
    ``resume`` goes on where an unfinished export of the same query stopped. Where rows could not be read, all others
    are in the ``….part``, and IncompleteListError or IncompleteWindowError says so; who resumes then, finishes the
    file without them. Raises CheckpointError, before anything is sent, where ``path`` exists, cannot be written, is
    being written by another export, or is unfinished and ``resume`` is not set.
    """
    check_table(path)
    with open_resumable(path, job.identity, resume=resume, overwrite=overwrite) as part:
        meter.start_from(part.checkpoint.rows)
        known = part.ids_already_written(rows_of_a_day=job.partitioned_by_day)
        pages = job.pages(part.checkpoint.position, known, part.checkpoint.rows)
        problems = list[LeadfeederError]()
        async with aclosing(pages):
            async for page in pages:
                if page.problems:
                    problems.extend(page.problems)
                    part.record_gaps(page.problems, page.window)
                part.append(_lines(page.items), len(page.items), page.position, page.window)
                notify(meter.count(len(page.items), page.total), on_progress)
                # A list that stopped may go on another time, and is not read past.
                raise_problems([one for one in page.problems if isinstance(one, IncompleteListError)])
                del page  # its body's memory is used again by the next one
        if part.checkpoint.gap_count:
            error = _incomplete(part, problems)
            part.acknowledge_gaps(ended=job.limit is None or part.checkpoint.rows < job.limit)
            raise error
        part.finish(lambda: columns_of(job.row))
    return meter.now()


def _incomplete(part: ResumableFile, problems: Sequence[LeadfeederError]) -> PaginationError:
    """Return what is wrong with an export that was read to its end, in all of its runs."""
    state, error = part.checkpoint, combine_problems(problems) if problems else IncompleteListError("")
    message = error.message
    if state.gap_count > len(problems):  # earlier runs met some
        said = join_messages([one.message for one in state.gaps], state.gap_count)
        message = f"{count_gaps(state.gap_count)} of this list could not be read. {said}"
    window = error.hint if isinstance(error, IncompleteWindowError) else ""
    safe = f"All other rows are safe in {part.path}; resume=True (--resume) finishes the file without what is missing."
    return error.with_context(error.context, message=message, hint=f"{window} {safe}".lstrip())


def _lines(rows: Sequence[bytes]) -> bytes:
    return b"\n".join((*rows, b""))
