"""Visits to the account's websites, and the companies behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.search_filters import WebVisitFilters, WebVisitSearchRequest
from leadfeeder_async.models.web_visits import WebVisit, WebVisitsTrackerScript
from leadfeeder_async.pagination.date_range import DateLike, make_window
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import csv_param, encode_validated

SEARCH_WEB_VISITS = Endpoint(
    "search_web_visits",
    "POST",
    "/v1/web-visits",
    Response[tuple[WebVisit, ...]],
    retry_safety=RetrySafety.SAFE_SEARCH,
    params=("include",),
    pagination=PaginationStyle.PAGE_NUMBER,
    partitioned_by_day=True,
)
RETRIEVE_VISITOR_COMPANIES = Endpoint(
    "retrieve_visitor_companies",
    "GET",
    "/v1/web-visits/companies",
    Response[tuple[CompanyLocation, ...]],
    params=("start_date", "end_date", "custom_feed_id", "include"),
    pagination=PaginationStyle.PAGE_NUMBER,
)
GET_WEB_VISITS_TRACKER_SCRIPT = Endpoint(
    "get_web_visits_tracker_script", "GET", "/v1/web-visits/tracker", Response[WebVisitsTrackerScript]
)


class WebVisits:
    """Visits that Leadfeeder's tracker saw."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def search(
        self,
        *,
        start_date: DateLike,
        end_date: DateLike,
        company_id: str | None = None,
        filters: WebVisitFilters | Mapping[str, object] | None = None,
        include: Iterable[str] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[WebVisit]:
        """Search visits from ``start_date`` to ``end_date``, both included; days are dates or ``YYYY-MM-DD``.

        ``async for visit in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30")``. Free. Pages are
        fetched up to 16 ahead. A range of more than the API's 10,000 rows is cut into smaller ones, in
        order of their days. ``include=["company"]`` shows each company whole and makes pages some ten times larger.
        Raises ConfigurationError for days the wrong way round, IncompleteWindowError at the end where one day holds
        more than 10,000 visits. Contract: ``search_web_visits``, scope ``web_visits:read``.
        """
        window = make_window(start_date, end_date)
        conditions = {"start_date": window.start, "end_date": window.end, "filters": _with_company(filters, company_id)}
        request = ApiRequest(
            SEARCH_WEB_VISITS,
            params={"include": csv_param("include", include)},
            body=encode_validated(WebVisitSearchRequest, conditions, leave_out=("start_date", "end_date")),
            account_id=account_id,
        )
        return Pager(self._executor, request, window=window, page_size=page_size, limit=limit)

    def companies(
        self,
        *,
        start_date: DateLike,
        end_date: DateLike,
        custom_feed_id: str | None = None,
        include: Iterable[str] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CompanyLocation]:
        """List the companies that visited from ``start_date`` to ``end_date``, one row per company and place.

        ``async for row in lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-30")``. Free.
        ``custom_feed_id`` narrows to the companies of one feed; ``include=["company"]`` shows each company
        whole. Ranges past 10,000 rows are cut as in :meth:`search`, and a row that two parts share comes once.
        Contract: ``retrieve_visitor_companies``, scope ``web_visits:read``.
        """
        params = {"custom_feed_id": custom_feed_id, "include": csv_param("include", include)}
        request = ApiRequest(RETRIEVE_VISITOR_COMPANIES, params=params, account_id=account_id)
        window = make_window(start_date, end_date)
        return Pager(self._executor, request, window=window, page_size=page_size, limit=limit)

    async def tracker_script(self, *, account_id: str | None = None) -> Response[WebVisitsTrackerScript]:
        """Get the tracker script of the account's website, and whether it works.

        ``(await lf.web_visits.tracker_script()).data.status``. Free. Contract: ``get_web_visits_tracker_script`` (path
        inferred), scope ``web_visits:read``.
        """
        return await self._executor.execute(ApiRequest(GET_WEB_VISITS_TRACKER_SCRIPT, account_id=account_id))


def _with_company(filters: WebVisitFilters | Mapping[str, object] | None, company_id: str | None) -> object:
    if company_id is None:
        return filters
    if isinstance(filters, WebVisitFilters):
        return msgspec.structs.replace(filters, company_id=company_id)
    return {**(filters or {}), "company_id": company_id}
