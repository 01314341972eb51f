"""Visits to the account's websites, and the companies behind them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from leadfeeder_async._http.endpoint import Call, Endpoint, Paging, Resend
from leadfeeder_async._http.session import Session
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.queries import WebVisitFilters, WebVisitSearchRequest
from leadfeeder_async.models.visits import WebVisit, WebVisitsTrackerScript
from leadfeeder_async.paging import PAGE_SIZE, Pager
from leadfeeder_async.resources._arguments import checked, comma_list
from leadfeeder_async.windows import Day, Window, make_window

SEARCH_WEB_VISITS = Endpoint(
    "search_web_visits",
    "POST",
    "/v1/web-visits",
    Response[tuple[WebVisit, ...]],
    resend=Resend.FREE_SEARCH,
    params=("include",),
    paging=Paging.NUMBER,
    rows_of_a_day=True,
)
RETRIEVE_VISITOR_COMPANIES = Endpoint(
    "retrieve_visitor_companies",
    "GET",
    "/v1/web-visits/companies",
    Response[tuple[CompanyLocation, ...]],
    params=("start_date", "end_date", "custom_feed_id", "include"),
    paging=Paging.NUMBER,
)
GET_WEB_VISITS_TRACKER_SCRIPT = Endpoint(
    "get_web_visits_tracker_script", "GET", "/v1/web-visits/tracker", Response[WebVisitsTrackerScript]
)


class WebVisits:
    """Visits that Leadfeeder's tracker saw."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def search(
        self,
        *,
        start_date: Day,
        end_date: Day,
        company_id: str | None = None,
        filters: WebVisitFilters | Mapping[str, object] | None = None,
        include: Iterable[str] | None = None,
        page_size: int = PAGE_SIZE,
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
        params = {"include": comma_list("include", include)}
        narrowed = _with_company(filters, company_id)

        def call_at(window: Window | None) -> Call[Response[tuple[WebVisit, ...]]]:
            assert window is not None
            body = {"start_date": window.start, "end_date": window.end, "filters": narrowed}
            return Call(
                SEARCH_WEB_VISITS, params=params, body=checked(WebVisitSearchRequest, body), account_id=account_id
            )

        window = make_window(start_date, end_date)
        return Pager(self._session, SEARCH_WEB_VISITS, call_at, window=window, page_size=page_size, limit=limit)

    def companies(
        self,
        *,
        start_date: Day,
        end_date: Day,
        custom_feed_id: str | None = None,
        include: Iterable[str] | None = None,
        page_size: int = PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CompanyLocation]:
        """List the companies that visited from ``start_date`` to ``end_date``, one row per company and place.

        ``async for row in lf.web_visits.companies(start_date="2026-11-01", end_date="2026-11-30")``. Free.
        ``custom_feed_id`` narrows to the companies of one feed; ``include=["company"]`` shows each company
        whole. Ranges past 10,000 rows are cut as in :meth:`search`, and a row that two parts share comes once.
        Contract: ``retrieve_visitor_companies``, scope ``web_visits:read``.
        """
        shared = {"custom_feed_id": custom_feed_id, "include": comma_list("include", include)}
        call = Call(RETRIEVE_VISITOR_COMPANIES, params=shared, account_id=account_id)

        def call_at(window: Window | None) -> Call[Response[tuple[CompanyLocation, ...]]]:
            assert window is not None
            return call.with_params({"start_date": str(window.start), "end_date": str(window.end)})

        window = make_window(start_date, end_date)
        return Pager(
            self._session, RETRIEVE_VISITOR_COMPANIES, call_at, window=window, page_size=page_size, limit=limit
        )

    async def tracker_script(self, *, account_id: str | None = None) -> Response[WebVisitsTrackerScript]:
        """Get the tracker script of the account's website, and whether it works.

        ``(await lf.web_visits.tracker_script()).data.status``. Free. Contract: ``get_web_visits_tracker_script`` (path
        inferred), scope ``web_visits:read``.
        """
        return await self._session.call(GET_WEB_VISITS_TRACKER_SCRIPT, account_id=account_id)


def _with_company(filters: WebVisitFilters | Mapping[str, object] | None, company_id: str | None) -> object:
    if company_id is None:
        return filters
    if isinstance(filters, WebVisitFilters):
        return msgspec.structs.replace(filters, company_id=company_id)
    return {**(filters or {}), "company_id": company_id}
