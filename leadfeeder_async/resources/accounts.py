"""Accounts and users."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from leadfeeder_async._core.account_lookup import LIST_ACCOUNTS
from leadfeeder_async._core.endpoint import AccountScope as Needs
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import NotFoundError
from leadfeeder_async.models.accounts import Account, AccountSummary, User
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.resources.arguments import csv_param

GET_ACCOUNT = Endpoint("list_accounts", "GET", "/v1/accounts", Response[tuple[Account, ...]], params=("include",))
GET_CURRENT_USER = Endpoint("get_current_user", "GET", "/v1/users/me", Response[User], account=Needs.NONE)


class Accounts:
    """The accounts a key can use."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def list(self) -> Response[tuple[AccountSummary, ...]]:
        """List the accounts of the key, by id and name.

        ``(await lf.accounts.list()).data``. Free; one answer holds them all. Contract: ``list_accounts``, scope
        ``accounts:read``.
        """
        return await self._executor.execute(ApiRequest(LIST_ACCOUNTS))

    async def get(self, account_id: str | None = None, *, include: Iterable[str] | None = None) -> Response[Account]:
        """Get one account with its credits: ``.data.credits.remaining`` and when they reset.

        ``(await lf.accounts.get()).data.credits``. Free. ``include=["account_company"]`` shows the company that owns
        it. Raises NotFoundError where the key has no such account. Contract:
        ``list_accounts`` with ``account_id``, scope ``accounts:read``.
        """
        params = {"include": csv_param("include", include)}
        answer = await self._executor.execute(ApiRequest(GET_ACCOUNT, params=params, account_id=account_id))
        if not answer.data:
            facts = replace(GET_ACCOUNT.error_context(), status=200, sent="yes", request_id=answer.meta.request_id)
            raise NotFoundError("The key has no such account.", facts)
        return Response(data=answer.data[0], meta=answer.meta)


class Users:
    """The user a key belongs to."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor

    async def me(self) -> Response[User]:
        """Get the user the key belongs to.

        ``(await lf.users.me()).data.email``. Free. Contract: ``get_current_user``.
        """
        return await self._executor.execute(ApiRequest(GET_CURRENT_USER))
