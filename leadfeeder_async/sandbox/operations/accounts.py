"""Accounts, the user, usage and reference data."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from leadfeeder_async.sandbox.query import Json, OperationResult, Query, Route
from leadfeeder_async.sandbox.world import INDUSTRIES


def list_accounts(query: Query) -> OperationResult:
    """Accounts of the key, or one with its credits."""
    query.includes({"account_company"})
    if query.account is None:
        accounts = query.state.accounts.values()
        return OperationResult(
            [{"id": one.id, "type": "account_summary", "attributes": {"name": one.name}} for one in accounts]
        )
    one = query.account
    balance: Json = {
        "available": one.credits,
        "used": one.used,
        "remaining": one.credits - one.used,
        "next_reset_on": "2027-01-01",
    }
    return OperationResult([{"id": one.id, "type": "account", "attributes": {"name": one.name, "credits": balance}}])


def get_current_user(_: Query) -> OperationResult:
    """The key's user."""
    name: Json = {"email": "ada@seller.test", "first_name": "Ada", "last_name": "Sand", "team_role": "admin"}
    return OperationResult({"id": "u-1", "type": "user", "attributes": name})


Month = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class Months(msgspec.Struct, frozen=True):
    """Months from one to another."""

    start_period: Month
    end_period: Month

    def __post_init__(self) -> None:
        if self.start_period > self.end_period:
            raise ValueError("start_period is after end_period")


def get_usage(query: Query) -> OperationResult:
    """The requests of this month, as the ledger has them."""
    months, now = query.read_params(Months), f"{datetime.now(UTC):%Y-%m}"
    if not months.start_period <= now <= months.end_period:
        return OperationResult([])
    counted = Counter[tuple[str, str]]()
    charged = Counter[tuple[str, str]]()
    for entry in query.state.ledger.requests:
        counted[entry.method, entry.template] += 1
        charged[entry.method, entry.template] += entry.charged
    return OperationResult([_usage(now, *where, count, charged[where]) for where, count in counted.items()])


def _usage(period: str, method: str, endpoint: str, requests: int, charged: int) -> Json:
    attributes: Json = {
        "period": period,
        "method": method,
        "endpoint": endpoint,
        "requests": requests,
        "credits_charged": charged,
    }
    return {"id": f"{period}:{method}:{endpoint}", "type": "api_usage", "attributes": attributes}


def list_industries(_: Query) -> OperationResult:
    """Leadfeeder's own industries."""
    shown = [{"code": code, "name": name, "classification": "internal"} for code, name in INDUSTRIES]
    return OperationResult([{"id": one["code"], "type": "industry", "attributes": one} for one in shown])


ROUTES = (
    Route("GET", "/v1/accounts", list_accounts, ("include",), account="optional"),
    Route("GET", "/v1/users/me", get_current_user, account="none"),
    Route("GET", "/v1/usage", get_usage, ("start_period", "end_period")),
    Route("GET", "/v1/industries", list_industries),
)
