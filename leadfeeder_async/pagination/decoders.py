"""Decoders of page bodies: into models, or into rows that stay JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import asdict, replace

from leadfeeder_async._core.codec import MAX_ITEM_ERRORS
from leadfeeder_async._core.endpoint import Endpoint
from leadfeeder_async._core.executor import MAX_INLINE_BYTES, RequestExecutor
from leadfeeder_async._core.json_text import is_utf8
from leadfeeder_async._core.normalize import is_record, unwrap_relationships
from leadfeeder_async._core.worker_thread import run_in_worker_thread
from leadfeeder_async.errors import DecodeError
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.dedupe import row_id, row_identity
from leadfeeder_async.pagination.page import Page


class HasId(Protocol):
    """A record with an id."""

    @property
    def id(self) -> str:
        """The id, as the API returned it."""
        ...


T = TypeVar("T", bound=HasId)
U = TypeVar("U")


class ModelDecoder(msgspec.Struct, Generic[T], frozen=True):
    """Decodes pages into models."""

    executor: RequestExecutor
    endpoint: Endpoint[Response[tuple[T, ...]]]

    async def decode(self, body: bytes) -> Page[T]:
        """Return the page of a response body."""
        return Page(**asdict(await self.executor.decode_page(self.endpoint, body)))

    def row_ids(self, rows: Sequence[T]) -> list[str | None]:
        """Return the id of each model, or its identity if several may have the same id."""
        if self.endpoint.shares_ids:
            return [row_identity(msgspec.json.encode(row)) for row in rows]
        return [row.id or None for row in rows]


class RawDecoder(msgspec.Struct, frozen=True):
    """Decodes pages into undecoded rows, each on one line and without ``data`` wrappers around related records."""

    executor: RequestExecutor
    endpoint: Endpoint[Response[tuple[msgspec.Raw, ...]]]

    async def decode(self, body: bytes) -> Page[msgspec.Raw]:
        """Return the page of a response body. Rows that are not records in UTF-8 are reported as errors."""
        page = Page(**asdict(await self.executor.decode_page(self.endpoint, body)))
        if len(body) > MAX_INLINE_BYTES:
            return await run_in_worker_thread(partial(self._clean_if_needed, page, body))
        return self._clean_if_needed(page, body)

    def _clean_if_needed(self, page: Page[msgspec.Raw], body: bytes) -> Page[msgspec.Raw]:
        may_wrap = body.rfind(b'"data"') > body.find(b'"data"')  # the first one is that of the page
        is_plain = not may_wrap and b"\n" not in body and b"\r" not in body
        is_clean = is_plain and is_utf8(body) and all(map(_BEGINS_WITH_ID, page.items))
        return page if is_clean else self._clean(page)

    def row_ids(self, rows: Sequence[msgspec.Raw]) -> list[str | None]:
        """Return the id of each row, or its identity if several may have the same id. None for a row without one."""
        return list(map(row_identity if self.endpoint.shares_ids else row_id, rows))

    def _clean(self, page: Page[msgspec.Raw]) -> Page[msgspec.Raw]:
        rows, errors, undecodable = list[msgspec.Raw](), list(page.decode_errors), page.undecodable
        for row in map(bytes, page.items):
            if is_utf8(row) and (_BEGINS_WITH_ID(row) or is_record(row)):
                rows.append(msgspec.Raw(strip_line_breaks(unwrap_relationships(row))))
                continue
            undecodable += 1
            if len(errors) < MAX_ITEM_ERRORS:
                context = replace(self.endpoint.error_context(), sent="yes", phase="decode")
                problem = "a record" if is_utf8(row) else "UTF-8"
                errors.append(DecodeError(f"A row is not {problem}: {self.executor.redactor.excerpt(row)!r}.", context))
        return replace(page, items=tuple(rows), decode_errors=tuple(errors), undecodable=undecodable)


_BEGINS_WITH_ID = re.compile(rb'\{\s*"id"\s*:\s*[^n\s]').match
"""Returns a match if a row begins with its id, as the API sends it. It is a record, and need not be decoded."""


def strip_line_breaks(row: bytes) -> bytes:
    """Return a row on one line. A row without line breaks is returned as it is."""
    return msgspec.json.format(row, indent=-1) if b"\n" in row or b"\r" in row else row
