"""Finding and reading the branches' exports, by contract.

In: the raw folder, the register, the export formats. Out: per file what it is and why it could not be read, and
its rows as text under their canonical names. What is no column of the contract is dropped here, before anything
is stored. Nothing in this module raises for a bad file or row: they come out as a rejection or as a broken row.

A file is held whole in memory, once; what is more than a file of exports ever is (MOST_BYTES, MOST_ROWS, …) is
rejected before it was unpacked or parsed. An archive is never unpacked onto the disk, so no name in it can lead there.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime as dt
import errno
import functools
import gzip
import hashlib
import io
import os
import re
import stat
import threading
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from pendel import workbooks
from pendel.contracts import ExportFormat, columns, export_formats, file_words
from pendel.places import UserError
from pendel.reference import NETWORK, BranchPeriod, Reference

CELL_DATETIME_FORMAT = "@%Y-%m-%d %H:%M:%S"
"""How a real date cell of a workbook is written as text; the @ keeps it apart from a date typed as text."""

MOST_BYTES = 64_000_000
"""A larger file, packed or unpacked, is no export: a year of a whole network in one file is some 30 MB."""

MOST_ROWS = 500_000
"""A file of more lines is no export: a year of a whole network, told by both sides, is some 300,000 rows."""

MOST_COLUMNS = 1000
"""A header of more names is no header: the contract has thirteen, an export with everything some fifty."""

MOST_FIELD = 100_000
"""Lines of more characters are taken apart with care: csv refuses a field of more than 131,072 characters."""

MOST_ROW_LINES, MOST_ROW_CHARACTERS = 1000, 1_000_000
"""A quoted value that runs on for more lines or characters is taken for a quote that never closes."""

MOST_BROKEN_LINES = 1000
"""A file with more lines that cannot be parsed is no export."""

MOST_PLAIN_CHARACTERS = 16_000_000
"""Larger files are parsed one by one."""

SMALL_BYTES = 1_000_000
"""Of larger files, and of packed ones, one is read at a time: several readers at once must not fill the memory."""

CHUNK_ROWS = 20_000
"""So many rows are Python objects at a time: as columns they take a tenth."""

UNREAD = frozenset({"unreadable", "changing"})
"""Reasons for which not a byte was read. They lie in the moment: such a file is tried again every night."""

PASSING = UNREAD | {"dated_ahead"}
"""Reasons that another day can take away."""

OTHER_KINDS = (
    (b"PK\x03\x04", "zip / xlsx"),
    (b"\x1f\x8b", "gzip"),
    (b"\xd0\xcf\x11\xe0", "xls"),
    (b"%PDF", "pdf"),
    (b"<!doctype html", "html"),
    (b"<html", "html"),
    (b"<table", "html"),
    (b"<?xml", "xml"),
)
"""How the contents of files begin that are not what their name says."""

_one_large_file = threading.Lock()


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
    """The rows of a file: `row` and the canonical columns, in tables one after another."""

    count: int
    chunks: list[pa.Table]


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
        try:
            with os.scandir(folder) as entries:
                listed = list(entries)
        except OSError:
            if not prefix:
                raise UserError("{folder} cannot be read: you may not, or the disk fails.", folder=raw) from None
            found.append(FoundFile(prefix.split("/")[0], prefix, 0, 0))  # is rejected when it is read
            continue
        for entry in listed:
            if entry.name.startswith((".", "~$")):
                continue
            path = f"{prefix}{entry.name}"
            try:
                if entry.is_dir(follow_symlinks=False):
                    pending.append((folder / entry.name, path + "/"))
                    continue
                seen = entry.stat(follow_symlinks=False)  # a link is listed, and rejected when it is read
            except FileNotFoundError:
                continue  # gone since the folder was listed
            except OSError:
                found.append(FoundFile(path.split("/")[0] if prefix else "", path, 0, 0))
                continue
            if path != "README.md":
                found.append(FoundFile(path.split("/")[0] if prefix else "", path, seen.st_size, seen.st_mtime_ns))
    return sorted(found, key=lambda file: file.arrival)


def read_files(
    raw: Path, files: Sequence[FoundFile], known: set[str], reference: Reference, latest: dt.date = dt.date.max
) -> Batch:
    """Read files of one or more branches, in order of arrival.

    `known` holds what was read before (`known_as`): the same bytes again are skipped, not parsed. `latest`: a file that
    bears a later date is rejected. Nothing is after such a date, so no rule would see what is wrong with its rows.
    Raises OSError when a file cannot be got at, or its folder is gone; the caller may try again.
    """
    known = set(known)
    deliveries: list[Delivery] = []
    contents: list[PlainText | ParsedRows | None] = []
    for file in sorted(files, key=lambda file: file.arrival):
        heavy = file.size_bytes > SMALL_BYTES or file.path.lower().endswith((".gz", ".zip", ".xlsx"))
        with _one_large_file if heavy else nullcontext():
            try:
                delivery, rows = _deliver(raw, file, known, reference, latest)
            except FileNotFoundError:
                if not os.path.isdir(os.path.dirname(f"{raw}/{file.path}")):
                    raise OSError(errno.ENOENT, "the folder is gone") from None  # a share that was disconnected, say
                continue  # taken away since the folder was listed: nothing was delivered
        deliveries.append(delivery)
        contents.append(rows)
    return Batch(deliveries, _without_duplicates(deliveries, _table(deliveries, contents)))


def sha256_of(raw: Path, file: FoundFile) -> str:
    """The hash that the ledger knows a file by. Raises OSError when it cannot be got at."""
    try:
        return hashlib.sha256(_content(raw, file)[1]).hexdigest()
    except Rejected:
        return _unread(file)


def _unread(file: FoundFile) -> str:
    """What stands for the hash of a file of which the bytes are not read: that of its path."""
    return hashlib.sha256(b"unread\0" + file.path.encode("utf-8", "surrogateescape")).hexdigest()


def _deliver(
    raw: Path, file: FoundFile, known: set[str], reference: Reference, latest: dt.date
) -> tuple[Delivery, PlainText | ParsedRows | None]:
    """What one file is, and its rows; adds to `known` what it is known by."""
    delivery = Delivery(file, _unread(file))
    rows = None
    try:
        delivery.file, content = _content(raw, file)
        delivery.sha256 = hashlib.sha256(content).hexdigest()
        if known_as(file.branch, delivery.sha256) in known:
            delivery.verdict = "skipped"
            return delivery, None
        rows = _read(delivery, content, reference, latest)
    except Rejected as rejection:
        delivery.verdict, delivery.reason, delivery.detail = "rejected", rejection.reason, rejection.detail
        delivery.rows_read = delivery.rows_other = delivery.rows_duplicate = 0
        delivery.broken_rows, delivery.dropped_columns = [], []
        return delivery, None
    # Exports without rows are all alike: those of two days are two deliveries.
    is_empty = not delivery.rows_read + delivery.rows_other
    key = known_as(file.branch, delivery.sha256, delivery.export_date if is_empty else None)
    if key in known:
        delivery.verdict = "skipped"
    known.add(key)
    return delivery, rows


def _content(raw: Path, file: FoundFile) -> tuple[FoundFile, bytes]:
    """The bytes of a file, and what it was when they were read.

    Raises Rejected for what nobody delivers (a link, a device, a pipe: opening one could wait for ever), for what may
    not be read, is too large, or is being written; FileNotFoundError when it is gone; any other OSError without the
    file's name, which could tell on a reader in a log.
    """
    path = f"{raw}/{file.path}"
    try:
        for _ in range(MOST_READINGS):
            if not stat.S_ISREG(os.lstat(path).st_mode):
                # a folder is only ever asked for when it could not be listed
                raise Rejected("unreadable" if path.endswith("/") else "no_plain_file")
            # between the look and the opening it can have become a link or a pipe
            with os.fdopen(os.open(path, OPENING), "rb") as opened:
                before = os.fstat(opened.fileno())
                if not stat.S_ISREG(before.st_mode):
                    raise Rejected("no_plain_file")
                if before.st_size > MOST_BYTES:
                    raise _too_large()
                content = opened.read(MOST_BYTES + 1)
                after = os.fstat(opened.fileno())
            if len(content) > MOST_BYTES:
                raise _too_large()
            if before.st_mtime_ns == after.st_mtime_ns and before.st_size == after.st_size == len(content):
                return dataclasses.replace(file, size_bytes=after.st_size, mtime_ns=after.st_mtime_ns), content
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in CANNOT_BE_READ:
            raise Rejected("unreadable") from None
        raise OSError(error.errno, error.strerror) from None
    raise Rejected("changing")


MOST_READINGS = 3
"""So often is a file read that changes while it is read."""

OPENING = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOFOLLOW", "O_CLOEXEC", "O_BINARY"))

CANNOT_BE_READ = frozenset({errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.EISDIR})
"""Errors that trying again at once does not mend."""


def _too_large() -> Rejected:
    return Rejected("too_large", megabytes=str(MOST_BYTES // 1_000_000), rows=str(MOST_ROWS))


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
            tables += [_placed(index, chunk) for chunk in content.chunks]
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
            records = _quoted(f"{spec.delimiter.join(header)}\n{text.body}", spec.delimiter)
            parsed = _take_rows(deliveries[index], records, spec)
            tables += [_placed(index, chunk) for chunk in parsed.chunks]
    table = pa.concat_tables(tables)
    for position, name in enumerate(table.column_names):
        if pa.types.is_string(table.field(name).type):
            table = table.set_column(position, name, pc.utf8_trim_whitespace(table.column(name)))
    return table


def empty_rows() -> pa.Table:
    """A table of rows without any."""
    return _placed(0, _columnar([], []))


def _placed(index: int, chunk: pa.Table) -> pa.Table:
    """Rows with the delivery to which they belong."""
    return chunk.add_column(0, "delivery", pa.array(np.full(chunk.num_rows, index, dtype=np.int32)))


def _columnar(numbers: Sequence[int], rows: Sequence[tuple[str, ...]]) -> pa.Table:
    by_column: Iterable[Sequence[str]] = zip(*rows, strict=True) if rows else [()] * len(columns())
    return pa.table(
        {"row": pa.array(numbers, pa.int32())}
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


def _read(delivery: Delivery, content: bytes, reference: Reference, latest: dt.date) -> PlainText | ParsedRows:
    name = PurePosixPath(delivery.file.path).name
    wrapped = name.lower().endswith((".gz", ".zip"))
    if wrapped:
        inner, content = _unwrap(name, content)
        names = [name[: name.rindex(".")], inner]
    else:
        names = [name]
    spec, delivery.export_date = _identify(delivery.file.branch, names, reference)
    delivery.format = spec.format
    if delivery.export_date > latest:
        raise Rejected("dated_ahead")
    if not content:
        raise Rejected("empty_file")
    if spec.container == "xlsx":
        return _take_rows(delivery, _sheet(content), spec)
    if kind := _other_kind(content):
        raise Rejected("other_container", found=kind, expected=spec.file_name.rpartition(".")[2])
    return _csv(delivery, content, spec)


def _other_kind(content: bytes) -> str | None:
    """What the contents are by their first bytes, when that is no text of rows."""
    start = content[:100].removeprefix(b"\xef\xbb\xbf").lstrip()[:20].lower()
    return next((kind for begins, kind in OTHER_KINDS if start.startswith(begins.lower())), None)


def _unwrap(name: str, content: bytes) -> tuple[str, bytes]:
    """The name and the bytes of the one file in a .gz or .zip."""
    if not content:
        raise Rejected("empty_file")
    ending = "gz" if name.lower().endswith(".gz") else "zip"
    kind = _other_kind(content)
    if kind and not kind.startswith(ending[:2]) and not (ending == "gz" and kind == "gzip"):
        raise Rejected("other_container", found=kind, expected=ending)
    try:
        if ending == "gz":
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
                return "", _unpacked(cast(IO[bytes], packed))
        listed = content.count(b"PK\x01\x02")
        if listed > workbooks.MOST_MEMBERS:  # before they are listed, which would take a kilobyte each
            raise Rejected("archive_not_one_file", count=str(listed))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [
                item
                for item in archive.infolist()
                if not item.is_dir()
                and not item.filename.startswith("__MACOSX/")
                and PurePosixPath(item.filename).name != ".DS_Store"
            ]
            if len(members) != 1:
                raise Rejected("archive_not_one_file", count=str(len(members)))
            if members[0].flag_bits & 1:
                raise Rejected("locked_file")
            with archive.open(members[0]) as member:
                return PurePosixPath(members[0].filename).name, _unpacked(member)
    except Rejected:
        raise
    except Exception:  # what a damaged archive makes zipfile and its decompressors raise is not a closed list
        raise Rejected("broken_archive") from None


def _unpacked(packed: IO[bytes]) -> bytes:
    """All that unpacks, and no more than may be: what the archive says of its size is not believed."""
    content = bytearray()
    while chunk := packed.read(1 << 20):
        content += chunk
        if len(content) > MOST_BYTES:
            raise _too_large()
    return bytes(content)


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
            if spec.perspective == "branch" and (matched := spec.match_name(name)):
                code, export_date = matched
                codes = {period.ils_code for period in periods}
                if code not in codes:
                    raise Rejected("other_branch", expected=", ".join(sorted(codes)))
                return spec, export_date
    # an authority for both sides of every leg: not by the folder of one branch
    if any(spec.perspective == "network" and spec.match_name(name) for spec in formats.values() for name in names):
        raise Rejected("network_file", folder=NETWORK)
    raise Rejected("unknown_name", expected=_expected(wanted.values()))


def _expected(formats: Iterable[ExportFormat]) -> str:
    return " / ".join(spec.file_name for spec in formats)


Records = Iterator[tuple[int, list[str] | None]]
"""The rows of a file as lists of text, with their numbers; None for a row that cannot be parsed."""


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
    if first.count(spec.delimiter) >= MOST_COLUMNS:
        raise Rejected("too_many_columns", count=str(MOST_COLUMNS))
    if text.count("\n") > MOST_ROWS:
        raise _too_large()
    if (
        '"' in text
        or "\n\n" in text
        or spec.helper_columns
        or len(text) > MOST_PLAIN_CHARACTERS
        or (len(text) > MOST_FIELD and any(len(line) > MOST_FIELD for line in text.split("\n")))
    ):
        return _take_rows(delivery, _quoted(text, spec.delimiter), spec)
    header = tuple(name.strip() for name in first.split(spec.delimiter))
    if body and not body.endswith("\n"):
        body += "\n"
    count = body.count("\n")
    if body.count(spec.delimiter) != count * (len(header) - 1) or not any(header):
        return _take_rows(delivery, _quoted(text, spec.delimiter), spec)
    _positions(header, delivery, spec)
    delivery.rows_read = count
    return PlainText(header, body, count)


class _Lines:
    """The lines of a text from a place on; a row that takes too many of them ends in a csv.Error."""

    def __init__(self, text: str, start: int) -> None:
        self.text, self.position = text, start
        self.start, self.lines = start, 0

    def row(self) -> None:
        """A new row begins."""
        self.start, self.lines = self.position, 0

    def __iter__(self) -> Iterator[str]:
        while self.position < len(self.text):
            end = self.text.find("\n", self.position) + 1 or len(self.text)
            line = self.text[self.position : end]
            self.lines += 1
            if self.lines > MOST_ROW_LINES or (end - self.start > MOST_ROW_CHARACTERS and self.lines > 1):
                raise csv.Error
            if len(line) > MOST_ROW_CHARACTERS:  # not even taken apart: it could be a million fields
                raise csv.Error
            self.position = end
            yield line


def _quoted(text: str, delimiter: str) -> Records:
    """Parse lines of which some fields are quoted, and may run over several lines.

    A quote that never closes would swallow the rest of the file, one that another row happens to close the rows up to
    there: then its line alone is the broken row, and reading goes on with the next one. Raises Rejected when that
    happens too often.
    """
    row = start = broken = width = 0
    while start < len(text):
        lines = _Lines(text, start)
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for fields in reader:
                if lines.lines > 1 and _swallows(text[lines.start : lines.position], fields, delimiter, width):
                    raise csv.Error
                row += 1
                width = width or len(fields)
                lines.row()
                yield row, fields
        except csv.Error:
            row += 1
            broken += 1
            if broken > MOST_BROKEN_LINES:
                raise Rejected("not_parsable", count=str(MOST_BROKEN_LINES)) from None
            yield row, None
            start = text.find("\n", lines.start) + 1 or len(text)
        else:
            break


def _swallows(text: str, fields: list[str], delimiter: str, width: int) -> bool:
    """Whether what was read as one row over several lines holds a line that is a row of its own.

    Of a sound row only the first value can have such a line as its end: what follows it stands on that line.
    """
    rest = text.split("\n")[1:]
    return width > 1 and "\n" not in fields[0] and any(line.count(delimiter) >= width - 1 for line in rest)


OLD_OFFICE = b"\xd0\xcf\x11\xe0"
"""How an .xls begins, and the envelope in which Excel puts a workbook with a password."""


def _sheet(content: bytes) -> Records:
    """The first sheet of a workbook; rows without any value are none."""
    if content.startswith(OLD_OFFICE) and "EncryptedPackage".encode("utf-16-le") in content:
        raise Rejected("locked_file")
    width = 0
    try:
        for count, (number, cells) in enumerate(workbooks.first_sheet(content, MOST_BYTES)):
            if not count:
                if number != 1:
                    raise Rejected("empty_file")  # the header stands in the first row
                width = max(cells) + 1
                if width > MOST_COLUMNS:
                    raise Rejected("too_many_columns", count=str(MOST_COLUMNS))
            if count > MOST_ROWS:
                raise _too_large()
            # What stands beyond the header's last name is in no column.
            yield number, [cells.get(column, "") for column in range(width)]
    except workbooks.NoWorkbook:
        raise Rejected("no_workbook") from None
    except workbooks.TooLarge:
        raise _too_large() from None


def _take_rows(delivery: Delivery, records: Records, spec: ExportFormat) -> ParsedRows:
    """Match the header with the contract, then keep of each row the contract's columns alone."""
    _, first = next(records, (1, None))
    if not first or not any(name.strip() for name in first):
        raise Rejected("empty_file")
    if len(first) > MOST_COLUMNS:
        raise Rejected("too_many_columns", count=str(MOST_COLUMNS))
    positions = _positions([name.strip() for name in first], delivery, spec)
    width = len(first)
    wanted = [*columns(), *spec.helper_columns]
    # A column that the file lacks is read from a field that is always empty, one past the end.
    pick = itemgetter(*(positions.get(name, width) for name in wanted))
    refine = _Refinement(delivery, wanted, spec) if spec.helper_columns else None
    delivery.broken_rows = []
    chunks: list[pa.Table] = []
    numbers: list[int] = []
    rows: list[tuple[str, ...]] = []
    for number, fields in records:
        if fields is not None and len(fields) == width:
            fields.append("")
            row = pick(fields)
            if refine and (row := refine(row)) is None:
                continue
            numbers.append(number)
            rows.append(row)
            if len(rows) == CHUNK_ROWS:
                chunks.append(_columnar(numbers, rows))
                numbers, rows = [], []
        elif fields is None or len(fields) > 1 or (fields and fields[0].strip()):
            delivery.broken_rows.append(number)
    chunks.append(_columnar(numbers, rows))
    count = sum(chunk.num_rows for chunk in chunks)
    delivery.rows_read = count + len(delivery.broken_rows) + delivery.rows_duplicate
    return ParsedRows(count, chunks)


class _Refinement:
    """A format's own row rules: which rows are reservations, values that are none, the status from the dates.

    Duplicates are set aside here already, since the helper columns tell rows apart and are not kept.
    """

    def __init__(self, delivery: Delivery, wanted: list[str], spec: ExportFormat) -> None:
        self.delivery, self.spec = delivery, spec
        self.at = {name: position for position, name in enumerate(wanted)}
        self.seen: set[bytes] = set()

    def __call__(self, row: tuple[str, ...]) -> tuple[str, ...] | None:
        """The canonical columns of a row, or None for one that is set aside."""
        at, spec = self.at, self.spec
        cells = [value.strip() for value in row]
        if spec.rows_where and cells[at[spec.rows_where["column"]]] != spec.rows_where["equals"]:
            self.delivery.rows_other += 1
            return None
        key = hashlib.blake2b("\0".join(cells).encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if key in self.seen:
            self.delivery.rows_duplicate += 1
            return None
        self.seen.add(key)
        for void in spec.no_value_where:
            if cells[at[void["where"]]].startswith(void["starts_with"]):
                cells[at[void["column"]]] = ""
        if spec.status_from_dates:
            cells[at["status"]] = next((status for name, status in spec.status_from_dates if cells[at[name]]), "A")
        return tuple(cells[: len(columns())])


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
    # A name need not be text, and can hold what moves a terminal's cursor or turns the direction of writing.
    return "".join(letter if letter.isprintable() else "…" for letter in _WORDS.sub(word, path))
