"""Lists by id: records in the order of their ids, with the ids that are missing or were merged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Self, TypeVar

from msgspec.structs import replace

from leadfeeder_async._argument_checks import check_ids
from leadfeeder_async._core.endpoint import ApiRequest
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.id_batches import IdBatchSource, LatestLookup
from leadfeeder_async.pagination.pager import Pager

T = TypeVar("T", bound=HasId)


class IdPager(Pager[T]):
    """A list by id. After it was read or exported, its properties contain the ids without a record of their own.

    A merged id is returned as the record that it was merged into. If several ids of one request were merged, the
    response does not tell which id became which record. These ids are ``unresolved``. With ``resolve_merged``, they are
    requested again in groups instead, and records that were just charged are free.

    After an error, nothing more is requested. The records of all batches in flight are returned before it is raised,
    because they may have been charged.
    """

    def __init__(
        self,
        executor: RequestExecutor,
        request: ApiRequest[Response[tuple[T, ...]]],
        ids: Iterable[str],
        *,
        resolve_merged: bool = False,
    ) -> None:
        unique, self._latest = tuple(dict.fromkeys(check_ids("ids", ids))), LatestLookup()
        source = IdBatchSource(executor, request.undecoded, unique, resolve_merged, self._latest)
        super().__init__(executor, request, source=source)

    @property
    def missing(self) -> tuple[str, ...]:
        """The ids read so far that the server did not return, in order, of the latest iteration."""
        return tuple(self._latest.state.missing)

    @property
    def merged(self) -> Mapping[str, str]:
        """The ids read so far that were merged: the requested id, and the current one."""
        return MappingProxyType(self._latest.state.merged)

    @property
    def unresolved(self) -> tuple[str, ...]:
        """The ids read so far that are missing, or were merged into one of several records that were returned."""
        return tuple(self._latest.state.unresolved)

    def _variant(self, **changes: object) -> Self:
        other = super()._variant(**changes)
        other._latest = LatestLookup()  # noqa: SLF001 - a copy of its own
        other._source = replace(self._source, latest=other._latest)  # noqa: SLF001
        return other
