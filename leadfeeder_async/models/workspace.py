"""What an account arranges by itself: tags, lists, ICPs."""

from __future__ import annotations

import msgspec


class TagAttributes(msgspec.Struct, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and colour of a tag."""

    name: str | None = None
    color: int | None = None
    """An index into a palette of ten, 0 to 9."""


class Tag(msgspec.Struct, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A label on companies (contract: ``TagV1``)."""

    id: str
    type: str = "tag"
    attributes: TagAttributes = TagAttributes()

    @property
    def name(self) -> str | None:
        """The tag's name; None on a stub."""
        return self.attributes.name


class ListAttributes(msgspec.Struct, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name, scope and size of a list."""

    name: str | None = None
    scope: str | None = None
    """``company`` or ``contact``."""
    item_count: int | None = None


class List(msgspec.Struct, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A list of companies or contacts (contract: ``ListV1``)."""

    id: str
    type: str = "list"
    attributes: ListAttributes = ListAttributes()

    @property
    def name(self) -> str | None:
        """The list's name; None on a stub."""
        return self.attributes.name


class IcpAttributes(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The name and rules of an ideal customer profile."""

    name: str | None = None
    criteria: dict[str, object] | None = None


class Icp(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """An ideal customer profile (contract: ``IcpV1``)."""

    id: str
    type: str = "icp"
    attributes: IcpAttributes = IcpAttributes()

    @property
    def name(self) -> str | None:
        """The profile's name; None on a stub."""
        return self.attributes.name
