"""The package's one logger: method, path template, outcome, attempt and time; never keys, queries or bodies."""

from __future__ import annotations

import logging
import os

from leadfeeder_async._core.attempt import AttemptEvent, AttemptTrace, OnAttempt
from leadfeeder_async.errors import ErrorContext

logger = logging.getLogger("leadfeeder_async")


def log_to_stderr() -> None:
    """Show the lines on stderr where LEADFEEDER_LOG names a level, such as ``debug``."""
    level = logging.getLevelNamesMapping().get(os.environ.get("LEADFEEDER_LOG", "").upper())
    if level is not None and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(level)


def debug_enabled() -> bool:
    """Whether anybody reads the lines."""
    return logger.isEnabledFor(logging.DEBUG)


def log_attempt(
    context: ErrorContext, number: int, passage: AttemptTrace, outcome: int | str, request_id: str | None
) -> None:
    """Write one line about an attempt that has ended."""
    took, asked = 1000 * sum(passage.phase_durations.values()), f", request id {request_id}" if request_id else ""
    logger.debug("%s %s -> %s, attempt %d, %.0f ms%s", context.method, context.path, outcome, number, took, asked)


def call_hook(on_attempt: OnAttempt, event: AttemptEvent) -> None:
    """Call the user's callback; what it raises is logged, since a call that may have charged must not fail for it."""
    try:
        on_attempt(event)
    except Exception:
        logger.exception("on_attempt failed")
