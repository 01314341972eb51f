"""``leadfeeder sync``: update a DuckDB database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.dates import parse_day
from leadfeeder_async.cli.export_job import rebuild_command
from leadfeeder_async.cli.options import DEFAULT_OUTPUT, AccountId
from leadfeeder_async.cli.printing import format_charge, messages, pluralize, print_err
from leadfeeder_async.cli.progress_bar import progress_bar
from leadfeeder_async.cli.record_tables import schema_of_names, show_records, to_record
from leadfeeder_async.errors import IncompleteListError

if TYPE_CHECKING:
    from leadfeeder_async.jobs.progress import Progress
    from leadfeeder_async.sync import SyncResult

CHANGES = schema_of_names("table", "new", "updated", "removed", never_truncated=("table",))


async def sync(
    *,
    db: Annotated[Path, Parameter(help="The DuckDB file. It is created if it does not exist.")] = Path(
        "leadfeeder.duckdb"
    ),
    since: Annotated[
        str | None,
        Parameter(
            help="The first day: YYYY-MM-DD, `today`, `yesterday`, or `30d` for the last 30 days. Default: `90d` in "
            "the first sync, later the first day in the database."
        ),
    ] = None,
    lookback: Annotated[
        int, Parameter(help="Check this many days before the last synced day again, to include late visits.")
    ] = 3,
    wait: Annotated[float, Parameter(help="Wait this many seconds if another process has the database open.")] = 60,
    account_id: AccountId = None,
) -> None:
    """Update a DuckDB database with visits, companies, tags, lists and usage.

    If the sync is interrupted, run the same command again to resume. Tables that the account's plan does not include
    are skipped and named on stderr.

    Credits: none.
    """
    from leadfeeder_async.client import AsyncLeadfeeder
    from leadfeeder_async.sync import sync_account

    first_day, saved_visits = None if since is None else parse_day(since), 0
    with progress_bar("visits") as show_progress:

        def on_progress(progress: Progress) -> None:
            nonlocal saved_visits
            saved_visits = progress.done
            show_progress(progress)

        try:
            async with AsyncLeadfeeder(account_id=account_id) as lf:
                result = await sync_account(
                    lf, db, since=first_day, lookback_days=lookback, on_progress=on_progress, wait=wait
                )
        except BaseException as error:
            is_complete = isinstance(error, IncompleteListError) and error.run_completed
            if (saved_visits or not isinstance(error, Exception)) and not is_complete:
                saved = f"Not finished: {pluralize(saved_visits, 'visit')} read and kept."
                print_err(f"{saved} To resume:\n  {rebuild_command()}")
            raise
    _print_result(result, db)


def _print_result(result: SyncResult, db: Path) -> None:
    for table, error in result.skipped.items():
        print_err(f"Skipped table {table}: {error}")
    rows = [
        to_record({"table": table, "new": changes.new, "updated": changes.updated, "removed": changes.removed})
        for table, changes in result.tables.items()
        if table not in result.skipped
    ]
    if not messages.is_quiet:  # cron sends all output by mail
        show_records(rows, CHANGES, DEFAULT_OUTPUT, "table")
    print_err(
        f"{result.first_day} to {result.last_day} in {result.elapsed:.1f} s: "
        f"{pluralize(result.requests, 'request')}, {result.rate_limited:,} rate-limited, "
        f"{format_charge(result.credits)} -> {db}"
    )
