"""Contacts: people at companies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from leadfeeder_async._core.endpoint import ApiRequest, Billing, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.contacts import Contact, ContactSummary
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.search_filters import ContactSearchRequest
from leadfeeder_async.pagination.id_pager import IdPager
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import csv_param, encode_linkages, encode_search

_RECHECK_IS_FREE = (
    "`lf.accounts.get()` shows what is left of the credits; asking again is free within 12 months of a charge for the "
    "same contact."
)

GET_CONTACT = Endpoint(
    "get_contact",
    "GET",
    "/v1/contacts/{id}",
    Response[Contact],
    params=("include",),
    retry_safety=RetrySafety.BILLED_READ,
    billing=Billing.PER_REQUEST,
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
    pagination=PaginationStyle.ID_BATCH,
    verification_hint=_RECHECK_IS_FREE,
)
SEARCH_CONTACTS = Endpoint(
    "search_contacts",
    "POST",
    "/v1/contacts/search",
    Response[tuple[ContactSummary, ...]],
    retry_safety=RetrySafety.SAFE_SEARCH,
    pagination=PaginationStyle.CURSOR,
)
ADD_CONTACT_TO_LISTS = Endpoint(
    "add_contact_to_lists", "POST", "/v1/contacts/{id}/lists", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)
REMOVE_CONTACT_FROM_LISTS = Endpoint(
    "remove_contact_from_lists", "DELETE", "/v1/contacts/{id}/lists", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)


class Contacts:
    """People at companies."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def get(
        self, contact_id: str, *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Response[Contact]:
        """Get one contact whole.

        ``await lf.contacts.get("52200417", include=["company"])``. Charges about 1 credit unless the contact was
        unlocked in the last 12 months; ``.meta.charged`` tells. Raises NotFoundError, InsufficientCreditsError, and
        OutcomeUnknownError where the answer was lost. Contract: ``get_contact``, scope ``contacts:read``.
        """
        params = {"include": csv_param("include", include)}
        return await self._executor.execute(
            ApiRequest(GET_CONTACT, (contact_id,), params=params, account_id=account_id)
        )

    def get_many(
        self, ids: Iterable[str], *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> IdPager[Contact]:
        """List contacts by id, whole, in the order of the ids; any number of them.

        ``async for contact in lf.contacts.list(ids)``. Asks for 100 a request, several requests at a time; after the
        loop ``.missing`` and ``.merged`` tell which ids did not come back and which came under another. Charges about
        1 credit per contact that was not unlocked in the last 12 months, for the requests under way too when the loop
        is left early. Raises InsufficientCreditsError, and OutcomeUnknownError where a page was lost. Contract:
        ``retrieve_contacts``, scope ``contacts:read``.
        """
        call = ApiRequest(RETRIEVE_CONTACTS, params={"include": csv_param("include", include)}, account_id=account_id)
        return IdPager(self._executor, call, ids)

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
        account_id: str | None = None,
    ) -> Pager[ContactSummary]:
        """Search contacts; at least one condition is needed, and all must hold.

        ``async for contact in lf.contacts.search(company_ids=["159001425"], departments=["sales_department"])``. Free:
        the rows are summaries. Cursors are followed one page ahead. Raises ConfigurationError without a condition.
        Contract: ``search_contacts``, scope ``contacts:read``.
        """
        conditions = {
            "search_terms": search_terms,
            "emails": emails,
            "company_ids": company_ids,
            "positions": positions,
            "departments": departments,
            "hierarchy_levels": hierarchy_levels,
            "affiliation": affiliation,
            "buyer_persona_ids": buyer_persona_ids,
            "filters": filters,
        }
        call = ApiRequest(SEARCH_CONTACTS, body=encode_search(ContactSearchRequest, conditions), account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def add_to_lists(
        self, contact_id: str, list_ids: Iterable[str], *, account_id: str | None = None
    ) -> Response[None]:
        """Put a contact on lists; one that is there already stays.

        ``await lf.contacts.add_to_lists("52200417", ["8102"])``. Free. Contract: ``add_contact_to_lists``, scope
        ``contacts:write``.
        """
        body = encode_linkages("list", list_ids)
        return await self._executor.execute(
            ApiRequest(ADD_CONTACT_TO_LISTS, (contact_id,), body=body, account_id=account_id)
        )

    async def remove_from_lists(
        self, contact_id: str, list_ids: Iterable[str], *, account_id: str | None = None
    ) -> Response[None]:
        """Take a contact off lists.

        ``await lf.contacts.remove_from_lists("52200417", ["8102"])``. Free. Sends DELETE with a body, which some
        proxies drop. Contract: ``remove_contact_from_lists`` (path inferred), scope ``contacts:write``.
        """
        body = encode_linkages("list", list_ids)
        return await self._executor.execute(
            ApiRequest(REMOVE_CONTACT_FROM_LISTS, (contact_id,), body=body, account_id=account_id)
        )
