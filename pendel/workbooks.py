"""Reading the first sheet of an Excel workbook, a cell at a time.

A workbook is a zip of XML that anybody can write: one cell at the far corner makes a table of seventeen thousand
million cells, one text of a megabyte that a hundred thousand cells point at makes a hundred gigabytes. So nothing is
laid out as a table here, everything is counted while it is unpacked, and no more than `most` is ever held.
"""

from __future__ import annotations

import datetime as dt
import functools
import io
import math
import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

MOST_MEMBERS = 1000
"""A workbook has some ten parts, and one more for each sheet and picture."""

LAST_ROW, LAST_COLUMN = 1_048_576, 16_384
"""The last row and column that Excel knows."""

LAST_DAY = 2_958_466
"""The day after 31 December 9999, as Excel counts."""

BUILT_IN_DATES = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}
"""Number formats that every workbook has without saying so, and that show a date or a time."""

CHUNK = 1 << 16


class NoWorkbook(Exception):
    """The bytes are no workbook, or a damaged one."""


class TooLarge(Exception):
    """What is in the workbook is more than may be held."""


def first_sheet(content: bytes | bytearray, most: int) -> Iterator[tuple[int, dict[int, str]]]:
    """The rows of the first sheet that hold a value: (row number, column → text), both from 1 and 0 respectively.

    A real date cell comes as `@2023-05-03 16:05:00`, a whole number without decimals, an error such as #N/A as `#`.
    Raises NoWorkbook, and TooLarge when more than `most` bytes unpack, or `most` characters are pointed at.
    """
    try:
        if content.count(b"PK\x01\x02") > MOST_MEMBERS:
            raise TooLarge
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            # A part of which the checksum is wrong, or the size, is found out here, before a row was told.
            names = _checked(archive, most)
            sheet, shared, styles, day_zero = _parts(archive, names)
            texts = _shared_texts(archive, shared) if shared else []
            dates = _date_styles(archive, styles) if styles else set()
            yield from _rows(archive, sheet, _Cells(texts, dates, day_zero, most))
    except (NoWorkbook, TooLarge):
        raise
    except GeneratorExit:
        raise
    except Exception:  # what a damaged archive makes zipfile and its decompressors raise is not a closed list
        raise NoWorkbook from None


def _checked(archive: zipfile.ZipFile, most: int) -> set[str]:
    """The names of the parts, all of them sound; what the archive says of their size may be a lie."""
    size = 0
    names = set(archive.namelist())
    for name in names:
        with archive.open(name) as part:
            while chunk := part.read(CHUNK):
                size += len(chunk)
                if size > most:
                    raise TooLarge
    return names


class _Xml:
    """An XML part, read as a stream: a name can bear a prefix."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self.begin
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self._doctype

    def read(self, archive: zipfile.ZipFile, name: str) -> None:
        """Read a part to its end."""
        for _ in self.steps(archive, name):
            pass

    def steps(self, archive: zipfile.ZipFile, name: str) -> Iterator[None]:
        """Read a part, and stop after every chunk."""
        with archive.open(name) as part:
            while chunk := part.read(CHUNK):
                self.parser.Parse(chunk, False)
                yield
        self.parser.Parse(b"", True)
        yield

    def _doctype(self, *_: Any) -> None:
        raise NoWorkbook  # no workbook has one; it is where entities that grow are declared

    def begin(self, name: str, attributes: dict[str, str]) -> None: ...

    def end(self, name: str) -> None: ...

    def text(self, text: str) -> None: ...


class _Elements(_Xml):
    """All elements of a small part: (name, attributes), in order."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if ":" in name:
            name = name.rpartition(":")[2]
        self.found.append((name, attributes))


def _elements(archive: zipfile.ZipFile, name: str) -> list[tuple[str, dict[str, str]]]:
    xml = _Elements()
    xml.read(archive, name)
    return xml.found


def _parts(archive: zipfile.ZipFile, names: set[str]) -> tuple[str, str, str, dt.datetime]:
    """The names of the parts that hold the first sheet, the shared texts and the styles; the day from which it counts.

    The first sheet is the first that the workbook lists, whatever its part is called. Without its styles a workbook's
    dates would be numbers: raises NoWorkbook when a part that it names is missing.
    """
    related: dict[str, tuple[str, str]] = {}
    for name, attributes in _elements(archive, "xl/_rels/workbook.xml.rels"):
        if name == "Relationship" and attributes.get("TargetMode") != "External":
            kind = attributes.get("Type", "").rpartition("/")[2]
            related[attributes["Id"]] = kind, posixpath.normpath(posixpath.join("/xl", attributes["Target"]))[1:]
    if not {"[Content_Types].xml", *(target for _, target in related.values())} <= names:
        raise NoWorkbook
    of_kind = dict(related.values())
    day_zero = dt.datetime(1899, 12, 30)
    sheets = []
    for name, attributes in _elements(archive, "xl/workbook.xml"):
        if name == "workbookPr" and attributes.get("date1904", "") in ("1", "true"):
            day_zero = dt.datetime(1904, 1, 1)
        if name == "sheet":
            key = next((value for word, value in attributes.items() if word.endswith(":id")), "")
            kind, target = related.get(key, ("", ""))
            if kind == "worksheet":
                sheets.append(target)
    if not sheets:
        raise NoWorkbook
    return sheets[0], of_kind.get("sharedStrings", ""), of_kind.get("styles", ""), day_zero


class _SharedTexts(_Xml):
    """The texts that cells point at; how a Japanese word is pronounced is no part of it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.pieces: list[str] = []
        self.inside = False
        self.spoken = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if ":" in name:
            name = name.rpartition(":")[2]
        if name == "si":
            self.pieces = []
        elif name == "rPh":
            self.spoken += 1
        elif name == "t":
            self.inside = not self.spoken

    def end(self, name: str) -> None:
        if ":" in name:
            name = name.rpartition(":")[2]
        if name == "si":
            self.found.append("".join(self.pieces))
        elif name == "rPh":
            self.spoken -= 1
        elif name == "t":
            self.inside = False

    def text(self, text: str) -> None:
        if self.inside:
            self.pieces.append(text)


def _shared_texts(archive: zipfile.ZipFile, name: str) -> list[str]:
    xml = _SharedTexts()
    xml.read(archive, name)
    return xml.found


def _date_styles(archive: zipfile.ZipFile, name: str) -> set[int]:
    """The numbers of the cell styles that show a number as a date."""
    dates = set(BUILT_IN_DATES)
    found: set[int] = set()
    styles = 0
    within = ""
    for element, attributes in _elements(archive, name):
        if element == "numFmt":
            number = int(attributes["numFmtId"])
            (dates.add if _shows_a_date(attributes.get("formatCode", "")) else dates.discard)(number)
        elif element in ("cellStyleXfs", "cellXfs", "cellStyles", "dxfs"):
            within = element
        elif element == "xf" and within == "cellXfs":
            if int(attributes.get("numFmtId", "0")) in dates:
                found.add(styles)
            styles += 1
    return found


def _shows_a_date(code: str) -> bool:
    """Whether a number format has a year, month, day, hour or second outside what it quotes."""
    code = re.sub(r'"[^"]*"|\\.|_.|\*.|\[[^\]]*\]', "", code.split(";")[0])
    return bool(re.search("[ymdhs]", code, re.IGNORECASE)) and code.lower() not in ("general", "standard")


class _Cells:
    """What turns the value of a cell into text, and counts what comes out."""

    def __init__(self, texts: list[str], dates: set[int], day_zero: dt.datetime, most: int) -> None:
        self.texts, self.dates, self.day_zero, self.left = texts, dates, day_zero, most

    def value(self, kind: str, style: int, text: str) -> str:
        if kind == "s":
            number = int(text)
            if number < 0:
                raise NoWorkbook
            text = self.texts[number].strip()
        elif kind == "e":
            text = "#"  # read as empty, an error in the date of a receipt would tell that nothing was received
        elif kind == "b":
            text = str(text.strip() not in ("0", "false", ""))
        elif kind == "d":
            text = self._iso(text.strip())
        elif kind in ("", "n"):
            text = self._number(text.strip(), style)
        else:
            text = text.strip()
        self.left -= len(text)
        if self.left < 0:
            raise TooLarge
        return text

    def _number(self, text: str, style: int) -> str:
        if not text:
            return ""
        value = float(text)  # a ValueError makes it no workbook
        if style in self.dates and (date := self._date(value)):
            return date
        # A whole number is a barcode or a code that Excel took for a number.
        return str(int(value)) if value.is_integer() else repr(value)

    def _date(self, value: float) -> str | None:
        """None for a number that is no date: a time of the day alone, or beyond the last day that Excel knows."""
        if not 1 <= value < LAST_DAY:
            return None
        zero = self.day_zero
        if value < 60 and zero.year == 1899:
            zero += dt.timedelta(days=1)  # Excel thinks that 29 February 1900 existed
        # Excel counts in fractions of a day: half a second may be missing
        days, seconds = divmod(math.floor(value * 86400 + 0.5), 86400)
        try:
            return f"@{_day(zero, days)} {_time(seconds)}"
        except OverflowError:
            return None

    def _iso(self, text: str) -> str:
        try:
            return f"@{dt.datetime.fromisoformat(text).replace(microsecond=0, tzinfo=None)}"
        except ValueError:
            return text


@functools.cache
def _day(zero: dt.datetime, days: int) -> str:
    return str((zero + dt.timedelta(days=days)).date())


@functools.cache
def _time(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@functools.cache
def _column(letters: str) -> int:
    """The number of a column, A being 1; raises NoWorkbook for what is no name of one."""
    if not re.fullmatch("[A-Z]{1,3}", letters):
        raise NoWorkbook
    return functools.reduce(lambda number, letter: number * 26 + ord(letter) - 64, letters, 0)


class _Sheet(_Xml):
    """The cells of a sheet; `rows` holds what was finished since it was last emptied."""

    def __init__(self, cells: _Cells) -> None:
        super().__init__()
        self.cells = cells
        self.rows: list[tuple[int, dict[int, str]]] = []
        self.row = self.column = 0
        self.row_text = "0"
        self.line: dict[int, str] = {}
        self.kind, self.style = "", 0
        self.pieces: list[str] | None = None
        self.told: list[str] = []
        self.spoken = 0

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if ":" in name:
            name = name.rpartition(":")[2]
        if name == "c":
            place = attributes.get("r")
            if place:
                letters = place.rstrip("0123456789")
                if place[len(letters) :] != self.row_text:
                    raise NoWorkbook
                self.column = _column(letters)
            else:
                self.column += 1
            if self.column > LAST_COLUMN:
                raise NoWorkbook
            self.kind = attributes.get("t", "")
            self.style = int(attributes.get("s", "0"))
            self.told = []
        elif name == "v" or (name == "t" and self.kind == "inlineStr" and not self.spoken):
            self.pieces = self.told
        elif name == "rPh":
            self.spoken += 1
        elif name == "row":
            row = int(attributes.get("r", self.row + 1))
            if not self.row < row <= LAST_ROW:  # two rows of one number would be two rows in one place
                raise NoWorkbook
            self.row, self.row_text, self.column, self.line = row, str(row), 0, {}

    def end(self, name: str) -> None:
        if ":" in name:
            name = name.rpartition(":")[2]
        if name in ("v", "t"):
            self.pieces = None
        elif name == "c":
            if self.told:
                value = self.cells.value(self.kind, self.style, "".join(self.told))
                if value:
                    self.line[self.column - 1] = value
        elif name == "rPh":
            self.spoken -= 1
        elif name == "row" and self.line:
            self.rows.append((self.row, self.line))

    def text(self, text: str) -> None:
        if self.pieces is not None:
            self.pieces.append(text)


def _rows(archive: zipfile.ZipFile, name: str, cells: _Cells) -> Iterator[tuple[int, dict[int, str]]]:
    sheet = _Sheet(cells)
    for _ in sheet.steps(archive, name):
        rows, sheet.rows = sheet.rows, []
        yield from rows
