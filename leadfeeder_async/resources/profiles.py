"""Ideal customer profiles and buyer personas."""

from __future__ import annotations

from leadfeeder_async._argument_checks import check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.profiles import BuyerPersona, Icp
from leadfeeder_async.pagination.pager import Pager

LIST_ICPS = Endpoint("list_icps", "GET", "/v1/icps", Response[tuple[Icp, ...]])
GET_ICP = Endpoint("get_icp", "GET", "/v1/icps/{id}", Response[Icp])
LIST_BUYER_PERSONAS = Endpoint("list_buyer_personas", "GET", "/v1/buyer-personas", Response[tuple[BuyerPersona, ...]])
GET_BUYER_PERSONA = Endpoint("get_buyer_persona", "GET", "/v1/buyer-personas/{id}", Response[BuyerPersona])


class Icps:
    """Ideal customer profiles (ICPs): descriptions of the companies that the account sells to."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(self, *, limit: int | None = None, account_id: str | None = None) -> Pager[Icp]:
        """List the ideal customer profiles.

        ``async for profile in lf.icps.list()``

        API operation: ``list_icps`` (inferred path).

        Args:
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of profiles. Pass their ids as ``icp_ids`` to a company search.

        Raises:
            ConfigurationError: ``limit`` is out of range, or an argument has the wrong type.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            One response.

        """
        return Pager(self._executor, ApiRequest(LIST_ICPS, account_id=account_id), limit=limit)

    async def get(self, icp_id: str, *, account_id: str | None = None) -> Response[Icp]:
        """Get an ideal customer profile and its criteria.

        ``(await lf.icps.get("icp-12")).data.attributes.criteria``

        API operation: ``get_icp`` (inferred path).

        Args:
            icp_id: The id of the profile.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The profile. The format of its criteria is not published.

        Raises:
            NotFoundError: The account has no profile with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(ApiRequest(GET_ICP, (check_id("icp_id", icp_id),), account_id=account_id))


class BuyerPersonas:
    """Buyer personas: descriptions of the people that the account sells to."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    def list(self, *, limit: int | None = None, account_id: str | None = None) -> Pager[BuyerPersona]:
        """List the buyer personas.

        ``async for persona in lf.buyer_personas.list()``

        API operation: ``list_buyer_personas`` (inferred path).

        Args:
            limit: The maximum number of records in total. None returns all records.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            A pager of personas. Pass their ids as ``buyer_persona_ids`` to a contact search.

        Raises:
            ConfigurationError: ``limit`` is out of range, or an argument has the wrong type.
            IncompleteListError: At the end, if some records could not be read. All others are returned first.

        Credits:
            None.

        Pagination:
            One response.

        """
        return Pager(self._executor, ApiRequest(LIST_BUYER_PERSONAS, account_id=account_id), limit=limit)

    async def get(self, buyer_persona_id: str, *, account_id: str | None = None) -> Response[BuyerPersona]:
        """Get a buyer persona and its criteria.

        ``(await lf.buyer_personas.get("bp-31")).data.attributes.criteria``

        API operation: ``get_buyer_persona`` (inferred path).

        Args:
            buyer_persona_id: The id of the persona.
            account_id: The account to use. Defaults to the account of the client.

        Returns:
            The persona. The format of its criteria is not published.

        Raises:
            NotFoundError: The account has no persona with this id.
            InvalidIdError: The id is not a string, is empty, or contains characters that an id cannot have.

        Credits:
            None.

        """
        return await self._executor.execute(
            ApiRequest(GET_BUYER_PERSONA, (check_id("buyer_persona_id", buyer_persona_id),), account_id=account_id)
        )
