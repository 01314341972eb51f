"""Custom fields: what the account added to its records."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from leadfeeder_async._core.codec import encode_json
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint, PaginationStyle, RetrySafety
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import EmptyResponse, Response
from leadfeeder_async.models.request_bodies import CustomFieldChanges, CustomFieldData, CustomFieldRequest
from leadfeeder_async.models.tags_and_lists import CustomField
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.source import MAX_PAGE_SIZE
from leadfeeder_async.resources.arguments import check_choice
from leadfeeder_async.resources.lists import SCOPES, Scope

_FIELD = "/v1/custom-fields/{id}"

RETRIEVE_CUSTOM_FIELDS = Endpoint(
    "retrieve_custom_fields",
    "GET",
    "/v1/custom-fields",
    Response[tuple[CustomField, ...]],
    params=("filter[scope]", "filter[type]"),
    pagination=PaginationStyle.PAGE_NUMBER,
)
CREATE_CUSTOM_FIELD = Endpoint(
    "create_custom_field",
    "POST",
    "/v1/custom-fields",
    Response[CustomField],
    retry_safety=RetrySafety.NON_IDEMPOTENT,
    verification_hint="Look for it with `lf.custom_fields.list()`.",
)
GET_CUSTOM_FIELD = Endpoint("get_custom_field", "GET", _FIELD, Response[CustomField])
UPDATE_CUSTOM_FIELD = Endpoint(
    "update_custom_field", "PATCH", _FIELD, Response[CustomField], retry_safety=RetrySafety.IDEMPOTENT
)
DELETE_CUSTOM_FIELD = Endpoint(
    "delete_custom_field", "DELETE", _FIELD, EmptyResponse, retry_safety=RetrySafety.IDEMPOTENT
)


class CustomFields:
    """Fields that the account added to its companies or contacts; all paths are inferred."""

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
        """List the custom fields, all or of one scope or type.

        ``async for field in lf.custom_fields.list(scope="company")``. Free; numbered pages. Contract:
        ``retrieve_custom_fields`` (path inferred), scope ``custom_fields:read``.
        """
        params = {"filter[scope]": check_choice("scope", scope, SCOPES), "filter[type]": type}
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
        account_id: str | None = None,
    ) -> Response[CustomField]:
        """Create a custom field.

        ``await lf.custom_fields.create(name="Tier", scope="company", type="select", options=["gold"])``. Free. A lost
        answer raises OutcomeUnknownError. Contract: ``create_custom_field`` (path inferred), scope
        ``custom_fields:write``.
        """
        check_choice("scope", scope, SCOPES)
        choices = options if isinstance(options, UnsetType) else tuple(options)
        changes = CustomFieldChanges(name=name, scope=scope, type=type, description=description, options=choices)
        body = encode_json(CustomFieldRequest(data=CustomFieldData(attributes=changes)))
        return await self._executor.execute(ApiRequest(CREATE_CUSTOM_FIELD, body=body, account_id=account_id))

    async def get(self, custom_field_id: str, *, account_id: str | None = None) -> Response[CustomField]:
        """Get one custom field.

        ``await lf.custom_fields.get("contract_tier")``. Free. Contract: ``get_custom_field`` (path inferred), scope
        ``custom_fields:read``.
        """
        return await self._executor.execute(ApiRequest(GET_CUSTOM_FIELD, (custom_field_id,), account_id=account_id))

    async def update(
        self,
        custom_field_id: str,
        *,
        name: str | UnsetType = UNSET,
        description: str | UnsetType | None = UNSET,
        options: Iterable[object] | UnsetType | None = UNSET,
        account_id: str | None = None,
    ) -> Response[CustomField]:
        """Change a custom field; what is left out stays, None clears.

        ``await lf.custom_fields.update("contract_tier", name="Tier")``. Free. Contract: ``update_custom_field`` (path
        inferred), scope ``custom_fields:write``.
        """
        choices = options if options is None or isinstance(options, UnsetType) else tuple(options)
        changes = CustomFieldChanges(name=name, description=description, options=choices)
        body = encode_json(CustomFieldRequest(data=CustomFieldData(id=custom_field_id, attributes=changes)))
        return await self._executor.execute(
            ApiRequest(UPDATE_CUSTOM_FIELD, (custom_field_id,), body=body, account_id=account_id)
        )

    async def delete(self, custom_field_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a custom field and its values.

        ``await lf.custom_fields.delete("contract_tier")``. Free. Where a first answer was lost, the second attempt may
        raise NotFoundError. Contract: ``delete_custom_field`` (path inferred), scope ``custom_fields:write``.
        """
        return await self._executor.execute(ApiRequest(DELETE_CUSTOM_FIELD, (custom_field_id,), account_id=account_id))
