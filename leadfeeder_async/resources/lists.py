"""Lists of companies and lists of contacts."""

from __future__ import annotations

from collections.abc import Mapping

from leadfeeder_async._argument_checks import check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import ListChanges, ListData, ListRequest, Scope
from leadfeeder_async.models.tags_and_lists import List, ListItem
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import check_scope, checked, encode_record
from leadfeeder_async.resources.creation import comparable_name, find_or_create

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
    verification_hint="Check with `lf.lists.list(scope=...)` if the list exists.",
)
GET_LIST = Endpoint("get_list", "GET", "/v1/lists/{id}", Response[List])
UPDATE_LIST = Endpoint("update_list", "PATCH", "/v1/lists/{id}", Response[List], retry_safety=RetrySafety.IDEMPOTENT)
DELETE_LIST = Endpoint("delete_list", "DELETE", "/v1/lists/{id}", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT)
LIST_ITEMS = Endpoint(
    "list_items", "GET", "/v1/lists/{id}/items", Response[tuple[ListItem, ...]], pagination=PaginationStyle.CURSOR
)


class Lists:
    """Lists of companies and lists of contacts. A list contains one of the two, which is its scope."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self, *, scope: Scope, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[List]:
        """List the lists of one scope.

        ``async for company_list in lf.lists.list(scope="company")``

        API operation: ``retrieve_lists``, scope ``lists:read``.

        Args:
            scope: ``company`` or ``contact``.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of lists.

        Raises:
            ConfigurationError: ``scope`` has another value.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order.

        """
        params = {"filter[scope]": check_scope(scope)}
        call = ApiRequest(RETRIEVE_LISTS, params=params, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def create(
        self, *, name: str, scope: Scope, extra: Mapping[str, object] | None = None, account_id: str | None = None
    ) -> Response[List]:
        """Create a list.

        ``await lf.lists.create(name="DACH", scope="company")``

        API operation: ``create_list``, scope ``lists:write``.

        Args:
            name: The name of the list.
            scope: ``company`` or ``contact``: the records that the list contains.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The new list.

        Raises:
            ConfigurationError: ``scope`` has another value.
            OutcomeUnknownError: The response was lost, so the list may have been created. Check with ``list``.

        Credits:
            None.

        """
        changes = checked(ListChanges, name=name, scope=scope)
        body = encode_record(ListRequest(data=ListData(attributes=changes)), extra)
        return await self._executor.execute(ApiRequest(CREATE_LIST, body=body, account_id=account_id))

    async def get_or_create(self, name: str, *, scope: Scope, account_id: str | None = None) -> List:
        """Return the list with a name and scope, and create it if it does not exist.

        ``company_list = await lf.lists.get_or_create("DACH", scope="company")``

        Case, additional spaces and the Unicode form of names are ignored. Concurrent calls of one client create one
        list. Other programs may create the same list at the same moment.

        API operations: ``retrieve_lists``, ``create_list``, scopes ``lists:read`` and ``lists:write``.

        Args:
            name: The name of the list.
            scope: ``company`` or ``contact``: the records that the list contains.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The list.

        Raises:
            ConfigurationError: ``name`` is empty, ``scope`` has another value, or several lists have this name and
                scope. The error contains their ids.
            IncompleteListError: The lists could not be read completely, so none was created.
            OutcomeUnknownError: The response was lost or has no id, and the list is not among the lists of the account.
                Concurrent calls for the same name and scope raise it too.

        Credits:
            None. One request for each 100 lists, and one to create a list.

        """
        checked(ListChanges, name=name, scope=scope)
        executor = self._executor
        return await find_or_create(
            name,
            List,
            self.list(scope=scope, account_id=account_id),
            lambda stats: Lists(executor.with_stats(stats)).create(name=name, scope=scope, account_id=account_id),
            executor.hold_record_lock(CREATE_LIST, account_id, scope, comparable_name(name)),
        )

    async def get(self, list_id: str, *, account_id: str | None = None) -> Response[List]:
        """Get a list and the number of its items.

        ``(await lf.lists.get("8101")).data.attributes.item_count``

        API operation: ``get_list``, scope ``lists:read``.

        Args:
            list_id: The id of the list.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The list. ``items`` returns its items.

        Raises:
            NotFoundError: The account has no list with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(GET_LIST, (check_id("list_id", list_id),), account_id=account_id)
        )

    async def update(
        self, list_id: str, *, name: str, extra: Mapping[str, object] | None = None, account_id: str | None = None
    ) -> Response[List]:
        """Rename a list.

        ``await lf.lists.update("8101", name="DACH 2027")``

        API operation: ``update_list`` (inferred path), scope ``lists:write``.

        Args:
            list_id: The id of the list.
            name: The new name.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The renamed list.

        Raises:
            ConfigurationError: ``extra`` contains an attribute that has its own argument, or an argument has the wrong
                type.
            NotFoundError: The account has no list with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        changes = checked(ListChanges, name=name)
        body = encode_record(ListRequest(data=ListData(id=check_id("list_id", list_id), attributes=changes)), extra)
        return await self._executor.execute(ApiRequest(UPDATE_LIST, (list_id,), body=body, account_id=account_id))

    async def delete(self, list_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a list. Its companies or contacts are not deleted.

        ``await lf.lists.delete("8101")``

        API operation: ``delete_list``, scope ``lists:write``.

        Args:
            list_id: The id of the list.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: The account has no list with this id. This is also raised if a first attempt deleted the list
                but its response was lost.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(DELETE_LIST, (check_id("list_id", list_id),), account_id=account_id)
        )

    def items(
        self, list_id: str, *, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[ListItem]:
        """List the items of a list.

        ``ids = [item.id async for item in lf.lists.items("8101")]``

        API operation: ``list_items``.

        Args:
            list_id: The id of the list.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of ids and types. Use ``companies.get_many`` or ``contacts.get_many`` for complete records.

        Raises:
            ConfigurationError: ``page_size`` or ``limit`` is out of range, or an argument has the wrong type.
            NotFoundError: The account has no list with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Cursors. One page is prefetched.

        """
        call = ApiRequest(LIST_ITEMS, (check_id("list_id", list_id),), account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)
