"""Lists of companies or contacts."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import UNSET

from leadfeeder_async._http.endpoint import Call, Endpoint, Paging, Resend
from leadfeeder_async._http.session import Session
from leadfeeder_async._http.wire import encode_json
from leadfeeder_async.models.envelope import Done, Response
from leadfeeder_async.models.requests import ListChanges, ListData, ListRequest
from leadfeeder_async.models.workspace import List, ListItem
from leadfeeder_async.paging import PAGE_SIZE, Pager
from leadfeeder_async.resources._arguments import one_of

Scope: TypeAlias = Literal["company", "contact"]
"""What a list holds."""

SCOPES = ("company", "contact")

RETRIEVE_LISTS = Endpoint(
    "retrieve_lists",
    "GET",
    "/v1/lists",
    Response[tuple[List, ...]],
    params=("filter[scope]",),
    paging=Paging.NUMBER,
)
CREATE_LIST = Endpoint(
    "create_list",
    "POST",
    "/v1/lists",
    Response[List],
    resend=Resend.CREATES,
    reconcile="Look for it with `lf.lists.list(scope=...)`.",
)
GET_LIST = Endpoint("get_list", "GET", "/v1/lists/{id}", Response[List])
UPDATE_LIST = Endpoint("update_list", "PATCH", "/v1/lists/{id}", Response[List], resend=Resend.SET_LIKE)
DELETE_LIST = Endpoint("delete_list", "DELETE", "/v1/lists/{id}", Done, resend=Resend.SET_LIKE)
LIST_ITEMS = Endpoint("list_items", "GET", "/v1/lists/{id}/items", Response[tuple[ListItem, ...]], paging=Paging.CURSOR)


class Lists:
    """Lists of companies or contacts."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(
        self, *, scope: Scope, page_size: int = PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[List]:
        """List the lists of companies, or of contacts.

        ``async for one in lf.lists.list(scope="company")``. Free; numbered pages. Contract: ``retrieve_lists``, scope
        ``lists:read``.
        """
        params = {"filter[scope]": one_of("scope", scope, SCOPES)}
        call = Call(RETRIEVE_LISTS, params=params, account_id=account_id)
        return Pager(self._session, RETRIEVE_LISTS, lambda _: call, page_size=page_size, limit=limit)

    async def create(self, *, name: str, scope: Scope, account_id: str | None = None) -> Response[List]:
        """Create a list of companies or of contacts.

        ``await lf.lists.create(name="DACH", scope="company")``. Free. A lost answer raises OutcomeUnknownError.
        Contract: ``create_list``, scope ``lists:write``.
        """
        one_of("scope", scope, SCOPES)
        body = encode_json(ListRequest(data=ListData(attributes=ListChanges(name=name, scope=scope))))
        return await self._session.call(CREATE_LIST, body=body, account_id=account_id)

    async def get(self, list_id: str, *, account_id: str | None = None) -> Response[List]:
        """Get one list, with the number of its items.

        ``(await lf.lists.get("8101")).data.attributes.item_count``. Free. Contract: ``get_list``, scope
        ``lists:read``.
        """
        return await self._session.call(GET_LIST, list_id, account_id=account_id)

    async def update(self, list_id: str, *, name: str, account_id: str | None = None) -> Response[List]:
        """Rename a list.

        ``await lf.lists.update("8101", name="DACH 2027")``. Free. Contract: ``update_list`` (PATCH inferred), scope
        ``lists:write``.
        """
        changes = ListChanges(name=name, scope=UNSET)
        body = encode_json(ListRequest(data=ListData(id=list_id, attributes=changes)))
        return await self._session.call(UPDATE_LIST, list_id, body=body, account_id=account_id)

    async def delete(self, list_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a list; its companies or contacts stay.

        ``await lf.lists.delete("8101")``. Free. Where a first answer was lost, the second attempt may raise
        NotFoundError. Contract: ``delete_list``, scope ``lists:write``.
        """
        return await self._session.call(DELETE_LIST, list_id, account_id=account_id)

    def items(
        self, list_id: str, *, page_size: int = PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[ListItem]:
        """List the members of a list, by id and type.

        ``ids = [item.id async for item in lf.lists.items("8101")]``. Free; follows cursors. Contract: ``list_items``.
        """
        call = Call(LIST_ITEMS, (list_id,), account_id=account_id)
        return Pager(self._session, LIST_ITEMS, lambda _: call, page_size=page_size, limit=limit)
