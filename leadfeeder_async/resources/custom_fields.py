"""Custom fields: what the account added to its records."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UNSET, UnsetType

from leadfeeder_async._http.endpoint import Call, Endpoint, Paging, Resend
from leadfeeder_async._http.session import Session
from leadfeeder_async._http.wire import encode_json
from leadfeeder_async.models.envelope import Done, Response
from leadfeeder_async.models.requests import CustomFieldChanges, CustomFieldData, CustomFieldRequest
from leadfeeder_async.models.workspace import CustomField
from leadfeeder_async.paging import PAGE_SIZE, Pager
from leadfeeder_async.resources._arguments import one_of
from leadfeeder_async.resources.lists import SCOPES, Scope

_FIELD = "/v1/custom-fields/{id}"

RETRIEVE_CUSTOM_FIELDS = Endpoint(
    "retrieve_custom_fields",
    "GET",
    "/v1/custom-fields",
    Response[tuple[CustomField, ...]],
    params=("filter[scope]", "filter[type]"),
    paging=Paging.NUMBER,
)
CREATE_CUSTOM_FIELD = Endpoint(
    "create_custom_field",
    "POST",
    "/v1/custom-fields",
    Response[CustomField],
    resend=Resend.CREATES,
    reconcile="Look for it with `lf.custom_fields.list()`.",
)
GET_CUSTOM_FIELD = Endpoint("get_custom_field", "GET", _FIELD, Response[CustomField])
UPDATE_CUSTOM_FIELD = Endpoint("update_custom_field", "PATCH", _FIELD, Response[CustomField], resend=Resend.SET_LIKE)
DELETE_CUSTOM_FIELD = Endpoint("delete_custom_field", "DELETE", _FIELD, Done, resend=Resend.SET_LIKE)


class CustomFields:
    """Fields that the account added to its companies or contacts; all paths are inferred."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def list(
        self,
        *,
        scope: Scope | None = None,
        type: str | None = None,  # noqa: A002 - the API's word
        page_size: int = PAGE_SIZE,
        limit: int | None = None,
        account_id: str | None = None,
    ) -> Pager[CustomField]:
        """List the custom fields, all or of one scope or type.

        ``async for field in lf.custom_fields.list(scope="company")``. Free; numbered pages. Contract:
        ``retrieve_custom_fields`` (path inferred), scope ``custom_fields:read``.
        """
        params = {"filter[scope]": one_of("scope", scope, SCOPES), "filter[type]": type}
        call = Call(RETRIEVE_CUSTOM_FIELDS, params=params, account_id=account_id)
        return Pager(self._session, RETRIEVE_CUSTOM_FIELDS, lambda _: call, page_size=page_size, limit=limit)

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
        one_of("scope", scope, SCOPES)
        choices = options if isinstance(options, UnsetType) else tuple(options)
        changes = CustomFieldChanges(name=name, scope=scope, type=type, description=description, options=choices)
        body = encode_json(CustomFieldRequest(data=CustomFieldData(attributes=changes)))
        return await self._session.call(CREATE_CUSTOM_FIELD, body=body, account_id=account_id)

    async def get(self, custom_field_id: str, *, account_id: str | None = None) -> Response[CustomField]:
        """Get one custom field.

        ``await lf.custom_fields.get("contract_tier")``. Free. Contract: ``get_custom_field`` (path inferred), scope
        ``custom_fields:read``.
        """
        return await self._session.call(GET_CUSTOM_FIELD, custom_field_id, account_id=account_id)

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
        return await self._session.call(UPDATE_CUSTOM_FIELD, custom_field_id, body=body, account_id=account_id)

    async def delete(self, custom_field_id: str, *, account_id: str | None = None) -> Response[None]:
        """Delete a custom field and its values.

        ``await lf.custom_fields.delete("contract_tier")``. Free. Where a first answer was lost, the second attempt may
        raise NotFoundError. Contract: ``delete_custom_field`` (path inferred), scope ``custom_fields:write``.
        """
        return await self._session.call(DELETE_CUSTOM_FIELD, custom_field_id, account_id=account_id)
