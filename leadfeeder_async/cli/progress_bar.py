"""Show the progress of a job on stderr."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager, nullcontext

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from leadfeeder_async.cli.printing import messages
from leadfeeder_async.jobs.progress import OnProgress, Progress


@contextmanager
def progress_bar(label: str, *, to_stdout: bool = False) -> Generator[OnProgress]:
    """Show a progress bar on stderr if it is a terminal.

    Args:
        label: The text before the bar.
        to_stdout: True if the rows are written to stdout. There is no bar if that is a terminal too.

    """
    console = Console(stderr=True)
    bar = RichProgress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[counters]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
    is_visible = console.is_terminal and not messages.is_quiet and not (to_stdout and sys.stdout.isatty())
    with bar if is_visible else nullcontext():
        task = bar.add_task(label, total=None, counters="")

        def on_progress(progress: Progress) -> None:
            bar.update(task, completed=progress.done, total=progress.total, counters=_counters(progress))

        yield on_progress


def _counters(progress: Progress) -> str:
    total = "?" if progress.total is None else f"{progress.total:,}"
    return (
        f"{progress.done:,}/{total} rows  {progress.pages:,} pages  {progress.requests:,} requests  "
        f"{progress.credits:,} credits  {progress.rate:,.0f}/s"
    )
