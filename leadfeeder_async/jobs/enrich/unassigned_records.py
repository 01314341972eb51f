"""Records that a response contains under other ids than the requested ones."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
from msgspec.structs import replace

from leadfeeder_async.jobs.enrich.results import Outcome, ResultLine

Records: TypeAlias = dict[str | int, bytes]
"""Records by id, or by their position in the response if they have no id."""


class UnassignedRecords(msgspec.Struct):
    """Records with the current ids of merged companies, which cannot be assigned to the requested ids.

    Each absent id is therefore requested again alone. That is free if its record is one of these, because they were
    charged with this response. Other absent ids may be charged.
    """

    records: Records
    """The records that were not assigned yet."""
    charged: int | None
    """The credits of each record, or None if only their sum is known."""
    owners: int
    """The number of absent ids to which one of the records may belong."""
    unresolved: int
    """The number of absent ids that have no result yet."""

    @property
    def is_certain(self) -> bool:
        """True if each of the remaining ids has one of the records, so that requesting it is free."""
        return self.owners == len(self.records)

    def assign(self, line: ResultLine) -> ResultLine:
        """Return the result of an id that was requested alone, with the credits that its record was charged.

        The result of an id without a record, and that of the last id, get the records that are left, so that none of
        them is lost.
        """
        self.unresolved -= 1
        is_matched = line.outcome is Outcome.MATCHED
        if is_matched:
            self.owners -= 1
            if line.id is not None and self.records.pop(line.id, None) is not None:
                line = replace(line, charged=sum_charges(line.charged, self.charged))
        if self.records and not (is_matched and self.unresolved):
            line = with_candidates(line, self.records)
            if not self.unresolved:
                line = replace(line, charged=sum_charges(line.charged, self.charged, len(self.records)))
        return line


def with_candidates(line: ResultLine, records: Records) -> ResultLine:
    """Return a result with some records that cannot be assigned as its candidates."""
    return replace(line, candidates=(*line.candidates, *map(_candidate, records.items())))


def _candidate(id_and_record: tuple[str | int, bytes]) -> msgspec.Raw:
    """Return a record as a candidate of a match."""
    company_id, record = id_and_record
    row = {
        "id": company_id if isinstance(company_id, str) else "",
        "type": "company_match",
        "relationships": {"company_summary": msgspec.Raw(record)},
    }
    return msgspec.Raw(msgspec.json.encode(row))


def sum_charges(charged: int | None, each: int | None, records: int = 1) -> int | None:
    """Return the credits of a row with those of some records, or None if they are not known."""
    return None if charged is None or each is None else charged + each * records
