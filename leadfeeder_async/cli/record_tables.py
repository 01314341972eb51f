"""Show records as a table on a terminal, and as JSON lines in a pipe.

Fields are named like the columns of exported tables: ``id``, the attributes by name (nested ones with dots, such as
``address.city``), and the everyday fields of related records, such as ``company.id`` and ``company.name``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar

import msgspec
from rich import box
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from leadfeeder_async.cli.options import DisplayOptions
from leadfeeder_async.cli.printing import plural, print_err, print_out
from leadfeeder_async.errors import check_argument, escape_control_characters
from leadfeeder_async.jobs.row_cells import decode_row
from leadfeeder_async.jobs.tabular import field_hint
from leadfeeder_async.models.columns import Json, KeyPath, columns_of, json_at
from leadfeeder_async.pagination.decoders import HasId
from leadfeeder_async.pagination.pager import Pager
from leadfeeder_async.pagination.problems import ProblemLog

T = TypeVar("T", bound=HasId)

Record: TypeAlias = "dict[str, Json]"

MIN_TEXT_WIDTH = 8
"""Text columns are not truncated to less than this many characters."""

COLUMN_GAP = 2
"""The number of spaces between two columns."""

_DECODER: msgspec.json.Decoder[Record] = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class TableSchema:
    """The fields of one kind of record, and the columns of its table."""

    paths: Mapping[str, KeyPath]
    """The keys to follow in a record, for each field."""
    columns: Mapping[str, str]
    """The heading of each field that the table shows by default."""
    never_truncated: frozenset[str] = frozenset({"id"})
    """Fields that are never truncated."""

    def check_fields(self, output: DisplayOptions) -> None:
        """Raise ConfigurationError if ``--fields`` contains an unknown field."""
        self.headings(output)

    def headings(self, output: DisplayOptions) -> dict[str, str]:
        """Return the heading of each field to show.

        Raises:
            ConfigurationError: ``--fields`` contains an unknown field.

        """
        if output.fields is None:
            return dict(self.columns)
        names = [name.strip() for name in output.fields.split(",")]
        for name in names:
            check_argument(name in self.paths, f"--fields has the unknown name {name!r}.", self._hint(name))
        return {name: name for name in names}

    def _hint(self, name: str) -> str:
        all_fields = f"Available fields: {', '.join(self.paths)}."
        hint = field_hint(name, list(self.paths), otherwise=all_fields)
        return hint if hint == all_fields else f"{hint} {all_fields}"


def schema_of(model: type[object], columns: Mapping[str, str], never_truncated: Sequence[str] = ("id",)) -> TableSchema:
    """Return the schema of a model. Its fields are the columns of an exported table and the objects around them."""
    paths = dict[str, KeyPath]()
    for column in columns_of(model):
        outer = column.name.split(".")[:-1]
        for length in range(1, len(outer) + 1):  # "attributes" or "relationships" is not part of a field's name
            paths.setdefault(".".join(outer[:length]), column.path[: length + 1])
        paths[column.name] = column.path
    return TableSchema(paths, columns, frozenset(never_truncated))


def schema_of_names(
    *names: str, columns: Mapping[str, str] | None = None, never_truncated: Sequence[str] = ("id",)
) -> TableSchema:
    """Return the schema of flat records with these fields. By default, the table shows all of them."""
    paths: dict[str, KeyPath] = {name: (name,) for name in names}
    headings = {name: name for name in names} if columns is None else columns
    return TableSchema(paths, headings, frozenset(never_truncated))


def to_record(value: object) -> Record:
    """Convert a Struct or a mapping to a dict of JSON values."""
    return _DECODER.decode(msgspec.json.encode(value))


def _to_row(row: bytes) -> Record:
    """Decode a row. A row that is not an object is shown as a field."""
    value = decode_row(row)
    return value if isinstance(value, dict) else {"value": value}


async def show_list(pager: Pager[T], schema: TableSchema, output: DisplayOptions, noun: str, *, more: str = "") -> None:
    """Fetch and show a list. If the limit leaves out rows, print the total and the hint ``more``."""
    schema.check_fields(output)
    records, problems, total = list[Record](), ProblemLog(), None
    async with aclosing(pager.raw_pages()) as pages:
        async for page in pages:
            records += map(_to_row, page.items)
            problems.add(page)
            total = page.total if total is None else total
    show_records(records, schema, output, noun)
    if total is not None and total > len(records) + problems.count:
        print_err(f"{len(records):,} of {total:,} {plural(noun)}. {more}".rstrip())
    problems.raise_any()


def show_records(records: Sequence[Record], schema: TableSchema, output: DisplayOptions, noun: str) -> None:
    """Print records as JSON lines or as a table. If the table is too wide, print one block per record."""
    headings = schema.headings(output)
    if not records:
        print_err(f"No {plural(noun)} found.")
        return
    if output.as_json:
        _print_lines(records, schema, output)
        return
    console = Console()
    table = table_of(records, schema, headings, console.width)
    blocks = (Group(_field_list(record, schema, headings, console.width), "") for record in records)
    console.print(table or Group(*blocks))


def show_record(record: Record, schema: TableSchema, output: DisplayOptions) -> None:
    """Print one record as a JSON line, or as one line per field that has a value."""
    if output.as_json:
        _print_lines([record], schema, output)
        return
    if output.fields is not None:
        names = list(schema.headings(output))
    else:
        names = [name for name in _leaf_fields(schema) if format_value(json_at(record, schema.paths[name]))]
    console = Console()
    console.print(_field_list(record, schema, {name: name for name in names}, console.width))


def _field_list(record: Record, schema: TableSchema, headings: Mapping[str, str], width: int) -> Table:
    heading_width = max(map(_width, headings.values()), default=0)
    grid = Table.grid(padding=(0, COLUMN_GAP, 0, 0), pad_edge=False)
    grid.add_column(style="bold", no_wrap=True, width=heading_width)
    grid.add_column(overflow="ellipsis", no_wrap=True, max_width=max(1, width - heading_width - COLUMN_GAP))
    for name, heading in headings.items():
        grid.add_row(heading, Text(format_value(json_at(record, schema.paths[name]))))
    return grid


def _leaf_fields(schema: TableSchema) -> list[str]:
    objects = {path[:length] for path in schema.paths.values() for length in range(1, len(path))}
    return [name for name, path in schema.paths.items() if path not in objects]


def _print_lines(records: Sequence[Record], schema: TableSchema, output: DisplayOptions) -> None:
    names = None if output.fields is None else schema.headings(output)
    for record in records:
        line = record if names is None else {name: json_at(record, schema.paths[name]) for name in names}
        print_out(msgspec.json.encode(line).decode())


def table_of(records: Sequence[Record], schema: TableSchema, headings: Mapping[str, str], width: int) -> Table | None:
    """Return a table of at most ``width`` characters, or None if its columns cannot be made narrow enough.

    Text is truncated with an ellipsis and never wrapped. Numbers and ids are never truncated.
    """
    values = {name: [json_at(record, schema.paths[name]) for record in records] for name in headings}
    numeric = {name for name in headings if _are_numbers(values[name])}
    value_widths = {name: max(_width(format_value(value)) for value in values[name]) for name in headings}
    natural = [max(value_widths[name], _width(heading)) for name, heading in headings.items()]
    fixed = numeric | schema.never_truncated
    minimum = [
        max(value_widths[name], 3) if name in fixed else min(value_widths[name], MIN_TEXT_WIDTH) for name in headings
    ]
    widths = fit_widths(natural, minimum, width - COLUMN_GAP * (len(headings) - 1))
    if widths is None:
        return None
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for (name, heading), column_width in zip(headings.items(), widths, strict=True):
        justify: Literal["left", "right"] = "right" if name in numeric else "left"
        table.add_column(Text(heading), justify=justify, no_wrap=True, overflow="ellipsis", width=column_width)
    for row in zip(*values.values(), strict=True):
        table.add_row(*(Text(format_value(value)) for value in row))
    return table


def fit_widths(natural: Sequence[int], minimum: Sequence[int], available: int) -> list[int] | None:
    """Return column widths with a sum of at most ``available``, or None if the minimum widths need more.

    The widest column is reduced first.
    """
    if sum(minimum) > available:
        return None
    widths = list(natural)
    while sum(widths) > available:
        reducible = [width if width > low else 0 for width, low in zip(widths, minimum, strict=True)]
        widths[reducible.index(max(reducible))] -= 1
    return widths


def _width(text: str) -> int:
    return Text(text).cell_len


def format_value(value: Json) -> str:
    """Format a value as one line of printable characters, so that it cannot control the terminal."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:,.0f}" if value.is_integer() and abs(value) >= 1_000 else f"{value:,}"
        case msgspec.Raw():
            return _printable(bytes(value).decode())
        case dict() | list():
            return ", ".join(_labels(value))
        case _:
            return _printable(str(value))


def _labels(value: Json) -> Iterator[str]:
    """Yield a name for each object in a value, or its JSON text if it has no name."""
    if isinstance(value, list):
        for item in value:
            yield from _labels(item)
    elif isinstance(value, dict):
        attributes = value.get("attributes")
        fields = {**value, **(attributes if isinstance(attributes, dict) else {})}
        label = next((fields[key] for key in ("name", "url", "number", "id") if fields.get(key)), None)
        yield format_value(label) if label is not None else _printable(msgspec.json.encode(value).decode())
    elif value is not None:
        yield format_value(value)


def _printable(text: str) -> str:
    return escape_control_characters(" ".join(text.split()))


def _are_numbers(values: Sequence[Json]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float) and not isinstance(value, bool) for value in known)
