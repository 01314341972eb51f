"""Lists by id: a hundred ids a request, in their order, and the truth about those that did not come back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import TypeVar

from msgspec.structs import replace

from leadfeeder_async._http.endpoint import Call, Endpoint
from leadfeeder_async._http.session import Session
from leadfeeder_async._walks.pages import IDS_PER_REQUEST, Page
from leadfeeder_async.errors import require
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.paging import HasId, Pager

T = TypeVar("T", bound=HasId)


class IdPager(Pager[T]):
    """A list by id; after it was read, it knows which ids did not come back and which live under another.

    A merged id comes back as the record it lives in. Where an answer leaves it open which of several ids became which
    record, those ids are asked for once more, one by one; what was just charged is free then.
    """

    def __init__(
        self, session: Session, row: Endpoint[Response[tuple[T, ...]]], call: Call[object], ids: Iterable[str]
    ) -> None:
        require(not isinstance(ids, str), f"ids={ids!r} must be a list of ids.", f"Write [{ids!r}].")
        wanted = tuple(dict.fromkeys(ids))
        require("" not in wanted, "ids holds an empty id.")
        super().__init__(session, row, lambda _: call, ids=wanted)
        self._missing: list[str] = []
        self._merged: dict[str, str] = {}

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids read so far that did not come back, in order."""
        return tuple(self._missing)

    @property
    def merged(self) -> Mapping[str, str]:
        """The ids read so far that came back under another: the id asked for, and the current one."""
        return MappingProxyType(self._merged)

    async def count(self) -> int | None:
        """Return None and send nothing: only reading the records, which charges, can tell how many there are."""
        return None

    async def _typed_pages(self) -> AsyncGenerator[Page[T], None]:
        self._missing.clear()
        self._merged.clear()
        handed_out = set[str]()
        async with aclosing(super()._typed_pages()) as pages:
            start = 0
            async for page in pages:
                batch = self._ids[start : start + IDS_PER_REQUEST]
                start += IDS_PER_REQUEST
                yield replace(page, items=await self._fresh(batch, page.items, handed_out))
                del page

    async def _fresh(self, batch: Sequence[str], rows: Sequence[T], handed_out: set[str]) -> tuple[T, ...]:
        ordered = {row.id: row for row in await self._in_order(batch, rows)}
        fresh = tuple(row for one, row in ordered.items() if one not in handed_out)
        handed_out.update(ordered)
        return fresh

    async def _in_order(self, batch: Sequence[str], rows: Sequence[T]) -> list[T]:
        """Put the records in the order of their ids; note the ids that moved and those that are gone.

        A record that no id leads to comes last: it was sent, and maybe charged, so it is not kept back.
        """
        asked = set(batch)
        by_id = {row.id: row for row in rows}
        strangers = [row for row in rows if row.id not in asked]
        if strangers:
            by_id |= await self._match([one for one in batch if one not in by_id], strangers)
        self._missing.extend(one for one in batch if one not in by_id)
        ordered = [by_id[one] for one in batch if one in by_id]
        claimed = {row.id for row in ordered}
        return [*ordered, *(row for row in strangers if row.id not in claimed)]

    async def _match(self, lost: Sequence[str], strangers: Sequence[T]) -> dict[str, T]:
        """Find which lost id became which record: plain where there is one of each, else asked one by one."""
        if len(lost) == len(strangers) == 1:
            found = {lost[0]: strangers[0]}
        else:
            found = {one: row for one in lost if (row := await self._ask(one)) is not None}
        self._merged.update({one: row.id for one, row in found.items()})
        return found

    async def _ask(self, one: str) -> T | None:
        call = self._call_at(None).with_params({"ids": (one,)})
        rows = self._session.decode(self._row, await self._session.fetch(call)).data
        return rows[0] if rows else None
