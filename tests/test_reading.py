"""Reading the branches' exports: every format, and every trap that a file can hold."""

from __future__ import annotations

import datetime as dt
import gzip
import io
import os
import random
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from pendel import contracts, reading
from pendel.contracts import columns, rejections
from pendel.places import UserError
from pendel.reference import BranchPeriod, Parameters, Reference

DUTCH = [
    "Reserveringsnummer",
    "Exemplaarnummer",
    "Materiaalsoort",
    "Leverende vestiging",
    "Afhaalvestiging",
    "Status",
    "Afsluitreden",
    "Geplaatst op",
    "Verzonden op",
    "Ontvangen op",
    "Uitgeleend op",
    "Afgesloten op",
    "Gewijzigd op",
]
ENGLISH = [
    "reservationId",
    "itemId",
    "materialType",
    "supplyingBranchId",
    "pickupBranchId",
    "status",
    "closeReason",
    "placedAt",
    "shippedAt",
    "receivedAt",
    "checkedOutAt",
    "closedAt",
    "modifiedAt",
]
KOHA = [
    "reserve_id",
    "barcode",
    "itype",
    "frombranch",
    "tobranch",
    "cancellation_reason",
    "daterequested",
    "datesent",
    "datearrived",
    "datecancelled",
    "reason",
    "comments",
]

CSV = "noord/reserveringen_0060_20230601.csv"
TSV = "zuid/0201-reservations-2023-06-01.tsv"
XLSX = "eiland/reserveringen 0307 2023-06-01.xlsx"
NETWORK = "network/transfers_2023-06-01.csv"


def period(branch: str, ils_code: str, export_format: str, name: str = "") -> BranchPeriod:
    return BranchPeriod(branch, name or branch, "ORG", "", ils_code, export_format, None, None, None, None, "", "")


REFERENCE = Reference(
    Path("reference"),
    (
        period("noord", "0060", "fmb_csv", "Noord Dorp"),
        period("zuid", "0201", "dnb_tsv"),
        period("eiland", "0307", "excel"),
        period("vreemd", "0400", "no_such_format"),
    ),
    {"ORG": "Organisation"},
    (),
    Parameters(),
)


def dutch_row(number: int = 1, **changed: str) -> dict[str, str]:
    day = "-05-2023 10:00"
    values = [f"2023-05-01.{number:05d}", f"{3000000 + number}", "boek", "0302", "0060", "O", ""]
    return dict(zip(DUTCH, [*values, f"01{day}", f"02{day}", f"03{day}", "", "", f"03{day}"], strict=True)) | changed


def koha_row(number: int = 1, **changed: str) -> dict[str, str]:
    values = [str(number), f"{3000000 + number}", "BK", "AA", "BB", "", "2023-05-01 10:00:00", "2023-05-02 10:00:00"]
    return dict(zip(KOHA, [*values, "2023-05-03 10:00:00", "", "Reserve", ""], strict=True)) | changed


def text_of(rows: Sequence[dict[str, str]], delimiter: str = ";", header: Sequence[str] | None = None) -> str:
    header = list(rows[0]) if header is None else header
    return "".join(delimiter.join(line) + "\n" for line in [header, *(list(row.values()) for row in rows)])


def put(raw: Path, path: str, content: str | bytes) -> reading.FoundFile:
    target = raw / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(
        content.encode("utf-8" if path.endswith("tsv") else "cp1252") if isinstance(content, str) else content
    )
    return next(file for file in reading.find_files(raw) if file.path == path)


def read(raw: Path, path: str, content: str | bytes) -> tuple[reading.Delivery, list[dict[str, Any]]]:
    """What is read of one file: its delivery, and its rows in their order."""
    batch = reading.read_files(raw, [put(raw, path, content)], set(), REFERENCE)
    (delivery,) = batch.deliveries
    return delivery, sorted(batch.rows.to_pylist(), key=lambda row: int(row["row"]))


def rejection(raw: Path, path: str, content: str | bytes) -> tuple[str | None, dict[str, str]]:
    delivery, rows = read(raw, path, content)
    assert delivery.verdict == "rejected"
    assert rows == []
    assert (delivery.rows_read, delivery.rows_duplicate, delivery.rows_other, delivery.broken_rows) == (0, 0, 0, [])
    assert delivery.reason is not None
    rejections()[delivery.reason]["en"].format(**delivery.detail)  # all that the message asks for is told
    return delivery.reason, delivery.detail


def workbook(rows: Sequence[Sequence[Any]], second_sheet: Sequence[Sequence[Any]] = ()) -> bytes:
    """A workbook: a datetime becomes a date cell, a tuple (number,) a date cell of that number, "=…" an error."""
    buffer = io.BytesIO()
    with xlsxwriter.Workbook(buffer, {"in_memory": True}) as book:
        date_format = book.add_format({"num_format": "dd-mm-yyyy hh:mm"})
        for sheet_rows in (rows, second_sheet) if second_sheet else (rows,):
            sheet = book.add_worksheet()
            for line, values in enumerate(sheet_rows):
                for place, value in enumerate(values):
                    if isinstance(value, dt.datetime):
                        sheet.write_datetime(line, place, value, date_format)
                    elif isinstance(value, tuple):
                        sheet.write_number(line, place, value[0], date_format)
                    elif isinstance(value, str) and value.startswith("="):
                        sheet.write_formula(line, place, value, None, "#N/A")
                    elif isinstance(value, str):
                        sheet.write_string(line, place, value)
                    else:
                        sheet.write(line, place, value)
    return buffer.getvalue()


def excel_row(**changed: Any) -> dict[str, Any]:
    dates = {f"{what} op": dt.datetime(2023, 5, day, 10, 0) for day, what in enumerate(["Geplaatst", "Verzonden"], 1)}
    dates |= {f"{what} op": dt.datetime(2023, 5, 3, 10, 0) for what in ("Ontvangen", "Gewijzigd")}
    return dutch_row() | {"Afhaalvestiging": "0307"} | dates | changed


def read_excel(raw: Path, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    return read(raw, XLSX, workbook([list(rows[0]), *(list(row.values()) for row in rows)]))[1]


def zipped(files: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


# ------------------------------------------------------------------------------------------- text formats


def test_a_row_is_read_under_its_canonical_names(tmp_path: Path) -> None:
    delivery, rows = read(tmp_path, CSV, text_of([dutch_row()]))
    assert (delivery.verdict, delivery.format, delivery.export_date) == ("read", "fmb_csv", dt.date(2023, 6, 1))
    assert rows == [{"delivery": 0, "row": 2} | dict(zip(columns(), dutch_row().values(), strict=True))]


def test_a_tab_separated_export_is_read(tmp_path: Path) -> None:
    row = dict(zip(ENGLISH, dutch_row().values(), strict=True))
    delivery, rows = read(tmp_path, TSV, text_of([row], "\t"))
    assert (delivery.format, delivery.rows_read) == ("dnb_tsv", 1)
    assert rows[0]["pickup_branch"] == "0060"


def test_cp1252_letters_are_read(tmp_path: Path) -> None:
    content = text_of([dutch_row(Materiaalsoort="dvd € é")]).encode("cp1252")
    assert read(tmp_path, CSV, content)[1][0]["material_type"] == "dvd € é"


@pytest.mark.parametrize("path", [CSV, TSV])
def test_a_byte_order_mark_is_tolerated(tmp_path: Path, path: str) -> None:
    header, delimiter = (DUTCH, ";") if path == CSV else (ENGLISH, "\t")
    row = dict(zip(header, dutch_row(Materiaalsoort="cd é").values(), strict=True))
    content = b"\xef\xbb\xbf" + text_of([row], delimiter).encode()
    assert read(tmp_path, path, content)[1][0]["material_type"] == "cd é"


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param(CSV, text_of([dutch_row(Materiaalsoort="@")]).encode().replace(b"@", b"\x81"), id="cp1252"),
        pytest.param(TSV, "\t".join(ENGLISH).encode() + b"\n\xe9", id="utf-8"),
        pytest.param(CSV, text_of([dutch_row()]).encode("utf-16"), id="utf-16 as cp1252"),
        pytest.param(TSV, "\t".join(ENGLISH).encode("utf-16"), id="utf-16 as utf-8"),
        pytest.param(CSV, text_of([dutch_row()]).encode("utf-16-le"), id="utf-16 without mark"),
        pytest.param(CSV, text_of([dutch_row(Materiaalsoort="bo\0ek")]), id="NUL"),
    ],
)
def test_bytes_that_are_no_text_of_the_format_reject_the_file(tmp_path: Path, path: str, content: bytes) -> None:
    assert rejection(tmp_path, path, content)[0] == "wrong_encoding"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_line_endings_make_no_difference(tmp_path: Path, ending: str, quote: str) -> None:
    rows = [dutch_row(1, Materiaalsoort=f"{quote}boek{quote}"), dutch_row(2)]
    delivery, found = read(tmp_path, CSV, text_of(rows).replace("\n", ending))
    assert (delivery.rows_read, delivery.broken_rows) == (2, [])
    assert [(row["row"], row["material_type"]) for row in found] == [(2, "boek"), (3, "boek")]


def test_other_separators_of_unicode_end_no_line(tmp_path: Path) -> None:
    row = dict(zip(ENGLISH, dutch_row(Materiaalsoort="bo\u2028\x85\x0b\x0cek").values(), strict=True))
    assert read(tmp_path, TSV, text_of([row], "\t"))[0].rows_read == 1


@pytest.mark.parametrize("quote", ["", '"'])
@pytest.mark.parametrize("end", ["", " ", "\n", " \n"])
def test_white_space_around_a_value_is_no_part_of_it(tmp_path: Path, quote: str, end: str) -> None:
    row = dutch_row(Status=f" {quote}O{quote}" if not quote else f"{quote} O {quote}", Materiaalsoort="\u00a0boek\t")
    content = text_of([row], header=[f" {name} " for name in DUTCH]).rstrip("\n") + end
    found = read(tmp_path, CSV, content)[1][0]
    assert [found[name] for name in ("status", "material_type", "changed_at")] == ["O", "boek", "03-05-2023 10:00"]


def test_the_order_of_columns_is_free(tmp_path: Path) -> None:
    row = dutch_row()
    _, rows = read(tmp_path, CSV, text_of([{name: row[name] for name in reversed(DUTCH)}]))
    assert [rows[0][name] for name in columns()] == list(row.values())


def test_columns_that_may_be_absent_are_read_as_empty(tmp_path: Path) -> None:
    free = {"Materiaalsoort", "Afsluitreden", "Uitgeleend op", "Afgesloten op"}
    delivery, rows = read(tmp_path, CSV, text_of([{k: v for k, v in dutch_row().items() if k not in free}]))
    assert delivery.verdict == "read"
    assert {rows[0][name] for name in ("material_type", "close_reason", "collected_at", "closed_at")} == {""}


NEEDED = [name for name in DUTCH if name not in {"Materiaalsoort", "Afsluitreden", "Uitgeleend op", "Afgesloten op"}]


@pytest.mark.parametrize("name", NEEDED)
def test_a_missing_needed_column_rejects_the_file(tmp_path: Path, name: str) -> None:
    row = {column: value for column, value in dutch_row().items() if column != name}
    assert rejection(tmp_path, CSV, text_of([row])) == ("column_missing", {"column": name})


@pytest.mark.parametrize("path", [TSV, NETWORK])
def test_an_export_of_another_system_lacks_columns(tmp_path: Path, path: str) -> None:
    assert rejection(tmp_path, path, text_of([dutch_row()]))[0] == "column_missing"


@pytest.mark.parametrize("name", ["Status", "Materiaalsoort"])
def test_a_column_of_ours_that_stands_twice_rejects_the_file(tmp_path: Path, name: str) -> None:
    content = text_of([dutch_row() | {"again": "O"}], header=[*DUTCH, name])
    assert rejection(tmp_path, CSV, content) == ("column_twice", {"column": name})


def test_another_column_may_stand_twice(tmp_path: Path) -> None:
    delivery, rows = read(
        tmp_path, CSV, text_of([dutch_row() | {"a": "x", "b": "y"}], header=[*DUTCH, "Titel", "Titel"])
    )
    assert (delivery.verdict, len(rows)) == ("read", 1)


@pytest.mark.parametrize("quote", ["", '"'])
def test_personal_columns_are_dropped_and_only_listed_names_are_noted(tmp_path: Path, quote: str) -> None:
    personal = {"Lezernummer": "20184711", "Naam": f"{quote}J. Janssen{quote}", "Telefoon van Piet": "0612345678"}
    batch_row = personal | dutch_row() | {"": "zwerfwaarde"}
    file = put(tmp_path, CSV, text_of([batch_row]))
    batch = reading.read_files(tmp_path, [file], set(), REFERENCE)
    assert batch.rows.column_names == ["delivery", "row", *columns()]
    assert batch.deliveries[0].dropped_columns == ["***", "Lezernummer", "Naam"]
    told = repr(batch.deliveries) + repr(batch.rows.to_pylist())
    for secret in ("20184711", "Janssen", "Piet", "0612345678", "zwerfwaarde"):
        assert secret not in told


@pytest.mark.parametrize(
    ("form", "personal"),
    [
        ("dnb_tsv", "patronId patronName patronEmail title"),
        ("fmb_csv", "Lezernummer Naam E-mail Telefoon Geboortedatum Titel"),
        ("excel", "Lezernummer Naam E-mail Telefoon Geboortedatum Titel"),
        ("koha_csv", "borrowernumber cardnumber surname firstname email title"),
    ],
)
def test_the_personal_columns_that_are_noted_by_name(form: str, personal: str) -> None:
    """As the export contract lists them: of any other column the name itself might be a reader's."""
    assert contracts.export_formats()[form].personal_columns == personal.split()


@pytest.mark.parametrize("content", [b"", b"\xef\xbb\xbf", b"\n", b" \n\n", b"\r\n\r\n", b";;;;\n"])
def test_a_file_without_a_header_is_empty(tmp_path: Path, content: bytes) -> None:
    assert rejection(tmp_path, CSV, content)[0] == "empty_file"


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\r\n"])
def test_a_header_alone_is_an_export_without_rows(tmp_path: Path, end: str) -> None:
    delivery, rows = read(tmp_path, CSV, ";".join(DUTCH) + end)
    assert (delivery.verdict, delivery.rows_read, rows) == ("read", 0, [])


def test_blank_lines_are_no_rows_and_keep_their_number(tmp_path: Path) -> None:
    header, one, two = text_of([dutch_row(1), dutch_row(2)]).splitlines()
    delivery, rows = read(tmp_path, CSV, "\n".join([header, "", one, "  ", "", two, ""]))
    assert (delivery.rows_read, delivery.broken_rows) == (2, [])
    assert [row["row"] for row in rows] == [3, 6]


def test_a_line_of_delimiters_alone_is_a_row(tmp_path: Path) -> None:
    delivery, rows = read(tmp_path, CSV, text_of([dutch_row()]) + ";" * 12 + "\n")
    assert (delivery.rows_read, len(rows), set(rows[1].values()) - {0, 3}) == (2, 2, {""})


def test_ragged_rows_are_broken_and_the_others_survive(tmp_path: Path) -> None:
    """One row has a field too few and one as many too many: counted together nothing is amiss."""
    lines = text_of([dutch_row(number) for number in (1, 2, 3, 4)]).splitlines()
    lines[2] += ";x"
    lines[3] = lines[3].rpartition(";")[0]
    delivery, rows = read(tmp_path, CSV, "\n".join(lines))
    assert (delivery.rows_read, delivery.broken_rows) == (4, [3, 4])
    assert [row["row"] for row in rows] == [2, 5]


def test_a_ragged_file_leaves_the_other_files_of_the_branch_alone(tmp_path: Path) -> None:
    sound = put(tmp_path, CSV, text_of([dutch_row(1), dutch_row(2)]))
    lines = text_of([dutch_row(3), dutch_row(4)]).splitlines()
    ragged = put(tmp_path, "noord/reserveringen_0060_20230602.csv", f"{lines[0]}\n{lines[1]};x\n{lines[2][:-17]}\n")
    batch = reading.read_files(tmp_path, [sound, ragged], set(), REFERENCE)
    assert [(d.rows_read, d.broken_rows) for d in batch.deliveries] == [(2, []), (2, [2, 3])]
    assert batch.rows["delivery"].to_pylist() == [0, 0]
    assert batch.rows["row"].to_pylist() == [2, 3]


def test_quoted_delimiters_newlines_and_quotes_are_part_of_the_value(tmp_path: Path) -> None:
    rows = [dutch_row(1, Materiaalsoort='"a;b\nc ""d"""'), dutch_row(2)]
    delivery, found = read(tmp_path, CSV, text_of(rows))
    assert (delivery.rows_read, delivery.broken_rows) == (2, [])
    assert [(row["row"], row["material_type"]) for row in found] == [(2, 'a;b\nc "d"'), (3, "boek")]


def test_a_quote_inside_a_value_is_a_quote(tmp_path: Path) -> None:
    assert read(tmp_path, CSV, text_of([dutch_row(Materiaalsoort='7" single')]))[1][0]["material_type"] == '7" single'


@pytest.mark.parametrize("last", [False, True])
def test_a_quote_that_never_closes_breaks_its_own_line_alone(tmp_path: Path, last: bool) -> None:
    rows = [dutch_row(1), dutch_row(2, Materiaalsoort='"boek'), *([] if last else [dutch_row(3), dutch_row(4)])]
    delivery, found = read(tmp_path, CSV, text_of(rows))
    assert (delivery.rows_read, delivery.broken_rows) == (len(rows), [3])
    assert [row["reservation_id"][-1] for row in found] == ["1"] if last else ["1", "3", "4"]


def test_after_a_quote_that_never_closes_quoted_rows_survive(tmp_path: Path) -> None:
    rows = [dutch_row(1, Materiaalsoort='"boek'), dutch_row(2, Materiaalsoort='"a;b"'), dutch_row(3)]
    delivery, found = read(tmp_path, CSV, text_of(rows))
    assert (delivery.rows_read, delivery.broken_rows) == (3, [2])
    assert [row["material_type"] for row in found] == ["a;b", "boek"]


@pytest.mark.parametrize("title", ["in the middle", "last"])
def test_a_quote_that_another_row_closes_swallows_none(tmp_path: Path, title: str) -> None:
    """A title cut off after its opening quote, and one three rows on that ends with a quote (`7"`)."""
    rows = [dict(zip(ENGLISH, dutch_row(number).values(), strict=True)) for number in (1, 2, 3, 4, 5)]
    for row, text in zip(rows, ['"Mijn vader (afgek', "Boek", "Boek", 'Single 7"', "Boek"], strict=True):
        row |= {"title": text}
    if title == "in the middle":
        rows = [{"title": row["title"]} | row for row in rows]
        rows = [{"reservationId": row["reservationId"]} | row for row in rows]
    delivery, found = read(tmp_path, TSV, text_of(rows, "\t"))
    assert (delivery.rows_read, delivery.broken_rows) == (5, [2])
    assert [row["reservation_id"][-1] for row in found] == ["2", "3", "4", "5"]


def test_a_first_value_of_several_lines_is_no_swallowed_row(tmp_path: Path) -> None:
    rows = [{"Titel": '"een\ntwee"'} | dutch_row(1), {"Titel": "drie"} | dutch_row(2)]
    delivery, found = read(tmp_path, CSV, text_of(rows))
    assert (delivery.rows_read, delivery.broken_rows, len(found)) == (2, [], 2)


def test_a_file_of_the_network_is_none_of_a_branch(tmp_path: Path) -> None:
    """Whatever the register says: its word would count for both sides of every leg."""
    koha = replace(REFERENCE, branches=(*REFERENCE.branches, period("west", "K1", "koha_csv")))
    for folder in ("west", "noord"):
        file = put(tmp_path, f"{folder}/transfers_2023-06-01.csv", text_of([koha_row()], ","))
        (delivery,) = reading.read_files(tmp_path, [file], set(), koha).deliveries
        assert (delivery.verdict, delivery.reason, delivery.detail) == (
            "rejected",
            "network_file",
            {"folder": "network"},
        )


def test_more_than_a_thousand_broken_lines_are_no_export(tmp_path: Path) -> None:
    content = ";".join(DUTCH) + "\n" + '"x"y;1\n' * (reading.MOST_BROKEN_LINES + 1)
    assert rejection(tmp_path, CSV, content)[0] == "not_parsable"


@pytest.mark.parametrize("quote", ["", '"'])
def test_a_giant_field_loses_no_row(tmp_path: Path, quote: str) -> None:
    """It is read or its row is broken: the rows beside it are read in either case."""
    rows = [
        dutch_row(number) | {"Titel": f"{quote}{'x' * (200_000 if number == 2 else 1)}{quote}"} for number in (1, 2, 3)
    ]
    delivery, found = read(tmp_path, CSV, text_of(rows))
    assert delivery.rows_read == len(found) + len(delivery.broken_rows) == 3
    assert {2, 4} <= {row["row"] for row in found}


def test_equal_rows_of_a_file_are_set_aside(tmp_path: Path) -> None:
    rows = [dutch_row(1) | {"Titel": title} for title in "abc"] + [dutch_row(2) | {"Titel": "a"}]
    delivery, found = read(tmp_path, CSV, text_of(rows))
    assert (delivery.rows_read, delivery.rows_duplicate) == (4, 2)
    assert [row["row"] for row in found] == [2, 5]


def test_equal_rows_of_two_files_are_both_kept(tmp_path: Path) -> None:
    files = [
        put(tmp_path, CSV, text_of([dutch_row()])),
        put(tmp_path, CSV.replace("01.", "02."), text_of([dutch_row()]) + "\n"),
    ]
    batch = reading.read_files(tmp_path, files, set(), REFERENCE)
    assert batch.rows.num_rows == 2
    assert [delivery.rows_duplicate for delivery in batch.deliveries] == [0, 0]


# ------------------------------------------------------------------------------------------- archives

CONTENT = text_of([dutch_row()]).encode()
INNER = CSV.split("/")[1]


@pytest.mark.parametrize(
    ("path", "content"),
    [
        pytest.param(f"{CSV}.gz", gzip.compress(CONTENT), id="gz"),
        pytest.param(f"{CSV}.GZ", gzip.compress(CONTENT[:99]) + gzip.compress(CONTENT[99:]), id="two gz members"),
        pytest.param(f"{CSV}.zip", zipped({"export.csv": CONTENT}), id="the zip's name tells"),
        pytest.param("noord/export.zip", zipped({INNER: CONTENT}), id="the inner name tells"),
        pytest.param(
            "noord/e.zip",
            zipped({"map/": b"", f"map/{INNER}": CONTENT, "__MACOSX/x": b"x", ".DS_Store": b"x"}),
            id="folders",
        ),
        pytest.param(f"{CSV}.zip", zipped({"x.csv": CONTENT}, zipfile.ZIP_LZMA), id="lzma"),
    ],
)
def test_a_compressed_export_is_read(tmp_path: Path, path: str, content: bytes) -> None:
    delivery, rows = read(tmp_path, path, content)
    assert (delivery.verdict, delivery.export_date, len(rows)) == ("read", dt.date(2023, 6, 1), 1)


def test_a_workbook_in_an_archive_is_read(tmp_path: Path) -> None:
    book = workbook([list(excel_row()), list(excel_row().values())])
    assert read(tmp_path, f"{XLSX}.gz", gzip.compress(book))[0].rows_read == 1
    assert read(tmp_path, "eiland/x.zip", zipped({XLSX.split("/")[1]: book}))[0].rows_read == 1


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        pytest.param(f"{CSV}.gz", gzip.compress(CONTENT)[:-9], "broken_archive", id="gz cut off"),
        pytest.param(f"{CSV}.gz", CONTENT, "broken_archive", id="gz in name only"),
        pytest.param(f"{CSV}.gz", b"", "empty_file", id="gz of no bytes"),
        pytest.param(f"{CSV}.gz", gzip.compress(b""), "empty_file", id="gz of an empty file"),
        pytest.param(f"{CSV}.zip", zipped({INNER: CONTENT})[:-30], "broken_archive", id="zip cut off"),
        pytest.param(f"{CSV}.zip", zipped({INNER: b""}), "empty_file", id="zip of an empty file"),
        pytest.param(f"{CSV}.zip", zipped({INNER: CONTENT, "b.csv": b""}), "archive_not_one_file", id="zip of two"),
        pytest.param(f"{CSV}.zip", zipped({}), "archive_not_one_file", id="zip of none"),
        pytest.param("noord/export.zip", zipped({"export.csv": CONTENT}), "unknown_name", id="zip without a name"),
        pytest.param("noord/export.gz", gzip.compress(CONTENT), "unknown_name", id="gz without a name"),
    ],
)
def test_an_archive_that_cannot_be_used_is_rejected(tmp_path: Path, path: str, content: bytes, reason: str) -> None:
    assert rejection(tmp_path, path, content)[0] == reason


@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damaged_archives_are_rejected_whatever_the_damage(tmp_path: Path, compression: int) -> None:
    file = put(tmp_path, f"{CSV}.zip", b"")
    chance = random.Random(compression)
    whole = zipped({INNER: CONTENT}, compression)
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(chance.choice([1, 2, 5])):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        (tmp_path / file.path).write_bytes(damaged)
        reading.read_files(tmp_path, [file], set(), REFERENCE)
    # the offset of the directory points before the file
    end = whole.rindex(b"PK\x05\x06")
    (tmp_path / file.path).write_bytes(whole[: end + 12] + b"\xff\xff\xff\x7f" + whole[end + 16 :])
    assert reading.read_files(tmp_path, [file], set(), REFERENCE).deliveries[0].reason == "broken_archive"


# ------------------------------------------------------------------------------------------- Excel


def test_date_cells_and_text_dates_are_told_apart(tmp_path: Path) -> None:
    row = read_excel(tmp_path, excel_row(**{"Ontvangen op": " 03-05-2023 10:00 "}))[0]
    assert row["shipped_at"] == "@2023-05-02 10:00:00"
    assert row["received_at"] == "03-05-2023 10:00"
    assert row["row"] == 2


def test_a_date_cell_without_a_time_is_midnight(tmp_path: Path) -> None:
    row = read_excel(tmp_path, excel_row(**{"Ontvangen op": (45049,)}))[0]
    assert row["received_at"] == "@2023-05-03 00:00:00"


@pytest.mark.parametrize(
    ("serial", "read_as"),
    [
        (45049.6701388888, "@2023-05-03 16:05:00"),  # 16:04:59,99999
        (45049.6701388890, "@2023-05-03 16:05:00"),
        (45049.99999999, "@2023-05-04 00:00:00"),
        (45049 + (16 * 3600 + 5 * 60 + 7) / 86400, "@2023-05-03 16:05:07"),
    ],
)
def test_seconds_are_rounded_as_excel_counts_in_fractions_of_a_day(tmp_path: Path, serial: float, read_as: str) -> None:
    assert read_excel(tmp_path, excel_row(**{"Ontvangen op": (serial,)}))[0]["received_at"] == read_as


def test_numbers_are_read_as_codes_and_leading_zeros_of_text_are_kept(tmp_path: Path) -> None:
    row = read_excel(
        tmp_path, excel_row(**{"Exemplaarnummer": 30000123456789, "Leverende vestiging": 302, "Afsluitreden": 1})
    )[0]
    assert [row[name] for name in ("item_barcode", "supplying_branch", "pickup_branch", "close_reason")] == [
        "30000123456789", "302", "0307", "1",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [(0.5,), (-5.0,), (2958466.5,), True, 1.5, 1e300])
def test_a_cell_of_another_kind_is_text_that_the_rules_judge(tmp_path: Path, value: Any) -> None:
    text = read_excel(tmp_path, excel_row(**{"Ontvangen op": value}))[0]["received_at"]
    assert text
    assert not text.startswith("@")


def test_the_last_moment_that_excel_knows_does_not_stop_the_reading(tmp_path: Path) -> None:
    assert len(read_excel(tmp_path, excel_row(**{"Gewijzigd op": (2958465.999999,)}))) == 1


def test_an_error_cell_is_not_read_as_empty(tmp_path: Path) -> None:
    """#N/A in the date of the receipt tells nothing; read as empty it would tell that nothing was received."""
    assert read_excel(tmp_path, excel_row(**{"Ontvangen op": "=NA()"}))[0]["received_at"] != ""


def test_only_the_first_sheet_is_read(tmp_path: Path) -> None:
    rows = [list(excel_row()), list(excel_row().values())]
    delivery, found = read(tmp_path, XLSX, workbook(rows, second_sheet=[["Naam"], ["J. Janssen"], *rows[1:] * 3]))
    assert (delivery.rows_read, len(found), delivery.dropped_columns) == (1, 1, [])


def test_empty_rows_of_a_sheet_are_none_and_keep_their_number(tmp_path: Path) -> None:
    empty = dict.fromkeys(DUTCH, "")
    found = read_excel(tmp_path, excel_row(), empty, empty, excel_row(Reserveringsnummer="2023-05-01.00002"))
    assert [row["row"] for row in found] == [2, 5]


def test_personal_columns_of_a_sheet_are_dropped(tmp_path: Path) -> None:
    row = {"Naam": "J. Janssen"} | excel_row(Telefoon=612345678)
    file = put(tmp_path, XLSX, workbook([list(row), list(row.values())]))
    batch = reading.read_files(tmp_path, [file], set(), REFERENCE)
    assert batch.deliveries[0].dropped_columns == ["Naam", "Telefoon"]
    told = repr(batch.deliveries) + repr(batch.rows.to_pylist())
    assert "Janssen" not in told
    assert "612345678" not in told


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(text_of([dutch_row()]).encode(), "no_workbook", id="text"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "no_workbook", id="broken old workbook"),
        pytest.param(zipped({"a.txt": b"x"}), "no_workbook", id="zip"),
        pytest.param(workbook([DUTCH])[:2000], "no_workbook", id="cut off"),
        pytest.param(b"", "empty_file", id="no bytes"),
        pytest.param(workbook([]), "empty_file", id="no cells"),
        pytest.param(workbook([[], DUTCH]), "empty_file", id="header on the second row"),
        pytest.param(workbook([DUTCH[1:]]), "column_missing", id="column missing"),
    ],
)
def test_a_workbook_that_cannot_be_used_is_rejected(tmp_path: Path, content: bytes, reason: str) -> None:
    assert rejection(tmp_path, XLSX, content)[0] == reason


def test_a_workbook_with_a_header_alone_is_an_export_without_rows(tmp_path: Path) -> None:
    assert read(tmp_path, XLSX, workbook([DUTCH]))[0].verdict == "read"


# ------------------------------------------------------------------------------------------- names and folders


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("noord/reserveringen_060_20230601.csv", "other_branch"),  # 0060, 060 and 60 are three codes
        ("noord/reserveringen_60_20230601.csv", "other_branch"),
        ("noord/reserveringen_00060_20230601.csv", "other_branch"),
        ("zuid/0060-reservations-2023-06-01.tsv", "other_branch"),
        ("noord/reserveringen_0060_20231301.csv", "unknown_name"),  # no such month
        ("noord/reserveringen_0060_2023061.csv", "unknown_name"),
        ("noord/reserveringen_0060_20230601.csv.bak", "unknown_name"),
        ("noord/kopie van reserveringen_0060_20230601.csv", "unknown_name"),
        ("noord/0060-reservations-2023-06-01.tsv", "unknown_name"),  # the format of another organisation
        ("noord/transfers_2023-06-01.csv", "network_file"),
        ("network/reserveringen_0060_20230601.csv", "unknown_name"),
        ("oost/reserveringen_0060_20230601.csv", "unknown_folder"),
        ("reserveringen_0060_20230601.csv", "unknown_folder"),
        ("Noord/reserveringen_0060_20230601.csv", "unknown_folder"),
        ("vreemd/reserveringen_0400_20230601.csv", "unknown_format"),
    ],
)
def test_a_name_that_does_not_fit_its_folder_rejects_the_file(tmp_path: Path, path: str, reason: str) -> None:
    assert rejection(tmp_path, path, text_of([dutch_row()]))[0] == reason


def test_the_expected_code_is_told(tmp_path: Path) -> None:
    path = "noord/reserveringen_60_20230601.csv"
    assert rejection(tmp_path, path, CONTENT) == ("other_branch", {"expected": "0060"})


@pytest.mark.parametrize(
    "path", ["noord/2023/06/reserveringen_0060_20230601.csv", "noord/RESERVERINGEN_0060_20230601.CSV"]
)
def test_subfolders_and_capitals_make_no_difference(tmp_path: Path, path: str) -> None:
    delivery, _ = read(tmp_path, path, CONTENT)
    assert (delivery.verdict, delivery.file.branch) == ("read", "noord")


def test_a_date_that_is_to_come_rejects_the_file(tmp_path: Path) -> None:
    """A rejected file need not be read, so that what else is wrong with it is not told before its name is right."""
    files = [put(tmp_path, f"noord/reserveringen_0060_202306{day}.csv", "x") for day in ("01", "02", "30")]
    batch = reading.read_files(tmp_path, files, set(), REFERENCE, dt.date(2023, 6, 1))
    assert [delivery.reason for delivery in batch.deliveries] == ["column_missing", "dated_ahead", "dated_ahead"]
    assert [delivery.export_date for delivery in batch.deliveries] == [dt.date(2023, 6, day) for day in (1, 2, 30)]


def test_a_rejected_file_tells_nothing_of_its_rows(tmp_path: Path) -> None:
    row = {k: v for k, v in dutch_row(Materiaalsoort="geheim").items() if k != "Status"} | {"Naam": "J. Janssen"}
    delivery, rows = read(tmp_path, CSV, text_of([row]) + '"geheim\n')
    assert (delivery.reason, rows, delivery.dropped_columns) == ("column_missing", [], [])
    assert "geheim" not in repr(delivery)
    assert "Janssen" not in repr(delivery)
    assert (delivery.format, delivery.export_date) == ("fmb_csv", dt.date(2023, 6, 1))


def test_files_are_found_in_order_of_arrival(tmp_path: Path) -> None:
    for place, path in enumerate([TSV, CSV, "noord/b.csv", "noord/a.csv"]):
        put(tmp_path, path, "x")
        os.utime(tmp_path / path, (1000 + min(place, 2), 1000 + min(place, 2)))
    found = reading.find_files(tmp_path)
    assert [file.path for file in found] == [TSV, CSV, "noord/a.csv", "noord/b.csv"]
    assert [file.branch for file in found] == ["zuid", "noord", "noord", "noord"]


def test_hidden_files_and_lock_files_are_none(tmp_path: Path) -> None:
    put(tmp_path, CSV, CONTENT)
    for name in (".hidden.csv", ".git/config", "noord/.~lock.x#", "noord/~$reserveringen.xlsx", "README.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "zuid").mkdir()
    assert [file.path for file in reading.find_files(tmp_path)] == [CSV]


def test_a_raw_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is no folder"):
        reading.find_files(tmp_path / "nowhere")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a privilege on Windows")
@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_link_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path, target: str) -> None:
    """A branch's folder that links to a folder elsewhere, and a link that leads nowhere."""
    raw = tmp_path / "raw"
    put(raw, CSV, CONTENT)
    (tmp_path / "elsewhere").mkdir()
    (raw / "zuid").symlink_to(tmp_path / target)
    batch = reading.read_files(raw, reading.find_files(raw), set(), REFERENCE)
    assert [d.verdict for d in batch.deliveries if d.file.path == CSV] == ["read"]


def test_a_shown_path_tells_no_readers_name() -> None:
    shown = reading.safe_path("noord/Reserveringen_0060_20230601 voor Piet Janssen 20184711-9.csv", REFERENCE)
    assert shown == "noord/Reserveringen_0060_20230601 … … … …-9.csv"
    for path in (CSV, TSV, XLSX, NETWORK, f"{CSV}.gz", "noord/dorp/2023/export kopie.zip"):
        assert reading.safe_path(path, REFERENCE) == path
    assert "123456782" not in reading.safe_path("noord/123456782.csv", REFERENCE)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names that are no text")
def test_a_name_that_is_no_text_can_be_shown(tmp_path: Path) -> None:
    """A name in Latin-1, as an old zip tool leaves it: it must be possible to store and print it."""
    (tmp_path / "noord").mkdir()
    with open(os.fsencode(tmp_path) + b"/noord/r\xe9serveringen.csv", "wb") as file:
        file.write(b"x")
    (found,) = reading.find_files(tmp_path)
    reading.safe_path(found.path, REFERENCE).encode("utf-8")


# ------------------------------------------------------------------------------------------- known files


def test_the_same_bytes_again_are_skipped(tmp_path: Path) -> None:
    first = put(tmp_path, CSV, CONTENT)
    (delivery,) = reading.read_files(tmp_path, [first], set(), REFERENCE).deliveries
    known = {reading.known_as("noord", delivery.sha256)}
    batch = reading.read_files(tmp_path, [first], known, REFERENCE)
    assert (batch.deliveries[0].verdict, batch.rows.num_rows) == ("skipped", 0)


def test_the_same_bytes_twice_in_a_run_are_read_once(tmp_path: Path) -> None:
    files = [put(tmp_path, CSV, CONTENT), put(tmp_path, "noord/again/" + INNER, CONTENT)]
    batch = reading.read_files(tmp_path, files, set(), REFERENCE)
    assert [delivery.verdict for delivery in batch.deliveries] == ["read", "skipped"]
    assert batch.rows.num_rows == 1


def test_the_same_bytes_of_another_branch_are_read(tmp_path: Path) -> None:
    (delivery,) = reading.read_files(tmp_path, [put(tmp_path, CSV, CONTENT)], set(), REFERENCE).deliveries
    known = {reading.known_as("zuid", delivery.sha256)}
    assert reading.read_files(tmp_path, [delivery.file], known, REFERENCE).deliveries[0].verdict == "read"


def test_rejected_bytes_do_not_hide_the_same_bytes_under_a_right_name(tmp_path: Path) -> None:
    files = [put(tmp_path, "noord/export.csv", CONTENT), put(tmp_path, CSV, CONTENT)]
    deliveries = reading.read_files(tmp_path, files, set(), REFERENCE).deliveries
    assert sorted(delivery.verdict for delivery in deliveries) == ["read", "rejected"]


def test_empty_exports_of_two_days_are_two_deliveries(tmp_path: Path) -> None:
    header = ";".join(DUTCH) + "\n"
    names = ["noord/reserveringen_0060_20230601.csv", "noord/reserveringen_0060_20230602.csv"]
    files = [put(tmp_path, name, header) for name in [*names, names[1].replace("/", "/again/")]]
    deliveries = reading.read_files(tmp_path, files, set(), REFERENCE).deliveries
    assert [delivery.verdict for delivery in deliveries] == ["read", "read", "skipped"]
    known = {reading.known_as("noord", deliveries[0].sha256, deliveries[0].export_date)}
    again = reading.read_files(tmp_path, files[:2], known, REFERENCE).deliveries
    assert [delivery.verdict for delivery in again] == ["skipped", "read"]


# ------------------------------------------------------------------------------------------- Koha


def koha(raw: Path, *rows: dict[str, str], end: str = "") -> tuple[reading.Delivery, list[dict[str, Any]]]:
    return read(raw, NETWORK, text_of(rows, ",") + end)


def test_a_network_export_is_found_by_its_name(tmp_path: Path) -> None:
    delivery, rows = koha(tmp_path, koha_row())
    assert (delivery.format, delivery.file.branch, delivery.export_date) == ("koha_csv", "network", dt.date(2023, 6, 1))
    assert [rows[0][name] for name in ("supplying_branch", "pickup_branch", "collected_at")] == ["AA", "BB", ""]


@pytest.mark.parametrize("line", ["# ERROR 1064 at line 1", "# ERROR"])
def test_a_report_that_broke_off_is_rejected(tmp_path: Path, line: str) -> None:
    content = text_of([koha_row()], ",") + line + "\n"
    assert rejection(tmp_path, NETWORK, content) == ("broken_export", {"line": "3", "marker": "# ERROR"})


def test_an_error_inside_a_line_is_no_broken_report(tmp_path: Path) -> None:
    delivery, rows = koha(tmp_path, koha_row(comments="see # ERROR"))
    assert (delivery.verdict, len(rows)) == ("read", 1)


def test_other_reasons_are_no_reservations_and_are_counted_apart(tmp_path: Path) -> None:
    rows = [koha_row(n, reason=r) for n, r in enumerate(["Reserve", "Manual", "", "ReserveCancellation", "Reserve "])]
    delivery, found = koha(tmp_path, *rows)
    assert (delivery.rows_read, delivery.rows_other, delivery.rows_duplicate) == (2, 3, 0)
    assert [row["reservation_id"] for row in found] == ["0", "4"]


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({}, "O"),
        ({"datearrived": ""}, "T"),
        ({"datearrived": "", "datesent": ""}, "A"),
        ({"datecancelled": "2023-05-04 10:00:00"}, "Z"),
        ({"datearrived": "", "datecancelled": "2023-05-04 10:00:00"}, "Z"),
    ],
)
def test_the_status_follows_from_the_dates(tmp_path: Path, changed: dict[str, str], status: str) -> None:
    assert koha(tmp_path, koha_row(1, **changed))[1][0]["status"] == status


def test_an_arrival_of_a_cancelled_transfer_is_none(tmp_path: Path) -> None:
    row = koha(tmp_path, koha_row(comments='"Canceled, new transfer requested"'))[1][0]
    assert (row["received_at"], row["status"]) == ("", "T")
    row = koha(tmp_path, koha_row(comments='"not Canceled, new transfer"'))[1][0]
    assert (row["received_at"], row["status"]) == ("2023-05-03 10:00:00", "O")


@pytest.mark.parametrize("name", ["reason", "comments"])
def test_a_missing_helper_column_rejects_the_file(tmp_path: Path, name: str) -> None:
    row = {column: value for column, value in koha_row().items() if column != name}
    assert rejection(tmp_path, NETWORK, text_of([row], ",")) == ("column_missing", {"column": name})


def test_comments_and_readers_are_not_kept(tmp_path: Path) -> None:
    row = koha_row(comments="for J. Janssen") | {"surname": "Janssen", "cardnumber": "20184711"}
    file = put(tmp_path, NETWORK, text_of([row], ","))
    batch = reading.read_files(tmp_path, [file], set(), REFERENCE)
    assert batch.deliveries[0].dropped_columns == ["cardnumber", "surname"]
    told = repr(batch.deliveries) + repr(batch.rows.to_pylist())
    assert "Janssen" not in told
    assert "20184711" not in told


def test_equal_rows_of_a_network_export_are_set_aside(tmp_path: Path) -> None:
    delivery, rows = koha(tmp_path, koha_row(1), koha_row(1), koha_row(2), end="x\ny,z\n")
    assert (delivery.rows_read, delivery.rows_duplicate, delivery.broken_rows, len(rows)) == (5, 1, [5, 6], 2)


def test_a_format_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "exports").mkdir()
    (tmp_path / "exports" / "mine.yaml").write_text("format: mine\ncolour: blue\n", encoding="utf-8")
    monkeypatch.setattr(contracts, "EXPECTATIONS", tmp_path)
    contracts.export_formats.cache_clear()
    try:
        with pytest.raises(
            UserError, match=r"mine\.yaml is no export format: unknown: colour; missing: close_reasons,"
        ):
            contracts.export_formats()
    finally:
        contracts.export_formats.cache_clear()
