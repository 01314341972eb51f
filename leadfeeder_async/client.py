"""The client: settings, lifetime, and one attribute for each resource of the API."""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar, overload

from msgspec.structs import replace

from leadfeeder_async._argument_checks import (
    check_account_id,
    check_dict,
    check_function,
    check_list,
    check_methods,
    check_type,
    reject,
)
from leadfeeder_async._core.client_state import ClientState
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async._core.log_output import configure_logging
from leadfeeder_async._proxies import ca_bundle_from_environment, proxy_from_environment
from leadfeeder_async.budget import Budget, BudgetScope, SharedCreditPool
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.filter_dicts import WebVisitFiltersDict
from leadfeeder_async.models.includes import WebVisitInclude
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.models.search_filters import WebVisitFilters
from leadfeeder_async.pagination.date_range import DateLike
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.multi_account import MultiAccountPager
from leadfeeder_async.pagination.pager import Pager, account_of
from leadfeeder_async.resources import check_operations
from leadfeeder_async.resources.accounts import Accounts, Users
from leadfeeder_async.resources.campaigns import Campaigns
from leadfeeder_async.resources.companies import Companies
from leadfeeder_async.resources.contacts import Contacts
from leadfeeder_async.resources.custom_feeds import CustomFeeds
from leadfeeder_async.resources.custom_fields import CustomFields
from leadfeeder_async.resources.custom_request import build_custom_request
from leadfeeder_async.resources.ip import Ip
from leadfeeder_async.resources.lists import Lists
from leadfeeder_async.resources.profiles import BuyerPersonas, Icps
from leadfeeder_async.resources.reference import Reference
from leadfeeder_async.resources.tags import Tags
from leadfeeder_async.resources.usage import Usage
from leadfeeder_async.resources.web_visits import WebVisits, search_request
from leadfeeder_async.settings import (
    DEFAULT_BURST,
    DEFAULT_MAX_BODY,
    DEFAULT_MAX_CONCURRENCY,
    DEFAULT_MAX_SEARCH_ROWS,
    DEFAULT_MONTHLY_QUOTA,
    DEFAULT_RATE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT,
    Options,
    Settings,
    read_account_id,
    read_base_url,
    read_credential,
    read_switch,
)
from leadfeeder_async.types import AccessTokenProvider, ApiKeyProvider, Health, OnAttempt, QueryValue, Stats

if TYPE_CHECKING:
    from datetime import datetime

    import aiohttp

    from leadfeeder_async.jobs.bulk.bulk_change import Bulk
    from leadfeeder_async.jobs.enrich.enrichment import Enrichments
    from leadfeeder_async.jobs.watch.state_store import WatchStore
    from leadfeeder_async.jobs.watch.watcher import OnStatus
    from leadfeeder_async.types import RateLimiter

T = TypeVar("T")
Row = TypeVar("Row", bound=HasId)


class AsyncLeadfeeder:
    """An asynchronous client of the Leadfeeder API v1.

    ::

        async with AsyncLeadfeeder() as lf:
            async for visit in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30"):
                print(visit.started_at, visit.company)

    Create one client per process and event loop, and keep it. All its calls share a connection pool and one rate limit,
    because the API counts requests per key. The client opens on the first call and belongs to that call's event loop.

    Args:
        api_key: The API key, or a callable that returns it. Defaults to LEADFEEDER_API_KEY, then to the content of the
            file LEADFEEDER_API_KEY_FILE. If no access token is set either, it defaults to the key in the system keyring
            with LEADFEEDER_KEYRING=1. The callable, the file or the keyring is used again after the server has rejected
            the key.
        access_token: An OAuth2 access token to send instead of an API key, or a callable that returns an
            :class:`~leadfeeder_async.AccessToken`. Defaults to LEADFEEDER_ACCESS_TOKEN if neither LEADFEEDER_API_KEY
            nor LEADFEEDER_API_KEY_FILE is set. The callable is called before the token expires, and after the server
            has rejected it. All calls that wait for a token share one call of the callable.
        account_id: The account for calls that do not name one. Defaults to LEADFEEDER_ACCOUNT_ID, then to the only
            account of the key.
        base_url: The URL of the API. Defaults to LEADFEEDER_BASE_URL, then to https://api.leadfeeder.com.
        session: An existing aiohttp.ClientSession to use. It is not closed by the client. In such a session, a
            response that nobody requested may be taken for the response to the next request. The client's own session
            closes such a connection.
        limiter: A rate limiter to use instead of the built-in token bucket, for example a ``RedisLimiter`` that several
            processes share.
        rate: Requests per second. Defaults to 9.9.
        burst: Requests that may be sent at once. Defaults to 12.
        max_concurrency: Requests that may be in flight at the same time. Defaults to 16.
        timeout: Seconds per attempt. Defaults to 30.
        retries: The most retries of a call. Requests that may have charged or created something are not retried.
            Defaults to 2.
        monthly_quota: Requests per month of the key. Once 95 % of them are used, a 429 stops all requests. Defaults to
            100,000.
        max_body_bytes: The bytes of the largest response, after decompression. Defaults to 64 MiB.
        max_search_rows: The most rows of one search that the API returns. Date ranges with more rows are split.
            Defaults to 10,000.
        on_attempt: Called with an :class:`~leadfeeder_async.AttemptEvent` after each attempt to send a request. It must
            not block.
        trace_configs: Trace configurations for aiohttp.
        trust_env: Use the proxy of HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, with the exceptions of NO_PROXY, and the
            certificates of REQUESTS_CA_BUNDLE, CURL_CA_BUNDLE or SSL_CERT_FILE. Defaults to True if
            LEADFEEDER_TRUST_ENV=1 is set, otherwise to False. A ``session`` with ``trust_env=True`` also turns it on.
        allow_http: Allow a ``base_url`` with plain HTTP on another machine, which sends the API key unencrypted.
            Defaults to True if LEADFEEDER_ALLOW_HTTP=1 is set, otherwise to False.
        ssl_context: An SSL context with your own certificates.
        paths: Paths to use instead of the built-in ones, by operation, such as ``{"get_tag": "/v1/tags/{id}"}``.

    Raises:
        MissingKeyError: No API key or access token was given, or the key file cannot be read.
        ConfigurationError: An argument is out of range or has the wrong type, both ``api_key`` and ``access_token``
            were passed, ``paths`` names an unknown operation, LEADFEEDER_LOG is not a log level, or the proxy of the
            environment cannot be used.

    """

    def __init__(
        self,
        api_key: str | ApiKeyProvider | None = None,
        *,
        access_token: str | AccessTokenProvider | None = None,
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
        max_search_rows: int = DEFAULT_MAX_SEARCH_ROWS,
        on_attempt: OnAttempt | None = None,
        trace_configs: Sequence[aiohttp.TraceConfig] = (),
        trust_env: bool | None = None,
        allow_http: bool | None = None,
        ssl_context: ssl.SSLContext | None = None,
        paths: Mapping[str, str] | None = None,
    ) -> None:
        try:
            url = read_base_url(base_url, allow_http=allow_http)
            credential = read_credential(api_key, access_token, url)
        except BaseException as error:  # noqa: BLE001 - also KeyboardInterrupt
            raise error.with_traceback(None)  # noqa: B904 - the same error, without frames that contain the key
        finally:
            api_key = access_token = base_url = None  # a traceback with locals would show them
        _check_objects(session, limiter, trace_configs, ssl_context)
        check_argument(
            session is None or ssl_context is None,
            "ssl_context= has no effect on a session of your own.",
            "Pass it to the session: aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=...)).",
            argument="ssl_context",
        )
        check_function("on_attempt", on_attempt)
        if paths is not None:
            check_dict("paths", paths)
        trust = read_switch("trust_env", trust_env) or (session is not None and session.trust_env)
        settings = Settings(
            credential=credential,
            base_url=url,
            rate=rate,
            burst=burst,
            max_concurrency=max_concurrency,
            monthly_quota=monthly_quota,
            max_body_bytes=max_body_bytes,
            max_search_rows=max_search_rows,
            proxy=proxy_from_environment(url) if trust else None,
            ca_bundle=ca_bundle_from_environment() if trust else None,
            ssl_context=ssl_context,
            paths=dict(paths or {}),
        )
        check_operations(settings.paths)
        configure_logging()
        options = Options(account_id=read_account_id(account_id), timeout=timeout, retries=retries)
        self._state = ClientState(settings, session, limiter, on_attempt, trace_configs)
        self._executor = RequestExecutor(self._state, options)

    def __repr__(self) -> str:
        state = getattr(self, "_state", None)  # a traceback of a failed constructor shows the client too
        if state is None:
            return "<AsyncLeadfeeder without settings>"
        return f"<AsyncLeadfeeder {state.settings.base_url} {'closed' if state.closed else 'open'}>"

    if not TYPE_CHECKING:  # type checkers report this mistake by themselves

        def __enter__(self) -> NoReturn:
            raise TypeError("AsyncLeadfeeder is an asynchronous context manager. Use `async with`.")

        def __exit__(self, *_: object) -> NoReturn:
            raise AssertionError("__enter__ always raises")

    async def __aenter__(self) -> Self:
        self._state.ensure_open()
        if self._state.owner is None:
            self._state.owner = self
        self._state.open_contexts += self._state.owner is self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._state.open_contexts -= self._state.owner is self
        if self._state.owner is self and not self._state.open_contexts:  # a copy shares the connections of its client
            await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, including those of all copies. A session that was passed in stays open.

        Raises:
            WrongLoopError: The client belongs to an event loop that runs in another thread.

        """
        await self._state.aclose()

    @property
    def account_id(self) -> str | None:
        """The account for calls that do not name one. None means the only account of the key."""
        return self._executor.options.account_id

    @property
    def base_url(self) -> str:
        """The base URL of the API."""
        return self._executor.base_url

    @property
    def stats(self) -> Stats:
        """Request statistics of this client and its copies."""
        return self._state.stats

    def health(self) -> Health:
        """Return the state of this client and its copies, without a request.

        Use it in the readiness endpoint of a web application. It can be called at any time and from any thread.

        Returns:
            Calls in flight and waiting, the current rate, pauses, the requests of the month and the last error.

        """
        return self._state.health()

    @property
    def paths(self) -> Mapping[str, str]:
        """The paths that differ from the contract, by operation: those that were set, and alternatives in use."""
        return MappingProxyType(dict(self._state.routes.paths))

    @cached_property
    def accounts(self) -> Accounts:
        """The accounts of the key."""
        return Accounts(self._executor)

    @cached_property
    def users(self) -> Users:
        """The owner of the key."""
        return Users(self._executor)

    @cached_property
    def companies(self) -> Companies:
        """Companies: records, searches, matches, signals, and their tags and lists."""
        return Companies(self._executor)

    @cached_property
    def contacts(self) -> Contacts:
        """Contacts: records, searches, and their lists."""
        return Contacts(self._executor)

    @cached_property
    def web_visits(self) -> WebVisits:
        """Visits of the account's website, and the companies behind them."""
        return WebVisits(self._executor)

    @cached_property
    def custom_feeds(self) -> CustomFeeds:
        """Custom feeds and their folders."""
        return CustomFeeds(self._executor)

    @cached_property
    def ip(self) -> Ip:
        """Companies behind IP addresses."""
        return Ip(self._executor)

    @cached_property
    def tags(self) -> Tags:
        """Tags of companies."""
        return Tags(self._executor)

    @cached_property
    def lists(self) -> Lists:
        """Lists of companies and contacts."""
        return Lists(self._executor)

    @cached_property
    def custom_fields(self) -> CustomFields:
        """Custom fields of companies and contacts."""
        return CustomFields(self._executor)

    @cached_property
    def usage(self) -> Usage:
        """Requests and credits used per month."""
        return Usage(self._executor)

    @cached_property
    def reference(self) -> Reference:
        """Reference data: industries and NACE codes."""
        return Reference(self._executor)

    @cached_property
    def icps(self) -> Icps:
        """Ideal customer profiles."""
        return Icps(self._executor)

    @cached_property
    def buyer_personas(self) -> BuyerPersonas:
        """Buyer personas."""
        return BuyerPersonas(self._executor)

    @cached_property
    def campaigns(self) -> Campaigns:
        """Campaigns and their statistics."""
        return Campaigns(self._executor)

    @property
    def enrich(self) -> Enrichments:
        """Bulk enrichment of any number of rows."""
        from leadfeeder_async.jobs.enrich.enrichment import Enrichments  # a quarter of the package

        return Enrichments(self._executor)

    @property
    def bulk(self) -> Bulk:
        """Tags and lists of any number of companies or contacts."""
        from leadfeeder_async.jobs.bulk.bulk_change import Bulk  # only needed by jobs

        return Bulk(self._executor)

    def with_options(
        self,
        *,
        account_id: str | None = None,
        timeout: float | None = None,
        retries: int | None = None,
        deadline: float | None = None,
        budget: Budget | None = None,
        stats: Stats | None = None,
    ) -> AsyncLeadfeeder:
        """Return a copy with other options, on the same connections and the same rate limit.

        Copies are cheap. Close only the original. Options that are left out keep their value.

        Args:
            account_id: The account for calls that do not name one.
            timeout: Seconds per attempt.
            retries: The most retries of a call. Requests that may have charged or created something are not retried.
            deadline: Seconds for a whole call, including its waits and attempts.
            budget: One more budget for the calls of the copy.
            stats: Statistics that also count the requests of the copy, such as those of one job. ``in_flight`` and
                ``waiting`` stay 0 in them.

        Returns:
            The copy.

        Raises:
            ConfigurationError: An argument is out of range or has the wrong type.

        """
        if budget is not None:
            check_type("budget", budget, Budget, "a Budget")
        if stats is not None:
            check_type("stats", stats, Stats, "a Stats")
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
        executor = self._executor.with_options(options)
        copy._executor = executor if stats is None else executor.with_stats(stats)
        return copy

    def budget(
        self,
        *,
        max_requests: int | None = None,
        max_credits: int | None = None,
        shared: SharedCreditPool | None = None,
    ) -> BudgetScope:
        """Limit the calls inside an ``async with`` block, and in the tasks it starts.

        ``async with lf.budget(max_credits=500) as spent: ...``

        Budgets nest. A call must fit into all of them.

        Args:
            max_requests: The most requests to send. None for no limit.
            max_credits: The most credits to spend. With 0, no call that may charge is sent. None for no limit.
            shared: A credit limit shared with other processes, such as
                ``leadfeeder_async.integrations.redis.RedisCredits``.

        Returns:
            An async context manager of the :class:`~leadfeeder_async.Budget`, whose ``credits`` and ``requests`` are
            the amounts so far.

        Raises:
            BudgetExceededError: Raised by a call in the block that could exceed the limit, before it is sent.
            ConfigurationError: A limit is out of range.

        """
        return BudgetScope(self._state, Budget(max_requests, max_credits, shared))

    def server_now(self) -> datetime:
        """Return the current time by the clock of the server, for date ranges that end today.

        The clock of this machine may be wrong. Its time is returned only if no response had a ``Date``
        header so far, or the latest one is invalid. Responses with a 5xx do not count.

        Returns:
            The time in UTC.

        """
        return self._executor.server_now()

    def sweep(
        self, account_ids: Iterable[str], list_of: Callable[[AsyncLeadfeeder], Pager[Row]]
    ) -> MultiAccountPager[Row]:
        """Read the same list of several accounts at once, under this client's rate limit.

        Pages are returned in turn, so an account with many records does not delay the others.

        ``async for account_id, visit in lf.sweep(ids, lambda account: account.web_visits.search(...))``.

        Args:
            account_ids: The accounts.
            list_of: A function that takes a copy of this client for one account, and returns the list of this account.

        Returns:
            An async iterator of account ids and records.

        Raises:
            ConfigurationError: ``account_ids`` contains an invalid id, or ``list_of`` does not return the list of its
                account.
            LeadfeederError: An error of the credential, the quota or a budget affects all accounts.
            IncompleteListError: At the end, if the lists of some accounts could not be read.

        Credits:
            The credits of all lists together.

        Pagination:
            16 pages are prefetched, divided between the accounts, and at least one for each. Lists whose pages may
            charge are read one after the other, without prefetching.

        """
        accounts = _check_account_ids(account_ids)
        if list_of is None:
            reject("list_of", list_of, "must be a function.")
        check_function("list_of", list_of)
        pagers = dict[str, Pager[Row]]()
        for account in accounts:
            pagers[account] = list_of(self.with_options(account_id=account))
            check_type("list_of(lf)", pagers[account], Pager, "a list of lf, such as lf.tags.list()")
            other = account_of(pagers[account])
            check_argument(
                other == account,
                f"The list that list_of returned for the account {account} reads the account {other or 'of the key'}.",
                "Use the client that list_of takes, as in `lambda account: account.tags.list()`.",
                argument="list_of",
            )
        return MultiAccountPager(pagers)

    def watch_accounts(
        self,
        account_ids: Iterable[str],
        *,
        every: float = 300,
        since: DateLike = "now",
        state: Path | str | Callable[[str], WatchStore] | None = None,
        lookback_days: int = 3,
        filters: WebVisitFilters | WebVisitFiltersDict | None = None,
        include: Iterable[WebVisitInclude] | None = None,
        on_status: OnStatus | None = None,
    ) -> AsyncGenerator[tuple[str, WebVisit], None]:
        """Watch several accounts for new visits, and yield each visit once, with the id of its account.

        ``async for account_id, visit in lf.watch_accounts(ids, state="states"): await queue.put((account_id, visit))``

        Each account is watched as by :meth:`WebVisits.watch() <leadfeeder_async.resources.web_visits.WebVisits.watch>`,
        with a state of its own. A visit is recorded as delivered when the next one is requested, whatever account that
        one belongs to. After a crash, only the visit that was being processed is delivered again.

        If an account cannot be read any longer, for example because a permission is missing, its watch ends and the
        others continue. The error is logged and passed to ``on_status``. An error that affects every account is raised.
        If the watches of all accounts have ended, the first error is raised.

        While the caller processes a visit, the other accounts are polled until each has a visit to deliver.

        API operation: ``search_web_visits``, scope ``web_visits:read``.

        Args:
            account_ids: The accounts, at least one.
            every: Seconds between two polls of one account, 1 to 86,400. A warning is logged if all polls together
                need more than a tenth of the monthly quota.
            since: Deliver visits that started at this time or later: ``now``, a datetime, an ISO time, or a day. A day
                and a time without a zone are in UTC. It is ignored for accounts that have a state, because their
                watches continue.
            state: A directory for one file per account, which is created if necessary, or a function that returns the
                store of an account. None keeps the states in memory.
            lookback_days: The days before the newest visit for which late visits are expected, 0 to 90.
            filters: Conditions that apply to all accounts, as in
                :meth:`WebVisits.search() <leadfeeder_async.resources.web_visits.WebVisits.search>`.
            include: Relationships to return with all attributes: ``company``.
            on_status: Called with a :class:`~leadfeeder_async.WatchStatus` after each poll of an account. It must not
                block.

        Returns:
            An async iterator of account ids and visits. Use ``contextlib.aclosing`` to release the states at once after
            leaving a loop.

        Raises:
            ConfigurationError: An argument is out of range or has the wrong type.
            CheckpointError: A state is damaged, is used by another watch, or belongs to another account or filter.
            AuthenticationError: The key is no longer valid.
            BudgetExceededError: A budget does not allow the next request.
            LeadfeederError: The watches of all accounts have ended. This is the first error. Its notes contain the
                others.

        Credits:
            None. A poll of one account without new visits is one request, if the lookback has up to 8,000 visits.

        """
        from leadfeeder_async.jobs.watch.multi_account_watch import MultiAccountWatch  # only needed by watches
        from leadfeeder_async.jobs.watch.state_store import make_account_journals
        from leadfeeder_async.jobs.watch.watch_arguments import make_watcher
        from leadfeeder_async.jobs.watch.watcher import warn_about_cost

        accounts = list(dict.fromkeys(_check_account_ids(account_ids)))
        if not accounts:
            reject("account_ids", account_ids, "must contain at least one account.")
        request = search_request(None, filters, include, None, None)
        journals = make_account_journals(state, accounts)
        watchers = {
            account_id: make_watcher(
                self._executor,
                replace(request, account_id=account_id),
                None,
                journals[account_id],
                every=every,
                since=since,
                lookback_days=lookback_days,
                on_status=on_status,
                accounts=len(accounts),
            )
            for account_id in accounts
        }
        warn_about_cost(every, len(accounts), self._executor.monthly_usage()[1])
        return MultiAccountWatch(watchers).visits()

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: object = None,
        returns: type[T],
        idempotent: bool = False,
        may_charge: bool = True,
    ) -> T: ...

    @overload
    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: object = None,
        idempotent: bool = False,
        may_charge: bool = True,
    ) -> dict[str, object]: ...

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, QueryValue] | None = None,
        json: object = None,
        returns: type[object] = dict[str, object],
        idempotent: bool = False,
        may_charge: bool = True,
    ) -> object:
        """Call a route that this package has no method for. Limits and errors are those of the other methods.

        Args:
            method: The HTTP method.
            path: The path, such as ``/v1/companies``.
            params: Query parameters. ``account_id`` is added unless it is given.
            json: The body, sent as JSON. None sends no body.
            returns: The type to decode the response into. Defaults to ``dict[str, object]``.
            idempotent: True if sending the request twice has the same effect as sending it once. GET always counts as
                idempotent. Defaults to False.
            may_charge: False if the request charges no credits. Defaults to True: the request is not sent again after a
                lost response.

        Returns:
            The decoded response.

        Raises:
            ConfigurationError: An argument is invalid.
            DecodeError: The response does not match ``returns``.
            OutcomeUnknownError: The response was lost, and the request may have charged or changed something. Requests
                are only sent again after a lost response if they are idempotent and free.

        Credits:
            Those that the response charges. They are counted even if ``may_charge`` is false. If it is true, a budget
            assumes that the call may charge for each id or other item in the request, or for each row of
            ``page[size]``, and for at least one. It sends such calls one at a time until a response shows a price, and
            then reserves ten times the highest price so far.

        """
        return await self._executor.execute(
            build_custom_request(
                method, path, params=params, json=json, returns=returns, idempotent=idempotent, may_charge=may_charge
            )
        )


def _check_objects(session: object, limiter: object, trace_configs: object, ssl_context: object) -> None:
    """Raise ConfigurationError for objects of wrong types."""
    check_methods("limiter", limiter, "a rate limiter with acquire() and pause()", "acquire", "pause")
    check_methods("session", session, "an aiohttp.ClientSession", "request", "close")
    for index, config in enumerate(check_list("trace_configs", trace_configs)):
        if not hasattr(config, "on_request_start"):
            reject(f"trace_configs[{index}]", config, "must be an aiohttp.TraceConfig.")
    if ssl_context is not None:
        check_type("ssl_context", ssl_context, ssl.SSLContext, "an ssl.SSLContext")


def _check_account_ids(account_ids: object) -> list[str]:
    """Return the ids of accounts, or raise ConfigurationError."""
    return [
        check_account_id(f"account_ids[{index}]", value)
        for index, value in enumerate(check_list("account_ids", account_ids))
    ]
