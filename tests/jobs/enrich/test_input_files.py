"""Input files as spreadsheets, CRMs and databases export them. None of them is misread silently."""

from __future__ import annotations

import csv
import gzip
import io
import os
import struct
import subprocess
import sys
import threading
import zipfile
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.enrich import file_format, table_source, workbook_check
from leadfeeder_async.jobs.enrich.input_file import InputFile
from leadfeeder_async.jobs.enrich.key_normalization import By, KeyFinder, parse_rules
from tests.support.requirements import needs_fifos, needs_memory_limits

NORD, ELBE = "xn--mller-nord-9db.test", "elbe.test"
ROWS = [["Müller Nord GmbH", "https://www.Müller-Nord.test/", "Kiel"], ["Elbe, Söhne", "elbe.test", "Köln"]]


def table(names: list[str], rows: list[list[str]] = ROWS, end: str = "\r\n", **dialect: Any) -> str:
    """Return a table as a program with this CSV dialect writes it."""
    file = io.StringIO()
    writer = csv.writer(file, **{"lineterminator": end, **dialect})
    writer.writerows([names, *rows])
    return file.getvalue()


NAMES = ["Firma", "Website", "Ort"]


def workbook(*sheets: tuple[str, list[list[object]]], hidden: Collection[str] = (), offset: int = 0) -> bytes:
    """Return an .xlsx file with some sheets."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets:
        sheet = book.create_sheet(title)
        for place, row in enumerate(rows, 1 + offset):
            for column, value in enumerate(row, 1 + offset):
                sheet.cell(place, column, value)  # pyright: ignore[reportArgumentType]
        if title in hidden:
            sheet.sheet_state = "hidden"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


def ods() -> bytes:
    """Return an .ods file as LibreOffice writes it."""

    def row_of(row: list[str]) -> str:
        cells = (
            f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>' for cell in row
        )
        return f"<table:table-row>{''.join(cells)}</table:table-row>"

    rows = "".join(map(row_of, (NAMES, *ROWS)))
    uri = "urn:oasis:names:tc:opendocument:xmlns"
    content = (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content xmlns:office="{uri}:office:1.0" '
        f'xmlns:table="{uri}:table:1.0" xmlns:text="{uri}:text:1.0" office:version="1.3"><office:body><office:spreadsheet>'
        f'<table:table table:name="Leads">{rows}</table:table></office:spreadsheet></office:body></office:document-content>'
    )
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", f'<m:manifest xmlns:m="{uri}:manifest:1.0"/>')
    return file.getvalue()


HUBSPOT = table(
    ["Record ID", "Company Domain Name", "Company name", "Create Date", "Associated Note"],
    [
        ["8713", "müller-nord.test", "Müller Nord GmbH", "2026-02-03 10:11", 'He said: "call me";\nlater, maybe'],
        ["8714", "elbe.test", "Elbe, Söhne", "2026-02-04 09:00", ""],
    ],
    quoting=csv.QUOTE_ALL,
    end="\n",
)
SALESFORCE_REPORT = (
    '"Leads 2026"\n"As of 2026-11-20 10:00"\n\n"Filtered By"\n"  Country: DE"\n\n'
    + table(
        ["Company / Account", "Website", "Email"], [[*row[:2], "a@b.test"] for row in ROWS], "\n", quoting=csv.QUOTE_ALL
    )
    + '\n"Confidential Information - Do Not Distribute"\n"Copyright (c) 2000-2026"\n'
)
LINKEDIN = (
    'Notes:\n"When exporting your connection data, you may notice that some of the email addresses are missing."\n\n'
    "First Name,Last Name,URL,Email Address,Company,Position,Connected On\n"
    "Eva,Meier,https://www.linkedin.com/in/eva,eva@xn--mller-nord-9db.test,Müller Nord GmbH,CTO,20 Nov 2026\n"
    "Tom,Klein,https://www.linkedin.com/in/tom,,elbe,CEO,21 Nov 2026\n"
)
ANALYTICS = "# ----------------------------------------\n# Companies\n# 20261101-20261130\n# ----------------------------------------\n\n"
SAP = (
    "List of customers\n\n"
    "-----------------\n"
    "|Kunde|Firma           |Website            |\n|1    |Müller Nord GmbH|www.müller-nord.test|\n|2    |Elbe            |elbe.test          |\n"
)
MIXED_SHEET: list[list[object]] = [["Firma", "Website", "USt-ID", "Seit", "Aktiv"],
    ["Müller Nord GmbH", "müller-nord.test", 123456789, date(2026, 1, 2), True],
    ["Elbe", "elbe.test", "DE 987 654 321", None, False]]  # fmt: skip

DOMAINS = [NORD, ELBE]
FILES: list[tuple[str, bytes | str, str | list[str], list[str], str]] = [
    # name, content, by, keys, a part of the description
    ("excel-utf8.csv", "\ufeff" + table(NAMES, delimiter=";"), "domain", DOMAINS, "separated by semicolons, encoding utf-8-sig"),
    ("excel-unicode.txt", table(NAMES, delimiter="\t").encode("utf-16"), "domain", DOMAINS, "tabs, encoding utf-16"),
    ("excel-unicode-big-endian.txt", b"\xfe\xff" + table(NAMES, delimiter="\t").encode("utf-16-be"), "name", ["Müller Nord GmbH, Kiel", "Elbe, Söhne, Köln"], "utf-16"),
    ("utf16-without-mark.csv", table(NAMES, delimiter=";").encode("utf-16-le"), "domain", DOMAINS, "utf-16-le"),
    ("utf32.csv", table(NAMES).encode("utf-32"), "domain", DOMAINS, "utf-32"),
    ("excel-mac.csv", table(NAMES, end="\r", delimiter=";"), "domain", DOMAINS, "semicolons"),
    ("excel-mac-lines.csv", table([*NAMES, "Note"], [[*row, "two\nlines"] for row in ROWS], "\r", quoting=csv.QUOTE_ALL), "domain", DOMAINS, "header in line 1"),
    ("sep-semicolon.csv", "sep=;\r\n" + table(NAMES, delimiter=";"), "domain", DOMAINS, "header in line 2"),
    ("sep-pipe-with-commas.csv", "SEP=|\n" + table(NAMES, delimiter="|"), "name", ["Müller Nord GmbH, Kiel", "Elbe, Söhne, Köln"], "pipes"),
    ("sep-quoted.csv", '\ufeff"sep=,"\r\n' + table(NAMES), "domain", DOMAINS, "commas, encoding utf-8-sig, header in line 2"),
    ("sep-saved-again.csv", "sep=;;;\n" + table(NAMES, delimiter=";"), "domain", DOMAINS, "semicolons"),
    ("sep-tab.txt", ("sep=\t\r\n" + table(NAMES, delimiter="\t")).encode("utf-16"), "domain", DOMAINS, "tabs"),
    ("sep-unusual.csv", "sep=^\n" + table(NAMES, delimiter="^"), "domain", DOMAINS, "separated by '^'"),
    ("google-sheets.csv", table(NAMES).rstrip(), "domain", DOMAINS, "commas"),
    ("libreoffice-tabs.tsv", table(NAMES, end="\n", delimiter="\t", quoting=csv.QUOTE_ALL), "domain", DOMAINS, "tabs"),
    ("libreoffice-pipes.csv", table(NAMES, end="\n", delimiter="|"), "domain", DOMAINS, "pipes"),
    ("UPPER.CSV", table(NAMES), "domain", DOMAINS, "commas"),
    ("hubspot.csv", HUBSPOT, "domain", DOMAINS, "'Company Domain Name'"),
    ("hubspot-names.csv", HUBSPOT, "name", ["Müller Nord GmbH", "Elbe, Söhne"], "'Company name'"),
    ("salesforce.csv", SALESFORCE_REPORT, "domain", [*DOMAINS, "", ""], "header in line 7"),
    ("salesforce-names.csv", SALESFORCE_REPORT, "name", ["Müller Nord GmbH", "Elbe, Söhne", "", ""], "'Company / Account'"),
    ("pipedrive.csv", table(["Organization - ID", "Organization - Name", "Organization - Website"], [["1", *ROWS[0][:2]], ["2", *ROWS[1][:2]]]), ["domain", "name"], DOMAINS, "'Organization - Website'"),
    ("zoho.csv", table(["Account Id", "Account Name", "Website", "Billing City"], [["zcrm_1", *ROWS[0]], ["zcrm_2", *ROWS[1]]]), "name", ["Müller Nord GmbH, Kiel", "Elbe, Söhne, Köln"], "'Account Name'"),
    ("outlook.csv", table(["First Name", "Company", "E-mail Address"], [["Eva", "Müller Nord GmbH", "eva@müller-nord.test"], ["Tom", "Elbe", "tom@gmail.com"]]), ["email", "name"], [NORD, "Elbe"], "email in column 'E-mail Address', then name in column 'Company'"),
    ("google-contacts.csv", table(["Name", "E-mail 1 - Value", "Organization 1 - Name"], [["Eva Meier", "eva@müller-nord.test", ""], ["Tom Klein", "", "Elbe"]]), ["email", "name"], [NORD, "Elbe"], "'Organization 1 - Name'"),
    ("mailchimp.csv", table(["Email Address", "First Name", "MEMBER_RATING"], [["eva@müller-nord.test", "Eva", "2"], ["tom@elbe.test", "Tom", "3"]]), "domain", DOMAINS, "'Email Address'"),
    ("linkedin.csv", LINKEDIN, ["email", "name"], [NORD, "elbe"], "header in line 4"),
    ("analytics.csv", ANALYTICS + table(NAMES), "domain", DOMAINS, "header in line 6"),
    ("sap.txt", SAP.replace("|", "\t"), "domain", DOMAINS, "header in line 4"),
    ("sap.csv", SAP, "domain", DOMAINS, "pipes"),
    ("decimal-commas.csv", "Umsatz;Website;Anteil\n1,5;müller-nord.test;0,1\n2,5;elbe.test;0,2\n", "domain", DOMAINS, "semicolons"),
    ("comma-in-header.csv", '"Firma, Name";Website, main;Domain\nA;x;müller-nord.test\nB;y;elbe.test\n', "domain", DOMAINS, "'Domain'"),
    ("phpmyadmin.csv", '"id";"website";"deleted"\n"1";"müller-nord.test";NULL\n"2";"elbe.test";NULL\n', "domain", DOMAINS, "semicolons"),
    ("nul-bytes.csv", "Firma,Web\0site\nMüller\0,müller-nord.test\0\0\nElbe,elbe.test\n", "domain", DOMAINS, "commas"),
    ("invisible.csv", "\u200bFirma\u00a0;\u00a0Web\u00adsite \nA;\u200bmüller-nord\u00ad.test\u00a0\nB;elbe.test.\n", "domain", DOMAINS, "semicolons"),
    ("long-cell.csv", "Website,Note\nmüller-nord.test," + "x" * 150_000 + "\nelbe.test,y\n", "domain", DOMAINS, "commas"),
    ("long-quoted-cell.csv", 'Website,Note\nmüller-nord.test,"' + "x\n" * 500_000 + '"\nelbe.test,y\n', "domain", DOMAINS, "commas"),
    ("spaces.csv", '"Firma", "Website"\n"Müller, Nord", "müller-nord.test"\n"Elbe",  elbe.test\n', "domain", DOMAINS, "commas"),
    ("quote-after-space.csv", 'Firma,Website\n "Best" Elbe GmbH,müller-nord.test\nElbe,elbe.test\n', "domain", DOMAINS, "commas"),
    ("short-rows.csv", "Website,Firma,Ort\nmüller-nord.test\nelbe.test,Elbe\n", "domain", DOMAINS, "commas"),
    ("broken-line.csv", "Firma,Note,Ort\nMüller,first line\nsecond line\nElbe,x,Kiel\n", "name", ["Müller", "", "Elbe, Kiel"], "commas"),
    ("extra-cells.csv", "Firma,Ort\nMüller,Kiel\nElbe, Söhne,Köln\n", "name", ["Müller, Kiel", ""], "commas"),
    ("one-column.csv", "Website\nmüller-nord.test\nelbe.test\n", "domain", DOMAINS, "table with one column, encoding utf-8, header in line 1"),
    ("groups.csv", "Company,,Contact\nId,Name,Phone\n1,Müller,x\n2,Elbe,y\n", "name", ["Müller", "Elbe"], "header in line 2"),
    ("groups-of-columns.csv", "Company,,,Contact\nId,Name,City,E-Mail\n1,Müller,Kiel,\n2,Elbe,,\n", "name", ["Müller, Kiel", "Elbe"], "header in line 2"),
    ("criteria.csv", "Firma;Meyer AG;\nStand;30.11.2026;\n;;\nId;Firma;Ort\n1;Müller;Kiel\n2;Elbe;\n", "name", ["Müller, Kiel", "Elbe"], "header in line 4"),
    ("criteria.xlsx", workbook(("A", [["Website", "www.own.test"], ["Id", "Website", "Ort"], ["1", "müller-nord.test", ""], ["2", "elbe.test", ""]])), "domain", DOMAINS, "header in line 2"),
    ("pandas.csv", ",Firma,Art,Quelle\n0,Müller,Company,Web\n1,Elbe,Account,Messe\n", "name", ["Müller", "Elbe"], "header in line 1"),
    ("unnamed-last.csv", "Company;Channel;Next step;\nMüller;Web;Mail;x\nElbe;Phone;Web;\n", "name", ["Müller", "Elbe"], "header in line 1"),
    ("unnamed-note.csv", "email,company type,source\na@müller-nord.test,x,y\nb@elbe.test,Company,Email,\n", "email", DOMAINS, "header in line 1"),
    ("words.csv", ",Website,Art\n0,müller-nord.test,Web\n1,elbe.test,Email\n", "domain", DOMAINS, "header in line 1"),
    ("years.csv", "Kundenliste\nFirma;Ort;2023;2024\nMüller;Kiel;1;2\nElbe;;3;4\n", "name", ["Müller, Kiel", "Elbe"], "header in line 2"),
    ("group-years.csv", "Firma;;;Umsatz;\nNr;Name;Ort;2023;2024\n1;Müller;;5;6\n2;Elbe;;7;8\n", "name", ["Müller", "Elbe"], "header in line 2"),
    ("abbreviations.csv", "Liste\nKd.Nr.;Website;e.V.;E-Mail (@)\n1;müller-nord.test;;\n2;elbe.test;;\n", "domain", DOMAINS, "header in line 2"),
    ("record-type.csv", "Firma;Art;\nMüller;Company;x\nElbe;Person;y\n", "name", ["Müller", "Elbe"], "header in line 1"),
    ("repeated-header.csv", "Firma;Ort\nFirma;Ort\nMüller;Kiel\n", "name", ["", "Müller, Kiel"], "header in line 1"),
    ("comma-in-name.csv", "Firma\nMüller\nElbe\nMeier, Firma\n", "name", ["Müller", "Elbe", ""], "header in line 1"),
    ("merged-key.csv", "Firma;Kontakt;;\n;Name;Telefon;Position\nMüller;Max;1;2\nElbe;Eva;3;4\n", "name", ["", "Müller", "Elbe"], "header in line 1"),
    ("labels.csv", "Company:;CRONUS AG;;;\nDate:;01.11.2026;;;\nCustomer No.;Name;Phone No.;Contact;Balance\n1;Müller;1;x;1\n2;Elbe;2;y;2\n", "name", ["Müller", "Elbe"], "header in line 3"),
    ("period.csv", "Zeitraum:;01.01.2024 - 31.12.2024\nFirma;Umsatz;Marge\nMüller;1;2\nElbe;3;4\n", "name", ["Müller", "Elbe"], "header in line 2"),
    ("date.csv", "Report;2024-12-31\nFirma;Umsatz;Marge\nMüller;1;2\nElbe;3;4\n", "name=Firma", ["Müller", "Elbe"], "header in line 2"),
    ("report.txt", "Kundenliste\nFirma;Umsatz;Marge\nMüller;1;2\nElbe;3;4\n", "name", ["Müller", "Elbe"], "header in line 2"),
    ("spelled-header.csv", "Firma;Ort\nORT ;FIRMA\nMüller;Kiel\n", "name", ["", "Müller, Kiel"], "header in line 1"),
    ("criteria.csv", "Report period,2024\nCompany,Revenue,Profit\nMüller,1,2\nElbe,3,4\n", "name", ["Müller", "Elbe"], "header in line 2"),
    ("salutations.csv", "Anrede;Name;Name;Ort\nFirma;Müller;Werk;Kiel\nHerr;Max;;\nFirma;Elbe;;\n", "name=Name", ["Müller, Kiel", "Max", "Elbe"], "header in line 1"),
    ("source.csv", "Website;;Quelle;Kanal\nmüller-nord.test;x;Web;a\nelbe.test;y;Web;b\n", "domain", DOMAINS, "header in line 1"),
    ("only-names.csv", "Kd;Firma\nWeb;Mail\nx;Elbe\n", "name=Firma", ["Mail", "Elbe"], "header in line 1"),
    ("nested.csv", "Report\ncompany.id,company.name,company.domain\n1,x,müller-nord.test\n2,y,elbe.test\n", "domain=company.domain", DOMAINS, "header in line 2"),
    ("no-header.csv", "müller-nord.test\nelbe.test\n", "domain", DOMAINS, "no header"),
    ("keys.txt", "\ufeffmüller-nord.test\r\n\r\nelbe.test", "domain", DOMAINS, "one key per line"),
    ("names.txt", "Müller, Söhne; Co\nElbe\n", "name", ["Müller, Söhne; Co", "Elbe"], "one key per line"),
    ("keys-with-header.txt", "Website\nmüller-nord.test\nelbe.test\n", "domain", DOMAINS, "header in line 1"),
    ("keys-mac.txt", "müller-nord.test\relbe.test\r", "domain", DOMAINS, "one key per line"),
    ("UPPER.NDJSON", '\ufeff{"Website":"müller-nord.test"}\n\n"elbe.test"\n', "domain", DOMAINS, "JSON lines, encoding utf-8-sig"),
    ("leads.xlsx", workbook(("Leads", [NAMES, *ROWS])), "domain", DOMAINS, "workbook, sheet 'Leads', header in line 1"),
    ("offset.xlsx", workbook(("Leads", [["Leads 2026"], [], NAMES, *ROWS]), offset=2), "domain", DOMAINS, "header in line 5"),
    ("hidden.xlsx", workbook(("Lists", [["x"]]), ("Leads", [NAMES, *ROWS]), ("More", [["y"]]), hidden=["Lists"]), "domain", DOMAINS, "sheet 'Leads' (one of 2)"),
    ("numbers.xlsx", workbook(("A", MIXED_SHEET)), "vat", ["123456789", "DE987654321"], "'USt-ID'"),
    ("libreoffice.ods", ods(), "domain", DOMAINS, "sheet 'Leads'"),
    ("comma-in-header.csv", "Firma, Rechtsform;Webseite\nMüller;müller-nord.test\nElbe;elbe.test\n", "domain", DOMAINS, "semicolons"),
    ("record-link.csv", "URL,Firma,Homepage\ncrm.test/1,Müller,müller-nord.test\ncrm.test/2,Elbe,elbe.test\n", "domain", DOMAINS, "in column 'Homepage'"),
    ("vat-amount.csv", "Firma,VAT,VAT number\nMüller,27000,DE123456788\nElbe,54000,FR40303265045\n", "vat", ["DE123456788", "FR40303265045"], "in column 'VAT number'"),
    ("persons-city.csv", "Company,City,Company City\nMüller,Lisbon,Kiel\nElbe,Rome,\n", "name", ["Müller, Kiel", "Elbe, Rome"], "header in line 1"),
    ("prefix.csv", "Company,Country Code,Country\nMüller,+49,Germany\nElbe,43,AT\n", "name", ["Müller, Germany", "Elbe, AT"], "header in line 1"),
    ("short-row.csv", "Name;Ort;Firma\nEva;Kiel;Müller\nTom;Kiel\n", "name", ["Müller, Kiel", ""], "in column 'Firma'"),
    ("omitted.ndjson", '{"name": "Eva"}\n{"name": "Tom", "company": "Elbe"}\n', "name", ["", "Elbe"], "JSON lines, encoding utf-8. Key: name in column 'company'"),
    ("placeholders.csv", "Website\nmüller-nord.test\nk.A.\na@k.a\n", "domain", [NORD, "", ""], "header in line 1"),
    ("zeros.csv", "Firma,Ort\nMüller,0\n0,Kiel\nFALSE,Kiel\n", "name", ["Müller", "", ""], "header in line 1"),
    ("report-above.csv", "Report;2026\nOwner;eva@müller-nord.test\n\nId;Website;Ort\n1;elbe.test;Kiel\n", "domain", [ELBE], "header in line 4 (rows above it: 2)"),
    ("letterhead.csv", "www.verband.test\ninfo@verband.test\n\nFirma;Ort;Webseite;Telefon\nMüller;Kiel;müller-nord.test;1\nElbe;;elbe.test;2\n", "domain", DOMAINS, "header in line 4"),
    ("period.csv", "Zeitraum von;01.01.2026;\nZeitraum bis;31.03.2026;\nBerater;1234567;\nFirma;Ort;USt-IdNr;Stand\nMüller;Kiel;DE123456788;x\n", "vat", ["DE123456788"], "header in line 4"),
    ("romania.csv", "Company,Tax ID\nMüller,1590082\nElbe,361757\n", "vat", ["1590082", "361757"], "in column 'Tax ID'"),
    ("accents.ndjson", "".join(f'{{"name": "Eva", "Größe {n}": 1}}\n' for n in range(250)) + '{"name": "Tom", "société": "Elbe"}\n', "name", [""] * 250 + ["Elbe"], "in column 'société'"),
    ("null.ndjson", '{"website": "müller-nord.test"}\n{"domain": null, "website": "b.test"}\n{"website": "elbe.test"}\n', "domain", [NORD, "b.test", ELBE], "in column 'website'"),
    ("next-table.csv", "Company;Umsatz;Segment\nMüller;5;A\n\nCompany;Ort;Land\nElbe;Kiel;DE\n", "name", ["Müller", "", "Elbe"], "header in line 1"),
    ("empty-better.ndjson", '{"website": "müller-nord.test", "domain": ""}\n{"website": "elbe.test", "domain": ""}\n', "domain", DOMAINS, "in column 'website'"),
    ("all-empty.ndjson", '{"domain": null, "id": 1}\n{"domain": "", "id": 2}\n', "domain", ["", ""], "JSON lines"),
    ("strings-and-objects.ndjson", '"müller-nord.test"\n{"foo": 1}\n"elbe.test"\n', "domain", [NORD, "", ELBE], "JSON lines"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "by", "keys", "description"), FILES, ids=[file[0] for file in FILES])
def test_files_that_are_read(
    tmp_path: Path, name: str, content: bytes | str, by: str | list[str], keys: list[str], description: str
) -> None:
    """Each row has the expected key, or no valid key. The description contains how the file was read."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = InputFile(path, by)
    finder = KeyFinder(parse_rules(by), columns=rows.key_columns)
    found = [finder.find(row) for row in rows]
    assert ["" if key.problem else key.value for key in found] == keys
    assert len(rows) == len(keys)
    assert description in rows.description
    assert [finder.find(row) for row in rows] == found


HTML = "<html><head><meta charset=utf-8></head><table><tr><td>Website</td></tr><tr><td>a.test</td></tr></table></html>"
ARCHIVE = workbook(("Leads", [NAMES, *ROWS]))

REFUSED: list[tuple[str, bytes | str, str]] = [
    # name, content, a part of the error and its hint
    ("leads.json", '[{"website":"a.test"}]', "is a JSON document.*ndjson"),
    ("leads.JSON", '{"website":"a.test"}\n', "is a JSON document"),
    ("json.csv", ' [\n {"website":"a.test"}]', "is a JSON document"),
    ("lines.txt", '{"website":"a.test"}\n{"website":"b.test"}\n', "is a JSON document"),
    ("array.ndjson", '[{"website":"a.test"}]\n', "line 1 is not a JSON object or a JSON string.*jq"),
    ("salesforce.xls", HTML, "contains an HTML or XML table.*save the table"),
    ("text.xls", "Website;Ort\r\na.test;Kiel\r\n", "is a text file, not a workbook.*Rename it to .csv"),
    ("html.csv", HTML, "contains an HTML or XML table"),
    ("spreadsheetml.xml", '<?xml version="1.0"?><Workbook/>', "contains an HTML or XML table"),
    ("leads.zip", ARCHIVE, "is an archive.*Unpack it"),
    ("renamed.csv", ARCHIVE, "is a .zip archive or a workbook.*Rename it to .xlsx"),
    ("leads.csv.gz", gzip.compress(b"website\na.test\n"), "is an archive"),
    ("gzip.csv", gzip.compress(b"website\na.test\n"), "is an archive"),
    ("leads.numbers", ARCHIVE, "is a Numbers document.*Export it"),
    ("leads.pdf", b"%PDF-1.7\n", "is a document, not a table"),
    ("leads.parquet", b"PAR1....PAR1", "is a binary data file"),
    ("data.csv", b"PAR1....PAR1", "is a binary data file"),
    ("sqlite.txt", b"SQLite format 3\0" + b"\0" * 100, "is a binary data file"),
    ("binary.csv", bytes(range(32)) * 10, "is not a text file"),
    ("damaged.xlsx", b"PK\x03\x04" + b"x" * 100, "cannot be read as a workbook.*password"),
    ("protected.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "cannot be read as a workbook.*password"),
    ("empty.xlsx", b"", "is not a workbook"),
    ("no-rows.xlsx", workbook(("Leads", [])), "is empty"),
    ("empty.csv", "", "is empty"),
    ("no-column.xlsx", workbook(("Leads", [["Telefon", "Ort"], ["1", "Kiel"]])), "has no column for 'domain'. It has 'Telefon', 'Ort'"),
    ("no-column.csv", "Telefon;Ort\n1;Kiel\n", "has no column for 'domain'. It has 'Telefon', 'Ort'"),
    ("no-column.txt", "Telefon\tOrt\n1\tKiel\n", "has no column for 'domain'. It has 'Telefon', 'Ort'"),
    ("unknown.csv", ",Kunde,Art,Quelle\n0,Meyer,Firma,Messe\n1,Elbe,GmbH,Messe\n", "has no column for 'domain'"),
    ("wide-group.csv", "Account;All;;;\nLfd. Nr.;Firma;Umsatz;Mitarbeiter;Gegr.\n1;Müller;5;6;1999\n", "has no column for 'domain'"),
    ("type-column.csv", "Kundennummer;Bezeichnung;Typ;Region;\nK-1;Meyer;Website;Nord;A\nK-2;Elbe;x;Nord;B\n", "has no column for 'domain'"),
    ("two-headers.csv", "website,website,contact\nid,url,email\n1,a.test,b@b.test\n", "Line 1 and line 2 .* may both be the header"),
    ("no-header.csv", "1,Meyer,a.test\n2,Elbe,b.test\n", "has no column for 'domain'.*add one"),
    ("titles.csv", "Report,2026,x,y\nWebsite,Ort\na.test,Kiel\n", "has no column for 'domain'.*delete the lines above"),
    ("windows.csv", "Website;Ort\na.test;Köln\n".encode("cp1252"), "line 2 is not valid utf-8.*cp1252"),
    ("unclosed.csv", 'Website,Note\na.test,"x\nb.test,y\n', "line 2 is not valid CSV.*not closed"),
    ("backslashes.csv", 'Website,Note\na.test,"say \\"hi\\", ok"\n', "line 2 is not valid CSV"),
    ("line-ends.csv", "Website,Note\na.test,one\rtwo\nb.test,y\n", "line 2 is not valid CSV.*mixes line ends"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "message"), REFUSED, ids=[file[0] for file in REFUSED])
def test_files_that_are_refused(tmp_path: Path, name: str, content: bytes | str, message: str) -> None:
    """A file that cannot be read reliably is refused, with what to do."""
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError, match=f"(?s){message}"):
        InputFile(path, "domain")


UNCERTAIN: list[tuple[str, str, By, str]] = [
    # name, content, key, the error
    ("record-numbers.csv", "Account,Name\n10000,Müller\n10001,Elbe\n", "name", "The column 'Account' .* has numbers such as '10000' instead of a company name"),
    ("group-of-numbers.csv", "Firma;;Kontakt;\nNr;Kunde;Ort;E-Mail\n1001;Müller;Kiel;a@a.test\n1002;Elbe;;b@b.test\n", "name", "has numbers such as '1001' instead of a company name"),
    ("tax.csv", "Firma,VAT\nMüller,27.000\nElbe,19%\n", "vat", "has numbers such as '27.000' instead of a VAT ID"),
    ("two-columns.csv", "Company,Website,,Company,Website\nMüller,a.test,,Elbe,b.test\n", "domain", "several columns with the name '(Company|Website)'"),
    ("persons.csv", "Name;Vorname;Ort\nMeier;Eva;Kiel\nBauer;Tom;Kiel\n", "name", "has no column for 'name'"),
    ("two-tables.csv", "Company;Website\nMüller;a.test\nElbe;b.test\nCompany;Website;Ort\nNord;c.test;Kiel\n", "domain", "Line 4 .* may be its header or a row, because line 2 has a key too"),
    ("note-like-a-name.csv", "a.test\nb.test\nc.test,Website\nd.test\n", "domain", "Line 3 .* may be its header or a row, because line 1 has a key too"),
    ("titles.csv", "Report\nClient\nMüller AG\nStand\nKunde;Umsatz\nElbe;5\nNord;6\n", "name", "has no column for"),
    ("preferred.csv", "Account,Name\n10000,Müller\n10001,Elbe\n", "company", "The column 'Account' .* has numbers such as '10000'"),
    ("numbers.ndjson", '{"account": 10000, "name": "Müller"}\n{"account": 10001}\n', "name", "The column 'account' .* has numbers such as '10000'"),
    ("persons.ndjson", '{"name": "Meier", "firstname": "Eva"}\n', "name", "has no column for 'name'.* beside a first or last name"),
    ("other.ndjson", '{"Größe": 1, "Seite": "a.test"}\n', "domain", "has no column for 'domain'. It has 'Größe', 'Seite'"),
    ("two-columns-case.csv", "Website,Company,website\na.test,Müller,\n", "domain", "one of 'Website', 'website column 3'"),
    ("two-wide-tables.csv", "Company;Revenue\nA;5\nB;4\nC;3\n\nCompany;City;Country\nNord;Kiel;DE\n", "name", "Line 6 .* line 2 has a key too"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "content", "by", "message"), UNCERTAIN, ids=[file[0] for file in UNCERTAIN])
def test_headers_that_are_uncertain(tmp_path: Path, name: str, content: str, by: By, message: str) -> None:
    """A file is refused if its values or the rows above show that the header or the column may be another one."""
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=message):
        InputFile(path, by)


@pytest.mark.parametrize(
    ("by", "rows", "keys"),
    [
        ("name", [{"name": "Eva", "company": "Elbe"}, {"name": "Tom"}, {"company": "Nord"}], ["Elbe", "", "Nord"]),
        ("domain", [{"url": "a.test"}, {"domain": "b.test"}, {"url": "c.test"}], ["a.test", "b.test", ""]),
        (["domain", "name"], [{"domain": "a.test", "company": "A"}, {"company": "B"}], ["a.test", "B"]),
        ("name", [{"name": "Elbe"}, {"name": "Meier", "first_name": "Eva"}, {"name": "Bauer"}], ["Elbe", "", ""]),
        ("name=Name", [{"Name": "Elbe", "First name": "Eva"}], ["Elbe"]),
    ],
)
def test_rows_without_the_column_of_others(by: str | list[str], rows: list[dict[str, str]], keys: list[str]) -> None:
    """A row that lacks the column of the key in earlier rows is unusable. Another column has another meaning."""
    finder = KeyFinder(parse_rules(by))
    for current in (finder, finder.restart()):
        found = [current.find(row) for row in rows]
        assert ["" if key.problem else key.value for key in found] == keys
    problems = [key.problem for key in found if key.problem and "column" not in key.problem]
    assert all(problem.startswith("it has no value for ") for problem in problems)


COPIES = ',"a long\\nnote"' * 5


@pytest.mark.parametrize(
    ("text", "is_hidden"),
    [
        ('Company,Website\n"Best Screens,a.test\nBeta,b.test\nScreens 19",c.test\n', True),
        ('Company;Website\n"Best Screens;a.test\nScreens 19";c.test\n', True),
        ('Nr,Company,Website\n1,"Best,a.test\n2,Screens 19",c.test\n', True),
        ('Website,Note\nc.test,"x\nb.test,y\nz"\n', True),
        ('Website,Note\nc.test,"x\nb.test,27"\n', True),
        ('Website,Note\nc.test,"' + "long note " * 5_000 + '\nb.test,y\na.test,27"\n', True),
        ('Website,Note\nc.test,"' + "a line\n" * 500 + 'b.test,y\na.test,27"\n', True),
        ('Website,A,B,C,D,E\nc.test,"x\ny","x\ny","x\ny","x\ny","' + "a line\n" * 9 + 'a.test,1,2,3,4,27"\n', True),
        ('Website,Note\nc.test,"' + "long note, really\n" * 5_000 + '"\n', False),
        ('Website, Note\nc.test,"x\nb.test, y\na.test, 27"\n', True),
        ('"Website", "Note"\n"c.test", "x\nb.test, y\na.test, 27"\n', True),
        ('Firma;Website;Note\nElbe;c.test;"x;\nMain;b.test;y;\nIsar;a.test;27";\n', True),
        ('Firma;Website;Note;\nElbe;c.test;"x\nMain;b.test;y\nIsar;a.test;27"\n', True),
        ('Firma;Website;Note;Owner\nElbe;c.test;"x\nMain;b.test;y\nIsar;a.test;27"\n', True),
        ('Firma;Website;Betrag\n"Elbe;c.test;   12,50\nMain;b.test;    3,00\nIsar";a.test;  12,50\n', True),
        ('Firma;Website;Note\nElbe; c.test;"x\nMain; b.test;y\nIsar; a.test;27"\n', True),
        (f'Website{",A" * 4_000}\nc.test,"x{",y" * 3_999}\nb.test{",value" * 4_000}\na.test,27"{",z" * 3_999}\n', True),
        (f'Website,A,B,C,D,E,F\nc.test,"x,a,b,c,d,e\nb.test,5"{COPIES}\n', True),
        ('Website,Note\nc.test,"see\nother.test\nbye"\n', False),
        ('Website,Contact,Note\nc.test,Anna,"x\nc.test,Bob,y\nc.test,Carl,z\nc.test,Dora,27"\n', True),
        ('Firma,Website,Note\nElbe,c.test,"Main, b.test, see mail\nand\nmore"\n', False),
        ('Website,Note\nc.test,"From Eva:\nmain.test, see mail"\n', False),
        ('Note,Website\n"two\nlines",c.test\n', False),
        ('Website,Note\nc.test,"two\nlines, or\nthree"\n', False),
        ('Address,Website\n"Elbe 1, Kiel\nb.test",c.test\n', False),
        ('Address,Website\n"Elbe 1\nKiel\nb.test",c.test\n', False),
    ],
)
def test_rows_within_a_cell_are_reported(tmp_path: Path, text: str, is_hidden: bool) -> None:
    """A row that contains other rows after an unclosed quote is not looked up. Addresses with line breaks are."""
    path = tmp_path / "leads.csv"
    path.write_text(text, encoding="utf-8")
    (row,) = InputFile(path, "domain")
    assert ("others have a key too" in row.problem) == is_hidden


@pytest.mark.parametrize(
    ("text", "is_hidden"),
    [
        ('Firma,Ort,Note\nElbe,Kiel,"x\nMain,Bonn,y\nIsar,Rom,27"\n', True),
        ('Firma,Website,Note\nElbe,,"x\nMain,,y\nIsar,,27"\n', True),
        ('Firma,Anschrift,Note\nElbe,"Hafenweg 12\n20457 Hamburg, DE",x\n', False),
        ('Firma,Anschrift,Land\nElbe,"350 5th Ave, Suite 100\nNew York, NY 10118",US\n', False),
        ('Firma,Land,Anschrift\nElbe,US,"350 Fifth Ave\nNew York,NY,USA"\n', False),
        ('Firma,Note\nElbe,"call back, soon\nthanks, Eva\nbye, Eva"\n', False),
    ],
)
def test_rows_with_names_within_a_cell(tmp_path: Path, text: str, is_hidden: bool) -> None:
    """If names are looked up, a cell whose last lines have all cells of a row is reported. A note or address is not."""
    path = tmp_path / "leads.csv"
    path.write_text(text, encoding="utf-8")
    (row,) = InputFile(path, ["domain", "name"])
    assert ("others have a key too" in row.problem) == is_hidden


@pytest.mark.parametrize("key", ["domain", "name"])
@pytest.mark.parametrize(
    ("header", "delimiter", "end"),
    [
        ("Firma;Website;Note", ";", ";"),
        ("Firma;Website;Note", ";", ";;"),
        ("Firma;Website;Note;", ";", ""),
        ("Firma;Website;Note;Owner;City", ";", ""),
        ("Firma,Website,Note", ", ", ""),
    ],
)
def test_hidden_rows_of_other_shapes_than_the_header(
    tmp_path: Path, key: By, header: str, delimiter: str, end: str
) -> None:
    """The other rows show how many cells a row has, and whether spaces follow the delimiters."""
    lines = [delimiter.join([f"Elbe {number}", f"{number}.test", "note"]) + end for number in range(9)]
    lines[3] = f'Elbe 3{delimiter}3.test{delimiter.strip()}"note{end}'
    lines[6] = delimiter.join(["Elbe 6", "6.test", '27"']) + end
    path = tmp_path / "leads.csv"
    path.write_text("\n".join([header, *lines]), encoding="utf-8")
    problems = [row.problem for row in InputFile(path, key)]
    assert [bool(problem) for problem in problems] == [False, False, False, True, False, False]


@pytest.mark.parametrize(
    ("header", "note"),
    [
        ("Website;Company;Note", "see\nhttps://a.test/?x=1&amp;y=2\nbye"),
        ("Website|Company|Note", "Bye\nwww.a.test|info@a.test|040 123\n."),
        ("Website,Note", "see\na.test,A\nbye"),
        ("Website,Company,Owner,Note", "see\nb.test,B,C\nbye"),
        ("Website,Note", "see\nlinkedin.com/in/eva,Eva\nbye"),
    ],
)
def test_notes_that_hide_no_rows(tmp_path: Path, header: str, note: str) -> None:
    """A line with the key of its own row, with that of a social network, or with too few cells is no other row."""
    delimiter = header[len("Website")]
    width = header.count(delimiter)
    row = delimiter.join(["a.test", *["x"] * (width - 1), f'"{note}"'])
    other = delimiter.join(["b.test", *["x"] * width])
    path = tmp_path / "leads.csv"
    path.write_text(f"{header}\n{row}\n{other}\n{other}", encoding="utf-8")
    assert [row.problem for row in InputFile(path, "domain")] == ["", "", ""]


NOTE, TOTAL = "a note", "a total"


@pytest.mark.parametrize("is_workbook", [True, False])
@pytest.mark.parametrize(
    ("rows", "found"),
    [
        ("Acme,acme.test,5|Beta,,7|Total,,12", {4: TOTAL}),
        ("Acme,acme.test,5|Total: 12,,|Beta,,7", {3: TOTAL}),
        ("Acme,acme.test,5|Summe,,12 €|Anzahl (1),,", {3: TOTAL, 4: TOTAL}),
        ("Acme,acme.test,5|Sub-Total,,5|Sub  total,,5|Grand-Totals:,,5", {3: TOTAL, 4: TOTAL, 5: TOTAL}),
        ("Acme,acme.test,5|Total,,EUR 5|Total,-,5|Total,n/a,|Total (2 rows),,7", dict.fromkeys(range(3, 7), TOTAL)),
        ("Acme,acme.test,5|Total,,5 Mio|7,Total,12", {3: TOTAL, 4: TOTAL}),
        ("Acme,acme.test,5|3M,Average,4|Total (France),,5|7,Acme,12|Total,-x,5|Sub,Total,5", {}),
        ("Acme,acme.test,5||Exported by a CRM,,|For internal use,,", {4: NOTE, 5: NOTE}),
        ("Acme,acme.test,5||,Exported by a CRM,||,,Page 1", {4: NOTE, 6: NOTE}),
        ("Acme,acme.test,5|Beta,,||Gamma,,", {}),  # companies without other cells
        ("Acme,acme.test,5|Gamma,,|Total,total.test,5|TotalEnergies,,5|Total,,", {}),
        ("Sum 41,,5|Countdown,,5|Acme,acme.test,5||Beta,beta.test,", {}),
    ],
)
def test_totals_and_notes_below_a_table(tmp_path: Path, rows: str, found: dict[int, str], *, is_workbook: bool) -> None:
    """A total, or a note below a blank line, is not looked up as the name of a company. Other rows are."""
    cells = [row.split(",") if row else [] for row in f"Company,Website,Employees|{rows}".split("|")]
    path = tmp_path / ("leads.xlsx" if is_workbook else "leads.csv")
    if is_workbook:
        path.write_bytes(
            workbook(("Leads", [[int(cell) if cell.isdigit() else cell for cell in row] for row in cells]))
        )
    else:
        path.write_text("\n".join(";".join(row) for row in cells), encoding="utf-8")
    for _ in range(2):
        problems = {row.line: row.problem for row in InputFile(path, "name") if row.problem}
        assert problems.keys() == found.keys()
        assert all(text in problems[line] for line, text in found.items())
    assert not any(row.problem for row in InputFile(path, "domain", column="Website"))


def test_long_cells_with_spaces_and_digits(tmp_path: Path) -> None:
    """Finding totals takes little time for cells of any length."""
    path = tmp_path / "leads.csv"
    path.write_text(f"Company,Size\nTotal{' ' * 2_000_000}x,1\nTotal,{'1 ' * 1_000_000}x\n", encoding="utf-8")
    assert [row.problem for row in InputFile(path, "name")] == ["", ""]


CELLS = st.text(alphabet=st.sampled_from("a.test ü;,|\t\"'\r\n\0\ufeff=+{[<"), max_size=12)


@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=8),
    delimiter=st.sampled_from(",;\t|"),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    separator_line=st.booleans(),
)
@example(rows=[["", "\0\0", "\0\0"]], delimiter=",", end="\n", encoding="utf-8", separator_line=False)
def test_any_quoted_table_is_read_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[str]],
    delimiter: str,
    end: str,
    encoding: str,
    separator_line: bool,
) -> None:
    """A table in any dialect has the same cells after it is read, except for NUL characters."""
    path = tmp_path_factory.getbasetemp() / "any.csv"
    text = table(NAMES, rows, end, delimiter=delimiter, quoting=csv.QUOTE_ALL)
    text = f"sep={delimiter}{end}{text}" if separator_line else text
    path.write_bytes(text.encode(encoding))
    expected = [[cell.replace("\0", "") for cell in row] for row in rows]
    expected = [row for row in expected if any(map(str.strip, row))]
    found = [row.cells for row in InputFile(path, "domain")]
    assert [list(cells.values()) for cells in found if isinstance(cells, Mapping)] == expected


@given(st.binary(max_size=200), st.sampled_from([".csv", ".txt", ".ndjson", ".xlsx", ".xls", ".ods", "", ".tsv"]))
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str) -> None:
    """Any file is read or raises ConfigurationError."""
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(content)
    with suppress(ConfigurationError):
        rows, finder = InputFile(path, ["domain", "name"]), KeyFinder(parse_rules(["domain", "name"]))
        for row in rows:
            finder.find(row)


def test_sheet_by_name(tmp_path: Path) -> None:
    """A sheet is chosen by its name, also a hidden one. Unknown names and other formats raise ConfigurationError."""
    path, text = tmp_path / "leads.xlsx", tmp_path / "leads.csv"
    path.write_bytes(workbook(("A", [NAMES, ROWS[0]]), ("B", [NAMES, ROWS[1]]), hidden=["B"]))
    text.write_text("Website\na.test\n", encoding="utf-8")
    assert [row.cells for row in InputFile(path, "domain", sheet="B")] == [dict(zip(NAMES, ROWS[1], strict=True))]
    with pytest.raises(ConfigurationError, match=r"has no sheet 'C'\. Its sheets are 'A', 'B'") as caught:
        InputFile(path, "domain", sheet="C")
    assert caught.value.argument == "sheet"
    with pytest.raises(ConfigurationError, match="is not a workbook, so it has no sheets"):
        InputFile(text, "domain", sheet="A")


def test_workbook_cells_as_text(tmp_path: Path) -> None:
    """Numbers, dates and booleans of a workbook become text. Lines are the rows of the sheet."""
    path = tmp_path / "leads.xlsx"
    path.write_bytes(workbook(("A", [[], *MIXED_SHEET, [], ["Alster", "alster.test", 1.5]])))
    rows = list(InputFile(path, "domain"))
    assert [row.line for row in rows] == [3, 4, 6]
    assert rows[0].cells == {"Firma": "Müller Nord GmbH", "Website": "müller-nord.test", "USt-ID": "123456789",
        "Seit": "2026-01-02", "Aktiv": "true"}  # fmt: skip
    assert rows[2].cells == {"Firma": "Alster", "Website": "alster.test", "USt-ID": "1.5", "Seit": "", "Aktiv": ""}


def test_workbook_without_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without python-calamine, the error has the command that installs it."""
    monkeypatch.setattr(table_source, "find_spec", lambda _: None)
    path = tmp_path / "leads.xlsx"
    path.write_bytes(workbook(("A", [NAMES, *ROWS])))
    with pytest.raises(ConfigurationError, match=r"pip install python-calamine, or save the table as \.csv"):
        InputFile(path, "domain")


def test_workbook_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workbook that would fill the memory is refused before it is unpacked."""
    monkeypatch.setattr(workbook_check, "MAX_BYTES", 1_000)
    path = tmp_path / "leads.xlsx"
    path.write_bytes(workbook(("A", [NAMES, *ROWS])))
    with pytest.raises(ConfigurationError, match="unpacks to"):
        InputFile(path, "domain")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("header.csv", "domain" + "," * 20_000 + "\na.test\n"),
        ("row.csv", "domain,name\na.test" + "," * 20_000 + "\n"),
        ("keys.ndjson", "{" + ",".join(f'"{key}":1' for key in range(20_001)) + "}\n"),
    ],
)
def test_rows_with_too_many_columns(tmp_path: Path, name: str, text: str) -> None:
    """A row with more cells than a sheet of Excel can have is refused."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"line \d has 20,001 columns, and tables are read up to 16,384"):
        InputFile(path, "domain")


def test_table_with_as_many_columns_as_excel(tmp_path: Path) -> None:
    """A table with the most columns of Excel is read."""
    path = tmp_path / "leads.csv"
    path.write_text("domain" + "," * 16_383 + "\na.test\n", encoding="utf-8")
    assert len(InputFile(path, "domain")) == 1


LONG = "Which of these offers have you read? " * 20


@pytest.mark.parametrize(
    ("header", "columns"),
    [
        ([LONG, LONG, LONG], [LONG, f"{LONG[:470]} column 3", f"{LONG[:470]} column 4"]),
        ([f"{LONG}a", f"{LONG}b"], [f"{LONG}a", f"{LONG[:470]} column 3"]),
        (["a", "a column 4", "A"], ["a", "a column 4", "A column 4 2"]),
        (["a", "a column 4 2", "a column 4", "a"], ["a", "a column 4 2", "a column 4", "a column 5"]),
        (["", "-", "_"], ["column 2", "-", "_ column 4"]),
        (["\u0958" * 600, "\u0958" * 600], ["\u0958" * 600, "\u0958" * 470 + " column 3"]),
    ],
)
@pytest.mark.timeout(10)
def test_columns_with_the_same_beginning(tmp_path: Path, header: list[str], columns: list[str]) -> None:
    """Names of columns are made unique, also if they only differ after the characters that are compared."""
    path = tmp_path / "leads.csv"
    path.write_text(
        table(["domain", *header], [["a.test", *map(str, range(len(header)))]]), encoding="utf-8", newline=""
    )
    file = InputFile(path, "domain")
    assert file.columns == ("domain", *columns)
    (row,) = file
    assert row.cells == {"domain": "a.test", **{name: str(place) for place, name in enumerate(columns)}}


def test_extra_cells_keep_named_cells(tmp_path: Path) -> None:
    """A cell without a column does not replace the cell of a column that has its name."""
    path = tmp_path / "leads.csv"
    path.write_text("Column 3,domain\nyes,a.test,,\n", encoding="utf-8")
    (row,) = InputFile(path, "domain")
    assert row.cells == {"Column 3": "yes", "domain": "a.test", "column 3 2": "", "column 4": ""}
    (row,) = InputFile(path, "domain", "column 3")
    assert KeyFinder(parse_rules("name", "column 3")).find(row).value == "yes"


def test_error_about_many_columns_is_short(tmp_path: Path) -> None:
    """The error about a missing column names only the first columns, and of each only the beginning."""
    path = tmp_path / "leads.csv"
    path.write_text(table(["x" * 100_000, *map(str, range(1_000))], []), encoding="utf-8", newline="")
    with pytest.raises(ConfigurationError, match=r"xxx', '0', .* and 901 more\. Pass column=") as caught:
        InputFile(path, "domain")
    assert len(str(caught.value)) < 2_000


SHEET = "xl/worksheets/sheet1.xml"
FAR_ROW = '<row r="1048576"><c r="{}"><v>1</v></c></row>'
STRING_CELL = '<c r="{}" t="s"><v>0</v></c>'


def edited(content: bytes, part: str, old: str, new: str) -> bytes:
    """Return a workbook with another text in one of its parts."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            text = source.read(name)
            target.writestr(name, text.replace(old.encode(), new.encode(), 1) if name == part else text)
    return file.getvalue()


def with_shared_string(content: bytes, text: str) -> bytes:
    """Return a workbook with one string that cells share."""
    file = io.BytesIO(content)
    uri = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{uri}"><si><t>{text}</t></si></sst>')
    return file.getvalue()


def far_sheet(rows: str) -> bytes:
    """Return a small workbook with more rows at its end."""
    return edited(workbook(("Leads", [NAMES, *ROWS])), SHEET, "</sheetData>", f"{rows}</sheetData>")


BOMBS = {
    "far.xlsx": (far_sheet(FAR_ROW.format("XFD1048576")), "has 17,179,869,184 cells in xl/worksheets/sheet1.xml"),
    "prefix.xlsx": (
        far_sheet('<x:row xmlns:x="x" r="60000"><x:c r=\'xfd60000\'><x:v>1</x:v></x:c></x:row>'),
        "has 983,040,000 cells",
    ),
    "implied.xlsx": (far_sheet('<row r="1048576">' + "<c/>" * 300 + "<c><v>1</v></c></row>"), "has 315,621,376 cells"),
    "strings.xlsx": (
        with_shared_string(
            far_sheet("".join(f'<row r="{row}">{STRING_CELL.format(f"A{row}")}</row>' for row in range(4, 2004))),
            "F" * 300_000,
        ),
        "characters in the cells of xl/worksheets/sheet1.xml",
    ),
    "doctype.xlsx": (
        edited(workbook(("Leads", [NAMES])), SHEET, "<worksheet", "<!DOCTYPE x [<!ENTITY a 'a'>]><worksheet"),
        "contains a document type declaration",
    ),
    "rows.ods": (
        edited(ods(), "content.xml", "<table:table-row>", '<table:table-row table:number-rows-repeated="9000000">'),
        "has 27,000,006 cells in content.xml",
    ),
    "columns.ods": (
        edited(
            ods(), "content.xml", "<table:table-cell ", '<table:table-cell table:number-columns-repeated="30000000" '
        ),
        "cells in content.xml",
    ),
    "spaces.ods": (
        edited(ods(), "content.xml", "<text:p>", '<text:p><text:s text:c="4000000000"/>'),
        "characters in the cells of content.xml",
    ),
}

READ_IN_LIMITED_MEMORY = """
import resource, sys
from pathlib import Path
from leadfeeder_async import ConfigurationError
from leadfeeder_async.jobs.enrich.input_file import InputFile
resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
try:
    InputFile(Path(sys.argv[1]), "domain")
except ConfigurationError as error:
    print(error)
"""


@needs_memory_limits
@pytest.mark.parametrize("name", BOMBS)
def test_workbook_that_would_fill_the_memory(tmp_path: Path, name: str) -> None:
    """A small workbook that would fill the memory is refused before it is read."""
    content, message = BOMBS[name]
    path = tmp_path / name
    path.write_bytes(content)
    command = [sys.executable, "-c", READ_IN_LIMITED_MEMORY, str(path)]
    result = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=50, check=False)
    assert result.returncode == 0, result.stderr
    assert message in result.stdout
    assert "cannot be read as a workbook" not in result.stdout


def looping_xls() -> bytes:
    """Return an old workbook whose directory never ends, because its sector is followed by itself."""
    header = bytearray(512)
    header[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    header[24:34] = struct.pack("<5H", 0x3E, 3, 0xFFFE, 9, 6)
    header[44:76] = struct.pack("<8I", 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header[76:] = struct.pack("<109I", 0, *[0xFFFFFFFF] * 108)
    return bytes(header) + struct.pack("<128I", 0xFFFFFFFD, 1, *[0xFFFFFFFF] * 126) + bytes(512)


@needs_memory_limits
def test_binary_workbook_that_would_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A binary workbook that would fill the memory ends a child process only."""
    monkeypatch.setattr(workbook_check, "MAX_CHILD_BYTES", 500_000_000)
    path = tmp_path / "leads.xls"
    for content in (looping_xls(), looping_xls() + workbook(("Leads", [NAMES, *ROWS]))):
        path.write_bytes(content)
        with pytest.raises(ConfigurationError, match="is damaged or too large"):
            workbook_check.check_workbook(path)


def test_workbook_with_formatted_empty_cells(tmp_path: Path) -> None:
    """Cells that have a format and no value do not enlarge a sheet."""
    path = tmp_path / "leads.xlsx"
    path.write_bytes(far_sheet('<row r="1048576"><c r="XFD1048576" s="0"/></row>'))
    assert len(InputFile(path, "domain")) == 2
    path = tmp_path / "leads.ods"
    end = '<table:table-row table:number-rows-repeated="1048000"><table:table-cell table:number-columns-repeated="16384"/>'
    path.write_bytes(edited(ods(), "content.xml", "</table:table>", f"{end}</table:table-row></table:table>"))
    assert len(InputFile(path, "domain")) == 2


def test_size_of_part_that_the_archive_understates(tmp_path: Path) -> None:
    """A sheet is checked to its end, even if the archive states that it ends earlier."""
    content = bytearray(far_sheet(FAR_ROW.format("XFD1048576")))
    place = content.rindex(SHEET.encode()) - 46
    content[place + 24 : place + 28] = (400).to_bytes(4, "little")
    path = tmp_path / "leads.xlsx"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="has 17,179,869,184 cells"):
        InputFile(path, "domain")


@pytest.mark.parametrize("name", ["Kunde", "customer name", "Prospect"])
def test_column_that_may_contain_names(tmp_path: Path, name: str) -> None:
    """A single column of customers is neither read without a header nor guessed, because it may contain numbers."""
    path = tmp_path / "leads.csv"
    path.write_text(f"{name}\nMeyer\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"has no column for 'name'. It has {name!r}"):
        InputFile(path, "name")
    (row,) = InputFile(path, "name", name)
    assert KeyFinder(parse_rules("name", name)).find(row).value == "Meyer"


@pytest.mark.parametrize(("header", "by"), [("1,x,a.test", "domain=a.test"), ("1,ann@a.test", "email=ann@a.test")])
def test_column_named_like_a_key(tmp_path: Path, header: str, by: str) -> None:
    """The first row of a table without a header is not taken for the names of its columns."""
    path = tmp_path / "leads.csv"
    path.write_text(f"{header}\n2,y,b.test\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"has no header: its column .* is named like a key"):
        InputFile(path, by)


def test_nested_column_is_no_key(tmp_path: Path) -> None:
    """The name of a column of an export may look like a domain."""
    path = tmp_path / "leads.csv"
    path.write_text("id,account.company\n1,a.test\n", encoding="utf-8")
    (row,) = InputFile(path, "domain", "account.company")
    assert KeyFinder(parse_rules("domain", "account.company")).find(row).value == "a.test"


@pytest.mark.parametrize(
    ("header", "column"),
    [("Id,Website,Website", "Website column 3"), ("Id,Website,Website", "website column 3"), ("Id,x,", "column 3")],
)
def test_column_by_its_name_in_the_output(tmp_path: Path, header: str, column: str) -> None:
    """A column without a name of its own is chosen by the name that the output has."""
    path = tmp_path / "leads.csv"
    path.write_text(f"{header}\n1,,a.test\n", encoding="utf-8")
    (row,) = InputFile(path, "domain", column)
    assert KeyFinder(parse_rules("domain", column)).find(row).value == "a.test"


@pytest.mark.parametrize(
    ("by", "missing"), [(["domain=Seite", "name"], "'Seite'"), (["domain", "name+country"], "'country'")]
)
def test_explicit_column_that_is_missing(tmp_path: Path, by: list[str], missing: str) -> None:
    """A column that is named explicitly must exist, even if another key has a column."""
    path = tmp_path / "leads.csv"
    path.write_text(table(NAMES), encoding="utf-8", newline="")
    with pytest.raises(ConfigurationError, match=f"has no column for {missing}"):
        InputFile(path, by)


def test_key_without_column_is_described(tmp_path: Path) -> None:
    """The description contains the keys that have no column."""
    path = tmp_path / "leads.csv"
    path.write_text(table(NAMES), encoding="utf-8", newline="")
    description = InputFile(path, ["website", "email", "name+city"]).description
    assert description.endswith("Key: domain in column 'Website', then name in column 'Firma' (no column for email)")


def test_limit_of_other_csv_readers_is_kept(tmp_path: Path) -> None:
    """Long cells do not change the limit of other CSV readers, also if several threads read files."""
    path = tmp_path / "leads.csv"
    path.write_text("website,note\n" + f"a.test,{'x' * 200_000}\n" * 20, encoding="utf-8")
    counts, before = list[int](), csv.field_size_limit(131_072)

    def read() -> None:
        counts.append(len(InputFile(path, "domain")))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (counts, csv.field_size_limit(before)) == ([20] * 4, 131_072)


@needs_fifos
def test_pipe_is_refused(tmp_path: Path) -> None:
    """An input file is read more than once, which a pipe cannot be."""
    pipe = tmp_path / "rows.csv"
    os.mkfifo(pipe)
    for path in (pipe, Path(os.devnull)):
        with pytest.raises(ConfigurationError, match="is a pipe or a device"):
            InputFile(path, "domain")


def test_separator_line() -> None:
    """Only a line with a separator and nothing else is a separator line."""
    lines = {
        "sep=;": ";",
        '"sep=,"': ",",
        "SEP=\t": "\t",
        "sep=;;;": ";",
        "sep=|": "|",
        "sep=a": None,
        "sep": None,
        "sep=;x": None,
    }
    assert {line: file_format.separator_of(line) for line in lines} == lines


@pytest.mark.parametrize(
    ("content", "change"), [("Domain\na.test\n", "fewer"), ("Domain\na.test\nb.test\nc.test\n", "more")]
)
def test_file_that_changes_after_it_was_counted(tmp_path: Path, content: str, change: str) -> None:
    """Rows that are added or removed after the file was counted are an error, so that they are not charged unseen."""
    source = tmp_path / "in.csv"
    source.write_text("Domain\na.test\nb.test\n", encoding="utf-8")
    rows = InputFile(source, "domain")
    source.write_text(content, encoding="utf-8")
    read = iter(rows)
    for _ in range(1 if change == "fewer" else 2):
        next(read)
    with pytest.raises(ConfigurationError, match=f"has {change} rows now than the 2 that were counted"):
        next(read)


@pytest.mark.parametrize(
    ("header", "column", "key"),
    [
        ("Website,WEBSITE", "WEBSITE", "second.test"),
        ("Website,WEBSITE", "Website", "first.test"),
        ("Website,WEBSITE,website", "website", "third.test"),
        ("Firma (alt),Firma alt", "Firma alt", "second.test"),
    ],
)
def test_column_with_exactly_the_chosen_name(tmp_path: Path, header: str, column: str, key: str) -> None:
    """If several columns have nearly the same name, the one with exactly the chosen name contains the keys."""
    path = tmp_path / "leads.csv"
    cells = ["first.test", "second.test", "third.test"][: header.count(",") + 1]
    path.write_text(f"{header}\n{','.join(cells)}\n", encoding="utf-8")
    (row,) = InputFile(path, "domain", column)
    assert KeyFinder(parse_rules("domain", column)).find(row).value == key


def test_line_break_in_a_cell_of_a_workbook(tmp_path: Path) -> None:
    """A name with a line break in a workbook is a name, because no quote can be missing there."""
    path = tmp_path / "leads.xlsx"
    path.write_bytes(workbook(("Leads", [["company", "city"], ["Nordlicht\nGmbH", "Kiel"]])))
    (row,) = InputFile(path, "name")
    found = KeyFinder(parse_rules("name")).find(row)
    assert (found.problem, found.value) == ("", "Nordlicht GmbH, Kiel")


@pytest.mark.parametrize(
    "header", ["Account;All;;;", "Firma;;;;", "Firma;;Kontakt;;Sonstiges", "Firma;Firma;Umsatz;Umsatz;Umsatz"]
)
@pytest.mark.parametrize("names", ["Lfd. Nr.;Firma;Umsatz;Mitarbeiter;Gegr.", "Kunde;Firma;Plan;2023;2024"])
def test_names_of_groups_above_a_wider_header(tmp_path: Path, header: str, names: str) -> None:
    """A file is refused if the first row may name groups of columns, and the second row has no values but years."""
    path = tmp_path / "leads.csv"
    path.write_text(f"{header}\n{names}\n1;Elbe;5;6;1999\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"Line 1 and line 2 .* may both be the header"):
        InputFile(path, "name")


def test_list_of_names_with_commas(tmp_path: Path) -> None:
    """A line of a text file is no header because it has a comma and a common name of a column."""
    path = tmp_path / "leads.txt"
    path.write_text("Nordlicht GmbH\nAlster AG\nMeier, Firma\n", encoding="utf-8")
    assert len(InputFile(path, "name")) == 3


@pytest.mark.parametrize("column", ["Lead.Link", "kunde.link", "USTID2024"])
def test_column_that_only_looks_like_a_key(tmp_path: Path, column: str) -> None:
    """The name of a column may look like a domain or a VAT id."""
    path = tmp_path / "leads.csv"
    path.write_text(f"Lead.Id,{column}\nx,a.test\n", encoding="utf-8")
    by = "vat" if column.startswith("UST") else "domain"
    (row,) = InputFile(path, by, column)
    assert KeyFinder(parse_rules(by, column)).find(row).value == "a.test"


def test_column_of_a_text_file(tmp_path: Path) -> None:
    """A column that is named must exist. It also makes a text file a table."""
    path = tmp_path / "leads.txt"
    path.write_text("Kunde,Ort\nMeyer,Kiel\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"has no column for 'Firma'. It has 'Kunde', 'Ort'"):
        InputFile(path, "name", "Firma")
    (row,) = InputFile(path, "name", "Kunde")
    assert KeyFinder(parse_rules("name", "Kunde")).find(row).value == "Meyer, Kiel"


@pytest.mark.parametrize(
    ("text", "by", "lines"),
    [
        ("Organization,Acme,,\nOwner,All,,\nDeal,Organization,Value,Stage\nd,Elbe,1,x\n", "name", "1 and line 3"),
        ("Account,My Ads,,,\nPeriod,2024,,,\nCampaign,Company,Clicks,Cost,CTR\nc,Elbe,1,2,3\n", "name", "1 and line 3"),
        ("Name;Liste;;\nVon;Max;;\nFirma;Segment;Notiz;Potenzial\nElbe;x;y;z\n", "name", "1 and line 3"),
        ("Filter;Firma\nFirma;Ort\nElbe;Kiel\n", "name=Firma", "1 and line 2"),
        ("Kunde;x;\nPeriode;2024;\nKunde;Ort;Umsatz\nElbe;Kiel;1\n", "name=Kunde", "1 and line 3"),
    ],
)
def test_criteria_that_are_named_like_a_key(tmp_path: Path, text: str, by: str, lines: str) -> None:
    """A report is refused if its first row has a column for the key, and a wider row below it has one too."""
    path = tmp_path / "leads.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=f"Line {lines} of .* may both be the header"):
        InputFile(path, by)
