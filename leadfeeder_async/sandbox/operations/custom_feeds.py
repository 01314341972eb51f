"""Custom feeds and the filters that they apply to visits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.company_records import related
from leadfeeder_async.sandbox.operations.stored_records import (
    RecordBody,
    create_operation,
    delete_operation,
    require_record,
    update_operation,
)
from leadfeeder_async.sandbox.query import OperationResult, Query, Route
from leadfeeder_async.sandbox.record_store import RecordStore, SandboxRecords
from leadfeeder_async.sandbox.sample_data import LOCATIONS, Json
from leadfeeder_async.sandbox.server_state import ApiError

_FOLDER: Json = {"id": "fold-1", "type": "custom_feed_folder", "attributes": {"name": "Sales"}}


class CustomFeedAttributes(msgspec.Struct, frozen=True):
    """The attributes of a new or changed custom feed."""

    name: str | UnsetType = UNSET
    filters: object = UNSET


class FeedFilter(msgspec.Struct, frozen=True):
    """A filter of a custom feed, as in the contract's example. The API's format is not published."""

    field: Literal[
        "source",
        "medium",
        "campaign",
        "keyword",
        "referring_url",
        "landing_page_path",
        "device_type",
        "country_code",
        "city",
    ]
    operator: Literal["is", "begins_with", "contains"]
    value: str | list[str]
    """The value to compare with. Several values are combined with OR."""

    def matches(self, visit: Json) -> bool:
        """Return True if a visit meets the filter."""
        text = str(visit.get(self.field) or "")
        values = [self.value] if isinstance(self.value, str) else self.value
        match self.operator:
            case "is":
                return text in values
            case "begins_with":
                return any(text.startswith(value) for value in values)
            case "contains":
                return any(value in text for value in values)


def feed_visits(query: Query, custom_feed_id: str, visit_ids: Iterable[str]) -> list[str]:
    """Return the visits that meet all filters of a custom feed."""
    filters, world = _filters_of(query, custom_feed_id), query.state.world

    def matches(visit_id: str) -> bool:
        city, _, _, country_code, _ = LOCATIONS[world.location_of_visit(visit_id)]
        visit = {**world.visit(visit_id), "city": city, "country_code": country_code}
        return all(feed_filter.matches(visit) for feed_filter in filters)

    return [visit_id for visit_id in visit_ids if matches(visit_id)]


def _filters_of(query: Query, custom_feed_id: str) -> list[FeedFilter]:
    feed = query.state.records.custom_feeds.records.get(custom_feed_id)
    if feed is None:
        if query.state.lax:
            return []
        raise ApiError(404, "entity_not_found", "No such custom feed")
    try:
        return msgspec.convert(feed.get("filters") or [], list[FeedFilter])
    except msgspec.ValidationError as error:
        if query.state.lax:
            return []
        title = f"The sandbox cannot apply the filters of custom feed {custom_feed_id}: {error}"
        raise ApiError(400, "invalid_request", title) from None


def _custom_feeds(records: SandboxRecords) -> RecordStore:
    return records.custom_feeds


def _feed_json(query: Query, feed_id: str) -> Json:
    relationships = {"folder": related(query, "folder", _FOLDER), "connected_list": None}
    return {**query.state.records.custom_feeds.to_json(feed_id), "relationships": relationships}


def retrieve_custom_feeds(query: Query) -> OperationResult:
    """Return the custom feeds. None of them is connected to a list."""
    if query.params.get("filter[has_connected_list]", "false") not in {"true", "false"}:
        raise ApiError(400, "invalid_request", "filter[has_connected_list] must be true or false")
    only_connected = query.params.get("filter[has_connected_list]") == "true"
    feed_ids = query.state.records.custom_feeds.records
    return OperationResult([] if only_connected else [_feed_json(query, feed_id) for feed_id in feed_ids])


def get_custom_feed(query: Query) -> OperationResult:
    """Return a custom feed."""
    return OperationResult(_feed_json(query, require_record(query, query.state.records.custom_feeds)))


def retrieve_custom_feed_folders(query: Query) -> OperationResult:
    """Return one folder that contains all custom feeds."""
    custom_feeds = query.state.records.custom_feeds
    feeds = [related(query, "custom_feeds", custom_feeds.to_json(feed_id)) for feed_id in custom_feeds.records]
    return OperationResult([{**_FOLDER, "relationships": {"custom_feeds": feeds}}])


_FEEDS_PATH = "/v1/web-visits/custom-feeds"
_FEED_PATH = f"{_FEEDS_PATH}/{{custom_feed_id}}"
_RELATIONS = ("folder", "connected_list")

ROUTES = (
    Route("GET", _FEEDS_PATH, retrieve_custom_feeds, ("include", "filter[has_connected_list]"), _RELATIONS),
    Route("GET", f"{_FEEDS_PATH}/folders", retrieve_custom_feed_folders, ("include",), ("custom_feeds",)),
    Route("POST", _FEEDS_PATH, create_operation(_custom_feeds, RecordBody[CustomFeedAttributes], "create_custom_feed")),
    Route("GET", _FEED_PATH, get_custom_feed, ("include",), _RELATIONS),
    Route("PATCH", _FEED_PATH, update_operation(_custom_feeds, RecordBody[CustomFeedAttributes], "update_custom_feed")),
    Route("DELETE", _FEED_PATH, delete_operation(_custom_feeds, "delete_custom_feed")),
)
