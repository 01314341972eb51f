"""JSON lines made into tables: one column for each field of a record, in the order of the model.

A column is named by the way to its value: ``id``, then the attributes by their own names (``page.path`` for what lies
deeper), then ``company.id`` and the like for related records. Lists and open objects become JSON texts.
"""

from __future__ import annotations

import csv
import json
import types
from collections.abc import Callable, Iterator
from datetime import date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias, Union, get_args, get_origin, get_type_hints

import msgspec

from leadfeeder_async.errors import CheckpointError, check_argument
from leadfeeder_async.jobs.atomic_file import copy_permissions, replace_atomically

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | msgspec.Raw | None"
"""A value; raw is a number past all bounds, as it was sent."""

MAX_ROW_BYTES = 16 * 1024 * 1024
"""The bytes of a row that DuckDB is told to expect, unless there is a longer one."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table."""

    name: str
    path: tuple[str, ...]
    """The keys that lead to its value."""
    type: type[object]
    """What its values are; ``dict`` where they are JSON texts."""

    def value_of(self, row: Json) -> Json:
        """Return its value in a row."""
        for key in self.path:
            row = row.get(key) if isinstance(row, dict) else None
        return msgspec.json.encode(row).decode() if isinstance(row, dict | list | msgspec.Raw) else row


def columns_of(model: type[object]) -> tuple[Column, ...]:
    """Return the columns of a model's table."""
    found = [Column("id", ("id",), str)]
    hints = get_type_hints(model)
    for part in ("attributes", "relationships"):
        if part in hints:
            found.extend(_columns(hints[part], (part,), related=part == "relationships"))
    return tuple(found)


def _columns(hint: object, way: tuple[str, ...], *, related: bool) -> Iterator[Column]:
    kind = _without_none(hint)
    name = ".".join(way[1:])
    if related and len(way) == 2:
        if _is_struct(kind):
            yield Column(f"{name}.id", (*way, "id"), str)
            return
        kind = dict
    if _is_struct(kind):
        for key, one in get_type_hints(kind).items():
            yield from _columns(one, (*way, key), related=related)
    elif name:
        yield Column(name, way, kind if kind in {str, int, float, bool, date, datetime} else dict)


def _without_none(hint: object) -> type[object]:
    choices = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) not in {Union, types.UnionType}:
        return hint if isinstance(hint, type) else dict
    return _without_none(choices[0]) if len(choices) == 1 else dict


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def is_table(path: Path) -> bool:
    """Whether a file of this name is a table, and not JSON lines."""
    return path.suffix.lower() in _WRITERS


def check_table(path: Path) -> None:
    """Raise ConfigurationError where the name asks for what cannot be written, at all or here."""
    suffix = path.suffix.lower()
    known = suffix in {"", ".ndjson", ".jsonl", *_WRITERS}
    check_argument(
        known, f"{path.name}: no {suffix} can be written.", "Name it .ndjson or .jsonl (JSON lines), .csv or .parquet."
    )
    if suffix == ".parquet":
        found = find_spec("duckdb") is not None
        check_argument(found, "Parquet needs DuckDB, which writes it.", "pip install 'leadfeeder-async[parquet]'")


def write_table(rows: Path, path: Path, columns: Callable[[], tuple[Column, ...]]) -> None:
    """Make a file of JSON lines into the file called ``path``, in the format of its suffix; leave no half of one."""
    writer = _WRITERS.get(path.suffix.lower())
    if writer is None:
        replace_atomically(rows, path)
        return
    made = path.with_name(path.name + ".new")
    try:
        copy_permissions(path, made)
        writer(rows, made, columns())
        replace_atomically(made, path)
    except BaseException:
        made.unlink(missing_ok=True)
        raise


def _read(rows: Path) -> Iterator[Json]:
    decoder: msgspec.json.Decoder[Json] = msgspec.json.Decoder()
    with rows.open("rb") as lines:
        for line in lines:
            try:
                yield decoder.decode(line)
            except msgspec.ValidationError:
                yield json.loads(line, parse_int=_parse_number, parse_float=_parse_number)


def _parse_number(number: str) -> msgspec.Raw:
    """Keep a number as it was sent, since it may be one that Python's do not reach: 1e400, or 5,000 digits."""
    return msgspec.Raw(number.encode())


def _write_csv(rows: Path, path: Path, columns: tuple[Column, ...], line_end: str = "\r\n") -> int:
    """Write a table; return how many characters its longest row has."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerow(column.name for column in columns)
        return max(
            (writer.writerow([_cell(column.value_of(row)) for column in columns]) for row in _read(rows)), default=0
        )


def _cell(value: Json) -> Json:
    return str(value).lower() if isinstance(value, bool) else value


def _write_parquet(rows: Path, path: Path, columns: tuple[Column, ...]) -> None:
    """Let DuckDB type the columns of a CSV table; a value of another kind than the API says becomes null.

    It guesses nothing about that table, whose texts may hold quotes and line ends of any kind.
    """
    import duckdb  # noqa: PLC0415 - an extra

    texts = path.with_name(path.name + ".csv")
    try:
        copy_permissions(path, texts)
        longest = _write_csv(rows, texts, columns, "\n")
        with duckdb.connect() as database:
            database.execute("SET TimeZone = 'UTC'")
            database.execute(
                _copy(texts, path, columns, max(MAX_ROW_BYTES, 4 * longest))
            )  # 4 bytes a character at most
    except duckdb.Error as error:
        raise CheckpointError(
            f"{path} cannot be made: {str(error).splitlines()[0]}",
            hint="Mend that and go on with resume=True (--resume), which reads no row again; or export to .csv.",
        ) from None  # its text may hold a whole row
    finally:
        texts.unlink(missing_ok=True)


def _copy(texts: Path, path: Path, columns: tuple[Column, ...], longest: int) -> str:
    """Return the statement that makes a CSV table a parquet file; what is foreign in it, names and paths, is quoted."""
    shown = ", ".join(map(_cast, columns))
    names = ", ".join(f"{_quoted(column.name)}: 'VARCHAR'" for column in columns)
    form = f"columns={{{names}}}, auto_detect=false, header=true, delim=',', quote='\"', escape='\"'"
    source = f"read_csv({_quoted(texts)}, {form}, max_line_size={longest}, parallel=false)"
    return f"COPY (SELECT {shown} FROM {source}) TO {_quoted(path)} (FORMAT parquet, USE_TMP_FILE false)"  # noqa: S608


def _cast(column: Column) -> str:
    name = '"' + column.name.replace('"', '""') + '"'
    kind = _SQL_TYPES.get(column.type)
    # A cast of the bare column would move into the CSV reader, which ends at the first value that is no such thing.
    return f"TRY_CAST(NULLIF({name}, '') AS {kind}) AS {name}" if kind else name


def _quoted(text: Path | str) -> str:
    return "'" + str(text).replace("'", "''") + "'"


_SQL_TYPES: dict[type[object], str] = {
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    date: "DATE",
    datetime: "TIMESTAMPTZ",
}

_WRITERS: dict[str, Callable[[Path, Path, tuple[Column, ...]], object]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
