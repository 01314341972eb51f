"""``leadfeeder tags`` and ``leadfeeder lists``: changes and their confirmation."""

from __future__ import annotations

import asyncio
import os
import re
import select
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import pytest

from leadfeeder_async import ConfigurationError
from leadfeeder_async.cli import confirmation
from leadfeeder_async.cli.id_input import IdParser, ids_in_lines
from leadfeeder_async.cli.shell import quote_argument
from leadfeeder_async.sandbox import Sandbox
from tests.cli.command import ids, json_lines, leadfeeder, leadfeeder_on_terminal, resume_command, start
from tests.support.terminal import HAS_TERMINALS

VISIT = '{{"id":"v","type":"web_visit","relationships":{{"company":{{"id":"{}"}}}}}}\n'


async def test_tags_by_name(quarter: Sandbox) -> None:
    """A tag is created, assigned and removed by its name, ignoring case."""
    records = quarter.records
    assert (await leadfeeder(quarter, "tags", "create", "Hot", "--color", "3", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "tags", "create", "hot", "--yes"))[0] == 2
    assert (await leadfeeder(quarter, "tags", "add", "HOT", "159000001", "159000002", "--yes"))[2] == "2 changed.\n"
    assert len(records.company_tags) == 2
    assert (await leadfeeder(quarter, "tags", "remove", "Hot", "159000001", "--yes"))[0] == 0
    assert [company for company, _ in records.company_tags] == ["159000002"]


async def test_lists_by_name(quarter: Sandbox) -> None:
    """A list is created, filled and emptied by its name."""
    records = quarter.records
    assert (await leadfeeder(quarter, "lists", "create", "DACH", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "lists", "add", "DACH", "159000001", "--yes"))[0] == 0
    assert len(records.list_members) == 1
    assert (await leadfeeder(quarter, "lists", "remove", "DACH", "159000001", "--yes"))[0] == 0
    assert len(records.list_members) == 0
    lists = json_lines((await leadfeeder(quarter, "lists", "list"))[1])
    assert [record["attributes"]["name"] for record in lists] == ["DACH"]


async def test_tags_are_renamed_and_deleted(quarter: Sandbox) -> None:
    """A tag is renamed by its name, but not to the name of another tag, and deleted with its assignments."""
    tags = quarter.records.tags
    hot = tags.add({"name": "Hot", "color": 3})
    tags.add({"name": "Cold", "color": 1})
    assert (await leadfeeder(quarter, "tags", "add", "Hot", "159000001", "--yes"))[0] == 0
    code, _, stderr = await leadfeeder(quarter, "tags", "rename", "hot", "cold", "--yes")
    assert (code, "A tag with this name exists: 'Cold'" in stderr) == (2, True)
    code, stdout, _ = await leadfeeder(quarter, "tags", "rename", "hot", "HOT", "--yes")
    assert (code, [(tag["id"], tag["attributes"]["name"]) for tag in json_lines(stdout)]) == (0, [(hot, "HOT")])
    code, _, stderr = await leadfeeder(quarter, "tags", "delete", "Hot", "--yes")
    assert (code, stderr) == (0, f"Deleted the tag 'HOT' ({hot}).\n")
    assert not quarter.records.company_tags
    assert [tag["attributes"]["name"] for tag in json_lines((await leadfeeder(quarter, "tags", "list"))[1])] == ["Cold"]
    assert (await leadfeeder(quarter, "tags", "delete", "Hot", "--yes"))[0] == 2


async def test_lists_are_renamed_and_deleted(quarter: Sandbox) -> None:
    """A list of one scope is renamed and deleted by its name. A list of another scope is kept."""
    for scope in ("company", "contact"):
        assert (await leadfeeder(quarter, "lists", "create", "DACH", "--scope", scope, "--yes"))[0] == 0
    code, stdout, _ = await leadfeeder(quarter, "lists", "rename", "DACH", "Nord", "--scope", "contact", "--yes")
    assert (code, [record["attributes"]["name"] for record in json_lines(stdout)]) == (0, ["Nord"])
    assert (await leadfeeder(quarter, "lists", "delete", "Nord", "--yes"))[0] == 2
    assert (await leadfeeder(quarter, "lists", "delete", "DACH", "--yes"))[0] == 0
    assert json_lines((await leadfeeder(quarter, "lists", "list"))[1]) == []
    assert len(json_lines((await leadfeeder(quarter, "lists", "list", "--scope", "contact"))[1])) == 1


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        (["tags", "rename", "Hot", "Warm"], "Rename the tag 'Hot' ("),
        (["tags", "delete", "Hot"], ") and remove it from all companies? [y/N]"),
        (["lists", "rename", "DACH", "Nord"], "Rename the company list 'DACH' ("),
        (["lists", "delete", "DACH"], ") with 1 item? [y/N]"),
    ],
)
async def test_renaming_and_deleting_need_confirmation(quarter: Sandbox, arguments: list[str], question: str) -> None:
    """A tag or list is not renamed or deleted without a confirmation."""
    assert (await leadfeeder(quarter, "tags", "create", "Hot", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "lists", "create", "DACH", "--yes"))[0] == 0
    assert (await leadfeeder(quarter, "lists", "add", "DACH", "159000001", "--yes"))[0] == 0
    code, _, stderr = await leadfeeder(quarter, *arguments)
    assert (code, "Add --yes to confirm." in stderr) == (2, True)
    code, screen = await leadfeeder_on_terminal(quarter, *arguments, answer="n\n")
    assert (code, question in screen) == (5, True)
    for kind, name in (("tags", "Hot"), ("lists", "DACH")):
        kept = json_lines((await leadfeeder(quarter, kind, "list"))[1])
        assert [record["attributes"]["name"] for record in kept] == [name]


async def test_lost_response_of_a_deletion(quarter: Sandbox) -> None:
    """If the response to a deletion is lost, the retry finds nothing to delete, and the command succeeds."""
    quarter.records.tags.add({"name": "Hot", "color": 1})
    quarter.fail_next(502, operation="delete_tag", after_work=True)
    code, _, stderr = await leadfeeder(quarter, "tags", "delete", "Hot", "--yes")
    assert (code, stderr.startswith("Deleted the tag 'Hot'")) == (0, True)
    quarter.records.custom_feeds.add({"name": "Pricing", "filters": {}})
    quarter.fail_next(502, operation="delete_custom_feed", after_work=True)
    code, _, stderr = await leadfeeder(quarter, "feeds", "delete", "Pricing", "--yes")
    assert (code, stderr.startswith("Deleted the feed 'Pricing'")) == (0, True)


@pytest.mark.parametrize("words", [("create", " "), ("rename", "Hot", ""), ("delete", ""), ("add", "", "159000001")])
async def test_empty_name_of_a_tag(quarter: Sandbox, words: tuple[str, ...]) -> None:
    """An empty name, such as that of a variable that is not set, selects and changes nothing."""
    tags = quarter.records.tags
    tags.add({"name": "Hot", "color": 1})
    tags.add({"name": "", "color": 1})
    code, _, stderr = await leadfeeder(quarter, "tags", *words, "--yes")
    assert (code, "The name of the tag is empty." in stderr) == (2, True)
    assert {request.method for request in quarter.ledger.requests} == {"GET"}


async def test_id_that_is_the_name_of_another_tag(quarter: Sandbox) -> None:
    """A value that is the id of a tag and the name of another one selects neither."""
    tags = quarter.records.tags
    first = tags.add({"name": "Hot", "color": 1})
    tags.add({"name": first, "color": 1})
    code, _, stderr = await leadfeeder(quarter, "tags", "delete", first, "--yes")
    assert (code, f"There are 2 tags with the id or name '{first}'." in stderr) == (2, True)
    assert (await leadfeeder(quarter, "tags", "delete", "Hot", "--yes"))[0] == 0


async def test_missing_tags_and_lists_can_be_created(quarter: Sandbox, tmp_path: Path) -> None:
    """If there is no tag or list with a name, the command that creates it is printed. Workbooks have no ids."""
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "Messe Köln", "159000001", "--yes")
    assert (code, f"`leadfeeder tags create {quote_argument('Messe Köln')}` creates it." in stderr) == (2, True)
    code, _, stderr = await leadfeeder(quarter, "lists", "add", "Hot", "159000001", "--scope", "contact", "--yes")
    assert (code, "`leadfeeder lists create Hot --scope contact` creates it." in stderr) == (2, True)
    code, _, stderr = await leadfeeder(quarter, "tags", "remove", "Hot", "159000001", "--yes")
    assert (code, "create" in stderr) == (2, False)
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "Hot", "--ids", tmp_path / "ids.xlsx", "--yes")
    assert (code, "is a workbook" in stderr) == (2, True)


async def test_input_of_ids_is_not_overwritten(quarter: Sandbox, tmp_path: Path) -> None:
    """The output cannot be the file of the ids."""
    path = tmp_path / "ids.csv"
    path.write_text("id\n159000001\n", encoding="utf-8")
    quarter.records.tags.add({"name": "Hot", "color": 1})
    code, _, stderr = await leadfeeder(
        quarter, "tags", "add", "Hot", "--ids", path, "--out", path, "--overwrite", "--yes"
    )
    assert (code, "is the input file" in stderr) == (2, True)
    assert path.read_text(encoding="utf-8") == "id\n159000001\n"
    assert not quarter.records.company_tags


async def test_failed_id_is_named_and_the_others_are_done(quarter: Sandbox, tmp_path: Path) -> None:
    """A rejected id is printed with its error, the others are changed, and the exit code is 5."""
    tag = quarter.records.tags.add({"name": "Hot", "color": 1})
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "--yes", "Hot", "159000001", "1", "159000002")
    assert (code, len(quarter.records.company_tags)) == (5, 2)
    assert stderr == "1: failed. 404 entity_not_found: No such company.\n2 of 3 changed, 1 failed.\n"
    out = tmp_path / "out.csv"
    code, _, stderr = await leadfeeder(quarter, "tags", "remove", tag, "159000001", "1", "--yes", "--out", out)
    assert (code, stderr) == (5, f"1 of 2 changed, 1 failed. -> {out}\n")
    assert out.read_text(encoding="utf-8").splitlines()[:2] == ["row,id,outcome,error", "1,159000001,changed,"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("159000001\n\n159000002\n", []),
        ('"159000001"\r\n\r\n"159000002"\r\n', []),
        ('name;Company_ID;note\r\nA;159000001;x\r\nB;159000002;"two\nlines"\r\n', []),
        ("\ufeffid,name\n159000001,A\n159000002,B\n", []),
        ("key\tname\n159000001\tA\n159000002\tB\n", ["--column", "key"]),
        ("sep=;\r\nid;name\r\n159000001;A, B, C\r\n159000002;B\r\n", []),
        ("name|id\nA|159000001\nB|159000002\n", []),
        ("id,Name (DE|EN|FR)\n159000001,A\n159000002,B\n", []),
        ('name, id\n"Elbe, Inc", "159000001"\n"B", "159000002"\n', []),
        ('{"company_id":"159000001"}\n{"company":null}\n{"company":{"id":"159000002"}}\n', []),
        ("id|company|city, country\n159000001|A|B, C\n159000002|B|\n", []),
        (
            VISIT.format("159000001") + '{"type":"web_visit","relationships":{}}\n' + VISIT.format("159000002"),
            ["--column", "company.id"],
        ),
        ('{"id":"159000001","company":{"id":"159000001"}}\n{"id":"159000002","company":null}\n', []),
        ('{"id":"159000001","company_id":"7","type":"company"}\n{"id":"159000002"}\n', []),
        ("contact.id,id\n9,159000001\n9,159000002\n", []),
        ("id,company.id\n9,159000001\n9,159000002\n", ["--column", "company.id"]),
        ('{"id":"159000001","type":"company"}\n{"id":"159000002","type":"company_summary"}\n', []),
        ('{"id":"159000001"}\n{"id":null,"key":"x"}\n{"id":"159000002"}\n', []),
        (VISIT.format("159000001") + VISIT.format("159000002"), ["--column", "company.id"]),
        (
            '{"company":{"id":"159000001"},"company.id":null}\n{"company.id":"159000002"}\n',
            ["--column", "company.id"],
        ),
        (
            '{"id":"9","company.id":"159000001"}\n{"id":"9","company.id":null}\n{"company.id":159000002}\n',
            ["--column", "company.id"],
        ),
    ],
)
def test_formats_of_ids(text: str, options: list[str]) -> None:
    """Ids are found in plain lines, in CSV and in JSON lines."""
    parser = IdParser("ids", "company", options[1] if options else None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == ["159000001", "159000002"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,city\nA,B\n", "has no column 'id'"),
        ("id,name,company.id\n1,A,2\n", "has several columns that may contain the id: 'id', 'company.id'"),
        ('{"id":"1","company_id":"2"}\n', "Line 1 of ids has several keys that may contain the id: 'id', 'company_id'"),
        ('{"id":"1","company":{"id":"2"}}\n', "has several keys that may contain the id: 'id', 'company.id'"),
        (
            '{"id":"9","company.id":null}\n',
            "Line 1 of ids has several keys that may contain the id: 'id', 'company.id'",
        ),
        (
            '{"id":"9","company_id":null}\n',
            "Line 1 of ids has several keys that may contain the id: 'id', 'company_id'",
        ),
        ("ID,id\n1,2\n", "has several columns that may contain the id: 'ID', 'id'"),
        ('{"id":"v","type":"web_visit"}\n', "Line 1 of ids is a web_visit, not a company."),
        ('{"name":"v"}\n', "has no 'id'"),
        ('{"id":"L","type":"company_location"}\n', "Line 1 of ids is a company_location, not a company."),
        ('{"id":true}\n', "has no 'id'"),
        ('{"id":["1"]}\n', "has no 'id'"),
        ('{"id":\n', "is not a JSON object"),
        ("1\n\udcff", "Line 2 of ids is not UTF-8"),
    ],
)
def test_input_without_ids(text: str, message: str) -> None:
    """An input without ids is an error that names the line or the columns."""
    with pytest.raises(ConfigurationError, match=re.escape(message)):
        list(ids_in_lines(BytesIO(text.encode(errors="surrogateescape")), IdParser("ids", "company", None)))


async def test_ids_from_a_file_and_from_stdin(quarter: Sandbox, tmp_path: Path) -> None:
    """Ids are read from a file, from a regular file as stdin, and from a pipe."""
    quarter.records.tags.add({"name": "Hot", "color": 1})
    path = tmp_path / "ids"
    path.write_text("159000001\n159000002\n", encoding="utf-8")
    command = ("tags", "add", "Hot", "--yes")
    assert (await leadfeeder(quarter, *command, "--ids", path))[0::2] == (0, "2 changed.\n")
    with path.open("rb") as file:
        assert (await leadfeeder(quarter, *command, "-", stdin=file))[0::2] == (0, "2 changed.\n")
    assert (await leadfeeder(quarter, *command, "--ids", "-", stdin=b"159000003"))[0::2] == (0, "1 changed.\n")
    assert len(quarter.records.company_tags) == 3
    assert (await leadfeeder(quarter, *command, "--idz", "1"))[0] == 2
    rows = b'{"id":null,"type":"company"}\n{"id":"159000001","type":"company"}\n'
    for text in (b"id,name\n159000001,x\n,y\n", rows):
        stderr = (await leadfeeder(quarter, *command, "-", stdin=text))[2]
        assert stderr == "1 row of stdin without an id left out.\n1 changed.\n"


async def test_search_into_a_tag(quarter: Sandbox) -> None:
    """The JSON lines of a search are the ids of a change."""
    quarter.records.tags.add({"name": "Hot", "color": 1})
    _, found, _ = await leadfeeder(quarter, "companies", "search", "--country", "DE", "--limit", "5")
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "Hot", "-", "--yes", stdin=found.encode())
    assert (code, stderr) == (0, "5 changed.\n")
    assert [company for company, _ in quarter.records.company_tags] == ids(found)


async def test_items_of_a_list(quarter: Sandbox) -> None:
    """``lists items`` prints the ids in a list, which can be piped into another change."""
    quarter.records.lists.add({"name": "DACH", "scope": "contact"})
    contacts = quarter.world.contact_ids()[:3]
    add = ("lists", "add", "DACH", *contacts, "--scope", "contact", "--yes")
    assert (await leadfeeder(quarter, *add))[2] == "3 changed.\n"
    _, items, _ = await leadfeeder(quarter, "lists", "items", "dach", "--scope", "contact")
    assert ids(items) == contacts
    remove = ("lists", "remove", "DACH", "-", "--scope", "contact", "--yes")
    assert (await leadfeeder(quarter, *remove, stdin=items.encode()))[2] == "3 changed.\n"


async def test_interrupted_change_is_resumed(quarter: Sandbox, tmp_path: Path) -> None:
    """A change into a file that was interrupted prints the command that continues it."""
    quarter.records.tags.add({"name": "Hot", "color": 1})
    quarter.latency, path, out = 0.1, tmp_path / "ids", tmp_path / "out.ndjson"
    path.write_text("\n".join(quarter.world.company_ids()), encoding="utf-8")
    process = await start(quarter, "tags", "add", "Hot", "--ids", path, "--out", out, "--yes")
    while quarter.ledger.count("assign_tags_to_company") < 20:
        await asyncio.sleep(0.01)
    process.terminate()
    _, stderr = await process.communicate()
    assert (process.returncode, "-> " in stderr.decode()) == (143, False)
    code, _, text = await leadfeeder(quarter, *resume_command(stderr.decode()))
    assert (code, text) == (0, f"40 changed. -> {out}\n")


async def test_interrupted_change_without_a_file(quarter: Sandbox, tmp_path: Path) -> None:
    """A change that was interrupted says that the same command can be run again, which then ends."""
    quarter.records.tags.add({"name": "Hot", "color": 1})
    quarter.latency, path = 0.1, tmp_path / "ids"
    path.write_text("\n".join(quarter.world.company_ids()), encoding="utf-8")
    words = ("tags", "add", "Hot", "--ids", path, "--yes")
    process = await start(quarter, *words)
    while quarter.ledger.count("assign_tags_to_company") < 20:
        await asyncio.sleep(0.01)
    process.terminate()
    _, stderr = await process.communicate()
    assert (process.returncode, "Run the same command again." in stderr.decode()) == (143, True)
    assert (await leadfeeder(quarter, *words))[::2] == (0, "40 changed.\n")


@pytest.mark.parametrize(("answer", "created"), [("y\n", 1), ("n\n", 0), ("\n", 0)])
async def test_confirmation(quarter: Sandbox, answer: str, created: int) -> None:
    """On a terminal, a change is made only after "y". Otherwise the exit code is 5."""
    code, screen = await leadfeeder_on_terminal(quarter, "tags", "create", "Hot", answer=answer)
    assert "Create the tag 'Hot'? [y/N]" in screen
    assert len(quarter.ledger.creations) == created
    assert code == (0 if created else 5)
    assert ("Nothing was changed." in screen) is not bool(created)


async def test_ctrl_c_at_confirmation(quarter: Sandbox) -> None:
    """Ctrl-C at the question exits with 130 and changes nothing."""
    code, screen = await leadfeeder_on_terminal(quarter, "tags", "create", "Hot", interrupt_at="[y/N]")
    assert (code, quarter.ledger.creations) == (130, [])
    assert "Interrupted" in screen


@pytest.mark.skipif(not HAS_TERMINALS, reason="needs pseudo-terminals")
def test_line_typed_before_the_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that was typed before the question is discarded."""
    import pty

    typed, terminal = pty.openpty()
    with os.fdopen(typed, "wb", buffering=0) as keyboard, os.fdopen(terminal) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        keyboard.write(b"y\n")
        assert select.select([stdin], [], [], 5)[0]
        confirmation._discard_earlier_input()
        assert not select.select([stdin], [], [], 0)[0]


async def test_declined_changes_send_nothing(quarter: Sandbox, tmp_path: Path) -> None:
    """Without a yes, no list, feed or tag is changed."""
    filters = tmp_path / "filters.json"
    filters.write_text('[{"field":"page_url","values":["/pricing"]}]', encoding="utf-8")
    feed = ("feeds", "create", "Pricing", "--filters", str(filters))
    assert (await leadfeeder(quarter, *feed, "--yes"))[0] == 0
    quarter.records.tags.add({"name": "Hot", "color": 1})
    changes = [request for request in quarter.ledger.requests if request.method != "GET"]
    for question, words in (
        ("Create the company list 'DACH'?", ("lists", "create", "DACH")),
        ("Create the feed 'Pricing'?", feed),
        ("Change the feed 'Pricing'", ("feeds", "update", "Pricing", "--name", "Prices")),
        ("Delete the feed 'Pricing'", ("feeds", "delete", "Pricing")),
        ("159000001", ("tags", "add", "Hot", "159000001")),
    ):
        code, screen = await leadfeeder_on_terminal(quarter, *words, columns=200, answer="n\n")
        assert (code, "Nothing was changed." in screen) == (5, True), screen
        assert question in screen or words[0] == "tags"
    assert [request for request in quarter.ledger.requests if request.method != "GET"] == changes


@pytest.mark.parametrize(
    "rows",
    [
        'id,note\n159000001,"call back\nthanks, Eva"\n159000002,\n',
        'id,note\n159000001,"Angebot:\n1500,50 EUR"\n159000002,\n',
        'id,name,address\n159000001,A,"Weg 1\n20095,Hamburg,DE"\n159000002,B,\n',
        'note;id\n"a ""quote""\nand; more\n27"" wide";159000001\nx;159000002\n;\n',
    ],
)
def test_notes_in_rows_of_ids(rows: str) -> None:
    """A line of a note may have as many cells as a row, if it does not begin like the ids."""
    text = rows
    parser = IdParser("ids", "company", None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == ["159000001", "159000002"]


async def test_name_of_several_tags(quarter: Sandbox) -> None:
    """A name that two tags have is refused, and the hint names their ids."""
    first, second = (quarter.records.tags.add({"name": name, "color": 1}) for name in ("Hot", "hot"))
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "HOT", "159000001", "--yes")
    assert (code, "There are 2 tags with the id or name 'HOT'." in stderr) == (2, True)
    assert first in stderr
    assert second in stderr
    assert not quarter.records.company_tags


async def test_unreadable_file_of_ids(quarter: Sandbox, tmp_path: Path) -> None:
    """A file of ids that does not exist is named, and nothing is changed."""
    quarter.records.tags.add({"name": "Hot", "color": 1})
    path = tmp_path / "missing.txt"
    code, _, stderr = await leadfeeder(quarter, "tags", "add", "Hot", "--ids", path, "--yes")
    assert (code, f"{path} cannot be read: No such file or directory." in stderr) == (2, True)


async def test_no_records_on_terminal(quarter: Sandbox) -> None:
    """On a terminal, an empty list is one sentence instead of an empty table."""
    code, screen = await leadfeeder_on_terminal(quarter, "tags", "list")
    assert (code, screen.strip()) == (0, "No tags found.")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("name", ['Monitor 24" GmbH', '24" und 27" GmbH', '"Elbe"', '"a\n""b"""', '"a\n""b""\nc"', ""])
def test_quotes_in_rows_of_ids(delimiter: str, name: str) -> None:
    """A quote within a cell is part of its text, as Python and spreadsheets read it, and hides no row."""
    text = f"id{delimiter}name\n" + "".join(f"15900000{row}{delimiter}{name}\n" for row in range(5))
    parser = IdParser("ids", "company", None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == [f"15900000{row}" for row in range(5)]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('"Monitor 27"","159000001"\n"B","159000002"\n', "Line 2 of ids is not valid CSV"),
        ('"Elbe GmbH,"159000001"\n"B","159000002"\n', "Line 2 of ids is not valid CSV"),
        ("Elbe;159000001\nB,159000002\n", "Line 2 of ids has no cell in column 2, that of the id"),
    ],
)
def test_rows_without_the_column_of_the_id(rows: str, message: str) -> None:
    """A row whose id is hidden by a quote or another delimiter is refused, and not left out."""
    with pytest.raises(ConfigurationError, match=message):
        list(ids_in_lines(BytesIO(f"name,id\n{rows}".encode()), IdParser("ids", "company", None)))


@pytest.mark.parametrize("value", ["true", '["1"]', '{"id":"1"}', "1.5"])
def test_column_without_an_id(value: str) -> None:
    """A key that is named, but has no id as its value, is an error and not a row without an id."""
    parser = IdParser("ids", "company", "company.id")
    with pytest.raises(ConfigurationError, match=r"Line 1 of ids has no 'company\.id'"):
        list(ids_in_lines(BytesIO(f'{{"company.id":{value}}}\n'.encode()), parser))


UUID = "0b5f9c52-7a57-4c1e-9f3a-00000000000"


@pytest.mark.parametrize(
    ("header", "ids", "end"),
    [
        ("id,name,note", [f"{UUID}{number}" for number in range(6)], ""),
        ("id,name,note", [f"5f9c{number}7a5d4c1e9f3a0000" for number in range(6)], ""),
        ("id,name,note", ["159000000", "159000001", "kqX3vT9bQm", "159000003", "159000004", "159000005"], ""),
        ("id,name,note", ["159000000", "159000001", "1590002", "159000003", "159000004", "159000005"], ""),
        ("id,name,note", [f"15900000{number}" for number in range(6)], ","),
        ("id,name,note,owner", [f"15900000{number}" for number in range(6)], ""),
        ("id,name,note,owner,city", [f"15900000{number}" for number in range(6)], ""),
        ("id,name,note", [f"15900000{number}" for number in range(6)], ",,"),
        ("id,name,note", ["ab12c", "q7k2p", "9xk3d", "k2z5z", "zz9aa", "7abcd"], ""),
    ],
)
def test_rows_with_ids_that_a_missing_quote_hides(header: str, ids: list[str], end: str) -> None:
    """Hidden rows are found by any kind of id, also if they have one cell more or less than the header."""
    lines = [f"{record_id},Elbe,note{end}" for record_id in ids]
    lines[2], lines[4] = f'{ids[2]},Elbe,"note{end}', f'{ids[4]},Elbe,Screen 5"{end}'
    with pytest.raises(ConfigurationError, match="Line 6 of ids ends a cell that contains rows with ids"):
        list(ids_in_lines(BytesIO("\n".join([header, *lines]).encode()), IdParser("ids", "company", None)))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('159000001\n"159000002","159000003"\n', "Line 2 of ids has 2 cells for 1 column"),
        ('"159000001"\n159000002,159000003\n', "Line 2 of ids has 2 cells for 1 column"),
        ('"159000001"\n159000002;159000003\n', "Line 2 of ids is not a single id: '159000002;159000003'"),
        ("159000001\n159000002;159000003\n", "Line 2 of ids is not a single id"),
        ("159000001\n159000002 Elbe GmbH\n", "Line 2 of ids is not a single id"),
        ("159000001\n1\x005\x009\x00\n", "Line 2 of ids is not a single id"),
        ('"Company ID","Name"\n"159000001","x"\n', "ids has no column 'id' .* Its columns are 'Company ID', 'Name'"),
        ("id\n159000001;159000002\n", "Line 2 of ids is not a single id"),
        ('name,id\nAcme,"159000001,159000002"\n', "Line 2 of ids is not a single id"),
        ('{"id":"159000001 159000002"}\n', "Line 1 of ids is not a single id"),
        ("id,type\n159000001,company\n52000000,contact\n", "Line 3 of ids is a contact, not a company"),
        ("Type;ID\nweb_visit;159000001\n", "Line 2 of ids is a web_visit, not a company"),
        ("Id,,Contact\nNr,id,Name\n1,159000001,A\n", "Line 2 of ids has names of columns.*lines above the header"),
        ("id,parent\n159000001,x\nparent,id\n", "Line 3 of ids has names of columns"),
        ("id\n1.59000001E8\n", "Line 2 of ids has '1.59000001E8' instead of an id"),
        ("id,name\n159000001.0,A\n", "Line 2 of ids has '159000001.0' instead of an id"),
        ("id,name\n12E+07,A\n", "Line 2 of ids has '12E.07' instead of an id"),
        ("id,name\n1.59E+08,A\n", "Line 2 of ids has '1.59E.08' instead of an id"),
        ('id\n="159000001"\n', "Line 2 of ids has '=\"159000001\"' instead of an id"),
        ("159000001\n'159000002\n", 'Line 2 of ids has "\'159000002" instead of an id'),
        ("id,name\n159000001,A\nNULL,B\n", "Line 3 of ids has 'NULL' instead of an id"),
        ('{"id":"#N/A","type":"company"}\n', "Line 1 of ids has '#N/A' instead of an id"),
    ],
)
def test_lines_that_are_not_one_id(text: str, problem: str) -> None:
    """Several ids in a line, and ids of other records, are refused. None is left out or sent as another one."""
    with pytest.raises(ConfigurationError, match=problem):
        list(ids_in_lines(BytesIO(text.encode()), IdParser("ids", "company", None)))


@pytest.mark.parametrize(
    "text",
    [
        "id,type\n159000001,company\n159000002,prospect\n",
        "id,type\n159000001,company\n,contact\n159000002,\n",
        "id,name\n159000001,x\n\ufeffid,name\n159000002,y\n",
        "id,name\nid,name\n159000001,id\n159000002,id\n",
        "\u200b159000001\n15900\u20600002\u200b\u00ad\n",
        "id,name,country\n,Elbe,ID\n159000001,x,ID\n159000002,y,DE\n",
        "159000001\n\ufeff159000002\n",
        '{"id":"159000001"}\n{"id":"","name":"x"}\n{"id":" 159000002 ","type":""}\n',
        "company_id,type\n159000001,contact\n159000002,contact\n",
        '"id";"name, legal, form"\n"159000001";"x"\n"159000002";"y"\n',
        '"159000001"\n"159000002",\n',
    ],
)
def test_ids_beside_columns_of_the_user(text: str) -> None:
    """Other values in a column ``type``, and quoted headers with another delimiter inside, are accepted."""
    parser = IdParser("ids", "company", None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == ["159000001", "159000002"]


def test_many_ids_in_one_line() -> None:
    """The error for ids in one line names a few of them."""
    text = ",".join(map(str, range(159_000_000, 159_020_000)))
    with pytest.raises(ConfigurationError, match=r"'159000019', and 19,980 more\..* one id per line") as caught:
        list(ids_in_lines(BytesIO(text.encode()), IdParser("ids", "company", None)))
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("first", ["BZh7Lk2", "PAR1x9", "159000001"])
def test_ids_that_begin_like_other_formats(first: str) -> None:
    """An id of letters and digits is no archive."""
    assert list(ids_in_lines(BytesIO(f"{first}\nx\n".encode()), IdParser("ids", "company", None))) == [first, "x"]


def test_long_cell_beside_an_id() -> None:
    """A cell of any length on one line is accepted, as in the output of an enrichment."""
    note = '"' + "long note, " * 40_000 + '"'
    text = f"id,note\n159000001,{note}\n159000002,x\n"
    parser = IdParser("ids", "company", None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == ["159000001", "159000002"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b'[{"id":"159000001"}]\n', "JSON document"),
        (b'\xef\xbb\xbf["159000001","159000002"]\n', "JSON document"),
        (b"\n[\n159000001,\n159000002\n]\n", "JSON document"),
        (b"%PDF-1.4\n159000001\n", "document, not a table"),
        (b"<!DOCTYPE html>\n159000001\n", "HTML or XML"),
        (b"PK\x03\x04\x14\x00159000001\n", "archive or a workbook"),
        (b"\x01\x02\x03\x04\n159000001\n", "not a text file"),
    ],
)
def test_other_formats_are_not_taken_for_ids(text: bytes, problem: str) -> None:
    """The first line of another format is refused, and not sent as an id."""
    with pytest.raises(ConfigurationError, match=f"^ids .*{problem}"):
        list(ids_in_lines(BytesIO(text), IdParser("ids", "company", None)))


def test_id_with_a_line_break() -> None:
    """An id cell that contains another row is refused, also in the first row."""
    text = b'id,name,note\n"159000001,N,x\n159000002,N",x\n159000003,N,x\n'
    with pytest.raises(ConfigurationError, match="Line 3 of ids has an id with spaces or a line break"):
        list(ids_in_lines(BytesIO(text), IdParser("ids", "company", None)))


def test_lines_of_a_cell_are_parsed_twice_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of a long cell with quotes are not parsed again for each of them."""
    parsed, parse = list[int](), IdParser._cells

    def count(parser: IdParser, lines: Sequence[str]) -> list[str] | None:
        parsed.append(len(lines))
        return parse(parser, lines)

    monkeypatch.setattr(IdParser, "_cells", count)
    text = 'id,note\n159000001,"' + '<a href=""x"">\n' * 1_000 + '"\n159000002,x\n'
    parser = IdParser("ids", "company", None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == ["159000001", "159000002"]
    assert sum(parsed) < 2_100


@pytest.mark.parametrize("note", ["Call 2026-01-05,Eva,ok", "20457,Hamburg,DE", "Hafen,City,DE", "see,b.test,c.test"])
def test_notes_that_hide_no_ids(note: str) -> None:
    """A note with several lines hides no ids."""
    text = f'id,name,note\n159000001,Elbe,"a\n{note}\nb"\n159000002,Main,c\n'
    parser = IdParser("ids", "company", None)
    assert list(ids_in_lines(BytesIO(text.encode()), parser)) == ["159000001", "159000002"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ('1,a\n2,"b\n3,c\n4,d\n', "Line 3 of ids has a quote that is not closed"),
        ('1,"Elbe 19"" rack\n2,b\n3,"c"\n', "Line 4 of ids is not valid CSV"),
        ('1,"Elbe\n2,b\n3,19"\n4,d\n', "Line 4 of ids ends a cell that contains rows with ids"),
        ('1,"Elbe" GmbH\n2,b\n', "Line 2 of ids is not valid CSV"),
        ('1,"call back\n2,"ok"\n3,y\n', "Line 3 of ids is not valid CSV"),
        ('1,"call back\n2,27"\n3,y\n', "Line 3 of ids ends a cell that contains rows with ids"),
        ('1,"' + "long note " * 1_000 + '\n2,y\n3,27"\n4,z\n', "Line 4 of ids ends a cell that contains rows with ids"),
        ("1,Elbe, Inc.\n2,b\n", "Line 2 of ids has 3 cells for 2 columns"),
        ("1,a\r2,b\r", "Line 2 of ids has old Mac line ends"),
        (
            '1,a\n2,"' + "x" * 200_000 + '\n"\n',
            "Line 4 of ids is not valid CSV, or has several lines and a cell of more than 131,072 characters",
        ),
    ],
)
def test_invalid_rows_of_ids(rows: str, message: str) -> None:
    """Rows that cannot be separated are refused, and none is left out."""
    with pytest.raises(ConfigurationError, match=message):
        list(ids_in_lines(BytesIO(f"id,name\n{rows}".encode()), IdParser("ids", "company", None)))
