"""Lists by id: a hundred ids a request, in their order, and the truth about those that did not come back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.codec import check_id
from leadfeeder_async._core.endpoint import ApiRequest, Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import HasId, Pager

T = TypeVar("T", bound=HasId)


class _LookupState(msgspec.Struct, Generic[T]):
    """What one reading of a list has found out about its ids."""

    missing: list[str] = msgspec.field(default_factory=list[str])
    merged: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    yielded_ids: set[str] = msgspec.field(default_factory=set[str])

    def order_by_id(self, batch: Sequence[str], by_id: Mapping[str, T], strangers: Sequence[T]) -> tuple[T, ...]:
        """Put the records in the order of their ids, each once; note the ids that are gone.

        A record that no id leads to comes last: it was sent, and maybe charged, so it is not kept back.
        """
        self.missing.extend(one for one in batch if one not in by_id)
        rows = [*(by_id[one] for one in batch if one in by_id), *strangers]
        fresh = {row.id: row for row in rows if row.id not in self.yielded_ids}
        self.yielded_ids.update(fresh)
        return tuple(fresh.values())


class IdPager(Pager[T]):
    """A list by id; after it was read, it knows which ids did not come back and which live under another.

    A merged id comes back as the record it lives in. Where an answer leaves it open which of several ids became which
    record, those ids are asked for once more, one by one; what was just charged is free then. Where a limit says how
    many records are wanted, hardly more ids than that are asked for.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        row: Endpoint[Response[tuple[T, ...]]],
        call: ApiRequest[object],
        ids: Iterable[str],
    ) -> None:
        check_argument(not isinstance(ids, str), f"ids={ids!r} must be a list of ids.", f"Write [{ids!r}].")
        wanted = tuple(dict.fromkeys(check_id(one) for one in ids))
        super().__init__(executor, row, lambda _: call, ids=wanted)
        self._found = _LookupState[T]()

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids read so far that did not come back, in order; of the reading that began last."""
        return tuple(self._found.missing)

    @property
    def merged(self) -> Mapping[str, str]:
        """The ids read so far that came back under another: the id asked for, and the current one."""
        return MappingProxyType(self._found.merged)

    async def count(self) -> int | None:
        """Return None and send nothing: only reading the records, which charges, can tell how many there are."""
        return None

    async def _typed_pages(self) -> AsyncGenerator[Page[T], None]:
        found = self._found = _LookupState[T]()
        batches, number = self._batches(), 0
        async with aclosing(super()._typed_pages()) as pages:
            async for page in pages:
                number += 1
                yield replace(page, items=await self._order_by_id(batches.batch(number), page.items, found))
                del page

    async def _order_by_id(self, batch: Sequence[str], rows: Sequence[T], found: _LookupState[T]) -> tuple[T, ...]:
        """Return a page's records in the order of the ids that lead to them."""
        by_id, asked = {row.id: row for row in rows}, set(batch)
        strangers = [row for row in rows if row.id not in asked]
        if strangers:
            by_id |= await self._pair_merged_ids([one for one in batch if one not in by_id], strangers, found)
        return found.order_by_id(batch, by_id, strangers)

    async def _pair_merged_ids(
        self, lost: Sequence[str], strangers: Sequence[T], found: _LookupState[T]
    ) -> dict[str, T]:
        """Find which lost id became which record: plain where there is one of each, else asked one by one."""
        if len(lost) == len(strangers) == 1:
            became = {lost[0]: strangers[0]}
        else:
            became = {one: row for one in lost if (row := await self._fetch_one(one)) is not None}
        found.merged.update({one: row.id for one, row in became.items()})
        return became

    async def _fetch_one(self, one: str) -> T | None:
        call = self._request_for(None).with_params({"ids": (one,)})
        rows = self._executor.decode(self._endpoint, await self._executor.execute_raw(call)).data
        return rows[0] if rows else None
