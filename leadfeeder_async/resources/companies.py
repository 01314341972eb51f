"""Companies: records, searches, matches, signals, IP addresses, tags and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leadfeeder_async._argument_checks import check_boolean, check_id
from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.companies import CompanyFinancials, CompanyIp, CompanyMatch, CompanySummary, Signal
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.filter_dicts import (
    CompanyMatchInputDict,
    CompanySearchFiltersDict,
    DateRangeDict,
    IndustryFilterDict,
    RevenueRangeDict,
    SearchLocationDict,
)
from leadfeeder_async.models.includes import CompanyInclude, CompanyIpInclude
from leadfeeder_async.models.records import Company
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
    add_extra,
    check_range,
    check_some_ids,
    encode_linkages,
    encode_search,
    encode_validated,
    include_param,
    optional_ids,
)

_RECHECK_IS_FREE = (
    "`lf.accounts.get()` shows the remaining credits. Repeating the request is free if the company was charged in the "
    "last 12 months."
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
    billing=Billing.PER_REQUEST,
    pagination=PaginationStyle.CURSOR,
    verification_hint=_RECHECK_IS_FREE,
    shares_ids=True,
    path_alternatives=("/v1/companies/signals/search",),
)
SEARCH_COMPANIES = Endpoint(
    "search_companies",
    "POST",
    "/v1/companies/search",
    Response[tuple[CompanySummary, ...]],
    pagination=PaginationStyle.CURSOR,
)
MATCH_COMPANIES = Endpoint(
    "match_companies",
    "POST",
    "/v1/companies/match",
    Response[tuple[tuple[CompanyMatch, ...], ...]],
    params=("max_results_per_company",),
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
    path_alternatives=("/v1/companies/ip-addresses", "/v1/company-ips", "/v1/ips"),
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
    """The companies that Leadfeeder knows.

    Searches and matches are free and return summaries. Complete records charge 1 credit per company, unless the company
    is unlocked. A company is unlocked if it was charged in the last 12 months, or if it visited the account's website.
    """

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def get(
        self, company_id: str, *, include: Iterable[CompanyInclude] | None = None, account_id: str | None = None
    ) -> Response[Company]:
        """Get a company with all attributes.

        ``await lf.companies.get("159001425", include=["tags"])``

        API operation: ``get_company``, scope ``companies:read``.

        Args:
            company_id: The id of the company. Ids of merged companies are accepted.
            include: Relationships to return with all attributes: ``group_company``, ``tags``, ``lists``,
                ``web_visits``, ``icps``, ``crm_connections``, ``crm_connections.crm_record``,
                ``crm_connections.crm_record.crm_owner``, ``crm_suggestions``, ``crm_suggestions.crm_record``,
                ``crm_suggestions.crm_record.crm_owner``, ``crm_group_connections``,
                ``crm_group_connections.crm_connection``, ``crm_group_connections.crm_connection.crm_record``,
                ``crm_group_connections.crm_connection.crm_record.crm_owner``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The company. ``data.id`` is its current id, which differs from ``company_id`` if companies were merged.
            ``meta.charged`` is the number of credits that were charged.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            NotFoundError: No company has this id.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response was lost, so credits may have been charged.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            1, unless the company is unlocked.

        """
        params = {"include": include_param(include, CompanyInclude)}
        return await self._executor.execute(
            ApiRequest(GET_COMPANY, (check_id("company_id", company_id),), params=params, account_id=account_id)
        )

    def get_many(
        self,
        ids: Iterable[str],
        *,
        resolve_merged: bool = False,
        include: Iterable[CompanyInclude] | None = None,
        account_id: str | None = None,
    ) -> IdPager[Company]:
        """Get any number of companies with all attributes.

        ``async for company in lf.companies.get_many(ids)``

        API operation: ``retrieve_companies``, scope ``companies:read``.

        Args:
            ids: The ids of the companies. Ids of merged companies are accepted.
            resolve_merged: If several ids of a batch were merged, the response does not say which id became which
                company. True requests these ids again in groups, with at most 14 further requests for each batch in
                most cases. False lists them in ``unresolved``.
            include: Relationships to return with all attributes: ``group_company``, ``tags``, ``lists``,
                ``web_visits``, ``icps``, ``crm_connections``, ``crm_connections.crm_record``,
                ``crm_connections.crm_record.crm_owner``, ``crm_suggestions``, ``crm_suggestions.crm_record``,
                ``crm_suggestions.crm_record.crm_owner``, ``crm_group_connections``,
                ``crm_group_connections.crm_connection``, ``crm_group_connections.crm_connection.crm_record``,
                ``crm_group_connections.crm_connection.crm_record.crm_owner``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of companies. After the iteration, ``missing`` has the ids without a company, and ``merged`` maps
            the ids of merged companies to their current ids. ``unresolved`` has the ids for which the response leaves
            open if they are missing or merged.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response to a page was lost, so credits may have been charged.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            1 per company that is not unlocked. If you leave the iteration early, requests in flight may charge too.

        Pagination:
            Batches of 100 ids. Up to 16 batches are prefetched. Companies are returned in the order of ``ids``.
            Missing ids are requested once more at the end, 100 in a request, because they may have been merged into
            companies that were requested too.

        """
        call = ApiRequest(
            RETRIEVE_COMPANIES, params={"include": include_param(include, CompanyInclude)}, account_id=account_id
        )
        return IdPager(self._executor, call, ids, resolve_merged=check_boolean("resolve_merged", resolve_merged))

    async def financials(
        self, company_id: str, *, account_id: str | None = None
    ) -> Response[tuple[CompanyFinancials, ...]]:
        """Get the financial reports of a company.

        ``(await lf.companies.financials("159001425")).data[0].attributes.revenue``

        API operation: ``get_company_financials``, scope ``companies:read``.

        Args:
            company_id: The id of the company.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The reports, one per year.

        Raises:
            NotFoundError: No company has this id.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response was lost, so credits may have been charged.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            1, unless the company is unlocked.

        """
        return await self._executor.execute(
            ApiRequest(GET_COMPANY_FINANCIALS, (check_id("company_id", company_id),), account_id=account_id)
        )

    def search_signals(
        self,
        *,
        company_ids: Sequence[str],
        categories: Sequence[SignalCategory] | None = None,
        event_date: DateRange | DateRangeDict | None = None,
        publication_date: DateRange | DateRangeDict | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Pager[Signal]:
        """Search news about companies.

        ``async for signal in lf.companies.search_signals(company_ids=["159001425"], categories=["job_ads"])``

        API operation: ``search_company_signals`` (inferred path), scope ``companies:read``.

        Args:
            company_ids: The ids of the companies.
            categories: The categories of signals: ``business_expansion``, ``competitive_landscape``,
                ``event_participation``, ``industry_recognition``, ``leadership_changes``, ``corporate_challenges``,
                ``mergers_and_acquisitions``, ``customer_acquisition``, ``investment_activity``,
                ``product_and_service_development``, ``partnerships_and_collaborations``, ``financial_struggles``,
                ``job_ads``, ``register_updates``, ``regulatory_compliance_updates``. None means all.
            event_date: The dates of the events, as a :class:`~leadfeeder_async.models.DateRange` or as a mapping with
                ``from`` and ``to``. Both days are included, and one of them can be left out.
            publication_date: The dates of publication, in the same form.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            extra: New conditions of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of signals.

        Raises:
            NotFoundError: No known path of this operation exists. Set another one with ``AsyncLeadfeeder(paths=...)``.
            ConfigurationError: An argument is out of range or has the wrong type, or ``company_ids`` is empty.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response to a page was lost, so credits may have been charged.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            1 per company that has signals and is not unlocked. A budget must cover all ``company_ids``.

        Pagination:
            Cursors. Pages are not prefetched, because they may charge credits.

        """
        ids = check_some_ids("company_ids", company_ids)
        conditions = {
            "company_ids": ids,
            "categories": categories,
            "event_date": event_date,
            "publication_date": publication_date,
        }
        body = encode_search(SignalSearchRequest, conditions, extra)
        call = ApiRequest(SEARCH_COMPANY_SIGNALS, body=body, account_id=account_id, billable_records=len(ids))
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    def search(
        self,
        *,
        search_terms: Sequence[str] | None = None,
        locations: Sequence[SearchLocation | SearchLocationDict] | None = None,
        industries: IndustryFilter | IndustryFilterDict | None = None,
        employee_ranges: Sequence[EmployeeRange] | None = None,
        revenue: RevenueRange | RevenueRangeDict | None = None,
        icp_ids: Sequence[str] | None = None,
        filters: CompanySearchFilters | CompanySearchFiltersDict | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Pager[CompanySummary]:
        """Search companies. At least one condition is required, and a company must match all conditions.

        ``async for company in lf.companies.search(search_terms=["robotics"], limit=250)``

        API operation: ``search_companies``, scope ``companies:read``.

        Args:
            search_terms: Words to search for.
            locations: Locations, of which one must match. Each is a :class:`~leadfeeder_async.models.SearchLocation` or
                a mapping with ``street``, ``postal_code``, ``city``, ``country_code``, ``region_code`` or ``geo``.
                ``geo`` has ``latitude``, ``longitude`` and ``distance``, a radius of up to 500 kilometers.
            industries: Industries, as an :class:`~leadfeeder_async.models.IndustryFilter` or a mapping. ``codes`` has
                one or more codes, and ``classification`` is ``internal`` (the default), ``wz`` or ``nace``.
            employee_ranges: Numbers of employees: ``1-10``, ``11-100``, ``101-500``, ``501-1.000``, ``1.001-5.000``,
                ``5.001-10.000``, ``10.000+``.
            revenue: The yearly revenue, as a :class:`~leadfeeder_async.models.RevenueRange` or a mapping with ``min``,
                ``max`` or both.
            icp_ids: Ids of ideal customer profiles, of which one must match.
            filters: Conditions that are true or false, as :class:`~leadfeeder_async.models.CompanySearchFilters` or a
                mapping: ``has_phone``, ``has_email``, ``has_social_media_profiles``, ``do_not_contact``,
                ``has_financials_revenue``, ``has_financials_earnings``, ``has_financials_net_worth``,
                ``has_ip_addresses``.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            extra: New conditions of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of summaries. Use ``get_many`` for complete records.

        Raises:
            ConfigurationError: No condition was given, or a condition has the wrong type or is empty.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Cursors. One page is prefetched.

        """
        conditions = {
            "search_terms": search_terms,
            "locations": locations,
            "industries": industries,
            "employee_ranges": employee_ranges,
            "revenue": revenue,
            "icp_ids": optional_ids("icp_ids", icp_ids),
            "filters": filters,
        }
        body = encode_search(CompanySearchRequest, conditions, extra)
        call = ApiRequest(SEARCH_COMPANIES, body=body, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def match(
        self,
        companies: Sequence[CompanyMatchInput | CompanyMatchInputDict],
        max_results_per_company: int | None = None,
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[tuple[tuple[CompanyMatch, ...], ...]]:
        """Find the companies that match names, websites or register entries.

        ``await lf.companies.match([{"company_name": "Nordlicht"}, {"url": "nordlicht.test"}], 3)``

        API operation: ``match_companies``, scope ``companies:read``.

        Args:
            companies: 1 to 200 companies to match, each as a :class:`~leadfeeder_async.models.CompanyMatchInput` or a
                mapping. Each needs ``company_name``, ``url``, ``vat_id`` or ``register_id``. ``email``, ``phone``,
                ``register_location``, ``street``, ``street_name``, ``street_number``, ``postal_code``, ``city``,
                ``country`` and ``country_code`` improve the match.
            max_results_per_company: The maximum number of matches per company, 1 to 20. None leaves it to the API.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            ``data[i]`` has the matches of ``companies[i]``. It is empty if no company matches.

        Raises:
            ConfigurationError: An argument is out of range, or a company has none of the required fields.

        Credits:
            None.

        """
        params = {"max_results_per_company": check_range("max_results_per_company", max_results_per_company, 1, 20)}
        body = add_extra(CompanyMatchRequest, encode_validated(CompanyMatchRequest, {"companies": companies}), extra)
        return await self._executor.execute(
            ApiRequest(MATCH_COMPANIES, params=params, body=body, account_id=account_id)
        )

    async def ips(
        self,
        company_ids: Sequence[str],
        max_ip_addresses: int | None = None,
        *,
        include: Iterable[CompanyIpInclude] | None = None,
        account_id: str | None = None,
    ) -> Response[tuple[CompanyIp, ...]]:
        """Get the IP addresses of companies.

        ``(await lf.companies.ips(["159001425"])).data[0].ip_addresses``

        API operation: ``retrieve_company_ips`` (inferred path), scope ``companies:read``.

        Args:
            company_ids: The ids of 1 to 100 companies.
            max_ip_addresses: The maximum number of IP addresses per company, 1 to 1,000,000. The most reliable ones are
                returned.
            include: Relationships to return with all attributes: ``company``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The IP addresses of each company, with their locations and networks.

        Raises:
            NotFoundError: No known path of this operation exists. Set another one with ``AsyncLeadfeeder(paths=...)``.
            ConfigurationError: ``company_ids`` is empty or has more than 100 ids, or ``max_ip_addresses`` is out of
                range.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response was lost, so credits may have been charged.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            1 per company that is not unlocked.

        """
        params = {
            "company_ids": check_some_ids("company_ids", company_ids, 100),
            "max_ip_addresses": check_range("max_ip_addresses", max_ip_addresses, 1, 10**6),
            "include": include_param(include, CompanyIpInclude),
        }
        return await self._executor.execute(ApiRequest(RETRIEVE_COMPANY_IPS, params=params, account_id=account_id))

    async def add_to_lists(
        self,
        company_id: str,
        list_ids: Iterable[str],
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[None]:
        """Add a company to lists. Lists that already contain the company stay unchanged.

        ``await lf.companies.add_to_lists("159001425", ["8101"])``

        API operation: ``add_company_to_lists``, scope ``companies:write``.

        Args:
            company_id: The id of the company.
            list_ids: The ids of the lists. At least one is required.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: No company or list has this id.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            ConfigurationError: ``list_ids`` is empty.

        Credits:
            None.

        """
        body = encode_linkages("list", list_ids, extra)
        return await self._executor.execute(
            ApiRequest(ADD_COMPANY_TO_LISTS, (check_id("company_id", company_id),), body=body, account_id=account_id)
        )

    async def remove_from_lists(
        self,
        company_id: str,
        list_ids: Iterable[str],
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[None]:
        """Remove a company from lists.

        ``await lf.companies.remove_from_lists("159001425", ["8101"])``

        The request is a DELETE with a body. Some proxies drop the body.

        API operation: ``remove_company_from_lists`` (inferred path), scope ``companies:write``.

        Args:
            company_id: The id of the company.
            list_ids: The ids of the lists. At least one is required.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: No company or list has this id.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            ConfigurationError: ``list_ids`` is empty.

        Credits:
            None.

        """
        body = encode_linkages("list", list_ids, extra)
        return await self._executor.execute(
            ApiRequest(
                REMOVE_COMPANY_FROM_LISTS, (check_id("company_id", company_id),), body=body, account_id=account_id
            )
        )

    async def assign_tags(
        self,
        company_id: str,
        tag_ids: Iterable[str],
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[None]:
        """Assign tags to a company. Its other tags stay assigned.

        ``await lf.companies.assign_tags("159001425", ["7001"])``

        API operation: ``assign_tags_to_company``, scope ``companies:write``.

        Args:
            company_id: The id of the company.
            tag_ids: The ids of the tags. At least one is required.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: No company or tag has this id.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            ConfigurationError: ``tag_ids`` is empty.

        Credits:
            None.

        """
        body = encode_linkages("tag", tag_ids, extra)
        return await self._executor.execute(
            ApiRequest(ASSIGN_TAGS_TO_COMPANY, (check_id("company_id", company_id),), body=body, account_id=account_id)
        )

    async def unassign_tags(
        self,
        company_id: str,
        tag_ids: Iterable[str],
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[None]:
        """Remove tags from a company.

        ``await lf.companies.unassign_tags("159001425", ["7001"])``

        The request is a DELETE with a body. Some proxies drop the body.

        API operation: ``unassign_tags_from_company`` (inferred path), scope ``companies:write``.

        Args:
            company_id: The id of the company.
            tag_ids: The ids of the tags. At least one is required.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: No company or tag has this id.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            ConfigurationError: ``tag_ids`` is empty.

        Credits:
            None.

        """
        body = encode_linkages("tag", tag_ids, extra)
        return await self._executor.execute(
            ApiRequest(
                UNASSIGN_TAGS_FROM_COMPANY, (check_id("company_id", company_id),), body=body, account_id=account_id
            )
        )
