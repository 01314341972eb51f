"""Lists by id: records in the order of their ids, with the ids that are missing or were merged."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from types import MappingProxyType
from typing import Generic, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.codec import check_id
from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import check_argument
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.id_batches import IdBatchSource
from leadfeeder_async.pagination.page import Page
from leadfeeder_async.pagination.pager import Pager

T = TypeVar("T", bound=HasId)


class _LookupState(msgspec.Struct, Generic[T]):
    """The ids of one iteration that were missing or merged so far."""

    missing: list[str] = msgspec.field(default_factory=list[str])
    merged: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    yielded_ids: set[str] = msgspec.field(default_factory=set[str])

    def order_by_id(self, batch: Sequence[str], by_id: Mapping[str, T], unrequested: Sequence[T]) -> tuple[T, ...]:
        """Return the records in the order of their ids, each once, and record the missing ids.

        Records that match no requested id are appended, because they may have been charged.
        """
        self.missing.extend(requested for requested in batch if requested not in by_id)
        rows = [*(by_id[requested] for requested in batch if requested in by_id), *unrequested]
        new = {row.id: row for row in rows if row.id not in self.yielded_ids}
        self.yielded_ids.update(new)
        return tuple(new.values())


class IdPager(Pager[T]):
    """A list by id. After it was read, it knows which ids are missing and which were merged into others.

    A merged id is returned as the record that it was merged into. If a response leaves open which of several ids became
    which record, those ids are requested once more, one by one. Records that were just charged are then free.
    """

    def __init__(
        self, executor: RequestExecutor, request: ApiRequest[Response[tuple[T, ...]]], ids: Iterable[str]
    ) -> None:
        check_argument(not isinstance(ids, str), f"ids={ids!r} must be a list of ids.", f"Write [{ids!r}].")
        super().__init__(executor, request, ids=tuple(dict.fromkeys(check_id(value) for value in ids)))
        self._state = _LookupState[T]()

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids read so far that the server did not return, in order, of the latest iteration."""
        return tuple(self._state.missing)

    @property
    def merged(self) -> Mapping[str, str]:
        """The ids read so far that were merged: the requested id, and the current one."""
        return MappingProxyType(self._state.merged)

    async def count(self) -> int | None:
        """Return None, because only requesting the records, which may charge, tells how many there are."""
        return None

    async def _model_pages(self) -> AsyncGenerator[Page[T], None]:
        state = self._state = _LookupState[T]()
        assert isinstance(self._source, IdBatchSource)
        batches = iter(self._source.batches(self._options))
        async with aclosing(super()._model_pages()) as pages:
            async for page in pages:
                yield replace(page, items=await self._order_by_id(next(batches), page.items, state))
                del page

    async def _order_by_id(self, batch: Sequence[str], rows: Sequence[T], state: _LookupState[T]) -> tuple[T, ...]:
        """Return the records of a page in the order of the ids that they belong to."""
        by_id, requested = {row.id: row for row in rows}, set(batch)
        unrequested = [row for row in rows if row.id not in requested]
        if unrequested:
            unmatched = [value for value in batch if value not in by_id]
            by_id |= await self._pair_merged_ids(unmatched, unrequested, state)
        return state.order_by_id(batch, by_id, unrequested)

    async def _pair_merged_ids(
        self, unmatched: Sequence[str], unrequested: Sequence[T], state: _LookupState[T]
    ) -> dict[str, T]:
        """Return the record of each merged id. If there are several, each id is requested by itself."""
        if len(unmatched) == len(unrequested) == 1:
            pairs = {unmatched[0]: unrequested[0]}
        else:
            pairs = {value: row for value in unmatched if (row := await self._fetch_one(value)) is not None}
        state.merged.update({value: row.id for value, row in pairs.items()})
        return pairs

    async def _fetch_one(self, record_id: str) -> T | None:
        rows = (await self._executor.execute(self._request.with_params({"ids": (record_id,)}))).data
        return rows[0] if rows else None
