"""The command line options that are printed after errors of the library."""

from __future__ import annotations

import pytest

from leadfeeder_async import errors
from leadfeeder_async.cli.error_options import describe_error, name_options, option_hint
from tests.cli.command import leadfeeder


def checkpoint_error(reason: str) -> errors.CheckpointError:
    error = errors.CheckpointError("x")
    error.reason = reason
    return error


def argument_error(argument: str) -> errors.ConfigurationError:
    error = errors.ConfigurationError("x")
    error.argument = argument
    return error


def database_error(reason: str) -> errors.DatabaseError:
    error = errors.DatabaseError("x")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        (checkpoint_error("exists"), "On the command line, use --overwrite."),
        (checkpoint_error("unfinished"), "On the command line, use --resume or --overwrite."),
        (checkpoint_error("other_job"), "On the command line, use --overwrite without --resume."),
        (checkpoint_error("locked"), None),
        (errors.BudgetExceededError("x"), "On the command line, use --max-credits."),
        (argument_error("column"), "The command line option is --column."),
        (argument_error("account_id"), "The command line option is --account-id."),
        (argument_error("base_url"), None),
        (errors.ConfigurationError("x"), None),
        (
            errors.MissingKeyError("x"),
            "`leadfeeder login` stores a key. To try the command without an account, run `leadfeeder sandbox`.",
        ),
        (database_error("missing"), "`leadfeeder sync` creates and updates the database."),
        (errors.DatabaseLockedError("x"), None),
        (errors.NotFoundError("x"), None),
    ],
)
def test_option_hint(error: errors.LeadfeederError, hint: str | None) -> None:
    """The hint depends on the class and the attributes of an error."""
    assert option_hint(error) == hint


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Choose another path, or pass overwrite=True.", "Choose another path, or pass --overwrite."),
        ("pass overwrite=True without resume or retry_failed.", "pass --overwrite without --resume or --retry-failed."),
        ("Pass column= with one of these names.", "Pass --column with one of these names."),
        ("run a sync with lookback_days=12 once.", "run a sync with --lookback 12 once."),
        ("since='1.1.2026' is not a date", "--since '1.1.2026' is not a date"),
        ('Pass csv_dialect="excel", or encoding="cp1252".', 'Pass --excel, or --encoding "cp1252".'),
        ("GET https://a.test/?limit=5&by=3 and --column=x", "GET https://a.test/?limit=5&by=3 and --column=x"),
        ("A resume of the job", "A resume of the job"),
        ("hive/since=2026-11-01/retry_failed.csv, 'limit=10'", "hive/since=2026-11-01/retry_failed.csv, 'limit=10'"),
    ],
)
def test_options_in_place_of_arguments(text: str, expected: str) -> None:
    """A message names the options of the command line, and no argument of Python."""
    assert name_options(text) == expected


def test_named_option_is_not_repeated() -> None:
    """The line with the option is only added if the message does not name it."""
    error = checkpoint_error("exists")
    assert describe_error(error).count("--overwrite") == 1
    named = errors.CheckpointError("since=a/x exists.", hint="Pass overwrite=True.", reason="exists")
    assert describe_error(named) == "since=a/x exists. Pass --overwrite."


def test_texts_of_the_user_are_not_changed() -> None:
    """Only the hint, and an argument at the beginning of the message, get the name of an option."""
    error = errors.ConfigurationError("There is no tag retry_failed or limit=10.", hint="Pass limit=3.")
    assert describe_error(error) == "There is no tag retry_failed or limit=10. Pass --limit 3."
    error = errors.ConfigurationError("limit=-1 must be 0 or more.", hint="", argument="limit")
    assert describe_error(error).startswith("--limit -1 must be 0 or more.")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("export visits since 7d", "takes only options, so 'since' has no meaning here. Did you mean --since?"),
        ("companies get 1 2", "takes one argument, COMPANY_ID, so '2' has no meaning here."),
        ("tags list Key accounts", "put the value in quotes"),
        ("export visits --sinc 7d", "Did you mean --since?"),
        ("exprt visits", 'Did you mean "export"?'),
        ("companies get", "COMPANY_ID requires an argument.\nRun `leadfeeder companies get --help`"),
    ],
)
async def test_command_line_that_cannot_be_parsed(words: str, message: str) -> None:
    """The message names the option or argument that helps."""
    code, _, stderr = await leadfeeder(None, *words.split())
    assert (code, message in stderr, "Unused Tokens" in stderr) == (2, True, False), stderr
