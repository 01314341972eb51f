"""Custom fields of companies and contacts."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class CustomFieldAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name, scope and type of a custom field."""

    name: str | None = None
    scope: str | None = None
    """``company`` or ``contact``."""
    type: str | None = None
    """The type of the values. The possible types are not published."""
    description: str | None = None
    options: tuple[object, ...] | None = None
    """The choices, if the field is a selection."""


class CustomField(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A field that the account added to its companies or contacts (contract: ``CustomFieldV1``)."""

    id: str
    """The internal name of the field."""
    type: str = "custom_field"
    attributes: CustomFieldAttributes = CustomFieldAttributes()

    @property
    def name(self) -> str | None:
        """The name of the field. None on a stub."""
        return self.attributes.name
