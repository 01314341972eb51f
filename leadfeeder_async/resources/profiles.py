"""Whom the account sells to: ideal customer profiles and buyer personas."""

from __future__ import annotations

from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.tags_and_lists import BuyerPersona, Icp

LIST_ICPS = Endpoint("list_icps", "GET", "/v1/icps", Response[tuple[Icp, ...]])
GET_ICP = Endpoint("get_icp", "GET", "/v1/icps/{id}", Response[Icp])
LIST_BUYER_PERSONAS = Endpoint("list_buyer_personas", "GET", "/v1/buyer-personas", Response[tuple[BuyerPersona, ...]])
GET_BUYER_PERSONA = Endpoint("get_buyer_persona", "GET", "/v1/buyer-personas/{id}", Response[BuyerPersona])


class Icps:
    """Ideal customer profiles."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def list(self, *, account_id: str | None = None) -> Response[tuple[Icp, ...]]:
        """List the ideal customer profiles; their ids go into ``icp_ids`` of a company search.

        ``(await lf.icps.list()).data``. Free. Contract: ``list_icps`` (path inferred).
        """
        return await self._executor.execute(ApiRequest(LIST_ICPS, account_id=account_id))

    async def get(self, icp_id: str, *, account_id: str | None = None) -> Response[Icp]:
        """Get one ideal customer profile with its rules.

        ``(await lf.icps.get("icp-12")).data.attributes.criteria``. Free. Contract: ``get_icp`` (path inferred).
        """
        return await self._executor.execute(ApiRequest(GET_ICP, (icp_id,), account_id=account_id))


class BuyerPersonas:
    """Kinds of people the account sells to."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def list(self, *, account_id: str | None = None) -> Response[tuple[BuyerPersona, ...]]:
        """List the buyer personas; their ids go into ``buyer_persona_ids`` of a contact search.

        ``(await lf.buyer_personas.list()).data``. Free. Contract: ``list_buyer_personas`` (path inferred).
        """
        return await self._executor.execute(ApiRequest(LIST_BUYER_PERSONAS, account_id=account_id))

    async def get(self, buyer_persona_id: str, *, account_id: str | None = None) -> Response[BuyerPersona]:
        """Get one buyer persona with its rules.

        ``(await lf.buyer_personas.get("bp-31")).data.attributes.criteria``. Free. Contract: ``get_buyer_persona`` (path
        inferred).
        """
        return await self._executor.execute(ApiRequest(GET_BUYER_PERSONA, (buyer_persona_id,), account_id=account_id))
