"""The options that every command has: ``--quiet`` and ``--env-file``."""

from __future__ import annotations

import os
from pathlib import Path

from leadfeeder_async.errors import ConfigurationError, check_argument

HELP = (
    "Options of every command: --quiet (print messages only if the command fails), --env-file FILE (read environment "
    "variables such as LEADFEEDER_API_KEY from a file)."
)


def take_global_options(arguments: list[str]) -> tuple[list[str], bool, Path | None]:
    """Return the other arguments, True if ``--quiet`` is given, and the path in ``--env-file`` or None.

    Arguments after ``--`` are not options.

    Raises:
        ConfigurationError: ``--env-file`` has no value.
    """
    kept, is_quiet, env_file = list[str](), False, None
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
            env_file = Path(value)
        else:
            kept.append(argument)
    return kept, is_quiet, env_file


def load_env_file(path: Path) -> None:
    """Set the variables of a file with lines such as ``LEADFEEDER_API_KEY=...``. They replace existing variables.

    Raises:
        ConfigurationError: The file cannot be read, or a line is not a variable. The line is not shown.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigurationError(f"--env-file {path} cannot be read: {reason}.") from None
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            name, value = _parse_line(line)
            check_argument(
                name.isidentifier() and value is not None and "\0" not in value,
                f"Line {number} of {path} is not a variable (the line is not shown).",
                "Write NAME=value.",
            )
            os.environ[name] = value or ""


def _parse_line(line: str) -> tuple[str, str | None]:
    """Return the name and the value of a variable, without quotes and comments. The value is None if it is invalid."""
    name, separator, value = line.strip().removeprefix("export ").partition("=")
    name, value = name.strip(), value.strip()
    if not separator:
        return name, None
    if value[:1] not in {"'", '"'}:
        return name, value.partition(" #")[0].rstrip()
    quoted, end, rest = value[1:].partition(value[0])
    return name, quoted if end and rest.strip()[:1] in {"", "#"} else None
