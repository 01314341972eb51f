"""``leadfeeder accounts`` and ``leadfeeder usage``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.record_tables import OutputOptions, TableSchema, flat, record_of, show
from leadfeeder_async.cli.terminal import print_note
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.usage import ApiUsage
from leadfeeder_async.settings import DEFAULT_MONTHLY_QUOTA

ACCOUNT = flat("id", "name")
USAGE = TableSchema(
    flat("period", "method", "endpoint", "requests", "credits_charged").paths,
    {
        "period": "month",
        "method": "method",
        "endpoint": "endpoint",
        "requests": "requests",
        "credits_charged": "credits",
    },
    frozenset({"period", "method"}),
)


async def accounts(*, view: OutputOptions | None = None) -> None:
    """List the accounts of the key; free."""
    view = view or OutputOptions()
    ACCOUNT.chosen(view)
    async with AsyncLeadfeeder() as lf:
        found = (await lf.accounts.list()).data
    show([record_of({"id": one.id, "name": one.name}) for one in found], ACCOUNT, view, "accounts")


async def usage(
    *,
    months: Annotated[int, Parameter(help="How many months, the current one included.")] = 1,
    quota: Annotated[int, Parameter(help="The requests that the key has a month.")] = DEFAULT_MONTHLY_QUOTA,
    view: OutputOptions | None = None,
) -> None:
    """Show the requests and credits of some months by endpoint, against the month's quota; free."""
    view = view or OutputOptions()
    USAGE.chosen(view)
    check_argument(1 <= months <= 120, f"--months {months} must be 1 to 120.")
    check_argument(quota >= 1, f"--quota {quota} must be 1 or more.")
    periods = last_months(months, datetime.now(UTC).date())
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        found = (await lf.usage.get(start_period=periods[0], end_period=periods[-1])).data
    rows = sorted((one.attributes for one in found), key=lambda row: (row.period or "", -(row.requests or 0)))
    show([record_of(row) for row in rows], USAGE, view, "usage")
    for period in periods:
        print_note(total_of(period, found, quota))


def last_months(number: int, today: date) -> list[str]:
    """Return the last months as ``YYYY-MM``, the current one at the end."""
    found = list[str]()
    day = today.replace(day=1)
    for _ in range(number):
        found.insert(0, f"{day:%Y-%m}")
        day = (day - timedelta(1)).replace(day=1)
    return found


def total_of(period: str, usage: Iterable[ApiUsage], quota: int) -> str:
    """Say what one month used in all."""
    rows = [one.attributes for one in usage if one.attributes.period == period]
    requests = sum(row.requests or 0 for row in rows)
    credits_charged = sum(row.credits_charged or 0 for row in rows)
    part = f"{requests / quota:.1%} of {quota:,}"
    return f"{period}: {requests:,} requests, {part}; {credits_charged:,} credits charged."
