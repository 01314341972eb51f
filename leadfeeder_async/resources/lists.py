"""Lists of companies or contacts."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET

from leadfeeder_async._core.codec import encode_json
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import ListChanges, ListData, ListRequest
from leadfeeder_async.models.tags_and_lists import List, ListItem
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import check_choice

Scope: TypeAlias = Literal["company", "contact"]
"""What a list holds."""

SCOPES = ("company", "contact")

RETRIEVE_LISTS = Endpoint(
    "retrieve_lists",
    "GET",
    "/v1/lists",
    Response[tuple[List, ...]],
    params=("filter[scope]",),
    pagination=PaginationStyle.PAGE_NUMBER,
)
CREATE_LIST = Endpoint(
    "create_list",
    "POST",
    "/v1/lists",
    Response[List],
    retry_safety=RetrySafety.NON_IDEMPOTENT,
    verification_hint="Look for it with `lf.lists.list(scope=...)`.",
)
GET_LIST = Endpoint("get_list", "GET", "/v1/lists/{id}", Response[List])
UPDATE_LIST = Endpoint("update_list", "PATCH", "/v1/lists/{id}", Response[List], retry_safety=RetrySafety.IDEMPOTENT)
DELETE_LIST = Endpoint("delete_list", "DELETE", "/v1/lists/{id}", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT)
LIST_ITEMS = Endpoint(
    "list_items", "GET", "/v1/lists/{id}/items", Response[tuple[ListItem, ...]], pagination=PaginationStyle.CURSOR
)


class Lists:
    """Lists of companies or contacts."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self, *, scope: Scope, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[List]:
        """List the lists of companies, or of contacts.

        ``async for one in lf.lists.list(scope="company")``. Free; numbered pages. Contract: ``retrieve_lists``, scope
        ``lists:read``.
        """
        params = {"filter[scope]": check_choice("scope", scope, SCOPES)}
        call = ApiRequest(RETRIEVE_LISTS, params=params, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def create(self, *, name: str, scope: Scope, account_id: str | None = None) -> Response[List]:
        """Create a list of companies or of contacts.

        ``await lf.lists.create(name="DACH", scope="company")``. Free. A lost answer raises OutcomeUnknownError.
        Contract: ``create_list``, scope ``lists:write``.
        """
        check_choice("scope", scope, SCOPES)
        body = encode_json(ListRequest(data=ListData(attributes=ListChanges(name=name, scope=scope))))
        return await self._executor.execute(ApiRequest(CREATE_LIST, body=body, account_id=account_id))

    async def get(self, list_id: str, *, account_id: str | None = None) -> Response[List]:
        """Get one list, with the number of its items.

        ``(await lf.lists.get("8101")).data.attributes.item_count``. Free. Contract: ``get_list``, scope
        ``lists:read``.
        """
        return await self._executor.execute(ApiRequest(GET_LIST, (list_id,), account_id=account_id))

    async def update(self, list_id: str, *, name: str, account_id: str | None = None) -> Response[List]:
        """Rename a list.

        ``await lf.lists.update("8101", name="DACH 2027")``. Free. Contract: ``update_list`` (PATCH inferred), scope
        ``lists:write``.
        """
        changes = ListChanges(name=name, scope=UNSET)
        body = encode_json(ListRequest(data=ListData(id=list_id, attributes=changes)))
        return await self._executor.execute(ApiRequest(UPDATE_LIST, (list_id,), body=body, account_id=account_id))

    async def delete(self, list_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a list; its companies or contacts stay.

        ``await lf.lists.delete("8101")``. Free. Where a first answer was lost, the second attempt may raise
        NotFoundError. Contract: ``delete_list``, scope ``lists:write``.
        """
        return await self._executor.execute(ApiRequest(DELETE_LIST, (list_id,), account_id=account_id))

    def items(
        self, list_id: str, *, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[ListItem]:
        """List the members of a list, by id and type.

        ``ids = [item.id async for item in lf.lists.items("8101")]``. Free; follows cursors. Contract: ``list_items``.
        """
        call = ApiRequest(LIST_ITEMS, (list_id,), account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)
