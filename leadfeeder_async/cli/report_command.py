"""``leadfeeder report``: write an HTML page about the visitors in a synced database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.options import TimeZone
from leadfeeder_async.cli.printing import pluralize, print_err


def report(
    *,
    db: Annotated[Path, Parameter(help="The database that `leadfeeder sync` created.")] = Path("leadfeeder.duckdb"),
    out: Annotated[Path, Parameter(help="The HTML file to write.")] = Path("report.html"),
    since: Annotated[str, Parameter(help="The first day: YYYY-MM-DD, or `30d` for the last 30 days.")] = "30d",
    until: Annotated[
        str | None,
        Parameter(
            help="The last day, included: YYYY-MM-DD, `today` or `yesterday`. By default, the last complete day of the "
            "database."
        ),
    ] = None,
    title: Annotated[str | None, Parameter(help="The heading of the page.")] = None,
    account_id: Annotated[
        str | None, Parameter(help="The account. Required if the database contains several accounts.")
    ] = None,
    tz: TimeZone = "UTC",
    overwrite: Annotated[bool, Parameter(negative=(), help="Replace the file if it exists.")] = False,
) -> None:
    """Write an HTML page about the visits in a synced database. Sends no requests."""
    from leadfeeder_async.report import write_report

    page = write_report(
        db, out, since=since, until=until, title=title, account_id=account_id, overwrite=overwrite, tz=tz
    )
    if page.coverage.finished_at is None:
        print_err(
            "The first sync has not finished, so the page shows only the data synced so far. "
            "Continue it with `leadfeeder sync`."
        )
    print_err(
        f"{pluralize(page.totals.visits, 'visit')} of {pluralize(page.totals.companies, 'company')}, {page.window}, "
        f"{out.stat().st_size / 1_000:,.0f} kB -> {out}"
    )
