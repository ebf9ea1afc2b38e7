"""The independent judge: the whole counting once more, as plainly as it can be written.

Nothing in here comes from the product. Files are read with the standard library (and openpyxl), the rules are
straightforward loops, and speed does not matter. `judge(raw, reference)` says what the product should have said.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from zoneinfo import ZoneInfo

import openpyxl

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
NETWORK = "network"

TEXT_COLUMNS = (
    "reservation_id",
    "item_barcode",
    "material_type",
    "supplying_branch",
    "pickup_branch",
    "status",
    "close_reason",
)
TIME_COLUMNS = ("requested_at", "shipped_at", "received_at", "collected_at", "closed_at", "changed_at")
HEADER_FREE = {"material_type", "close_reason", "collected_at", "closed_at"}
STATUSES = {"A": "A", "T": "T", "O": "O", "0": "O", "B": "B", "U": "U", "R": "R", "Z": "Z"}
CLOSE_REASONS = {"0", "1", "4", "5", "6", "7", "8", "9"}
SENT_STATUSES = {"T", "O", "B", "U", "R"}
RECEIVED_STATUSES = {"O", "B", "U"}

Cell = str | datetime
LegKey = tuple[str, str, str]  # organisation of the pick-up branch, reservation number, supplying branch or ""


# ---------------------------------------------------------------------------------------------- formats


@dataclass(frozen=True)
class Format:
    name: str
    perspective: str
    file_name: re.Pattern[str]
    file_date: str
    encoding: str
    delimiter: str  # empty: a workbook
    time: str
    reservation_id: re.Pattern[str]
    headers: dict[str, str]  # canonical column -> header
    helpers: tuple[str, ...] = ()


DUTCH = {
    "reservation_id": "Reserveringsnummer",
    "item_barcode": "Exemplaarnummer",
    "material_type": "Materiaalsoort",
    "supplying_branch": "Leverende vestiging",
    "pickup_branch": "Afhaalvestiging",
    "status": "Status",
    "close_reason": "Afsluitreden",
    "requested_at": "Geplaatst op",
    "shipped_at": "Verzonden op",
    "received_at": "Ontvangen op",
    "collected_at": "Uitgeleend op",
    "closed_at": "Afgesloten op",
    "changed_at": "Gewijzigd op",
}
ENGLISH = {
    "reservation_id": "reservationId",
    "item_barcode": "itemId",
    "material_type": "materialType",
    "supplying_branch": "supplyingBranchId",
    "pickup_branch": "pickupBranchId",
    "status": "status",
    "close_reason": "closeReason",
    "requested_at": "placedAt",
    "shipped_at": "shippedAt",
    "received_at": "receivedAt",
    "collected_at": "checkedOutAt",
    "closed_at": "closedAt",
    "changed_at": "modifiedAt",
}
KOHA = {
    "reservation_id": "reserve_id",
    "item_barcode": "barcode",
    "material_type": "itype",
    "supplying_branch": "frombranch",
    "pickup_branch": "tobranch",
    "close_reason": "cancellation_reason",
    "requested_at": "daterequested",
    "shipped_at": "datesent",
    "received_at": "datearrived",
    "closed_at": "datecancelled",
}
VENDOR_NUMBER = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\.[0-9]{5,6}")

FORMATS = {
    fmt.name: fmt
    for fmt in (
        Format(
            "fmb_csv",
            "branch",
            re.compile(r"reserveringen_(?P<code>.+)_(?P<date>[0-9]{8})\.csv"),
            "%Y%m%d",
            "cp1252",
            ";",
            "%d-%m-%Y %H:%M",
            VENDOR_NUMBER,
            DUTCH,
        ),
        Format(
            "dnb_tsv",
            "branch",
            re.compile(r"(?P<code>.+)-reservations-(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})\.tsv"),
            "%Y-%m-%d",
            "utf-8-sig",
            "\t",
            "%Y-%m-%dT%H:%M:%S",
            VENDOR_NUMBER,
            ENGLISH,
        ),
        Format(
            "excel",
            "branch",
            re.compile(r"reserveringen (?P<code>.+) (?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})\.xlsx"),
            "%Y-%m-%d",
            "",
            "",
            "%d-%m-%Y %H:%M",
            VENDOR_NUMBER,
            DUTCH,
        ),
        Format(
            "koha_csv",
            "network",
            re.compile(r"transfers_(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})\.csv"),
            "%Y-%m-%d",
            "utf-8-sig",
            ",",
            "%Y-%m-%d %H:%M:%S",
            re.compile(r"[0-9]{1,10}"),
            KOHA,
            ("reason", "comments"),
        ),
    )
}


# ---------------------------------------------------------------------------------------------- register


@dataclass(frozen=True)
class Period:
    branch: str
    organisation: str
    ils_code: str
    export_format: str
    opened_on: date
    closed_on: date


@dataclass
class Register:
    periods: list[Period]
    organisations: list[str]

    @property
    def branches(self) -> list[str]:
        return list(dict.fromkeys(period.branch for period in self.periods))

    def branch_of_code(self, code: str) -> str | None:
        for period in self.periods:
            if period.ils_code == code:
                return period.branch
        return None

    def organisation_of(self, branch: str) -> str:
        for period in self.periods:
            if period.branch == branch:
                return period.organisation
        raise KeyError(branch)

    def is_open(self, branch: str, day: date) -> bool:
        return any(p.branch == branch and p.opened_on <= day <= p.closed_on for p in self.periods)


def read_register(reference: Path) -> Register:
    periods = []
    with (reference / "branches.csv").open(encoding="utf-8-sig", newline="") as handle:
        for line in csv.DictReader(handle):
            periods.append(
                Period(
                    branch=line["branch"],
                    organisation=line["organisation"],
                    ils_code=line["ils_code"],
                    export_format=line["export_format"],
                    opened_on=date.fromisoformat(line["opened_on"]) if line["opened_on"] else date.min,
                    closed_on=date.fromisoformat(line["closed_on"]) if line["closed_on"] else date.max,
                )
            )
    with (reference / "organisations.csv").open(encoding="utf-8-sig", newline="") as handle:
        organisations = [line["organisation"] for line in csv.DictReader(handle)]
    return Register(periods, organisations)


# ---------------------------------------------------------------------------------------------- verdict


@dataclass(frozen=True)
class Quarantined:
    branch: str
    file: str
    row: int
    rule: str


@dataclass
class FileVerdict:
    branch: str  # the folder under raw; "" for a file that lies loose
    path: str  # relative to raw, with forward slashes
    state: str = ""  # accepted, partly_accepted, rejected, superseded, skipped
    reason: str = ""
    format: str = ""
    export_date: date = date.min
    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicate: int = 0
    other_rows: int = 0  # rows of a network export that are no reservations


@dataclass(frozen=True)
class Row:
    """An accepted row, with codes translated to branches and times in UTC."""

    file: str
    number: int
    exporter: str
    reservation_id: str
    supplier: str
    pickup: str
    status: str
    shipped_at: datetime | None
    received_at: datetime | None
    order: tuple[datetime, date, tuple[int, str], int]  # changed at, export date, arrival, row


@dataclass(frozen=True)
class Leg:
    state: str
    supplying_branch: str
    pickup_branch: str
    shipped: datetime | None  # UTC; told by the supplier's row, or without one by the pick-up's
    received: datetime | None  # UTC; told by the pick-up branch


@dataclass(frozen=True, order=True)
class Delivery:
    day: date
    supplying_branch: str
    pickup_branch: str


@dataclass
class Verdict:
    register: Register
    files: dict[str, FileVerdict] = field(default_factory=dict)
    quarantined: list[Quarantined] = field(default_factory=list)
    legs: dict[LegKey, Leg] = field(default_factory=dict)
    deliveries: list[Delivery] = field(default_factory=list)
    accepted: list[Row] = field(default_factory=list)  # of superseded files too

    def paths(self, state: str) -> list[str]:
        return sorted(path for path, file in self.files.items() if file.state == state)

    def file_states(self) -> dict[str, int]:
        counts = Counter(file.state for file in self.files.values())
        return {s: counts[s] for s in ("accepted", "partly_accepted", "rejected", "superseded", "skipped")}

    def rows(self) -> dict[str, int]:
        """Over everything ever delivered, superseded files included."""
        return {
            "read": sum(file.read for file in self.files.values()),
            "accepted": sum(file.accepted for file in self.files.values()),
            "quarantined": sum(file.quarantined for file in self.files.values()),
            "duplicate": sum(file.duplicate for file in self.files.values()),
        }

    def listed_quarantine(self) -> list[tuple[str, int | None, str | None]]:
        """What `pendel quarantine` lists as (file, row, rule); a rejected file has neither row nor (here) rule."""
        listed: list[tuple[str, int | None, str | None]] = [
            (item.file, item.row, item.rule) for item in self.quarantined if self.files[item.file].state != "superseded"
        ]
        return listed + [(path, None, None) for path in self.paths("rejected")]

    def leg_states(self) -> dict[str, int]:
        counts = Counter(leg.state for leg in self.legs.values())
        names = ("requested", "in_transit", "delivered", "local", "unconfirmed", "cancelled", "superseded")
        return {name: counts[name] for name in names}

    def total(self, year: int) -> int:
        return sum(1 for delivery in self.deliveries if delivery.day.year == year)

    def by_month(self, year: int) -> dict[str, int]:
        months = {f"{year}-{month:02d}": 0 for month in range(1, 13)}
        for delivery in self.deliveries:
            if delivery.day.year == year:
                months[f"{delivery.day:%Y-%m}"] += 1
        return months

    def by_lane(self, year: int) -> dict[tuple[str, str], int]:
        """Every lane of the register, the empty ones too."""
        branches = self.register.branches
        lanes = {(a, b): 0 for a in branches for b in branches if a != b}
        for delivery in self.deliveries:
            if delivery.day.year == year:
                lanes[delivery.supplying_branch, delivery.pickup_branch] += 1
        return lanes

    def by_pair(self, year: int) -> dict[tuple[str, str], int]:
        """Every ordered pair of organisations, each with itself included."""
        pairs = {(a, b): 0 for a in self.register.organisations for b in self.register.organisations}
        for (supplier, pickup), count in self.by_lane(year).items():
            pairs[self.register.organisation_of(supplier), self.register.organisation_of(pickup)] += count
        return pairs


# ---------------------------------------------------------------------------------------------- files


class RejectedError(Exception):
    """The file as a whole cannot be used."""


def unpack(name: str, payload: bytes) -> tuple[list[str], bytes]:
    """The names by which the file may go, and its unpacked bytes."""
    if name.endswith(".gz"):
        try:
            return [name.removesuffix(".gz")], gzip.decompress(payload)
        except (OSError, EOFError, zlib.error) as error:
            raise RejectedError(f"broken gz: {error}") from None
    if name.endswith(".zip"):
        try:
            with zipfile.ZipFile(io.BytesIO(payload)) as archive:
                inner = [entry for entry in archive.infolist() if not entry.is_dir()]
                if len(inner) != 1:
                    raise RejectedError("not exactly one file in the zip")
                names = [name.removesuffix(".zip"), PurePosixPath(inner[0].filename).name]
                return names, archive.read(inner[0])
        except RejectedError:
            raise
        except Exception as error:  # what a damaged archive makes the unpacker say is no closed list
            raise RejectedError(f"broken zip: {error}") from None
    return [name], payload


def fit(fmt: Format, names: list[str], codes: list[str]) -> date | None:
    """The export date, when one of the names is a name of this format with one of these codes."""
    for name in names:
        match = fmt.file_name.fullmatch(name)
        if match is None:
            continue
        if fmt.perspective == "branch" and match["code"] not in codes:
            continue
        try:
            day = datetime.strptime(match["date"], fmt.file_date)
        except ValueError:
            continue
        if day.strftime(fmt.file_date) == match["date"]:
            return day.date()
    return None


def recognise(folder: str, names: list[str], register: Register) -> tuple[Format, date]:
    if folder == NETWORK:
        for fmt in FORMATS.values():
            day = fit(fmt, names, []) if fmt.perspective == "network" else None
            if day:
                return fmt, day
        raise RejectedError("no name of a network export")
    periods = [period for period in register.periods if period.branch == folder]
    if not periods:
        raise RejectedError("no such branch")
    for period in periods:
        fmt = FORMATS[period.export_format]
        day = fit(fmt, names, [p.ils_code for p in periods]) if fmt.perspective == "branch" else None
        if day:
            return fmt, day
    raise RejectedError("no file name of this branch")


Record = tuple[int, list[Cell] | None]  # row number; None: a quote that was never closed


def split_text(text: str, delimiter: str) -> list[Record]:
    records: list[Record] = []
    position, number, width = 0, 0, 0
    while position < len(text):
        number += 1
        line_end, next_line = end_of_line(text, position)
        if line_end == position:  # a blank line keeps its number and is no row
            position = next_line
            continue
        fields, after = read_record(text, position, delimiter)
        width = width or len(fields or [])
        if fields and holds_another_row(text[position:after], fields, delimiter, width):
            fields = None
        if fields != [""]:  # nor is a line of blanks
            records.append((number, fields))
        position = next_line if fields is None else after
    return records


def holds_another_row(text: str, fields: list[Cell], delimiter: str, width: int) -> bool:
    """A quote that another row closed: one of the later lines alone has the delimiters of a whole row."""
    later = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")[1:]
    if width < 2 or not later or "\n" in str(fields[0]).replace("\r", "\n"):
        return False
    return max(line.count(delimiter) for line in later) >= width - 1


def end_of_line(text: str, position: int) -> tuple[int, int]:
    """Where the line ends, and where the next one begins."""
    while position < len(text) and text[position] not in "\r\n":
        position += 1
    return position, position + (2 if text.startswith("\r\n", position) else 1)


def read_record(text: str, position: int, delimiter: str) -> tuple[list[Cell] | None, int]:
    fields: list[Cell] = []
    while True:
        value = ""
        if text.startswith('"', position):
            position += 1
            while True:
                if position >= len(text):
                    return None, position  # never closed
                if text.startswith('""', position):
                    value += '"'
                    position += 2
                elif text[position] == '"':
                    position += 1
                    break
                else:
                    value += text[position]
                    position += 1
            if position < len(text) and text[position] not in (delimiter, "\r", "\n"):
                return None, position  # closed in the middle of a value: nobody knows where that ends
        while position < len(text) and text[position] not in (delimiter, "\r", "\n"):
            value += text[position]
            position += 1
        fields.append(value.strip())
        if position < len(text) and text[position] == delimiter:
            position += 1
            continue
        return fields, end_of_line(text, position)[1]


def check_parts(payload: bytes) -> None:
    """Every part of a workbook is there and sound, also those that openpyxl does not look at."""
    with zipfile.ZipFile(io.BytesIO(payload)) as archive:
        related = archive.read("xl/_rels/workbook.xml.rels").decode()
        targets = re.findall('<Relationship [^>]*Target="([^"]*)"', related)
        named = {target[1:] if target.startswith("/") else f"xl/{target}" for target in targets}
        missing = named - set(archive.namelist())
        if missing or archive.testzip():
            raise RejectedError(f"damaged: {missing or 'checksum'}")
        if {"xl/styles.xml", "xl/sharedStrings.xml"} & set(archive.namelist()) - named:
            raise RejectedError("damaged: nothing leads to the styles any more")  # openpyxl knows where they always are
        if not re.search('Type="[^"]*/worksheet"', related):
            # openpyxl takes it for one
            raise RejectedError("damaged: nothing says that the first sheet is a worksheet")
        for name in archive.namelist():
            row = ""
            text = archive.read(name).decode(errors="replace") if name.startswith("xl/worksheets/") else ""
            for found in re.finditer('<row [^>]*?r="([0-9]+)"|<c [^>]*?r="[A-Z]+([0-9]+)"', text):
                row = found[1] or row
                if found[2] and row and found[2] != row:
                    raise RejectedError("damaged: a cell says that it stands in another row")  # openpyxl puts it there


def read_workbook(payload: bytes) -> list[Record]:
    try:
        check_parts(payload)
        sheet = openpyxl.load_workbook(io.BytesIO(payload), data_only=True).worksheets[0]
    except Exception as error:  # whatever a thing that is no workbook makes the reader say
        raise RejectedError(f"no workbook: {type(error).__name__}") from None
    records: list[Record] = []
    for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
        cells: list[Cell] = [as_cell(value) for value in values]
        if any(cell != "" for cell in cells):
            records.append((number, cells))
    return records


def as_cell(value: object) -> Cell:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value).strip()


def read_records(fmt: Format, payload: bytes) -> list[Record]:
    if not fmt.delimiter:
        return read_workbook(payload)
    try:
        text = payload.decode("utf-8-sig" if payload.startswith(b"\xef\xbb\xbf") else fmt.encoding)
    except UnicodeDecodeError:
        raise RejectedError(f"not {fmt.encoding}") from None
    if "\0" in text:
        raise RejectedError("no text")
    if fmt.name == "koha_csv" and any(line.startswith("# ERROR") for line in re.split("\r\n|\r|\n", text)):
        raise RejectedError("the report broke off")
    return split_text(text, fmt.delimiter)


def read_header(fmt: Format, records: list[Record]) -> list[str]:
    if not records or records[0][0] != 1 or records[0][1] is None:
        raise RejectedError("no header")
    header = [str(cell) for cell in records[0][1]]
    needed = {*fmt.headers.values(), *fmt.helpers}
    if any(count > 1 for name, count in Counter(header).items() if name in needed):
        raise RejectedError("a column occurs twice")
    missing = [c for c, name in fmt.headers.items() if c not in HEADER_FREE and name not in header]
    missing += [name for name in fmt.helpers if name not in header]
    if missing:
        raise RejectedError(f"missing: {missing}")
    return header


# ---------------------------------------------------------------------------------------------- rows


class BadRowError(Exception):
    """The row goes to quarantine; the text is the id of the rule."""


def passes_eleven_test(digits: str) -> bool:
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    total = sum(weight * int(digit) for weight, digit in zip(weights, digits, strict=True))
    return digits != "000000000" and total % 11 == 0


def looks_personal(text: str) -> bool:
    if re.search(r"[^\s@]+@[^\s@]+\.[^\s@]+", text):
        return True
    return any(len(run) == 9 and passes_eleven_test(run) for run in re.findall(r"[0-9]+", text))


def read_time(cell: Cell, pattern: str) -> datetime | None:
    """In UTC: of a doubled hour the first, and a time that did not exist is an hour later."""
    if cell == "":
        return None
    if isinstance(cell, str):
        try:
            moment = datetime.strptime(cell, pattern)
        except ValueError:
            raise BadRowError("unreadable_datetime") from None
        if moment.strftime(pattern.replace("%Y", f"{moment.year:04}")) != cell:
            raise BadRowError("unreadable_datetime")
    else:
        moment = cell
    return moment.replace(tzinfo=AMSTERDAM, fold=0).astimezone(UTC)


def local_day(moment: datetime) -> date:
    return moment.astimezone(AMSTERDAM).date()


def judge_row(
    fmt: Format,
    file: FileVerdict,
    arrival: tuple[int, str],
    number: int,
    cells: dict[str, Cell],
    helpers: dict[str, str],
    register: Register,
) -> Row:
    """The row as it counts, or the first rule against it."""
    text = {column: str(cells[column]) for column in TEXT_COLUMNS}
    number_fits = fmt.reservation_id.fullmatch(text["reservation_id"]) is not None

    for column in TEXT_COLUMNS:
        if column == "reservation_id" and number_fits:
            continue
        if looks_personal(text[column]):
            raise BadRowError("personal_data")
    if not number_fits:
        raise BadRowError("reservation_number")

    status = ""
    if "status" in fmt.headers and text["status"] != "":
        if text["status"] not in STATUSES:
            raise BadRowError("unknown_status")
        status = STATUSES[text["status"]]
    if fmt.name != "koha_csv" and text["close_reason"] not in CLOSE_REASONS | {""}:
        raise BadRowError("unknown_close_reason")

    if fmt.name == "koha_csv" and helpers["comments"].startswith("Canceled, new transfer"):
        cells = {**cells, "received_at": ""}  # no arrival, whatever stands there
    times = {column: read_time(cells[column], fmt.time) for column in TIME_COLUMNS}
    if fmt.name == "koha_csv":
        status = "A"
        for column, letter in (("shipped_at", "T"), ("received_at", "O"), ("closed_at", "Z")):
            if times[column]:
                status = letter
        filled = [moment for moment in times.values() if moment]
        times["changed_at"] = max(filled) if filled else None

    supplier = register.branch_of_code(text["supplying_branch"])
    pickup = register.branch_of_code(text["pickup_branch"])
    shipped = status in SENT_STATUSES or times["shipped_at"] or times["received_at"]
    if not (text["pickup_branch"] and status and times["requested_at"] and times["changed_at"]):
        raise BadRowError("needed_column_empty")
    if shipped and not (text["item_barcode"] and text["supplying_branch"]):
        raise BadRowError("needed_column_empty")

    received = times["received_at"]
    if received and local_day(received) < date(2000, 1, 1):
        raise BadRowError("receipt_before_2000")
    for column in ("requested_at", "shipped_at", "received_at"):
        moment = times[column]
        if moment and local_day(moment) > file.export_date + timedelta(days=1):
            raise BadRowError("after_export_date")

    if pickup is None or (text["supplying_branch"] and supplier is None):
        raise BadRowError("unknown_branch")
    if file.branch not in (NETWORK, supplier, pickup):
        raise BadRowError("exporter_not_involved")
    if status in RECEIVED_STATUSES and file.branch == pickup and not received:
        raise BadRowError("receipt_date_missing")
    if received:
        for branch in (supplier, pickup):
            if branch is not None and not register.is_open(branch, local_day(received)):
                raise BadRowError("branch_not_open")

    assert times["changed_at"] is not None
    return Row(
        file=file.path,
        number=number,
        exporter=file.branch,
        reservation_id=text["reservation_id"],
        supplier=supplier or "",
        pickup=pickup,
        status=status,
        shipped_at=times["shipped_at"],
        received_at=received,
        order=(times["changed_at"], file.export_date, arrival, number),
    )


def judge_file(
    file: FileVerdict, arrival: tuple[int, str], payload: bytes, register: Register, quarantined: list[Quarantined]
) -> list[Row]:
    """Fill in the verdict of one file; its accepted rows."""
    name = PurePosixPath(file.path).name
    if "/" not in file.path:
        raise RejectedError("lies loose")
    names, content = unpack(name, payload)
    fmt, file.export_date = recognise(file.branch, names, register)
    file.format = fmt.name
    records = read_records(fmt, content)
    header = read_header(fmt, records)

    accepted: list[Row] = []
    seen: set[tuple[str, ...]] = set()
    for number, fields in records[1:]:
        try:
            if fields is None or len(fields) != len(header):
                file.read += 1
                raise BadRowError("row_shape")
            by_header = dict(zip(header, fields, strict=True))
            cells = {c: by_header.get(fmt.headers.get(c, "-"), "") for c in TEXT_COLUMNS + TIME_COLUMNS}
            helpers = {h: str(by_header.get(h, "")) for h in fmt.helpers}
            if fmt.name == "koha_csv" and helpers["reason"] != "Reserve":
                file.other_rows += 1
                continue
            file.read += 1
            content_key = tuple(str(value) for value in (*cells.values(), *helpers.values()))
            if content_key in seen:
                file.duplicate += 1
                continue
            seen.add(content_key)
            accepted.append(judge_row(fmt, file, arrival, number, cells, helpers, register))
            file.accepted += 1
        except BadRowError as rule:
            file.quarantined += 1
            quarantined.append(Quarantined(file.branch, file.path, number, str(rule)))
    file.state = "partly_accepted" if file.quarantined else "accepted"
    return accepted


# ---------------------------------------------------------------------------------------------- legs


def newest(rows: list[Row]) -> Row | None:
    return max(rows, key=lambda row: row.order, default=None)


def judge_reservation(rows: list[Row]) -> dict[str, Leg]:
    """The legs of one reservation (all accepted rows with its organisation and number), by supplying branch."""
    told: dict[tuple[str, str], Row] = {}  # the newest row per leg and exporting branch
    for row in sorted(rows, key=lambda row: row.order):
        told[row.supplier, row.exporter] = row
    words = list(told.values())
    pickup_side = [row for row in words if row.exporter in (row.pickup, NETWORK)]
    last_word = newest(pickup_side)
    unsupplied = newest([row for row in pickup_side if row.supplier == ""])

    suppliers = {row.supplier for row in rows if row.supplier} or {""}
    legs = {}
    for supplier in suppliers:
        sending = newest(
            [r for r in words if supplier and r.supplier == supplier and r.exporter in (supplier, NETWORK)]
        )
        receiving = newest([row for row in pickup_side if row.supplier == supplier])
        authority = receiving or sending
        assert authority is not None
        sender = sending or authority
        legs[supplier] = Leg(
            state=leg_state(supplier, authority.pickup, sending, receiving, last_word, unsupplied),
            supplying_branch=supplier,
            pickup_branch=authority.pickup,
            shipped=sender.shipped_at,
            received=receiving.received_at if receiving else None,
        )
    return legs


def leg_state(
    supplier: str,
    pickup: str,
    sending: Row | None,
    receiving: Row | None,
    last_word: Row | None,
    unsupplied: Row | None,
) -> str:
    if last_word and last_word.supplier not in ("", supplier):
        return "superseded"
    if supplier == pickup:
        return "local"
    if receiving and receiving.received_at:
        return "delivered"
    last_of_leg = newest([row for row in (receiving, unsupplied) if row])
    if last_of_leg and last_of_leg.status == "Z":
        return "cancelled"
    if sending and sending.received_at:
        return "unconfirmed"
    if sending and sending.status == "Z":
        return "cancelled"
    sender = sending or receiving
    if sender and (sender.shipped_at or sender.status in SENT_STATUSES):
        return "in_transit"
    return "requested"


# ---------------------------------------------------------------------------------------------- the judge


def judge(raw: Path, reference: Path) -> Verdict:
    register = read_register(reference)
    verdict = Verdict(register)

    arrivals = []
    for path in raw.rglob("*"):
        if path.is_file() and not path.name.startswith((".", "~$")):
            arrivals.append((path.stat().st_mtime_ns, path.relative_to(raw).as_posix()))

    rows_of: dict[str, list[Row]] = {}
    known: set[tuple[str, str]] = set()
    empty: set[tuple[str, str, date]] = set()
    active: dict[tuple[str, str, date], str] = {}
    for arrival in sorted(arrivals):
        path_in_raw = arrival[1]
        folder = path_in_raw.split("/")[0] if "/" in path_in_raw else ""
        file = verdict.files[path_in_raw] = FileVerdict(folder, path_in_raw)
        payload = (raw / path_in_raw).read_bytes()

        identity = (folder, hashlib.sha256(payload).hexdigest())
        if identity in known:
            file.state = "skipped"
            continue
        known.add(identity)
        try:
            rows_of[path_in_raw] = judge_file(file, arrival, payload, register, verdict.quarantined)
        except RejectedError as reason:
            file.state, file.reason = "rejected", str(reason)
            continue
        if not file.read + file.other_rows:  # exports without rows are all alike: known by their date too
            known.discard(identity)
            if (*identity, file.export_date) in empty:
                file.state = "skipped"
                continue
            empty.add((*identity, file.export_date))
        verdict.accepted += rows_of[path_in_raw]
        group = (folder, file.format, file.export_date)
        if group in active:
            verdict.files[active[group]].state = "superseded"
        active[group] = path_in_raw

    reservations: dict[tuple[str, str], list[Row]] = {}
    for path_in_raw in active.values():
        for row in rows_of[path_in_raw]:
            key = (register.organisation_of(row.pickup), row.reservation_id)
            reservations.setdefault(key, []).append(row)

    for (organisation, reservation_id), rows in reservations.items():
        for supplier, leg in judge_reservation(rows).items():
            verdict.legs[organisation, reservation_id, supplier] = leg
            if leg.state == "delivered":
                assert leg.received is not None
                verdict.deliveries.append(Delivery(local_day(leg.received), leg.supplying_branch, leg.pickup_branch))
    verdict.deliveries.sort()
    return verdict
