"""Tags, lists, custom fields and feeds: made, shown, changed, deleted, put on records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.query import Json, Operation, OperationResult, Query, Route, by_cursor, numbered
from leadfeeder_async.sandbox.record_store import AccountRecords, RecordStore
from leadfeeder_async.sandbox.server_state import ApiError

T = TypeVar("T")

Name = Annotated[str, msgspec.Meta(min_length=1)]
Color = Annotated[int, msgspec.Meta(ge=0, le=9)]
Scope = Literal["company", "contact"]


class NewTag(msgspec.Struct, frozen=True):
    """A tag to make."""

    name: Name
    color: Color | None = None


class TagChanges(msgspec.Struct, frozen=True):
    """What to change on a tag."""

    name: Name | UnsetType = UNSET
    color: Color | UnsetType | None = UNSET


class NewList(msgspec.Struct, frozen=True):
    """A list to make."""

    name: Name
    scope: Scope


class ListChanges(msgspec.Struct, frozen=True):
    """What to change on a list."""

    name: Name


class NewField(msgspec.Struct, frozen=True):
    """A custom field to make."""

    name: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    options: list[object] | UnsetType | None = UNSET


class NewFeed(msgspec.Struct, frozen=True):
    """A custom feed to make or change."""

    name: str | UnsetType = UNSET
    filters: object = UNSET


def _attributes(query: Query, type_: str, kind: type[msgspec.Struct]) -> Json:
    """Read the attributes of a body in the ``data`` envelope."""
    data = query.body.get("data")
    if not isinstance(data, dict):
        raise ApiError(400, "invalid_request", "data is missing")
    fields = msgspec.convert(data, dict[str, object])
    if not isinstance(fields.get("type"), str) or (type_ in {"tag", "list"} and fields["type"] != type_):
        raise ApiError(400, "invalid_request", f"data.type must be {type_}")
    if not isinstance(fields.get("id", ""), str):
        raise ApiError(400, "invalid_request", "data.id must be a text")
    if not isinstance(fields.get("relationships", {}), dict):
        raise ApiError(400, "invalid_request", "data.relationships must be an object")
    return query.convert(msgspec.to_builtins(query.convert(fields.get("attributes"), kind)), dict[str, object])


def _creating(shelf: Callable[[AccountRecords], RecordStore], kind: type[msgspec.Struct], name: str) -> Operation:
    def create(query: Query) -> OperationResult:
        chosen = shelf(query.state.records)
        record_id = chosen.add(_attributes(query, chosen.type, kind))
        query.state.ledger.creations.append(record_id)
        return OperationResult(chosen.show(record_id), status=201)

    return _named(create, name)


def _getting(shelf: Callable[[AccountRecords], RecordStore], name: str) -> Operation:
    def get(query: Query) -> OperationResult:
        chosen = shelf(query.state.records)
        return OperationResult(chosen.show(_known(query, chosen)))

    return _named(get, name)


def _updating(shelf: Callable[[AccountRecords], RecordStore], kind: type[msgspec.Struct], name: str) -> Operation:
    def update(query: Query) -> OperationResult:
        chosen = shelf(query.state.records)
        record_id = _known(query, chosen)
        chosen.records[record_id] |= _attributes(query, chosen.type, kind)
        return OperationResult(chosen.show(record_id))

    return _named(update, name)


def _deleting(shelf: Callable[[AccountRecords], RecordStore], name: str) -> Operation:
    def delete(query: Query) -> OperationResult:
        chosen = shelf(query.state.records)
        del chosen.records[_known(query, chosen)]
        return OperationResult()

    return _named(delete, name)


def _named(operation: Operation, name: str) -> Operation:
    operation.__name__ = name
    return operation


def _known(query: Query, shelf: RecordStore) -> str:
    (record_id,) = query.ids.values()
    if record_id not in shelf.records:
        raise ApiError(404, "entity_not_found", f"No such {shelf.type.replace('_', ' ')}")
    return record_id


def _tags(workspace: AccountRecords) -> RecordStore:
    return workspace.tags


def _lists(workspace: AccountRecords) -> RecordStore:
    return workspace.lists


def _fields(workspace: AccountRecords) -> RecordStore:
    return workspace.custom_fields


def _feeds(workspace: AccountRecords) -> RecordStore:
    return workspace.custom_feeds


def retrieve_tags(query: Query) -> OperationResult:
    """The tags, by number."""
    shelf = query.state.records.tags
    return numbered(query, list(shelf.records), shelf.show)


def delete_tag(query: Query) -> OperationResult:
    """Delete a tag, from all companies too."""
    workspace = query.state.records
    workspace.forget_tag(_known(query, workspace.tags))
    return OperationResult()


def retrieve_lists(query: Query) -> OperationResult:
    """The lists of one scope, by number."""
    scope = query.params.get("filter[scope]")
    if scope not in {"company", "contact"}:
        raise ApiError(400, "invalid_request", "filter[scope] must be company or contact")
    workspace = query.state.records
    chosen = [one for one, attributes in workspace.lists.records.items() if attributes["scope"] == scope]
    return numbered(query, chosen, lambda one: _list(workspace, one))


def get_list(query: Query) -> OperationResult:
    """One list, with the number of its members."""
    workspace = query.state.records
    return OperationResult(_list(workspace, _known(query, workspace.lists)))


def _list(workspace: AccountRecords, list_id: str) -> Json:
    counted = {**workspace.lists.records[list_id], "item_count": len(workspace.members_of(list_id))}
    return {"id": list_id, "type": "list", "attributes": counted}


def delete_list(query: Query) -> OperationResult:
    """Delete a list; its members stay."""
    workspace = query.state.records
    workspace.forget_list(_known(query, workspace.lists))
    return OperationResult()


def list_items(query: Query) -> OperationResult:
    """The members of a list, by cursor."""
    workspace = query.state.records
    members = workspace.members_of(_known(query, workspace.lists))
    return by_cursor(query, members, lambda pair: {"id": pair[1], "type": pair[0]}, charged=None)


def retrieve_custom_fields(query: Query) -> OperationResult:
    """The custom fields of a scope and type, by number."""
    if query.params.get("filter[scope]", "company") not in {"company", "contact"}:
        raise ApiError(400, "invalid_request", "filter[scope] must be company or contact")
    wanted = {key: query.params[f"filter[{key}]"] for key in ("scope", "type") if f"filter[{key}]" in query.params}
    shelf = query.state.records.custom_fields
    chosen = [one for one, known in shelf.records.items() if wanted.items() <= known.items()]
    return numbered(query, chosen, shelf.show)


def retrieve_custom_feeds(query: Query) -> OperationResult:
    """All custom feeds."""
    if query.params.get("filter[has_connected_list]", "false") not in {"true", "false"}:
        raise ApiError(400, "invalid_request", "filter[has_connected_list] must be true or false")
    shelf = query.state.records.custom_feeds
    connected = query.params.get("filter[has_connected_list]") == "true"
    return OperationResult([] if connected else [shelf.show(one) for one in shelf.records])


def retrieve_custom_feed_folders(query: Query) -> OperationResult:
    """The one folder, with all feeds."""
    feeds = [{"id": one, "type": "custom_feed"} for one in query.state.records.custom_feeds.records]
    folder = {"id": "fold-1", "type": "custom_feed_folder", "attributes": {"name": "Sales"}}
    return OperationResult([{**folder, "relationships": {"custom_feeds": feeds}}])


class Linkage(msgspec.Struct, frozen=True):
    """A record to link."""

    id: str
    type: str


class Linkages(msgspec.Struct, frozen=True):
    """The body that links or unlinks."""

    data: Annotated[list[Linkage], msgspec.Meta(min_length=1)]


def _linked(query: Query, shelf: RecordStore) -> list[str]:
    """Read the records to link, and refuse unknown ones."""
    links = query.read(Linkages).data
    for one in links:
        if one.type != shelf.type:
            raise ApiError(400, "invalid_request", f"data.type must be {shelf.type}")
        if one.id not in shelf.records:
            raise ApiError(404, "entity_not_found", f"No such {shelf.type}")
    return [one.id for one in links]


def _owner(query: Query, kind: str) -> str:
    world, record_id = query.state.world, query.ids["id"]
    if not (world.has_company(record_id) if kind == "company" else world.has_contact(record_id)):
        raise ApiError(404, "entity_not_found", f"No such {kind}")
    return record_id


def assign_tags_to_company(query: Query) -> OperationResult:
    """Put tags on a company."""
    workspace, company_id = query.state.records, _owner(query, "company")
    for tag in _linked(query, workspace.tags):
        workspace.tagged[company_id, tag] = None
    return OperationResult()


def unassign_tags_from_company(query: Query) -> OperationResult:
    """Take tags off a company."""
    workspace, company_id = query.state.records, _owner(query, "company")
    for tag in _linked(query, workspace.tags):
        workspace.tagged.pop((company_id, tag), None)
    return OperationResult()


def _listing(kind: Scope, name: str, *, on: bool) -> Operation:
    def operation(query: Query) -> OperationResult:
        workspace, record_id = query.state.records, _owner(query, kind)
        for one in _linked(query, workspace.lists):
            if workspace.lists.records[one]["scope"] != kind:
                raise ApiError(400, "invalid_request", f"List {one} does not hold {kind} records")
            if on:
                workspace.listed[one, kind, record_id] = None
            else:
                workspace.listed.pop((one, kind, record_id), None)
        return OperationResult()

    return _named(operation, name)


_FEED = "/v1/web-visits/custom-feeds/{custom_feed_id}"
_FIELD = "/v1/custom-fields/{id}"
_COMPANY_LISTS, _CONTACT_LISTS = "/v1/companies/{id}/lists", "/v1/contacts/{id}/lists"

ROUTES = (
    Route("GET", "/v1/tags", retrieve_tags, paging="number"),
    Route("POST", "/v1/tags", _creating(_tags, NewTag, "create_tag")),
    Route("GET", "/v1/tags/{id}", _getting(_tags, "get_tag")),
    Route("PATCH", "/v1/tags/{id}", _updating(_tags, TagChanges, "update_tag")),
    Route("DELETE", "/v1/tags/{id}", delete_tag),
    Route("GET", "/v1/lists", retrieve_lists, ("filter[scope]",), paging="number"),
    Route("POST", "/v1/lists", _creating(_lists, NewList, "create_list")),
    Route("GET", "/v1/lists/{id}", get_list),
    Route("PATCH", "/v1/lists/{id}", _updating(_lists, ListChanges, "update_list")),
    Route("DELETE", "/v1/lists/{id}", delete_list),
    Route("GET", "/v1/lists/{id}/items", list_items, paging="cursor"),
    Route("GET", "/v1/custom-fields", retrieve_custom_fields, ("filter[scope]", "filter[type]"), paging="number"),
    Route("POST", "/v1/custom-fields", _creating(_fields, NewField, "create_custom_field")),
    Route("GET", _FIELD, _getting(_fields, "get_custom_field")),
    Route("PATCH", _FIELD, _updating(_fields, NewField, "update_custom_field")),
    Route("DELETE", _FIELD, _deleting(_fields, "delete_custom_field")),
    Route("GET", "/v1/web-visits/custom-feeds", retrieve_custom_feeds, ("include", "filter[has_connected_list]")),
    Route("GET", "/v1/web-visits/custom-feeds/folders", retrieve_custom_feed_folders, ("include",)),
    Route("POST", "/v1/web-visits/custom-feeds", _creating(_feeds, NewFeed, "create_custom_feed")),
    Route("GET", _FEED, _getting(_feeds, "get_custom_feed"), ("include",)),
    Route("PATCH", _FEED, _updating(_feeds, NewFeed, "update_custom_feed")),
    Route("DELETE", _FEED, _deleting(_feeds, "delete_custom_feed")),
    Route("POST", "/v1/companies/{id}/tags", assign_tags_to_company),
    Route("DELETE", "/v1/companies/{id}/tags", unassign_tags_from_company),
    Route("POST", _COMPANY_LISTS, _listing("company", "add_company_to_lists", on=True)),
    Route("DELETE", _COMPANY_LISTS, _listing("company", "remove_company_from_lists", on=False)),
    Route("POST", _CONTACT_LISTS, _listing("contact", "add_contact_to_lists", on=True)),
    Route("DELETE", _CONTACT_LISTS, _listing("contact", "remove_contact_from_lists", on=False)),
)
