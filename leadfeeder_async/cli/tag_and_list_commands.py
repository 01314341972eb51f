"""``leadfeeder tags`` and ``leadfeeder lists``: show and change tags and lists. Changes must be confirmed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Protocol

from cyclopts import App, Parameter

from leadfeeder_async.cli import terminal
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.options import (
    DEFAULT_OUTPUT,
    FLAG,
    OPTIONS_GROUP,
    REPEATABLE,
    AccountId,
    OutputOptions,
    Scope,
)
from leadfeeder_async.cli.printing import plural, pluralize, print_err
from leadfeeder_async.cli.record_tables import schema_of, show_list, show_records, to_record
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.tags_and_lists import List, Tag

tags = App(name="tags", help="Show and change the account's tags.", group_parameters=OPTIONS_GROUP)
lists = App(name="lists", help="Show and change the account's lists.", group_parameters=OPTIONS_GROUP)

TAG = schema_of(Tag, {"id": "id", "name": "name", "color": "color"})
LIST = schema_of(List, {"id": "id", "name": "name", "scope": "scope", "item_count": "items"})

NO_TERMINAL = "This command changes the account, and there is no terminal to ask for confirmation."

Yes = Annotated[bool, FLAG, Parameter(help="Do not ask for confirmation.")]
TagName = Annotated[str, Parameter(help="The id or name of the tag.")]
ListName = Annotated[str, Parameter(help="The id or name of the list.")]
TaggedIds = Annotated[list[str], REPEATABLE, Parameter(help="The ids of the companies.")]
ListedIds = Annotated[
    list[str], REPEATABLE, Parameter(help="The ids of the companies, or of the contacts with --scope contact.")
]


class Named(Protocol):
    """A record with an id and a name."""

    @property
    def id(self) -> str:
        """The id."""
        ...

    @property
    def name(self) -> str | None:
        """The name."""
        ...


@tags.command(name="list")
async def list_tags(*, account_id: AccountId = None, output: OutputOptions = DEFAULT_OUTPUT) -> None:
    """List the account's tags.

    Credits: none.
    """
    TAG.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        await show_list(lf.tags.list(), TAG, output, "tag")


@tags.command(name="create")
async def create_tag(
    name: Annotated[str, Parameter(help="The name of the new tag.")],
    /,
    *,
    color: Annotated[int | None, Parameter(help="The number of a color, from 0 to 9.")] = None,
    yes: Yes = False,
    account_id: AccountId = None,
    output: OutputOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Create a tag. Fails if a tag with this name exists.

    Credits: none.
    """
    TAG.check_fields(output)
    terminal.check_can_confirm(NO_TERMINAL, "Add --yes to confirm.", yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        check_name_is_free(name, await lf.tags.list().collect(), "tag")
        if not await terminal.confirm(f"Create the tag {name!r}?", "Nothing was changed.", yes=yes):
            return ExitCode.INCOMPLETE
        created = (await lf.tags.create(name=name, color=color)).data
    show_records([to_record(created)], TAG, output, "tag")
    return ExitCode.SUCCESS


@tags.command(name="add")
async def add_tag(
    tag: TagName, company_ids: TaggedIds, /, *, yes: Yes = False, account_id: AccountId = None
) -> ExitCode:
    """Assign a tag to companies.

    Credits: none.
    """
    terminal.check_can_confirm(NO_TERMINAL, "Add --yes to confirm.", yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(tag, await lf.tags.list().collect(), "tag")
        assign = lf.companies.assign_tags
        question = f"Assign the tag {_format(selected)} to {pluralize(len(company_ids), 'company')}?"
        return await _change_each(company_ids, question, lambda each: assign(each, [selected.id]), yes=yes)


@tags.command(name="remove")
async def remove_tag(
    tag: TagName, company_ids: TaggedIds, /, *, yes: Yes = False, account_id: AccountId = None
) -> ExitCode:
    """Remove a tag from companies. The tag itself is kept.

    Credits: none.
    """
    terminal.check_can_confirm(NO_TERMINAL, "Add --yes to confirm.", yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(tag, await lf.tags.list().collect(), "tag")
        question = f"Remove the tag {_format(selected)} from {pluralize(len(company_ids), 'company')}?"
        return await _change_each(
            company_ids, question, lambda each: lf.companies.unassign_tags(each, [selected.id]), yes=yes
        )


@lists.command(name="list")
async def list_lists(
    *, scope: Scope = "company", account_id: AccountId = None, output: OutputOptions = DEFAULT_OUTPUT
) -> None:
    """List the account's lists of companies or contacts.

    Credits: none.
    """
    LIST.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        await show_list(lf.lists.list(scope=scope), LIST, output, "list")


@lists.command(name="create")
async def create_list(
    name: Annotated[str, Parameter(help="The name of the new list.")],
    /,
    *,
    scope: Scope = "company",
    yes: Yes = False,
    account_id: AccountId = None,
    output: OutputOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Create a list. Fails if a list with this name exists.

    Credits: none.
    """
    LIST.check_fields(output)
    terminal.check_can_confirm(NO_TERMINAL, "Add --yes to confirm.", yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        check_name_is_free(name, await lf.lists.list(scope=scope).collect(), "list")
        if not await terminal.confirm(f"Create the {scope} list {name!r}?", "Nothing was changed.", yes=yes):
            return ExitCode.INCOMPLETE
        created = (await lf.lists.create(name=name, scope=scope)).data
    show_records([to_record(created)], LIST, output, "list")
    return ExitCode.SUCCESS


@lists.command(name="add")
async def add_to_list(
    name: ListName,
    ids: ListedIds,
    /,
    *,
    scope: Scope = "company",
    yes: Yes = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Add companies or contacts to a list.

    Credits: none.
    """
    terminal.check_can_confirm(NO_TERMINAL, "Add --yes to confirm.", yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        add = lf.companies.add_to_lists if scope == "company" else lf.contacts.add_to_lists
        question = f"Add {pluralize(len(ids), scope)} to the list {_format(selected)}?"
        return await _change_each(ids, question, lambda each: add(each, [selected.id]), yes=yes)


@lists.command(name="remove")
async def remove_from_list(
    name: ListName,
    ids: ListedIds,
    /,
    *,
    scope: Scope = "company",
    yes: Yes = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Remove companies or contacts from a list. The list itself is kept.

    Credits: none.
    """
    terminal.check_can_confirm(NO_TERMINAL, "Add --yes to confirm.", yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        remove = lf.companies.remove_from_lists if scope == "company" else lf.contacts.remove_from_lists
        question = f"Remove {pluralize(len(ids), scope)} from the list {_format(selected)}?"
        return await _change_each(ids, question, lambda each: remove(each, [selected.id]), yes=yes)


def find_by_id_or_name(wanted: str, known: Sequence[Named], kind: str) -> Named:
    """Return the record with this id, or the only one with this name, ignoring case.

    Raises:
        ConfigurationError: No record or several records have this name.

    """
    matches = [item for item in known if item.id == wanted] or [item for item in known if _has_name(item, wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        message = f"There are {len(matches)} {plural(kind)} with the name {wanted!r}."
        raise ConfigurationError(message, hint=f"Use the id instead: {_join(matches)}.")
    hint = f"Existing {plural(kind)}: {_join(known)}." if known else f"There are no {plural(kind)}."
    raise ConfigurationError(f"There is no {kind} {wanted!r}.", hint=hint)


def check_name_is_free(name: str, known: Sequence[Named], kind: str) -> None:
    """Raise ConfigurationError if a record has this name. The API would create a second one."""
    existing = [item for item in known if _has_name(item, name)]
    check_argument(not existing, f"A {kind} with this name exists: {_join(existing)}.")


def _has_name(item: Named, name: str) -> bool:
    return (item.name or "").casefold().strip() == name.casefold().strip()


def _format(item: Named) -> str:
    return f"{item.name!r} ({item.id})"


def _join(items: Sequence[Named]) -> str:
    return ", ".join(map(_format, items))


async def _change_each(
    ids: Sequence[str], question: str, change: Callable[[str], Awaitable[object]], *, yes: bool
) -> ExitCode:
    """Ask for confirmation and change one record after the other. Print how many were changed, also after an error."""
    if not await terminal.confirm(question, "Nothing was changed.", yes=yes):
        return ExitCode.INCOMPLETE
    changed = 0
    try:
        for each in ids:
            await change(each)
            changed += 1
    finally:
        print_err(f"{changed:,} of {len(ids):,} changed." if changed < len(ids) else f"{changed:,} changed.")
    return ExitCode.SUCCESS
