"""Jobs that are used like an awaitable or a list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leadfeeder_async import AsyncLeadfeeder

MISUSES: list[tuple[Callable[[Any], object], str]] = [
    (iter, "{} is not iterable. Use `async for`, or `await {}`."),
    (lambda job: job.__await__(), "{} is not awaitable. Use `async for`, or `await {}`."),
]


@pytest.mark.parametrize(("misuse", "message"), MISUSES)
async def test_synchronous_use_shows_the_correction(
    lf: AsyncLeadfeeder, misuse: Callable[[Any], object], message: str
) -> None:
    """Using a job with ``await`` or a ``for`` loop raises TypeError with the expression to write."""
    jobs = {
        "Enrichment": (lf.enrich.companies([{"domain": "example.com"}], by="domain"), "job.to_file(path)"),
        "BulkChange": (lf.bulk.assign_tags(["1"], ["2"]), "job.run()"),
    }
    for name, (job, call) in jobs.items():
        with pytest.raises(TypeError) as caught:
            misuse(job)
        assert str(caught.value) == message.format(name, call)
