"""Visits of the account's website, the visiting companies, and the tracker script."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from leadfeeder_async._argument_checks import (
    check_dict,
    check_id,
    reject,
)
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.filter_dicts import WebVisitFiltersDict
from leadfeeder_async.models.includes import WebVisitInclude
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.models.search_filters import WebVisitFilters, WebVisitSearchRequest
from leadfeeder_async.models.web_visits import WebVisitsTrackerScript
from leadfeeder_async.pagination.company_filter import CompanyFilter, read_company_ids
from leadfeeder_async.pagination.date_range import DateLike, parse_days
from leadfeeder_async.pagination.local_days import local_days
from leadfeeder_async.pagination.page import RowFilter
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import ProblemLog
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import add_extra, encode_validated, include_param
from leadfeeder_async.resources.body_checks import check_arguments
from leadfeeder_async.types import VisitOrder

if TYPE_CHECKING:
    from leadfeeder_async.jobs.watch.state_store import WatchStore
    from leadfeeder_async.jobs.watch.watcher import OnStatus

SEARCH_WEB_VISITS = Endpoint(
    "search_web_visits",
    "POST",
    "/v1/web-visits",
    Response[tuple[WebVisit, ...]],
    params=("include",),
    pagination=PaginationStyle.PAGE_NUMBER,
    partitioned_by_day=True,
    split_filter="location_country_codes",
)
RETRIEVE_VISITOR_COMPANIES = Endpoint(
    "retrieve_visitor_companies",
    "GET",
    "/v1/web-visits/companies",
    Response[tuple[CompanyLocation, ...]],
    params=("start_date", "end_date", "custom_feed_id", "include"),
    pagination=PaginationStyle.PAGE_NUMBER,
    shares_ids=True,
)
GET_WEB_VISITS_TRACKER_SCRIPT = Endpoint(
    "get_web_visits_tracker_script",
    "GET",
    "/v1/web-visits/tracker",
    Response[WebVisitsTrackerScript],
    path_alternatives=("/v1/web-visits/tracker-script", "/v1/web-visits/website-tracking-script"),
)


class WebVisits:
    """The visits that Leadfeeder's tracker recorded on the account's website."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def search(
        self,
        *,
        start_date: DateLike,
        end_date: DateLike,
        company_id: str | None = None,
        filters: WebVisitFilters | WebVisitFiltersDict | None = None,
        custom_feed_id: str | None = None,
        include: Iterable[WebVisitInclude] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        order: VisitOrder = "oldest",
        tz: str = "UTC",
        extra: Mapping[str, object] | None = None,
        split_days: bool = True,
        account_id: str | None = None,
    ) -> Pager[WebVisit]:
        """Search visits by date, company and location.

        ``async for visit in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30")``

        API operation: ``search_web_visits``, scope ``web_visits:read``.

        Args:
            start_date: The first day, as a date or ``YYYY-MM-DD``.
            end_date: The last day, included.
            company_id: Only visits of this company. The same as ``company_id`` in ``filters``.
            filters: More conditions, as :class:`~leadfeeder_async.models.WebVisitFilters` or a mapping: ``company_id``,
                ``location_country_codes`` (such as ``["DE"]``) and ``location_cities``.
            custom_feed_id: Only visits of companies that match this custom feed. The companies are requested first,
                then all visits are read, because the API has no such filter. ``count`` then returns None.
            include: Relationships to return with all attributes: ``company``. It makes pages about ten times larger.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            order: ``"oldest"`` returns the days in order, as exports need it. ``"newest"`` returns the latest visit
                first, so ``limit=20`` returns the latest 20 visits.
            tz: The time zone of the days, such as ``Europe/Berlin``. The API does not accept one, so up to three more
                of its days are read, and visits of other days are left out by ``started_at``. If the time zone differs
                from UTC on these days, ``count`` returns None.
            extra: New conditions of the API that this package does not know. They are added to the body unchanged.
            split_days: Read a day with 10,000 visits or more by country. False reads only its first 10,000 visits.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of visits.

        Raises:
            ConfigurationError: ``start_date`` is after ``end_date``, ``tz`` is unknown, or an argument has the wrong
                type.
            InvalidIdError: ``company_id`` or ``custom_feed_id`` is not an id.
            IncompleteWindowError: At the end, if visits of a day with 10,000 or more are missing. All visits
                that can be read are returned first.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order. A date range with 10,000 visits or more
            is split into smaller ones, which are read in the order of their days. A single day with more visits is read
            in groups of countries. To count and to read the groups takes at most 27 more requests for each 10,000
            visits of the day. If some visits have no country, 100 more read the day itself, and 3 to 9 count these
            visits. The day is complete if as many visits were returned as the server counts for it.

            The API has no order. With ``order="oldest"``, the days of a split range are in order, and the visits of one
            search are in the order of the server. With ``order="newest"``, complete days are read from the last one
            backwards, and each is sorted by ``started_at``. All visits of the last day are therefore read, also for a
            small ``limit``. Pages have no position then, so an interrupted export reads the list again.

        """
        window = parse_days("start_date", start_date, "end_date", end_date)
        request = search_request(company_id, filters, include, extra, account_id)
        row_filters: list[RowFilter] = []
        zone_days = local_days(window, tz)
        if zone_days is not None:
            window = zone_days.requested_days
            row_filters.append(zone_days)
        if custom_feed_id is not None:
            check_id("custom_feed_id", custom_feed_id)

            async def companies_of_feed() -> tuple[frozenset[str], ProblemLog]:
                params = {"custom_feed_id": custom_feed_id}
                visitors = ApiRequest(RETRIEVE_VISITOR_COMPANIES, params=params, account_id=account_id)
                days = None if zone_days is None else zone_days.days
                return await read_company_ids(Pager(self._executor, visitors, window=window, days=days).pages())

            row_filters.append(CompanyFilter(f"custom feed {custom_feed_id}", companies_of_feed))
        return Pager(
            self._executor,
            request,
            window=window,
            page_size=page_size,
            limit=limit,
            split_days=split_days,
            row_filters=tuple(row_filters),
            days=None if zone_days is None else zone_days.days,
            order=order,
        )

    def watch(
        self,
        *,
        every: float = 300,
        since: DateLike = "now",
        state: Path | str | WatchStore | None = None,
        lookback_days: int = 3,
        company_id: str | None = None,
        filters: WebVisitFilters | WebVisitFiltersDict | None = None,
        custom_feed_id: str | None = None,
        include: Iterable[WebVisitInclude] | None = None,
        on_status: OnStatus | None = None,
        account_id: str | None = None,
    ) -> AsyncGenerator[WebVisit, None]:
        """Watch for new visits, and yield each of them once.

        ``async for visit in lf.web_visits.watch(every=300, state="visits.state"): await queue.put(visit)``

        The iterator does not end by itself. A visit is recorded as delivered when the next one is requested. After a
        crash, the watch continues from ``state``. Only the visit that was being processed may be delivered twice.
        Leaving the loop keeps the state.

        Visits of the last days (``lookback_days``) that are reported late are delivered too. Failed polls are repeated
        after a growing delay. While the caller processes a visit, no polls are sent.

        A poll counts the visits of the lookback with one request, or several for more than 8,000 visits. New visits
        need one more request for each started hundred, and sometimes one more. All visits of the lookback are read once
        a day. They are also read if the new pages contain fewer new visits than the count shows.

        API operation: ``search_web_visits``, scope ``web_visits:read``.

        Args:
            every: Seconds between two polls, 1 to 86,400. A warning is logged if polls need more than a tenth of the
                monthly quota.
            since: Deliver visits that started at this time or later: ``now``, a datetime, an ISO time, or a day. A day
                and a time without a zone are in UTC. It is ignored if ``state`` contains a state, because the watch
                then continues.
            state: A file, or an object with ``load`` and ``save``, that keeps the state between runs. None keeps it in
                memory.
            lookback_days: The days before the newest visit for which late visits are expected, 0 to 90.
            company_id: Only visits of this company.
            filters: More conditions, as in :meth:`search`.
            custom_feed_id: Only visits of companies in this custom feed. The feed is read when there are new visits.
            include: Relationships to return with all attributes: ``company``.
            on_status: Called with a :class:`~leadfeeder_async.WatchStatus` after each poll. It must not block.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            An async iterator of visits. Use ``contextlib.aclosing`` to release the state at once after leaving a loop.

        Raises:
            ConfigurationError: An argument is out of range or has the wrong type.
            CheckpointError: The state is damaged, is used by another watch, or belongs to another account or filter.
            InvalidIdError: ``company_id`` or ``custom_feed_id`` is not an id.
            AuthenticationError: The key is no longer valid.
            BudgetExceededError: A budget does not allow the next request.
            LeadfeederError: Another error that a later poll cannot repair.

        Credits:
            None.

        """
        from leadfeeder_async.jobs.watch.state_store import make_journal
        from leadfeeder_async.jobs.watch.watch_arguments import make_watcher  # only needed by watches

        feed = None
        if custom_feed_id is not None:
            params = {"custom_feed_id": check_id("custom_feed_id", custom_feed_id)}
            feed = ApiRequest(RETRIEVE_VISITOR_COMPANIES, params=params, account_id=account_id)
        watcher = make_watcher(
            self._executor,
            search_request(company_id, filters, include, None, account_id),
            feed,
            make_journal(state),
            every=every,
            since=since,
            lookback_days=lookback_days,
            on_status=on_status,
        )
        return watcher.visits()

    def companies(
        self,
        *,
        start_date: DateLike,
        end_date: DateLike,
        custom_feed_id: str | None = None,
        include: Iterable[WebVisitInclude] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CompanyLocation]:
        """List the companies that visited the website, one record per company and location.

        ``async for row in lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-30")``

        API operation: ``retrieve_visitor_companies``, scope ``web_visits:read``.

        Args:
            start_date: The first day, as a date or ``YYYY-MM-DD``.
            end_date: The last day, included.
            custom_feed_id: Only companies that match this custom feed.
            include: Relationships to return with all attributes: ``company``.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of companies with locations. A company that visited from several locations is returned once per
            location.

        Raises:
            ConfigurationError: ``start_date`` is after ``end_date``, or an argument has the wrong type.
            InvalidIdError: ``custom_feed_id`` is not an id.
            IncompleteWindowError: At the end, if one day has more than 10,000 records. All records that can be read are
                returned first.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order. A date range with more than 10,000
            records is split into smaller ones, which are read in the order of their days. Records that several of them
            contain are returned once.

        """
        params = {"custom_feed_id": custom_feed_id, "include": include_param(include, WebVisitInclude)}
        if custom_feed_id is not None:
            check_id("custom_feed_id", custom_feed_id)
        request = ApiRequest(RETRIEVE_VISITOR_COMPANIES, params=params, account_id=account_id)
        window = parse_days("start_date", start_date, "end_date", end_date)
        return Pager(self._executor, request, window=window, page_size=page_size, limit=limit)

    async def tracker_script(self, *, account_id: str | None = None) -> Response[WebVisitsTrackerScript]:
        """Get the tracker script of the account's website and its status.

        ``(await lf.web_visits.tracker_script()).data.status``

        API operation: ``get_web_visits_tracker_script`` (inferred path), scope ``web_visits:read``.

        Args:
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The script. ``data.attributes.script_html`` is the HTML for the website.

        Raises:
            NotFoundError: No known path of this operation exists. Set another one with ``AsyncLeadfeeder(paths=...)``.

        Credits:
            None.

        """
        return await self._executor.execute(ApiRequest(GET_WEB_VISITS_TRACKER_SCRIPT, account_id=account_id))


class _Conditions(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a visit search without its dates, which the pager adds."""

    filters: WebVisitFilters | None = None


def search_request(
    company_id: str | None,
    filters: WebVisitFilters | WebVisitFiltersDict | None,
    include: Iterable[WebVisitInclude] | None,
    extra: Mapping[str, object] | None,
    account_id: str | None,
) -> ApiRequest[Response[tuple[WebVisit, ...]]]:
    """Return the request of a search without its dates."""
    body = encode_validated(_Conditions, {"filters": _with_company(filters, company_id)})
    return ApiRequest(
        SEARCH_WEB_VISITS,
        params={"include": include_param(include, WebVisitInclude)},
        body=add_extra(WebVisitSearchRequest, body, extra),
        account_id=account_id,
    )


def _with_company(filters: object, company_id: str | None) -> object:
    """Return filters with a company, or raise ConfigurationError if they name another one."""
    if company_id is None:
        return filters
    check_id("company_id", company_id)
    if filters is None:
        return {"company_id": company_id}
    check_arguments(_Conditions, {"filters": filters})
    if isinstance(filters, WebVisitFilters):
        given: object = filters.company_id
        combined: object = msgspec.structs.replace(filters, company_id=company_id)
    else:
        members = check_dict("filters", filters)
        given, combined = members.get("company_id"), {**members, "company_id": company_id}
    if given is not None and given != company_id:
        reject("company_id", company_id, f"differs from company_id={given!r} in filters.", "Pass one of the two.")
    return combined
