"""Decoders of page bodies: into models, or into rows as the API sent them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import msgspec
from msgspec.structs import replace

from leadfeeder_async._core.endpoint import Endpoint
from leadfeeder_async._core.executor import RequestExecutor
from leadfeeder_async.errors import DecodeError
from leadfeeder_async.models.envelope import Response
from leadfeeder_async.pagination.dedupe import row_ids
from leadfeeder_async.pagination.page import Page


class HasId(Protocol):
    """A record with an id."""

    @property
    def id(self) -> str:
        """The id, as the API returned it."""
        ...


T = TypeVar("T", bound=HasId)


class ModelDecoder(msgspec.Struct, Generic[T], frozen=True):
    """Decodes pages into models."""

    executor: RequestExecutor
    endpoint: Endpoint[Response[tuple[T, ...]]]

    def decode(self, body: bytes) -> Page[T]:
        """Return the page of a response body."""
        page = self.executor.decode_page(self.endpoint, body)
        return Page(page.items, page.meta, decode_errors=page.decode_errors, partial_errors=page.partial_errors)

    def row_ids(self, rows: Sequence[T]) -> list[str | None]:
        """Return the id of each model."""
        return [row.id or None for row in rows]


class RawDecoder(msgspec.Struct, frozen=True):
    """Decodes pages into rows that are views of the body, each without line breaks."""

    executor: RequestExecutor
    endpoint: Endpoint[Response[tuple[msgspec.Raw, ...]]]

    def decode(self, body: bytes) -> Page[msgspec.Raw]:
        """Return the page of a response body. Rows that are not UTF-8 are reported as errors."""
        decoded = self.executor.decode_page(self.endpoint, body)
        page = Page(
            decoded.items, decoded.meta, decode_errors=decoded.decode_errors, partial_errors=decoded.partial_errors
        )
        return page if _is_utf8(body) and b"\n" not in body and b"\r" not in body else self._clean(page)

    def row_ids(self, rows: Sequence[msgspec.Raw]) -> list[str | None]:
        """Return the id of each row, or None for a row without one."""
        return row_ids(rows)

    def _clean(self, page: Page[msgspec.Raw]) -> Page[msgspec.Raw]:
        rows, errors = list[msgspec.Raw](), list(page.decode_errors)
        for row in map(bytes, page.items):
            if _is_utf8(row):
                rows.append(msgspec.Raw(strip_line_breaks(row)))
            else:
                context = replace(self.endpoint.error_context(), sent="yes", phase="decode")
                errors.append(DecodeError(f"A row is not UTF-8: {self.executor.redactor.excerpt(row)!r}.", context))
        return replace(page, items=tuple(rows), decode_errors=tuple(errors))


def _is_utf8(row: bytes) -> bool:
    try:
        return row.isascii() or bool(row.decode())
    except UnicodeDecodeError:
        return False


def strip_line_breaks(row: bytes) -> bytes:
    """Return a row on one line. A row without line breaks is returned as it is."""
    return msgspec.json.format(row, indent=-1) if b"\n" in row or b"\r" in row else row
