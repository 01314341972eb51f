"""The small tables beside the visits. Each is read with a few requests, and the server may deny any of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import DecodeError
from leadfeeder_async.jobs.sync import row_mapping
from leadfeeder_async.jobs.sync.transaction import Row, Transaction
from leadfeeder_async.models.request_bodies import Scope
from leadfeeder_async.pagination.date_range import months_before

TableWrite: TypeAlias = Callable[[Transaction], None]
"""Writes rows that were read."""

Read: TypeAlias = Callable[[AsyncLeadfeeder, str], Awaitable[TableWrite]]
"""Reads the rows of a table for an account."""


async def _read_tags(lf: AsyncLeadfeeder, account: str) -> TableWrite:
    rows = [row_mapping.tag_row(account, tag) async for tag in lf.tags.list()]
    _check_ids(rows)
    return lambda transaction: transaction.replace_all("tags", account, rows)


async def _read_lists(lf: AsyncLeadfeeder, account: str) -> TableWrite:
    scopes: tuple[Scope, ...] = ("company", "contact")
    rows = [
        row_mapping.list_row(account, list_, scope) for scope in scopes async for list_ in lf.lists.list(scope=scope)
    ]
    _check_ids(rows)
    return lambda transaction: transaction.replace_all("lists", account, rows)


def _check_ids(rows: Sequence[Row]) -> None:
    """Raise DecodeError if a row has an empty id. Such rows would replace each other."""
    if not all(row["id"] for row in rows):
        raise DecodeError("A row has no id.")


async def _read_usage(lf: AsyncLeadfeeder, account: str) -> TableWrite:
    this_month = lf.server_now().date().replace(day=1)
    usage = await lf.usage.get(start_period=f"{months_before(this_month, 2):%Y-%m}", end_period=f"{this_month:%Y-%m}")
    rows = [row_mapping.usage_row(account, entry) for entry in usage.data]
    return lambda transaction: transaction.upsert("usage", rows)


async def _read_credits(lf: AsyncLeadfeeder, account: str) -> TableWrite:
    found = (await lf.accounts.get()).data
    balance = found.credits
    seen_at = datetime.now(UTC).isoformat()
    rows = [row_mapping.credits_row(account, seen_at, balance)] if balance else []

    def write(transaction: Transaction) -> None:
        transaction.upsert("credits", rows)
        transaction.save_account_name(account, found.name)

    return write


LOOKUP_TABLES: dict[str, Read] = {
    "tags": _read_tags,
    "lists": _read_lists,
    "usage": _read_usage,
    "credits": _read_credits,
}
"""The function that reads each table."""
