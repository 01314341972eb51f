"""``leadfeeder tags`` and ``leadfeeder lists``: see, make and fill them. Every change is asked for first."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Literal, Protocol

from cyclopts import App, Parameter

from leadfeeder_async.cli import INCOMPLETE
from leadfeeder_async.cli.record_tables import OutputOptions, record_of, schema_of, show, show_list
from leadfeeder_async.cli.terminal import print_note
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import ConfigurationError, check_argument
from leadfeeder_async.models.tags_and_lists import List, Tag

tags = App(name="tags", help="The account's tags: list and create them, put them on companies. Free.")
lists = App(name="lists", help="The account's lists of companies or contacts: list, create and fill them. Free.")

TAG = schema_of(Tag, {"id": "id", "name": "name", "color": "color"})
LIST = schema_of(List, {"id": "id", "name": "name", "scope": "scope", "item_count": "items"})

Yes = Annotated[bool, Parameter(negative=(), help="Do it without asking.")]
Scope = Annotated[Literal["company", "contact"], Parameter(help="Lists of companies, or of contacts.")]
Name = Annotated[str, Parameter(help="The name it gets.")]
TagName = Annotated[str, Parameter(help="The tag, by id or name.")]
ListName = Annotated[str, Parameter(help="The list, by id or name.")]
CompanyIds = Annotated[list[str], Parameter(negative=(), help="Ids of companies.")]
RecordIds = Annotated[list[str], Parameter(negative=(), help="Ids of companies, or of contacts with --scope contact.")]
Change = Callable[[str], Awaitable[object]]


class Named(Protocol):
    """What has an id and a name."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def name(self) -> str | None:
        """Its name."""
        ...


@tags.command(name="list")
async def list_tags(*, view: OutputOptions | None = None) -> None:
    """List the account's tags."""
    view = view or OutputOptions()
    TAG.chosen(view)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        await show_list(lf.tags.list(), TAG, view, "tags")


@tags.command(name="create")
async def create_tag(
    name: Name,
    /,
    *,
    color: Annotated[int | None, Parameter(help="A number from the palette, 0 to 9.")] = None,
    yes: Yes = False,
    view: OutputOptions | None = None,
) -> int:
    """Create a tag; refused where there is one of that name."""
    view = view or OutputOptions()
    _may_ask(yes=yes)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        check_name_is_free(name, await lf.tags.list().collect(), "tag")
        if not await _agreed(f"Create the tag {name!r}?", yes=yes):
            return INCOMPLETE
        made = (await lf.tags.create(name=name, color=color)).data
    show([record_of(made)], TAG, view, "tags")
    return 0


@tags.command(name="add")
async def add_tag(
    tag: TagName, company_ids: CompanyIds, /, *, yes: Yes = False, view: OutputOptions | None = None
) -> int:
    """Put a tag on companies; one that has it already keeps it."""
    _may_ask(yes=yes)
    async with AsyncLeadfeeder(account_id=(view or OutputOptions()).account_id) as lf:
        found = find_named(tag, await lf.tags.list().collect(), "tag")
        question = f"Put the tag {_shown(found)} on {_count(company_ids, 'company')}?"
        return await _change_all(company_ids, question, lambda one: lf.companies.assign_tags(one, [found.id]), yes=yes)


@tags.command(name="remove")
async def remove_tag(
    tag: TagName, company_ids: CompanyIds, /, *, yes: Yes = False, view: OutputOptions | None = None
) -> int:
    """Take a tag off companies; the tag itself stays."""
    _may_ask(yes=yes)
    async with AsyncLeadfeeder(account_id=(view or OutputOptions()).account_id) as lf:
        found = find_named(tag, await lf.tags.list().collect(), "tag")
        question = f"Take the tag {_shown(found)} off {_count(company_ids, 'company')}?"
        return await _change_all(
            company_ids, question, lambda one: lf.companies.unassign_tags(one, [found.id]), yes=yes
        )


@lists.command(name="list")
async def list_lists(*, scope: Scope = "company", view: OutputOptions | None = None) -> None:
    """List the account's lists of companies, or of contacts."""
    view = view or OutputOptions()
    LIST.chosen(view)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        await show_list(lf.lists.list(scope=scope), LIST, view, "lists")


@lists.command(name="create")
async def create_list(
    name: Name, /, *, scope: Scope = "company", yes: Yes = False, view: OutputOptions | None = None
) -> int:
    """Create a list of companies or of contacts; refused where there is one of that name."""
    view = view or OutputOptions()
    _may_ask(yes=yes)
    async with AsyncLeadfeeder(account_id=view.account_id) as lf:
        check_name_is_free(name, await lf.lists.list(scope=scope).collect(), "list")
        if not await _agreed(f"Create the {scope} list {name!r}?", yes=yes):
            return INCOMPLETE
        made = (await lf.lists.create(name=name, scope=scope)).data
    show([record_of(made)], LIST, view, "lists")
    return 0


@lists.command(name="add")
async def add_to_list(
    name: ListName, ids: RecordIds, /, *, scope: Scope = "company", yes: Yes = False, view: OutputOptions | None = None
) -> int:
    """Put companies or contacts on a list; one that is there already stays."""
    _may_ask(yes=yes)
    async with AsyncLeadfeeder(account_id=(view or OutputOptions()).account_id) as lf:
        found = find_named(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        add = lf.companies.add_to_lists if scope == "company" else lf.contacts.add_to_lists
        question = f"Put {_count(ids, scope)} on the list {_shown(found)}?"
        return await _change_all(ids, question, lambda one: add(one, [found.id]), yes=yes)


@lists.command(name="remove")
async def remove_from_list(
    name: ListName, ids: RecordIds, /, *, scope: Scope = "company", yes: Yes = False, view: OutputOptions | None = None
) -> int:
    """Take companies or contacts off a list; the list itself stays."""
    _may_ask(yes=yes)
    async with AsyncLeadfeeder(account_id=(view or OutputOptions()).account_id) as lf:
        found = find_named(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        remove = lf.companies.remove_from_lists if scope == "company" else lf.contacts.remove_from_lists
        question = f"Take {_count(ids, scope)} off the list {_shown(found)}?"
        return await _change_all(ids, question, lambda one: remove(one, [found.id]), yes=yes)


def find_named(wanted: str, known: Sequence[Named], kind: str) -> Named:
    """Return the one that is meant: by id, or else by name in any case; raise where none or several are."""
    found = [one for one in known if one.id == wanted]
    found = found or [one for one in known if _same(one, wanted)]
    if len(found) == 1:
        return found[0]
    choices = ", ".join(map(_shown, found or known)) or "none"
    said = f"There is no {kind} {wanted!r}." if not found else f"{len(found)} {kind}s are called {wanted!r}."
    raise ConfigurationError(said, hint=f"{'Give the id' if found else 'There are'}: {choices}.")


def check_name_is_free(name: str, known: Sequence[Named], kind: str) -> None:
    """Raise where there is one of that name already: the API would make a second."""
    existing = [one for one in known if _same(one, name)]
    check_argument(not existing, f"There is a {kind} of that name: {', '.join(map(_shown, existing))}.")


def _same(one: Named, name: str) -> bool:
    return (one.name or "").casefold().strip() == name.casefold().strip()


def _shown(one: Named) -> str:
    return f"{one.name!r} ({one.id})"


def _count(ids: Sequence[str], noun: str) -> str:
    several = {"company": "companies"}.get(noun, f"{noun}s")
    return f"{len(ids):,} {noun if len(ids) == 1 else several}"


async def _change_all(ids: Sequence[str], question: str, change: Change, *, yes: bool) -> int:
    """Ask, then change one record after the other; say how far it came, whatever ends it."""
    if not await _agreed(question, yes=yes):
        return INCOMPLETE
    done = 0
    try:
        for one in ids:
            await change(one)
            done += 1
    finally:
        print_note(f"{done:,} of {len(ids):,} changed." if done < len(ids) else f"{done:,} changed.")
    return 0


def _may_ask(*, yes: bool) -> None:
    """Refuse before anything is sent where no one is there to be asked."""
    check_argument(
        yes or (sys.stdin.isatty() and sys.stderr.isatty()),
        "This changes the account, and there is no terminal to ask on.",
        "Add --yes to do it without asking.",
    )


async def _agreed(question: str, *, yes: bool) -> bool:
    if yes:
        return True
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if (await _line()).strip().lower() in {"y", "yes"}:
        return True
    print_note("Nothing was changed.")
    return False


async def _line() -> str:
    """Wait for a line on the terminal, so that Ctrl-C is heard meanwhile."""
    loop, typed = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(sys.stdin, typed.set)
    try:
        await typed.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
