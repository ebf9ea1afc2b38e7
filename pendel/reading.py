"""Finding and reading the branches' exports, by contract.

In: the raw folder, the register, the export formats. Out: per file what it is and why it could not be read, and
its rows as text under their canonical names. What is no column of the contract is dropped here, before anything
is stored. Nothing in this module raises for a bad file or row: they come out as a rejection or as a broken row.
"""

from __future__ import annotations

import csv
import datetime as dt
import functools
import gzip
import hashlib
import io
import os
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import python_calamine

from pendel.contracts import ExportFormat, columns, export_formats, file_words
from pendel.places import UserError
from pendel.reference import NETWORK, BranchPeriod, Reference

CELL_DATETIME_FORMAT = "@%Y-%m-%d %H:%M:%S"
"""How a real date cell of a workbook is written as text; the @ keeps it apart from a date typed as text."""

MOST_BROKEN_LINES = 1000
"""A file with more lines that cannot be parsed is no export."""


MOST_PLAIN_CHARACTERS = 16_000_000
"""Larger files are parsed one by one."""


NEVER_SEEN = 2**62
"""The turn of a file that no earlier run saw."""


@dataclass(frozen=True)
class FoundFile:
    """A file in the raw folder. `branch` is the name of the folder it was delivered in, "" for none."""

    branch: str
    path: str
    size_bytes: int
    mtime_ns: int
    turn: int = NEVER_SEEN
    arrived_at: dt.datetime | None = None
    """When the store is made again: the file's place in the order in which runs once saw the files, and the time of
    arrival (local) that they noted."""

    @property
    def arrival(self) -> tuple[int, int, str]:
        """The order of arrival within a run: what earlier runs saw, then the file's own time, then its path."""
        return self.turn, self.mtime_ns, self.path


class Rejected(Exception):
    """The file cannot be used; `reason` is a key of `rejections` in expectations/rules.yaml."""

    def __init__(self, reason: str, **detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass
class Delivery:
    """What was found in one file: its verdict, why it was rejected, and what became of its rows while reading."""

    file: FoundFile
    sha256: str
    verdict: str = "read"
    reason: str | None = None
    detail: dict[str, str] = field(default_factory=dict)
    format: str | None = None
    export_date: dt.date | None = None
    rows_read: int = 0
    rows_duplicate: int = 0
    rows_other: int = 0
    dropped_columns: list[str] = field(default_factory=list)
    broken_rows: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class PlainText:
    """The body of a text file that needs no care: no quotes, no empty lines, as many delimiters as it should have."""

    header: tuple[str, ...]
    body: str
    count: int


@dataclass(frozen=True)
class ParsedRows:
    """The rows of a file with their numbers: canonical columns, then the format's helper columns."""

    numbers: list[int]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Batch:
    """The deliveries of one task, and their rows as one table: `delivery` (index), `row`, the canonical columns."""

    deliveries: list[Delivery]
    rows: pa.Table


def find_files(raw: Path) -> list[FoundFile]:
    """Every file below the raw folder, in order of arrival; hidden files and Office's lock files are none.

    Raises UserError when the folder is not there.
    """
    if not raw.is_dir():
        raise UserError(
            "{folder} is no folder. Put the branches' exports there, a folder a branch, or give --raw.", folder=raw
        )
    found: list[FoundFile] = []
    pending = [(raw, "")]
    while pending:
        folder, prefix = pending.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith((".", "~$")):
                    continue
                path = f"{prefix}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    pending.append((folder / entry.name, path + "/"))
                elif path != "README.md":
                    seen = entry.stat(follow_symlinks=False)  # a link is listed, and rejected when it is read
                    branch = path.split("/")[0] if prefix else ""
                    found.append(FoundFile(branch, path, seen.st_size, seen.st_mtime_ns))
    return sorted(found, key=lambda file: file.arrival)


def read_files(raw: Path, files: Sequence[FoundFile], known: set[str], reference: Reference) -> Batch:
    """Read files of one or more branches, in order of arrival.

    `known` holds what was read before (`known_as`): the same bytes again are skipped, not parsed.
    Raises OSError when a file cannot be got at; the caller may try again.
    """
    known = set(known)
    deliveries: list[Delivery] = []
    contents: list[PlainText | ParsedRows | None] = []
    for file in sorted(files, key=lambda file: file.arrival):
        content = file_content(f"{raw}/{file.path}")
        delivery = Delivery(file, _sha256(content))
        rows = None
        if content is None:
            delivery.verdict, delivery.reason = "rejected", "no_plain_file"
        elif known_as(file.branch, delivery.sha256) in known:
            delivery.verdict = "skipped"
        else:
            try:
                rows = _read(delivery, content, reference)
            except Rejected as rejection:
                delivery.verdict, delivery.reason, delivery.detail = "rejected", rejection.reason, rejection.detail
                delivery.rows_read = delivery.rows_other = 0
                delivery.broken_rows, delivery.dropped_columns = [], []
            else:
                # Exports without rows are all alike: those of two days are two deliveries.
                is_empty = not delivery.rows_read + delivery.rows_other
                key = known_as(file.branch, delivery.sha256, delivery.export_date if is_empty else None)
                if key in known:
                    delivery.verdict = "skipped"
                known.add(key)
        deliveries.append(delivery)
        contents.append(rows)
    return Batch(deliveries, _without_duplicates(deliveries, _table(deliveries, contents)))


def sha256_of(raw: Path, file: FoundFile) -> str:
    """The hash that the ledger knows a file's bytes by. Raises OSError when it cannot be got at."""
    return _sha256(file_content(f"{raw}/{file.path}"))


def _sha256(content: bytes | None) -> str:
    return hashlib.sha256(content or b"").hexdigest()


def file_content(path: str) -> bytes | None:
    """The bytes of a file; None for a link, a device, a pipe: nothing that a branch delivers.

    Raises OSError without the file's name, which could tell on a reader in a log.
    """
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return None
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise OSError(error.errno, error.strerror) from None


def known_as(branch: str, sha256: str, export_date: dt.date | None = None) -> str:
    """What a file is known by; the export date only for a file without rows."""
    return f"{branch}/{sha256}/{export_date or ''}"


def _table(deliveries: Sequence[Delivery], contents: Sequence[PlainText | ParsedRows | None]) -> pa.Table:
    """The rows of all files as one table: `delivery`, `row`, the canonical columns, trimmed.

    Most of the time goes into the number of files, not of rows: plain files of the same form are parsed as one.
    """
    alike: dict[tuple[str, tuple[str, ...]], list[int]] = {}
    tables = [empty_rows()]
    for index, content in enumerate(contents):
        if isinstance(content, PlainText):
            alike.setdefault((deliveries[index].format or "", content.header), []).append(index)
        elif content is not None:
            tables.append(_columnar([index] * len(content.rows), content.numbers, content.rows))
    for (name, header), indexes in alike.items():
        spec = export_formats()[name]
        plain = [content for content in (contents[i] for i in indexes) if isinstance(content, PlainText)]
        together = _parse_together(plain, header, spec)
        if together is not None:
            places = np.repeat(np.array(indexes, dtype=np.int32), [text.count for text in plain])
            rows = np.concatenate([np.arange(2, text.count + 2, dtype=np.int32) for text in plain])
            tables.append(together.add_column(0, "delivery", pa.array(places)).add_column(1, "row", pa.array(rows)))
            continue
        for index, text in zip(indexes, plain, strict=True):
            records = _quoted([spec.delimiter.join(header), *text.body.split("\n")], spec.delimiter)
            parsed = _take_rows(deliveries[index], records, spec)
            tables.append(_columnar([index] * len(parsed.rows), parsed.numbers, parsed.rows))
    table = pa.concat_tables(tables)
    for position, name in enumerate(table.column_names):
        if pa.types.is_string(table.field(name).type):
            table = table.set_column(position, name, pc.utf8_trim_whitespace(table.column(name)))
    return table


def empty_rows() -> pa.Table:
    """A table of rows without any."""
    return _columnar([], [], [])


def _columnar(indexes: Sequence[int], numbers: Sequence[int], rows: Sequence[tuple[str, ...]]) -> pa.Table:
    by_column: Iterable[Sequence[str]] = zip(*rows, strict=True) if rows else [()] * len(columns())
    return pa.table(
        {"delivery": pa.array(indexes, pa.int32()), "row": pa.array(numbers, pa.int32())}
        | {name: pa.array(values, pa.string()) for name, values in zip(columns(), by_column, strict=True)}
    )


def _parse_together(texts: Sequence[PlainText], header: tuple[str, ...], spec: ExportFormat) -> pa.Table | None:
    """The canonical columns of several files at once; None when a row has another number of fields than the header."""
    content = "".join(text.body for text in texts).encode()
    names = {title: column for column, title in spec.columns.items()}
    # a title that is not ours is never read; numbered, since two of them may be alike
    titles = [names.get(title, str(position)) for position, title in enumerate(header)]
    try:
        table = pacsv.read_csv(
            io.BytesIO(content),
            pacsv.ReadOptions(column_names=titles, block_size=max(len(content), 1), use_threads=False),
            pacsv.ParseOptions(delimiter=spec.delimiter, quote_char=False, newlines_in_values=False),
            pacsv.ConvertOptions(
                column_types=dict.fromkeys(titles, pa.string()),
                strings_can_be_null=False,
                include_columns=[column for column in columns() if column in titles],
            ),
        )
    except pa.ArrowInvalid:
        return None
    if table.num_rows != sum(text.count for text in texts):
        return None
    nothing = pa.array([""] * table.num_rows, pa.string())
    return pa.table({column: table[column] if column in table.column_names else nothing for column in columns()})


def _without_duplicates(deliveries: Sequence[Delivery], table: pa.Table) -> pa.Table:
    """Set aside the rows that are equal, in every column of the contract, to an earlier row of the same file."""
    # Those of a format with helper columns were set aside while these were there to tell them apart.
    done = [i for i, d in enumerate(deliveries) if d.format and export_formats()[d.format].helper_columns]
    is_done = pc.is_in(table["delivery"], value_set=pa.array(done, pa.int32()))
    return pa.concat_tables([table.filter(is_done), _first_rows(deliveries, table.filter(pc.invert(is_done)))])


def _first_rows(deliveries: Sequence[Delivery], table: pa.Table) -> pa.Table:
    # Equal rows bear one reservation number: few are left to be compared in full.
    numbers = table.group_by(["delivery", "reservation_id"]).aggregate([("row", "count")])
    suspect = numbers.filter(pc.greater(numbers["row_count"], 1))["reservation_id"]
    is_suspect = pc.is_in(table["reservation_id"], value_set=pc.unique(suspect))
    compared = table.filter(is_suspect)
    keys = ["delivery", *columns()]
    first = compared.group_by(keys, use_threads=False).aggregate([("row", "min")])
    if first.num_rows == compared.num_rows:
        return table
    first = first.rename_columns([*keys, "row"]).select(table.column_names)
    first = pa.concat_tables([table.filter(pc.invert(is_suspect)), first])
    before = np.bincount(table["delivery"].to_numpy(), minlength=len(deliveries))
    after = np.bincount(first["delivery"].to_numpy(), minlength=len(deliveries))
    for delivery, all_rows, kept in zip(deliveries, before, after, strict=True):
        delivery.rows_duplicate += int(all_rows - kept)
    return first


def _read(delivery: Delivery, content: bytes, reference: Reference) -> PlainText | ParsedRows:
    name = PurePosixPath(delivery.file.path).name
    wrapped = name.lower().endswith((".gz", ".zip"))
    if wrapped:
        inner, content = _unwrap(name, content)
        names = [name[: name.rindex(".")], inner]
    else:
        names = [name]
    spec, delivery.export_date = _identify(delivery.file.branch, names, reference)
    delivery.format = spec.format
    if not content:
        raise Rejected("empty_file")
    if spec.container == "xlsx":
        return _take_rows(delivery, _sheet(content), spec)
    return _csv(delivery, content, spec)


def _unwrap(name: str, content: bytes) -> tuple[str, bytes]:
    """The name and the bytes of the one file in a .gz or .zip."""
    if not content:
        raise Rejected("empty_file")
    try:
        if name.lower().endswith(".gz"):
            return "", gzip.decompress(content)
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [
                item for item in archive.infolist() if not item.is_dir() and not item.filename.startswith("__MACOSX/")
            ]
            if len(members) != 1:
                raise Rejected("archive_not_one_file", count=str(len(members)))
            return PurePosixPath(members[0].filename).name, archive.read(members[0])
    except Rejected:
        raise
    except Exception:  # what a damaged archive makes zipfile and its decompressors raise is not a closed list
        raise Rejected("broken_archive") from None


def _identify(folder: str, names: Sequence[str], reference: Reference) -> tuple[ExportFormat, dt.date]:
    """The format and the export date that a file's name and folder tell."""
    formats = export_formats()
    if folder == NETWORK:
        for spec in formats.values():
            for name in names:
                if spec.perspective == "network" and (matched := spec.match_name(name)):
                    return spec, matched[1]
        raise Rejected("unknown_name", expected=_expected(f for f in formats.values() if f.perspective == "network"))
    periods = reference.periods(folder)
    if not periods:
        raise Rejected("unknown_folder")
    wanted = {p.export_format: formats[p.export_format] for p in periods if p.export_format in formats}
    if not wanted:
        raise Rejected("unknown_format", expected=", ".join(formats))
    for spec in wanted.values():
        for name in names:
            if matched := spec.match_name(name):
                code, export_date = matched
                codes = {period.ils_code for period in periods}
                if spec.perspective == "branch" and code not in codes:
                    raise Rejected("other_branch", expected=", ".join(sorted(codes)))
                return spec, export_date
    raise Rejected("unknown_name", expected=_expected(wanted.values()))


def _expected(formats: Iterable[ExportFormat]) -> str:
    return " / ".join(spec.file_name for spec in formats)


@dataclass
class Records:
    """The rows of a file as lists of text, with their numbers; None for a row that cannot be parsed."""

    numbers: list[int]
    fields: list[list[str] | None]


def _csv(delivery: Delivery, content: bytes, spec: ExportFormat) -> PlainText | ParsedRows:
    encoding = "utf-8-sig" if content.startswith(b"\xef\xbb\xbf") else spec.encoding
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise Rejected("wrong_encoding", expected=spec.encoding) from None
    if "\0" in text:
        raise Rejected("wrong_encoding", expected=spec.encoding)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    marker = spec.broken_when_line_starts_with
    if marker and marker in text:
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith(marker):
                raise Rejected("broken_export", line=str(number), marker=marker)
    first, _, body = text.partition("\n")
    if '"' in text or "\n\n" in text or spec.helper_columns or len(text) > MOST_PLAIN_CHARACTERS:
        return _take_rows(delivery, _quoted(text.split("\n"), spec.delimiter), spec)
    header = tuple(name.strip() for name in first.split(spec.delimiter))
    if body and not body.endswith("\n"):
        body += "\n"
    count = body.count("\n")
    if body.count(spec.delimiter) != count * (len(header) - 1) or not any(header):
        return _take_rows(delivery, _quoted(text.split("\n"), spec.delimiter), spec)
    _positions(header, delivery, spec)
    delivery.rows_read = count
    return PlainText(header, body, count)


def _quoted(lines: list[str], delimiter: str) -> Records:
    """Parse lines of which some fields are quoted, and may run over several lines.

    A quote that never closes would swallow the rest of the file: then its line alone is the broken row, and reading
    goes on with the next one.
    """
    found = Records([], [])
    row = position = broken = 0
    while position < len(lines):
        reader = csv.reader((line + "\n" for line in lines[position:]), delimiter=delimiter, strict=True)
        done = 0
        try:
            for fields in reader:
                row += 1
                done = reader.line_num
                found.numbers.append(row)
                found.fields.append(fields)
        except csv.Error:
            row += 1
            broken += 1
            if broken > MOST_BROKEN_LINES:
                raise Rejected("not_parsable", count=str(MOST_BROKEN_LINES)) from None
            found.numbers.append(row)
            found.fields.append(None)
            position += done + 1
        else:
            break
    return found


def _sheet(content: bytes) -> Records:
    """The first sheet of a workbook; rows without any value are none."""
    try:
        sheet = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
        values = sheet.to_python(skip_empty_area=False)
        errors = list(_error_cells(content))
    except (python_calamine.CalamineError, python_calamine.ZipError, python_calamine.XmlError, OSError, IndexError,
            zipfile.BadZipFile):  # fmt: skip
        raise Rejected("no_workbook") from None
    rows = [[cell if type(cell) is str else _cell(cell) for cell in cells] for cells in values]
    for row, column in errors:
        if row < len(rows) and column < len(rows[row]):
            rows[row][column] = "#"
    return Records(list(range(1, len(rows) + 1)), [row if any(row) else [] for row in rows])


_ERROR_CELL = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"[^>]* t="e"')


def _error_cells(content: bytes) -> Iterator[tuple[int, int]]:
    """(row, column), from 0, of the cells that hold an error such as #N/A.

    calamine reads them as empty; an empty receipt says that nothing was received, an error says nothing.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        names = [name for name in book.namelist() if name.startswith("xl/worksheets/sheet")]
        sheet = book.read(min(names)) if names else b""
    for found in _ERROR_CELL.finditer(sheet):
        column = functools.reduce(lambda number, letter: number * 26 + letter - 64, found[1], 0)
        yield int(found[2]) - 1, column - 1


def _cell(value: Any) -> str:
    kind = type(value)
    if kind is dt.datetime:
        if value.microsecond:  # Excel counts in fractions of a day: half a second may be missing
            with suppress(OverflowError):  # the last half second that Excel knows
                value += dt.timedelta(milliseconds=500)
            value = value.replace(microsecond=0)
        return f"@{value}"
    if kind is float:
        # A whole number is a barcode or a code that Excel took for a number.
        return str(int(value)) if value.is_integer() else repr(value)
    if kind is dt.date:
        return f"@{value} 00:00:00"
    return str(value)


def _take_rows(delivery: Delivery, records: Records, spec: ExportFormat) -> ParsedRows:
    """Match the header with the contract, then keep of each row the contract's columns alone."""
    if not records.fields or not records.fields[0] or not any(name.strip() for name in records.fields[0]):
        raise Rejected("empty_file")
    header = [name.strip() for name in records.fields[0]]
    positions = _positions(header, delivery, spec)
    width = len(header)
    wanted = [*columns(), *spec.helper_columns]
    # A column that the file lacks is read from a field that is always empty, one past the end.
    pick = itemgetter(*(positions.get(name, width) for name in wanted))
    delivery.broken_rows = []
    numbers: list[int] = []
    rows: list[tuple[str, ...]] = []
    for number, fields in zip(records.numbers[1:], records.fields[1:], strict=True):
        if fields is not None and len(fields) == width:
            fields.append("")
            numbers.append(number)
            rows.append(pick(fields))
        elif fields is None or len(fields) > 1 or (fields and fields[0].strip()):
            delivery.broken_rows.append(number)
    if spec.helper_columns:
        numbers, rows = _refined(delivery, numbers, rows, wanted, spec)
    delivery.rows_read = len(rows) + len(delivery.broken_rows) + delivery.rows_duplicate
    return ParsedRows(numbers, rows)


def _refined(
    delivery: Delivery, numbers: list[int], rows: list[tuple[str, ...]], wanted: list[str], spec: ExportFormat
) -> tuple[list[int], list[tuple[str, ...]]]:
    """Apply a format's own row rules: which rows are reservations, values that are none, the status from the dates.

    Duplicates are set aside here already, since the helper columns tell rows apart and are not kept.
    """
    at = {name: position for position, name in enumerate(wanted)}
    first: dict[tuple[str, ...], int] = {}
    for number, row in zip(numbers, rows, strict=True):
        values = tuple(map(str.strip, row))
        if spec.rows_where and values[at[spec.rows_where["column"]]] != spec.rows_where["equals"]:
            delivery.rows_other += 1
        elif values in first:
            delivery.rows_duplicate += 1
        else:
            first[values] = number
    refined = []
    for values in first:
        cells = list(values)
        for void in spec.no_value_where:
            if cells[at[void["where"]]].startswith(void["starts_with"]):
                cells[at[void["column"]]] = ""
        if spec.status_from_dates:
            cells[at["status"]] = next((status for name, status in spec.status_from_dates if cells[at[name]]), "A")
        refined.append(tuple(cells[: len(columns())]))
    return list(first.values()), refined


def _positions(header: Sequence[str], delivery: Delivery, spec: ExportFormat) -> dict[str, int]:
    """Canonical column → position in the file. Raises Rejected when a needed column is missing or stands twice."""
    positions, dropped = _header(tuple(header), spec.format)
    delivery.dropped_columns = list(dropped)
    return positions


@functools.lru_cache(maxsize=1000)
def _header(header: tuple[str, ...], format_name: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Where a header has the canonical columns, and the names of the columns that are not ours."""
    spec = export_formats()[format_name]
    headers = spec.columns | {name: name for name in spec.helper_columns}
    twice = [name for name in headers.values() if header.count(name) > 1]
    if twice:
        raise Rejected("column_twice", column=", ".join(twice))
    missing = [
        name
        for column, name in headers.items()
        if name not in header and (column in spec.helper_columns or columns()[column].header == "needed")
    ]
    if missing:
        raise Rejected("column_missing", column=", ".join(missing))
    # Of columns that are not ours only the names that the contract lists are noted: a name could tell on a reader.
    dropped = {
        name if name in spec.personal_columns else "***" for name in header if name and name not in headers.values()
    }
    return {column: header.index(name) for column, name in headers.items() if name in header}, tuple(sorted(dropped))


_WORDS = re.compile(r"[^\W_]+")
_SHORT_NUMBER = re.compile(
    r"[0-9]{1,4}|(19|20)[0-9]{2}(0[1-9]|1[0-2])[0-3][0-9]|[0-3][0-9](0[1-9]|1[0-2])(19|20)[0-9]{2}"
)
"""Counters, years and dates: longer ones can be telephone or reader numbers."""
_MOBILE_NUMBER = re.compile(r"(?<![0-9])06([ .\-]?[0-9]){8}(?![0-9])")


@functools.lru_cache(maxsize=8)
def _words_shown(branches: tuple[BranchPeriod, ...]) -> frozenset[str]:
    texts = [text for period in branches for text in (period.branch, period.ils_code, period.name)]
    texts += [spec.file_name for spec in export_formats().values()]
    return file_words() | {word for text in texts for word in _WORDS.findall(text.lower())}


def safe_path(path: str, reference: Reference) -> str:
    """A path as it may be shown: a file that was named by hand can bear a reader's name, so every word in it that is
    no word of the contracts, no code of the register and no date is replaced by an ellipsis.
    """
    shown = _words_shown(reference.branches)

    def word(found: re.Match[str]) -> str:
        text = found[0]
        return text if text.lower() in shown or _SHORT_NUMBER.fullmatch(text) else "…"

    if "06" not in shown:
        path = _MOBILE_NUMBER.sub("…", path)
    return _WORDS.sub(word, path).encode("utf-8", "replace").decode()  # a name need not be text
