"""Tags, lists, custom fields and custom feeds of a sandbox."""

from __future__ import annotations

from collections.abc import Iterator


class RecordStore:
    """Records of one type.

    Args:
        type_: The type of the records in responses.
        first_id: The id of the first record. Each further record gets the next number.
    """

    type: str
    """The type of the records in responses."""
    records: dict[str, dict[str, object]]
    """The attributes of each record, by id."""

    def __init__(self, type_: str, first_id: int) -> None:
        self.type = type_
        self.records = {}
        self._next_id = first_id

    def add(self, attributes: dict[str, object]) -> str:
        """Add a record and return its id.

        Args:
            attributes: The attributes of the record, which are not validated.
        """
        record_id = str(self._next_id)
        self._next_id += 1
        self.records[record_id] = attributes
        return record_id

    def to_json(self, record_id: str) -> dict[str, object]:
        """Return a record as it appears in responses.

        Args:
            record_id: The record to read.
        """
        return {"id": record_id, "type": self.type, "attributes": dict(self.records[record_id])}


class SandboxRecords:
    """The tags, lists, custom fields and custom feeds of a sandbox.

    All accounts of the sandbox share them. Reading or changing them here sends no request and is not recorded in the
    ledger.

    ::

        tag_id = sandbox.records.tags.add({"name": "Hot", "color": 3})
    """

    tags: RecordStore
    """The tags."""
    lists: RecordStore
    """The lists of companies and contacts."""
    custom_fields: RecordStore
    """The custom fields."""
    custom_feeds: RecordStore
    """The custom feeds."""
    company_tags: dict[tuple[str, str], None]
    """Company id and tag id of each assigned tag, in the order of assignment."""
    list_members: dict[tuple[str, str, str], None]
    """List id, record type and record id of each list member, in the order of addition."""

    def __init__(self) -> None:
        self.tags = RecordStore("tag", 7_001)
        self.lists = RecordStore("list", 8_101)
        self.custom_fields = RecordStore("custom_field", 9_001)
        self.custom_feeds = RecordStore("custom_feed", 6_001)
        self.company_tags = {}
        self.list_members = {}

    def tags_of(self, company_id: str) -> Iterator[str]:
        """Yield the ids of the tags of a company.

        Args:
            company_id: The company to read.
        """
        return (tag_id for tagged_id, tag_id in self.company_tags if tagged_id == company_id)

    def lists_of(self, record_type: str, record_id: str) -> Iterator[str]:
        """Yield the ids of the lists that contain a record.

        Args:
            record_type: ``"company"`` or ``"contact"``.
            record_id: The record to read.
        """
        member = (record_type, record_id)
        return (list_id for list_id, *listed in self.list_members if tuple(listed) == member)

    def members_of(self, list_id: str) -> list[tuple[str, str]]:
        """Return the type and id of each member of a list.

        Args:
            list_id: The list to read.
        """
        return [
            (record_type, record_id) for owner_id, record_type, record_id in self.list_members if owner_id == list_id
        ]

    def delete_tag(self, tag_id: str) -> None:
        """Delete a tag and remove it from all companies.

        Args:
            tag_id: The tag to delete.
        """
        del self.tags.records[tag_id]
        self.company_tags = {pair: None for pair in self.company_tags if pair[1] != tag_id}

    def delete_list(self, list_id: str) -> None:
        """Delete a list. Its companies or contacts are not deleted.

        Args:
            list_id: The list to delete.
        """
        del self.lists.records[list_id]
        self.list_members = {member: None for member in self.list_members if member[0] != list_id}
