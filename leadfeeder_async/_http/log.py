"""The package's one logger: method, path template, outcome, attempt and time; never keys, queries or bodies."""

import logging

logger = logging.getLogger("leadfeeder_async")
