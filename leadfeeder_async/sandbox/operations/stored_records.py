"""Operations that create, read, change and delete records of a store."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from leadfeeder_async.sandbox.query import Operation, OperationResult, Query
from leadfeeder_async.sandbox.record_store import RecordStore, SandboxRecords
from leadfeeder_async.sandbox.sample_data import Json
from leadfeeder_async.sandbox.server_state import ApiError

A = TypeVar("A", bound=msgspec.Struct)
StoreOf: TypeAlias = Callable[[SandboxRecords], RecordStore]


class RecordData(msgspec.Struct, Generic[A], frozen=True):
    """The record in a body, with its attributes."""

    type: str
    attributes: A
    id: str | UnsetType = UNSET
    relationships: dict[str, object] | UnsetType = UNSET
    """Only the contract of custom feeds has relationships."""


class RecordBody(msgspec.Struct, Generic[A], frozen=True):
    """The body of a request that creates or changes a record."""

    data: RecordData[A]


def create_operation(store_of: StoreOf, body_type: type[RecordBody[A]], name: str) -> Operation:
    """Return an operation that creates a record from the body."""

    def create(query: Query) -> OperationResult:
        store = store_of(query.state.records)
        record_id = store.add(_decode_attributes(query, store.type, body_type))
        query.state.ledger.creations.append(record_id)
        return OperationResult(store.to_json(record_id), status=201)

    return with_name(create, name)


def get_operation(store_of: StoreOf, name: str) -> Operation:
    """Return an operation that reads a record."""

    def get(query: Query) -> OperationResult:
        store = store_of(query.state.records)
        return OperationResult(store.to_json(require_record(query, store)))

    return with_name(get, name)


def update_operation(store_of: StoreOf, body_type: type[RecordBody[A]], name: str) -> Operation:
    """Return an operation that replaces the attributes in the body."""

    def update(query: Query) -> OperationResult:
        store = store_of(query.state.records)
        record_id = require_record(query, store)
        store.records[record_id] |= _decode_attributes(query, store.type, body_type)
        return OperationResult(store.to_json(record_id))

    return with_name(update, name)


def delete_operation(store_of: StoreOf, name: str) -> Operation:
    """Return an operation that deletes a record."""

    def delete(query: Query) -> OperationResult:
        store = store_of(query.state.records)
        del store.records[require_record(query, store)]
        return OperationResult()

    return with_name(delete, name)


def with_name(operation: Operation, name: str) -> Operation:
    """Return the operation under its name in the contract."""
    operation.__name__ = name
    return operation


def require_record(query: Query, store: RecordStore) -> str:
    """Return the record id in the path, or raise a 404 error if the store does not have it."""
    (record_id,) = query.path_params.values()
    if record_id not in store.records:
        raise ApiError(404, "entity_not_found", f"No such {store.type.replace('_', ' ')}")
    return record_id


def _decode_attributes(query: Query, record_type: str, body_type: type[RecordBody[A]]) -> Json:
    data = query.decode_body(body_type).data
    if record_type in {"tag", "list"} and data.type != record_type:
        raise ApiError(400, "invalid_request", f"data.type must be {record_type}")
    has_relationships = not isinstance(data.relationships, UnsetType)
    if has_relationships and record_type != "custom_feed" and not query.state.lax:
        raise ApiError(400, "invalid_request", "The body has an unknown key: data.relationships")
    return msgspec.convert(msgspec.to_builtins(data.attributes), dict[str, object])
