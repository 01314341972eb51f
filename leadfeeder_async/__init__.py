"""The asyncio-native client for the Leadfeeder (Dealfront) API v1."""

from importlib import import_module
from typing import TYPE_CHECKING

from leadfeeder_async._version import __version__

if TYPE_CHECKING:
    from leadfeeder_async import errors as errors
    from leadfeeder_async import models as models
    from leadfeeder_async._http.attempt import Attempt
    from leadfeeder_async._http.connection import Stats
    from leadfeeder_async._http.endpoint import Endpoint, Paging, Resend, Spend
    from leadfeeder_async._http.limiter import RateLimiter
    from leadfeeder_async._walks.pages import Page, Position
    from leadfeeder_async.budget import Budget, SharedCredits
    from leadfeeder_async.client import AsyncLeadfeeder
    from leadfeeder_async.enrich.api import Enrichment
    from leadfeeder_async.enrich.outcomes import Enriched, Estimate, Outcome, Tally
    from leadfeeder_async.errors import (
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
        LimiterUnavailableError,
        LongWorkError,
        MissingKeyError,
        NetworkError,
        NotFoundError,
        OffsetExceededError,
        OutcomeUnknownError,
        PermissionDeniedError,
        ProtocolError,
        QuotaExceededError,
        RateLimitedError,
        RedirectError,
        ReplyError,
        ResponseTooLargeError,
        ServerError,
        StatusError,
        TLSError,
        UnexpectedStatusError,
        UseError,
        WrongLoopError,
    )
    from leadfeeder_async.export.progress import OnProgress, Progress
    from leadfeeder_async.id_pager import IdPager
    from leadfeeder_async.paging import Pager
    from leadfeeder_async.sweep import Sweep
    from leadfeeder_async.windows import Window

__all__ = [
    "AsyncLeadfeeder",
    "Attempt",
    "AttemptTimeoutError",
    "AuthenticationError",
    "BadRequestError",
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
    "DeadlineExceededError",
    "DecodeError",
    "DisconnectedError",
    "Endpoint",
    "Enriched",
    "Enrichment",
    "Estimate",
    "IdPager",
    "IncompleteListError",
    "IncompleteWindowError",
    "InsufficientCreditsError",
    "InvalidIdError",
    "LeadfeederError",
    "LimiterUnavailableError",
    "LongWorkError",
    "MissingKeyError",
    "NetworkError",
    "NotFoundError",
    "OffsetExceededError",
    "OnProgress",
    "Outcome",
    "OutcomeUnknownError",
    "Page",
    "Pager",
    "Paging",
    "PermissionDeniedError",
    "Position",
    "Progress",
    "ProtocolError",
    "QuotaExceededError",
    "RateLimitedError",
    "RateLimiter",
    "RedirectError",
    "ReplyError",
    "Resend",
    "ResponseTooLargeError",
    "ServerError",
    "SharedCredits",
    "Spend",
    "Stats",
    "StatusError",
    "Sweep",
    "TLSError",
    "Tally",
    "UnexpectedStatusError",
    "UseError",
    "Window",
    "WrongLoopError",
    "__version__",
]


_HOMES = {
    "AsyncLeadfeeder": "client",
    "Attempt": "_http.attempt",
    "Budget": "budget",
    "Endpoint": "_http.endpoint",
    "Enriched": "enrich.outcomes",
    "Enrichment": "enrich.api",
    "Estimate": "enrich.outcomes",
    "IdPager": "id_pager",
    "OnProgress": "export.progress",
    "Outcome": "enrich.outcomes",
    "Page": "_walks.pages",
    "Pager": "paging",
    "Paging": "_http.endpoint",
    "Position": "_walks.pages",
    "Progress": "export.progress",
    "RateLimiter": "_http.limiter",
    "Resend": "_http.endpoint",
    "SharedCredits": "budget",
    "Spend": "_http.endpoint",
    "Stats": "_http.connection",
    "Sweep": "sweep",
    "Tally": "enrich.outcomes",
    "Window": "windows",
}
"""Where the public names live; those not listed are errors.

Each is imported when it is first asked for: a test run, a command line or a module that only catches errors does not
pay for a client.
"""


_MODULES = {"budget", "client", "errors", "id_pager", "models", "paging", "resources", "settings", "sweep", "windows"}


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
