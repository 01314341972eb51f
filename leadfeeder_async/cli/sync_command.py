"""``leadfeeder sync``: an account's visits and what belongs to them, kept up to date in a DuckDB file."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from leadfeeder_async.cli import terminal
from leadfeeder_async.cli.export_commands import AccountId, read_day
from leadfeeder_async.cli.record_tables import OutputOptions, flat, record_of, show
from leadfeeder_async.errors import IncompleteListError

if TYPE_CHECKING:
    from leadfeeder_async.jobs.progress import Progress
    from leadfeeder_async.sync import SyncResult

CHANGES = flat("table", "new", "updated", "removed", whole=("table",))


async def sync(
    *,
    db: Annotated[Path, Parameter(help="The DuckDB file; made if it is not there.")] = Path("leadfeeder.duckdb"),
    since: Annotated[
        str | None,
        Parameter(
            help="The first day: YYYY-MM-DD, `today`, or `30d` for the last 30 days. "
            "Without it, 90 days the first time, and then what is there."
        ),
    ] = None,
    lookback: Annotated[int, Parameter(help="Read so many days before the last one again: visits come late.")] = 3,
    account_id: AccountId = None,
) -> None:
    """Bring a DuckDB file up to date: visits, companies, tags, lists, usage and credits; free.

    After an interruption, the same command goes on. What the plan does not cover is named on stderr, and the rest is
    synced.
    """
    from leadfeeder_async.client import AsyncLeadfeeder
    from leadfeeder_async.jobs.sync.sync_run import REREAD_HINT
    from leadfeeder_async.sync import sync_account

    first, rows = None if since is None else read_day(since), 0
    with terminal.progress_bar("visits") as on_progress:

        def watch(progress: Progress) -> None:
            nonlocal rows
            rows = progress.done
            on_progress(progress)

        try:
            async with AsyncLeadfeeder(account_id=account_id) as lf:
                result = await sync_account(lf, db, since=first, lookback_days=lookback, on_progress=watch)
        except BaseException as error:
            told = isinstance(error, IncompleteListError) and error.hint == REREAD_HINT
            if (rows or not isinstance(error, Exception)) and not told:
                terminal.print_note(
                    f"Not finished: {rows:,} visits are safe in {db}. To go on:\n  {same_command(sys.argv)}"
                )
            raise
    _report(result, db)


def same_command(argv: list[str]) -> str:
    """Return the command as it can be pasted."""
    return shlex.join([Path(argv[0]).name, *argv[1:]])


def _report(result: SyncResult, db: Path) -> None:
    for table, refusal in result.skipped.items():
        terminal.print_note(f"Left out: {table}. {refusal}")
    rows = [
        record_of({"table": table, "new": one.new, "updated": one.updated, "removed": one.removed})
        for table, one in result.tables.items()
        if table not in result.skipped
    ]
    show(rows, CHANGES, OutputOptions(), "tables")
    terminal.print_note(
        f"{result.first_day} to {result.last_day} in {result.elapsed:.1f} s: "
        f"{terminal.pluralize(result.requests, 'request')}, {result.rate_limited:,} answers 429, "
        f"{terminal.pluralize(result.credits, 'credit')} charged -> {db}"
    )
