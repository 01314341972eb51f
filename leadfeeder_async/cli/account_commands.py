"""``leadfeeder accounts`` and ``leadfeeder usage``."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Annotated

from cyclopts import Parameter

from leadfeeder_async.cli.options import DEFAULT_OUTPUT, AccountId, DisplayOptions
from leadfeeder_async.cli.printing import format_charge, print_err
from leadfeeder_async.cli.record_tables import schema_of_names, show_records, to_record
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.usage import ApiUsage
from leadfeeder_async.pagination.date_range import months_before, utc_today
from leadfeeder_async.settings import DEFAULT_MONTHLY_QUOTA

MAX_MONTHS = 120

ACCOUNT = schema_of_names("id", "name")
USAGE = schema_of_names(
    "period",
    "method",
    "endpoint",
    "requests",
    "credits_charged",
    columns={
        "period": "month",
        "method": "method",
        "endpoint": "endpoint",
        "requests": "requests",
        "credits_charged": "credits",
    },
    never_truncated=("period", "method"),
)


async def accounts(*, output: DisplayOptions = DEFAULT_OUTPUT) -> None:
    """List the accounts that the API key can access.

    Credits: none.
    """
    ACCOUNT.check_fields(output)
    async with AsyncLeadfeeder() as lf:
        response = await lf.accounts.list()
    records = [to_record({"id": account.id, "name": account.name}) for account in response.data]
    show_records(records, ACCOUNT, output, "account")


async def usage(
    *,
    months: Annotated[int, Parameter(help="The number of months, including the current one.")] = 1,
    quota: Annotated[int, Parameter(help="The key's monthly quota of requests.")] = DEFAULT_MONTHLY_QUOTA,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """Show requests and credits by month and endpoint.

    Credits: none.
    """
    USAGE.check_fields(output)
    check_argument(1 <= months <= MAX_MONTHS, f"--months {months} must be between 1 and {MAX_MONTHS}.")
    check_argument(quota >= 1, f"--quota {quota} must be at least 1.")
    periods = last_months(months, utc_today())
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        response = await lf.usage.get(start_period=periods[0], end_period=periods[-1])
    rows = sorted((item.attributes for item in response.data), key=lambda row: (row.period or "", -(row.requests or 0)))
    show_records([to_record(row) for row in rows], USAGE, output, "request")
    for period in periods:
        print_err(month_total(period, response.data, quota))


def last_months(number: int, today: date) -> list[str]:
    """Return the last months as ``YYYY-MM``, ending with the current one."""
    first_day = today.replace(day=1)
    return [f"{months_before(first_day, months):%Y-%m}" for months in reversed(range(number))]


def month_total(period: str, usage: Iterable[ApiUsage], quota: int) -> str:
    """Return a line with the requests and credits of a month."""
    rows = [item.attributes for item in usage if item.attributes.period == period]
    requests = sum(row.requests or 0 for row in rows)
    credits_charged = sum(row.credits_charged or 0 for row in rows)
    return f"{period}: {requests:,} of {quota:,} requests ({requests / quota:.1%}), {format_charge(credits_charged)}."
