"""Files that are no exports but traps: each comes out as a rejection, costs little, and leaves the others alone."""

from __future__ import annotations

import gzip
import io
import os
import socket
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import mutated_files
from pendel import bronze, present, reading, workbooks
from pendel.contracts import columns
from pendel.places import Places
from pendel.reference import read_reference
from tests.pipeline import count_rules
from tests.test_reading import (
    CSV,
    DUTCH,
    INNER,
    NETWORK,
    REFERENCE,
    TSV,
    XLSX,
    dutch_row,
    excel_row,
    koha_row,
    put,
    read,
    rejection,
    text_of,
    workbook,
    zipped,
)

CONTENT = text_of([dutch_row()]).encode()
NOT_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has none")
MEGABYTE = bytes(1 << 20)


def gz_bomb(megabytes: int) -> bytes:
    """Bytes that unpack to a thousand times as many."""
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as file:
        for _ in range(megabytes):
            file.write(MEGABYTE)
    return packed.getvalue()


def zip_bomb(name: str, megabytes: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive, archive.open(name, "w") as member:
        for _ in range(megabytes):
            member.write(MEGABYTE)
    return packed.getvalue()


def lying(archive: bytes, size: int) -> bytes:
    """The same zip, saying that everything in it unpacks to `size` bytes."""
    changed = bytearray(archive)
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = changed.find(mark)
        while place >= 0:
            changed[place + offset : place + offset + 4] = struct.pack("<I", size)
            place = changed.find(mark, place + 4)
    return bytes(changed)


def remade(book: bytes, **parts: str | bytes) -> bytes:
    """A workbook of which some parts (by the end of their name, without .xml) are others."""
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    for end, part in parts.items():
        (name,) = [name for name in content if name.endswith(f"/{end}.xml")]
        content[name] = part.encode() if isinstance(part, str) else part
    return zipped(content)


def of_no_known_kind(book: bytes) -> bytes:
    """A workbook in which the word that tells what the part of its sheet is, is damaged."""
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    related = content["xl/_rels/workbook.xml.rels"]
    content["xl/_rels/workbook.xml.rels"] = related.replace(b'/worksheet"', b'worksheet"')
    assert content["xl/_rels/workbook.xml.rels"] != related
    return zipped(content)


def sheet(rows: str) -> str:
    return f'<worksheet xmlns="x"><sheetData>{rows}</sheetData></worksheet>'


SOUND_BOOK = workbook([list(excel_row()), list(excel_row().values())])


def header_cells(names: list[str], row: int = 1) -> str:
    cells = "".join(f'<c t="inlineStr"><is><t>{name}</t></is></c>' for name in names)
    return f'<row r="{row}">{cells}</row>'


def far_cell(place: str, row: int) -> bytes:
    return remade(
        SOUND_BOOK,
        sheet1=sheet(header_cells(DUTCH) + f'<row r="{row}"><c r="{place}{row}" t="str"><v>x</v></c></row>'),
    )


# ------------------------------------------------------------------------------------------- what is too large


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        pytest.param(f"{CSV}.gz", gz_bomb(70), "too_large", id="gz bomb"),
        pytest.param(f"{CSV}.zip", zip_bomb("x.csv", 70), "too_large", id="zip bomb"),
        pytest.param(f"{CSV}.zip", lying(zip_bomb("x.csv", 70), 10), "broken_archive", id="zip that says it is small"),
        pytest.param(f"{CSV}.zip", lying(zipped({INNER: CONTENT}), 1 << 31), None, id="that says it is large"),
        pytest.param(f"{CSV}.zip", zipped({"x.zip": zip_bomb("y", 70)}), "other_container", id="zip in a zip"),
        pytest.param(f"{CSV}.gz", gzip.compress(gz_bomb(70)), "other_container", id="gz in a gz"),
        pytest.param(f"{CSV}.gz.zip", zipped({INNER + ".gz": gz_bomb(9)}), "unknown_name", id="gz in a zip"),
        pytest.param(CSV, b"\n" * (reading.MOST_ROWS + 1), "too_large", id="a file of line ends"),
        pytest.param(CSV, ";".join(DUTCH) + ";x" * 10**6, "too_many_columns", id="a million names"),
        pytest.param(CSV, ";".join(DUTCH) + ';"x"' * 10**6, "too_many_columns", id="a million quoted names"),
        pytest.param(CSV, ";".join(DUTCH) + "\n" + '"\n' * 499_000, None, id="a line of quotes, many times"),
        pytest.param(CSV, ";".join(DUTCH) + "\n" + '"x;\n' * 499_000, "not_parsable", id="open quotes"),
        pytest.param(NETWORK, text_of([koha_row()], ",") + "#" * 10**7, None, id="a line of ten million"),
    ],
)
def test_what_no_export_can_be_is_refused(tmp_path: Path, path: str, content: str | bytes, reason: str | None) -> None:
    delivery, _ = read(tmp_path, path, content)
    assert delivery.reason == reason
    assert (delivery.verdict == "read") == (reason is None)


def test_a_file_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    put(tmp_path, CSV, b"")
    os.truncate(tmp_path / CSV, 1 << 40)  # a terabyte of nothing, on no disk space
    put(tmp_path, TSV, b"")
    batch = reading.read_files(tmp_path, reading.find_files(tmp_path), set(), REFERENCE)
    assert sorted(str(delivery.reason) for delivery in batch.deliveries) == ["empty_file", "too_large"]


@pytest.mark.parametrize(
    ("row", "broken"), [(";".join("x" * 2_000_000 for _ in range(13)), [3]), (";" * 999_999, [3]), ("x" * 999_999, [3])]
)
def test_a_row_of_megabytes_is_held_and_its_neighbours_are_read(tmp_path: Path, row: str, broken: list[int]) -> None:
    lines = text_of([dutch_row(1), dutch_row(2)]).splitlines()
    delivery, found = read(tmp_path, CSV, "\n".join([*lines[:2], row, *lines[2:]]))
    assert (delivery.rows_read, delivery.broken_rows) == (3, broken)
    assert [line["row"] for line in found] == [2, 4]


def test_a_value_that_runs_over_too_many_lines_is_a_quote_that_never_closes(tmp_path: Path) -> None:
    lines = text_of([dutch_row(1), dutch_row(2, Materiaalsoort='"a' + "\n" * reading.MOST_ROW_LINES + 'b"')]).split(
        "\n"
    )
    delivery, found = read(tmp_path, CSV, "\n".join(lines))
    assert (delivery.broken_rows[0], found[0]["row"]) == (3, 2)


def test_an_archive_of_very_many_members_is_not_listed(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"{number}", b"")
    assert rejection(tmp_path, f"{CSV}.zip", packed.getvalue()) == ("archive_not_one_file", {"count": "20000"})
    assert rejection(tmp_path, XLSX, packed.getvalue())[0] == "too_large"


# ------------------------------------------------------------------------------------------- workbooks


@pytest.mark.parametrize(
    ("book", "reason"),
    [
        pytest.param(remade(SOUND_BOOK, sheet1=b"<x>" + bytes(70 << 20)), "too_large", id="a sheet that inflates"),
        pytest.param(
            lying(remade(SOUND_BOOK, sheet1=b"<x>" + bytes(70 << 20)), 100), "no_workbook", id="that says it is small"
        ),
        pytest.param(remade(SOUND_BOOK, sharedStrings=bytes(70 << 20)), "too_large", id="texts that inflate"),
        pytest.param(
            remade(
                SOUND_BOOK,
                sharedStrings=f"<sst><si><t>{'x' * 1_000_000}</t></si></sst>",
                sheet1=sheet('<row><c t="s"><v>0</v></c></row>' * 1000),
            ),
            "too_large",
            id="a text that a thousand cells point at",
        ),
        pytest.param(
            remade(
                SOUND_BOOK,
                sheet1='<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>' + sheet("&b;"),
            ),
            "no_workbook",
            id="entities",
        ),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet(header_cells(["x"] * 1001))), "too_many_columns", id="many names"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet(header_cells(["x"] * 16_385))), "no_workbook", id="beyond XFD"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet('<row r="1048577"/>')), "no_workbook", id="beyond the last row"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet('<row r="2"/><row r="2"/>')), "no_workbook", id="a row twice"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet('<row r="1"><c r="A2"/></row>')), "no_workbook", id="another row"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet('<row><c t="s"><v>-1</v></c></row>')), "no_workbook", id="-1"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet('<row><c t="s"><v>99</v></c></row>')), "no_workbook", id="99"),
        pytest.param(remade(SOUND_BOOK, sheet1="<worksheet>" + "<a>" * 200_000), "no_workbook", id="deep"),
        pytest.param(remade(SOUND_BOOK, sheet1=sheet('<row r="1">')), "no_workbook", id="no well-formed XML"),
        pytest.param(of_no_known_kind(SOUND_BOOK), "no_workbook", id="nothing says that it is a worksheet"),
    ],
)
def test_a_workbook_that_is_a_trap_is_refused(tmp_path: Path, book: bytes, reason: str) -> None:
    assert rejection(tmp_path, XLSX, book)[0] == reason


@pytest.mark.parametrize(("place", "row"), [("XFD", 1_048_576), ("A", 1_048_576), ("XFD", 2)])
def test_one_cell_far_away_is_one_row(tmp_path: Path, place: str, row: int) -> None:
    """Laid out as a table this would be seventeen thousand million cells."""
    delivery, found = read(tmp_path, XLSX, far_cell(place, row))
    assert (delivery.rows_read, [line["row"] for line in found]) == (1, [row])


def test_the_first_sheet_is_the_one_that_the_workbook_lists_first(tmp_path: Path) -> None:
    """Sheets that were moved keep the names of their parts; an error cell of another sheet is none of ours."""
    row = list(excel_row(**{"Ontvangen op": "=NA()"}).values())
    book = workbook([["other"]], second_sheet=[DUTCH, row])
    with zipfile.ZipFile(io.BytesIO(book)) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    listed = content["xl/workbook.xml"].decode()
    start, end = listed.index("<sheet "), listed.index("</sheets>")
    first, second = listed[start:end].split("/>")[:2]
    content["xl/workbook.xml"] = (listed[:start] + second + "/>" + first + "/>" + listed[end:]).encode()
    delivery, found = read(tmp_path, XLSX, zipped(content))
    assert (delivery.rows_read, found[0]["received_at"]) == (1, "#")


def test_days_count_from_1904_where_the_workbook_says_so(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(SOUND_BOOK)) as archive:
        listed = archive.read("xl/workbook.xml").decode()
    book = remade(SOUND_BOOK, workbook=listed.replace("<workbookPr ", '<workbookPr date1904="1" '))
    assert read(tmp_path, XLSX, book)[1][0]["received_at"] == "@2027-05-04 10:00:00"


@pytest.mark.parametrize(
    ("code", "is_date"),
    [
        ("dd-mm-yyyy hh:mm", True),
        ('yyyy"jaar"', True),
        ("[$-413]d mmmm yyyy;@", True),
        ("General", False),
        ("0.00", False),
        ('0 "dagen"', False),
        ("[Red]0", False),
        ("\\d0", False),
        ("#,##0.00_d", False),
        ("[h]:mm", True),
    ],
)
def test_number_formats_that_show_a_date(code: str, is_date: bool) -> None:
    assert workbooks._shows_a_date(code) is is_date


# ------------------------------------------------------------------------------------------- other things than exports


@pytest.mark.parametrize(
    ("path", "content", "reason", "found"),
    [
        (CSV, zipped({INNER: CONTENT}), "other_container", "zip / xlsx"),
        (CSV, SOUND_BOOK, "other_container", "zip / xlsx"),
        (TSV, gzip.compress(CONTENT), "other_container", "gzip"),
        (CSV, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "other_container", "xls"),
        (CSV, b"\xef\xbb\xbf\n <!DOCTYPE HTML><html>log in</html>", "other_container", "html"),
        (CSV, b"%PDF-1.4", "other_container", "pdf"),
        (f"{CSV}.zip", gzip.compress(CONTENT), "other_container", "gzip"),
        (f"{CSV}.gz", zipped({INNER: CONTENT}), "other_container", "zip / xlsx"),
        (f"{CSV}.gz", b"<html>", "other_container", "html"),
        (XLSX, CONTENT, "no_workbook", None),
        (XLSX, b"<html><table>", "no_workbook", None),
        (XLSX, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "no_workbook", None),
        (XLSX, b"\xd0\xcf\x11\xe0" + bytes(600) + "EncryptedPackage".encode("utf-16-le"), "locked_file", None),
        (f"{CSV}.gz", gzip.compress(CONTENT)[:-9], "broken_archive", None),
        (f"{CSV}.zip", zipped({INNER: CONTENT})[:-9], "broken_archive", None),
        (XLSX, SOUND_BOOK[:-9], "no_workbook", None),
    ],
)
def test_contents_of_another_kind_are_told(
    tmp_path: Path, path: str, content: bytes, reason: str, found: str | None
) -> None:
    told, detail = rejection(tmp_path, path, content)
    assert (told, detail.get("found")) == (reason, found)


def test_an_archive_with_a_password_is_told(tmp_path: Path) -> None:
    locked = bytearray(zipped({INNER: CONTENT}))
    locked[6] |= 1
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    assert rejection(tmp_path, f"{CSV}.zip", bytes(locked))[0] == "locked_file"


@pytest.mark.parametrize("name", ["../../../outside.csv", "/tmp/outside.csv", "..\\outside.csv", f"../{INNER}"])
def test_no_archive_reaches_the_disk(tmp_path: Path, name: str) -> None:
    raw = tmp_path / "raw"
    delivery, rows = read(raw, f"{CSV}.zip", zipped({name: CONTENT}))
    assert (delivery.verdict, len(rows)) == ("read", 1)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [raw / f"{CSV}.zip"]
    assert not Path("/tmp/outside.csv").exists()


def test_a_link_in_an_archive_is_followed_nowhere(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        link = zipfile.ZipInfo(INNER)
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert rejection(tmp_path, f"{CSV}.zip", packed.getvalue())[0] == "column_missing"


@NOT_WINDOWS
def test_links_pipes_and_sockets_are_refused_and_block_nothing(tmp_path: Path) -> None:
    put(tmp_path, CSV, CONTENT)
    folder = tmp_path / "noord"
    os.mkfifo(folder / "reserveringen_0060_20230602.csv")
    (folder / "reserveringen_0060_20230603.csv").symlink_to("/dev/zero")
    (folder / "reserveringen_0060_20230604.csv").symlink_to(folder / INNER)
    os.link(tmp_path / CSV, folder / "reserveringen_0060_20230605.csv")
    (folder / "reserveringen_0060_20230606.csv").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "s.csv")) if len(str(folder)) < 90 else None
        batch = reading.read_files(tmp_path, reading.find_files(tmp_path), set(), REFERENCE)
    found = {delivery.file.path[-6:-4]: delivery for delivery in batch.deliveries}
    assert {found[day].reason for day in ("02", "03", "04")} == {"no_plain_file"}
    assert len({found[day].sha256 for day in ("02", "03", "04")}) == 3  # three files, not one and two copies
    assert sorted((found["01"].verdict, found["05"].verdict)) == ["read", "skipped"]  # a hard link is the file itself
    assert "06" not in found


@NOT_WINDOWS
def test_a_pipe_that_takes_the_place_of_a_file_blocks_nothing(tmp_path: Path) -> None:
    file = put(tmp_path, CSV, CONTENT)
    (tmp_path / CSV).unlink()
    os.mkfifo(tmp_path / CSV)
    assert reading.read_files(tmp_path, [file], set(), REFERENCE).deliveries[0].reason == "no_plain_file"


def test_a_file_that_is_taken_away_was_not_delivered(tmp_path: Path) -> None:
    files = [put(tmp_path, CSV, CONTENT), put(tmp_path, TSV, b"")]
    (tmp_path / CSV).unlink()
    batch = reading.read_files(tmp_path, files, set(), REFERENCE)
    assert [delivery.file.path for delivery in batch.deliveries] == [TSV]


def test_a_file_that_was_changed_since_it_was_listed_is_known_as_it_was_read(tmp_path: Path) -> None:
    file = put(tmp_path, CSV, CONTENT)
    later = put(tmp_path, CSV, text_of([dutch_row(1), dutch_row(2)]))
    (delivery,) = reading.read_files(tmp_path, [file], set(), REFERENCE).deliveries
    assert (delivery.rows_read, delivery.file) == (2, later)
    assert delivery.file != file


def test_a_file_that_is_being_written_is_left_for_another_night(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows between every two looks at it, as a file does while it is being copied."""
    file = put(tmp_path, CSV, CONTENT)
    look = os.fstat

    def grown(descriptor: int) -> os.stat_result:
        with open(tmp_path / CSV, "ab") as writer:
            writer.write(b"\n")
        return look(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fstat", grown)
        batch = reading.read_files(tmp_path, [file], set(), REFERENCE)
    assert (batch.deliveries[0].reason, batch.rows.num_rows) == ("changing", 0)


@pytest.fixture
def ordinary_user() -> Iterator[None]:
    """Root may read everything: the test goes on as somebody who may not."""
    if sys.platform == "win32":
        pytest.skip("Windows has other permissions")
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_may_not_be_read_is_told_and_tried_again(
    tmp_path: Path, places: Places, request: pytest.FixtureRequest
) -> None:
    folder = places.raw / "aa"
    folder.mkdir(parents=True)
    name = "reserveringen_0060_20240401.csv"
    (folder / name).write_bytes(text_of([dutch_row()]).encode())
    (folder / "locked").mkdir()
    (folder / "locked" / "x.csv").write_bytes(b"")
    (folder / name).chmod(0)
    (folder / "locked").chmod(0)
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() == "root" and path != Path("/") and path != Path("/tmp") and not os.geteuid():
            path.chmod(path.stat().st_mode | 0o055)
    reference = read_reference(places.reference)
    request.getfixturevalue("ordinary_user")
    files = reading.find_files(places.raw)
    batch = reading.read_files(places.raw, files, set(), reference)
    if os.getuid() == 0:
        os.seteuid(0)
    (folder / name).chmod(0o644)
    (folder / "locked").chmod(0o755)
    assert sorted((d.file.path, d.reason) for d in batch.deliveries) == [
        ("aa/locked/", "unreadable"),
        (f"aa/{name}", "unreadable"),
    ]
    run = bronze.Run.start(mutated_files.AS_OF)
    bronze.take_in(places, reference, run, [batch], count_rules)
    again = bronze.plan(places, reference).files["aa"]
    assert f"aa/{name}" in [file.path for file in again]
    batch = reading.read_files(places.raw, again, set(), reference)
    intake = bronze.take_in(places, reference, bronze.Run.start(mutated_files.AS_OF), [batch], count_rules)
    assert (intake.files["read"], intake.rows_read) == (1, 1)
    with bronze._workshop(places) as con:
        told = con.sql("SELECT path, verdict, reason FROM bronze.file ORDER BY ALL").fetchall()
    assert (f"aa/{name}", "read", None) in told
    assert (f"aa/{name}", "rejected", "unreadable") not in told


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """An installation of a small network."""
    return mutated_files.installation(tmp_path / "home")


# ------------------------------------------------------------------------------------------- names


@NOT_WINDOWS
def test_names_that_are_traps_are_shown_harmlessly(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0.csv", "a\nb.csv", "\x1b[2J.csv", "'; DROP TABLE x; --.csv", '"q".csv', "\u202egpj.csv",
             "[/].csv", "{file}.csv", "%s%n.csv", "x" * 250]  # fmt: skip
    for name in names:
        put(tmp_path, f"noord/{name}", b"x")
    with open(os.fsencode(tmp_path) + b"/noord/\xff\xfe\x80.csv", "wb") as file:
        file.write(b"x")
    batch = reading.read_files(tmp_path, reading.find_files(tmp_path), set(), REFERENCE)
    assert [delivery.reason for delivery in batch.deliveries] == ["unknown_name"] * (len(names) + 1)
    for delivery in batch.deliveries:
        shown = reading.safe_path(delivery.file.path, REFERENCE)
        assert shown.isprintable()
        assert not {"calc", "DROP", "gpj"} & set(shown.replace("'", " ").split())
        cell = present.as_csv(["file"], [[shown.removeprefix("noord/")]]).splitlines()[1].lstrip('"')
        assert not cell.startswith(("=", "+", "-", "@"))


def test_a_path_longer_than_the_system_knows_stops_nothing(tmp_path: Path) -> None:
    put(tmp_path, CSV, CONTENT)
    here = os.getcwd()
    os.chdir(tmp_path / "noord")
    try:
        for _ in range(25):
            os.mkdir("d" * 200)
            os.chdir("d" * 200)
        Path("x.csv").write_bytes(b"x")
    finally:
        os.chdir(here)
    batch = reading.read_files(tmp_path, reading.find_files(tmp_path), set(), REFERENCE)
    told = sorted(str(delivery.reason) for delivery in batch.deliveries)
    assert told[0] == "None"
    assert set(told[1:]) == {"unreadable"}
    subprocess.run(["rm", "-rf", tmp_path / "noord"], check=True)  # shutil cannot


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("http://x";"y")'])
def test_no_formula_of_an_export_is_kept_or_comes_out(places: Places, value: str) -> None:
    row = dutch_row(1, Materiaalsoort=value.replace('"', "").replace(";", ","), Status=value[:2])
    put(places.raw, "aa/reserveringen_0060_20240401.csv", text_of([row]))
    reference = read_reference(places.reference)
    batch = reading.read_files(places.raw, reading.find_files(places.raw), set(), reference)
    bronze.take_in(places, reference, bronze.Run.start(mutated_files.AS_OF), [batch], count_rules)
    with bronze._workshop(places) as con:
        kept = con.sql("SELECT material_type, status FROM bronze.quarantine").fetchall()
    assert kept == [("***", "***")]
    assert present.as_csv(["x"], [[value]]).splitlines()[1].lstrip('"').startswith("'")


# ------------------------------------------------------------------------------------------- memory


def test_a_night_full_of_bombs_stays_small(tmp_path: Path) -> None:
    """Everything above in one folder, read by several readers at once as the flow does, in a process of its own."""
    raw = tmp_path / "raw"
    packed = gz_bomb(200), zip_bomb("x", 200)
    for day in range(1, 5):
        put(raw, f"noord/reserveringen_0060_202306{day:02}.csv.gz", packed[0])
        put(raw, f"zuid/0201-reservations-2023-06-{day:02}.tsv.zip", packed[1])
        put(raw, f"eiland/reserveringen 0307 2023-06-{day:02}.xlsx", far_cell("XFD", 1_048_576))
    texts = f"<sst><si><t>{'x' * 30_000_000}</t></si></sst>"
    cells = sheet('<row><c t="s"><v>0</v></c></row>' * 100_000)
    put(raw, "eiland/reserveringen 0307 2023-06-11.xlsx", remade(SOUND_BOOK, sharedStrings=texts, sheet1=cells))
    put(raw, "eiland/reserveringen 0307 2023-06-12.xlsx", remade(SOUND_BOOK, sheet1=b"<x>" + bytes(100 << 20)))
    euro = "€".encode("cp1252")
    head = (";".join(DUTCH) + "\n").encode()
    put(raw, "noord/reserveringen_0060_20230611.csv", head + b'"x;\n' * 400_000)
    put(raw, "noord/reserveringen_0060_20230612.csv", head + (b";" * 12 + b'"' + euro * 90 + b'"\n') * 480_000)
    put(raw, "noord/reserveringen_0060_20230613.csv", head + b";" * 60_000_000)
    put(raw, "noord/reserveringen_0060_20230614.csv", b"")
    os.truncate(raw / "noord/reserveringen_0060_20230614.csv", 1 << 40)
    put(raw, TSV.replace("01.", "21."), "\t".join(["x"] * 13) + "\n" + "\U0001f600" * 15_000_000)
    script = textwrap.dedent("""
        import resource, sys
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from pendel import reading
        from tests.test_reading import REFERENCE
        raw = Path(sys.argv[1])
        files = reading.find_files(raw)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        def one(branch):
            return reading.read_files(raw, [f for f in files if f.branch == branch], set(), REFERENCE)
        with ThreadPoolExecutor(4) as pool:
            batches = list(pool.map(one, sorted({f.branch for f in files})))
        print(sum(len(batch.deliveries) for batch in batches))
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, str(raw)], capture_output=True, text=True, timeout=300, check=True
    )
    files, megabytes = map(int, done.stdout.split())
    assert files == 19
    if sys.platform == "linux":
        assert megabytes < 1000


# ------------------------------------------------------------------------------------------- mutated files


def test_mutated_exports_are_read_as_the_independent_judge_reads_them() -> None:
    told: dict[str, Any] = mutated_files.run(rounds=200, seed=5)
    assert told["disagreements"] == []
    assert told["files"] >= 200
    assert told["rows_read"] > 500
    assert 0 < told["rejected"] < told["files"]
    assert set(columns()) == set(mutated_files.COLUMNS)
