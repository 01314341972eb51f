"""Accounts, the current user, usage and industries."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import msgspec

from leadfeeder_async.sandbox.pages import numbered_page
from leadfeeder_async.sandbox.query import OperationResult, Query, Route
from leadfeeder_async.sandbox.sample_data import INDUSTRIES, Json
from leadfeeder_async.sandbox.server_state import SandboxAccount


def list_accounts(query: Query) -> OperationResult:
    """Return the accounts of the key. If the request names an account, return that one with its credits.

    All accounts are on one page, unless the request has paging parameters.
    """
    if query.account is None:
        return _account_list(query, [_account_summary(account) for account in query.state.accounts.values()])
    account = query.account
    credits_json: Json = {
        "available": account.credits,
        "used": account.used,
        "remaining": account.credits - account.used,
        "next_reset_on": "2027-01-01",
    }
    account_json: Json = {
        "id": account.id,
        "type": "account",
        "attributes": {"name": account.name, "credits": credits_json},
    }
    if "account_company" in query.includes:
        account_json["relationships"] = {"account_company": None}
    return _account_list(query, [account_json])


def _account_list(query: Query, rows: list[Json]) -> OperationResult:
    is_paged = query.params.keys() & {"page[num]", "page[size]"}
    return numbered_page(query, rows, lambda row: row) if is_paged else OperationResult(rows)


def _account_summary(account: SandboxAccount) -> Json:
    return {"id": account.id, "type": "account_summary", "attributes": {"name": account.name}}


def get_current_user(_: Query) -> OperationResult:
    """Return the user of the key."""
    attributes: Json = {"email": "ada@seller.test", "first_name": "Ada", "last_name": "Sand", "team_role": "admin"}
    return OperationResult({"id": "u-1", "type": "user", "attributes": attributes})


Month = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]


class MonthRange(msgspec.Struct, frozen=True):
    """The months to report usage for, both included."""

    start_period: Month
    end_period: Month

    def __post_init__(self) -> None:
        if self.start_period > self.end_period:
            raise ValueError("start_period is after end_period")


def get_usage(query: Query) -> OperationResult:
    """Return the requests and credits of the current month for each endpoint in the ledger."""
    months, current_month = query.decode_params(MonthRange), f"{datetime.now(UTC):%Y-%m}"
    if not months.start_period <= current_month <= months.end_period:
        return OperationResult([])
    requests = Counter[tuple[str, str]]()
    charged = Counter[tuple[str, str]]()
    for request in query.state.ledger.requests:
        requests[request.method, request.template] += 1
        charged[request.method, request.template] += request.charged
    return OperationResult(
        [_usage(current_month, *endpoint, count, charged[endpoint]) for endpoint, count in requests.items()]
    )


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
    """Return Leadfeeder's own industry classification."""
    return OperationResult(
        [
            {"id": code, "type": "industry", "attributes": {"code": code, "name": name, "classification": "internal"}}
            for code, name, *_ in INDUSTRIES
        ]
    )


ROUTES = (
    Route("GET", "/v1/accounts", list_accounts, ("include",), ("account_company",), "number", "optional"),
    Route("GET", "/v1/users/me", get_current_user, account="none"),
    Route("GET", "/v1/usage", get_usage, ("start_period", "end_period")),
    Route("GET", "/v1/industries", list_industries),
)
