"""The account of calls that name none: the only account of the key."""

from __future__ import annotations

from collections.abc import Sequence

from leadfeeder_async._core.endpoint import Endpoint
from leadfeeder_async._core.redaction import Redactor
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.models.accounts import AccountSummary
from leadfeeder_async.models.envelope import Response

LIST_ACCOUNTS = Endpoint(
    "list_accounts",
    "GET",
    "/v1/accounts",
    Response[tuple[AccountSummary, ...]],
    params=("include",),
    names_account=False,
)


def only_account(accounts: Sequence[AccountSummary], redactor: Redactor, total: int | None = None) -> str:
    """Return the id of the only account, or raise ConfigurationError if there are none or several.

    ``total`` is the number of accounts that the server counts.
    """
    if len(accounts) == 1 and (total or 1) <= 1:
        return accounts[0].id
    if not accounts:
        raise ConfigurationError("This key has no account.", hint="Ask an admin of the account for access.")
    choices = redactor.text(", ".join(f"{account.id} ({account.name})" for account in accounts))
    raise ConfigurationError(
        f"This key has {max(len(accounts), total or 0)} accounts, and none was chosen: {choices}.",
        hint="Set LEADFEEDER_ACCOUNT_ID, or pass account_id=.",
        argument="account_id",
    )
