"""The HTTP request and response, as plain data."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class HttpRequest(msgspec.Struct, frozen=True, gc=False):
    """A request without its headers, which hold the API key."""

    method: str
    url: str
    body: bytes | None = None


class HttpResponse(msgspec.Struct, frozen=True, gc=False):
    """A response with its complete body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return a header, or None. Bytes that are not UTF-8 become question marks."""
        value = self.headers.get(name)
        return None if value is None else value.encode("utf-8", "replace").decode()
