"""Custom fields of companies and contacts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import UNSET, UnsetType

from leadfeeder_async._argument_checks import check_id, check_list, check_string, is_mapping, reject
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.custom_fields import CustomField
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import CustomFieldChanges, CustomFieldData, CustomFieldRequest, Scope
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import check_scope, checked, encode_record

_FIELD = "/v1/custom-fields/{id}"

RETRIEVE_CUSTOM_FIELDS = Endpoint(
    "retrieve_custom_fields",
    "GET",
    "/v1/custom-fields",
    Response[tuple[CustomField, ...]],
    params=("filter[scope]", "filter[type]"),
    pagination=PaginationStyle.PAGE_NUMBER,
    path_alternatives=("/v1/custom_fields",),
)
CREATE_CUSTOM_FIELD = Endpoint(
    "create_custom_field",
    "POST",
    "/v1/custom-fields",
    Response[CustomField],
    retry_safety=RetrySafety.NON_IDEMPOTENT,
    verification_hint="Check with `lf.custom_fields.list()` if the field exists.",
)
GET_CUSTOM_FIELD = Endpoint("get_custom_field", "GET", _FIELD, Response[CustomField])
UPDATE_CUSTOM_FIELD = Endpoint(
    "update_custom_field", "PATCH", _FIELD, Response[CustomField], retry_safety=RetrySafety.IDEMPOTENT
)
DELETE_CUSTOM_FIELD = Endpoint(
    "delete_custom_field", "DELETE", _FIELD, EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)


class CustomFields:
    """Fields that the account added to its companies or contacts. All paths are inferred."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(
        self,
        *,
        scope: Scope | None = None,
        type: str | None = None,  # noqa: A002 - the API's word
        page_size: int = MAX_PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CustomField]:
        """List the custom fields.

        ``async for field in lf.custom_fields.list(scope="company")``

        API operation: ``retrieve_custom_fields`` (inferred path), scope ``custom_fields:read``.

        Args:
            scope: ``company`` or ``contact``. None returns both.
            type: The type of the fields. The allowed values are not published. None returns all types.
            page_size: The number of records per request, 1 to 100. Defaults to 100.
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of custom fields.

        Raises:
            NotFoundError: No known path of this operation exists. Set another one with ``AsyncLeadfeeder(paths=...)``.
            ConfigurationError: ``scope`` has another value.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            Page numbers. Up to 16 pages are prefetched and returned in order.

        """
        params = {
            "filter[scope]": None if scope is None else check_scope(scope),
            "filter[type]": None if type is None else check_string("type", type),
        }
        call = ApiRequest(RETRIEVE_CUSTOM_FIELDS, params=params, account_id=account_id)
        return Pager(self._executor, call, page_size=page_size, limit=limit)

    async def create(
        self,
        *,
        name: str,
        scope: Scope,
        type: str,  # noqa: A002 - the API's word
        description: str | UnsetType = UNSET,
        options: Iterable[object] | UnsetType = UNSET,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[CustomField]:
        """Create a custom field.

        ``await lf.custom_fields.create(name="Tier", scope="company", type="select", options=["gold"])``

        API operation: ``create_custom_field`` (inferred path), scope ``custom_fields:write``.

        Args:
            name: The name of the field.
            scope: ``company`` or ``contact``: the records that have the field.
            type: The type of the values, such as ``select``. The allowed values are not published.
            description: A description of the field.
            options: The choices, if the field is a selection. They are sent unchanged.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The new custom field.

        Raises:
            ConfigurationError: ``scope`` has another value.
            OutcomeUnknownError: The response was lost, so the field may have been created. Check with ``list``.

        Credits:
            None.

        """
        if description is not UNSET:
            check_string("description", description)
        choices = options if options is UNSET else _check_options(options)
        changes = checked(
            CustomFieldChanges, name=name, scope=scope, type=type, description=description, options=choices
        )
        body = encode_record(CustomFieldRequest(data=CustomFieldData(attributes=changes)), extra)
        return await self._executor.execute(ApiRequest(CREATE_CUSTOM_FIELD, body=body, account_id=account_id))

    async def get(self, custom_field_id: str, *, account_id: str | None = None) -> Response[CustomField]:
        """Get a custom field.

        ``await lf.custom_fields.get("contract_tier")``

        API operation: ``get_custom_field`` (inferred path), scope ``custom_fields:read``.

        Args:
            custom_field_id: The id of the field, which is its internal name.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The custom field.

        Raises:
            NotFoundError: The account has no custom field with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(GET_CUSTOM_FIELD, (check_id("custom_field_id", custom_field_id),), account_id=account_id)
        )

    async def update(
        self,
        custom_field_id: str,
        *,
        name: str | UnsetType = UNSET,
        description: str | UnsetType | None = UNSET,
        options: Iterable[object] | UnsetType | None = UNSET,
        extra: Mapping[str, object] | None = None,
        account_id: str | None = None,
    ) -> Response[CustomField]:
        """Change a custom field. Arguments that are left out stay unchanged.

        ``await lf.custom_fields.update("contract_tier", name="Tier")``

        API operation: ``update_custom_field`` (inferred path), scope ``custom_fields:write``.

        Args:
            custom_field_id: The id of the field, which is its internal name.
            name: The new name.
            description: The new description. None removes it.
            options: The new choices. They are sent unchanged. None removes them.
            extra: New attributes of the API that this package does not know. They are added to the body unchanged.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The changed custom field.

        Raises:
            ConfigurationError: ``extra`` contains an attribute that has its own argument, or an argument has the wrong
                type.
            NotFoundError: The account has no custom field with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        field_id = check_id("custom_field_id", custom_field_id)
        choices = options if options is None or options is UNSET else _check_options(options)
        changes = checked(CustomFieldChanges, name=name, description=description, options=choices)
        body = encode_record(CustomFieldRequest(data=CustomFieldData(id=field_id, attributes=changes)), extra)
        return await self._executor.execute(
            ApiRequest(UPDATE_CUSTOM_FIELD, (field_id,), body=body, account_id=account_id)
        )

    async def delete(self, custom_field_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a custom field and its values.

        ``await lf.custom_fields.delete("contract_tier")``

        API operation: ``delete_custom_field`` (inferred path), scope ``custom_fields:write``.

        Args:
            custom_field_id: The id of the field, which is its internal name.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A response without data.

        Raises:
            NotFoundError: The account has no field with this id. This is also raised if a first attempt deleted the
                field but its response was lost.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(DELETE_CUSTOM_FIELD, (check_id("custom_field_id", custom_field_id),), account_id=account_id)
        )


def _check_options(options: object) -> tuple[object, ...]:
    """Return the options of a field. Of a dict, only the keys would be sent."""
    if is_mapping(options):
        reject("options", options, "must be a list.")
    return check_list("options", options)
