"""``leadfeeder report``: a page on who visited, from a synced database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.printing import print_err


def report(
    *,
    db: Annotated[Path, Parameter(help="The database that `leadfeeder sync` keeps.")] = Path("leadfeeder.duckdb"),
    out: Annotated[Path, Parameter(help="The page to write.")] = Path("report.html"),
    since: Annotated[str, Parameter(help="The first day: YYYY-MM-DD, or `30d` for the last 30 days.")] = "30d",
    until: Annotated[str | None, Parameter(help="The last day, included; without it, the last whole day held.")] = None,
    title: Annotated[str | None, Parameter(help="What the page is called.")] = None,
    account_id: Annotated[str | None, Parameter(help="The account; needed where the database holds several.")] = None,
    overwrite: Annotated[bool, Parameter(negative=(), help="Replace the file if it exists.")] = False,
) -> None:
    """Write one HTML page on the visits of some days; sends nothing, and the page needs no network."""
    from leadfeeder_async.report import write_report

    page = write_report(db, out, since=since, until=until, title=title, account_id=account_id, overwrite=overwrite)
    if page.coverage.finished_at is None:
        print_err("The first sync is not through, so the page shows only what is there: `leadfeeder sync` goes on.")
    print_err(
        f"{page.totals.visits:,} visits of {page.totals.companies:,} companies, {page.window}, "
        f"{out.stat().st_size / 1_000:,.0f} kB -> {out}"
    )
