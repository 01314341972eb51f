"""Find the command line option that solves an error of the library.

The library's messages name Python arguments only. This module adds the options. It looks at the class of an error and
at its attributes, never at its text.
"""

from __future__ import annotations

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
    "encoding": "--encoding",
    "fields": "--fields",
    "limit": "--limit",
    "max_results_per_company": "--limit",
    "lookback_days": "--lookback",
    "max_credits": "--max-credits",
    "min_score": "--min-score",
    "sheet": "--sheet",
    "since": "--since",
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
