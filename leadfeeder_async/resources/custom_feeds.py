"""Custom feeds and their folders."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import UNSET, UnsetType

from leadfeeder_async._argument_checks import check_boolean, check_dict, check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.custom_feeds import CustomFeed, CustomFeedFolder
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.includes import CustomFeedFolderInclude, CustomFeedInclude
from leadfeeder_async.models.request_bodies import CustomFeedChanges, CustomFeedData, CustomFeedRequest
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.single_page import fetch_whole_list
from leadfeeder_async.resources.arguments import checked, encode_record, include_param
from leadfeeder_async.resources.body_checks import check_json_value

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
    verification_hint="Check with `lf.custom_feeds.list()` if the feed exists.",
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
    path_alternatives=("/v1/web-visits/custom-feed-folders", "/v1/custom-feed-folders"),
)


class CustomFeeds:
    """Saved filters of web visits, and their folders.

    Leadfeeder documents the format of the filters on its page "Custom Feed - Filter Reference". This package does not
    check them. It sends and returns them unchanged.
    """

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self,
        *,
        include: Iterable[CustomFeedInclude] | None = None,
        has_connected_list: bool | None = None,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CustomFeed]:
        """List the custom feeds.

        ``async for feed in lf.custom_feeds.list(include=["folder"])``

        API operation: ``retrieve_custom_feeds``, scope ``web_visits:read``.

        Args:
            include: Relationships to return with all attributes: ``folder``, ``connected_list``.
            has_connected_list: True for feeds that are connected to a list, False for those that are not. None returns
                all.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of custom feeds.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, ``limit`` is out of range, or an
                argument has the wrong type.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            One response.

        """
        if has_connected_list is not None:
            check_boolean("has_connected_list", has_connected_list)
        params = {
            "include": include_param(include, CustomFeedInclude),
            "filter[has_connected_list]": has_connected_list,
        }
        call = ApiRequest(RETRIEVE_CUSTOM_FEEDS, params=params, account_id=account_id)
        return Pager(self._executor, call, limit=limit)

    async def create(
        self,
        *,
        name: str,
        filters: object = UNSET,
        relationships: Mapping[str, object] | None = None,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[CustomFeed]:
        """Create a custom feed.

        ``await lf.custom_feeds.create(name="Pricing page", filters=[...])``

        API operation: ``create_custom_feed`` (inferred path), scope ``web_visits:write``.

        Args:
            name: The name of the feed.
            filters: The filters, in the API's format. Several values of one filter are combined with OR, and different
                filters with AND. The easiest way is to copy the filters of a feed that was created on the website.
            relationships: Related records, such as the folder, in the API's format. They are sent unchanged.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The new custom feed.

        Raises:
            ConfigurationError: ``extra`` contains an attribute that has its own argument, or an argument has the wrong
                type.
            OutcomeUnknownError: The response was lost, so the feed may have been created. Check with ``list``.

        Credits:
            None.

        """
        data = CustomFeedData(
            attributes=checked(CustomFeedChanges, name=name, filters=filters),
            relationships=UNSET if relationships is None else _relationships(relationships),
        )
        body = encode_record(CustomFeedRequest(data=data), extra)
        return await self._executor.execute(ApiRequest(CREATE_CUSTOM_FEED, body=body, account_id=account_id))

    async def get(
        self, custom_feed_id: str, *, include: Iterable[CustomFeedInclude] | None = None, account_id: str | None = None
    ) -> Response[CustomFeed]:
        """Get a custom feed and its filters.

        ``await lf.custom_feeds.get("0d5b2a44")``

        API operation: ``get_custom_feed`` (inferred path), scope ``web_visits:read``.

        Args:
            custom_feed_id: The id of the feed.
            include: Relationships to return with all attributes: ``folder``, ``connected_list``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The custom feed. ``data.attributes.filters`` is in the API's format.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            NotFoundError: The account has no custom feed with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        params = {"include": include_param(include, CustomFeedInclude)}
        return await self._executor.execute(
            ApiRequest(
                GET_CUSTOM_FEED, (check_id("custom_feed_id", custom_feed_id),), params=params, account_id=account_id
            )
        )

    async def update(
        self,
        custom_feed_id: str,
        *,
        name: str | UnsetType = UNSET,
        filters: object = UNSET,
        relationships: Mapping[str, object] | UnsetType = UNSET,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[CustomFeed]:
        """Change a custom feed. Arguments that are left out stay unchanged.

        ``await lf.custom_feeds.update("0d5b2a44", name="Pricing")``

        API operation: ``update_custom_feed`` (inferred path), scope ``web_visits:write``.

        Args:
            custom_feed_id: The id of the feed.
            name: The new name.
            filters: The new filters, in the API's format. They are sent unchanged.
            relationships: The new related records, in the API's format. They are sent unchanged.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The changed custom feed.

        Raises:
            ConfigurationError: ``extra`` contains an attribute that has its own argument, or an argument has the wrong
                type.
            NotFoundError: The account has no custom feed with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        feed_id = check_id("custom_feed_id", custom_feed_id)
        data = CustomFeedData(
            id=feed_id,
            attributes=checked(CustomFeedChanges, name=name, filters=filters),
            relationships=relationships if relationships is UNSET else _relationships(relationships),
        )
        body = encode_record(CustomFeedRequest(data=data), extra)
        return await self._executor.execute(
            ApiRequest(UPDATE_CUSTOM_FEED, (feed_id,), body=body, account_id=account_id)
        )

    async def delete(self, custom_feed_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a custom feed.

        ``await lf.custom_feeds.delete("0d5b2a44")``

        API operation: ``delete_custom_feed`` (inferred path), scope ``web_visits:write``.

        Args:
            custom_feed_id: The id of the feed.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: The account has no custom feed with this id. This is also raised if a first attempt deleted
                the custom feed but its response was lost.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(DELETE_CUSTOM_FEED, (check_id("custom_feed_id", custom_feed_id),), account_id=account_id)
        )

    async def folders(
        self, *, include: Iterable[CustomFeedFolderInclude] | None = None, account_id: str | None = None
    ) -> Response[tuple[CustomFeedFolder, ...]]:
        """List the folders of custom feeds.

        ``(await lf.custom_feeds.folders(include=["custom_feeds"])).data``

        API operation: ``retrieve_custom_feed_folders`` (inferred path), scope ``web_visits:read``.

        Args:
            include: Relationships to return with all attributes: ``custom_feeds``.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            All folders.

        Raises:
            NotFoundError: No known path of this operation exists. Set another one with ``AsyncLeadfeeder(paths=...)``.
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            IncompleteListError: The server has more folders than it returned.

        Credits:
            None.

        """
        params = {"include": include_param(include, CustomFeedFolderInclude)}
        request = ApiRequest(RETRIEVE_CUSTOM_FEED_FOLDERS, params=params, account_id=account_id)
        return await fetch_whole_list(self._executor, request)


def _relationships(value: object) -> dict[str, object]:
    relationships = check_dict("relationships", value)
    check_json_value("relationships", relationships)
    return relationships
