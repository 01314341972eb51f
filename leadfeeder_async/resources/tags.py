"""Tags: labels on companies."""

from __future__ import annotations

from msgspec import UNSET, UnsetType

from leadfeeder_async._core.codec import encode_json
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import TagChanges, TagData, TagRequest
from leadfeeder_async.models.tags_and_lists import Tag
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import check_range

RETRIEVE_TAGS = Endpoint(
    "retrieve_tags", "GET", "/v1/tags", Response[tuple[Tag, ...]], pagination=PaginationStyle.PAGE_NUMBER
)
CREATE_TAG = Endpoint(
    "create_tag",
    "POST",
    "/v1/tags",
    Response[Tag],
    retry_safety=RetrySafety.NON_IDEMPOTENT,
    verification_hint="Look for it with `lf.tags.list()`.",
)
GET_TAG = Endpoint("get_tag", "GET", "/v1/tags/{id}", Response[Tag])
UPDATE_TAG = Endpoint("update_tag", "PATCH", "/v1/tags/{id}", Response[Tag], retry_safety=RetrySafety.IDEMPOTENT)
DELETE_TAG = Endpoint("delete_tag", "DELETE", "/v1/tags/{id}", EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT)

COLORS = 9
"""Colours are numbers from 0 to this."""


class Tags:
    """Labels on companies."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self, *, page_size: int = MAX_PAGE_SIZE, limit: int | None = None, account_id: str | None = None
    ) -> Pager[Tag]:
        """List the tags.

        ``async for tag in lf.tags.list()``. Free; numbered pages. Contract: ``retrieve_tags``, scope ``tags:read``.
        """
        call = ApiRequest(RETRIEVE_TAGS, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def create(self, *, name: str, color: int | None = None, account_id: str | None = None) -> Response[Tag]:
        """Create a tag; ``color`` is 0 to 9.

        ``await lf.tags.create(name="Hot lead", color=3)``. Free. A lost answer raises OutcomeUnknownError. Contract:
        ``create_tag``, scope ``tags:write``.
        """
        check_range("color", color, 0, COLORS)
        changes = TagChanges(name=name, color=UNSET if color is None else color)
        body = encode_json(TagRequest(data=TagData(attributes=changes)))
        return await self._executor.execute(ApiRequest(CREATE_TAG, body=body, account_id=account_id))

    async def get(self, tag_id: str, *, account_id: str | None = None) -> Response[Tag]:
        """Get one tag.

        ``(await lf.tags.get("7001")).data.name``. Free. Contract: ``get_tag`` (path inferred), scope ``tags:read``.
        """
        return await self._executor.execute(ApiRequest(GET_TAG, (tag_id,), account_id=account_id))

    async def update(
        self,
        tag_id: str,
        *,
        name: str | UnsetType = UNSET,
        color: int | UnsetType | None = UNSET,
        account_id: str | None = None,
    ) -> Response[Tag]:
        """Change a tag; what is left out stays, and ``color=None`` takes the colour away.

        ``await lf.tags.update("7001", name="Warm lead")``. Free. Contract: ``update_tag`` (PATCH inferred), scope
        ``tags:write``.
        """
        if not isinstance(color, UnsetType):
            check_range("color", color, 0, COLORS)
        body = encode_json(TagRequest(data=TagData(id=tag_id, attributes=TagChanges(name=name, color=color))))
        return await self._executor.execute(ApiRequest(UPDATE_TAG, (tag_id,), body=body, account_id=account_id))

    async def delete(self, tag_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a tag, from all companies too.

        ``await lf.tags.delete("7001")``. Free. Where a first answer was lost, the second attempt may raise
        NotFoundError. Contract: ``delete_tag`` (path inferred), scope ``tags:write``.
        """
        return await self._executor.execute(ApiRequest(DELETE_TAG, (tag_id,), account_id=account_id))
