"""Run an export with a progress bar, and print the command that resumes it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from leadfeeder_async.cli.printing import format_charge, plural, pluralize, print_err
from leadfeeder_async.cli.progress_bar import progress_bar
from leadfeeder_async.cli.shell import join_command
from leadfeeder_async.cli.stdout_writer import write_stdout
from leadfeeder_async.errors import BudgetExceededError, CheckpointError, UsageError, check_argument
from leadfeeder_async.jobs.checkpoint import JobKind, JobState
from leadfeeder_async.jobs.enrich.enrichment_state import EnrichmentState
from leadfeeder_async.jobs.export import write_rows
from leadfeeder_async.jobs.export_state import EXPORT, ExportState
from leadfeeder_async.jobs.progress import OnProgress, Progress, ProgressTracker
from leadfeeder_async.jobs.resumable_file import load_unfinished, partial_path
from leadfeeder_async.jobs.tabular import flat_lines, pick_columns
from leadfeeder_async.models.columns import columns_of
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.types import CsvDialect, Stats

T = TypeVar("T", bound=HasId)
S = TypeVar("S", bound=JobState)

_FILE_OPTIONS = frozenset({"--overwrite", "--resume", "--retry-failed"})

FINISH_WITH_GAPS = "To finish without the missing rows"
"""The beginning of a hint. Scripts search stderr for it, because the same command then accepts the gaps."""


async def export_list(
    pager: Pager[T],
    stats: Stats,
    out: Path | None,
    noun: str,
    *,
    days: str | None = None,
    limit: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    csv_dialect: CsvDialect = "plain",
    fields: Sequence[str] | None = None,
) -> Progress:
    """Export a list to ``out``, or to stdout if ``out`` is None, and print a summary.

    ``days`` are the days of the list with their time zone, for the summary.
    """
    check_argument(out is not None or not resume, "--resume requires an output file.", "Add --out.")
    columns = pick_columns(columns_of(pager.record_type), fields)

    async def write(lines: bytes) -> None:
        await write_stdout(lines if fields is None else await asyncio.to_thread(flat_lines, lines, columns))

    with progress_bar(plural(noun), to_stdout=out is None) as on_progress:
        if out is None:
            progress = await write_rows(pager.raw_pages(), write, ProgressTracker(stats, limit), on_progress)
        else:
            progress = await _to_file(
                pager,
                out,
                on_progress,
                resume=resume,
                overwrite=overwrite,
                csv_dialect=csv_dialect,
                fields=fields,
            )
    print_err(summary(progress, noun, days) + (f" -> {out}" if out else ""))
    if not progress.done and limit != 0:
        print_err(f"There are no {plural(noun)}. Check the account and the options that select them.")
    return progress


async def _to_file(
    pager: Pager[T],
    out: Path,
    on_progress: OnProgress,
    *,
    resume: bool,
    overwrite: bool,
    csv_dialect: CsvDialect,
    fields: Sequence[str] | None,
) -> Progress:
    with resume_hint(out, EXPORT, on_progress) as on_started:
        return await pager.to_file(
            out,
            resume=resume,
            overwrite=overwrite,
            csv_dialect=csv_dialect,
            fields=fields,
            on_progress=on_started,
        )


@contextmanager
def resume_hint(out: Path, kind: JobKind[S], on_progress: OnProgress) -> Generator[OnProgress]:
    """Print the number of saved rows and the command that resumes the job, if the job in the block stops.

    Nothing is printed if an error prevented the job from starting.

    Args:
        out: The file of the job.
        kind: The kind of job.
        on_progress: Called with each progress.

    Yields:
        The ``on_progress`` callback of the job, which shows that the job has started.
    """
    has_started = False

    def on_started(progress: Progress) -> None:
        nonlocal has_started
        has_started = True
        on_progress(progress)

    try:
        yield on_started
    except BaseException as error:
        if has_started or not isinstance(error, CheckpointError | BudgetExceededError | UsageError):
            _print_resume_hint(out, kind)
        raise


def _print_resume_hint(out: Path, kind: JobKind[S]) -> None:
    unfinished = load_unfinished(out, kind)
    if unfinished is None:
        return
    state = unfinished.state
    has_known_gaps = isinstance(state, ExportState) and state.gaps_acknowledged
    reserved = state.reserved_credits if isinstance(state, EnrichmentState) else 0
    replace = "--retry-failed" if "--retry-failed" in sys.argv else "--overwrite"
    options = (replace, "--resume") if out.exists() else ("--resume",)
    purpose = FINISH_WITH_GAPS if has_known_gaps else "To resume"
    saved = f"Not finished: {pluralize(unfinished.rows, 'row')} saved in {partial_path(out)}."
    charged = f" Up to {pluralize(reserved, 'credit')} may have been charged." if reserved else ""
    print_err(f"{saved}{charged} {purpose}:\n  {rebuild_command(*options)}")


def rebuild_command(*options: str) -> str:
    """Return the command line of this process, with ``options`` in place of its options for existing files."""
    kept = [argument for argument in sys.argv[1:] if argument not in _FILE_OPTIONS]
    return join_command([Path(sys.argv[0]).name, *kept, *options])


def summary(progress: Progress, noun: str, days: str | None = None) -> str:
    """Return a line about a finished export."""
    rows = f"{pluralize(progress.done, noun)} of {days}" if days else pluralize(progress.done, noun)
    return (
        f"{rows} in {progress.elapsed:.1f} s: {pluralize(progress.pages, 'page')}, "
        f"{pluralize(progress.requests, 'request')}, {progress.rate_limited:,} rate-limited, "
        f"{format_charge(progress.credits)}"
    )
