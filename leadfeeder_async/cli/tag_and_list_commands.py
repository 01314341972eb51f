"""``leadfeeder tags`` and ``leadfeeder lists``: show and change tags and lists. Changes must be confirmed."""

from __future__ import annotations

from collections.abc import AsyncIterable, Sized
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from leadfeeder_async.cli.confirmation import check_can_confirm, confirm
from leadfeeder_async.cli.exit_codes import ExitCode
from leadfeeder_async.cli.export_job import resume_hint
from leadfeeder_async.cli.id_input import choose_ids
from leadfeeder_async.cli.input_files import check_output_is_not_input
from leadfeeder_async.cli.named_records import (
    check_name_is_free,
    delete_found,
    find_by_id_or_name,
    find_to_rename,
    name_and_id,
)
from leadfeeder_async.cli.options import (
    DEFAULT_OUTPUT,
    FLAG,
    OPTIONS_GROUP,
    AccountId,
    DisplayOptions,
    MaxRows,
    Out,
    Overwrite,
    Scope,
    Yes,
)
from leadfeeder_async.cli.printing import plural, pluralize, print_err
from leadfeeder_async.cli.progress_bar import progress_bar
from leadfeeder_async.cli.record_tables import schema_of, schema_of_names, show_list, show_records, to_record
from leadfeeder_async.cli.shell import quote_argument
from leadfeeder_async.client import AsyncLeadfeeder
from leadfeeder_async.errors import check_argument
from leadfeeder_async.jobs.bulk.change_results import BulkOutcome, BulkSummary
from leadfeeder_async.jobs.progress import OnProgress, ProgressTracker
from leadfeeder_async.models.tags_and_lists import List, Tag

if TYPE_CHECKING:
    from leadfeeder_async.jobs.bulk.bulk_change import BulkChange  # imports anyio

tags = App(name="tags", help="Show and change the account's tags.", group_parameters=OPTIONS_GROUP)
lists = App(name="lists", help="Show and change the account's lists.", group_parameters=OPTIONS_GROUP)

TAG = schema_of(Tag, {"id": "id", "name": "name", "color": "color"})
LIST_ITEM = schema_of_names("id", "type")
LIST = schema_of(List, {"id": "id", "name": "name", "scope": "scope", "item_count": "items"})


TagName = Annotated[str, Parameter(help="The id or name of the tag.")]
NewName = Annotated[str, Parameter(help="The new name.")]
ListName = Annotated[str, Parameter(help="The id or name of the list.")]
_IDS = Parameter(allow_leading_hyphen=True, negative=())  # for `-`
TaggedIds = Annotated[list[str] | None, _IDS, Parameter(help="The ids of the companies, or `-` for stdin.")]
ListedIds = Annotated[
    list[str] | None,
    _IDS,
    Parameter(help="The ids of the companies, or of the contacts with --scope contact, or `-` for stdin."),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class BulkOptions:
    """Options of commands that change many records."""

    ids: Annotated[
        str | None,
        Parameter(
            allow_leading_hyphen=True,
            help="A file of ids, or `-` for stdin: JSON lines, CSV with a header, or one id per line.",
        ),
    ] = None
    column: Annotated[str | None, Parameter(help="The column or JSON key of the id. Default: detected.")] = None
    out: Annotated[Out, Parameter(help="Write the outcome of each id to this file: .ndjson, .csv or .parquet.")] = None
    resume: Annotated[bool, FLAG, Parameter(help="Continue an unfinished change with the same ids and --out.")] = False
    overwrite: Overwrite = False


DEFAULT_BULK = BulkOptions()


@tags.command(name="list")
async def list_tags(*, account_id: AccountId = None, output: DisplayOptions = DEFAULT_OUTPUT) -> None:
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
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Create a tag. Fails if a tag with this name exists.

    Credits: none.
    """
    TAG.check_fields(output)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        check_name_is_free(name, await lf.tags.list().collect(), "tag")
        if not await confirm(f"Create the tag {name!r}?", yes=yes):
            return ExitCode.INCOMPLETE
        created = (await lf.tags.create(name=name, color=color)).data
    show_records([to_record(created)], TAG, output, "tag")
    return ExitCode.SUCCESS


@tags.command(name="rename")
async def rename_tag(
    tag: TagName,
    new_name: NewName,
    /,
    *,
    yes: Yes = False,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Rename a tag. Fails if another tag has this name.

    Credits: none.
    """
    TAG.check_fields(output)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_to_rename(tag, new_name, await lf.tags.list().collect(), "tag")
        if not await confirm(f"Rename the tag {name_and_id(selected)} to {new_name!r}?", yes=yes):
            return ExitCode.INCOMPLETE
        renamed = (await lf.tags.update(selected.id, name=new_name)).data
    show_records([to_record(renamed)], TAG, output, "tag")
    return ExitCode.SUCCESS


@tags.command(name="delete")
async def delete_tag(tag: TagName, /, *, yes: Yes = False, account_id: AccountId = None) -> ExitCode:
    """Delete a tag and remove it from all companies.

    Credits: none.
    """
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(tag, await lf.tags.list().collect(), "tag")
        question = f"Delete the tag {name_and_id(selected)} and remove it from all companies?"
        if not await confirm(question, yes=yes):
            return ExitCode.INCOMPLETE
        await delete_found(lf.tags.delete(selected.id))
    print_err(f"Deleted the tag {name_and_id(selected)}.")
    return ExitCode.SUCCESS


@tags.command(name="add")
async def add_tag(
    tag: TagName,
    company_ids: TaggedIds = None,
    /,
    *,
    bulk: BulkOptions = DEFAULT_BULK,
    yes: Yes = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Assign a tag to companies.

    If the server rejects an id, the command prints it or writes it to --out, changes the others, and exits with 5.

    Credits: none. One request per company.
    """
    ids = choose_ids(company_ids, bulk.ids, "company", bulk.column)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        create = f"`leadfeeder tags create {quote_argument(tag)}` creates it."
        selected = find_by_id_or_name(tag, await lf.tags.list().collect(), "tag", create)
        job = lf.bulk.assign_tags(ids, [selected.id])
        question = f"Assign the tag {name_and_id(selected)} to {_count(ids, 'company')}?"
        return await _run_bulk(lf, job, question, bulk, yes=yes)


@tags.command(name="remove")
async def remove_tag(
    tag: TagName,
    company_ids: TaggedIds = None,
    /,
    *,
    bulk: BulkOptions = DEFAULT_BULK,
    yes: Yes = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Remove a tag from companies. The tag itself is kept.

    If the server rejects an id, the command prints it or writes it to --out, changes the others, and exits with 5.

    Credits: none. One request per company.
    """
    ids = choose_ids(company_ids, bulk.ids, "company", bulk.column)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(tag, await lf.tags.list().collect(), "tag")
        job = lf.bulk.unassign_tags(ids, [selected.id])
        question = f"Remove the tag {name_and_id(selected)} from {_count(ids, 'company')}?"
        return await _run_bulk(lf, job, question, bulk, yes=yes)


@lists.command(name="list")
async def list_lists(
    *, scope: Scope = "company", account_id: AccountId = None, output: DisplayOptions = DEFAULT_OUTPUT
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
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Create a list. Fails if a list with this name exists.

    Credits: none.
    """
    LIST.check_fields(output)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        check_name_is_free(name, await lf.lists.list(scope=scope).collect(), "list")
        if not await confirm(f"Create the {scope} list {name!r}?", yes=yes):
            return ExitCode.INCOMPLETE
        created = (await lf.lists.create(name=name, scope=scope)).data
    show_records([to_record(created)], LIST, output, "list")
    return ExitCode.SUCCESS


@lists.command(name="rename")
async def rename_list(
    name: ListName,
    new_name: NewName,
    /,
    *,
    scope: Scope = "company",
    yes: Yes = False,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> ExitCode:
    """Rename a list. Fails if another list has this name.

    Credits: none.
    """
    LIST.check_fields(output)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_to_rename(name, new_name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        if not await confirm(f"Rename the {scope} list {name_and_id(selected)} to {new_name!r}?", yes=yes):
            return ExitCode.INCOMPLETE
        renamed = (await lf.lists.update(selected.id, name=new_name)).data
    show_records([to_record(renamed)], LIST, output, "list")
    return ExitCode.SUCCESS


@lists.command(name="delete")
async def delete_list(
    name: ListName, /, *, scope: Scope = "company", yes: Yes = False, account_id: AccountId = None
) -> ExitCode:
    """Delete a list. Its companies or contacts are not deleted.

    Credits: none.
    """
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        items = f" with {pluralize(selected.attributes.item_count, 'item')}" if selected.attributes.item_count else ""
        if not await confirm(f"Delete the {scope} list {name_and_id(selected)}{items}?", yes=yes):
            return ExitCode.INCOMPLETE
        await delete_found(lf.lists.delete(selected.id))
    print_err(f"Deleted the {scope} list {name_and_id(selected)}.")
    return ExitCode.SUCCESS


@lists.command(name="add")
async def add_to_list(
    name: ListName,
    ids: ListedIds = None,
    /,
    *,
    scope: Scope = "company",
    bulk: BulkOptions = DEFAULT_BULK,
    yes: Yes = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Add companies or contacts to a list.

    If the server rejects an id, the command prints it or writes it to --out, changes the others, and exits with 5.

    Credits: none. One request per record.
    """
    chosen = choose_ids(ids, bulk.ids, scope, bulk.column)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        create = f"`leadfeeder lists create {quote_argument(name)} --scope {scope}` creates it."
        selected = find_by_id_or_name(name, await lf.lists.list(scope=scope).collect(), f"{scope} list", create)
        job = lf.bulk.add_to_lists(chosen, [selected.id], scope=scope)
        question = f"Add {_count(chosen, scope)} to the list {name_and_id(selected)}?"
        return await _run_bulk(lf, job, question, bulk, yes=yes)


@lists.command(name="remove")
async def remove_from_list(
    name: ListName,
    ids: ListedIds = None,
    /,
    *,
    scope: Scope = "company",
    bulk: BulkOptions = DEFAULT_BULK,
    yes: Yes = False,
    account_id: AccountId = None,
) -> ExitCode:
    """Remove companies or contacts from a list. The list itself is kept.

    If the server rejects an id, the command prints it or writes it to --out, changes the others, and exits with 5.

    Credits: none. One request per record.
    """
    chosen = choose_ids(ids, bulk.ids, scope, bulk.column)
    check_can_confirm(yes=yes)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        job = lf.bulk.remove_from_lists(chosen, [selected.id], scope=scope)
        question = f"Remove {_count(chosen, scope)} from the list {name_and_id(selected)}?"
        return await _run_bulk(lf, job, question, bulk, yes=yes)


@lists.command(name="items")
async def list_items(
    name: ListName,
    /,
    *,
    scope: Scope = "company",
    limit: MaxRows = None,
    account_id: AccountId = None,
    output: DisplayOptions = DEFAULT_OUTPUT,
) -> None:
    """List the ids of the companies or contacts in a list.

    Credits: none.
    """
    LIST_ITEM.check_fields(output)
    async with AsyncLeadfeeder(account_id=account_id) as lf:
        selected = find_by_id_or_name(name, await lf.lists.list(scope=scope).collect(), f"{scope} list")
        await show_list(lf.lists.items(selected.id, limit=limit), LIST_ITEM, output, "item")


def _count(ids: Sized | AsyncIterable[str], noun: str) -> str:
    """Return the number of ids and a noun, or the source of the ids if their number is not known yet."""
    return pluralize(len(ids), noun) if isinstance(ids, Sized) else f"the {plural(noun)} from stdin"


async def _run_bulk(
    lf: AsyncLeadfeeder, job: BulkChange, question: str, options: BulkOptions, *, yes: bool
) -> ExitCode:
    """Ask for confirmation and run a job. Print the totals, also after an error, and without --out each failed id."""
    check_argument(options.out is not None or not options.resume, "--resume requires an output file.", "Add --out.")
    if options.ids is not None and options.ids != "-":
        check_output_is_not_input(Path(options.ids), options.out)
    if not await confirm(question, yes=yes):
        return ExitCode.INCOMPLETE
    with progress_bar("ids") as on_progress:
        try:
            if options.out is None:
                await _print_failures(job, ProgressTracker(lf.stats), on_progress)
            else:
                await _change_to_file(job, options.out, options, on_progress)
        except BaseException:
            hint = "" if options.out else " Run the same command again. It changes nothing twice."
            print_err(_describe(job.summary) + hint)
            raise
    print_err(_describe(job.summary) + (f" -> {options.out}" if options.out else ""))
    return ExitCode.INCOMPLETE if job.summary.not_changed else ExitCode.SUCCESS


async def _print_failures(job: BulkChange, tracker: ProgressTracker, on_progress: OnProgress) -> None:
    async with aclosing(aiter(job)) as results:
        async for result in results:
            if result.error is not None:
                print_err(f"{result.id}: {result.outcome}. {result.error.message}")
            on_progress(tracker.count(1, None))


async def _change_to_file(job: BulkChange, out: Path, options: BulkOptions, on_progress: OnProgress) -> None:
    from leadfeeder_async.jobs.bulk.bulk_change import BULK_CHANGE  # imports anyio

    with resume_hint(out, BULK_CHANGE, on_progress) as on_started:
        await job.to_file(out, resume=options.resume, overwrite=options.overwrite, on_progress=on_started)


def _describe(summary: BulkSummary) -> str:
    counts = {outcome: summary.outcomes[outcome] for outcome in BulkOutcome}
    total = f" of {summary.rows:,}" if summary.not_changed else ""
    rest = "".join(f", {count:,} {outcome}" for outcome, count in counts.items() if count and outcome != "changed")
    return f"{counts[BulkOutcome.CHANGED]:,}{total} changed{rest}."
