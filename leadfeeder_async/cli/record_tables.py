"""Records as people and pipes want them: a table on a terminal, JSON lines in a pipe, of the fields asked for.

A field is named as in exported tables: ``id``, the attributes by their own names (``address.city`` for what lies
deeper), and ``company.id`` and the like for related records.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias, TypeVar

import msgspec
from cyclopts import Parameter
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from leadfeeder_async.cli.terminal import print_note, print_out
from leadfeeder_async.errors import LeadfeederError, check_argument
from leadfeeder_async.jobs.tabular import Json, columns_of
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import raise_problems

T = TypeVar("T", bound=HasId)

Record: TypeAlias = "dict[str, Json]"

NARROWEST = 8
"""A column of texts is cut to no less than this many cells."""

GUTTER = 2
"""Cells between two columns."""

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder()

Fields = Annotated[
    str | None, Parameter(help="Show these fields only, such as `name,address.city`; a wrong one lists them all.")
]
JsonLines = Annotated[bool, Parameter(name="--json", negative=(), help="Print JSON lines on a terminal too.")]
AccountId = Annotated[str | None, Parameter(help="The account; needed where the key has several.")]


@Parameter(name="*")
class OutputOptions:
    """How records are shown, the same for every command."""

    def __init__(self, *, fields: Fields = None, json: JsonLines = False, account_id: AccountId = None) -> None:
        self.fields, self.json, self.account_id = fields, json, account_id

    @property
    def as_json(self) -> bool:
        """Whether JSON lines are printed: where no one looks, or where they are asked for."""
        return self.json or not sys.stdout.isatty()


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The fields that records of one kind have, and the columns of their table."""

    paths: Mapping[str, tuple[str, ...]]
    """The keys that lead to each field's value."""
    columns: Mapping[str, str]
    """The columns, and what stands above them."""
    never_truncated: frozenset[str] = field(default=frozenset({"id"}))
    """Columns that are never cut."""

    def chosen(self, view: OutputOptions) -> dict[str, str]:
        """Return the columns to show, and what stands above them; raise before anything is sent if one is unknown."""
        if view.fields is None:
            return dict(self.columns)
        names = [name.strip() for name in view.fields.split(",")]
        unknown = [name for name in names if name not in self.paths]
        said = f"--fields: {', '.join(map(repr, unknown))} is not a field here."
        check_argument(not unknown, said, f"There are: {', '.join(self.paths)}.")
        return {name: name for name in names}


def schema_of(model: type[object], shown: Mapping[str, str], whole: Sequence[str] = ("id",)) -> TableSchema:
    """Return the shape of a model's records: every field of an exported table, and the objects that hold them."""
    ways = dict[str, tuple[str, ...]]()
    for column in columns_of(model):
        skipped = 0 if column.name == "id" else 1
        for length in range(skipped + 1, len(column.path) + 1):
            ways.setdefault(".".join(column.path[skipped:length]), column.path[:length])
    return TableSchema(ways, shown, frozenset(whole))


def flat(*names: str, whole: Sequence[str] = ("id",)) -> TableSchema:
    """Return the shape of records made here: each field under its own name."""
    return TableSchema({name: (name,) for name in names}, {name: name for name in names}, frozenset(whole))


def record_of(thing: object) -> Record:
    """Return a Struct or a mapping as JSON has it."""
    return _DECODER.decode(msgspec.json.encode(thing))


async def show_list(pager: Pager[T], shape: TableSchema, view: OutputOptions, noun: str, *, more: str = "") -> None:
    """Fetch a list and show it; where the server counts more than its limit let through, say so."""
    shape.chosen(view)
    records, problems, total = list[Record](), list[LeadfeederError](), None
    async with aclosing(pager.raw_pages()) as pages:
        async for page in pages:
            records += map(_DECODER.decode, page.items)
            problems += page.problems
            total = page.total if total is None else total
    show(records, shape, view, noun)
    if total is not None and total > len(records) + len(problems):
        print_note(f"{len(records):,} of {total:,} {noun}. {more}".rstrip())
    raise_problems(problems)


def show(records: Sequence[Record], shape: TableSchema, view: OutputOptions, noun: str) -> None:
    """Show records: a table on a terminal, JSON lines in a pipe; what is too wide for a table comes one by one."""
    columns = shape.chosen(view)
    if view.as_json:
        _print_lines(records, shape, view)
        return
    if not records:
        print_note(f"No {noun}.")
        return
    console = Console()
    table = table_of(records, shape, columns, console.width)
    console.print(table or Group(*(Group(_block_of(record, shape, columns), "") for record in records)))


def show_one(record: Record, shape: TableSchema, view: OutputOptions) -> None:
    """Show one record: a line for each field that has a value, or one JSON line."""
    if view.as_json:
        _print_lines([record], shape, view)
        return
    names = shape.chosen(view) if view.fields is not None else _leaves(shape)
    shown = [name for name in names if view.fields or text_of(value_at(record, shape.paths[name]))]
    Console().print(_block_of(record, shape, {name: name for name in shown}))


def _block_of(record: Record, shape: TableSchema, columns: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="ellipsis", no_wrap=True)
    for name, title in columns.items():
        grid.add_row(title, Text(text_of(value_at(record, shape.paths[name]))))
    return grid


def _leaves(shape: TableSchema) -> list[str]:
    inner = {way[:length] for way in shape.paths.values() for length in range(1, len(way))}
    return [name for name, way in shape.paths.items() if way not in inner]


def _print_lines(records: Sequence[Record], shape: TableSchema, view: OutputOptions) -> None:
    names = None if view.fields is None else shape.chosen(view)
    for record in records:
        line = record if names is None else {name: value_at(record, shape.paths[name]) for name in names}
        print_out(msgspec.json.encode(line).decode())


def table_of(records: Sequence[Record], shape: TableSchema, columns: Mapping[str, str], room: int) -> Table | None:
    """Return a table of at most ``room`` cells, or None where its columns cannot get narrow enough.

    Texts are cut with …, never wrapped; numbers and ids stay whole.
    """
    values = {name: [value_at(record, shape.paths[name]) for record in records] for name in columns}
    numeric = {name for name in columns if _are_numbers(values[name])}
    wide = {name: max(_width(text_of(value)) for value in values[name]) for name in columns}
    natural = [max(wide[name], _width(title)) for name, title in columns.items()]
    kept = numeric | shape.never_truncated
    least = [max(wide[name], 3) if name in kept else min(wide[name], NARROWEST) for name in columns]
    widths = fit(natural, least, room - GUTTER * (len(columns) - 1))
    if widths is None:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for (name, title), width in zip(columns.items(), widths, strict=True):
        justify: Literal["left", "right"] = "right" if name in numeric else "left"
        table.add_column(Text(title), justify=justify, no_wrap=True, overflow="ellipsis", width=width)
    for row in zip(*values.values(), strict=True):
        table.add_row(*(Text(text_of(value)) for value in row))
    return table


def fit(natural: Sequence[int], least: Sequence[int], room: int) -> list[int] | None:
    """Return widths that sum up to ``room`` at most: the widest give way first; None where even the least are more."""
    if sum(least) > room:
        return None
    widths = list(natural)
    while sum(widths) > room:
        spare = [width if width > low else 0 for width, low in zip(widths, least, strict=True)]
        widths[spare.index(max(spare))] -= 1
    return widths


def _width(text: str) -> int:
    return Text(text).cell_len


def value_at(record: Record, way: Sequence[str]) -> Json:
    """Return what lies at the end of a way, or None."""
    value: Json = record
    for key in way:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def text_of(value: Json) -> str:
    """Return a value as a table shows it: one line, nothing that could steer the terminal."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1_000 else f"{value:,}"
        case dict() | list():
            return ", ".join(_names_in(value))
        case _:
            return _printable(str(value))


def _names_in(value: Json) -> Iterator[str]:
    """Yield what an object or a list is best known by: names, or whatever else it holds."""
    if isinstance(value, list):
        for one in value:
            yield from _names_in(one)
    elif isinstance(value, dict):
        inner = value.get("attributes")
        known = {**value, **(inner if isinstance(inner, dict) else {})}
        named = next((known[key] for key in ("name", "url", "number", "id") if known.get(key)), None)
        yield text_of(named) if named is not None else _printable(msgspec.json.encode(value).decode())
    elif value is not None:
        yield text_of(value)


def _printable(text: str) -> str:
    return " ".join("".join(one if one.isprintable() else " " for one in text).split())


def _are_numbers(values: Sequence[Json]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in known)
