"""Clients for tests."""

from __future__ import annotations

from typing import Any

from leadfeeder_async import AsyncLeadfeeder
from leadfeeder_async._core.endpoint import RetrySafety
from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async._secret import Secret
from leadfeeder_async.sandbox import Sandbox

KEY = "canary-key-1234567890"
REDACTOR = Redactor(Secret(KEY))


def client_of(url: str, **options: Any) -> AsyncLeadfeeder:
    """Return a client for account 1 of a server, with a rate limit that no test reaches."""
    settings: dict[str, Any] = {"account_id": "1", "rate": 1e6, "burst": 100_000, **options}
    return AsyncLeadfeeder(KEY, base_url=url, **settings)


def client_for(sandbox: Sandbox, **options: Any) -> AsyncLeadfeeder:
    """Return a client for the first account of a sandbox, with a rate limit that no test reaches."""
    settings: dict[str, Any] = {"account_id": sandbox.account_id, "rate": 1e6, "burst": 100_000, **options}
    return AsyncLeadfeeder(sandbox.api_key, base_url=sandbox.url, **settings)


def request_options(safety: RetrySafety) -> dict[str, bool]:
    """Return the arguments of ``lf.request`` that give a route a retry safety."""
    billed = safety is RetrySafety.BILLED_READ
    return {"idempotent": safety is not RetrySafety.NON_IDEMPOTENT, "may_charge": billed}
