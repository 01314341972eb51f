"""Accounts with their credits, and users."""

from __future__ import annotations

from datetime import date

from leadfeeder_async.models.base import Model, Record
from leadfeeder_async.models.records import Company


class AccountCredits(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The credit balance of an account."""

    available: int | None = None
    """The credits of the current period, including used ones."""
    used: int | None = None
    remaining: int | None = None
    """The credits that are left."""
    next_reset_on: date | None = None
    """The day on which the next period begins."""


class AccountSummaryAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name of an account."""

    name: str | None = None


class AccountSummary(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An account that the API key can use (contract: ``AccountSummaryV1``)."""

    id: str
    type: str = "account_summary"
    attributes: AccountSummaryAttributes = AccountSummaryAttributes()

    @property
    def name(self) -> str | None:
        """The name of the account."""
        return self.attributes.name


class AccountAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and credits of an account."""

    name: str | None = None
    credits: AccountCredits | None = None


class AccountRelationships(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The company that owns an account."""

    account_company: Company | None = None


class Account(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """An account with its credits (contract: ``AccountV1``)."""

    id: str
    type: str = "account"
    attributes: AccountAttributes = AccountAttributes()
    relationships: AccountRelationships = AccountRelationships()

    @property
    def name(self) -> str | None:
        """The name of the account."""
        return self.attributes.name

    @property
    def credits(self) -> AccountCredits | None:
        """The credit balance."""
        return self.attributes.credits


class UserAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name, email address and role of a user."""

    email: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    team_role: str | None = None


class User(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The owner of an API key (contract: ``UserV1``)."""

    id: str
    type: str = "user"
    attributes: UserAttributes = UserAttributes()

    @property
    def email(self) -> str | None:
        """The email address of the user."""
        return self.attributes.email
