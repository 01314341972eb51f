"""The package's one logger: method, path template, outcome, attempt and time; never keys, queries or bodies."""

import logging
import os

logger = logging.getLogger("leadfeeder_async")


def log_to_stderr() -> None:
    """Show the lines on stderr where LEADFEEDER_LOG names a level, such as ``debug``."""
    level = logging.getLevelNamesMapping().get(os.environ.get("LEADFEEDER_LOG", "").upper())
    if level is not None and not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(name)s %(message)s"))
        logger.addHandler(handler)
        logger.setLevel(level)
