"""Companies: whole records, and the search that finds them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leadfeeder_async._http.endpoint import Call, Endpoint, Paging, Resend, Spend
from leadfeeder_async._http.session import Session
from leadfeeder_async._http.wire import encode_body
from leadfeeder_async.models.companies import (
    Company,
    CompanySearchFilters,
    CompanySummary,
    EmployeeRange,
    IndustryFilter,
    RevenueRange,
    SearchLocation,
)
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.paging import PAGE_SIZE, Pager
from leadfeeder_async.resources._arguments import comma_list, filled
from leadfeeder_async.settings import require

GET_COMPANY = Endpoint(
    "get_company",
    "GET",
    "/v1/companies/{id}",
    Response[Company],
    resend=Resend.CHARGING_READ,
    spend=Spend.CHARGES,
    reconcile="Get the company again: within 12 months of a charge it is free.",
)
RETRIEVE_COMPANIES = Endpoint(
    "retrieve_companies",
    "GET",
    "/v1/companies",
    Response[tuple[Company, ...]],
    resend=Resend.CHARGING_READ,
    spend=Spend.CHARGES,
    paging=Paging.IDS,
    reconcile="Get the companies again: within 12 months of a charge they are free.",
)
SEARCH_COMPANIES = Endpoint(
    "search_companies",
    "POST",
    "/v1/companies/search",
    Response[tuple[CompanySummary, ...]],
    resend=Resend.FREE_SEARCH,
    paging=Paging.CURSOR,
)


class Companies:
    """Leadfeeder's companies."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def get(
        self, company_id: str, *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Response[Company]:
        """Get one company whole; the answer carries its current id, also for an old or merged one.

        Charges 1 credit unless the company was unlocked in the last 12 months; ``.meta.charged`` tells. ``include``
        names relations to show whole, such as ``tags`` or ``crm_connections.crm_record``. Raises NotFoundError,
        InsufficientCreditsError, and OutcomeUnknownError where the answer was lost. Contract: ``get_company``, scope
        ``companies:read``.
        """
        params = {"include": comma_list("include", include)}
        return await self._session.call(GET_COMPANY, company_id, params=params, account_id=account_id)

    def list(
        self, ids: Iterable[str], *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Pager[Company]:
        """List companies by id, whole, in the order of the ids; any number of them.

        Asks for 100 a request, several requests at a time. Charges 1 credit per company that was not unlocked in the
        last 12 months, for the requests under way too when the loop is left early. Unknown ids do not come back.
        Contract: ``retrieve_companies``, scope ``companies:read``.
        """
        wanted = tuple(dict.fromkeys(comma_list("ids", ids) or ()))
        require("" not in wanted, "ids holds an empty id.")
        call = Call(RETRIEVE_COMPANIES, params={"include": comma_list("include", include)}, account_id=account_id)
        return Pager(self._session, RETRIEVE_COMPANIES, lambda _: call, ids=wanted)

    def search(
        self,
        *,
        search_terms: Sequence[str] | None = None,
        locations: Sequence[SearchLocation | Mapping[str, object]] | None = None,
        industries: IndustryFilter | Mapping[str, object] | None = None,
        employee_ranges: Sequence[EmployeeRange] | None = None,
        revenue: RevenueRange | Mapping[str, int] | None = None,
        icp_ids: Sequence[str] | None = None,
        filters: CompanySearchFilters | Mapping[str, object] | None = None,
        page_size: int = PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CompanySummary]:
        """Search companies; at least one condition is needed, and all must hold.

        Free: the rows are summaries. ``limit`` is a total, ``page_size`` per request; cursors are followed one page
        ahead. Raises ConfigurationError without a condition. Contract: ``search_companies``, scope ``companies:read``.
        """
        conditions = {
            "search_terms": filled("search_terms", search_terms),
            "locations": filled("locations", locations),
            "industries": industries,
            "employee_ranges": filled("employee_ranges", employee_ranges),
            "revenue": revenue,
            "icp_ids": filled("icp_ids", icp_ids),
            "filters": filters,
        }
        require(
            any(value is not None for value in conditions.values()),
            "A company search needs at least one condition.",
            f"Give one of {', '.join(conditions)}.",
        )
        call = Call(SEARCH_COMPANIES, body=encode_body(conditions), account_id=account_id)
        return Pager(self._session, SEARCH_COMPANIES, lambda _: call, page_size=page_size, limit=limit)
