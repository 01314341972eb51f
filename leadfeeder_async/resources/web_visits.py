"""Visits of the account's website, the visiting companies, and the tracker script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from leadfeeder_async._argument_checks import check_id, reject
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.companies import CompanyLocation
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.filter_dicts import WebVisitFiltersDict
from leadfeeder_async.models.includes import WebVisitInclude
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.models.search_filters import WebVisitFilters, WebVisitSearchRequest
from leadfeeder_async.models.web_visits import WebVisitsTrackerScript
from leadfeeder_async.pagination.date_range import DateLike
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import add_extra, encode_validated, include_param, parse_days
from leadfeeder_async.resources.body_checks import check_arguments, check_dict

SEARCH_WEB_VISITS = Endpoint(
    "search_web_visits",
    "POST",
    "/v1/web-visits",
    Response[tuple[WebVisit, ...]],
    retry_safety=RetrySafety.SAFE_SEARCH,
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
        include: Iterable[WebVisitInclude] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        extra: Mapping[str, object] | None = None,
        split_days: bool = True,
        account_id: str | None = None,
    ) -> Pager[WebVisit]:
        """Search visits by date, company and location.

        ``async for visit in lf.web_visits.search(start_date="2026-11-01", end_date="2026-11-30")``

        Contract: ``search_web_visits``, scope ``web_visits:read``.

        Args:
            start_date: The first day, as a date or ``YYYY-MM-DD``.
            end_date: The last day, included.
            company_id: Only visits of this company. The same as ``company_id`` in ``filters``.
            filters: More conditions, as :class:`~leadfeeder_async.models.WebVisitFilters` or a mapping: ``company_id``,
                ``location_country_codes`` (such as ``["DE"]``) and ``location_cities``.
            include: Relationships to return with all attributes: ``company``. It makes pages about ten times larger.
            page_size: The number of records per request, 1 to 100.
            limit: The maximum number of records in total. None returns all records.
            extra: New conditions of the API that this package does not know. They are added to the body unchanged.
            split_days: Read a day with more than 10,000 visits by country. False only reads its first 10,000 visits.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of visits.

        Raises:
            ConfigurationError: ``start_date`` is after ``end_date``, or an argument has the wrong type.
            IncompleteWindowError: At the end, if visits of a day with more than 10,000 visits are missing. All visits
                that can be read are returned first.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order. A date range with more than 10,000 visits
            is split into smaller ones, which are read in the order of their days. A single day with more visits is read
            in groups of countries. This takes at most 27 further requests for each 10,000 visits of the day to count
            and read the groups, and 100 if some visits have no country. The day is complete if as many visits were
            returned as the server counts for it.

        """
        window = parse_days("start_date", start_date, "end_date", end_date)
        body = encode_validated(_Conditions, {"filters": _with_company(filters, company_id)})
        request = ApiRequest(
            SEARCH_WEB_VISITS,
            params={"include": include_param(include, WebVisitInclude)},
            body=add_extra(WebVisitSearchRequest, body, extra),
            account_id=account_id,
        )
        return Pager(self._executor, request, window=window, page_size=page_size, limit=limit, split_days=split_days)

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

        Contract: ``retrieve_visitor_companies``, scope ``web_visits:read``.

        Args:
            start_date: The first day, as a date or ``YYYY-MM-DD``.
            end_date: The last day, included.
            custom_feed_id: Only companies that match this custom feed.
            include: Relationships to return with all attributes: ``company``.
            page_size: The number of records per request, 1 to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of companies with locations. A company that visited from several locations is returned once per
            location.

        Raises:
            ConfigurationError: ``start_date`` is after ``end_date``, or an argument has the wrong type.
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

        Contract: ``get_web_visits_tracker_script`` (path inferred), scope ``web_visits:read``.

        Args:
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The script. ``data.attributes.script_html`` is the HTML for the website.

        Credits:
            None.

        """
        return await self._executor.execute(ApiRequest(GET_WEB_VISITS_TRACKER_SCRIPT, account_id=account_id))


class _Conditions(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The body of a visit search without its dates, which the pager adds."""

    filters: WebVisitFilters | None = None


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
