"""Tags, lists and the items of lists."""

from __future__ import annotations

from leadfeeder_async.models.base import Model, Record


class TagAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name and color of a tag."""

    name: str | None = None
    color: int | None = None
    """An index into a palette of ten colors, 0 to 9."""


class Tag(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A label of companies (contract: ``TagV1``)."""

    id: str
    type: str = "tag"
    attributes: TagAttributes = TagAttributes()

    @property
    def name(self) -> str | None:
        """The name of the tag. None on a stub."""
        return self.attributes.name


class ListAttributes(Model, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """The name, scope and size of a list."""

    name: str | None = None
    scope: str | None = None
    """``company`` or ``contact``."""
    item_count: int | None = None


class List(Record, frozen=True, kw_only=True, gc=False, repr_omit_defaults=True):
    """A list of companies or contacts (contract: ``ListV1``)."""

    id: str
    type: str = "list"
    attributes: ListAttributes = ListAttributes()

    @property
    def name(self) -> str | None:
        """The name of the list. None on a stub."""
        return self.attributes.name


class ListItem(Record, frozen=True, kw_only=True, repr_omit_defaults=True):
    """The id and type of a company or contact in a list (contract: ``ListItemV1``)."""

    id: str
    type: str = ""
    attributes: dict[str, object] | None = None
