"""Tags, lists and custom fields, and the companies and contacts that have them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.operations.company_records import require_company
from leadfeeder_async.sandbox.operations.stored_records import (
    RecordBody,
    create_operation,
    delete_operation,
    get_operation,
    require_record,
    update_operation,
    with_name,
)
from leadfeeder_async.sandbox.pages import cursor_page, numbered_page
from leadfeeder_async.sandbox.query import Operation, OperationResult, Query, Route
from leadfeeder_async.sandbox.record_store import RecordStore, SandboxRecords
from leadfeeder_async.sandbox.sample_data import Json
from leadfeeder_async.sandbox.server_state import ApiError

Name = Annotated[str, msgspec.Meta(min_length=1)]
Color = Annotated[int, msgspec.Meta(ge=0, le=9)]
Scope = Literal["company", "contact"]


class NewTag(msgspec.Struct, frozen=True):
    """The attributes of a new tag."""

    name: Name
    color: Color | None = None


class TagChanges(msgspec.Struct, frozen=True):
    """The changed attributes of a tag."""

    name: Name | UnsetType = UNSET
    color: Color | UnsetType | None = UNSET


class NewList(msgspec.Struct, frozen=True):
    """The attributes of a new list."""

    name: Name
    scope: Scope


class ListChanges(msgspec.Struct, frozen=True):
    """The changed attributes of a list."""

    name: Name


class CustomFieldAttributes(msgspec.Struct, frozen=True):
    """The attributes of a new or changed custom field."""

    name: str | UnsetType = UNSET
    scope: str | UnsetType = UNSET
    type: str | UnsetType = UNSET
    description: str | UnsetType | None = UNSET
    options: list[object] | UnsetType | None = UNSET


CustomFieldBody = RecordBody[CustomFieldAttributes]


def _tags(records: SandboxRecords) -> RecordStore:
    return records.tags


def _lists(records: SandboxRecords) -> RecordStore:
    return records.lists


def _custom_fields(records: SandboxRecords) -> RecordStore:
    return records.custom_fields


def retrieve_tags(query: Query) -> OperationResult:
    """Return all tags."""
    tags = query.state.records.tags
    return numbered_page(query, list(tags.records), tags.to_json)


def delete_tag(query: Query) -> OperationResult:
    """Delete a tag and remove it from all companies."""
    records = query.state.records
    records.delete_tag(require_record(query, records.tags))
    return OperationResult()


def retrieve_lists(query: Query) -> OperationResult:
    """Return the lists of a scope."""
    scope = query.params.get("filter[scope]")
    if scope not in {"company", "contact"}:
        raise ApiError(400, "invalid_request", "filter[scope] must be company or contact")
    records = query.state.records
    matching_ids = [list_id for list_id, attributes in records.lists.records.items() if attributes["scope"] == scope]
    return numbered_page(query, matching_ids, lambda list_id: _list_json(records, list_id))


def get_list(query: Query) -> OperationResult:
    """Return a list with its number of members."""
    records = query.state.records
    return OperationResult(_list_json(records, require_record(query, records.lists)))


def _list_json(records: SandboxRecords, list_id: str) -> Json:
    attributes = {**records.lists.records[list_id], "item_count": len(records.members_of(list_id))}
    return {"id": list_id, "type": "list", "attributes": attributes}


def delete_list(query: Query) -> OperationResult:
    """Delete a list. Its companies or contacts are not deleted."""
    records = query.state.records
    records.delete_list(require_record(query, records.lists))
    return OperationResult()


def list_items(query: Query) -> OperationResult:
    """Return the members of a list."""
    records = query.state.records
    members = records.members_of(require_record(query, records.lists))
    return cursor_page(query, members, lambda member: {"id": member[1], "type": member[0]}, charged=None)


def retrieve_custom_fields(query: Query) -> OperationResult:
    """Return the custom fields of a scope and type."""
    if query.params.get("filter[scope]", "company") not in {"company", "contact"}:
        raise ApiError(400, "invalid_request", "filter[scope] must be company or contact")
    filters = {name: query.params[f"filter[{name}]"] for name in ("scope", "type") if f"filter[{name}]" in query.params}
    custom_fields = query.state.records.custom_fields
    matching_ids = [
        field_id for field_id, attributes in custom_fields.records.items() if filters.items() <= attributes.items()
    ]
    return numbered_page(query, matching_ids, custom_fields.to_json)


class Linkage(msgspec.Struct, frozen=True):
    """A reference to a record."""

    id: str
    type: str


class Linkages(msgspec.Struct, frozen=True):
    """The body of a request that links or unlinks records."""

    data: Annotated[list[Linkage], msgspec.Meta(min_length=1)]


def _decode_linkages(query: Query, store: RecordStore) -> list[str]:
    """Return the record ids in the body, or raise an error if one is unknown."""
    linkages = query.decode_body(Linkages).data
    for linkage in linkages:
        if linkage.type != store.type:
            raise ApiError(400, "invalid_request", f"data.type must be {store.type}")
        if linkage.id not in store.records:
            raise ApiError(404, "entity_not_found", f"No such {store.type}")
    return [linkage.id for linkage in linkages]


def _require_owner(query: Query, scope: Scope) -> str:
    record_id = query.path_params["id"]
    if scope == "company":
        return require_company(query, record_id)
    if not query.state.world.has_contact(record_id):
        raise ApiError(404, "entity_not_found", "No such contact")
    return record_id


def assign_tags_to_company(query: Query) -> OperationResult:
    """Assign tags to a company."""
    records, company_id = query.state.records, _require_owner(query, "company")
    for tag_id in _decode_linkages(query, records.tags):
        records.company_tags[company_id, tag_id] = None
    return OperationResult()


def unassign_tags_from_company(query: Query) -> OperationResult:
    """Remove tags from a company."""
    records, company_id = query.state.records, _require_owner(query, "company")
    for tag_id in _decode_linkages(query, records.tags):
        records.company_tags.pop((company_id, tag_id), None)
    return OperationResult()


def _list_operation(scope: Scope, name: str, *, adds: bool) -> Operation:
    def change_lists(query: Query) -> OperationResult:
        records, record_id = query.state.records, _require_owner(query, scope)
        for list_id in _decode_linkages(query, records.lists):
            if records.lists.records[list_id]["scope"] != scope:
                raise ApiError(400, "invalid_request", f"List {list_id} is not a list of {scope} records")
            if adds:
                records.list_members[list_id, scope, record_id] = None
            else:
                records.list_members.pop((list_id, scope, record_id), None)
        return OperationResult()

    return with_name(change_lists, name)


_FIELD_PATH = "/v1/custom-fields/{id}"
_COMPANY_LISTS_PATH, _CONTACT_LISTS_PATH = "/v1/companies/{id}/lists", "/v1/contacts/{id}/lists"

ROUTES = (
    Route("GET", "/v1/tags", retrieve_tags, pagination="number"),
    Route("POST", "/v1/tags", create_operation(_tags, RecordBody[NewTag], "create_tag")),
    Route("GET", "/v1/tags/{id}", get_operation(_tags, "get_tag")),
    Route("PATCH", "/v1/tags/{id}", update_operation(_tags, RecordBody[TagChanges], "update_tag")),
    Route("DELETE", "/v1/tags/{id}", delete_tag),
    Route("GET", "/v1/lists", retrieve_lists, ("filter[scope]",), pagination="number"),
    Route("POST", "/v1/lists", create_operation(_lists, RecordBody[NewList], "create_list")),
    Route("GET", "/v1/lists/{id}", get_list),
    Route("PATCH", "/v1/lists/{id}", update_operation(_lists, RecordBody[ListChanges], "update_list")),
    Route("DELETE", "/v1/lists/{id}", delete_list),
    Route("GET", "/v1/lists/{id}/items", list_items, pagination="cursor"),
    Route("GET", "/v1/custom-fields", retrieve_custom_fields, ("filter[scope]", "filter[type]"), pagination="number"),
    Route(
        "POST",
        "/v1/custom-fields",
        create_operation(_custom_fields, CustomFieldBody, "create_custom_field"),
    ),
    Route("GET", _FIELD_PATH, get_operation(_custom_fields, "get_custom_field")),
    Route("PATCH", _FIELD_PATH, update_operation(_custom_fields, CustomFieldBody, "update_custom_field")),
    Route("DELETE", _FIELD_PATH, delete_operation(_custom_fields, "delete_custom_field")),
    Route("POST", "/v1/companies/{id}/tags", assign_tags_to_company),
    Route("DELETE", "/v1/companies/{id}/tags", unassign_tags_from_company),
    Route("POST", _COMPANY_LISTS_PATH, _list_operation("company", "add_company_to_lists", adds=True)),
    Route("DELETE", _COMPANY_LISTS_PATH, _list_operation("company", "remove_company_from_lists", adds=False)),
    Route("POST", _CONTACT_LISTS_PATH, _list_operation("contact", "add_contact_to_lists", adds=True)),
    Route("DELETE", _CONTACT_LISTS_PATH, _list_operation("contact", "remove_contact_from_lists", adds=False)),
)
