"""What a person or a pipe sees: data on stdout, everything else on stderr."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from leadfeeder_async.cli import print_err
from leadfeeder_async.errors import CheckpointError, UsageError, check_argument
from leadfeeder_async.jobs.export import write_rows
from leadfeeder_async.jobs.progress import OnProgress, Progress, ProgressTracker
from leadfeeder_async.jobs.resumable_file import load_unfinished, partial_path
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.types import Stats

T = TypeVar("T", bound=HasId)


def print_note(text: str) -> None:
    """Say something to the person."""
    print_err(text)


def print_out(text: str) -> None:
    """Write one line of data."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def pluralize(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it is not one."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_charge(credits: int) -> str:  # noqa: A002 - the API's word
    """Say what was charged."""
    return f"{pluralize(credits, 'credit')} charged."


async def export(
    pager: Pager[T],
    stats: Stats,
    out: Path | None,
    noun: str,
    *,
    limit: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
) -> Progress:
    """Export a list to ``out`` or stdout, with its progress on stderr."""
    check_argument(out is not None or not resume, "--resume needs a file to go on with.", "Name it with --out.")
    with progress_bar(noun) as on_progress:
        if out is None:
            progress = await write_rows(pager.raw_pages(), to_stdout, ProgressTracker(stats, limit), on_progress)
        else:
            progress = await _to_file(pager, out, on_progress, resume=resume, overwrite=overwrite)
    print_note(summary(progress, noun) + (f" -> {out}" if out else ""))
    return progress


async def to_stdout(data: bytes) -> None:
    """Write in a thread: a slow reader of the pipe must not hold up the requests under way."""
    await asyncio.to_thread(_write_through, data)


def _write_through(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


async def _to_file(pager: Pager[T], out: Path, on_progress: OnProgress, *, resume: bool, overwrite: bool) -> Progress:
    watch = ResumeHint(on_progress)
    try:
        return await pager.to_file(out, resume=resume, overwrite=overwrite, on_progress=watch)
    except BaseException as error:
        watch.print_resume_hint(out, error)
        raise


class ResumeHint:
    """Remembers whether a job has begun."""

    def __init__(self, on_progress: OnProgress) -> None:
        self._on_progress = on_progress
        self._begun = False

    def __call__(self, progress: Progress) -> None:
        """Hear of some more rows."""
        self._begun = True
        self._on_progress(progress)

    def print_resume_hint(self, out: Path, error: BaseException) -> None:
        """Say what is safe of a job that stopped, and the command that goes on; not where it was never begun."""
        if isinstance(error, CheckpointError | UsageError) and not self._begun:
            return
        unfinished = load_unfinished(out)
        if unfinished is not None:
            replacing = "--retry-failed" if "--retry-failed" in sys.argv else "--overwrite"
            flags = (replacing, "--resume") if out.exists() else ("--resume",)
            safe = f"Not finished: {pluralize(unfinished.rows, 'row')} safe in {partial_path(out)}"
            cost = f", for up to {pluralize(unfinished.credits, 'credit')}" if unfinished.credits else ""
            then = "To finish it without what is missing:" if unfinished.gaps_acknowledged else "To go on:"
            print_note(f"{safe}{cost}. {then}\n  {rebuild_command(*flags)}")


def rebuild_command(*flags: str) -> str:
    """Return the command that was given, with other flags about its file."""
    kept = [word for word in sys.argv[1:] if word not in {"--overwrite", "--resume", "--retry-failed"}]
    return shlex.join([Path(sys.argv[0]).name, *kept, *flags])


def summary(progress: Progress, noun: str) -> str:
    """Return one line on a finished job."""
    return (
        f"{progress.done:,} {noun} in {progress.elapsed:.1f} s: {pluralize(progress.pages, 'page')}, "
        f"{pluralize(progress.requests, 'request')}, {progress.rate_limited:,} answers 429, "
        f"{pluralize(progress.credits, 'credit')} charged"
    )


@contextmanager
def progress_bar(noun: str) -> Generator[OnProgress]:
    """Show progress on stderr while it is a terminal; say nothing otherwise."""
    console = Console(stderr=True)
    shown = Bars(
        SpinnerColumn(), TextColumn(noun), BarColumn(), _Facts(), TimeRemainingColumn(), console=console, transient=True
    )
    with shown if console.is_terminal else _Silent():
        task = shown.add_task(noun, total=None, facts="")

        def on_progress(progress: Progress) -> None:
            shown.update(task, completed=progress.done, total=progress.total, facts=_facts(progress))

        yield on_progress


class _Silent:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


class _Facts(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(str(task.fields["facts"]))


def _facts(progress: Progress) -> str:
    total = "?" if progress.total is None else f"{progress.total:,}"
    return (
        f"{progress.done:,}/{total} rows  {progress.pages:,} pages  {progress.requests:,} requests  "
        f"{progress.credits:,} credits  {progress.rate:,.0f}/s"
    )
