"""Accounts, their credits, and users."""

from __future__ import annotations

from datetime import date

from leadfeeder_async.models.base import Model
from leadfeeder_async.models.companies import Company


class AccountCredits(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The balance of an account's credits."""

    available: int | None = None
    used: int | None = None
    remaining: int | None = None
    next_reset_on: date | None = None


class AccountSummaryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name of an account."""

    name: str | None = None


class AccountSummary(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An account the key can use (contract: ``AccountSummaryV1``)."""

    id: str
    type: str = "account_summary"
    attributes: AccountSummaryAttributes = AccountSummaryAttributes()

    @property
    def name(self) -> str | None:
        """The account's name."""
        return self.attributes.name


class AccountAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and credits of an account."""

    name: str | None = None
    credits: AccountCredits | None = None


class AccountRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company that owns the account."""

    account_company: Company | None = None


class Account(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """One account with its credits (contract: ``AccountV1``)."""

    id: str
    type: str = "account"
    attributes: AccountAttributes = AccountAttributes()
    relationships: AccountRelationships = AccountRelationships()

    @property
    def name(self) -> str | None:
        """The account's name."""
        return self.attributes.name

    @property
    def credits(self) -> AccountCredits | None:
        """The balance of credits."""
        return self.attributes.credits


class UserAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """Who a key belongs to."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    team_role: str | None = None


class User(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The user a key belongs to (contract: ``UserV1``)."""

    id: str
    type: str = "user"
    attributes: UserAttributes = UserAttributes()

    @property
    def email(self) -> str | None:
        """The user's address."""
        return self.attributes.email
