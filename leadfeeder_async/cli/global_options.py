"""The options that every command has: ``--quiet`` and ``--env-file``."""

from __future__ import annotations

import os
import re
from pathlib import Path

from leadfeeder_async.errors import ConfigurationError, check_argument

HELP = (
    "Options of every command: --quiet (print messages only if the command fails), --env-file FILE (read environment "
    "variables such as LEADFEEDER_API_KEY from a file; may be repeated)."
)


_CREDENTIALS = ("LEADFEEDER_API_KEY", "LEADFEEDER_API_KEY_FILE", "LEADFEEDER_ACCESS_TOKEN")
"""The variables of which a client uses the first one that is set."""


def take_global_options(arguments: list[str]) -> tuple[list[str], bool, list[Path]]:
    """Return the other arguments, True if ``--quiet`` is given, and the path of each ``--env-file``.

    Arguments after ``--`` are not options.

    Raises:
        ConfigurationError: ``--env-file`` has no value.
    """
    kept, is_quiet, env_files = list[str](), False, list[Path]()
    rest = iter(arguments)
    for argument in rest:
        name, separator, value = argument.partition("=")
        if argument == "--":
            kept += [argument, *rest]
        elif argument == "--quiet":
            is_quiet = True
        elif name == "--env-file":
            value = value if separator else next(rest, "")
            check_argument(value, "--env-file needs the path of a file.")
            env_files.append(Path(value))
        else:
            kept.append(argument)
    return kept, is_quiet, env_files


def load_env_file(path: Path) -> None:
    """Set the variables of a file with lines such as ``LEADFEEDER_API_KEY=...``. They replace existing variables.

    A key, key file or access token replaces all three, so that the credential of the file is the one that is used.

    Raises:
        ConfigurationError: The file cannot be read, or a line is not a variable. The line is not shown.
    """
    from leadfeeder_async.settings import decode_text  # imports asyncio

    try:
        text = decode_text(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigurationError(f"--env-file {path} cannot be read: {reason}.") from None
    variables = dict[str, str]()
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _parse_line(line)
            check_argument(
                name.isidentifier() and value is not None and "\0" not in value,
                f"Line {number} of {path} is not a variable (the line is not shown).",
                "Write NAME=value.",
            )
            variables[name] = value or ""
    if any(map(variables.get, _CREDENTIALS)):
        for name in _CREDENTIALS:
            os.environ.pop(name, None)
    os.environ.update(variables)


_EXPORT = re.compile(r"^\s*(?:export\s+|\$env:)", re.IGNORECASE)
"""The beginning of a line that sets a variable in a POSIX shell, or in PowerShell."""

_COMMENT = re.compile(r"(?:^|(?<=\s))#.*")
"""A comment after a value without quotes."""


def _parse_line(line: str) -> tuple[str, str | None]:
    """Return the name and the value of a variable, without quotes and comments. The value is None if it is invalid."""
    name, separator, value = _EXPORT.sub("", line).partition("=")
    name, value = name.strip(), value.strip()
    if not separator:
        return name, None
    if value[:1] not in {"'", '"'}:
        return name, _COMMENT.sub("", value).rstrip()
    quoted, end, rest = value[1:].partition(value[0])
    return name, quoted if end and rest.strip()[:1] in {"", "#"} else None
