"""The asyncio-native client for the Leadfeeder (Dealfront) API v1."""

from importlib import import_module
from typing import TYPE_CHECKING

from leadfeeder_async._version import __version__

if TYPE_CHECKING:
    from leadfeeder_async import errors as errors
    from leadfeeder_async import models as models
    from leadfeeder_async._core.attempt import AttemptEvent
    from leadfeeder_async._core.client_state import Stats
    from leadfeeder_async._core.endpoint import Billing, Endpoint, PaginationStyle, RetrySafety
    from leadfeeder_async._core.rate_limiter import RateLimiter
    from leadfeeder_async.budget import Budget, SharedCreditPool
    from leadfeeder_async.client import AsyncLeadfeeder
    from leadfeeder_async.errors import (
        APIStatusError,
        AttemptTimeoutError,
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        CheckpointError,
        ClientClosedError,
        ConfigurationError,
        ConnectError,
        CursorExpiredError,
        CursorLoopError,
        DatabaseError,
        DatabaseLockedError,
        DeadlineExceededError,
        DecodeError,
        DisconnectedError,
        IncompleteListError,
        IncompleteWindowError,
        InsufficientCreditsError,
        InvalidIdError,
        LeadfeederError,
        MissingKeyError,
        NetworkError,
        NotFoundError,
        OffsetExceededError,
        OutcomeUnknownError,
        PaginationError,
        PermissionDeniedError,
        ProtocolError,
        QuotaExceededError,
        RateLimitedError,
        RateLimiterUnavailableError,
        RedirectError,
        ResponseError,
        ResponseTooLargeError,
        ServerError,
        TLSError,
        UnexpectedStatusError,
        UsageError,
        WrongLoopError,
    )
    from leadfeeder_async.jobs.enrich.enrichment import Enrichment
    from leadfeeder_async.jobs.enrich.results import EnrichmentEstimate, EnrichmentResult, EnrichmentSummary, Outcome
    from leadfeeder_async.jobs.progress import OnProgress, Progress
    from leadfeeder_async.pagination.date_range import DateWindow
    from leadfeeder_async.pagination.id_pager import IdPager
    from leadfeeder_async.pagination.multi_account import MultiAccountPager
    from leadfeeder_async.pagination.page import Page, ResumePosition
    from leadfeeder_async.pagination.pager import Pager

__all__ = [
    "APIStatusError",
    "AsyncLeadfeeder",
    "AttemptEvent",
    "AttemptTimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "Billing",
    "Budget",
    "BudgetExceededError",
    "CheckpointError",
    "ClientClosedError",
    "ConfigurationError",
    "ConnectError",
    "CursorExpiredError",
    "CursorLoopError",
    "DatabaseError",
    "DatabaseLockedError",
    "DateWindow",
    "DeadlineExceededError",
    "DecodeError",
    "DisconnectedError",
    "Endpoint",
    "Enrichment",
    "EnrichmentEstimate",
    "EnrichmentResult",
    "EnrichmentSummary",
    "IdPager",
    "IncompleteListError",
    "IncompleteWindowError",
    "InsufficientCreditsError",
    "InvalidIdError",
    "LeadfeederError",
    "MissingKeyError",
    "MultiAccountPager",
    "NetworkError",
    "NotFoundError",
    "OffsetExceededError",
    "OnProgress",
    "Outcome",
    "OutcomeUnknownError",
    "Page",
    "Pager",
    "PaginationError",
    "PaginationStyle",
    "PermissionDeniedError",
    "Progress",
    "ProtocolError",
    "QuotaExceededError",
    "RateLimitedError",
    "RateLimiter",
    "RateLimiterUnavailableError",
    "RedirectError",
    "ResponseError",
    "ResponseTooLargeError",
    "ResumePosition",
    "RetrySafety",
    "ServerError",
    "SharedCreditPool",
    "Stats",
    "TLSError",
    "UnexpectedStatusError",
    "UsageError",
    "WrongLoopError",
    "__version__",
]


_HOMES = {
    "AsyncLeadfeeder": "client",
    "AttemptEvent": "_core.attempt",
    "Billing": "_core.endpoint",
    "Budget": "budget",
    "DateWindow": "pagination.date_range",
    "Endpoint": "_core.endpoint",
    "Enrichment": "jobs.enrich.enrichment",
    "EnrichmentEstimate": "jobs.enrich.results",
    "EnrichmentResult": "jobs.enrich.results",
    "EnrichmentSummary": "jobs.enrich.results",
    "IdPager": "pagination.id_pager",
    "MultiAccountPager": "pagination.multi_account",
    "OnProgress": "jobs.progress",
    "Outcome": "jobs.enrich.results",
    "Page": "pagination.page",
    "Pager": "pagination.pager",
    "PaginationStyle": "_core.endpoint",
    "Progress": "jobs.progress",
    "RateLimiter": "_core.rate_limiter",
    "ResumePosition": "pagination.page",
    "RetrySafety": "_core.endpoint",
    "SharedCreditPool": "budget",
    "Stats": "_core.client_state",
}
"""Where the public names live; those not listed are errors.

Each is imported when it is first asked for: a test run, a command line or a module that only catches errors does not
pay for a client.
"""


_MODULES = {"budget", "client", "errors", "models", "pagination", "resources", "settings"}


if not TYPE_CHECKING:  # which would take any name for one of the package's

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        return globals().setdefault(name, getattr(home, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
