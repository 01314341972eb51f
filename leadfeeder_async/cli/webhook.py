"""Post visits to a webhook: as JSON, or as a message for Slack or Teams."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from typing import Literal, Self, TypeAlias
from urllib.parse import quote

import aiohttp
import msgspec

from leadfeeder_async.cli.http_address import HttpAddress
from leadfeeder_async.cli.printing import pluralize, print_err
from leadfeeder_async.cli.record_tables import format_value
from leadfeeder_async.cli.visit_json import visit_to_dict
from leadfeeder_async.errors import ConfigurationError
from leadfeeder_async.models.records import WebVisit
from leadfeeder_async.pagination.visit_time import utc_time

WebhookFormat: TypeAlias = Literal["json", "slack", "teams"]

FIRST_DELAY, LONGEST_DELAY = 1.0, 300.0
"""Seconds before a post is repeated. The delay doubles after each failure."""

TIMEOUT = 30.0
"""Seconds for one post."""

MAX_KEY_CHARACTERS = 200
"""The longest ``Idempotency-Key`` that is sent as it is. Receivers reject long headers."""

MAX_TEXT_CHARACTERS = 200
"""The most characters of a name or a page in a message. Slack and Teams reject long messages."""


class Webhook:
    """Posts each visit until the receiver has accepted it.

    A post that fails temporarily is repeated until it succeeds, so no visit is lost. The receiver may get a visit
    twice. The header ``Idempotency-Key`` contains the id of the visit.

    Args:
        url: The address. It often contains a secret, so only its host is printed.
        message_format: The format of the body.

    Raises:
        ConfigurationError: The address is not valid, or the proxy or the certificates cannot be used.

    """

    def __init__(self, url: str, message_format: WebhookFormat) -> None:
        self._address = HttpAddress(url, "webhook")
        self._format: WebhookFormat = message_format
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = self._address.open_session(TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(self, visit: WebVisit) -> None:
        """Post a visit, and repeat that until the receiver accepts it.

        Raises:
            ConfigurationError: The receiver rejected the visit, so a repetition would fail too.

        """
        body = msgspec.json.encode(message_of(visit, self._format))
        delay = FIRST_DELAY
        while (problem := await self._try_post(visit.id, body)) is not None:
            print_err(f"The webhook at {self._address.host} failed: {problem}. The next attempt is in {delay:.0f} s.")
            await asyncio.sleep(delay)
            delay = min(LONGEST_DELAY, delay * 2)

    async def _try_post(self, visit_id: str, body: bytes) -> str | None:
        """Post once. Return None after a success, or the reason of a temporary failure."""
        assert self._session is not None
        headers = {"Content-Type": "application/json", "Idempotency-Key": idempotency_key(visit_id)}
        options = self._address.request_options(headers)
        try:
            async with self._session.post(self._address.url, data=body, **options) as response:
                status = response.status
        except aiohttp.ClientHttpProxyError as error:
            return f"the proxy rejected the connection ({error.status})"
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        may_pass = status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
        if may_pass or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"status {status}"
        raise ConfigurationError(
            f"The webhook at {self._address.host} rejected a visit with status {status}.",
            hint="Check its address and --format. The visit is delivered again when the watch continues.",
        )


def idempotency_key(visit_id: str) -> str:
    """Return an id as the value of a header. Special characters are percent-encoded, and a long id is hashed."""
    key = quote(visit_id, safe="!#$&'()*+,/:;<=>?@[]^`{|}", errors="backslashreplace")
    return key if len(key) <= MAX_KEY_CHARACTERS else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def message_of(visit: WebVisit, message_format: WebhookFormat) -> Mapping[str, object]:
    """Return the body of a post."""
    if message_format == "json":
        return visit_to_dict(visit)
    if message_format == "slack":
        return {"text": describe(visit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    text = {"type": "TextBlock", "text": describe(visit).replace("](", "] ("), "wrap": True}  # no Markdown links
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [text]}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def describe(visit: WebVisit) -> str:
    """Return a sentence about a visit."""
    company, attributes = visit.company, visit.attributes
    name = "Unknown company" if company is None else _text(company.name) or f"Company {_text(company.id)}"
    place = None if visit.location is None else visit.location.attributes.country_code
    page = _text(attributes.landing_page_path) or "the website"
    parts = [f"{name} ({_text(place)})" if place else name, "visited", page]
    if attributes.page_depth:
        parts.append(f"({pluralize(attributes.page_depth, 'page')})")
    started = utc_time(visit.started_at)
    if started is not None:
        parts.append(f"on {started:%Y-%m-%d at %H:%M} UTC")
    if attributes.source:
        parts.append(f"from {_text(attributes.source)}")
    return " ".join(parts) + "."


def _text(value: str | None) -> str:
    """Return a value as one short line without control characters."""
    text = format_value((value or "")[: MAX_TEXT_CHARACTERS + 1])
    return text if len(text) <= MAX_TEXT_CHARACTERS else f"{text[:MAX_TEXT_CHARACTERS]}…"
