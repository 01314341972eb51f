"""The output of the log that LEADFEEDER_LOG turns on: lines on stderr, as text or as JSON."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime

from leadfeeder_async._core.attempt import logger
from leadfeeder_async.errors import check_argument


class JsonFormatter(logging.Formatter):
    """Formats each record as one line of JSON, with the fields of an attempt if it has them."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": time.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "leadfeeder", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging() -> None:
    """Log to stderr if LEADFEEDER_LOG names a level, such as ``debug``, or ``json`` for all lines as JSON.

    Raises:
        ConfigurationError: It is something else.
    """
    wanted = os.environ.get("LEADFEEDER_LOG", "").upper()
    level = logging.DEBUG if wanted == "JSON" else logging.getLevelNamesMapping().get(wanted)
    check_argument(
        level is not None or not wanted,
        f"LEADFEEDER_LOG={wanted.lower()!r} is not a log level.",
        "Write debug, info, warning or error, or json for JSON lines.",
    )
    if level is not None and not logger.handlers:
        handler = logging.StreamHandler()
        handler.addFilter(lambda _: not logging.getLogger().handlers)  # the program's handlers get each line too
        plain = logging.Formatter("%(asctime)s %(name)s %(message)s")
        handler.setFormatter(JsonFormatter() if wanted == "JSON" else plain)
        logger.addHandler(handler)
        logger.setLevel(level)
