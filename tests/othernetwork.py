"""A small network that is not the one the product was made for, with every known trap planted in its exports.

`build(folder)` writes `raw/` and `reference/` and returns what was planted: for every file its state and its rows,
for every leg what became of it. All of that is decided here, at the place where the trap is written, by hand.
"""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import openpyxl

# The branches' codes. Six branches; one has a second code from July on.
ZEEDAM, STRAND, HAVEN = "0060", "060", "60"  # organisation KUST
TURFSTAD, VEENKAMP, VEENKAMP_NEW = "0601", "7", "106"  # organisation VEEN
DUINOORD = "1060"  # organisation DUIN

NAME = {
    ZEEDAM: "zeedam",
    STRAND: "strand",
    HAVEN: "haven",
    TURFSTAD: "turfstad",
    VEENKAMP: "veenkamp",
    VEENKAMP_NEW: "veenkamp",
    DUINOORD: "duinoord",
}
ORGANISATION = {
    "zeedam": "KUST",
    "strand": "KUST",
    "haven": "KUST",
    "turfstad": "VEEN",
    "veenkamp": "VEEN",
    "duinoord": "DUIN",
}
BRANCHES_CSV = """\
branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on,latitude,longitude,isil,note
zeedam,Zeedam,KUST,Zeedam,0060,fmb_csv,,,52.1,4.3,,
strand,Strand,KUST,Zeedam,060,fmb_csv,2023-03-01,2023-08-31,52.2,4.4,,"Open for half a year; a pavilion, on the beach"
haven,Haven,KUST,Havenstad,60,excel,,,,,,
turfstad,Turfstad,VEEN,Turfstad,0601,dnb_tsv,,,52.3,4.6,,
veenkamp,Veenkamp,VEEN,Veenkamp,7,fmb_csv,,2023-06-30,,,,Closed two days for the change of system
veenkamp,Veenkamp,VEEN,Veenkamp,106,dnb_tsv,2023-07-03,,,,,
duinoord,Duinoord,DUIN,Duinoord,1060,koha_csv,,,52.0,4.2,,Told by the network's own export
"""
ORGANISATIONS_CSV = "organisation,name\nKUST,Bibliotheek Kust\nVEEN,Bibliotheek Veen\nDUIN,Bibliotheek Duin\n"

LegKey = tuple[str, str, str]
Listed = tuple[str, int | None, str | None]

# Who reads what: none of this may be found anywhere but under raw.
READER = "29900077123456"
PERSON = "Renée Übermann-Çelik"
MAIL = "r.ubermann@postbus.example"
TITLE = "Leven met een geheim"
BSN, OTHER_BSN, THIRD_BSN = "111222333", "123456782", "987654329"
LOOKALIKE = "345678904"  # passes the test too, and stands where it is allowed: a Koha number, part of a longer run
NO_BSN = "123456789"  # nine digits that do not pass the eleven test


class AsIs(str):
    """A text that is written as it stands, where otherwise a date-time would be formatted."""


Value = str | int | float | date | None
RowOf = dict[str, Value]  # canonical column (or, for extra columns, header) -> value


@dataclass
class PlantedFile:
    branch: str
    state: str
    read: int = 0
    accepted: int = 0
    quarantined: int = 0
    duplicate: int = 0


@dataclass(frozen=True, order=True)
class PlantedDelivery:
    day: str
    supplying_branch: str
    pickup_branch: str


@dataclass(frozen=True)
class PlantedLeg:
    state: str
    pickup_branch: str
    received: str = ""  # local time


@dataclass
class Planted:
    raw: Path
    reference: Path
    files: dict[str, PlantedFile] = field(default_factory=dict)
    quarantined: list[tuple[str, str, int, str]] = field(default_factory=list)  # branch, file, row, rule
    legs: dict[LegKey, PlantedLeg] = field(default_factory=dict)
    deliveries: list[PlantedDelivery] = field(default_factory=list)
    canaries: list[str] = field(default_factory=list)

    def paths(self, state: str) -> list[str]:
        return sorted(path for path, file in self.files.items() if file.state == state)

    @property
    def file_states(self) -> dict[str, int]:
        states = ("accepted", "partly_accepted", "rejected", "superseded", "skipped")
        return {state: len(self.paths(state)) for state in states}

    @property
    def rows(self) -> dict[str, int]:
        files = self.files.values()
        return {
            "read": sum(file.read for file in files),
            "accepted": sum(file.accepted for file in files),
            "quarantined": sum(file.quarantined for file in files),
            "duplicate": sum(file.duplicate for file in files),
        }

    @property
    def listed_quarantine(self) -> list[Listed]:
        """What `pendel quarantine` is to list: rows of files that are not superseded, and the rejected files."""
        rows: list[Listed] = [
            (file, row, rule) for _, file, row, rule in self.quarantined if self.files[file].state != "superseded"
        ]
        return rows + [(path, None, None) for path in self.paths("rejected")]

    @property
    def leg_states(self) -> dict[str, int]:
        counts = Counter(leg.state for leg in self.legs.values())
        names = ("requested", "in_transit", "delivered", "local", "unconfirmed", "cancelled", "superseded")
        return {name: counts[name] for name in names}

    def total(self, year: int) -> int:
        return sum(1 for delivery in self.deliveries if delivery.day.startswith(f"{year}-"))

    def by_month(self, year: int) -> dict[str, int]:
        months = {f"{year}-{month:02d}": 0 for month in range(1, 13)}
        for delivery in self.deliveries:
            if delivery.day.startswith(f"{year}-"):
                months[delivery.day[:7]] += 1
        return months

    def by_lane(self, year: int) -> dict[tuple[str, str], int]:
        lanes = {(a, b): 0 for a in ORGANISATION for b in ORGANISATION if a != b}
        for delivery in self.deliveries:
            if delivery.day.startswith(f"{year}-"):
                lanes[delivery.supplying_branch, delivery.pickup_branch] += 1
        return lanes

    def by_pair(self, year: int) -> dict[tuple[str, str], int]:
        pairs = {(a, b): 0 for a in ("KUST", "VEEN", "DUIN") for b in ("KUST", "VEEN", "DUIN")}
        for (supplier, pickup), count in self.by_lane(year).items():
            pairs[ORGANISATION[supplier], ORGANISATION[pickup]] += count
        return pairs


# ---------------------------------------------------------------------------------------------- writing exports

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
    "reason": "reason",
    "comments": "comments",
}


@dataclass(frozen=True)
class Style:
    headers: dict[str, str]
    delimiter: str
    encoding: str
    newline: str
    time: str
    name: str


STYLES = {
    "fmb_csv": Style(DUTCH, ";", "cp1252", "\r\n", "%d-%m-%Y %H:%M", "reserveringen_{code}_{day:%Y%m%d}.csv"),
    "dnb_tsv": Style(ENGLISH, "\t", "utf-8", "\n", "%Y-%m-%dT%H:%M:%S", "{code}-reservations-{day:%Y-%m-%d}.tsv"),
    "excel": Style(DUTCH, "", "", "", "%d-%m-%Y %H:%M", "reserveringen {code} {day:%Y-%m-%d}.xlsx"),
    "koha_csv": Style(KOHA, ",", "utf-8", "\n", "%Y-%m-%d %H:%M:%S", "transfers_{day:%Y-%m-%d}.csv"),
}
EXPORTS_AS = {
    ZEEDAM: "fmb_csv",
    STRAND: "fmb_csv",
    HAVEN: "excel",
    TURFSTAD: "dnb_tsv",
    VEENKAMP: "fmb_csv",
    VEENKAMP_NEW: "dnb_tsv",
    "network": "koha_csv",
}


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


def row(
    number: str,
    supplier: Value,
    pickup: Value,
    status: Value,
    *,
    asked: Value = None,
    sent: Value = None,
    got: Value = None,
    lent: Value = None,
    closed: Value = None,
    changed: Value = None,
    item: Value = "31000001",
    kind: Value = "boek",
    why: Value = None,
    **more: Value,
) -> RowOf:
    """A row. Not told otherwise, it was asked for the day before its first date, and changed on its last."""
    dates = [
        moment(d) for d in (asked, sent, got, lent, closed) if isinstance(d, str) and d and not isinstance(d, AsIs)
    ]
    if asked is None:
        asked = f"{min(dates) - timedelta(days=1):%Y-%m-%d %H:%M}"
    if changed is None:
        changed = f"{max(dates):%Y-%m-%d %H:%M:%S}"
    return {
        "reservation_id": number,
        "item_barcode": item,
        "material_type": kind,
        "supplying_branch": supplier,
        "pickup_branch": pickup,
        "status": status,
        "close_reason": why,
        "requested_at": asked,
        "shipped_at": sent,
        "received_at": got,
        "collected_at": lent,
        "closed_at": closed,
        "changed_at": changed,
        **more,
    }


class Export:
    """One file of a branch; every line is written together with its fate."""

    def __init__(
        self, plan: Planted, path: str, style: Style, arrives: str, columns: Sequence[str], state: str
    ) -> None:
        self.plan, self.path, self.style, self.arrives = plan, path, style, arrives
        self.columns = list(columns)  # canonical names, or the headers of extra columns
        self.header = [style.headers.get(column, column) for column in self.columns]
        self.lines: list[list[Value] | str] = []
        self.number = 1  # the header is row 1
        self.truth = PlantedFile(path.split("/")[0], state)
        self.bom = self.wrap = ""
        self.encoding = style.encoding
        self.newline = style.newline
        self.ends_with_newline = True
        plan.files[path] = self.truth

    # What becomes of a line

    def good(self, *rows: RowOf | str) -> Export:
        for one in rows:
            self._add(one)
            self.truth.read += 1
            self.truth.accepted += 1
        return self

    def bad(self, rule: str, *rows: RowOf | str) -> Export:
        for one in rows:
            self._add(one)
            self.truth.read += 1
            self.truth.quarantined += 1
            self.plan.quarantined.append((self.truth.branch, self.path, self.number, rule))
        return self

    def twin(self, *rows: RowOf | str) -> Export:
        """Equal in every contract column to an earlier row."""
        for one in rows:
            self._add(one)
            self.truth.read += 1
            self.truth.duplicate += 1
        return self

    def other(self, *rows: RowOf | str) -> Export:
        """A row that is no reservation, or stands in a file that is not read: counted nowhere."""
        for one in rows:
            self._add(one)
        return self

    def blank(self) -> Export:
        self.number += 1
        self.lines.append("")
        return self

    def _add(self, one: RowOf | str) -> None:
        self.number += 1
        self.lines.append(one if isinstance(one, str) else [self._value(one.get(c), c) for c in self.columns])

    def _value(self, value: Value, column: str) -> Value:
        if isinstance(value, AsIs):
            return str(value)
        if isinstance(value, str) and value and column.endswith("_at"):
            return moment(value) if not self.style.delimiter else f"{moment(value):{self.style.time}}"
        return value

    # Bytes

    def text(self, one: RowOf) -> str:
        """The line as it would be written: to be damaged on purpose."""
        return self._line([self._value(one.get(c), c) for c in self.columns])

    def _line(self, values: Sequence[Value]) -> str:
        out = io.StringIO()
        csv.writer(out, delimiter=self.style.delimiter, lineterminator="\r\n").writerow(
            ["" if value is None else value for value in values]
        )
        return out.getvalue().removesuffix("\r\n")

    def content(self) -> bytes:
        if not self.style.delimiter:
            return self._workbook()
        lines = [self._line(self.header)]
        lines += [line if isinstance(line, str) else self._line(line) for line in self.lines]
        text = self.newline.join(lines) + (self.newline if self.ends_with_newline else "")
        return (self.bom + text).encode(self.encoding)

    def _workbook(self) -> bytes:
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.title = "Export"
        for column, name in enumerate(self.header, start=1):
            sheet.cell(1, column, name)
        for number, line in enumerate(self.lines, start=2):
            for column, value in enumerate(line if not isinstance(line, str) else [], start=1):
                if value is not None and value != "":
                    cell = sheet.cell(number, column, value)
                    if isinstance(value, str):
                        cell.number_format = "@"
        second = book.create_sheet("Blad2")  # only the first sheet counts
        second.append(["Reserveringsnummer", "Naam"])
        second.append(["2023-01-01.99999", PERSON])
        out = io.BytesIO()
        book.save(out)
        return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, (2023, 1, 1, 0, 0, 0)), content)
    return out.getvalue()


class Network:
    """Everything that is delivered, and what is to become of it."""

    def __init__(self, folder: Path) -> None:
        self.plan = Planted(folder / "raw", folder / "reference")
        self.exports: list[Export] = []

    def export(
        self,
        code: str,
        day: str,
        *,
        state: str = "accepted",
        arrives: str = "",
        under: str = "",
        name: str = "",
        branch: str = "",
        columns: Sequence[str] = (),
        extra: Sequence[str] = (),
        ending: str = "",
    ) -> Export:
        """A new export of a branch. It arrives the next morning, unless told otherwise."""
        style = STYLES[EXPORTS_AS[code]]
        exported = date.fromisoformat(day)
        path = "/".join(
            part
            for part in (
                branch or NAME.get(code, code),
                under,
                (name or style.name.format(code=code, day=exported)) + ending,
            )
            if part
        )
        arrives = arrives or f"{exported + timedelta(days=1)} 05:00"
        export = Export(self.plan, path, style, arrives, [*(columns or style.headers), *extra], state)
        export.wrap = ending
        self.exports.append(export)
        return export

    def file(self, path: str, content: bytes, state: str, arrives: str) -> None:
        """A file that is no sound export, or the bytes of one that came before."""
        if state:
            self.plan.files[path] = PlantedFile(path.split("/")[0] if "/" in path else "", state)
        self._write(path, content, arrives)

    def _write(self, path: str, content: bytes, arrives: str) -> None:
        target = self.plan.raw / path
        assert not target.exists(), path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        seconds = moment(arrives).replace(tzinfo=UTC).timestamp()
        os.utime(target, (seconds, seconds))

    # What becomes of a leg

    def leg(self, number: str, supplier: str, pickup: str, state: str, received: str = "") -> None:
        """Branches by their codes; an empty supplier for a leg without one."""
        pickup_branch = NAME[pickup]
        key = (ORGANISATION[pickup_branch], number, NAME[supplier] if supplier else "")
        assert key not in self.plan.legs, key
        self.plan.legs[key] = PlantedLeg(state, pickup_branch, received)

    def delivered(self, number: str, supplier: str, pickup: str, at: str) -> None:
        self.leg(number, supplier, pickup, "delivered", at)
        self.plan.deliveries.append(PlantedDelivery(at[:10], NAME[supplier], NAME[pickup]))

    def write(self) -> Planted:
        for export in self.exports:
            content = export.content()
            if export.wrap == ".gz":
                content = gzip.compress(content, mtime=0)
            elif export.wrap == ".zip":
                content = zipped({export.path.rpartition("/")[2].removesuffix(".zip"): content})
            self._write(export.path, content, export.arrives)
        reference = self.plan.reference
        reference.mkdir(parents=True)
        (reference / "branches.csv").write_text(BRANCHES_CSV, encoding="utf-8", newline="\n")
        (reference / "organisations.csv").write_text(ORGANISATIONS_CSV, encoding="utf-8", newline="\n")
        return self.plan


# ---------------------------------------------------------------------------------------------- plain traffic


def plain_traffic(net: Network) -> None:
    """May: twenty journeys over thirteen lanes, each told four times: by both sides, on two evenings.

    The reservation numbers are given out per organisation, so KUST and VEEN both have a 2023-05-01.00001.
    """
    lanes = [
        (ZEEDAM, STRAND, 3),
        (STRAND, ZEEDAM, 1),
        (ZEEDAM, HAVEN, 2),
        (HAVEN, ZEEDAM, 1),
        (STRAND, HAVEN, 1),
        (HAVEN, STRAND, 2),
        (TURFSTAD, ZEEDAM, 2),
        (ZEEDAM, TURFSTAD, 1),
        (VEENKAMP, STRAND, 1),
        (TURFSTAD, VEENKAMP, 3),
        (VEENKAMP, TURFSTAD, 1),
        (HAVEN, TURFSTAD, 1),
        (VEENKAMP, HAVEN, 1),
    ]
    branches = (ZEEDAM, STRAND, HAVEN, TURFSTAD, VEENKAMP)
    first = {code: net.export(code, "2023-05-03") for code in branches}
    second = {code: net.export(code, "2023-05-04") for code in branches}
    given_out: Counter[str] = Counter()
    for supplier, pickup, times in lanes:
        for _ in range(times):
            organisation = ORGANISATION[NAME[pickup]]
            given_out[organisation] += 1
            number = f"2023-05-01.{given_out[organisation]:05d}"
            sent, got, lent = "2023-05-02 09:05", "2023-05-03 13:40", "2023-05-04 10:10"
            first[supplier].good(row(number, supplier, pickup, "T", sent=sent))
            first[pickup].good(row(number, supplier, pickup, "O", sent=sent, got=got))
            second[supplier].good(row(number, supplier, pickup, "U", sent=sent, got=got, lent=lent))
            second[pickup].good(row(number, supplier, pickup, "U", sent=sent, got=got, lent=lent))
            net.delivered(number, supplier, pickup, got)
    # On the shelf of the pick-up branch itself: local, whatever its status.
    first[ZEEDAM].good(row("2023-05-01.00101", ZEEDAM, ZEEDAM, "O", got="2023-05-03 15:00"))
    net.leg("2023-05-01.00101", ZEEDAM, ZEEDAM, "local", "2023-05-03 15:00")
    first[TURFSTAD].good(row("2023-05-01.00101", TURFSTAD, TURFSTAD, "A", asked="2023-05-03 15:00"))
    net.leg("2023-05-01.00101", TURFSTAD, TURFSTAD, "local")
    # The same number from the same supplier in two organisations: two legs. HAVEN exports a local one of its own.
    second[HAVEN].good(row("2023-05-01.00102", HAVEN, HAVEN, "B", got="2023-05-04 15:00"))
    net.leg("2023-05-01.00102", HAVEN, HAVEN, "local", "2023-05-04 15:00")


def koha(net: Network) -> None:
    """The network's own export: it has both sides' authority, and rows that are no reservations."""
    extra = ("borrowernumber", "surname", "email", "title")
    private: RowOf = {"borrowernumber": READER, "surname": PERSON, "email": MAIL, "title": TITLE}

    def told(number: str, supplier: Value, pickup: Value, **more: Value) -> RowOf:
        return {**row(number, supplier, pickup, None, **more), "reason": more.get("reason", "Reserve"), **private}

    may = net.export("network", "2023-05-04", state="partly_accepted", extra=extra)
    # 0012 and 12 are two reservations.
    may.good(told("0012", ZEEDAM, DUINOORD, sent="2023-05-02 09:00", got="2023-05-03 10:00"))
    net.delivered("0012", ZEEDAM, DUINOORD, "2023-05-03 10:00")
    may.good(told("12", VEENKAMP, DUINOORD, sent="2023-05-02 09:00", got="2023-05-04 10:00"))
    net.delivered("12", VEENKAMP, DUINOORD, "2023-05-04 10:00")
    may.good(told("13", DUINOORD, TURFSTAD, sent="2023-05-02 09:00", got="2023-05-04 11:00"))
    net.delivered("13", DUINOORD, TURFSTAD, "2023-05-04 11:00")
    # A reservation number may look like a citizen service number when it is of the format's pattern.
    may.good(told(LOOKALIKE, DUINOORD, STRAND, sent="2023-05-02 09:00", got="2023-05-04 12:00"))
    net.delivered(LOOKALIKE, DUINOORD, STRAND, "2023-05-04 12:00")
    # The transfer was replaced: what stands in datearrived is no arrival.
    may.good(
        told(
            "14",
            ZEEDAM,
            DUINOORD,
            sent="2023-05-02 09:00",
            got="2023-05-03 10:00",
            comments="Canceled, new transfer from zeedam (belt mevrouw Terpstra-Oldenhof)",
        )
    )
    net.leg("14", ZEEDAM, DUINOORD, "in_transit")
    # The words further on in the comment mean nothing.
    may.good(
        told(
            "15",
            ZEEDAM,
            DUINOORD,
            sent="2023-05-02 09:00",
            got="2023-05-03 10:00",
            comments="Not Canceled, new transfer",
        )
    )
    net.delivered("15", ZEEDAM, DUINOORD, "2023-05-03 10:00")
    # Arrived and closed: closed without being collected, and delivered all the same.
    back = {"closed": "2023-05-04 10:00", "why": "8"}
    may.good(told("29", ZEEDAM, DUINOORD, sent="2023-05-02 09:00", got="2023-05-03 10:00", **back))
    net.delivered("29", ZEEDAM, DUINOORD, "2023-05-03 10:00")
    # No reservations: not even read.
    may.other(
        told("16", ZEEDAM, DUINOORD, sent="2023-05-02 09:00", got="2023-05-03 10:00", reason="Manual"),
        told("17", DUINOORD, ZEEDAM, sent="2023-05-02 09:00", got="2023-05-03 10:00", reason="ReturnToHome"),
        told("18", DUINOORD, ZEEDAM, sent="2023-05-02 09:00", got="2023-05-03 10:00", reason=""),
    )
    # A close reason of the library's own becomes empty.
    may.good(told("19", TURFSTAD, DUINOORD, sent="2023-05-02 09:00", closed="2023-05-04 09:00", why="LOST-IN-VAN"))
    net.leg("19", TURFSTAD, DUINOORD, "cancelled")
    may.good(told("20", None, DUINOORD, item=None, asked="2023-05-04 08:00"))
    net.leg("20", "", DUINOORD, "requested")
    may.good(told("21", HAVEN, DUINOORD, item=None, asked="2023-05-04 08:00"))
    net.leg("21", HAVEN, DUINOORD, "requested")
    # Equal but for the comments: not a duplicate. Equal but for the title: a duplicate.
    may.good(told("22", HAVEN, DUINOORD, sent="2023-05-03 09:00"))
    may.good(told("22", HAVEN, DUINOORD, sent="2023-05-03 09:00", comments="Asked twice"))
    may.twin({**told("22", HAVEN, DUINOORD, sent="2023-05-03 09:00"), "title": "Een ander geheim verhaal"})
    net.leg("22", HAVEN, DUINOORD, "in_transit")
    may.bad("reservation_number", told("12345678901", HAVEN, DUINOORD, sent="2023-05-03 09:00"))
    may.bad("reservation_number", told("2023-05-01.00001", HAVEN, DUINOORD, sent="2023-05-03 09:00"))
    may.bad("needed_column_empty", told("23", None, DUINOORD, sent="2023-05-03 09:00"))
    may.bad("needed_column_empty", told("24", HAVEN, DUINOORD, item="", sent="2023-05-03 09:00"))
    may.bad("unreadable_datetime", told("25", HAVEN, DUINOORD, sent=AsIs("03-05-2023 09:00"), asked="2023-05-02 09:00"))
    may.bad("unreadable_datetime", told("26", HAVEN, DUINOORD, sent=AsIs("2023-05-03"), asked="2023-05-02 09:00"))
    may.bad("unknown_branch", told("27", "106O", DUINOORD, sent="2023-05-03 09:00"))
    may.bad("personal_data", told("28", HAVEN, DUINOORD, item=OTHER_BSN, sent="2023-05-03 09:00"))

    # A later evening. Leg 14 arrives after all; 22 turns out to come from another branch.
    june = net.export("network", "2023-06-05", under="2023/juni", extra=extra)
    june.good(told("14", ZEEDAM, DUINOORD, sent="2023-05-08 09:00", got="2023-06-05 10:00"))
    net.plan.legs.pop(("DUIN", "14", "zeedam"))
    net.delivered("14", ZEEDAM, DUINOORD, "2023-06-05 10:00")
    june.good(told("22", STRAND, DUINOORD, sent="2023-06-03 09:00", got="2023-06-05 10:00"))
    net.plan.legs.pop(("DUIN", "22", "haven"))
    net.leg("22", HAVEN, DUINOORD, "superseded")
    net.delivered("22", STRAND, DUINOORD, "2023-06-05 10:00")

    broken = net.export("network", "2023-05-05", state="rejected", extra=extra)
    broken.other(told("30", ZEEDAM, DUINOORD, sent="2023-05-05 09:00", got="2023-05-05 10:00"))
    broken.other(f"# ERROR -- Lost connection while fetching {MAIL}")


# ---------------------------------------------------------------------------------------------- forms


def forms(net: Network) -> None:
    """January: one journey or two per odd form of a file."""
    sent, got = "2023-01-09 09:00", "2023-01-10 16:05"
    shuffled = [
        "changed_at",
        "status",
        "pickup_branch",
        "received_at",
        "reservation_id",
        "collected_at",
        "supplying_branch",
        "requested_at",
        "item_barcode",
        "close_reason",
        "shipped_at",
        "closed_at",
        "material_type",
    ]
    personal = ("Naam", "E-mail", "Lezernummer", "Titel")
    private: RowOf = {"Naam": PERSON, "E-mail": MAIL, "Lezernummer": READER, "Titel": TITLE}

    # Columns in another order, personal columns, é, quoted delimiters and newlines, blank, ragged and double lines.
    f = net.export(ZEEDAM, "2023-01-10", state="partly_accepted", columns=shuffled, extra=personal)
    f.good({**row("2023-01-09.00001", ZEEDAM, HAVEN, "T", sent=sent, kind="bébé"), **private, "Titel": "Café; einde"})
    net.leg("2023-01-09.00001", ZEEDAM, HAVEN, "in_transit")
    f.good({**row("2023-01-09.00002", HAVEN, ZEEDAM, "O", sent=sent, got=got), **private, "Titel": "Een\r\n\r\ndag"})
    net.delivered("2023-01-09.00002", HAVEN, ZEEDAM, got)
    f.blank()
    f.good({**row("2023-01-09.00003", TURFSTAD, ZEEDAM, "0", sent=sent, got=got), **private, "Titel": 'Zij: "ja"; hij'})
    net.delivered("2023-01-09.00003", TURFSTAD, ZEEDAM, got)
    ragged = f.text({**row("2023-01-09.00004", HAVEN, ZEEDAM, "O", sent=sent, got=got), **private})
    f.bad("row_shape", ragged.rpartition(";")[0], ragged.rpartition(";")[0])  # ragged rows are never duplicates
    f.bad("row_shape", f"{ragged}; deel 2")
    f.bad("row_shape", "2023-01-09.00005")
    f.bad("reservation_number", ";" * (len(f.columns) - 1))
    f.twin(";" * (len(f.columns) - 1))
    f.blank().blank()
    f.good({**row(" 2023-01-09.00006 ", f"{HAVEN} ", ZEEDAM, " B", sent=sent, got=got), **private})
    f.twin({**row("2023-01-09.00006", HAVEN, ZEEDAM, "B", sent=sent, got=got), "Naam": "Joost Vermeer-Dijkhof"})
    net.delivered("2023-01-09.00006", HAVEN, ZEEDAM, got)
    bad = row("2023-01-09.00007", HAVEN, ZEEDAM, "X", sent=sent, got=got)
    f.bad("unknown_status", bad).twin(bad)  # duplicates are set aside before the rules
    # A letter O and a zero are not equal as text, and one receipt all the same.
    f.good(row("2023-01-09.00008", HAVEN, ZEEDAM, "O", sent=sent, got=got))
    f.good(row("2023-01-09.00008", HAVEN, ZEEDAM, "0", sent=sent, got=got))
    net.delivered("2023-01-09.00008", HAVEN, ZEEDAM, got)
    # A quote in the middle of a field is a quote; one that opens and is never closed spoils its own line only.
    bare_quote = f.text({**row("2023-01-09.00009", HAVEN, ZEEDAM, "O", sent=sent, got=got), "Titel": "T"})
    f.good(f'{bare_quote[:-1]}Een 12" lp')
    net.delivered("2023-01-09.00009", HAVEN, ZEEDAM, got)
    open_quote = f.text({**row("2023-01-09.00010", HAVEN, ZEEDAM, "O", sent=sent, got=got), "Titel": "T"})
    f.bad("row_shape", f'{open_quote[:-1]}"Onaf')
    f.good({**row("2023-01-09.00011", HAVEN, ZEEDAM, "O", sent=sent, got=got), **private})
    net.delivered("2023-01-09.00011", HAVEN, ZEEDAM, got)
    f.ends_with_newline = False

    # A byte order mark; Windows line ends; names in UTF-8; spaces around the name of a column.
    f = net.export(TURFSTAD, "2023-01-10", extra=("patronName", "patronEmail", "title"))
    f.bom, f.newline = "\ufeff", "\r\n"
    f.header[f.columns.index("status")] = " status "
    f.good({**row("2023-01-09.00001", ZEEDAM, TURFSTAD, "O", sent=sent, got=got), "patronName": PERSON, "title": TITLE})
    net.delivered("2023-01-09.00001", ZEEDAM, TURFSTAD, got)

    # Compressed; in a folder of its own; an empty column at the end of every line.
    f = net.export(ZEEDAM, "2023-01-11", ending=".gz")
    f.good(row("2023-01-10.00001", HAVEN, ZEEDAM, "O", sent=sent, got="2023-01-11 10:00"))
    net.delivered("2023-01-10.00001", HAVEN, ZEEDAM, "2023-01-11 10:00")
    f = net.export(ZEEDAM, "2023-01-12", ending=".zip", under="2023/week 2")
    f.good(row("2023-01-10.00002", HAVEN, ZEEDAM, "O", sent=sent, got="2023-01-12 10:00"))
    net.delivered("2023-01-10.00002", HAVEN, ZEEDAM, "2023-01-12 10:00")
    f = net.export(HAVEN, "2023-01-12", ending=".zip")
    f.good(row("2023-01-10.00003", ZEEDAM, HAVEN, "O", sent=sent, got="2023-01-12 10:00"))
    net.delivered("2023-01-10.00003", ZEEDAM, HAVEN, "2023-01-12 10:00")
    f = net.export(TURFSTAD, "2023-01-12", ending=".gz")
    f.good(row("2023-01-10.00004", ZEEDAM, TURFSTAD, "O", sent=sent, got="2023-01-12 10:00"))
    net.delivered("2023-01-10.00004", ZEEDAM, TURFSTAD, "2023-01-12 10:00")
    f = net.export(ZEEDAM, "2023-01-13", extra=("",))
    f.good(row("2023-01-10.00005", TURFSTAD, ZEEDAM, "O", sent=sent, got="2023-01-13 10:00"))
    net.delivered("2023-01-10.00005", TURFSTAD, ZEEDAM, "2023-01-13 10:00")
    # The name of the zip says nothing, that of the file in it does.
    inner = Export(Planted(Path(), Path()), "-", STYLES["dnb_tsv"], "", list(ENGLISH), "")
    inner.good(row("2023-01-10.00006", ZEEDAM, TURFSTAD, "O", sent=sent, got="2023-01-13 10:00"))
    net.file(
        "turfstad/vrijdag.zip",
        zipped({"0601-reservations-2023-01-13.tsv": inner.content()}),
        "accepted",
        "2023-01-14 05:00",
    )
    net.plan.files["turfstad/vrijdag.zip"].read = net.plan.files["turfstad/vrijdag.zip"].accepted = 1
    net.delivered("2023-01-10.00006", ZEEDAM, TURFSTAD, "2023-01-13 10:00")
    # And the other way round.
    inner = Export(Planted(Path(), Path()), "-", STYLES["fmb_csv"], "", list(DUTCH), "")
    inner.good(row("2023-01-10.00008", HAVEN, ZEEDAM, "O", sent=sent, got="2023-01-17 10:00"))
    zipped_by_hand = "zeedam/reserveringen_0060_20230117.csv.zip"
    net.file(zipped_by_hand, zipped({"export.csv": inner.content()}), "accepted", "2023-01-18 05:00")
    net.plan.files[zipped_by_hand].read = net.plan.files[zipped_by_hand].accepted = 1
    net.delivered("2023-01-10.00008", HAVEN, ZEEDAM, "2023-01-17 10:00")

    # Columns that may be absent; nothing but a header.
    few = [c for c in DUTCH if c not in ("material_type", "close_reason", "collected_at", "closed_at")]
    f = net.export(ZEEDAM, "2023-01-16", columns=few)
    f.good(row("2023-01-10.00007", HAVEN, ZEEDAM, "O", sent=sent, got="2023-01-16 10:00"))
    net.delivered("2023-01-10.00007", HAVEN, ZEEDAM, "2023-01-16 10:00")
    net.export(TURFSTAD, "2023-01-16")

    refused_files(net)
    workbooks(net)


def refused_files(net: Network) -> None:
    """February: files that cannot be used. What they hold would each time be one delivery more."""
    private: RowOf = {"Naam": PERSON, "E-mail": MAIL, "Lezernummer": READER, "Titel": TITLE}

    def told(number: str, pickup: str = ZEEDAM) -> RowOf:
        supplier = TURFSTAD if pickup == ZEEDAM else ZEEDAM
        return {**row(number, supplier, pickup, "O", sent="2023-02-01 09:00", got="2023-02-02 09:00"), **private}

    serial = itertools.count(1)  # no two of them have the same bytes: they would be skipped

    def refused(code: str, day: str, **more: str | Sequence[str]) -> Export:
        export = net.export(code, day, state="rejected", **more)  # type: ignore[arg-type]
        return export.other(told(f"2023-02-01.{next(serial):05d}", TURFSTAD if code == TURFSTAD else ZEEDAM))

    refused(ZEEDAM, "2023-02-01", columns=[c for c in DUTCH if c != "received_at"], extra=tuple(private))
    refused(ZEEDAM, "2023-02-02", extra=("Status",))  # the same header twice
    refused(ZEEDAM, "2023-02-03").header[5] = "status"  # headers are compared exactly
    refused(ZEEDAM, "2023-02-06").encoding = "utf-16"
    refused(TURFSTAD, "2023-02-06").encoding = "utf-16"
    f = refused(TURFSTAD, "2023-02-07", extra=("patronName",))
    f.other({**told("2023-02-01.00801", TURFSTAD), "patronName": PERSON})
    f.encoding = "latin-1"
    # No header at all: the first reader is taken for the names of the columns. A file without rows never names them.
    f = refused(ZEEDAM, "2023-02-08", extra=tuple(private))
    f.header = [str(cell or "") for cell in f.lines[0]]
    # The name is another branch's, of another format, no date, a copy, or nothing known.
    refused(STRAND, "2023-02-09", branch="zeedam")
    refused(HAVEN, "2023-02-09", branch="zeedam")
    refused(ZEEDAM, "2023-02-09", branch="strand")
    refused(HAVEN, "2023-02-09", branch="haven", name="reserveringen 0060 2023-02-09.xlsx")
    refused(TURFSTAD, "2023-02-09", name="1060-reservations-2023-02-09.tsv")
    refused(TURFSTAD, "2023-02-09", name="60-reservations-2023-02-09.tsv")
    refused(TURFSTAD, "2023-02-09", name="reserveringen_0601_20230209.csv")
    refused(ZEEDAM, "2023-02-09", name="reserveringen_60_20230209.csv", ending=".gz")
    refused(ZEEDAM, "2023-02-09", name="reserveringen_0060_20230230.csv")
    refused(ZEEDAM, "2023-02-09", name="reserveringen_0060_20230209 (2).csv")
    refused(ZEEDAM, "2023-02-09", name="reserveringen_0060_20230209.csv.bak")
    refused(ZEEDAM, "2023-02-09", branch="network")
    refused("network", "2023-02-09", branch="zeedam")
    refused(ZEEDAM, "2023-02-09", branch="zeedam-oud")  # no such folder in the register

    at = "2023-02-10 05:00"
    g = Export(Planted(Path(), Path()), "-", STYLES["fmb_csv"], "", [*DUTCH, "Titel"], "")
    sound = g.good({**told("2023-02-01.00901"), "Titel": "Een XX dag"}).content()
    net.file("zeedam/reserveringen_0060_20230210.csv", b"", "rejected", at)
    net.file("los.csv", sound, "rejected", at)
    net.file("zeedam/LEESMIJ.txt", f"Groeten van {PERSON}".encode(), "rejected", at)
    net.file("zeedam/.DS_Store", b"\x00\x01", "", at)
    net.file("haven/~$reserveringen 60 2023-02-10.xlsx", b"\x05Beheer", "", at)
    net.file("haven/reserveringen 60 2023-02-10.xlsx", sound, "rejected", at)
    net.file("zeedam/reserveringen_0060_20230213.csv.gz", gzip.compress(sound, mtime=0)[:-40], "rejected", at)
    net.file("zeedam/reserveringen_0060_20230214.csv.gz", sound[:-1], "rejected", at)
    net.file("zeedam/reserveringen_0060_20230215.csv.zip", sound[:-2], "rejected", at)
    two = {"reserveringen_0060_20230216.csv": sound, "reserveringen_0060_20230217.csv": sound}
    net.file("zeedam/reserveringen_0060_20230216.csv.zip", zipped(two), "rejected", at)
    # One byte that cp1252 does not know, in a column that is dropped anyway.
    net.file("zeedam/reserveringen_0060_20230220.csv", sound.replace(b"XX", b"\x81"), "rejected", at)


def workbooks(net: Network) -> None:
    """March, Haven: what people do in Excel."""
    columns = ["Naam", *reversed(DUTCH), "Geboortedatum"]
    f = net.export(HAVEN, "2023-03-10", state="partly_accepted", columns=columns)

    def told(number: str, supplier: Value, status: Value = "O", **more: Value) -> RowOf:
        more = {"sent": "2023-03-09 09:00", "got": "2023-03-10 11:30", **more}
        told = row(number, supplier, more.pop("pickup", HAVEN), status, **more)
        return {**told, "Naam": PERSON, "Geboortedatum": date(1961, 3, 14)}

    # Codes, barcodes, statuses and reasons as numbers.
    f.good(told("2023-03-09.00001", ZEEDAM, pickup=60, item=21234567890123))
    net.delivered("2023-03-09.00001", ZEEDAM, HAVEN, "2023-03-10 11:30")
    f.good(told("2023-03-09.00002", 7, item=31000002.0))
    net.delivered("2023-03-09.00002", VEENKAMP, HAVEN, "2023-03-10 11:30")
    f.good(told("2023-03-09.00003", STRAND, 0))
    net.delivered("2023-03-09.00003", STRAND, HAVEN, "2023-03-10 11:30")
    f.good(told("2023-03-09.00004", ZEEDAM, "Z", closed="2023-03-10 17:00", why=8))
    net.delivered("2023-03-09.00004", ZEEDAM, HAVEN, "2023-03-10 11:30")
    f.bad("unknown_branch", told("2023-03-09.00005", 601))  # the number that is left of 0601 is nobody's code
    # What is left of 0060 is Haven's own code: a local leg.
    f.good(told("2023-03-09.00006", 60))
    net.leg("2023-03-09.00006", HAVEN, HAVEN, "local", "2023-03-10 11:30")
    f.blank()
    # Dates without a time, dates as text, and numbers that are no dates.
    f.good(told("2023-03-09.00007", ZEEDAM, sent=date(2023, 3, 9), got=date(2023, 3, 10), asked="2023-03-08 10:00"))
    net.delivered("2023-03-09.00007", ZEEDAM, HAVEN, "2023-03-10 00:00")
    f.good(told("2023-03-09.00008", TURFSTAD, got=AsIs("10-03-2023 11:45"), changed=AsIs("10-03-2023 11:45")))
    net.delivered("2023-03-09.00008", TURFSTAD, HAVEN, "2023-03-10 11:45")
    f.bad("unreadable_datetime", told("2023-03-09.00009", TURFSTAD, got=AsIs("2023-03-10 11:45")))
    f.bad("unreadable_datetime", told("2023-03-09.00010", TURFSTAD, got=AsIs("gisteren")))
    f.bad("unreadable_datetime", told("2023-03-09.00011", TURFSTAD, got=45050.5))
    # A barcode as a number and as text is the same barcode.
    f.good(told("2023-03-09.00012", ZEEDAM, item=31000777))
    f.twin(told("2023-03-09.00012", ZEEDAM, item="31000777"))
    net.delivered("2023-03-09.00012", ZEEDAM, HAVEN, "2023-03-10 11:30")
    f.bad("personal_data", told("2023-03-09.00013", ZEEDAM, item=int(BSN)))
    f.good(told("2023-03-09.00014", ZEEDAM, item=int(NO_BSN)))
    net.delivered("2023-03-09.00014", ZEEDAM, HAVEN, "2023-03-10 11:30")
    # Leading zeros that stand there as text.
    f.good(told("2023-03-09.00015", ZEEDAM, item="00031000015", pickup="60"))
    net.delivered("2023-03-09.00015", ZEEDAM, HAVEN, "2023-03-10 11:30")


# ---------------------------------------------------------------------------------------------- row rules


def row_rules(net: Network) -> None:
    """June: every rule on both sides of its boundary. Zeedam exports on the 14th."""
    sent, got = "2023-06-13 09:00", "2023-06-14 10:00"
    f = net.export(ZEEDAM, "2023-06-14", state="partly_accepted")

    def told(serial: int | str, supplier: Value = TURFSTAD, status: Value = "O", **more: Value) -> RowOf:
        number = f"2023-06-12.{serial:05d}" if isinstance(serial, int) else serial
        more = {"sent": sent, "got": got, **more}
        return row(number, supplier, more.pop("pickup", ZEEDAM), status, **more)

    def fine(serial: int | str, at: str, **more: Value) -> None:
        one = told(serial, got=at, **more)
        f.good(one)
        net.delivered(str(one["reservation_id"]), TURFSTAD, ZEEDAM, at)

    for wrong in (
        "",
        "2023-06-12.1234",
        "2023-06-12.1234567",
        "x2023-06-12.12345",
        "2023-06-12.12345x",
        "20230612.12345",
    ):
        f.bad("reservation_number", told(wrong))
    fine("2023-06-12.123456", got)
    fine("2023-06-12.00012", got)

    f.bad("unknown_status", told(20, status="X"), told(21, status="o"), told(22, status="00"), told(23, status="OB"))
    f.bad("unknown_close_reason", told(24, why="2"), told(25, why="3"), told(26, why="10"), told(27, why="00"))
    for serial, reason in enumerate(("0", "1", "4", "5", "6", "7", "8", "9"), start=30):
        fine(serial, got, status="Z", closed="2023-06-14 17:00", why=reason)

    for serial, wrong in enumerate(
        ("14-6-2023 10:00", "14-06-23 10:00", "2023-06-14 10:00", "31-06-2023 10:00", "14-06-2023", "14-06-2023 24:00"),
        start=40,
    ):
        f.bad("unreadable_datetime", told(serial, got=AsIs(wrong)))
    f.bad("unreadable_datetime", told(46, asked=AsIs("morgen")), told(47, sent=AsIs("14/06/2023 10:00")))
    f.bad("unreadable_datetime", told(48, lent=AsIs("14-06-2023 10:00:00")), told(49, closed=AsIs("?")))
    f.bad("unreadable_datetime", told(50, changed=AsIs("14.06.2023 10:00")))
    f.bad("unreadable_datetime", told(51, got=AsIs("Bartholomeus Kwakkelstein")))

    f.bad("needed_column_empty", told(60, asked=""), told(61, changed=""), told(62, pickup=""))
    f.bad("needed_column_empty", told(63, item=""), told(64, supplier=""))
    f.bad("needed_column_empty", told(65, status="T", sent="", got="", asked=sent, item=""))
    f.bad("needed_column_empty", told(66, status="A", got="", item=""), told(67, status="Z", got="", item=""))
    for serial, status in enumerate(("O", "0", "B", "U"), start=68):
        f.bad("receipt_date_missing", told(serial, status=status, got=""))
    # The supplier may tell those without a receipt; and the way back needs none; nor does an item that was not sent.
    f.good(told(72, supplier=ZEEDAM, pickup=TURFSTAD, status="B", got=""))
    net.leg("2023-06-12.00072", ZEEDAM, TURFSTAD, "in_transit")
    f.good(told(73, status="R", got=""))
    net.leg("2023-06-12.00073", TURFSTAD, ZEEDAM, "in_transit")
    f.good(told(74, status="A", sent="", got="", asked=sent, item=""))
    net.leg("2023-06-12.00074", TURFSTAD, ZEEDAM, "requested")

    # Too early, too late: the receipt before 2000, anything more than a day after the export.
    f.bad("receipt_before_2000", told(80, asked="1999-12-30 10:00", sent="1999-12-31 09:00", got="1999-12-31 23:59"))
    fine(81, "2000-01-01 00:00", asked="1999-12-30 10:00", sent="1999-12-31 09:00")
    fine(82, "2023-06-15 23:59")
    f.bad("after_export_date", told(83, got="2023-06-16 00:00"))
    fine(84, got, sent="2023-06-15 23:59")
    f.bad("after_export_date", told(85, sent="2023-06-16 00:00"))
    fine(86, got, asked="2023-06-15 23:59")
    f.bad("after_export_date", told(87, asked="2023-06-16 00:00"))
    fine(88, got, lent="2023-06-30 10:00", closed="2023-07-30 10:00", changed="2023-07-30 10:00")

    # Only a warning: dates in an odd order.
    fine(90, got, sent="2023-06-14 11:00")
    fine(91, got, asked="2023-06-13 12:00")
    fine(92, got, lent="2023-06-13 12:00")
    fine(93, got, sent="2023-01-02 09:00")  # a journey of more than 90 days

    # Codes that resemble one.
    for serial, code in enumerate(("601", "00601", "06010", "6", "006", "70", "107", "O60", "0601 0060"), start=100):
        f.bad("unknown_branch", told(serial, supplier=code))
    f.bad("unknown_branch", told(109, pickup="00060", supplier=ZEEDAM), told(110, pickup="zeedam"))
    f.bad(
        "exporter_not_involved", told(111, supplier=STRAND, pickup=HAVEN), told(112, supplier=TURFSTAD, pickup=DUINOORD)
    )
    f.bad("exporter_not_involved", told(113, supplier="", pickup=HAVEN, status="A", sent="", got="", asked=sent))

    # The first that applies names the row.
    f.bad("personal_data", told("kees@postbus.example", status="X"))
    f.bad("reservation_number", told("", status="X"))
    f.bad("unknown_status", told(120, status="X", why="2"))
    f.bad("unknown_close_reason", told(121, why="2", got=AsIs("?")))
    f.bad("unreadable_datetime", told(122, got=AsIs("?"), item=""))
    f.bad("needed_column_empty", told(123, got="1999-12-31 23:59", item=""))
    f.bad("receipt_before_2000", told(124, got="1999-12-31 23:59", sent="2023-06-16 00:00"))
    f.bad("after_export_date", told(125, got="2023-06-16 00:00", supplier="nergens"))
    f.bad("unknown_branch", told(126, supplier="nergens", pickup=HAVEN))
    f.bad("exporter_not_involved", told(127, supplier=STRAND, pickup=HAVEN, got="2023-02-01 10:00"))

    personal_data(net)
    open_and_closed(net)


def personal_data(net: Network) -> None:
    """July: personal data in columns that are taken in."""
    sent, got = "2023-07-10 09:00", "2023-07-11 10:00"
    f = net.export(ZEEDAM, "2023-07-11", state="partly_accepted")

    def told(serial: int | str, **more: Value) -> RowOf:
        number = f"2023-07-09.{serial:05d}" if isinstance(serial, int) else serial
        more = {"sent": sent, "got": got, "supplier": TURFSTAD, "pickup": ZEEDAM, "status": "O", **more}
        return row(number, **more)

    f.bad(
        "personal_data", told(1, item="sanne.kroon@postbus.example"), told(2, kind="Bel M.Prins@postbus.example even")
    )
    f.bad("personal_data", told(3, supplier="t.a.v.bas@postbus.example"), told(4, pickup="iet@postbus.example"))
    f.bad("personal_data", told(5, status="jo@postbus.example"), told(6, why="ria@postbus.example"))
    f.bad("personal_data", told("bep@postbus.example"), told(THIRD_BSN))
    f.bad("personal_data", told(7, item=BSN), told(8, item=f"NL-{OTHER_BSN}"), told(9, kind=f"{THIRD_BSN}."))
    # Nine digits that fail the test, nine zeros, or digits in a longer run are no such number.
    for serial, item in enumerate((NO_BSN, "000000000", f"{LOOKALIKE}0", f"0{LOOKALIKE}", "21234567890123"), start=10):
        f.good(told(serial, item=item))
        net.delivered(f"2023-07-09.{serial:05d}", TURFSTAD, ZEEDAM, got)
    # Names where other things are expected: held for another reason, and not shown.
    f.bad("unknown_status", told(20, status="Pietronella Haverkort"))
    f.bad("unknown_close_reason", told(21, why="overleden: Ottoline Biemond"))
    f.bad("reservation_number", told("Gijsbrecht Wolfswinkel"))
    f.bad("unknown_branch", told(22, supplier="bij Adelheid Scharrelaar"))
    # The column test is on the text columns; in a date column the value cannot be read, and is not shown either.
    f.bad("unreadable_datetime", told(23, got=AsIs(OTHER_BSN)), told(24, got=AsIs("ko@postbus.example")))
    ragged = f.text(told(25, item="Eleonora Boterbloem"))
    f.bad("row_shape", f"{ragged};lies@postbus.example", f'{ragged[:-1]};"dirk@postbus.example')

    g = net.export(TURFSTAD, "2023-07-11", state="partly_accepted")
    g.bad("personal_data", told(30, supplier=ZEEDAM, pickup=TURFSTAD, kind="henk@postbus.example"))
    g.good(told(31, supplier=ZEEDAM, pickup=TURFSTAD))
    net.delivered("2023-07-09.00031", ZEEDAM, TURFSTAD, got)


def open_and_closed(net: Network) -> None:
    """Strand is open from 1 March up to and including 31 August; Veenkamp is closed on 1 and 2 July only."""

    def strand(
        day: str, serial: int, at: str, is_open: bool, f: Export, supplier: str = HAVEN, pickup: str = STRAND
    ) -> None:
        number = f"{day}.{serial:05d}"
        one = row(number, supplier, pickup, "O", asked="2023-02-20 10:00", sent="2023-02-21 10:00", got=at)
        if is_open:
            f.good(one)
            net.delivered(number, supplier, pickup, at)
        else:
            f.bad("branch_not_open", one)

    march = net.export(STRAND, "2023-03-01", state="partly_accepted")
    strand("2023-02-28", 1, "2023-02-28 23:59", False, march)
    strand("2023-02-28", 2, "2023-03-01 00:00", True, march)
    # Not open, and nothing received either: no reason to hold the row.
    march.good(row("2023-02-28.00003", ZEEDAM, STRAND, "T", sent="2023-02-27 10:00"))
    net.leg("2023-02-28.00003", ZEEDAM, STRAND, "in_transit")

    september = net.export(STRAND, "2023-09-01", state="partly_accepted")
    strand("2023-08-30", 1, "2023-08-31 23:59", True, september)
    strand("2023-08-30", 2, "2023-09-01 00:00", False, september)
    # As a supplier it must be open too; the rule is the same for the branch that tells it.
    zeedam = net.export(ZEEDAM, "2023-09-01", state="partly_accepted")
    strand("2023-08-30", 3, "2023-08-31 20:00", True, zeedam, STRAND, ZEEDAM)
    strand("2023-08-30", 4, "2023-09-01 10:00", False, zeedam, STRAND, ZEEDAM)
    strand("2023-08-30", 5, "2023-09-01 10:00", False, zeedam, ZEEDAM, STRAND)

    # Veenkamp: last day under the old code, two days shut, first day under the new one.
    june = net.export(VEENKAMP, "2023-06-30", state="partly_accepted")
    strand("2023-06-29", 1, "2023-06-30 17:00", True, june, TURFSTAD, VEENKAMP)
    strand("2023-06-29", 2, "2023-07-01 10:00", False, june, TURFSTAD, VEENKAMP)
    july = net.export(VEENKAMP_NEW, "2023-07-03", state="partly_accepted")
    strand("2023-06-29", 3, "2023-07-02 23:59", False, july, TURFSTAD, VEENKAMP_NEW)
    strand("2023-06-29", 4, "2023-07-03 00:00", True, july, TURFSTAD, VEENKAMP_NEW)
    # A journey that began under the old code and ended under the new one; the supplier knows the old code only.
    turfstad = net.export(TURFSTAD, "2023-06-30")
    turfstad.good(row("2023-06-29.00005", TURFSTAD, VEENKAMP, "T", sent="2023-06-30 09:00"))
    july.good(row("2023-06-29.00005", TURFSTAD, VEENKAMP_NEW, "O", sent="2023-06-30 09:00", got="2023-07-03 11:00"))
    net.delivered("2023-06-29.00005", TURFSTAD, VEENKAMP_NEW, "2023-07-03 11:00")
    # Supplied under the old code, received when the new one was in use.
    july.good(row("2023-06-29.00006", VEENKAMP, TURFSTAD, "T", sent="2023-06-30 09:00"))
    later = net.export(TURFSTAD, "2023-07-04")
    later.good(row("2023-06-29.00006", VEENKAMP_NEW, TURFSTAD, "O", sent="2023-06-30 09:00", got="2023-07-04 11:00"))
    net.delivered("2023-06-29.00006", VEENKAMP, TURFSTAD, "2023-07-04 11:00")
    # 106 is not 1060.
    later.good(row("2023-06-29.00007", DUINOORD, TURFSTAD, "O", sent="2023-07-03 09:00", got="2023-07-04 11:00"))
    net.delivered("2023-06-29.00007", DUINOORD, TURFSTAD, "2023-07-04 11:00")


# ---------------------------------------------------------------------------------------------- the calendar


def calendar(net: Network) -> None:
    """Ends of months and of the year, and the two nights on which the clock changes."""

    serial = itertools.count(901)

    def received(code: str, day: str, *moments: str, supplier: str) -> None:
        f = net.export(code, day)
        for at in moments:
            number = f"{day}.{next(serial):05d}"
            sent = f"{moment(at) - timedelta(days=2):%Y-%m-%d} 09:00"
            f.good(row(number, supplier, code, "O", sent=sent, got=at))
            net.delivered(number, supplier, code, at)

    received(TURFSTAD, "2022-12-31", "2022-12-31 23:30", "2022-12-31 23:59:59", supplier=ZEEDAM)
    received(TURFSTAD, "2023-01-02", "2023-01-01 00:00", "2023-01-01 00:10", supplier=ZEEDAM)
    received(ZEEDAM, "2023-01-31", "2023-01-31 23:59", "2023-02-01 00:00", supplier=HAVEN)
    received(ZEEDAM, "2023-02-28", "2023-02-28 23:59", "2023-03-01 00:59", supplier=HAVEN)
    received(ZEEDAM, "2023-04-30", "2023-04-30 22:30", "2023-04-30 23:59", "2023-05-01 01:30", supplier=TURFSTAD)
    received(TURFSTAD, "2023-10-31", "2023-10-31 23:30", "2023-11-01 00:30", supplier=HAVEN)
    received(ZEEDAM, "2023-12-31", "2023-12-31 23:30", "2024-01-01 00:10", supplier=TURFSTAD)
    received(TURFSTAD, "2024-01-02", "2023-12-31 23:30", "2024-01-01 00:10", supplier=ZEEDAM)
    # 26 March: 02:30 did not exist. 29 October: 02:30 came twice.
    received(ZEEDAM, "2023-03-26", "2023-03-26 01:59", "2023-03-26 02:30", "2023-03-26 03:00", supplier=TURFSTAD)
    received(TURFSTAD, "2023-03-26", "2023-03-26 00:10", "2023-03-26 02:00", supplier=ZEEDAM)
    received(ZEEDAM, "2023-10-29", "2023-10-29 00:30", "2023-10-29 02:30", "2023-10-29 03:00", supplier=TURFSTAD)
    received(HAVEN, "2023-10-29", "2023-10-29 02:00", "2023-10-29 23:30", supplier=TURFSTAD)
    # 02:30 was 03:30, so the row that was changed at 03:10 is the older one: the receipt was undone.
    f = net.export(HAVEN, "2023-03-26")
    sent = "2023-03-24 09:00"
    f.good(row("2023-03-24.00001", ZEEDAM, HAVEN, "T", sent=sent, changed="2023-03-26 02:30"))
    f.good(row("2023-03-24.00001", ZEEDAM, HAVEN, "O", sent=sent, got="2023-03-26 01:10", changed="2023-03-26 03:10"))
    net.leg("2023-03-24.00001", ZEEDAM, HAVEN, "in_transit")


# ---------------------------------------------------------------------------------------------- deliveries of files


def again_and_corrected(net: Network) -> list[tuple[str, str, str]]:
    """September: files that come twice, corrected, late, or with an equal word about the same leg."""
    # First delivered with a wrong receipt and a bad row; the correction knows neither.
    first = net.export(ZEEDAM, "2023-09-05", state="superseded", arrives="2023-09-06 05:00")
    right = row("2023-09-04.00001", HAVEN, ZEEDAM, "O", sent="2023-09-04 09:00", got="2023-09-05 10:00")
    wrong = row("2023-09-04.00002", HAVEN, ZEEDAM, "O", sent="2023-09-04 09:00", got="2023-09-05 10:00")
    first.good(right, wrong).twin(wrong)
    first.bad("unknown_status", row("2023-09-04.00003", HAVEN, ZEEDAM, "?", sent="2023-09-04 09:00"))
    second = net.export(ZEEDAM, "2023-09-05", arrives="2023-09-07 05:00", under="correctie")
    second.good(right)
    net.delivered("2023-09-04.00001", HAVEN, ZEEDAM, "2023-09-05 10:00")
    # A third attempt that cannot be read supersedes nothing.
    third = net.export(
        ZEEDAM,
        "2023-09-05",
        state="rejected",
        arrives="2023-09-08 05:00",
        under="poging 3",
        columns=[c for c in DUTCH if c != "status"],
    )
    third.other(wrong)

    # The same content compressed is another file: it supersedes, and nothing is counted twice.
    plain = net.export(TURFSTAD, "2023-09-05", state="superseded", arrives="2023-09-06 05:00")
    packed = net.export(TURFSTAD, "2023-09-05", arrives="2023-09-06 06:00", ending=".gz")
    told = row("2023-09-04.00004", ZEEDAM, TURFSTAD, "O", sent="2023-09-04 09:00", got="2023-09-05 10:00")
    plain.good(told)
    packed.good(told)
    net.delivered("2023-09-04.00004", ZEEDAM, TURFSTAD, "2023-09-05 10:00")
    # Arrived in the same second: the path decides.
    a = net.export(TURFSTAD, "2023-09-06", state="superseded", arrives="2023-09-07 05:00", under="b1")
    b = net.export(TURFSTAD, "2023-09-06", arrives="2023-09-07 05:00", under="b2")
    a.good(row("2023-09-05.00001", ZEEDAM, TURFSTAD, "O", sent="2023-09-04 09:00", got="2023-09-06 10:00"))
    b.good(row("2023-09-05.00001", ZEEDAM, TURFSTAD, "T", sent="2023-09-04 09:00"))
    net.leg("2023-09-05.00001", ZEEDAM, TURFSTAD, "in_transit")

    # A late file: what it tells is older than what is known, however late it comes.
    late = net.export(HAVEN, "2023-09-05", arrives="2023-12-20 05:00")
    late.good(row("2023-09-04.00005", ZEEDAM, HAVEN, "T", sent="2023-09-04 09:00"))
    on_time = net.export(HAVEN, "2023-09-06")
    on_time.good(row("2023-09-04.00005", ZEEDAM, HAVEN, "O", sent="2023-09-04 09:00", got="2023-09-06 10:00"))
    net.delivered("2023-09-04.00005", ZEEDAM, HAVEN, "2023-09-06 10:00")
    # Equally new: the later export wins, although its file came earlier; in one file the later row.
    same = {"sent": "2023-09-04 09:00", "changed": "2023-09-05 12:00"}
    late.good(row("2023-09-04.00006", ZEEDAM, HAVEN, "O", got="2023-09-05 10:00", **same))
    on_time.good(row("2023-09-04.00006", ZEEDAM, HAVEN, "T", **same))
    net.leg("2023-09-04.00006", ZEEDAM, HAVEN, "in_transit")
    on_time.good(row("2023-09-04.00007", ZEEDAM, HAVEN, "T", **same))
    on_time.good(row("2023-09-04.00007", ZEEDAM, HAVEN, "O", got="2023-09-05 10:00", **same))
    net.delivered("2023-09-04.00007", ZEEDAM, HAVEN, "2023-09-05 10:00")
    on_time.good(row("2023-09-04.00008", ZEEDAM, HAVEN, "O", got="2023-09-05 10:00", **same))
    on_time.good(row("2023-09-04.00008", ZEEDAM, HAVEN, "T", **same))
    net.leg("2023-09-04.00008", ZEEDAM, HAVEN, "in_transit")
    # Veenkamp exported one evening in both formats: neither supersedes the other, the later arrival has the last word.
    old = net.export(VEENKAMP, "2023-09-05", arrives="2023-09-06 07:00")
    new = net.export(VEENKAMP_NEW, "2023-09-05", arrives="2023-09-06 05:00")
    old.good(row("2023-09-04.00009", ZEEDAM, VEENKAMP_NEW, "O", got="2023-09-05 10:00", **same))
    new.blank().good(row("2023-09-04.00009", ZEEDAM, VEENKAMP_NEW, "T", **same))
    net.delivered("2023-09-04.00009", ZEEDAM, VEENKAMP_NEW, "2023-09-05 10:00")
    # A past month does not shrink: Zeedam's later exports no longer hold what was delivered before.
    gone = net.export(ZEEDAM, "2023-09-11")
    gone.good(row("2023-09-10.00001", HAVEN, ZEEDAM, "A", asked="2023-09-11 10:00", item=""))
    net.leg("2023-09-10.00001", HAVEN, ZEEDAM, "requested")

    # The same bytes again: under the same name, as the evening after, and of files that were refused or superseded.
    return [
        (first.path, "zeedam/nog eens/reserveringen_0060_20230905.csv", "2023-09-09 05:00"),
        (gone.path, "zeedam/reserveringen_0060_20230912.csv", "2023-09-13 05:00"),
        (third.path, "zeedam/poging 4/reserveringen_0060_20230905.csv", "2023-09-10 05:00"),
        (on_time.path, "haven/kopie/reserveringen 60 2023-09-06.xlsx", "2023-09-13 05:00"),
        ("network/transfers_2023-05-05.csv", "network/nog eens/transfers_2023-05-05.csv", "2023-05-08 05:00"),
    ]


# ---------------------------------------------------------------------------------------------- states of legs


def states(net: Network) -> None:
    """November: every state a leg can end in, and the roads to it."""
    z1, z2, z3 = (net.export(ZEEDAM, f"2023-11-{day}") for day in ("14", "15", "30"))
    h1, h2, h3 = (net.export(HAVEN, f"2023-11-{day}") for day in ("14", "15", "30"))
    t1, t2, t3 = (net.export(TURFSTAD, f"2023-11-{day}") for day in ("14", "15", "30"))
    k1 = net.export(VEENKAMP_NEW, "2023-11-14")
    asked, sent, got = "2023-11-13 10:00", "2023-11-14 09:00", "2023-11-15 10:00"

    def n(serial: int) -> str:
        return f"2023-11-13.{serial:05d}"

    # Requested: nothing sent, whoever tells it; the supplier is the authority for the sending.
    z1.good(row(n(1), TURFSTAD, ZEEDAM, "A", asked=asked, item=""))
    net.leg(n(1), TURFSTAD, ZEEDAM, "requested")
    t1.good(row(n(2), TURFSTAD, ZEEDAM, "A", asked=asked, item=""))
    z1.good(row(n(2), TURFSTAD, ZEEDAM, "T", sent=sent))
    net.leg(n(2), TURFSTAD, ZEEDAM, "requested")
    # In transit: told by the supplier, by the pick-up branch alone, by a date without the status.
    t1.good(row(n(3), TURFSTAD, ZEEDAM, "T", sent=sent))
    net.leg(n(3), TURFSTAD, ZEEDAM, "in_transit")
    z1.good(row(n(4), TURFSTAD, ZEEDAM, "T", sent=sent))
    net.leg(n(4), TURFSTAD, ZEEDAM, "in_transit")
    t1.good(row(n(5), TURFSTAD, ZEEDAM, "A", sent=sent))
    net.leg(n(5), TURFSTAD, ZEEDAM, "in_transit")
    t1.good(row(n(6), TURFSTAD, ZEEDAM, "T", asked=asked))
    z1.good(row(n(6), TURFSTAD, ZEEDAM, "A", asked=asked, item=""))
    net.leg(n(6), TURFSTAD, ZEEDAM, "in_transit")
    # Delivered: with both sides, unannounced, and against a supplier who knows of no sending.
    z2.good(row(n(10), TURFSTAD, ZEEDAM, "O", got=got))
    net.delivered(n(10), TURFSTAD, ZEEDAM, got)
    t1.good(row(n(11), TURFSTAD, ZEEDAM, "A", asked=asked, item=""))
    z2.good(row(n(11), TURFSTAD, ZEEDAM, "B", got=got))
    net.delivered(n(11), TURFSTAD, ZEEDAM, got)
    # Delivered stays delivered: not collected, on its way back, deleted, the supplier closing it.
    z3.good(row(n(12), TURFSTAD, ZEEDAM, "Z", sent=sent, got=got, closed="2023-11-29 10:00", why="8"))
    net.delivered(n(12), TURFSTAD, ZEEDAM, got)
    z3.good(row(n(13), TURFSTAD, ZEEDAM, "R", sent=sent, got=got))
    net.delivered(n(13), TURFSTAD, ZEEDAM, got)
    z3.good(row(n(14), TURFSTAD, ZEEDAM, "Z", sent=sent, got=got, closed="2023-11-29 10:00", why="6"))
    net.delivered(n(14), TURFSTAD, ZEEDAM, got)
    z2.good(row(n(15), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    t3.good(row(n(15), TURFSTAD, ZEEDAM, "Z", sent=sent, closed="2023-11-29 10:00", why="9"))
    net.delivered(n(15), TURFSTAD, ZEEDAM, got)
    # Received on another day than the supplier thinks: the pick-up branch says when.
    t3.good(row(n(16), TURFSTAD, ZEEDAM, "O", sent=sent, got="2023-11-14 10:00", changed="2023-11-30 10:00"))
    z3.good(row(n(16), TURFSTAD, ZEEDAM, "O", sent=sent, got="2023-12-01 00:10", changed="2023-11-30 09:00"))
    net.delivered(n(16), TURFSTAD, ZEEDAM, "2023-12-01 00:10")
    # Unconfirmed: a receipt that only the supplier tells, the pick-up branch silent, or still waiting.
    t2.good(row(n(20), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    net.leg(n(20), TURFSTAD, ZEEDAM, "unconfirmed")
    t2.good(row(n(21), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    z3.good(row(n(21), TURFSTAD, ZEEDAM, "T", sent=sent, changed="2023-11-29 10:00"))
    net.leg(n(21), TURFSTAD, ZEEDAM, "unconfirmed")
    t2.good(row(n(22), TURFSTAD, ZEEDAM, "Z", sent=sent, got=got, closed="2023-11-15 12:00", why="1"))
    net.leg(n(22), TURFSTAD, ZEEDAM, "unconfirmed")
    # Undone, and received again.
    z1.good(row(n(25), HAVEN, ZEEDAM, "O", sent="2023-11-13 09:00", got="2023-11-14 10:00"))
    z2.good(row(n(25), HAVEN, ZEEDAM, "T", sent="2023-11-13 09:00", changed="2023-11-15 09:00"))
    net.leg(n(25), HAVEN, ZEEDAM, "in_transit")
    z1.good(row(n(26), HAVEN, ZEEDAM, "O", sent="2023-11-13 09:00", got="2023-11-14 10:00"))
    z2.good(row(n(26), HAVEN, ZEEDAM, "T", sent="2023-11-13 09:00", changed="2023-11-15 09:00"))
    z3.good(row(n(26), HAVEN, ZEEDAM, "O", sent="2023-11-13 09:00", got="2023-11-30 10:00"))
    net.delivered(n(26), HAVEN, ZEEDAM, "2023-11-30 10:00")
    z1.good(row(n(27), HAVEN, ZEEDAM, "O", sent="2023-11-13 09:00", got="2023-11-14 10:00"))
    h1.good(row(n(27), HAVEN, ZEEDAM, "O", sent="2023-11-13 09:00", got="2023-11-14 10:00"))
    z2.good(row(n(27), HAVEN, ZEEDAM, "T", sent="2023-11-13 09:00", changed="2023-11-15 09:00"))
    net.leg(n(27), HAVEN, ZEEDAM, "unconfirmed")
    # Cancelled: before the sending, after it, by the pick-up branch against the supplier, by the supplier alone.
    z1.good(row(n(30), HAVEN, ZEEDAM, "Z", asked=asked, closed="2023-11-14 10:00", why="5", item=""))
    net.leg(n(30), HAVEN, ZEEDAM, "cancelled")
    z2.good(row(n(31), HAVEN, ZEEDAM, "Z", sent=sent, closed="2023-11-15 10:00", why="9"))
    net.leg(n(31), HAVEN, ZEEDAM, "cancelled")
    h1.good(row(n(32), HAVEN, ZEEDAM, "T", sent=sent))
    z2.good(row(n(32), HAVEN, ZEEDAM, "Z", sent=sent, closed="2023-11-15 10:00", why="4"))
    net.leg(n(32), HAVEN, ZEEDAM, "cancelled")
    h2.good(row(n(33), HAVEN, ZEEDAM, "O", sent=sent, got=got))
    z2.good(row(n(33), HAVEN, ZEEDAM, "Z", sent=sent, closed="2023-11-15 12:00", why="4"))
    net.leg(n(33), HAVEN, ZEEDAM, "cancelled")
    h2.good(row(n(34), HAVEN, ZEEDAM, "Z", sent=sent, closed="2023-11-15 12:00", why="6"))
    z1.good(row(n(34), HAVEN, ZEEDAM, "T", sent=sent))
    net.leg(n(34), HAVEN, ZEEDAM, "cancelled")
    # Superseded: the first supplier could not find it, another sent it; even when the first says it arrived.
    t1.good(row(n(40), TURFSTAD, ZEEDAM, "A", asked=asked, item=""))
    z1.good(row(n(40), TURFSTAD, ZEEDAM, "A", asked=asked, item=""))
    h1.good(row(n(40), HAVEN, ZEEDAM, "T", sent=sent))
    z2.good(row(n(40), HAVEN, ZEEDAM, "O", sent=sent, got=got))
    net.leg(n(40), TURFSTAD, ZEEDAM, "superseded")
    net.delivered(n(40), HAVEN, ZEEDAM, got)
    t2.good(row(n(41), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    z2.good(row(n(41), HAVEN, ZEEDAM, "T", sent="2023-11-15 09:00"))
    net.leg(n(41), TURFSTAD, ZEEDAM, "superseded")
    net.leg(n(41), HAVEN, ZEEDAM, "in_transit")
    # The pick-up branch received from the first, and then waits for another: the first receipt is undone.
    z1.good(row(n(42), TURFSTAD, ZEEDAM, "O", sent="2023-11-13 09:00", got="2023-11-14 08:00"))
    z2.good(row(n(42), VEENKAMP_NEW, ZEEDAM, "A", asked="2023-11-12 09:00", changed="2023-11-15 08:00"))
    net.leg(n(42), TURFSTAD, ZEEDAM, "superseded", "2023-11-14 08:00")
    net.leg(n(42), VEENKAMP_NEW, ZEEDAM, "requested")
    # Two suppliers say they sent it and the pick-up branch is silent: nothing is superseded.
    t1.good(row(n(43), TURFSTAD, ZEEDAM, "T", sent=sent))
    h1.good(row(n(43), HAVEN, ZEEDAM, "T", sent=sent))
    net.leg(n(43), TURFSTAD, ZEEDAM, "in_transit")
    net.leg(n(43), HAVEN, ZEEDAM, "in_transit")
    # Back to the first supplier after all.
    z1.good(row(n(44), TURFSTAD, ZEEDAM, "T", sent=sent))
    z2.good(row(n(44), HAVEN, ZEEDAM, "A", asked=asked, changed="2023-11-15 08:00"))
    z3.good(row(n(44), TURFSTAD, ZEEDAM, "O", sent=sent, got="2023-11-30 08:00"))
    net.delivered(n(44), TURFSTAD, ZEEDAM, "2023-11-30 08:00")
    net.leg(n(44), HAVEN, ZEEDAM, "superseded")

    without_supplier(z1, z2, z3, h1, h2, t1, t2, net)
    redirects(z2, h1, h2, h3, t1, t2, k1, net)


def without_supplier(
    z1: Export, z2: Export, z3: Export, h1: Export, h2: Export, t1: Export, t2: Export, net: Network
) -> None:
    asked, sent, got = "2023-11-13 10:00", "2023-11-14 09:00", "2023-11-15 10:00"

    def n(serial: int) -> str:
        return f"2023-11-13.{serial:05d}"

    def nobody(number: str, status: str = "A", **more: Value) -> RowOf:
        return row(number, "", ZEEDAM, status, asked=asked, item="", **more)

    # No supplier known, open and closed.
    z1.good(nobody(n(50)))
    net.leg(n(50), "", ZEEDAM, "requested")
    z1.good(nobody(n(51), "Z", closed="2023-11-14 10:00", why="5"))
    net.leg(n(51), "", ZEEDAM, "cancelled")
    # Then supplied: the leg without supplier is gone, whether the pick-up branch or only the supplier says by whom.
    z1.good(nobody(n(52)))
    h1.good(row(n(52), HAVEN, ZEEDAM, "T", sent=sent))
    z2.good(row(n(52), HAVEN, ZEEDAM, "O", sent=sent, got=got))
    net.delivered(n(52), HAVEN, ZEEDAM, got)
    z1.good(nobody(n(53)))
    h1.good(row(n(53), HAVEN, ZEEDAM, "T", sent=sent))
    net.leg(n(53), HAVEN, ZEEDAM, "in_transit")
    # A later row without supplier says nothing against the supplier's word, unless it is closed.
    h1.good(row(n(54), HAVEN, ZEEDAM, "T", sent=sent))
    z2.good(nobody(n(54), changed="2023-11-15 10:00"))
    net.leg(n(54), HAVEN, ZEEDAM, "in_transit")
    h2.good(row(n(55), HAVEN, ZEEDAM, "O", sent=sent, got=got))
    z3.good(nobody(n(55), changed="2023-11-29 10:00"))
    net.leg(n(55), HAVEN, ZEEDAM, "unconfirmed")
    h1.good(row(n(56), HAVEN, ZEEDAM, "T", sent=sent))
    z2.good(nobody(n(56), "Z", closed="2023-11-15 10:00", why="5"))
    net.leg(n(56), HAVEN, ZEEDAM, "cancelled")
    h2.good(row(n(57), HAVEN, ZEEDAM, "O", sent=sent, got=got))
    z3.good(nobody(n(57), "Z", closed="2023-11-29 10:00", why="5"))
    net.leg(n(57), HAVEN, ZEEDAM, "cancelled")
    # None, older or newer, closed or not, says anything against a receipt that the leg's own newest row holds.
    z1.good(nobody(n(58), "Z", closed="2023-11-14 10:00", why="5"))
    z2.good(row(n(58), HAVEN, ZEEDAM, "O", sent=sent, got=got))
    net.delivered(n(58), HAVEN, ZEEDAM, got)
    t1.good(row(n(59), TURFSTAD, ZEEDAM, "T", sent=sent))
    z2.good(row(n(59), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    z3.good(nobody(n(59), changed="2023-11-29 10:00"))
    net.delivered(n(59), TURFSTAD, ZEEDAM, got)
    t2.good(row(n(60), TURFSTAD, ZEEDAM, "T", sent=sent))
    z2.good(row(n(60), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    z3.good(nobody(n(60), "Z", closed="2023-11-29 10:00", why="9"))
    net.delivered(n(60), TURFSTAD, ZEEDAM, got)


def redirects(z2: Export, h1: Export, h2: Export, h3: Export, t1: Export, t2: Export, k1: Export, net: Network) -> None:
    sent, got = "2023-11-14 09:00", "2023-11-15 10:00"

    def n(serial: int) -> str:
        return f"2023-11-13.{serial:05d}"

    # The reader collects elsewhere in the same organisation; the supplier never hears of it.
    t1.good(row(n(70), TURFSTAD, ZEEDAM, "T", sent=sent))
    h2.good(row(n(70), TURFSTAD, HAVEN, "O", sent=sent, got=got))
    net.delivered(n(70), TURFSTAD, HAVEN, got)
    # Received at the first branch, sent on, and received at the second: one delivery, at the second.
    t1.good(row(n(71), TURFSTAD, ZEEDAM, "T", sent=sent))
    z2.good(row(n(71), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    h3.good(row(n(71), TURFSTAD, HAVEN, "O", sent=sent, got="2023-11-29 10:00"))
    net.delivered(n(71), TURFSTAD, HAVEN, "2023-11-29 10:00")
    # Received at the first branch, sent on, not there yet.
    z2.good(row(n(72), TURFSTAD, ZEEDAM, "O", sent=sent, got=got))
    h3.good(row(n(72), TURFSTAD, HAVEN, "T", sent=sent, changed="2023-11-29 10:00"))
    net.leg(n(72), TURFSTAD, HAVEN, "in_transit")
    # Redirected to the supplier itself: local.
    h1.good(row(n(73), HAVEN, ZEEDAM, "T", sent=sent))
    h3.good(row(n(73), HAVEN, HAVEN, "O", got="2023-11-29 10:00"))
    net.leg(n(73), HAVEN, HAVEN, "local", "2023-11-29 10:00")
    # Meant for its own shelf, then sent to another branch: the supplier's older row counts no longer.
    h1.good(row(n(76), HAVEN, HAVEN, "O", got="2023-11-14 10:00"))
    h2.good(row(n(76), HAVEN, ZEEDAM, "T", sent="2023-11-15 09:00"))
    net.leg(n(76), HAVEN, ZEEDAM, "in_transit")
    # The same number, the same supplier, two organisations.
    t1.good(row(n(74), TURFSTAD, HAVEN, "T", sent=sent))
    t1.good(row(n(74), TURFSTAD, VEENKAMP_NEW, "T", sent=sent))
    h2.good(row(n(74), TURFSTAD, HAVEN, "O", sent=sent, got=got))
    net.delivered(n(74), TURFSTAD, HAVEN, got)
    net.leg(n(74), TURFSTAD, VEENKAMP_NEW, "in_transit")
    # The same number in two organisations, each supplied by the other.
    k1.good(row(n(75), VEENKAMP_NEW, HAVEN, "T", sent=sent))
    h2.good(row(n(75), VEENKAMP_NEW, HAVEN, "O", sent=sent, got=got))
    h1.good(row(n(75), HAVEN, VEENKAMP_NEW, "T", sent=sent))
    net.delivered(n(75), VEENKAMP_NEW, HAVEN, got)
    net.leg(n(75), HAVEN, VEENKAMP_NEW, "in_transit")
    t2.good(row(n(75), TURFSTAD, VEENKAMP_NEW, "A", asked="2023-11-15 08:00", item=""))
    net.leg(n(75), TURFSTAD, VEENKAMP_NEW, "requested")


# ---------------------------------------------------------------------------------------------- all of it

CANARIES = [
    READER,
    PERSON,
    "bermann-",
    MAIL,
    TITLE,
    BSN,
    OTHER_BSN,
    THIRD_BSN,
    "Terpstra-Oldenhof",
    "Een ander geheim verhaal",
    "Joost Vermeer-Dijkhof",
    "@postbus.example",
    "Bartholomeus Kwakkelstein",
    "Pietronella",
    "Haverkort",
    "Ottoline Biemond",
    "Gijsbrecht Wolfswinkel",
    "Adelheid Scharrelaar",
    "Eleonora Boterbloem",
]


def build(folder: Path) -> Planted:
    """Write the network's exports and register into the folder; what was planted."""
    net = Network(folder)
    plain_traffic(net)
    koha(net)
    forms(net)
    row_rules(net)
    calendar(net)
    copies = again_and_corrected(net)
    states(net)
    planted = net.write()
    for original, path, arrives in copies:
        net.file(path, (planted.raw / original).read_bytes(), "skipped", arrives)
    planted.canaries.extend(CANARIES)
    total, between = planted.total(2023), sum(n for (a, b), n in planted.by_pair(2023).items() if a != b)
    (planted.reference / "published_figures.csv").write_text(
        "year,kpi,value,source\n"
        f"2023,deliveries_total,{total},Overview of 2023\n"
        f"2023,deliveries_between_organisations,{between},Overview of 2023\n",
        encoding="utf-8",
        newline="\n",
    )
    return planted
