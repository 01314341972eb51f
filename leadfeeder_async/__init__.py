"""The asyncio-native client for the Leadfeeder (Dealfront) API v1."""

from importlib import import_module
from typing import TYPE_CHECKING

from leadfeeder_async._version import __version__

if TYPE_CHECKING:
    from leadfeeder_async import errors as errors
    from leadfeeder_async import models as models
    from leadfeeder_async import types as types
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
        CredentialError,
        CursorExpiredError,
        CursorLoopError,
        DatabaseError,
        DatabaseLockedError,
        DeadlineExceededError,
        DecodeError,
        DisconnectedError,
        ErrorContext,
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
        RequestPhase,
        ResponseError,
        ResponseTooLargeError,
        SentState,
        ServerError,
        TLSError,
        UnexpectedStatusError,
        UsageError,
        WrongLoopError,
    )
    from leadfeeder_async.jobs.bulk.bulk_change import BulkChange
    from leadfeeder_async.jobs.bulk.change_results import BulkOutcome, BulkResult, BulkSummary
    from leadfeeder_async.jobs.enrich.enrichment import Enrichment
    from leadfeeder_async.jobs.enrich.results import EnrichmentEstimate, EnrichmentResult, EnrichmentSummary, Outcome
    from leadfeeder_async.jobs.progress import OnProgress, Progress
    from leadfeeder_async.jobs.watch.state_store import WatchStore
    from leadfeeder_async.jobs.watch.watch_plan import WatchReading
    from leadfeeder_async.jobs.watch.watcher import OnStatus, WatchStatus
    from leadfeeder_async.models import (
        Account,
        AccountCredits,
        Company,
        CompanyMatch,
        CompanySummary,
        Contact,
        ContactSummary,
        CustomFeed,
        EnrichedIp,
        Location,
        Meta,
        Response,
        Signal,
        Tag,
        User,
        WebVisit,
    )
    from leadfeeder_async.pagination.date_range import DateLike, DateWindow
    from leadfeeder_async.pagination.id_pager import IdPager
    from leadfeeder_async.pagination.multi_account import MultiAccountPager
    from leadfeeder_async.pagination.page import Page, ResumePosition
    from leadfeeder_async.pagination.pager import Pager
    from leadfeeder_async.types import (
        AccessToken,
        AccessTokenProvider,
        ApiKeyProvider,
        AttemptEvent,
        Health,
        LastError,
        OnAttempt,
        QueryValue,
        RateLimiter,
        Stats,
    )

__all__ = [
    "APIStatusError",
    "AccessToken",
    "AccessTokenProvider",
    "Account",
    "AccountCredits",
    "ApiKeyProvider",
    "AsyncLeadfeeder",
    "AttemptEvent",
    "AttemptTimeoutError",
    "AuthenticationError",
    "BadRequestError",
    "Budget",
    "BudgetExceededError",
    "BulkChange",
    "BulkOutcome",
    "BulkResult",
    "BulkSummary",
    "CheckpointError",
    "ClientClosedError",
    "Company",
    "CompanyMatch",
    "CompanySummary",
    "ConfigurationError",
    "ConnectError",
    "Contact",
    "ContactSummary",
    "CredentialError",
    "CursorExpiredError",
    "CursorLoopError",
    "CustomFeed",
    "DatabaseError",
    "DatabaseLockedError",
    "DateLike",
    "DateWindow",
    "DeadlineExceededError",
    "DecodeError",
    "DisconnectedError",
    "EnrichedIp",
    "Enrichment",
    "EnrichmentEstimate",
    "EnrichmentResult",
    "EnrichmentSummary",
    "ErrorContext",
    "Health",
    "IdPager",
    "IncompleteListError",
    "IncompleteWindowError",
    "InsufficientCreditsError",
    "InvalidIdError",
    "LastError",
    "LeadfeederError",
    "Location",
    "Meta",
    "MissingKeyError",
    "MultiAccountPager",
    "NetworkError",
    "NotFoundError",
    "OffsetExceededError",
    "OnAttempt",
    "OnProgress",
    "OnStatus",
    "Outcome",
    "OutcomeUnknownError",
    "Page",
    "Pager",
    "PaginationError",
    "PermissionDeniedError",
    "Progress",
    "ProtocolError",
    "QueryValue",
    "QuotaExceededError",
    "RateLimitedError",
    "RateLimiter",
    "RateLimiterUnavailableError",
    "RedirectError",
    "RequestPhase",
    "Response",
    "ResponseError",
    "ResponseTooLargeError",
    "ResumePosition",
    "SentState",
    "ServerError",
    "SharedCreditPool",
    "Signal",
    "Stats",
    "TLSError",
    "Tag",
    "UnexpectedStatusError",
    "UsageError",
    "User",
    "WatchReading",
    "WatchStatus",
    "WatchStore",
    "WebVisit",
    "WrongLoopError",
    "__version__",
]


_HOMES = {
    "AccessToken": "types",
    "AccessTokenProvider": "types",
    "Account": "models",
    "AccountCredits": "models",
    "ApiKeyProvider": "types",
    "AsyncLeadfeeder": "client",
    "AttemptEvent": "types",
    "Budget": "budget",
    "BulkChange": "jobs.bulk.bulk_change",
    "BulkOutcome": "jobs.bulk.change_results",
    "BulkResult": "jobs.bulk.change_results",
    "BulkSummary": "jobs.bulk.change_results",
    "Company": "models",
    "CompanyMatch": "models",
    "CompanySummary": "models",
    "Contact": "models",
    "ContactSummary": "models",
    "CustomFeed": "models",
    "DateLike": "pagination.date_range",
    "DateWindow": "pagination.date_range",
    "EnrichedIp": "models",
    "Enrichment": "jobs.enrich.enrichment",
    "EnrichmentEstimate": "jobs.enrich.results",
    "EnrichmentResult": "jobs.enrich.results",
    "EnrichmentSummary": "jobs.enrich.results",
    "Health": "types",
    "IdPager": "pagination.id_pager",
    "LastError": "types",
    "Location": "models",
    "Meta": "models",
    "MultiAccountPager": "pagination.multi_account",
    "OnAttempt": "types",
    "OnProgress": "jobs.progress",
    "OnStatus": "jobs.watch.watcher",
    "Outcome": "jobs.enrich.results",
    "Page": "pagination.page",
    "Pager": "pagination.pager",
    "Progress": "jobs.progress",
    "QueryValue": "types",
    "RateLimiter": "types",
    "Response": "models",
    "ResumePosition": "pagination.page",
    "SharedCreditPool": "budget",
    "Signal": "models",
    "Stats": "types",
    "Tag": "models",
    "User": "models",
    "WatchReading": "jobs.watch.watch_plan",
    "WatchStatus": "jobs.watch.watcher",
    "WatchStore": "jobs.watch.state_store",
    "WebVisit": "models",
}
"""The modules that define the public names. Names that are not listed are in ``errors``.

Each is imported on first access, so that a test run, a command or a module that only catches errors does not import the
client.
"""

_MODULES = {"budget", "client", "errors", "models", "pagination", "resources", "settings", "types"}


if not TYPE_CHECKING:  # type checkers would otherwise accept any name

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = import_module(f"{__name__}.{_HOMES.get(name, 'errors')}")
        return globals().setdefault(name, getattr(home, name))


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
