"""``leadfeeder feeds``: show and change custom feeds. Changes must be confirmed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import App, Parameter
from msgspec import UNSET

from leadfeeder_async._core.normalize import UNREADABLE
from leadfeeder_async.cli.confirmation import check_can_confirm, confirm
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.input_files import read_text
from leadfeeder_async.cli.named_records import delete_found, find_by_id_or_name, name_and_id
from leadfeeder_async.cli.options import DEFAULT_OUTPUT, OPTIONS_GROUP, AccountId, DisplayOptions, Yes
from leadfeeder_async.cli.printing import print_err
from leadfeeder_async.cli.record_tables import schema_of, show_list, show_record, to_record
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.custom_feeds import CustomFeed

feeds = App(name="feeds", help="Show and change the account's custom feeds.", group_parameters=OPTIONS_GROUP)

FEED = schema_of(CustomFeed, {"id": "id", "name": "name", "updated_at": "updated", "folder.id": "folder"})

FeedName = Annotated[str, Parameter(help="The id or name of the feed.")]
FilterFile = Annotated[
    Path | None,
    Parameter(help="A JSON file with the filters in the API's format. `feeds get` prints those of another feed."),
]


@feeds.command(name="list")
async def list_feeds(*, account_id: AccountId = None, output: DisplayOptions = DEFAULT_OUTPUT) -> None:
    """List the account's custom feeds.

    Credits: none.
    """
    FEED.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        await show_list(lf.custom_feeds.list(), FEED, output, "feed")


@feeds.command(name="get")
async def get_feed(feed: FeedName, /, *, account_id: AccountId = None, output: DisplayOptions = DEFAULT_OUTPUT) -> None:
    """Show a custom feed and its filters.

    Credits: none.
    """
    FEED.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(feed, await lf.custom_feeds.list().collect(), "feed")
        found = (await lf.custom_feeds.get(selected.id)).data
    show_record(to_record(found), FEED, output)


@feeds.command(name="create")
async def create_feed(
    name: Annotated[str, Parameter(help="The name of the new feed.")],
    /,
    *,
    filters: FilterFile = None,
    yes: Yes = False,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Create a custom feed.

    Credits: none.
    """
    FEED.check_fields(output)
    check_can_confirm(yes=yes)
    value = UNSET if filters is None else read_filters(filters)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        if not await confirm(f"Create the feed {name!r}?", yes=yes):
            return ExitCode.INCOMPLETE
        created = (await lf.custom_feeds.create(name=name, filters=value)).data
    show_record(to_record(created), FEED, output)
    return ExitCode.SUCCESS


@feeds.command(name="update")
async def update_feed(
    feed: FeedName,
    /,
    *,
    name: Annotated[str | None, Parameter(help="The new name.")] = None,
    filters: FilterFile = None,
    yes: Yes = False,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Change the name or the filters of a custom feed.

    Credits: none.
    """
    FEED.check_fields(output)
    check_argument(name is not None or filters is not None, "Nothing to change.", "Add --name or --filters.")
    check_can_confirm(yes=yes)
    value = UNSET if filters is None else read_filters(filters)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(feed, await lf.custom_feeds.list().collect(), "feed")
        if not await confirm(f"Change the feed {name_and_id(selected)}?", yes=yes):
            return ExitCode.INCOMPLETE
        changed = await lf.custom_feeds.update(selected.id, name=UNSET if name is None else name, filters=value)
    show_record(to_record(changed.data), FEED, output)
    return ExitCode.SUCCESS


@feeds.command(name="delete")
async def delete_feed(feed: FeedName, /, *, yes: Yes = False, account_id: AccountId = None) -> ExitCode:
    """Delete a custom feed. Its visits are kept.

    Credits: none.
    """
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(feed, await lf.custom_feeds.list().collect(), "feed")
        if not await confirm(f"Delete the feed {name_and_id(selected)}?", yes=yes):
            return ExitCode.INCOMPLETE
        await delete_found(lf.custom_feeds.delete(selected.id))
    print_err(f"Deleted the feed {name_and_id(selected)}.")
    return ExitCode.SUCCESS


def read_filters(path: Path) -> object:
    """Return the JSON value of a file.

    Raises:
        ConfigurationError: The file cannot be read, or is not valid JSON.

    """
    try:
        return msgspec.json.decode(read_text(path))
    except UNREADABLE as error:
        hint = "Write one JSON object with the filters. `leadfeeder feeds get` prints those of a feed."
        raise ConfigurationError(f"{path} is not valid JSON: {error}.", hint=hint) from None
