"""Ideal customer profiles and buyer personas."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class IcpAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name and criteria of an ideal customer profile."""

    name: str | None = None
    criteria: dict[str, object] | None = None
    """The criteria as the API sent them. Their format is not published."""


class Icp(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """An ideal customer profile (contract: ``IcpV1``)."""

    id: str
    type: str = "icp"
    attributes: IcpAttributes = IcpAttributes()

    @property
    def name(self) -> str | None:
        """The name of the profile. None on a stub."""
        return self.attributes.name


class BuyerPersonaAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name and criteria of a buyer persona."""

    name: str | None = None
    criteria: dict[str, object] | None = None
    """The criteria as the API sent them. Their format is not published."""


class BuyerPersona(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A kind of person that the account sells to (contract: ``BuyerPersonaV1``)."""

    id: str
    type: str = "buyer_persona"
    attributes: BuyerPersonaAttributes = BuyerPersonaAttributes()

    @property
    def name(self) -> str | None:
        """The name of the persona. None on a stub."""
        return self.attributes.name
