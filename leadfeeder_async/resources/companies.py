"""Companies: whole records, the searches that find them, and their tags and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.companies import (
    Company,
    CompanyFinancials,
    CompanyIp,
    CompanyMatch,
    CompanySummary,
    Signal,
)
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.search_filters import (
    CompanyMatchInput,
    CompanyMatchRequest,
    CompanySearchFilters,
    CompanySearchRequest,
    DateRange,
    EmployeeRange,
    IndustryFilter,
    RevenueRange,
    SearchLocation,
    SignalCategory,
    SignalSearchRequest,
)
from leadfeeder_async.pagination.id_pager import IdPager
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import (
    check_ids,
    check_range,
    csv_param,
    encode_linkages,
    encode_search,
    encode_validated,
)

_RECHECK_IS_FREE = (
    "`lf.accounts.get()` shows what is left of the credits; asking again is free within 12 months of a charge for the "
    "same company."
)

GET_COMPANY = Endpoint(
    "get_company",
    "GET",
    "/v1/companies/{id}",
    Response[Company],
    params=("include",),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_REQUEST,
    verification_hint=_RECHECK_IS_FREE,
)
RETRIEVE_COMPANIES = Endpoint(
    "retrieve_companies",
    "GET",
    "/v1/companies",
    Response[tuple[Company, ...]],
    params=("ids", "include"),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_ID,
    billed_param="ids",
    pagination=PaginationStyle.ID_BATCH,
    verification_hint=_RECHECK_IS_FREE,
)
GET_COMPANY_FINANCIALS = Endpoint(
    "get_company_financials",
    "GET",
    "/v1/companies/{id}/financials",
    Response[tuple[CompanyFinancials, ...]],
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_REQUEST,
    verification_hint=_RECHECK_IS_FREE,
)
SEARCH_COMPANY_SIGNALS = Endpoint(
    "search_company_signals",
    "POST",
    "/v1/companies/signals",
    Response[tuple[Signal, ...]],
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_ITEM,
    pagination=PaginationStyle.CURSOR,
    verification_hint=_RECHECK_IS_FREE,
)
SEARCH_COMPANIES = Endpoint(
    "search_companies",
    "POST",
    "/v1/companies/search",
    Response[tuple[CompanySummary, ...]],
    retry_safety=RetrySafety.SAFE_SEARCH,
    pagination=PaginationStyle.CURSOR,
)
MATCH_COMPANIES = Endpoint(
    "match_companies",
    "POST",
    "/v1/companies/match",
    Response[tuple[tuple[CompanyMatch, ...], ...]],
    params=("max_results_per_company",),
    retry_safety=RetrySafety.SAFE_SEARCH,
)
RETRIEVE_COMPANY_IPS = Endpoint(
    "retrieve_company_ips",
    "GET",
    "/v1/companies/ips",
    Response[tuple[CompanyIp, ...]],
    params=("company_ids", "max_ip_addresses", "include"),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_ID,
    billed_param="company_ids",
    verification_hint=_RECHECK_IS_FREE,
)
ADD_COMPANY_TO_LISTS = Endpoint(
    "add_company_to_lists", "POST", "/v1/companies/{id}/lists", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)
REMOVE_COMPANY_FROM_LISTS = Endpoint(
    "remove_company_from_lists",
    "DELETE",
    "/v1/companies/{id}/lists",
    EmptyResponse,
    retry_safety=RetrySafety.IDEMPOTENT,
)
ASSIGN_TAGS_TO_COMPANY = Endpoint(
    "assign_tags_to_company", "POST", "/v1/companies/{id}/tags", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)
UNASSIGN_TAGS_FROM_COMPANY = Endpoint(
    "unassign_tags_from_company",
    "DELETE",
    "/v1/companies/{id}/tags",
    EmptyResponse,
    retry_safety=RetrySafety.IDEMPOTENT,
)


class Companies:
    """Leadfeeder's companies."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def get(
        self, company_id: str, *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Response[Company]:
        """Get one company whole; the answer carries its current id, also for an old or merged one.

        ``await lf.companies.get("159001425", include=["tags"])``. Charges 1 credit unless the company was unlocked in
        the last 12 months; ``.meta.charged`` tells. ``include`` names relations to show whole, such as ``tags`` or
        ``crm_connections.crm_record``. Raises NotFoundError, InsufficientCreditsError, and OutcomeUnknownError where
        the answer was lost. Contract: ``get_company``, scope ``companies:read``.
        """
        params = {"include": csv_param("include", include)}
        return await self._executor.execute(
            ApiRequest(GET_COMPANY, (company_id,), params=params, account_id=account_id)
        )

    def get_many(
        self, ids: Iterable[str], *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> IdPager[Company]:
        """List companies by id, whole, in the order of the ids; any number of them.

        ``async for company in lf.companies.list(ids)``. Asks for 100 a request, several requests at a time; after the
        loop ``.missing`` names the ids that did not come back and ``.merged`` the current id of each old one. Charges
        1 credit per company that was not unlocked in the last 12 months, for the requests under way too when the loop
        is left early. Raises InsufficientCreditsError, and OutcomeUnknownError where a page was lost. Contract:
        ``retrieve_companies``, scope ``companies:read``.
        """
        call = ApiRequest(RETRIEVE_COMPANIES, params={"include": csv_param("include", include)}, account_id=account_id)
        return IdPager(self._executor, call, ids)

    async def financials(
        self, company_id: str, *, account_id: str | None = None
    ) -> Response[tuple[CompanyFinancials, ...]]:
        """Get a company's financial reports, one a year.

        ``(await lf.companies.financials("159001425")).data[0].attributes.revenue``. Charges 1 credit unless the
        company was unlocked in the last 12 months. Raises NotFoundError, InsufficientCreditsError, and
        OutcomeUnknownError where the answer was lost. Contract: ``get_company_financials``, scope ``companies:read``.
        """
        return await self._executor.execute(ApiRequest(GET_COMPANY_FINANCIALS, (company_id,), account_id=account_id))

    def search_signals(
        self,
        *,
        company_ids: Sequence[str],
        categories: Sequence[SignalCategory] | None = None,
        event_date: DateRange | Mapping[str, object] | None = None,
        publication_date: DateRange | Mapping[str, object] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[Signal]:
        """Search the news about some companies.

        ``async for signal in lf.companies.search_signals(company_ids=["159001425"], categories=["job_ads"])``. Charges
        1 credit per company that has signals and is not unlocked, so no page is fetched before it is asked for. Raises
        InsufficientCreditsError, and OutcomeUnknownError where a page was lost. Follows cursors. Contract:
        ``search_company_signals`` (path inferred), scope ``companies:read``.
        """
        conditions = {
            "company_ids": company_ids,
            "categories": categories,
            "event_date": event_date,
            "publication_date": publication_date,
        }
        body = encode_validated(SignalSearchRequest, conditions)
        call = ApiRequest(SEARCH_COMPANY_SIGNALS, body=body, account_id=account_id, billable_records=len(company_ids))
        return Pager(self._executor, call, page_size=page_size, limit=limit)

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
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CompanySummary]:
        """Search companies; at least one condition is needed, and all must hold.

        ``async for company in lf.companies.search(search_terms=["robotics"], limit=250)``. Free: the rows are
        summaries. ``limit`` is a total, ``page_size`` per request; cursors are followed one page ahead. Raises
        ConfigurationError without a condition. Contract: ``search_companies``, scope ``companies:read``.
        """
        conditions = {
            "search_terms": search_terms,
            "locations": locations,
            "industries": industries,
            "employee_ranges": employee_ranges,
            "revenue": revenue,
            "icp_ids": icp_ids,
            "filters": filters,
        }
        call = ApiRequest(SEARCH_COMPANIES, body=encode_search(CompanySearchRequest, conditions), account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def match(
        self,
        companies: Sequence[CompanyMatchInput | Mapping[str, object]],
        max_results_per_company: int | None = None,
        *,
        account_id: str | None = None,
    ) -> Response[tuple[tuple[CompanyMatch, ...], ...]]:
        """Match up to 200 companies by what is known of them; ``.data[i]`` holds the matches of ``companies[i]``.

        ``await lf.companies.match([{"company_name": "Nordlicht"}, {"url": "nordlicht.test"}], 3)``. Free. Each input
        needs a ``company_name``, ``url``, ``vat_id`` or ``register_id``; 1 to 20 results each. Contract:
        ``match_companies``, scope ``companies:read``.
        """
        params = {"max_results_per_company": check_range("max_results_per_company", max_results_per_company, 1, 20)}
        body = encode_validated(CompanyMatchRequest, {"companies": companies})
        return await self._executor.execute(
            ApiRequest(MATCH_COMPANIES, params=params, body=body, account_id=account_id)
        )

    async def ips(
        self,
        company_ids: Sequence[str],
        max_ip_addresses: int | None = None,
        *,
        include: Iterable[str] | None = None,
        account_id: str | None = None,
    ) -> Response[tuple[CompanyIp, ...]]:
        """Get the IP addresses of up to 100 companies.

        ``(await lf.companies.ips(["159001425"])).data[0].ip_addresses``. Charges 1 credit per company unless unlocked
        in the last 12 months. ``max_ip_addresses`` is per company. Raises InsufficientCreditsError, and
        OutcomeUnknownError where the answer was lost. Contract: ``retrieve_company_ips`` (path inferred), scope
        ``companies:read``.
        """
        params = {
            "company_ids": check_ids("company_ids", company_ids, 100),
            "max_ip_addresses": check_range("max_ip_addresses", max_ip_addresses, 1, 10**6),
            "include": csv_param("include", include),
        }
        return await self._executor.execute(ApiRequest(RETRIEVE_COMPANY_IPS, params=params, account_id=account_id))

    async def add_to_lists(
        self, company_id: str, list_ids: Iterable[str], *, account_id: str | None = None
    ) -> Response[None]:
        """Put a company on lists; one that is there already stays.

        ``await lf.companies.add_to_lists("159001425", ["8101"])``. Free. Contract: ``add_company_to_lists``, scope
        ``companies:write``.
        """
        body = encode_linkages("list", list_ids)
        return await self._executor.execute(
            ApiRequest(ADD_COMPANY_TO_LISTS, (company_id,), body=body, account_id=account_id)
        )

    async def remove_from_lists(
        self, company_id: str, list_ids: Iterable[str], *, account_id: str | None = None
    ) -> Response[None]:
        """Take a company off lists.

        ``await lf.companies.remove_from_lists("159001425", ["8101"])``. Free. Sends DELETE with a body, which some
        proxies drop. Contract: ``remove_company_from_lists`` (path inferred), scope ``companies:write``.
        """
        body = encode_linkages("list", list_ids)
        return await self._executor.execute(
            ApiRequest(REMOVE_COMPANY_FROM_LISTS, (company_id,), body=body, account_id=account_id)
        )

    async def assign_tags(
        self, company_id: str, tag_ids: Iterable[str], *, account_id: str | None = None
    ) -> Response[None]:
        """Put tags on a company; those it has stay.

        ``await lf.companies.assign_tags("159001425", ["7001"])``. Free. Contract: ``assign_tags_to_company``, scope
        ``companies:write``.
        """
        body = encode_linkages("tag", tag_ids)
        return await self._executor.execute(
            ApiRequest(ASSIGN_TAGS_TO_COMPANY, (company_id,), body=body, account_id=account_id)
        )

    async def unassign_tags(
        self, company_id: str, tag_ids: Iterable[str], *, account_id: str | None = None
    ) -> Response[None]:
        """Take tags off a company.

        ``await lf.companies.unassign_tags("159001425", ["7001"])``. Free. Sends DELETE with a body, which some proxies
        drop. Contract: ``unassign_tags_from_company`` (path inferred), scope ``companies:write``.
        """
        body = encode_linkages("tag", tag_ids)
        return await self._executor.execute(
            ApiRequest(UNASSIGN_TAGS_FROM_COMPANY, (company_id,), body=body, account_id=account_id)
        )
