"""Tags of companies."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import UNSET, UnsetType

from leadfeeder_async._argument_checks import check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import TagChanges, TagData, TagRequest
from leadfeeder_async.models.tags_and_lists import Tag
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import checked, encode_record
from leadfeeder_async.resources.creation import comparable_name, find_or_create

RETRIEVE_TAGS = Endpoint(
    "retrieve_tags", "GET", "/v1/tags", Response[tuple[Tag, ...]], pagination=PaginationStyle.PAGE_NUMBER
)
CREATE_TAG = Endpoint(
    "create_tag",
    "POST",
    "/v1/tags",
    Response[Tag],
    retry_safety=RetrySafety.NON_IDEMPOTENT,
    verification_hint="Check with `lf.tags.list()` if the tag exists.",
)
GET_TAG = Endpoint("get_tag", "GET", "/v1/tags/{id}", Response[Tag])
UPDATE_TAG = Endpoint("update_tag", "PATCH", "/v1/tags/{id}", Response[Tag], retry_safety=RetrySafety.IDEMPOTENT)
DELETE_TAG = Endpoint("delete_tag", "DELETE", "/v1/tags/{id}", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT)


class Tags:
    """Labels of companies. Use ``lf.companies.assign_tags`` to assign them."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self, *, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[Tag]:
        """List the tags.

        ``async for tag in lf.tags.list()``

        API operation: ``retrieve_tags``, scope ``tags:read``.

        Args:
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of tags.

        Raises:
            ConfigurationError: ``page_size`` or ``limit`` is out of range, or an argument has the wrong type.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order.

        """
        call = ApiRequest(RETRIEVE_TAGS, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def create(
        self,
        *,
        name: str,
        color: int | None = None,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[Tag]:
        """Create a tag.

        ``await lf.tags.create(name="Hot lead", color=3)``

        API operation: ``create_tag``, scope ``tags:write``.

        Args:
            name: The name of the tag.
            color: The color of the tag, 0 to 9. None lets the API choose.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The new tag.

        Raises:
            ConfigurationError: ``color`` is out of range.
            OutcomeUnknownError: The response was lost, so the tag may have been created. Check with ``list``.

        Credits:
            None.

        """
        changes = checked(TagChanges, name=name, color=UNSET if color is None else color)
        body = encode_record(TagRequest(data=TagData(attributes=changes)), extra)
        return await self._executor.execute(ApiRequest(CREATE_TAG, body=body, account_id=account_id))

    async def get_or_create(self, name: str, *, color: int | None = None, account_id: str | None = None) -> Tag:
        """Return the tag with a name, and create it if it does not exist.

        ``tag = await lf.tags.get_or_create("Hot lead")``

        Case, additional spaces and the Unicode form of names are ignored. Concurrent calls of one client create one
        tag. Other programs may create the same tag at the same moment.

        API operations: ``retrieve_tags``, ``create_tag``, scopes ``tags:read`` and ``tags:write``.

        Args:
            name: The name of the tag.
            color: The color of a new tag, 0 to 9. None lets the API choose.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The tag.

        Raises:
            ConfigurationError: ``name`` is empty, ``color`` is out of range, or several tags have this name. The error
                contains their ids.
            IncompleteListError: The list of tags could not be read completely, so no tag was created.
            OutcomeUnknownError: The response was lost or has no id, and the tag is not in the list of tags. Concurrent
                calls for the same name raise it too.

        Credits:
            None. One request for each 100 tags, and one to create a tag.

        """
        checked(TagChanges, name=name, color=UNSET if color is None else color)
        executor = self._executor
        return await find_or_create(
            name,
            Tag,
            self.list(account_id=account_id),
            lambda stats: Tags(executor.with_stats(stats)).create(name=name, color=color, account_id=account_id),
            executor.hold_record_lock(CREATE_TAG, account_id, comparable_name(name)),
        )

    async def get(self, tag_id: str, *, account_id: str | None = None) -> Response[Tag]:
        """Get a tag.

        ``(await lf.tags.get("7001")).data.name``

        API operation: ``get_tag`` (inferred path), scope ``tags:read``.

        Args:
            tag_id: The id of the tag.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The tag.

        Raises:
            NotFoundError: The account has no tag with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(ApiRequest(GET_TAG, (check_id("tag_id", tag_id),), account_id=account_id))

    async def update(
        self,
        tag_id: str,
        *,
        name: str | UnsetType = UNSET,
        color: int | UnsetType | None = UNSET,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[Tag]:
        """Change a tag. Arguments that are left out stay unchanged.

        ``await lf.tags.update("7001", name="Warm lead")``

        API operation: ``update_tag`` (inferred path), scope ``tags:write``.

        Args:
            tag_id: The id of the tag.
            name: The new name.
            color: The new color, 0 to 9. None removes the color.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The changed tag.

        Raises:
            ConfigurationError: ``color`` is out of range.
            NotFoundError: The account has no tag with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        changes = checked(TagChanges, name=name, color=color)
        body = encode_record(TagRequest(data=TagData(id=check_id("tag_id", tag_id), attributes=changes)), extra)
        return await self._executor.execute(ApiRequest(UPDATE_TAG, (tag_id,), body=body, account_id=account_id))

    async def delete(self, tag_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a tag and remove it from all companies.

        ``await lf.tags.delete("7001")``

        API operation: ``delete_tag`` (inferred path), scope ``tags:write``.

        Args:
            tag_id: The id of the tag.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: The account has no tag with this id. This is also raised if a first attempt deleted the tag
                but its response was lost.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(DELETE_TAG, (check_id("tag_id", tag_id),), account_id=account_id)
        )
