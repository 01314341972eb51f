"""The package's one logger: method, path template, outcome, attempt and time; never keys, queries or bodies."""

from __future__ import annotations

import logging
import os

from leadfeeder_async._http.attempt import Attempt, OnAttempt, Passage
from leadfeeder_async.errors import Facts

logger = logging.getLogger("leadfeeder_async")


def log_to_stderr() -> None:
    """Show the lines on stderr where LEADFEEDER_LOG names a level, such as ``debug``."""
    level = logging.getLevelNamesMapping().get(os.environ.get("LEADFEEDER_LOG", "").upper())
    if level is not None and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(level)


def is_wanted() -> bool:
    """Whether anybody reads the lines."""
    return logger.isEnabledFor(logging.DEBUG)


def log_attempt(facts: Facts, number: int, passage: Passage, outcome: int | str, request_id: str | None) -> None:
    """Write one line about an attempt that has ended."""
    took, asked = 1000 * sum(passage.seconds.values()), f", request id {request_id}" if request_id else ""
    logger.debug("%s %s -> %s, attempt %d, %.0f ms%s", facts.method, facts.path, outcome, number, took, asked)


def tell(on_attempt: OnAttempt, event: Attempt) -> None:
    """Call the user's callback; what it raises is logged, since a call that may have charged must not fail for it."""
    try:
        on_attempt(event)
    except Exception:
        logger.exception("on_attempt failed")
