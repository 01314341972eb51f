"""What an account keeps: tags, lists, custom fields and feeds, and what they are put on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

Json: TypeAlias = "dict[str, object]"


@dataclass(slots=True)
class RecordStore:
    """Records of one type, by id."""

    type: str
    next_id: int
    records: dict[str, Json] = field(default_factory=dict[str, Json])

    def add(self, attributes: Json) -> str:
        """Keep a new record; return its id."""
        record_id = str(self.next_id)
        self.next_id += 1
        self.records[record_id] = attributes
        return record_id

    def show(self, record_id: str) -> Json:
        """Return a record as the API shows it."""
        return {"id": record_id, "type": self.type, "attributes": dict(self.records[record_id])}


@dataclass(slots=True)
class AccountRecords:
    """The shelves of an account, and the links between records."""

    tags: RecordStore = field(default_factory=lambda: RecordStore("tag", 7_001))
    lists: RecordStore = field(default_factory=lambda: RecordStore("list", 8_101))
    custom_fields: RecordStore = field(default_factory=lambda: RecordStore("custom_field", 9_001))
    custom_feeds: RecordStore = field(default_factory=lambda: RecordStore("custom_feed", 6_001))
    tagged: dict[tuple[str, str], None] = field(default_factory=dict[tuple[str, str], None])
    """Pairs of a company and a tag."""
    listed: dict[tuple[str, str, str], None] = field(default_factory=dict[tuple[str, str, str], None])
    """Triples of a list, the type of a member and its id, in the order they came."""

    def tags_of(self, company_id: str) -> Iterator[str]:
        """Iterate over the tags of a company."""
        return (tag for company, tag in self.tagged if company == company_id)

    def lists_of(self, kind: str, record_id: str) -> Iterator[str]:
        """Iterate over the lists that a record is on."""
        return (one for one, type_, member in self.listed if (type_, member) == (kind, record_id))

    def members_of(self, list_id: str) -> list[tuple[str, str]]:
        """Return the type and id of each member of a list."""
        return [(kind, member) for one, kind, member in self.listed if one == list_id]

    def forget_tag(self, tag_id: str) -> None:
        """Delete a tag, from all companies too."""
        del self.tags.records[tag_id]
        self.tagged = {pair: None for pair in self.tagged if pair[1] != tag_id}

    def forget_list(self, list_id: str) -> None:
        """Delete a list; its members stay."""
        del self.lists.records[list_id]
        self.listed = {triple: None for triple in self.listed if triple[0] != list_id}
