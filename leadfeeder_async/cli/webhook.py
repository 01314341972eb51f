"""Post visits to a webhook: as JSON, or as a message for Slack or Teams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Literal, Self, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec

from leadfeeder_async.cli.printing import pluralize, print_err
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.records import WebVisit

WebhookFormat: TypeAlias = Literal["json", "slack", "teams"]

FIRST_DELAY, LONGEST_DELAY = 1.0, 300.0
"""Seconds before a post is repeated. The delay doubles after each failure."""

TIMEOUT = 30.0
"""Seconds for one post."""


class Webhook:
    """Posts each visit until the receiver has accepted it.

    A post that fails for a reason that may pass is repeated without an end, so nothing is lost. The receiver may get a
    visit twice. The header ``Idempotency-Key`` contains the id of the visit.

    Args:
        url: The address. It often contains a secret, so it is never printed.
        message_format: The format of the body.

    """

    def __init__(self, url: str, message_format: WebhookFormat) -> None:
        parts = urlsplit(url)
        check_argument(
            parts.scheme in {"http", "https"} and parts.hostname,
            "The address of the webhook is not a URL.",
            "Write it as https://host/path.",
        )
        self._url = url
        self._host = parts.hostname
        self._format: WebhookFormat = message_format
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(TIMEOUT))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
            print_err(f"The webhook at {self._host} failed: {problem}. The next attempt is in {delay:.0f} s.")
            await asyncio.sleep(delay)
            delay = min(LONGEST_DELAY, delay * 2)

    async def _try_post(self, visit_id: str, body: bytes) -> str | None:
        """Post once. Return the reason of a failure that may pass, or None."""
        assert self._session is not None
        headers = {"Content-Type": "application/json", "Idempotency-Key": visit_id}
        try:
            async with self._session.post(self._url, data=body, headers=headers, allow_redirects=False) as response:
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return type(error).__name__
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return None
        may_pass = status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}
        if may_pass or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return f"status {status}"
        raise ConfigurationError(
            f"The webhook at {self._host} rejected a visit with status {status}.",
            hint="Check its address and --format. The visit is delivered again when the watch continues.",
        )


def message_of(visit: WebVisit, message_format: WebhookFormat) -> Mapping[str, object]:
    """Return the body of a post."""
    if message_format == "json":
        return visit.to_dict()
    if message_format == "slack":
        return {"text": describe(visit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}
    text = {"type": "TextBlock", "text": describe(visit), "wrap": True}
    card = {"type": "AdaptiveCard", "version": "1.4", "body": [text]}
    return {
        "type": "message",
        "attachments": [{"contentType": "application/vnd.microsoft.card.adaptive", "content": card}],
    }


def describe(visit: WebVisit) -> str:
    """Return a sentence about a visit."""
    company, attributes = visit.company, visit.attributes
    name = "Unknown company" if company is None else company.name or f"Company {company.id}"
    place = None if visit.location is None else visit.location.attributes.country_code
    parts = [f"{name} ({place})" if place else name, "visited", attributes.landing_page_path or "the website"]
    if attributes.page_depth:
        parts.append(f"({pluralize(attributes.page_depth, 'page')})")
    if visit.started_at is not None:
        parts.append(f"on {visit.started_at:%Y-%m-%d at %H:%M} UTC")
    if attributes.source:
        parts.append(f"from {attributes.source}")
    return " ".join(parts) + "."
