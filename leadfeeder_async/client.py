"""The client: settings, lifetime, and one attribute per noun of the API."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar, overload

from msgspec.structs import replace

from leadfeeder_async._core.attempt import OnAttempt
from leadfeeder_async._core.attempt_log import log_to_stderr
from leadfeeder_async._core.client_state import ClientState, Stats
from leadfeeder_async._core.codec import encode_json
from leadfeeder_async._core.endpoint import AccountScope, Billing, Endpoint, QueryValue, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.budget import Budget, BudgetScope, SharedCreditPool
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.pagination.multi_account import MultiAccountPager
from leadfeeder_async.pagination.pager import HasId, Pager
from leadfeeder_async.resources import check_operations
from leadfeeder_async.resources.accounts import LIST_ACCOUNTS, Accounts, Users
from leadfeeder_async.resources.campaigns import Campaigns
from leadfeeder_async.resources.companies import Companies
from leadfeeder_async.resources.contacts import Contacts
from leadfeeder_async.resources.custom_feeds import CustomFeeds
from leadfeeder_async.resources.custom_fields import CustomFields
from leadfeeder_async.resources.ip import Ip
from leadfeeder_async.resources.lists import Lists
from leadfeeder_async.resources.profiles import BuyerPersonas, Icps
from leadfeeder_async.resources.reference import Reference
from leadfeeder_async.resources.tags import Tags
from leadfeeder_async.resources.usage import Usage
from leadfeeder_async.resources.web_visits import WebVisits
from leadfeeder_async.settings import (
    DEFAULT_BURST,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_CONCURRENCY,
    DEFAULT_MONTHLY_QUOTA,
    DEFAULT_RATE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Options,
    Settings,
    read_account_id,
    read_api_key,
    read_base_url,
)

if TYPE_CHECKING:
    import aiohttp

    from leadfeeder_async._core.rate_limiter import RateLimiter
    from leadfeeder_async.jobs.enrich.enrichment import Enrichments

T = TypeVar("T")
Row = TypeVar("Row", bound=HasId)


class AsyncLeadfeeder:
    """An asynchronous client of the Leadfeeder API v1.

    ::

        async with AsyncLeadfeeder() as lf:
            async for visit in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30"):
                print(visit.started_at, visit.company)

    Make one per process and event loop and keep it: all its calls share a connection pool and one limit of requests
    per second, as the API counts them per key. It opens on the first call and belongs to that call's event loop.

    ``api_key``, ``account_id`` and ``base_url`` default to LEADFEEDER_API_KEY, LEADFEEDER_ACCOUNT_ID and
    LEADFEEDER_BASE_URL; without an account, the key's only one is used. ``session`` is an aiohttp session of yours to
    send with, which is never closed here. ``limiter`` replaces the rate limit, ``rate`` and ``burst`` change it;
    ``slots`` is how many requests may be under way. ``timeout`` is seconds per attempt, ``retries`` how often a request
    that is safe to repeat is sent again. ``monthly_quota`` is the requests a month that the key has: a 429 near their
    end stops all traffic. ``max_body_bytes`` caps an answer after decompression. ``on_attempt`` is called with an
    :class:`~leadfeeder_async.AttemptEvent` after each attempt, and ``trace_configs`` are given to aiohttp.
    ``trust_env`` takes proxies from the environment, ``ssl_context`` your own certificates. ``paths`` moves an
    operation, by its name in the contract, to another path.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        account_id: str | None = None,
        base_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        limiter: RateLimiter | None = None,
        rate: float = DEFAULT_RATE,
        burst: int = DEFAULT_BURST,
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = DEFAULT_RETRIES,
        monthly_quota: int = DEFAULT_MONTHLY_QUOTA,
        max_body_bytes: int = DEFAULT_MAX_BODY,
        on_attempt: OnAttempt | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
        trust_env: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        paths: Mapping[str, str] | None = None,
    ) -> None:
        settings = Settings(
            api_key=read_api_key(api_key),
            base_url=read_base_url(base_url),
            rate=rate,
            burst=burst,
            max_concurrency=max_concurrency,
            monthly_quota=monthly_quota,
            max_body_bytes=max_body_bytes,
            trust_env=trust_env,
            ssl_context=ssl_context,
            paths=dict(paths or {}),
        )
        if paths:
            check_operations(paths)
        log_to_stderr()
        options = Options(account_id=read_account_id(account_id), timeout=timeout, retries=retries)
        self._state = ClientState(settings, session, limiter, on_attempt, trace_configs)
        self._bind(RequestExecutor(self._state, options, resolve_single_account))

    def __repr__(self) -> str:
        state = getattr(self, "_state", None)  # a constructor that failed is shown in its traceback too
        if state is None:
            return "<AsyncLeadfeeder without settings>"
        return f"<AsyncLeadfeeder {state.settings.base_url} {'closed' if state.closed else 'open'}>"

    async def __aenter__(self) -> Self:
        self._state.ensure_open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, those of all copies included; a borrowed session stays open."""
        await self._state.aclose()

    @property
    def account_id(self) -> str | None:
        """The account of the calls that name none; None stands for the key's only one."""
        return self._executor.options.account_id

    @property
    def stats(self) -> Stats:
        """What this client and its copies have sent, met and been charged so far."""
        return self._state.stats

    @property
    def enrich(self) -> Enrichments:
        """Bulk enrichment, for any number of rows."""
        from leadfeeder_async.jobs.enrich.enrichment import (
            Enrichments,
        )  # a quarter of the package: only for who needs it

        return Enrichments(self._executor)

    def with_options(
        self,
        *,
        account_id: str | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        deadline: float | None = None,
        budget: Budget | None = None,
    ) -> AsyncLeadfeeder:
        """Return a copy with other options, on the same connections and the same limit.

        ``deadline`` is seconds for a whole call, with all its waits and attempts; ``budget`` is one more that its calls
        fall under. Free and instant; close the original only. What is left out stays as it is.
        """
        now = self._executor.options
        options = replace(
            now,
            account_id=now.account_id if account_id is None else account_id,
            timeout=now.timeout if timeout is None else timeout,
            retries=now.retries if retries is None else retries,
            deadline=now.deadline if deadline is None else deadline,
            budgets=now.budgets if budget is None else (*now.budgets, budget),
        )
        copy = object.__new__(type(self))
        copy._state = self._state
        copy._bind(self._executor.with_options(options))
        return copy

    def budget(
        self,
        *,
        max_requests: int | None = None,
        max_credits: int | None = None,
        shared: SharedCreditPool | None = None,
    ) -> BudgetScope:
        """Put the calls inside an ``async with`` block, and in its tasks, under a budget.

        ``async with lf.budget(max_credits=500) as spent: ...``. A call that could pass it raises BudgetExceededError
        before it is sent; ``spent.credits`` and ``spent.requests`` tell what was spent. Budgets nest. With
        ``max_credits=0`` nothing that may charge is sent. ``shared`` is a bound on the credits of several processes,
        such as ``leadfeeder_async.integrations.redis.RedisCredits``.
        """
        return BudgetScope(self._state, Budget(max_requests, max_credits, shared))

    def sweep(
        self, account_ids: Iterable[str], list_of: Callable[[AsyncLeadfeeder], Pager[Row]]
    ) -> MultiAccountPager[Row]:
        """Read the same list of several accounts at once, fairly, under this client's one limit.

        ``async for account_id, visit in lf.sweep(ids, lambda account: account.web_visits.search(...))``: ``list_of``
        gets a copy of this client for each account. Costs what the lists cost. Raises IncompleteListError at the end
        where some accounts could not be read; see :class:`~leadfeeder_async.MultiAccountPager`.
        """
        check_argument(not isinstance(account_ids, str), f"account_ids={account_ids!r} must be a list of ids.")
        return MultiAccountPager({one: list_of(self.with_options(account_id=one)) for one in account_ids})

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: object = None,
        resend: RetrySafety | None = None,
        returns: type[T],
    ) -> T: ...

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: object = None,
        resend: RetrySafety | None = None,
    ) -> dict[str, object]: ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: object = None,
        resend: RetrySafety | None = None,
        returns: type[object] = dict[str, object],
    ) -> object:
        """Call a route this package does not know, through the same limiter, slots and errors.

        ``params`` are query parameters, with ``account_id`` added unless given; ``json`` is the body; ``returns`` is
        the type to decode into. An unknown route may charge or create, so a lost request is not sent again unless
        ``resend`` says it may, such as ``RetrySafety.READ``; without it, a budget of credits counts one for the request
        where its answer does not tell.
        """
        check_argument(path.startswith("/") and not path.startswith("//"), f"path={path!r} must start with one slash.")
        plain = path.isprintable() and not set(path) & set("?#{}\\ ")
        check_argument(plain, f"path={path!r} holds more than a path.", "Pass the query as params=.")
        check_argument(method.isalpha(), f"method={method!r} is not an HTTP method.")
        account = AccountScope.NONE if params and "account_id" in params else AccountScope.REQUIRED
        spend = Billing.BILLED if resend in {None, RetrySafety.BILLED_READ} else Billing.FREE
        resend = resend or (RetrySafety.BILLED_READ if method.upper() == "GET" else RetrySafety.NON_IDEMPOTENT)
        row = Endpoint("request", method.upper(), path, returns, retry_safety=resend, billing=spend, account=account)
        return await self._executor.execute(row, params=params, body=None if json is None else encode_json(json))

    def _bind(self, executor: RequestExecutor) -> None:
        self._executor = executor
        self.accounts = Accounts(executor)
        self.users = Users(executor)
        self.companies = Companies(executor)
        self.contacts = Contacts(executor)
        self.web_visits = WebVisits(executor)
        self.custom_feeds = CustomFeeds(executor)
        self.ip = Ip(executor)
        self.tags = Tags(executor)
        self.lists = Lists(executor)
        self.custom_fields = CustomFields(executor)
        self.usage = Usage(executor)
        self.reference = Reference(executor)
        self.icps = Icps(executor)
        self.buyer_personas = BuyerPersonas(executor)
        self.campaigns = Campaigns(executor)


async def resolve_single_account(executor: RequestExecutor) -> str:
    """Find the account of a key that has just one."""
    accounts = (await executor.execute(LIST_ACCOUNTS)).data
    if len(accounts) == 1:
        return accounts[0].id
    if not accounts:
        raise ConfigurationError("This key has no account.", hint="Ask an admin of the account for access.")
    choices = ", ".join(f"{account.id} ({account.name})" for account in accounts)
    raise ConfigurationError(
        f"This key has {len(accounts)} accounts, and none is chosen: {choices}.",
        hint="Set LEADFEEDER_ACCOUNT_ID, or pass account_id=.",
    )
