"""Custom feeds: saved filters over the visits, in folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import UNSET, UnsetType

from leadfeeder_async._core.codec import encode_json
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.custom_feeds import CustomFeed, CustomFeedFolder
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import CustomFeedChanges, CustomFeedData, CustomFeedRequest
from leadfeeder_async.resources.arguments import csv_param

_FEED = "/v1/web-visits/custom-feeds/{custom_feed_id}"

RETRIEVE_CUSTOM_FEEDS = Endpoint(
    "retrieve_custom_feeds",
    "GET",
    "/v1/web-visits/custom-feeds",
    Response[tuple[CustomFeed, ...]],
    params=("include", "filter[has_connected_list]"),
)
CREATE_CUSTOM_FEED = Endpoint(
    "create_custom_feed",
    "POST",
    "/v1/web-visits/custom-feeds",
    Response[CustomFeed],
    retry_safety=RetrySafety.NON_IDEMPOTENT,
    verification_hint="Look for it with `lf.custom_feeds.list()`.",
)
GET_CUSTOM_FEED = Endpoint("get_custom_feed", "GET", _FEED, Response[CustomFeed], params=("include",))
UPDATE_CUSTOM_FEED = Endpoint(
    "update_custom_feed", "PATCH", _FEED, Response[CustomFeed], retry_safety=RetrySafety.IDEMPOTENT
)
DELETE_CUSTOM_FEED = Endpoint("delete_custom_feed", "DELETE", _FEED, EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT)
RETRIEVE_CUSTOM_FEED_FOLDERS = Endpoint(
    "retrieve_custom_feed_folders",
    "GET",
    "/v1/web-visits/custom-feeds/folders",
    Response[tuple[CustomFeedFolder, ...]],
    params=("include",),
)


class CustomFeeds:
    """Saved filters over the visits; their grammar is not published, so filters pass through untouched."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def list(
        self,
        *,
        include: Iterable[str] | None = None,
        has_connected_list: bool | None = None,
        account_id: str | None = None,
    ) -> Response[tuple[CustomFeed, ...]]:
        """List the custom feeds.

        ``(await lf.custom_feeds.list(include=["folder"])).data``. Free; one answer holds them all. Contract:
        ``retrieve_custom_feeds``, scope ``web_visits:read``.
        """
        params = {"include": csv_param("include", include), "filter[has_connected_list]": has_connected_list}
        return await self._executor.execute(ApiRequest(RETRIEVE_CUSTOM_FEEDS, params=params, account_id=account_id))

    async def create(
        self,
        *,
        name: str,
        filters: object = UNSET,
        relationships: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[CustomFeed]:
        """Create a custom feed.

        ``await lf.custom_feeds.create(name="Pricing page", filters=[...])``. Free. Several values of one filter are
        joined with OR, different filters with AND. A lost answer raises OutcomeUnknownError. Contract:
        ``create_custom_feed`` (path inferred), scope ``web_visits:write``.
        """
        data = CustomFeedData(
            attributes=CustomFeedChanges(name=name, filters=filters),
            relationships=UNSET if relationships is None else relationships,
        )
        body = encode_json(CustomFeedRequest(data=data))
        return await self._executor.execute(ApiRequest(CREATE_CUSTOM_FEED, body=body, account_id=account_id))

    async def get(
        self, custom_feed_id: str, *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Response[CustomFeed]:
        """Get one custom feed with its filters.

        ``await lf.custom_feeds.get("0d5b2a44")``. Free. Contract: ``get_custom_feed`` (path inferred), scope
        ``web_visits:read``.
        """
        params = {"include": csv_param("include", include)}
        return await self._executor.execute(
            ApiRequest(GET_CUSTOM_FEED, (custom_feed_id,), params=params, account_id=account_id)
        )

    async def update(
        self,
        custom_feed_id: str,
        *,
        name: str | UnsetType = UNSET,
        filters: object = UNSET,
        relationships: object = UNSET,
        account_id: str | None = None,
    ) -> Response[CustomFeed]:
        """Change a custom feed; what is left out stays as it is.

        ``await lf.custom_feeds.update("0d5b2a44", name="Pricing")``. Free. Contract: ``update_custom_feed`` (path
        inferred), scope ``web_visits:write``.
        """
        changes = CustomFeedChanges(name=name, filters=filters)
        data = CustomFeedData(id=custom_feed_id, attributes=changes, relationships=relationships)
        body = encode_json(CustomFeedRequest(data=data))
        return await self._executor.execute(
            ApiRequest(UPDATE_CUSTOM_FEED, (custom_feed_id,), body=body, account_id=account_id)
        )

    async def delete(self, custom_feed_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a custom feed.

        ``await lf.custom_feeds.delete("0d5b2a44")``. Free. Where a first answer was lost, the second attempt may raise
        NotFoundError. Contract: ``delete_custom_feed`` (path inferred), scope ``web_visits:write``.
        """
        return await self._executor.execute(ApiRequest(DELETE_CUSTOM_FEED, (custom_feed_id,), account_id=account_id))

    async def folders(
        self, *, include: Iterable[str] | None = None, account_id: str | None = None
    ) -> Response[tuple[CustomFeedFolder, ...]]:
        """List the folders of custom feeds.

        ``(await lf.custom_feeds.folders(include=["custom_feeds"])).data``. Free. Contract:
        ``retrieve_custom_feed_folders`` (path inferred), scope ``web_visits:read``.
        """
        params = {"include": csv_param("include", include)}
        return await self._executor.execute(
            ApiRequest(RETRIEVE_CUSTOM_FEED_FOLDERS, params=params, account_id=account_id)
        )
