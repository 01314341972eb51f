"""Read a file that an option names."""

from __future__ import annotations

from pathlib import Path

from leadfeeder_async.errors import ConfigurationError


def read_json_file(path: Path) -> bytes:
    """Return the content of a file, or raise ConfigurationError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}.") from None
