"""Accounts and users."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from leadfeeder_async._core.account_lookup import LIST_ACCOUNTS
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import NotFoundError
from leadfeeder_async.models.accounts import Account, AccountSummary, User
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.models.includes import AccountInclude
from leadfeeder_async.pagination.single_page import fetch_whole_list
from leadfeeder_async.resources.arguments import include_param

GET_ACCOUNT = Endpoint("list_accounts", "GET", "/v1/accounts", Response[tuple[Account, ...]], params=("include",))
GET_CURRENT_USER = Endpoint("get_current_user", "GET", "/v1/users/me", Response[User], names_account=False)


class Accounts:
    """The accounts that the API key can use, and their credits."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def list(self) -> Response[tuple[AccountSummary, ...]]:
        """List the accounts that the API key can use.

        ``(await lf.accounts.list()).data``

        API operation: ``list_accounts``, scope ``accounts:read``.

        Returns:
            All accounts, with their ids and names.

        Raises:
            IncompleteListError: The server has more accounts than it returned.

        Credits:
            None.

        """
        return await fetch_whole_list(self._executor, ApiRequest(LIST_ACCOUNTS))

    async def get(
        self, account_id: str | None = None, *, include: Iterable[AccountInclude] | None = None
    ) -> Response[Account]:
        """Get an account and its credits.

        ``(await lf.accounts.get()).data.credits``

        API operation: ``list_accounts`` with ``account_id``, scope ``accounts:read``.

        Args:
            account_id: The account to use. Defaults to the account of the client.
            include: Relationships to return with all attributes: ``account_company``, the company that owns the
                account.

        Returns:
            The account. ``data.credits.remaining`` is its balance, and ``data.credits.next_reset_on`` the day of the
            next reset.

        Raises:
            ConfigurationError: ``include`` contains a misspelled relationship, or an argument has the wrong type.
            PermissionDeniedError: The API key cannot use an account with this id.
            NotFoundError: The server returned an empty list for this id.

        Credits:
            None.

        """
        params = {"include": include_param(include, AccountInclude)}
        response = await self._executor.execute(ApiRequest(GET_ACCOUNT, params=params, account_id=account_id))
        if not response.data:
            request_id = response.meta.request_id
            request_id = None if request_id is None else self._executor.redactor.text(request_id)
            facts = replace(GET_ACCOUNT.error_context(), status=200, sent="yes", request_id=request_id)
            hint = "Use an id of `lf.accounts.list()`."
            raise NotFoundError("The server returned no account for this id.", facts, hint=hint)
        return Response(data=response.data[0], meta=response.meta)


class Users:
    """The owner of the API key."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def me(self) -> Response[User]:
        """Get the owner of the API key.

        ``(await lf.users.me()).data.email``

        API operation: ``get_current_user``.

        Returns:
            The user, with name, email address and role.

        Credits:
            None.

        """
        return await self._executor.execute(ApiRequest(GET_CURRENT_USER))
