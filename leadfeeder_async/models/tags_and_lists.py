"""What an account arranges by itself: tags, lists, custom fields, ICPs and buyer personas."""

from __future__ import annotations

from leadfeeder_async.models.base import Model


class TagAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and colour of a tag."""

    name: str | None = None
    color: int | None = None
    """An index into a palette of ten, 0 to 9."""


class Tag(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A label on companies (contract: ``TagV1``)."""

    id: str
    type: str = "tag"
    attributes: TagAttributes = TagAttributes()

    @property
    def name(self) -> str | None:
        """The tag's name; None on a stub."""
        return self.attributes.name


class ListAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name, scope and size of a list."""

    name: str | None = None
    scope: str | None = None
    """``company`` or ``contact``."""
    item_count: int | None = None


class List(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A list of companies or contacts (contract: ``ListV1``)."""

    id: str
    type: str = "list"
    attributes: ListAttributes = ListAttributes()

    @property
    def name(self) -> str | None:
        """The list's name; None on a stub."""
        return self.attributes.name


class IcpAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name and rules of an ideal customer profile."""

    name: str | None = None
    criteria: dict[str, object] | None = None


class Icp(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """An ideal customer profile (contract: ``IcpV1``)."""

    id: str
    type: str = "icp"
    attributes: IcpAttributes = IcpAttributes()

    @property
    def name(self) -> str | None:
        """The profile's name; None on a stub."""
        return self.attributes.name


class ListItem(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A member of a list, by id and type (contract: ``ListItemV1``)."""

    id: str
    type: str = ""
    attributes: dict[str, object] | None = None


class BuyerPersonaAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name and rules of a buyer persona."""

    name: str | None = None
    criteria: dict[str, object] | None = None


class BuyerPersona(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A kind of person the account sells to (contract: ``BuyerPersonaV1``)."""

    id: str
    type: str = "buyer_persona"
    attributes: BuyerPersonaAttributes = BuyerPersonaAttributes()

    @property
    def name(self) -> str | None:
        """The persona's name; None on a stub."""
        return self.attributes.name


class CustomFieldAttributes(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name, scope and kind of a custom field."""

    name: str | None = None
    scope: str | None = None
    """``company`` or ``contact``."""
    type: str | None = None
    description: str | None = None
    options: tuple[object, ...] | None = None
    """The choices of a field that has them."""


class CustomField(Model, frozen=True, kw_only=True, repr_omit_defaults=True):
    """A field the account added to its records (contract: ``CustomFieldV1``)."""

    id: str
    type: str = "custom_field"
    attributes: CustomFieldAttributes = CustomFieldAttributes()

    @property
    def name(self) -> str | None:
        """The field's name."""
        return self.attributes.name
