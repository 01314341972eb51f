"""Describe errors of the library to a user of the command line.

The library's messages name Python arguments only. This module prints the options in their place, and adds the option or
command that solves an error. That depends on the class and the attributes of the error, never on its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from leadfeeder_async.errors import (
    BudgetExceededError,
    CheckpointError,
    ConfigurationError,
    DatabaseError,
    DecodeError,
    InsufficientCreditsError,
    LeadfeederError,
    MissingKeyError,
    PermissionDeniedError,
    QuotaExceededError,
)

_CHECKPOINT: Mapping[str | None, str] = {
    "exists": "--overwrite",
    "finished": "--retry-failed or --overwrite",
    "replaces_unfinished": "--resume and --overwrite",
    "unfinished": "--resume or --overwrite",
    "not_finished": "--resume",
    "other_job": "--overwrite without --resume",
    "other_version": "--overwrite without --resume",
    "input_changed": "--overwrite without --resume",
    "damaged": "--overwrite without --resume",
    "not_a_file": "the path of a regular file. An export without --out writes to stdout",
}
"""The options for each ``reason`` of a CheckpointError."""

_ARGUMENTS: Mapping[str | None, str] = {
    "account_id": "--account-id",
    "by": "--by",
    "column": "--column",
    "csv_dialect": "--excel",
    "custom_feed_id": "--feed",
    "encoding": "--encoding",
    "every": "--every",
    "fields": "--fields",
    "limit": "--limit",
    "max_results_per_company": "--limit",
    "lookback_days": "--lookback",
    "max_credits": "--max-credits",
    "min_score": "--min-score",
    "sheet": "--sheet",
    "since": "--since",
    "state": "--state",
    "tz": "--tz",
    "until": "--until",
    "wait": "--wait",
}
"""The option for each ``argument`` of a ConfigurationError."""

_COMMANDS: tuple[tuple[type[LeadfeederError], str], ...] = (
    (
        MissingKeyError,
        "`leadfeeder login` stores a key. To try the command without an account, run `leadfeeder sandbox`.",
    ),
    (PermissionDeniedError, "If the account is wrong, `leadfeeder accounts` lists the accounts of the key."),
    (InsufficientCreditsError, "`leadfeeder doctor` shows the balance and the date of the next reset."),
    (QuotaExceededError, "`leadfeeder usage` shows the requests of this month."),
    (DecodeError, "`leadfeeder doctor --bundle report.json` writes a report without personal data to attach."),
)
"""The command that helps with each class of errors."""

_DATABASE_REASONS = frozenset({"missing", "not_synced"})
"""The ``reason`` of each DatabaseError that a sync corrects."""


_FLAG = re.compile(
    r"(?<![\w.?&'\"/-])(?:(allow_free_mail|overwrite|resume|retry_failed)=True|(retry_failed)|(?<=without )resume)"
    r"(?![\w'\"/]|\.\w)"
)
_OPTION = re.compile(rf"(?<![\w.?&'\"/-])({'|'.join(name for name in _ARGUMENTS if name)})=(?=(.?))")


def describe_error(error: LeadfeederError) -> str:
    """Return the lines to print for an error: its message and hint with options, and the option that solves it."""
    text, hint = str(error), option_hint(error)
    if error.hint:
        text = text.removesuffix(error.hint) + name_options(error.hint)
    argument = error.argument if isinstance(error, ConfigurationError) else None
    if argument in _ARGUMENTS and text.startswith(f"{argument}="):  # other parts can be texts of the user
        text = f"{_ARGUMENTS[argument]} {text.removeprefix(f'{argument}=')}"
    options = re.findall(r"--[a-z-]+", hint or "")
    is_named = bool(options) and all(re.search(rf"{option}\b", text) for option in options)
    return text if hint is None or is_named else f"{text}\n{hint}"


def name_options(text: str) -> str:
    """Return a text with the options of the command line in place of the arguments of Python."""
    text = text.replace('csv_dialect="excel"', "--excel")
    text = _FLAG.sub(lambda found: "--" + (found[1] or found[2] or "resume").replace("_", "-"), text)
    return _OPTION.sub(lambda found: _ARGUMENTS[found[1]] + ("" if found[2] in " .,)" else " "), text)


def option_hint(error: LeadfeederError) -> str | None:
    """Return a sentence with the option or command that solves an error, or None if there is none."""
    if isinstance(error, CheckpointError) and error.reason in _CHECKPOINT:
        return f"On the command line, use {_CHECKPOINT[error.reason]}."
    if isinstance(error, BudgetExceededError):
        return "On the command line, use --max-credits."
    if isinstance(error, ConfigurationError) and error.argument in _ARGUMENTS:
        return f"The command line option is {_ARGUMENTS[error.argument]}."
    if isinstance(error, DatabaseError) and error.reason in _DATABASE_REASONS:
        return "`leadfeeder sync` creates and updates the database."
    return next((command for kind, command in _COMMANDS if isinstance(error, kind)), None)
