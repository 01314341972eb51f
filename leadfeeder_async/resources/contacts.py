"""Contacts: records, searches and lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leadfeeder_async._argument_checks import check_boolean, check_id
from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.contacts import Contact, ContactSummary
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.includes import ContactInclude
from leadfeeder_async.models.search_filters import ContactSearchRequest
from leadfeeder_async.pagination.id_pager import IdPager
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import encode_linkages, encode_search, include_param, optional_ids

_RECHECK_IS_FREE = (
    "`lf.accounts.get()` shows the remaining credits. Repeating the request is free if the contact was charged in the "
    "last 12 months."
)

GET_CONTACT = Endpoint(
    "get_contact",
    "GET",
    "/v1/contacts/{id}",
    Response[Contact],
    params=("include",),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_REQUEST,
    is_price_published=False,
    verification_hint=_RECHECK_IS_FREE,
)
RETRIEVE_CONTACTS = Endpoint(
    "retrieve_contacts",
    "GET",
    "/v1/contacts",
    Response[tuple[Contact, ...]],
    params=("ids", "include"),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_ID,
    billed_param="ids",
    is_price_published=False,
    pagination=PaginationStyle.ID_BATCH,
    verification_hint=_RECHECK_IS_FREE,
)
SEARCH_CONTACTS = Endpoint(
    "search_contacts",
    "POST",
    "/v1/contacts/search",
    Response[tuple[ContactSummary, ...]],
    pagination=PaginationStyle.CURSOR,
)
ADD_CONTACT_TO_LISTS = Endpoint(
    "add_contact_to_lists", "POST", "/v1/contacts/{id}/lists", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)
REMOVE_CONTACT_FROM_LISTS = Endpoint(
    "remove_contact_from_lists", "DELETE", "/v1/contacts/{id}/lists", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)


class Contacts:
    """People at companies.

    Searches are free and return summaries. Complete records charge about 1 credit per contact, unless the contact is
    unlocked. A contact is unlocked if it was charged in the last 12 months.
    """

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def get(
        self, contact_id: str, *, include: Iterable[ContactInclude] | None = None, account_id: str | None = None
    ) -> Response[Contact]:
        """Get a contact with all attributes.

        ``await lf.contacts.get("52200417", include=["company"])``

        API operation: ``get_contact``, scope ``contacts:read``.

        Args:
            contact_id: The id of the contact.
            include: Relationships to return with all attributes: ``company``, ``lists``, ``buyer_personas``,
                ``crm_connections``, ``crm_connections.crm_record``, ``crm_connections.crm_record.crm_owner``,
                ``crm_suggestions``, ``crm_suggestions.crm_record``, ``crm_suggestions.crm_record.crm_owner``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The contact. ``meta.charged`` is the number of credits that were charged.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            NotFoundError: No contact has this id.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response was lost, so credits may have been charged.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            About 1, unless the contact is unlocked.

        """
        params = {"include": include_param(include, ContactInclude)}
        return await self._executor.execute(
            ApiRequest(GET_CONTACT, (check_id("contact_id", contact_id),), params=params, account_id=account_id)
        )

    def get_many(
        self,
        ids: Iterable[str],
        *,
        resolve_merged: bool = False,
        include: Iterable[ContactInclude] | None = None,
        account_id: str | None = None,
    ) -> IdPager[Contact]:
        """Get any number of contacts with all attributes.

        ``async for contact in lf.contacts.get_many(ids)``

        API operation: ``retrieve_contacts``, scope ``contacts:read``.

        Args:
            ids: The ids of the contacts.
            resolve_merged: If several ids of a batch were merged, the response does not say which id became which
                contact. True requests these ids again in groups, with at most 14 further requests for each batch in
                most cases. False lists them in ``unresolved``.
            include: Relationships to return with all attributes: ``company``, ``lists``, ``buyer_personas``,
                ``crm_connections``, ``crm_connections.crm_record``, ``crm_connections.crm_record.crm_owner``,
                ``crm_suggestions``, ``crm_suggestions.crm_record``, ``crm_suggestions.crm_record.crm_owner``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of contacts. After the iteration, ``missing`` has the ids without a contact, and ``merged`` maps the
            ids of merged contacts to their current ids. ``unresolved`` has the ids for which the response leaves open
            if they are missing or merged.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            InsufficientCreditsError: The account does not have enough credits.
            OutcomeUnknownError: The response to a page was lost, so credits may have been charged.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            About 1 per contact that is not unlocked. If you leave the iteration early, requests in flight may charge
            too.

        Pagination:
            Batches of 100 ids. Up to 16 batches are prefetched. With a credit budget, requests are smaller, and they
            are sent one at a time until a response has charged something. Contacts have the order of ``ids``.
            Missing ids are requested once more at the end, 100 in a request, because they may have been merged into
            contacts that were requested too.

        """
        call = ApiRequest(
            RETRIEVE_CONTACTS, params={"include": include_param(include, ContactInclude)}, account_id=account_id
        )
        return IdPager(self._executor, call, ids, resolve_merged=check_boolean("resolve_merged", resolve_merged))

    def search(
        self,
        *,
        search_terms: Sequence[str] | None = None,
        emails: Sequence[str] | None = None,
        company_ids: Sequence[str] | None = None,
        positions: Sequence[str] | None = None,
        departments: Sequence[str] | None = None,
        hierarchy_levels: Sequence[str] | None = None,
        affiliation: str | None = None,
        buyer_persona_ids: Sequence[str] | None = None,
        filters: Mapping[str, object] | None = None,
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Pager[ContactSummary]:
        """Search contacts. At least one condition is required, and a contact must match all conditions.

        ``async for contact in lf.contacts.search(company_ids=["159001425"], departments=["sales_department"])``

        The departments, hierarchy levels and affiliations are not all published.

        API operation: ``search_contacts``, scope ``contacts:read``.

        Args:
            search_terms: Words to search for.
            emails: Email addresses.
            company_ids: The ids of the employers.
            positions: Job titles.
            departments: Departments, such as ``sales_department``, ``it_department`` or ``marketing_department``.
            hierarchy_levels: Hierarchy levels.
            affiliation: The affiliation to the company.
            buyer_persona_ids: The ids of buyer personas.
            filters: More conditions that are true or false, by name. They are sent unchanged. Their names are not
                published.
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
            "emails": emails,
            "company_ids": optional_ids("company_ids", company_ids),
            "positions": positions,
            "departments": departments,
            "hierarchy_levels": hierarchy_levels,
            "affiliation": affiliation,
            "buyer_persona_ids": optional_ids("buyer_persona_ids", buyer_persona_ids),
            "filters": filters,
        }
        body = encode_search(ContactSearchRequest, conditions, extra)
        call = ApiRequest(SEARCH_CONTACTS, body=body, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def add_to_lists(
        self,
        contact_id: str,
        list_ids: Iterable[str],
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[None]:
        """Add a contact to lists. Lists that already contain the contact stay unchanged.

        ``await lf.contacts.add_to_lists("52200417", ["8102"])``

        API operation: ``add_contact_to_lists``, scope ``contacts:write``.

        Args:
            contact_id: The id of the contact.
            list_ids: The ids of the lists. At least one is required.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: No contact or list has this id.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            ConfigurationError: ``list_ids`` is empty.

        Credits:
            None.

        """
        body = encode_linkages("list", list_ids, extra)
        return await self._executor.execute(
            ApiRequest(ADD_CONTACT_TO_LISTS, (check_id("contact_id", contact_id),), body=body, account_id=account_id)
        )

    async def remove_from_lists(
        self,
        contact_id: str,
        list_ids: Iterable[str],
        *,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[None]:
        """Remove a contact from lists.

        ``await lf.contacts.remove_from_lists("52200417", ["8102"])``

        The request is a DELETE with a body. Some proxies drop the body.

        API operation: ``remove_contact_from_lists`` (inferred path), scope ``contacts:write``.

        Args:
            contact_id: The id of the contact.
            list_ids: The ids of the lists. At least one is required.
            extra: New fields of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: No contact or list has this id.
            InvalidIdError: An id is not a string, is empty, or contains characters that an id cannot have.
            ConfigurationError: ``list_ids`` is empty.

        Credits:
            None.

        """
        body = encode_linkages("list", list_ids, extra)
        return await self._executor.execute(
            ApiRequest(
                REMOVE_CONTACT_FROM_LISTS, (check_id("contact_id", contact_id),), body=body, account_id=account_id
            )
        )
