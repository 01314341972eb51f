"""Options that several commands share."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from leadfeeder_async.errors import check_argument
from leadfeeder_async.types import CsvDialect

OPTIONS_GROUP = "Options"
"""The heading of the options in the help."""

FLAG = Parameter(negative=(), show_default=False)
"""An option without a value."""

REPEATABLE = Parameter(negative=())
"""An option or argument that can be given several times."""

AccountId = Annotated[
    str | None, Parameter(help="The account id. Default: LEADFEEDER_ACCOUNT_ID, or the key's only account.")
]
Since = Annotated[
    str, Parameter(help="The first day: YYYY-MM-DD, `today`, `yesterday`, or `30d` for the last 30 days.")
]
Until = Annotated[str, Parameter(help="The last day, in the same formats as --since.")]
TimeZone = Annotated[str, Parameter(name="--tz", help="The time zone of days and times, such as Europe/Berlin.")]
MaxRows = Annotated[int | None, Parameter(help="Stop after this many rows.")]
MaxShown = Annotated[int, Parameter(help="Show at most this many rows.")]
MaxCredits = Annotated[
    int | None, Parameter(help="The maximum number of credits to charge. A request that could exceed it is not sent.")
]
Terms = Annotated[list[str] | None, REPEATABLE, Parameter(help="A search term. Can be repeated.")]
Countries = Annotated[
    list[str] | None, REPEATABLE, Parameter(help="A country code, such as DE. For several, repeat the option.")
]
IcpIds = Annotated[
    list[str] | None, REPEATABLE, Parameter(help="The id of an ideal customer profile. Can be repeated.")
]
FeedId = Annotated[str | None, Parameter(help="Only visits of the companies of this custom feed, given by its id.")]
CompanyIds = Annotated[list[str] | None, REPEATABLE, Parameter(help="The id of a company. Can be repeated.")]
Positions = Annotated[list[str] | None, REPEATABLE, Parameter(help="A job title. Can be repeated.")]
Scope = Annotated[Literal["company", "contact"], Parameter(help="Lists of companies, or lists of contacts.")]
Out = Annotated[
    Path | None, Parameter(help="The output file: .ndjson, .csv or .parquet. Default: JSON lines on stdout.")
]
Overwrite = Annotated[bool, FLAG, Parameter(help="Replace the output file if it exists.")]
Excel = Annotated[
    bool,
    FLAG,
    Parameter(help="Write a .csv file for Excel: with a byte order mark and the separator of this computer's region."),
]
Resume = Annotated[bool, FLAG, Parameter(help="Continue an unfinished export of the same query.")]
Fields = Annotated[
    str | None,
    Parameter(help="Show only these fields, such as `name,address.city`. Pass an unknown name to list all fields."),
]
Columns = Annotated[
    str | None,
    Parameter(
        name="--fields",
        help="Write only these columns, in this order, such as `id,company.name`. The documentation lists them all.",
    ),
]
Yes = Annotated[bool, FLAG, Parameter(help="Do not ask for confirmation.")]
JsonLines = Annotated[bool, FLAG, Parameter(name="--json", help="Print JSON lines, also on a terminal.")]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class DisplayOptions:
    """Options for commands that show records."""

    fields: Fields = None
    json: JsonLines = False

    @property
    def as_json(self) -> bool:
        """True if records are printed as JSON lines, which is the default unless stdout is a terminal."""
        return self.json or not sys.stdout.isatty()


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True, slots=True)
class ExportOptions:
    """Options for commands that export a list."""

    out: Out = None
    resume: Resume = False
    overwrite: Overwrite = False
    account_id: AccountId = None
    limit: MaxRows = None
    fields: Columns = None
    excel: Excel = False


def split_fields(fields: str | None) -> tuple[str, ...] | None:
    """Return the names in the value of ``--fields``."""
    return None if fields is None else tuple(name.strip() for name in fields.split(",") if name.strip())


def csv_dialect(out: Path | None, *, excel: bool) -> CsvDialect:
    """Return the dialect of a .csv file. Raise ConfigurationError if ``--excel`` is used for another format."""
    is_csv = out is not None and out.suffix.lower() == ".csv"
    check_argument(is_csv or not excel, "--excel needs a .csv file.", "Add --out with a name that ends in .csv.")
    return "excel" if excel else "plain"


DEFAULT_OUTPUT = DisplayOptions()
DEFAULT_TARGET = ExportOptions()


def country_code(text: str) -> str:
    """Return a country code in capital letters, or raise ConfigurationError for anything else."""
    is_code = re.fullmatch(r"[A-Za-z]{2}", text.strip())
    check_argument(is_code, f"--country {text!r} is not a country code.", "Write a code of two letters, such as DE.")
    code = text.strip().upper()
    check_argument(code != "UK", f"--country {text!r} is not a country code.", "Write GB.")
    return code


def country_codes(texts: Iterable[str] | None) -> list[str]:
    """Return the codes of a repeated option, each once."""
    return list(dict.fromkeys(map(country_code, texts or ())))
