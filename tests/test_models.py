"""Every SQL model on small tables, against the same counting written once more as plain loops.

`World` is a few files and rows as the bronze store holds them; `Naive` counts them row by row, without SQL and without
the product. What a figure should be in a case that the rules of the network speak of is written out beside it.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from pendel import bronze, building
from pendel.reference import BranchPeriod, Parameters, Reference

AMSTERDAM = ZoneInfo("Europe/Amsterdam")
SENT = {"T", "O", "B", "U", "R"}
DAY = dt.timedelta(days=1)

# Public holidays on which nobody works, and which are no Sunday; from a calendar, not computed.
HOLIDAYS = {
    2021: {(1, 1), (4, 5), (4, 27), (5, 13), (5, 24), (12, 25)},
    2022: {(1, 1), (4, 18), (4, 27), (5, 26), (6, 6), (12, 26)},
    2023: {(4, 10), (4, 27), (5, 18), (5, 29), (12, 25), (12, 26)},
    2024: {(1, 1), (4, 1), (4, 27), (5, 9), (5, 20), (12, 25), (12, 26)},
}


# ---------------------------------------------------------------------------------------------- a small world


def at(text: str) -> dt.datetime | None:
    """`2023-03-26 09:00`, or nothing."""
    return dt.datetime.fromisoformat(text) if text else None


def day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)


def utc(local: dt.datetime | None) -> dt.datetime | None:
    return local.replace(tzinfo=AMSTERDAM, fold=0).astimezone(dt.UTC).replace(tzinfo=None) if local else None


@dataclass(frozen=True)
class File:
    branch: str
    date: dt.date | None
    verdict: str = "read"
    format: str = "dnb_tsv"
    arrived: dt.datetime | None = None  # local; without it the evening of its date


@dataclass(frozen=True)
class Row:
    """A row that bronze accepted; branches are the library system's codes."""

    file: int  # 1 for the first file
    number: str
    supplier: str
    pickup: str
    status: str
    changed: str
    shipped: str = ""
    received: str = ""
    requested: str = "2023-01-02 08:00"
    collected: str = ""
    closed: str = ""
    reason: str = ""
    item: str = "1"
    material: str = ""


@dataclass
class World:
    periods: list[BranchPeriod]
    as_of: dt.date
    files: list[File] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    published: list[dict[str, str]] = field(default_factory=list)
    held: list[tuple[int, int, str]] = field(default_factory=list)  # file, row, rule: quarantined on arrival
    warned: list[tuple[int, int, str]] = field(default_factory=list)
    parameters: Parameters = field(default_factory=Parameters)

    def reference(self) -> Reference:
        organisations = {p.organisation: f"Org {p.organisation}" for p in self.periods}
        return Reference(Path(), tuple(self.periods), organisations, tuple(self.published), self.parameters)

    def row_number(self, row: Row) -> int:
        """The place of a row in its file; the header is row 1."""
        return 2 + [r for r in self.rows if r.file == row.file].index(row)


def period(branch: str, code: str, opened: str = "", closed: str = "", form: str = "dnb_tsv") -> BranchPeriod:
    """A row of the register; the first letter of the branch is its organisation."""
    return BranchPeriod(
        branch, f"{branch} {code}", branch[0].upper(), f"town {code}", code, form,
        day(opened) if opened else None, day(closed) if closed else None, None, None, "", "",
    )  # fmt: skip


def literal(value: object) -> str:
    if value is None or value == "":
        return "NULL"
    if isinstance(value, int):
        return str(value)
    return "'" + str(value).replace("'", "''") + "'"


def insert(con: duckdb.DuckDBPyConnection, table: str, columns: str, rows: Iterable[Sequence[object]]) -> None:
    lines = [f"({', '.join(map(literal, row))})" for row in rows]
    if lines:
        con.execute(f"INSERT INTO {table} ({columns}) VALUES {', '.join(lines)}")


def fill_bronze(con: duckdb.DuckDBPyConnection, world: World) -> None:
    """Leave the world's files and rows in bronze, in the place of what was there."""
    for table in ("run", "file", "row", "quarantine", "warning"):
        con.execute(f"DELETE FROM bronze.{table}")
    insert(con, "bronze.run", "run_id, started_at, as_of", [("night", dt.datetime(2023, 1, 1), world.as_of)])
    files, counts = [], defaultdict(lambda: [0, 0])
    for row in world.rows:
        counts[row.file][0] += 1
    for file_id, _, _ in world.held:
        counts[file_id][1] += 1
    for i, f in enumerate(world.files, start=1):
        arrived = f.arrived or dt.datetime.combine(f.date or dt.date(2023, 1, 2), dt.time(20))
        accepted, held = counts[i]
        reason = "broken_archive" if f.verdict == "rejected" else None
        name = f"{f.branch}/file {i}"
        files.append(
            (i, "night", f.branch, name, str(i), 0, 0, arrived, str(i), f.format, f.date, f.verdict, reason, "{}", "-",
             accepted + held, accepted, held, 0, 0)
        )  # fmt: skip
    insert(
        con,
        "bronze.file",
        "file_id, run_id, branch, path, path_key, size_bytes, mtime_ns, arrived_at, sha256, format, export_date, "
        "verdict, reason, "
        "detail, judged_by, rows_read, rows_accepted, rows_quarantined, rows_duplicate, rows_other",
        files,
    )
    next_row: dict[int, int] = defaultdict(lambda: 2)
    rows = []
    for r in world.rows:
        rows.append(
            (r.file, next_row[r.file], r.number, r.item, r.material, r.pickup, r.status, r.reason, r.requested,
             r.shipped, r.received, r.collected, r.closed, r.changed,
             *(utc(at(moment)) for moment in (r.requested, r.shipped, r.received, r.collected)))
        )  # fmt: skip
        next_row[r.file] += 1
    insert(
        con,
        "bronze.row",
        "file_id, row, reservation_id, item_barcode, material_type, pickup_code, status, close_reason, requested_at, "
        "shipped_at, received_at, collected_at, closed_at, changed_at, requested_at_utc, shipped_at_utc, "
        "received_at_utc, collected_at_utc",
        rows,
    )
    codes = {}  # an empty code is '' in bronze, not NULL
    next_row.clear()
    for r in world.rows:
        codes[r.file, next_row[r.file]] = r.supplier
        next_row[r.file] += 1
    for supplier in {r.supplier for r in world.rows}:
        mine = ", ".join(f"({f}, {n})" for (f, n), code in codes.items() if code == supplier)
        con.execute(f"UPDATE bronze.row SET supplying_code = '{supplier}' WHERE (file_id, row) IN ({mine})")
    insert(con, "bronze.quarantine", "file_id, row, rule", world.held)
    insert(con, "bronze.warning", "file_id, row, rule", world.warned)


UNCHANGED = (
    "staging.branch_code", "staging.branch_open", "staging.branch_organisation", "marts.dim_branch", "marts.dim_date",
    "marts.scope", "kpi.definition",
)  # fmt: skip
"""Models that read reference data alone."""


class Warehouse:
    """The production SQL on a world."""

    def __init__(self, world: World) -> None:
        self.con = duckdb.connect()
        for schema in ("bronze", "staging", "reference"):
            self.con.execute(f"ATTACH ':memory:' AS {schema}")
        self.con.execute("CREATE SCHEMA marts; CREATE SCHEMA kpi; CREATE SCHEMA quality")
        self.con.execute(bronze.SCHEMA)
        fill_bronze(self.con, world)
        run = bronze.Run("night", dt.datetime(2023, 1, 1), world.as_of)
        building.load_reference(self.con, world.reference(), run)
        building.create_models(self.con)

    def rebuild(self, world: World) -> None:
        """Other files and rows, with the reference data as they are."""
        fill_bronze(self.con, world)
        models = [model for model in building.models() if model.relation not in UNCHANGED]
        for model in reversed(models):
            self.con.execute(f"DROP {'VIEW' if model.materialize == 'view' else 'TABLE'} {model.relation}")
        building.create_models(self.con, models)

    def dicts(self, sql: str) -> list[dict[str, Any]]:
        result = self.con.execute(sql)
        names = [column[0] for column in result.description or []]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()

    def states(self) -> dict[tuple[str, str, str], str]:
        return {
            (o, n, s): state
            for o, n, s, state in self.rows(
                "SELECT pickup_organisation, reservation_id, supplying_branch, state FROM marts.fct_leg"
            )
        }

    def figure(self, kpi: str, year: int, month: int = 0, **dimension: str) -> float | None:
        """A figure; the dimension is that of the arguments (`branch=`, `lane=`, `organisation=`)."""
        where = "dimension = 'total'"
        if "branch" in dimension:
            where = f"dimension = 'branch' AND branch = '{dimension['branch']}'"
        for name, columns in {"lane": "branch", "organisation": "organisation"}.items():
            if name in dimension:
                one, other = dimension[name].split(">")
                where = f"dimension = '{name}' AND supplying_{columns} = '{one}' AND pickup_{columns} = '{other}'"
        found = self.rows(
            f"SELECT value FROM kpi.value WHERE kpi = '{kpi}' AND year = {year} AND month = {month} AND {where}"
        )
        assert len(found) == 1, (kpi, year, month, dimension, found)
        return found[0][0]


# ---------------------------------------------------------------------------------------------- the naive counting


@dataclass(frozen=True)
class Told:
    """A row that counts, with the branches that its codes mean."""

    row: Row
    number: int
    exporter: str
    supplier: str
    pickup: str
    order: tuple[str, dt.date, int, int]

    @property
    def is_suppliers(self) -> bool:
        return self.exporter == "network" or (self.supplier != "" and self.exporter == self.supplier)


@dataclass(frozen=True)
class Leg:
    organisation: str
    number: str
    supplier: str
    pickup: str
    supplying_organisation: str
    state: str
    shipped: dt.datetime | None
    received: dt.datetime | None
    unconfirmed: dt.datetime | None
    is_unannounced: bool
    is_not_collected: bool
    calendar_days: float | None
    transport_days: int | None
    fill_days: float | None
    so_far: int | None  # transport days in transit, up to the day of the run
    item: str | None
    closed: dt.datetime | None
    reason: str | None
    requested: dt.datetime | None
    evidence: tuple[int | None, ...]  # file and row of the supplier's side, then of the pick-up branch's


def is_working_day(date: dt.date, saturday: bool = False) -> bool:
    return date.isoweekday() <= (6 if saturday else 5) and (date.month, date.day) not in HOLIDAYS[date.year]


def transport_days_between(first: dt.date, last: dt.date) -> int:
    """The transport days after the first day, up to and with the last; negative when the last comes first."""
    if last < first:
        return -transport_days_between(last, first)
    return sum(is_working_day(first + i * DAY) for i in range(1, (last - first).days + 1))


def days_between(first: dt.datetime | None, last: dt.datetime | None) -> float | None:
    """In days of 24 hours; nothing when one is unknown or they come in the wrong order."""
    start, end = utc(first), utc(last)
    if start is None or end is None or end < start:
        return None
    return (end - start).total_seconds() / 86400


def quantile(values: Iterable[float | None], share: float) -> float | None:
    """Linear between the two nearest."""
    known = sorted(value for value in values if value is not None)
    if not known:
        return None
    place = share * (len(known) - 1)
    low, high = known[math.floor(place)], known[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


class Naive:
    """All figures of a world, in loops."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.branches = sorted({p.branch for p in world.periods})
        self.organisation = {p.branch: p.organisation for p in world.periods}
        self.active = {
            max(i for i, g in self._read() if (g.branch, g.format, g.date) == (f.branch, f.format, f.date))
            for _, f in self._read()
        }
        self.held: dict[tuple[int, int], str] = {}
        self.days = {branch: {d for d in self.calendar() if self.is_open(branch, d)} for branch in self.branches}
        self.told = self._tell()
        self.legs = self._legs()

    def _read(self) -> list[tuple[int, File]]:
        return [(i, f) for i, f in enumerate(self.world.files, start=1) if f.verdict == "read"]

    def meaning(self, code: str, date: dt.date) -> str | None:
        """The branch that had opened last with a code; before anybody had, the first that did."""
        owners = sorted(
            ((p.opened_on or dt.date.min, p.branch) for p in self.world.periods if p.ils_code == code),
        )
        opened = [branch for since, branch in owners if since <= date]
        return opened[-1] if opened else (owners[0][1] if owners else None)

    def is_open(self, branch: str, date: dt.date) -> bool:
        return any(
            (p.opened_on or dt.date.min) <= date <= (p.closed_on or dt.date.max)
            for p in self.world.periods
            if p.branch == branch
        )

    def _tell(self) -> list[Told]:
        told, numbers = [], defaultdict(lambda: 1)
        for row in self.world.rows:
            numbers[row.file] += 1
            file, number = self.world.files[row.file - 1], numbers[row.file]
            assert file.date is not None
            supplier, pickup = self.meaning(row.supplier, file.date), self.meaning(row.pickup, file.date)
            rule = self._held_by(row, file.branch, supplier, pickup)
            if rule:
                self.held[row.file, number] = rule
            elif row.file in self.active:
                assert pickup is not None
                order = (row.changed, file.date, row.file, number)
                told.append(Told(row, number, file.branch, supplier or "", pickup, order))
        return sorted(told, key=lambda t: t.order)

    def _held_by(self, row: Row, exporter: str, supplier: str | None, pickup: str | None) -> str | None:
        if pickup is None or (row.supplier and supplier is None):
            return "unknown_branch"
        if exporter not in ("network", supplier, pickup):
            return "exporter_not_involved"
        if row.status in {"O", "B", "U"} and not row.received and exporter == pickup:
            return "receipt_date_missing"
        received = at(row.received)
        if received and not (
            supplier and self.is_open(supplier, received.date()) and self.is_open(pickup, received.date())
        ):
            return "branch_not_open"
        return None

    def _legs(self) -> list[Leg]:
        reservations: dict[tuple[str, str], list[Told]] = defaultdict(list)
        for told in self.told:
            reservations[self.organisation[told.pickup], told.row.number].append(told)
        return [leg for key, told in reservations.items() for leg in self._legs_of(key, told)]

    def _legs_of(self, key: tuple[str, str], told: list[Told]) -> list[Leg]:
        """`told` is in order: the last word wins."""
        suppliers = {t.supplier for t in told}
        words: dict[str, tuple[Told | None, Told | None]] = {}
        for supplier in suppliers:
            mine = [t for t in told if t.supplier == supplier]
            sending = [t for t in mine if t.is_suppliers]
            receiving = [t for t in mine if t.exporter != supplier]
            if sending and sending[-1].pickup == supplier:  # its newest word: it keeps the item
                receiving = [t for t in mine if t in receiving or t in sending]
            words[supplier] = (sending[-1] if sending else None, receiving[-1] if receiving else None)
        last_word = max((r for _, r in words.values() if r), key=lambda t: t.order, default=None)
        withdrawn = last_word if last_word and last_word.supplier == "" and last_word.row.status == "Z" else None
        legs = []
        for supplier, (sending, receiving) in words.items():
            if supplier == "" and len(suppliers) > 1:
                continue  # it disappears as soon as a supplier is known
            superseded = last_word is not None and last_word.supplier not in ("", supplier)
            legs.append(self._leg(key, supplier, sending, receiving, superseded, withdrawn))
        return legs

    def _leg(
        self,
        key: tuple[str, str],
        supplier: str,
        sending: Told | None,
        receiving: Told | None,
        superseded: bool,
        withdrawn: Told | None,
    ) -> Leg:
        authority, sender = receiving or sending, sending or receiving
        assert authority is not None
        assert sender is not None
        received = at(receiving.row.received) if receiving else None
        closed_by_pickup = withdrawn is not None or (receiving is not None and receiving.row.status == "Z")
        shipped = at(sender.row.shipped)
        if superseded:
            state = "superseded"
        elif supplier == authority.pickup:
            state = "local"
        elif received:
            state = "delivered"
        elif closed_by_pickup:
            state = "cancelled"
        elif sending and sending.row.received:
            state = "unconfirmed"
        elif sending and sending.row.status == "Z":
            state = "cancelled"
        elif supplier and (shipped or sender.row.status in SENT):
            state = "in_transit"
        else:
            state = "requested"
        delivered = state == "delivered"
        calendar = days_between(shipped, received) if delivered else None
        requested = at(authority.row.requested)
        closing = withdrawn or receiving or sending
        assert closing is not None
        closed = at(closing.row.closed) or (at(sending.row.closed) if sending and not withdrawn else None)
        reason = closing.row.reason or (sending.row.reason if sending and not withdrawn else "")
        return Leg(
            *key,
            supplier=supplier,
            pickup=authority.pickup,
            supplying_organisation=self.organisation.get(supplier, ""),
            state=state,
            shipped=shipped,
            received=received if state in ("delivered", "local") else None,
            unconfirmed=at(sending.row.received) if sending and state == "unconfirmed" else None,
            is_unannounced=delivered and not (sending and (shipped or sending.row.status in SENT)),
            is_not_collected=delivered and authority.row.status == "Z" and authority.row.reason == "8",
            calendar_days=calendar,
            transport_days=transport_days_between(shipped.date(), received.date())
            if calendar is not None and shipped and received
            else None,
            fill_days=days_between(requested, received) if delivered else None,
            so_far=transport_days_between(shipped.date(), self.world.as_of)
            if state == "in_transit" and shipped
            else None,
            item=(sender.row.item or authority.row.item) or None,
            closed=closed,
            reason=reason or None,
            requested=requested,
            evidence=tuple(
                value
                for side in (sending, receiving)
                for value in ((side.row.file, side.number) if side else (None, None))
            ),
        )

    def calendar(self) -> Iterator[dt.date]:
        """From 1 January of the first year with an export up to the day before the run."""
        years = [f.date.year for _, f in self._read() if f.date]
        date = dt.date(min(years), 1, 1) if years else self.world.as_of
        while date < self.world.as_of:
            yield date
            date += DAY

    def lane_days(self) -> dict[tuple[dt.date, str, str], tuple[int, int]]:
        """(sent, delivered) by day and lane."""
        found = {
            (date, a, b): [0, 0]
            for date in self.calendar()
            for a in self.branches
            for b in self.branches
            if a != b and date in self.days[a] and date in self.days[b]
        }
        for leg in self.legs:
            if leg.shipped and leg.supplier and leg.state != "local":
                found.setdefault((leg.shipped.date(), leg.supplier, leg.pickup), [0, 0])[0] += 1
            if leg.received and leg.state == "delivered":
                found.setdefault((leg.received.date(), leg.supplier, leg.pickup), [0, 0])[1] += 1
        return {key: (sent, delivered) for key, (sent, delivered) in found.items()}

    def branch_days(
        self, lanes: dict[tuple[dt.date, str, str], tuple[int, int]]
    ) -> dict[tuple[dt.date, str], tuple[int, int, int, int]]:
        """(received, supplied, sent, balance) by day and branch."""
        found: dict[tuple[dt.date, str], tuple[int, int, int, int]] = defaultdict(lambda: (0, 0, 0, 0))
        for (date, a, b), (sent, delivered) in lanes.items():
            received, supplied, out, balance = found[date, a]
            found[date, a] = (received, supplied + delivered, out + sent, balance + delivered)
            received, supplied, out, balance = found[date, b]
            found[date, b] = (received + delivered, supplied, out, balance - delivered)
        return dict(found)

    def feed(self) -> dict[tuple[str, dt.date], str]:
        """The state of every expected export."""
        found = {}
        formats = {"koha_csv"}
        first = min((f.date for _, f in self._read() if f.date), default=dt.date.max)
        for date in self.calendar():
            for p in self.world.periods:
                in_period = (p.opened_on or dt.date.min) <= date <= (p.closed_on or dt.date.max)
                if not in_period or not is_working_day(date, saturday=True):
                    continue
                folder = "network" if p.export_format in formats else p.branch
                files = [f for f in self.world.files if (f.branch, f.date) == (folder, date)]
                usable = [f.arrived or dt.datetime.combine(date, dt.time(20)) for f in files if f.verdict == "read"]
                if usable:
                    is_late = min(usable).date() > date + self.world.parameters.export_late_after_days * DAY
                    found[p.branch, date] = "late" if is_late else "received"
                else:
                    found[p.branch, date] = "rejected" if files else "not_begun" if date < first else "missing"
        return found

    def values(self) -> dict[tuple[Any, ...], tuple[float | None, float | None]]:
        """(kpi, year, month, dimension, its five parts) → value and completeness."""
        found: dict[tuple[Any, ...], tuple[float | None, float | None]] = {}
        feed = self.feed()
        years = self._years()
        current = self.current()
        organisations = list(dict.fromkeys(p.organisation for p in self.world.periods))
        for year in years:
            for month in range(13):
                is_current = current.year == year and month in (0, current.month)
                legs = [leg for leg in self.legs if self._counts_in(leg, year, month)]
                expected = [
                    (branch, state in ("received", "late"))
                    for (branch, date), state in feed.items()
                    if date.year == year and month in (0, date.month)
                ]

                def complete(branches: Sequence[str], expected: list[tuple[str, bool]] = expected) -> float | None:
                    arrived = [is_in for branch, is_in in expected if branch in branches]
                    return sum(arrived) / len(arrived) if arrived else None

                def put(
                    dimension: str, parts: tuple[str, ...], figures: dict[str, float | None], share: float | None,
                    year: int = year, month: int = month,
                ) -> None:  # fmt: skip
                    for kpi, value in figures.items():
                        found[kpi, year, month, dimension, *parts] = (value, share)

                everything = complete(self.branches)
                feed_share = {"feed_completeness_pct": None if everything is None else 100 * everything}
                put("total", ("",) * 5, self._figures(legs, is_current) | self._between(legs) | feed_share, everything)
                for a in organisations:
                    for b in organisations:
                        mine = [x for x in legs if (x.supplying_organisation, x.organisation) == (a, b)]
                        put("organisation", (a, b, "", "", ""), self._figures(mine, is_current), everything)
                        name = f"within_{a}" if a == b else f"{a}_to_{b}"
                        count = sum(leg.state == "delivered" for leg in mine)
                        put("total", ("",) * 5, {f"deliveries_{name.lower()}": count}, everything)
                for branch in self.branches:
                    mine = [leg for leg in legs if leg.pickup == branch]
                    supplied = sum(leg.state == "delivered" for leg in legs if leg.supplier == branch)
                    got = sum(leg.state == "delivered" for leg in mine)
                    share = complete([branch])
                    more = {
                        "deliveries_supplied": supplied,
                        "lender_balance": supplied - got,
                        "feed_completeness_pct": None if share is None else 100 * share,
                    }
                    figures = self._figures(mine, is_current) | self._between(mine) | more
                    put("branch", ("", "", "", "", branch), figures, share)
                for a in self.branches:
                    for b in self.branches:
                        if a != b:
                            mine = [leg for leg in legs if (leg.supplier, leg.pickup) == (a, b)]
                            parts = (self.organisation[a], self.organisation[b], a, b, "")
                            put("lane", parts, self._figures(mine, is_current), complete([a, b]))
        return found

    def _years(self) -> set[int]:
        years = {f.date.year for i, f in self._read() if i in self.active and f.date}
        return years | {leg.received.year for leg in self.legs if leg.received and leg.state == "delivered"}

    def current(self) -> dt.date:
        """The day before the run, or the last day before it of a year that there are exports of."""
        day = self.world.as_of - DAY
        before = [year for year in self._years() if year < day.year]
        return dt.date(max(before), 12, 31) if before and day.year not in self._years() else day

    def lanes_of_the_last_day(
        self, lanes: dict[tuple[dt.date, str, str], tuple[int, int]], feed: dict[tuple[str, dt.date], str]
    ) -> dict[tuple[str, str], tuple[Any, ...]]:
        """By lane: the last transport day, what was delivered, whether it is told, the usual, and if it is unusual."""
        last = max((d for d in self.calendar() if d < self.world.as_of and is_working_day(d)), default=dt.date.min)
        found: dict[tuple[str, str], tuple[Any, ...]] = {}
        for (date, a, b), (_, delivered) in lanes.items():
            if date != last:
                continue
            is_told = feed.get((b, date)) in ("received", "late")
            before = [
                lanes[d, a, b][1]
                for d in (last - weeks * 7 * DAY for weeks in range(1, 17))
                if (d, a, b) in lanes and is_working_day(d) and feed.get((b, d)) in ("received", "late")
            ][:8]
            usual: tuple[float | None, ...] = (None, None, None)
            is_unusual = False
            if len(before) >= 4:
                middle = quantile(before, 0.5)
                assert middle is not None
                usual = (middle, min(before), max(before))
                is_within = min(before) <= delivered <= max(before)
                is_unusual = is_told and not is_within and abs(delivered**0.5 - middle**0.5) >= 1.5
            found[a, b] = (date, delivered, is_told, *usual, is_unusual)
        return found

    def search_items(self) -> set[tuple[Any, ...]]:
        """(branch, task, the leg's key, since, days waiting, export that should tell it, its state)."""
        found = set()
        feed = self.feed()
        for leg in self.legs:
            since = {"in_transit": leg.shipped, "requested": leg.requested, "unconfirmed": leg.unconfirmed}.get(
                leg.state
            )
            if since is None or not leg.supplier:
                continue
            days = self.waiting(since.date(), [leg.supplier, leg.pickup])
            exports: list[tuple[dt.date | None, str | None]] = [(None, None)]
            limit = self.world.parameters
            tasks = []
            if leg.state == "unconfirmed":
                later = [date for branch, date in feed if branch == leg.pickup and date >= since.date()]
                if later:
                    exports = [(min(later), feed[leg.pickup, min(later)])]
                is_there = exports[0][1] in ("received", "late")
                if exports[0][1] != "not_begun":
                    tasks = [(leg.pickup, "register_receipt" if is_there else "deliver_export")]
            elif leg.state == "in_transit" and days > limit.overdue_after_transport_days:
                tasks = [(leg.supplier, "find_at_supplier"), (leg.pickup, "find_at_pickup")]
            elif leg.state == "requested" and days > limit.unsent_after_transport_days:
                tasks = [(leg.supplier, "send")]
            for branch, task in tasks:
                key = (leg.organisation, leg.number, leg.supplier)
                found.add((branch, task, *key, since.date(), days, *exports[0]))
        return found

    def waiting(self, since: dt.date, ends: list[str]) -> int:
        """The transport days after a day, up to that of the run, on which both ends were open."""
        first = self.first_day()
        step = 1 if since <= self.world.as_of else -1
        between = [min(since, self.world.as_of) + i * DAY for i in range(1, abs((self.world.as_of - since).days) + 1)]
        return step * sum(
            date >= first and is_working_day(date) and (step < 0 or all(self.is_open(end, date) for end in ends))
            for date in between
        )

    def first_day(self) -> dt.date:
        """1 January of the first year of which anything is known but requests: where counting days begins."""
        years = [f.date.year for f in self.world.files if f.date] + [self.world.as_of.year]
        years += [moment.year for row in self.world.rows for moment in (at(row.shipped), at(row.received)) if moment]
        return dt.date(min(years), 1, 1)

    def lanes(self, values: dict[tuple[Any, ...], tuple[float | None, float | None]]) -> dict[tuple[Any, ...], Any]:
        """(year, month, supplying, pick-up branch) → the lane's figures, what is open, and its trend."""
        found = {}
        periods = {key[1:3] for key in values}
        longest = self.world.parameters.overdue_after_transport_days

        def passed(year: int, month: int) -> int:
            first = dt.date(year, month or 1, 1)
            dates = [first + i * DAY for i in range(366)]
            return sum(
                date < self.world.as_of and date.year == year and month in (0, date.month) and is_working_day(date)
                for date in dates
                if date.year == year
            )

        for year, month in periods:
            before = None
            if (year - 1, month) in periods and passed(year - 1, month):
                before = (year - 1, month)
            elif month and (year, month - 1) in periods and month > 1 and passed(year, month - 1):
                before = (year, month - 1)
            elif month == 1 and (year - 1, 12) in periods and passed(year - 1, 12):
                before = (year - 1, 12)
            if not passed(year, month):
                before = None
            for a in self.branches:
                for b in self.branches:
                    if a == b:
                        continue
                    scope = ("lane", self.organisation[a], self.organisation[b], a, b, "")

                    def value(kpi: str, period: tuple[int, int] | None, scope: tuple[str, ...] = scope) -> float | None:
                        return values[(kpi, *period, *scope)][0] if period else None

                    names = ["transit_transport_days_median", "transit_transport_days_p90",
                             "transit_calendar_days_median", "transit_calendar_days_p90",
                             "within_transit_norm_pct"]  # fmt: skip
                    now, then = value("deliveries_total", (year, month)), value("deliveries_total", before)
                    still = [
                        leg
                        for leg in self.legs
                        if leg.state == "in_transit" and (leg.supplier, leg.pickup) == (a, b)
                        if leg.shipped and leg.shipped.year == year and month in (0, leg.shipped.month)
                    ]
                    change = None
                    if before and then and now is not None:
                        change = 100 * (now / passed(year, month)) / (then / passed(*before)) - 100
                    found[year, month, a, b] = (
                        now, *(value(name, (year, month)) for name in names), len(still),
                        sum(leg.so_far is not None and leg.so_far > longest for leg in still),
                        values["deliveries_total", year, month, *scope][1], *(before or (None, None)), then,
                        value(names[0], before), value(names[4], before), change,
                    )  # fmt: skip
        return found

    def _counts_in(self, leg: Leg, year: int, month: int) -> bool:
        moments = {
            "delivered": leg.received,
            "unconfirmed": leg.unconfirmed,
            "in_transit": self.current(),
        }
        moment = moments.get(leg.state)
        return moment is not None and moment.year == year and month in (0, moment.month)

    def _between(self, legs: list[Leg]) -> dict[str, float | None]:
        crossing = [x for x in legs if x.state == "delivered" and x.supplying_organisation != x.organisation]
        return {"deliveries_between_organisations": len(crossing)}

    def _figures(self, legs: list[Leg], is_current: bool) -> dict[str, float | None]:
        delivered = [leg for leg in legs if leg.state == "delivered"]
        under_way = [leg for leg in legs if leg.state == "in_transit"]
        timed = [leg.transport_days for leg in delivered if leg.transport_days is not None]
        norm = self.world.parameters.transit_norm_transport_days
        longest = self.world.parameters.overdue_after_transport_days
        figures: dict[str, float | None] = {
            "deliveries_total": len(delivered),
            "transit_transport_days_median": quantile(timed, 0.5),
            "transit_transport_days_p90": quantile(timed, 0.9),
            "transit_calendar_days_median": quantile((leg.calendar_days for leg in delivered), 0.5),
            "transit_calendar_days_p90": quantile((leg.calendar_days for leg in delivered), 0.9),
            "within_transit_norm_pct": 100 * sum(n <= norm for n in timed) / len(timed) if timed else None,
            "fill_days_median": quantile((leg.fill_days for leg in delivered), 0.5),
            "not_collected_pct": 100 * sum(leg.is_not_collected for leg in delivered) / len(delivered)
            if delivered
            else None,
            "unconfirmed": sum(leg.state == "unconfirmed" for leg in legs),
            "unannounced": sum(leg.is_unannounced for leg in delivered),
        }
        if is_current:
            figures["in_transit"] = len(under_way)
            figures["overdue"] = sum(leg.so_far is not None and leg.so_far > longest for leg in under_way)
        return figures


# ---------------------------------------------------------------------------------------------- both beside each other


LEG_COLUMNS = (
    "pickup_organisation, reservation_id, supplying_branch, pickup_branch, supplying_organisation, state, shipped_at, "
    "received_at, unconfirmed_received_at, is_unannounced, is_not_collected, transit_calendar_days, "
    "transit_transport_days, fill_days, in_transit_transport_days, item_barcode, closed_at, close_reason, "
    "requested_at, "
    "supplier_file_id, supplier_row, pickup_file_id, pickup_row"
)


def rounded(values: Iterable[object]) -> tuple[object, ...]:
    return tuple(round(value, 7) if isinstance(value, float) else value for value in values)


def assert_same(warehouse: Warehouse, naive: Naive) -> None:
    """Every leg, lane, branch, day and figure."""
    under_way = (
        "LEFT JOIN (SELECT pickup_organisation, reservation_id, supplying_branch, in_transit_transport_days "
        "FROM marts.under_way) USING (pickup_organisation, reservation_id, supplying_branch)"
    )
    legs = {row[:3]: rounded(row) for row in warehouse.rows(f"SELECT {LEG_COLUMNS} FROM marts.fct_leg {under_way}")}
    expected = {}
    for leg in naive.legs:
        *most, evidence = vars(leg).values()
        expected[leg.organisation, leg.number, leg.supplier] = rounded([*most, *evidence])
    assert legs == expected
    assert len(legs) == warehouse.rows("SELECT count(*) FROM marts.fct_leg")[0][0]
    in_transit = [leg for leg in naive.legs if leg.state == "in_transit"]
    longest = naive.world.parameters.overdue_after_transport_days
    overdue = sum(leg.so_far is not None and leg.so_far > longest for leg in in_transit)
    counted = "SELECT count(*), count(*) FILTER (is_overdue) FROM marts.under_way"
    assert warehouse.rows(counted) == [(len(in_transit), overdue)]

    listed = warehouse.rows(
        "SELECT branch, task, pickup_organisation, reservation_id, supplying_branch, since, waiting_transport_days, "
        "told_by_export_of, told_by_export_state FROM marts.search_item"
    )
    assert set(listed) == naive.search_items()
    assert len(listed) == len(set(listed))

    held = warehouse.rows("SELECT file_id, row, rule FROM quality.quarantined_row WHERE stage = 'reference'")
    assert {(file_id, row): rule for file_id, row, rule in held} == naive.held

    deliveries = sorted(
        warehouse.rows(
            "SELECT delivered_on, year, month, pickup_organisation, reservation_id, supplying_branch, pickup_branch, "
            "is_between_organisations FROM marts.fct_delivery"
        )
    )
    assert deliveries == sorted(
        (x.received.date(), x.received.year, x.received.month, x.organisation, x.number, x.supplier, x.pickup,
         x.supplying_organisation != x.organisation)
        for x in naive.legs
        if x.state == "delivered" and x.received
    )  # fmt: skip

    lanes = warehouse.rows("SELECT date, supplying_branch, pickup_branch, sent, delivered FROM marts.agg_lane_day")
    counted_lanes = naive.lane_days()
    assert {row[:3]: row[3:] for row in lanes} == counted_lanes
    assert len(lanes) == len(counted_lanes)

    days = warehouse.rows("SELECT date, branch, received, supplied, sent, lender_balance FROM marts.agg_branch_day")
    counted_days = naive.branch_days(counted_lanes)
    assert {row[:2]: row[2:] for row in days} == counted_days
    assert len(days) == len(counted_days)

    feed = warehouse.rows("SELECT branch, export_date, state FROM marts.feed_day")
    counted_feed = naive.feed()
    assert {row[:2]: row[2] for row in feed} == counted_feed
    assert len(feed) == len(counted_feed)

    last_day = warehouse.rows(
        "SELECT supplying_branch, pickup_branch, date, delivered, is_told, usually_delivered, least_delivered, "
        "most_delivered, is_unusual FROM marts.lane_usual"
    )
    expected_last_day = naive.lanes_of_the_last_day(counted_lanes, counted_feed)
    assert {row[:2]: row[2:] for row in last_day} == expected_last_day
    assert len(last_day) == len(expected_last_day)

    values = warehouse.rows(
        "SELECT kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, "
        "pickup_branch, branch, value, completeness FROM kpi.value"
    )
    computed = {row[:9]: rounded(row[9:]) for row in values}
    naive_values = naive.values()
    counted = {key: rounded(map_float(value)) for key, value in naive_values.items()}
    assert computed.keys() == counted.keys()
    assert {key: value for key, value in computed.items() if value != counted[key]} == {}
    assert len(values) == len(counted)

    by_lane = warehouse.rows(
        "SELECT year, month, supplying_branch, pickup_branch, delivered, transit_transport_days_median, "
        "transit_transport_days_p90, transit_calendar_days_median, transit_calendar_days_p90, within_transit_norm_pct, "
        "still_in_transit, still_overdue, completeness, compared_year, compared_month, delivered_before, "
        "transit_transport_days_median_before, within_transit_norm_pct_before, delivered_change_pct FROM kpi.lane"
    )
    expected_lanes = naive.lanes(naive_values)
    assert len(by_lane) == len(expected_lanes)
    assert {row[:4]: rounded(map_float(row[4:])) for row in by_lane} == {
        key: rounded(map_float(lane)) for key, lane in expected_lanes.items()
    }


def map_float(values: Iterable[float | None]) -> list[float | None]:
    return [None if value is None else float(value) for value in values]


# ---------------------------------------------------------------------------------------------- the states, written out


# Two organisations with two branches each; the codes differ by a leading zero only.
PLAIN = [period("xa", "1"), period("xb", "01"), period("ya", "001"), period("yb", "2")]
CODE = {"xa": "1", "xb": "01", "ya": "001", "yb": "2", "": ""}
FILE = {"xa": 1, "xb": 2, "ya": 3, "yb": 4, "network": 5}

SHIPPED, RECEIVED = "2023-03-06 16:00", "2023-03-08 10:00"


def says(exporter: str, way: str, status: str, changed: str, shipped: str = "", received: str = "", **more: str) -> Row:
    """`way` is supplier>pick-up branch; the time of day of the change suffices."""
    supplier, pickup = way.split(">")
    return Row(
        FILE[exporter], "-", CODE[supplier], CODE[pickup], status, f"2023-03-09 {changed}", shipped, received, **more
    )


STATES: dict[str, tuple[list[Row], dict[tuple[str, str], str]]] = {
    # what happened: the rows told, and (organisation, supplier) → the state
    "both tell the delivery": (
        [says("xb", "xb>xa", "T", "09:00", SHIPPED), says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED)],
        {("X", "xb"): "delivered"},
    ),
    "the pick-up branch alone tells it: unannounced": (
        [says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED)],
        {("X", "xb"): "delivered"},
    ),
    "the supplier tells no sending, the pick-up branch a receipt": (
        [says("xb", "xb>xa", "A", "09:00"), says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED)],
        {("X", "xb"): "delivered"},
    ),
    "the supplier alone tells a receipt": (
        [says("xb", "xb>xa", "O", "10:00", SHIPPED, RECEIVED)],
        {("X", "xb"): "unconfirmed"},
    ),
    "the pick-up branch still says transport": (
        [says("xb", "xb>xa", "O", "10:00", SHIPPED, RECEIVED), says("xa", "xb>xa", "T", "09:00", SHIPPED)],
        {("X", "xb"): "unconfirmed"},
    ),
    "a receipt that was undone": (
        [
            says("xb", "xb>xa", "T", "09:00", SHIPPED),
            says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED),
            says("xa", "xb>xa", "T", "11:00", SHIPPED),
        ],
        {("X", "xb"): "in_transit"},
    ),
    "a receipt that was undone is not brought back by an older row further down": (
        [
            says("xa", "xb>xa", "T", "11:00", SHIPPED),
            says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED),
        ],
        {("X", "xb"): "in_transit"},
    ),
    "sent": ([says("xb", "xb>xa", "T", "09:00", SHIPPED)], {("X", "xb"): "in_transit"}),
    "sent, without a date": ([says("xb", "xb>xa", "T", "09:00")], {("X", "xb"): "in_transit"}),
    "the pick-up branch alone tells the sending": (
        [says("xa", "xb>xa", "T", "09:00", SHIPPED)],
        {("X", "xb"): "in_transit"},
    ),
    "the supplier undid the sending, whatever the pick-up branch thinks": (
        [says("xb", "xb>xa", "A", "09:00"), says("xa", "xb>xa", "T", "10:00", SHIPPED)],
        {("X", "xb"): "requested"},
    ),
    "nothing sent": ([says("xb", "xb>xa", "A", "09:00")], {("X", "xb"): "requested"}),
    "no supplier yet": ([says("xa", ">xa", "A", "09:00")], {("X", ""): "requested"}),
    "no supplier, given up": ([says("xa", ">xa", "Z", "09:00", reason="5")], {("X", ""): "cancelled"}),
    "the row without supplier disappears": (
        [says("xa", ">xa", "A", "09:00"), says("xb", "xb>xa", "T", "10:00", SHIPPED)],
        {("X", "xb"): "in_transit"},
    ),
    "a newer row without supplier says nothing against the leg": (
        [says("xb", "xb>xa", "T", "09:00", SHIPPED), says("xa", ">xa", "A", "10:00")],
        {("X", "xb"): "in_transit"},
    ),
    "unless it is closed": (
        [says("xb", "xb>xa", "T", "09:00", SHIPPED), says("xa", ">xa", "Z", "10:00", reason="5")],
        {("X", "xb"): "cancelled"},
    ),
    "closed without supplier, and taken up again": (
        [
            says("xa", ">xa", "Z", "08:00", reason="5"),
            says("xb", "xb>xa", "T", "09:00", SHIPPED),
            says("xa", "xb>xa", "T", "10:00", SHIPPED),
        ],
        {("X", "xb"): "in_transit"},
    ),
    "closed without receipt": (
        [says("xb", "xb>xa", "T", "09:00", SHIPPED), says("xa", "xb>xa", "Z", "10:00", SHIPPED, reason="4")],
        {("X", "xb"): "cancelled"},
    ),
    "closed by the supplier": ([says("xb", "xb>xa", "Z", "09:00", reason="6")], {("X", "xb"): "cancelled"}),
    "delivered, and closed": (
        [says("xb", "xb>xa", "T", "09:00", SHIPPED), says("xa", "xb>xa", "Z", "10:00", SHIPPED, RECEIVED, reason="8")],
        {("X", "xb"): "delivered"},
    ),
    "the reader withdrew, the pick-up branch received it nevertheless": (
        [says("xa", "xb>xa", "O", "09:00", SHIPPED, RECEIVED), says("xa", ">xa", "Z", "10:00", reason="5")],
        {("X", "xb"): "delivered"},
    ),
    "from the own shelf": ([says("xa", "xa>xa", "O", "09:00", "", RECEIVED)], {("X", "xa"): "local"}),
    "from the own shelf, told twice": (
        [says("xa", "xa>xa", "A", "08:00"), says("xa", "xa>xa", "O", "09:00", "", RECEIVED)],
        {("X", "xa"): "local"},
    ),
    "another supplier took over": (
        [
            says("xb", "xb>xa", "A", "08:00"),
            says("xa", "xb>xa", "A", "08:30"),
            says("ya", "ya>xa", "T", "09:00", SHIPPED),
            says("xa", "ya>xa", "O", "10:00", SHIPPED, RECEIVED),
        ],
        {("X", "xb"): "superseded", ("X", "ya"): "delivered"},
    ),
    "only the pick-up branch's word supersedes": (
        [says("xb", "xb>xa", "T", "08:00", SHIPPED), says("ya", "ya>xa", "T", "09:00", SHIPPED)],
        {("X", "xb"): "in_transit", ("X", "ya"): "in_transit"},
    ),
    "a delivered leg that the pick-up branch took back for another": (
        [
            says("xa", "xb>xa", "O", "08:00", SHIPPED, RECEIVED),
            says("xa", "ya>xa", "T", "09:00", SHIPPED),
        ],
        {("X", "xb"): "superseded", ("X", "ya"): "in_transit"},
    ),
    "redirected while under way": (
        [
            says("ya", "ya>xa", "T", "08:00", SHIPPED),
            says("xa", "ya>xa", "T", "08:30", SHIPPED),
            says("xb", "ya>xb", "O", "10:00", SHIPPED, RECEIVED),
        ],
        {("X", "ya"): "delivered"},
    ),
    "redirected to the supplier itself": (
        [says("xb", "xb>xa", "T", "08:00", SHIPPED), says("xb", "xb>xb", "O", "10:00", SHIPPED, RECEIVED)],
        {("X", "xb"): "local"},
    ),
    "kept by the supplier, then sent after all": (
        [says("xb", "xb>xb", "O", "08:00", "", RECEIVED), says("xb", "xb>xa", "T", "10:00", SHIPPED)],
        {("X", "xb"): "in_transit"},
    ),
    "the same number in two organisations": (
        [
            says("xb", "xb>xa", "T", "09:00", SHIPPED),
            says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED),
            says("yb", "yb>ya", "A", "11:00"),
        ],
        {("X", "xb"): "delivered", ("Y", "yb"): "requested"},
    ),
    "a supplier of two reservations with one number": (
        [says("xb", "xb>xa", "T", "09:00", SHIPPED), says("xb", "xb>ya", "A", "11:00")],
        {("X", "xb"): "in_transit", ("Y", "xb"): "requested"},
    ),
    "the network's file speaks for both": (
        [says("network", "xb>ya", "O", "10:00", SHIPPED, RECEIVED)],
        {("Y", "xb"): "delivered"},
    ),
    "the network's file says under way": (
        [says("network", "xb>ya", "T", "10:00", SHIPPED)],
        {("Y", "xb"): "in_transit"},
    ),
    "of two rows changed at one moment the later in the file counts": (
        [says("xa", "xb>xa", "T", "10:00", SHIPPED), says("xa", "xb>xa", "O", "10:00", SHIPPED, RECEIVED)],
        {("X", "xb"): "delivered"},
    ),
}


@pytest.fixture(scope="module")
def stated() -> tuple[Warehouse, World]:
    """All of STATES in one warehouse, each under a number of its own."""
    date = day("2023-03-09")
    files = [File(b, date) for b in ("xa", "xb", "ya", "yb")] + [File("network", date, format="koha_csv")]
    rows = [replace(row, number=what) for what, (told, _) in STATES.items() for row in told]
    world = World(PLAIN, day("2023-03-15"), files, rows)
    return Warehouse(world), world


@pytest.mark.parametrize("what", STATES)
def test_a_leg_ends_in_its_state(stated: tuple[Warehouse, World], what: str) -> None:
    states = {(o, s): state for (o, n, s), state in stated[0].states().items() if n == what}
    assert states == STATES[what][1]


def test_all_seven_states_are_there(stated: tuple[Warehouse, World]) -> None:
    assert set(stated[0].states().values()) == {
        "requested", "in_transit", "delivered", "local", "unconfirmed", "cancelled", "superseded",
    }  # fmt: skip
    assert_same(stated[0], Naive(stated[1]))


def test_what_is_told_of_a_leg(stated: tuple[Warehouse, World]) -> None:
    legs = {
        (leg["reservation_id"], leg["supplying_branch"]): leg for leg in stated[0].dicts("SELECT * FROM marts.fct_leg")
    }
    unannounced = [what for (what, _), leg in legs.items() if leg["is_unannounced"]]
    assert sorted(unannounced) == sorted(
        [
            "the pick-up branch alone tells it: unannounced",
            "the supplier tells no sending, the pick-up branch a receipt",
            "the reader withdrew, the pick-up branch received it nevertheless",
            "of two rows changed at one moment the later in the file counts",
        ]
    )
    assert [what for (what, _), leg in legs.items() if leg["is_not_collected"]] == ["delivered, and closed"]
    redirected = legs["redirected while under way", "ya"]
    assert (redirected["pickup_branch"], redirected["supplying_organisation"]) == ("xb", "Y")
    undone = legs["a receipt that was undone", "xb"]
    assert (undone["received_at"], undone["transit_calendar_days"]) == (None, None)
    unconfirmed = legs["the supplier alone tells a receipt", "xb"]
    assert (unconfirmed["received_at"], unconfirmed["unconfirmed_received_at"]) == (None, at(RECEIVED))


# ---------------------------------------------------------------------------------------------- files


def test_the_newest_row_is_of_the_later_change_then_date_then_arrival() -> None:
    files = [
        File("xa", day("2023-03-10")),
        File("xa", day("2023-03-09")),
        File("xa", day("2023-03-09"), format="excel"),
        File("xa", day("2023-03-09"), verdict="rejected"),
    ]
    a, b, c = "2023-03-08 09:00", "2023-03-08 10:00", "2023-03-08 11:00"
    gone = Row(1, "date", "01", "1", "O", b, SHIPPED, "2023-03-07 09:00")
    rows = [
        # an older export with a later change wins
        Row(1, "change", "01", "1", "T", b, SHIPPED),
        Row(2, "change", "01", "1", "O", c, SHIPPED, "2023-03-08 09:00"),
        # changed at one moment: the later export date, although its file came first
        gone,
        Row(2, "date", "01", "1", "T", b, SHIPPED),
        # one export date: the later arrival
        Row(2, "arrival", "01", "1", "T", a, SHIPPED),
        Row(3, "arrival", "01", "1", "O", a, SHIPPED, "2023-03-08 08:00"),
    ]
    world = World(PLAIN, day("2023-03-15"), files, rows)
    warehouse = Warehouse(world)
    assert {n: state for (_, n, _), state in warehouse.states().items()} == {
        "change": "delivered", "date": "delivered", "arrival": "delivered",
    }  # fmt: skip
    assert_same(warehouse, Naive(world))
    # the same with the file of the later date gone
    world = replace(world, rows=[row for row in rows if row is not gone])
    warehouse.rebuild(world)
    assert warehouse.states()["X", "date", "xb"] == "in_transit"


def test_a_file_is_superseded_by_a_later_one_that_can_be_read() -> None:
    date = day("2023-03-09")
    files = [
        File("xa", date),
        File("xa", date),
        File("xa", date, verdict="rejected"),
        File("xa", date, verdict="skipped"),
        File("xb", date),
        File("xa", date, format="excel"),
    ]
    rows = [
        Row(1, "1", "01", "1", "O", "2023-03-09 12:00", SHIPPED, RECEIVED),
        Row(1, "2", "01", "1", "O", "2023-03-09 12:00", SHIPPED, RECEIVED),
        Row(2, "1", "01", "1", "O", "2023-03-09 10:00", SHIPPED, "2023-03-09 09:00"),
        Row(5, "3", "01", "99", "T", "2023-03-09 10:00", SHIPPED),
        Row(5, "4", "2", "001", "T", "2023-03-09 10:00", SHIPPED),
        Row(5, "5", "01", "001", "T", "2023-03-09 10:00", SHIPPED),
    ]
    world = World(
        PLAIN, day("2023-03-15"), files, rows, held=[(1, 9, "unknown_status")], warned=[(1, 2, "old"), (2, 2, "new")]
    )
    warehouse = Warehouse(world)
    assert warehouse.states() == {("X", "1", "xb"): "delivered", ("Y", "5", "xb"): "in_transit"}
    assert warehouse.rows("SELECT delivered_on FROM marts.fct_delivery") == [(date,)]
    counted = "SELECT file_id, state, rows_read, rows_accepted, rows_quarantined FROM quality.file ORDER BY file_id"
    assert warehouse.rows(counted) == [
        (1, "superseded", 3, 2, 1),
        (2, "accepted", 1, 1, 0),
        (3, "rejected", 0, 0, 0),
        (4, "skipped", 0, 0, 0),
        (5, "partly_accepted", 3, 1, 2),
        (6, "accepted", 0, 0, 0),
    ]
    held = "SELECT file_id, row, rule, stage, is_superseded FROM quality.quarantined_row ORDER BY ALL"
    assert warehouse.rows(held) == [
        (1, 9, "unknown_status", "arrival", True),
        (5, 2, "unknown_branch", "reference", False),
        (5, 3, "exporter_not_involved", "reference", False),
    ]
    assert warehouse.rows("SELECT file_id, row, rule, branch FROM quality.warning") == [(2, 2, "new", "xa")]
    assert warehouse.rows("SELECT file_id, reason FROM quality.file WHERE reason IS NOT NULL") == [
        (3, "broken_archive")
    ]
    assert warehouse.rows("SELECT run_id, as_of, is_this_run FROM quality.run") == [("night", day("2023-03-15"), True)]
    assert_same(warehouse, Naive(world))


# ---------------------------------------------------------------------------------------------- time


def test_dates_are_those_of_the_dutch_calendar() -> None:
    world = World(PLAIN, day("2024-01-05"), [File("xa", day("2023-01-02"))])
    warehouse = Warehouse(world)
    dates = {row["date"]: row for row in warehouse.dicts("SELECT * FROM marts.dim_date")}
    assert [min(dates), max(dates), len(dates)] == [day("2023-01-01"), day("2024-12-31"), 365 + 366]
    in_2023 = [row for date, row in dates.items() if date.year == 2023]
    assert sum(row["is_transport_day"] for row in in_2023) == 254
    assert [f"{row['date']:%d-%m}" for row in in_2023 if row["holiday"]] == [
        "01-01", "09-04", "10-04", "27-04", "18-05", "28-05", "29-05", "25-12", "26-12",
    ]  # fmt: skip
    assert dates[day("2023-04-07")]["is_transport_day"]  # Good Friday
    assert dates[day("2023-04-07")]["is_export_day"]
    assert not dates[day("2023-04-08")]["is_transport_day"]  # a Saturday: exports, no transport
    assert dates[day("2023-04-08")]["is_export_day"]
    assert not dates[day("2023-04-10")]["is_export_day"]
    assert dates[day("2023-01-01")]["iso_year"] == 2022
    assert (dates[day("2023-01-01")]["iso_week"], dates[day("2023-01-01")]["iso_weekday"]) == (52, 7)
    number = 0
    for date, row in sorted(dates.items()):
        assert row["is_transport_day"] == is_working_day(date), date
        assert row["is_export_day"] == is_working_day(date, saturday=True), date
        assert (row["year"], row["month"]) == (date.year, date.month)
        number += is_working_day(date)
        assert row["transport_day_number"] == number


JOURNEYS = [
    # shipped, received: calendar days of 24 hours, transport days
    ("2023-03-24 16:00", "2023-03-27 16:00", 3 - 1 / 24, 1),  # the night in which an hour is skipped
    ("2023-10-27 16:00", "2023-10-30 16:00", 3 + 1 / 24, 1),  # the night with an hour twice
    ("2023-03-21 16:00", "2023-03-22 16:00", 1.0, 1),
    ("2023-04-06 16:00", "2023-04-11 10:00", 4.75, 2),  # over Easter: Good Friday and Tuesday
    ("2023-12-22 16:00", "2023-12-27 16:00", 5.0, 1),  # over Christmas
    ("2023-04-26 16:00", "2023-04-28 16:00", 2.0, 1),  # over King's Day
    ("2023-06-09 16:00", "2023-06-10 10:00", 0.75, 0),  # received on a Saturday
    ("2023-06-14 09:00", "2023-06-14 09:00", 0.0, 0),
    ("2022-12-30 16:00", "2023-01-02 10:00", 2.75, 1),
    ("2023-06-14 09:01", "2023-06-14 09:00", None, None),  # received before it was sent: no duration
    ("", "2023-06-14 09:00", None, None),
]


def test_durations_across_the_clock_change_and_holidays() -> None:
    files = [File("xa", day("2023-12-30")), File("xb", day("2023-12-30"))]
    rows = []
    for i, (shipped, received, _, _) in enumerate(JOURNEYS):
        rows.append(Row(1, str(i), "01", "1", "O", received, shipped, received, requested=shipped or received))
        rows.append(Row(2, str(i), "01", "1", "T" if shipped else "A", received, shipped))
    world = World(PLAIN, day("2024-01-05"), files, rows)
    warehouse = Warehouse(world)
    durations = {
        int(number): rounded(found)
        for number, *found in warehouse.rows(
            "SELECT reservation_id, transit_calendar_days, transit_transport_days, fill_days FROM marts.fct_leg"
        )
    }
    fill = {10: 0.0}  # that one was never sent, and requested when it was received
    assert durations == {i: rounded((c, t, fill.get(i, c))) for i, (_, _, c, t) in enumerate(JOURNEYS)}
    assert_same(warehouse, Naive(world))
    # nine of eleven have a transit time: 0 0 1 1 1 1 1 1 2
    assert warehouse.figure("transit_transport_days_median", 2023) == 1
    assert warehouse.figure("transit_transport_days_p90", 2023) == pytest.approx(1.2)
    assert warehouse.figure("within_transit_norm_pct", 2023) == 100
    # the year is that of the receipt, on the local clock
    assert warehouse.figure("deliveries_total", 2023) == 11
    assert warehouse.figure("deliveries_total", 2023, 1) == 1


def test_the_day_is_the_local_day_of_the_receipt() -> None:
    rows = [
        Row(1, "1", "01", "1", "O", "2023-01-01 00:30", "", "2023-01-01 00:30"),  # still 2022 in UTC
        Row(1, "2", "01", "1", "O", "2022-12-31 23:59", "", "2022-12-31 23:59"),
        Row(1, "3", "01", "1", "O", "2023-01-31 23:59", "", "2023-01-31 23:59"),  # the last minute of a month
    ]
    rows = [replace(row, requested="2022-12-01 09:00") for row in rows]
    world = World(PLAIN, day("2023-03-01"), [File("xa", day("2023-02-01"))], rows)
    warehouse = Warehouse(world)
    assert warehouse.figure("deliveries_total", 2022) == 1
    assert warehouse.figure("deliveries_total", 2022, 12) == 1
    assert warehouse.figure("deliveries_total", 2023) == 2
    assert warehouse.figure("deliveries_total", 2023, 1) == 2
    assert warehouse.figure("deliveries_total", 2023, 2) == 0
    assert_same(warehouse, Naive(world))


# ---------------------------------------------------------------------------------------------- figures by hand


def deliveries(ways: dict[str, int], file: int = 1) -> list[Row]:
    """So many deliveries on each lane, told by the network's file; in transit for 1, 2, 3, … transport days."""
    rows = []
    for way, count in ways.items():
        supplier, pickup = way.split(">")
        for i in range(count):
            shipped = f"2023-03-{[10, 9, 8, 7, 6][i % 5]:02} 12:00"
            rows.append(
                Row(file, f"{way} {i}", CODE[supplier], CODE[pickup], "O", "2023-03-13 12:00", shipped,
                    "2023-03-13 12:00", requested="2023-03-03 12:00")
            )  # fmt: skip
    return rows


def test_figures_add_up_by_lane_pair_branch_and_month() -> None:
    ways = {"xa>xb": 5, "xb>xa": 2, "xa>ya": 3, "ya>xa": 1, "yb>ya": 4}
    rows = deliveries(ways)
    rows[0] = replace(rows[0], status="Z", reason="8")
    published = [
        {"year": "2023", "kpi": "deliveries_total", "value": "17", "source": "report"},
        {"year": "2023", "kpi": "deliveries_between_organisations", "value": "4", "source": ""},
        {"year": "2021", "kpi": "deliveries_total", "value": "9", "source": ""},
        {"year": "2023", "kpi": "deliveries_y_to_x", "value": "1", "source": ""},
    ]
    world = World(PLAIN, day("2023-04-01"), [File("network", day("2023-03-13"), format="koha_csv")], rows, published)
    warehouse = Warehouse(world)
    figure = warehouse.figure
    assert figure("deliveries_total", 2023) == 15
    assert figure("deliveries_total", 2023, 3) == 15
    assert figure("deliveries_total", 2023, 4) == 0
    assert figure("deliveries_between_organisations", 2023) == 4
    assert figure("deliveries_between_organisations", 2023, branch="xa") == 1
    assert figure("deliveries_x_to_y", 2023) == 3
    assert figure("deliveries_y_to_x", 2023) == 1
    assert figure("deliveries_within_x", 2023) == 7
    assert figure("deliveries_within_y", 2023) == 4
    assert figure("deliveries_total", 2023, organisation="X>Y") == 3
    for way, count in ways.items():
        assert figure("deliveries_total", 2023, lane=way) == count
    assert figure("deliveries_total", 2023, lane="yb>xb") == 0
    assert [figure("lender_balance", 2023, branch=b) for b in ("xa", "xb", "ya", "yb")] == [5, -3, -6, 4]
    assert figure("not_collected_pct", 2023) == pytest.approx(100 / 15)
    assert figure("not_collected_pct", 2023, lane="yb>xb") is None
    # transit of xa>xb: 1, 2, 3, 4, 5 transport days; 3, 4, 5, 6, 7 calendar days
    assert figure("transit_transport_days_median", 2023, lane="xa>xb") == 3
    assert figure("transit_transport_days_p90", 2023, lane="xa>xb") == pytest.approx(4.6)
    assert figure("transit_calendar_days_p90", 2023, lane="xa>xb") == pytest.approx(6.6)
    assert figure("transit_transport_days_median", 2023, lane="yb>ya") == 2.5
    assert figure("within_transit_norm_pct", 2023, lane="xa>xb") == 40
    assert figure("fill_days_median", 2023) == 10
    assert warehouse.rows("SELECT year, kpi, published, computed, difference FROM kpi.published ORDER BY ALL") == [
        (2021, "deliveries_total", 9, None, None),
        (2023, "deliveries_between_organisations", 4, 4, 0),
        (2023, "deliveries_total", 17, 15, -2),
        (2023, "deliveries_y_to_x", 1, 1, 0),
    ]
    lanes = warehouse.rows("SELECT count(*), sum(delivered), count(DISTINCT date) FROM marts.agg_lane_day")
    assert lanes == [(90 * 12, 15, 90)]  # January to March, all lanes, zeros shown
    balances = warehouse.rows("SELECT DISTINCT total FROM (SELECT sum(lender_balance) AS total "
                              "FROM marts.agg_branch_day GROUP BY date)")  # fmt: skip
    assert balances == [(0,)]
    assert warehouse.rows("SELECT lender_balance FROM marts.agg_branch_day "
                          "WHERE branch = 'xa' AND date = '2023-03-13'") == [(5,)]  # fmt: skip
    assert_same(warehouse, Naive(world))


def test_under_way_and_overdue_on_the_day_of_the_run() -> None:
    shipped = ["2023-03-30 16:00", "2023-03-31 16:00", "2023-04-03 16:00", "2023-04-05 16:00", ""]
    rows = [Row(1, str(i), "1", "01", "T", "2023-04-05 17:00", moment) for i, moment in enumerate(shipped)]
    world = World(PLAIN, day("2023-04-11"), [File("xa", day("2023-04-05"))], rows)
    warehouse = Warehouse(world)
    # Easter Monday, 10 April, is no transport day
    so_far = "SELECT in_transit_transport_days FROM marts.under_way ORDER BY reservation_id"
    assert warehouse.rows(so_far) == [(7,), (6,), (5,), (3,), (None,)]
    assert warehouse.figure("in_transit", 2023) == 5
    assert warehouse.figure("overdue", 2023, 4) == 2
    assert warehouse.figure("overdue", 2023, branch="xb") == 2
    assert warehouse.figure("overdue", 2023, branch="xa") == 0
    months = warehouse.rows("SELECT DISTINCT month FROM kpi.value WHERE kpi IN ('in_transit', 'overdue') ORDER BY 1")
    assert months == [(0,), (4,)]  # under way is something of today, not of a past month
    assert_same(warehouse, Naive(world))
    # on the first of a month, what is under way belongs to the day before
    world = replace(world, as_of=day("2023-05-01"))
    assert_same(Warehouse(world), Naive(world))


WEDNESDAY = day("2023-04-19")


@pytest.mark.parametrize(
    ("before", "last", "usual", "is_unusual"),
    [
        ([4] * 7 + [9], 12, (4, 4, 9), False),
        ([4] * 7 + [9], 13, (4, 4, 9), True),
        ([4] * 7 + [9], 0, (4, 4, 9), True),
        ([4] * 7 + [20], 15, (4, 4, 20), False),  # one day of the eight was like it
        ([4, 5, 4, 5, 4, 5, 4, 5], 1, (4.5, 4, 5), False),
        ([4] * 8 + [0, 30], 13, (4, 4, 4), True),  # of ten the last eight
        ([4, 4, None, 4, 4], 13, (4, 4, 4), True),  # a day of which nothing was delivered says nothing
        ([4, 4, None, 4], 13, (None, None, None), False),  # three days show nothing that is usual
        ([4, 4, 4] + [None] * 12 + [4], 13, (4, 4, 4), True),  # sixteen weeks
        ([4, 4, 4] + [None] * 13 + [4], 13, (None, None, None), False),
        ([4] * 8, None, (4, 4, 4), False),
    ],
)
def test_a_lane_beside_what_is_usual_for_its_weekday(
    before: list[int | None], last: int | None, usual: tuple[float | None, ...], is_unusual: bool
) -> None:
    """`before` are the Wednesdays before, the newest first; None: no export came of that day, but in the next."""
    files, rows = [File("xb", day("2022-12-20"))], []
    for weeks, count in enumerate([last, *before]):
        date = WEDNESDAY - weeks * 7 * DAY
        files.append(File("xb", date if count is not None else date + DAY))
        for number in range(7 if count is None else count):
            rows.append(Row(len(files), f"{weeks}{number:03}", "1", "01", "O", f"{date + DAY} 10:00",
                            f"{date - DAY} 10:00", f"{date} 10:00", "2022-12-20 10:00"))  # fmt: skip
    world = World(PLAIN, WEDNESDAY + DAY, files, rows)
    warehouse = Warehouse(world)
    found = warehouse.rows(
        "SELECT date, delivered, is_told, usually_delivered, least_delivered, most_delivered, is_unusual "
        "FROM marts.lane_usual WHERE (supplying_branch, pickup_branch) = ('xa', 'xb')"
    )
    assert found == [(WEDNESDAY, 7 if last is None else last, last is not None, *usual, is_unusual)]
    assert_same(warehouse, Naive(world))


LISTED = "SELECT task, branch, waiting_transport_days FROM marts.search_item ORDER BY ALL"


def test_closing_days_at_either_end_do_not_count() -> None:
    """Sent on Friday 24 March; Easter Monday, 10 April, is no transport day either."""
    sent = [Row(1, "1", "1", "01", "T", "2023-03-24 16:00", "2023-03-24 16:00")]
    closed = [period("xb", "01", closed="2023-03-27"), period("xb", "01", opened="2023-04-03")]
    for periods, as_of, days in [
        (PLAIN, "2023-03-31", 0), (PLAIN, "2023-04-01", 0), (PLAIN, "2023-04-03", 6), (PLAIN, "2023-04-11", 11),
        ([PLAIN[0], *closed], "2023-04-03", 0), ([PLAIN[0], *closed], "2023-04-06", 0),
        ([PLAIN[0], *closed], "2023-04-07", 6), ([PLAIN[0], *closed], "2023-04-11", 7),
    ]:  # fmt: skip
        world = World(periods, day(as_of), [File("xa", day("2023-03-24"))], sent)
        warehouse = Warehouse(world)
        expected = [("find_at_pickup", "xb", days), ("find_at_supplier", "xa", days)] if days else []
        assert warehouse.rows(LISTED) == expected, (as_of, days)
        assert_same(warehouse, Naive(world))


def test_what_arrives_leaves_the_search_lists() -> None:
    """Night after night: asked for, sent, received by the supplier's word, received, and undone again."""
    files = [File("xa", day("2023-03-01")), File("xa", day("2023-03-13")), File("xa", day("2023-03-28")),
             File("xb", day("2023-03-29")), File("xb", day("2023-03-30"))]  # fmt: skip
    rows = [
        Row(1, "1", "1", "01", "A", "2023-03-01 09:00", requested="2023-03-01 08:00"),
        Row(2, "1", "1", "01", "T", "2023-03-13 09:00", "2023-03-13 09:00", requested="2023-03-01 08:00"),
        Row(3, "1", "1", "01", "O", "2023-03-28 09:00", "2023-03-13 09:00", "2023-03-27 10:00",
            requested="2023-03-01 08:00"),
        Row(4, "1", "1", "01", "O", "2023-03-29 09:00", "2023-03-13 09:00", "2023-03-27 10:00",
            requested="2023-03-01 08:00"),
        Row(5, "1", "1", "01", "T", "2023-03-30 09:00", "2023-03-13 09:00", requested="2023-03-01 08:00"),
    ]  # fmt: skip
    for told, as_of, expected in [
        (1, "2023-03-08", []), (1, "2023-03-09", [("send", "xa", 6)]),
        (2, "2023-03-20", []), (2, "2023-03-21", [("find_at_pickup", "xb", 6), ("find_at_supplier", "xa", 6)]),
        (3, "2023-03-29", [("deliver_export", "xb", 2)]),
        (4, "2023-03-30", []),
        (5, "2023-03-31", [("deliver_export", "xb", 4)]),
    ]:  # fmt: skip
        world = World(PLAIN, day(as_of), files[:told], rows[:told])
        warehouse = Warehouse(world)
        assert warehouse.rows(LISTED) == expected, as_of
        assert_same(warehouse, Naive(world))
    # the export of that day is there, and does not tell the receipt
    world = World(PLAIN, day("2023-03-31"), [*files[:3], File("xb", day("2023-03-27"))], rows[:3])
    warehouse = Warehouse(world)
    assert warehouse.rows(LISTED) == [("register_receipt", "xb", 4)]
    assert_same(warehouse, Naive(world))


def test_what_was_asked_for_before_the_first_year_waits_from_its_first_day() -> None:
    """The calendar begins with the first year of which anything is known: 49 transport days up to 9 March."""
    row = Row(1, "1", "1", "01", "A", "2023-03-01 09:00", requested="2021-12-01 08:00")
    world = World(PLAIN, day("2023-03-09"), [File("xa", day("2023-03-01"))], [row])
    warehouse = Warehouse(world)
    assert warehouse.rows(LISTED) == [("send", "xa", 49)]
    assert_same(warehouse, Naive(world))


def test_a_receipt_is_asked_of_the_export_that_the_pickup_branch_delivers_next() -> None:
    """Received on a Sunday, the last day before xb closes for a week: the others deliver on Monday, xb after it."""
    closed = [period("xb", "01", closed="2023-03-26"), period("xb", "01", opened="2023-04-03")]
    others = [one for one in PLAIN if one.branch != "xb"]
    row = Row(1, "1", "1", "01", "O", "2023-03-27 09:00", "2023-03-24 09:00", "2023-03-26 10:00")
    files = [File("xa", day("2023-03-27")), File("ya", day("2023-03-27"))]
    world = World([*others, *closed], day("2023-04-05"), files, [row])
    warehouse = Warehouse(world)
    asked = "SELECT branch, task, told_by_export_of, told_by_export_state FROM marts.search_item"
    assert warehouse.rows(asked) == [("xb", "deliver_export", day("2023-04-03"), "missing")]
    assert_same(warehouse, Naive(world))


def test_two_suppliers_that_both_tell_a_receipt_are_two_tasks() -> None:
    """The pick-up branch has delivered nothing since, so neither is superseded."""
    files = [File("xb", day("2023-03-01")), File("xa", day("2023-03-27")), File("ya", day("2023-03-28"))]
    rows = [
        Row(2, "1", "1", "01", "O", "2023-03-27 12:00", "2023-03-24 09:00", "2023-03-27 10:00"),
        Row(3, "1", "001", "01", "O", "2023-03-28 12:00", "2023-03-24 09:00", "2023-03-28 10:00"),
    ]
    world = World(PLAIN, day("2023-03-30"), files, rows)
    warehouse = Warehouse(world)
    asked = "SELECT supplying_branch, task, told_by_export_of FROM marts.search_item ORDER BY ALL"
    assert warehouse.rows(asked) == [
        ("xa", "deliver_export", day("2023-03-27")),
        ("ya", "deliver_export", day("2023-03-28")),
    ]
    assert_same(warehouse, Naive(world))


# ---------------------------------------------------------------------------------------------- the feed


@pytest.mark.parametrize("in_order", [1, -1])
def test_where_periods_overlap_the_format_is_that_of_the_one_that_began_last(in_order: int) -> None:
    both = [period("xb", "01"), period("xb", "01", form="koha_csv", opened="2023-01-04")]
    periods = [period("xa", "1"), *both[::in_order]]
    files = [File("xb", day("2023-01-03")), File("network", day("2023-01-05"), format="koha_csv")]
    world = World(periods, day("2023-01-07"), files)
    warehouse = Warehouse(world)
    states = warehouse.rows("SELECT state FROM marts.feed_day WHERE branch = 'xb' ORDER BY export_date")
    # Monday 2 to Friday 6 January: its own export until Tuesday, the network's from Wednesday on
    assert [state for (state,) in states][:5] == ["not_begun", "received", "missing", "received", "missing"]


def test_the_feed_of_every_branch_and_day() -> None:
    periods = [period("xa", "1"), period("xb", "01", form="koha_csv"), period("ya", "001", form="koha_csv")]
    late = dt.datetime(2023, 1, 5, 12)
    files = [
        File("xa", day("2023-01-02")),
        File("xa", day("2023-01-03"), arrived=late),
        File("xa", day("2023-01-04"), arrived=late),
        File("xa", day("2023-01-05"), verdict="rejected"),
        File("xa", day("2023-01-06"), verdict="rejected"),
        File("xa", day("2023-01-06"), arrived=dt.datetime(2023, 1, 7, 12)),
        File("xa", day("2023-01-06"), arrived=dt.datetime(2023, 1, 20, 12)),  # a correction does not make it late
        File("xa", None, verdict="rejected"),
        File("network", day("2023-01-03"), format="koha_csv"),
        File("xb", day("2023-01-04")),  # its exports are the network's
        File("xa", day("2023-01-08")),  # a Sunday: not expected
    ]
    world = World(periods, day("2023-01-10"), files)
    warehouse = Warehouse(world)
    states: dict[str, list[str]] = defaultdict(list)
    for branch, state in warehouse.rows("SELECT branch, state FROM marts.feed_day ORDER BY branch, export_date"):
        states[branch].append(state)
    # Monday 2 January to Saturday, and Monday
    assert states["xa"] == ["received", "late", "received", "rejected", "received", "missing", "missing"]
    assert states["ya"] == ["missing", "received", *["missing"] * 5]
    assert states["xb"][:3] == ["missing", "received", "missing"]
    assert warehouse.figure("feed_completeness_pct", 2023, branch="xa") == pytest.approx(100 * 4 / 7)
    assert warehouse.figure("feed_completeness_pct", 2023, 1) == pytest.approx(100 * 6 / 21)
    assert warehouse.figure("feed_completeness_pct", 2023, 2) is None
    completeness = "SELECT completeness FROM kpi.value WHERE kpi = 'deliveries_total' AND month = 0 AND "
    lane = "supplying_branch = 'xa' AND pickup_branch = 'ya'"
    assert warehouse.rows(completeness + lane)[0][0] == pytest.approx(5 / 14)
    assert_same(warehouse, Naive(world))


def test_nobody_is_asked_for_exports_of_before_the_first_one_of_the_network() -> None:
    files = [
        File("xa", day("2023-06-12"), verdict="rejected"),
        File("xa", day("2023-06-14")),
        File("xb", day("2023-06-16")),
        File("xa", None, verdict="rejected"),
    ]
    world = World(PLAIN, day("2023-06-17"), files)
    warehouse = Warehouse(world)
    feed = "SELECT state, count(*), min(export_date) FROM marts.feed_day WHERE state <> 'not_begun' AND branch = "
    first = dt.date(2023, 6, 14)
    assert warehouse.rows(f"{feed} 'xa' GROUP BY state ORDER BY state DESC") == [
        ("rejected", 1, first - 2 * DAY), ("received", 1, first), ("missing", 2, first + DAY),
    ]  # fmt: skip
    assert warehouse.rows(f"{feed} 'xb' GROUP BY state ORDER BY state DESC") == [
        ("received", 1, first + 2 * DAY), ("missing", 2, first),
    ]  # fmt: skip
    assert warehouse.rows(f"{feed} 'ya' GROUP BY state") == [("missing", 3, first)], "it never delivered"
    assert_same(warehouse, Naive(world))


@pytest.mark.parametrize(
    ("as_of", "shown"),
    [
        ("2023-06-01", {(2023, 0), (2023, 5)}),
        ("2024-01-01", {(2023, 0), (2023, 12)}),
        ("2024-01-02", {(2023, 0), (2023, 12)}),
        ("2024-11-01", {(2023, 0), (2023, 12)}),
        ("2021-07-01", set()),
    ],
)
def test_what_is_under_way_now_is_always_shown(as_of: str, shown: set[tuple[int, int]]) -> None:
    """Also in the first days of a year, and long after the last export; not in a year that was then to come."""
    rows = [Row(1, "on its way", "1", "01", "T", "2023-03-13 12:00", "2023-03-13 12:00")]
    world = World(PLAIN, day(as_of), [File("xa", day("2023-03-13")), File("xa", day("2022-03-14"))], rows)
    warehouse = Warehouse(world)
    for kpi in ("in_transit", "overdue"):
        query = f"SELECT year, month FROM kpi.value WHERE kpi = '{kpi}' AND dimension = 'total'"
        assert set(warehouse.rows(query)) == shown
        for year, month in shown:
            assert warehouse.figure(kpi, year, month) == 1
    if shown:
        assert_same(warehouse, Naive(world))


def test_an_export_that_arrives_after_midnight_is_late_by_the_local_clock() -> None:
    """Late is 'more than a day after its date', and dates are local: 00:30 on the 4th is 23:30 UTC on the 3rd."""
    files = [
        File("xa", day("2023-01-02"), arrived=dt.datetime(2023, 1, 3, 23, 30)),
        File("xb", day("2023-01-02"), arrived=dt.datetime(2023, 1, 4, 0, 30)),
    ]
    warehouse = Warehouse(World(PLAIN, day("2023-01-05"), files))
    states = dict(warehouse.rows("SELECT branch, state FROM marts.feed_day WHERE export_date = '2023-01-02'"))
    assert (states["xa"], states["xb"]) == ("received", "late")


# ---------------------------------------------------------------------------------------------- branches that change


def test_a_branch_of_two_periods_and_one_that_closes() -> None:
    periods = [
        period("xa", "1"),
        period("xb", "01", closed="2023-03-31"),
        period("xb", "77", opened="2023-05-06", form="excel"),
        period("ya", "001", closed="2023-06-30"),
        period("yb", "2", opened="2023-06-01"),
    ]
    files = [File("xa", day("2023-06-10"))]
    received = {
        "last day": ("01", "2023-03-31"),
        "closed": ("01", "2023-04-01"),
        "old code": ("01", "2023-05-06"),
        "new code": ("77", "2023-05-06"),
        "day before": ("77", "2023-05-05"),
        "too early": ("2", "2023-05-31"),
        "first day": ("2", "2023-06-01"),
    }
    rows = [
        Row(1, what, code, "1", "O", "2023-06-10 09:00", "", f"{date} 09:00") for what, (code, date) in received.items()
    ]
    world = World(periods, day("2023-08-01"), files, rows)
    warehouse = Warehouse(world)
    assert {n: s for (_, n, s), state in warehouse.states().items() if state == "delivered"} == {
        "last day": "xb", "old code": "xb", "new code": "xb", "first day": "yb",
    }  # fmt: skip
    held = warehouse.rows("SELECT reservation_id, rule FROM quality.quarantined_row ORDER BY 1")
    assert held == [(what, "branch_not_open") for what in ("closed", "day before", "too early")]
    days = dict(warehouse.rows("SELECT branch, count(*) FROM staging.branch_day GROUP BY branch"))
    assert days == {"xa": 212, "xb": 90 + 26 + 30 + 31, "ya": 181, "yb": 61}
    both = (
        "SELECT min(date), max(date), count(*) FROM marts.agg_lane_day "
        "WHERE supplying_branch = '{}' AND pickup_branch = '{}'"
    )
    assert warehouse.rows(both.format("ya", "yb")) == [(day("2023-06-01"), day("2023-06-30"), 30)]
    assert warehouse.rows(both.format("xa", "xb")) == [(day("2023-01-01"), day("2023-07-31"), 90 + 87)]
    branches = warehouse.rows(
        "SELECT branch, name, ils_code, export_format, opened_on, closed_on, is_open FROM marts.dim_branch ORDER BY 1"
    )
    assert branches == [
        ("xa", "xa 1", "1", "dnb_tsv", None, None, True),
        ("xb", "xb 77", "77", "excel", None, None, True),
        ("ya", "ya 001", "001", "dnb_tsv", None, day("2023-06-30"), False),
        ("yb", "yb 2", "2", "dnb_tsv", day("2023-06-01"), None, True),
    ]
    assert_same(warehouse, Naive(world))


def test_a_code_that_passes_from_one_branch_to_another() -> None:
    periods = [
        period("xa", "1"),
        period("xb", "5", opened="2022-01-01", closed="2023-02-28"),
        period("yb", "5", opened="2023-04-01"),
    ]
    dates = ["2021-12-01", "2022-06-01", "2023-03-15", "2023-03-31", "2023-04-01", "2023-06-01"]
    files = [File("xa", day(date)) for date in dates]
    rows = [Row(i, date, "5", "1", "T", f"{date} 09:00", f"{date} 08:00") for i, date in enumerate(dates, start=1)]
    world = World(periods, day("2023-08-01"), files, rows)
    warehouse = Warehouse(world)
    assert {n: s for _, n, s in warehouse.states()} == dict(
        zip(dates, ["xb", "xb", "xb", "xb", "yb", "yb"], strict=True)
    )
    assert_same(warehouse, Naive(world))


def test_a_code_that_comes_back_to_its_first_branch() -> None:
    periods = [
        period("xa", "1"),
        period("xb", "5", closed="2022-12-31"),
        period("yb", "5", opened="2023-01-01", closed="2023-03-31"),
        period("xb", "5", opened="2023-04-01"),
    ]
    dates = ["2022-06-01", "2023-02-01", "2023-05-01"]
    files = [File("xa", day(date)) for date in dates]
    rows = [Row(i, date, "5", "1", "T", f"{date} 09:00", f"{date} 08:00") for i, date in enumerate(dates, start=1)]
    world = World(periods, day("2023-08-01"), files, rows)
    warehouse = Warehouse(world)
    assert {n: s for _, n, s in warehouse.states()} == dict(zip(dates, ["xb", "yb", "xb"], strict=True))
    assert_same(warehouse, Naive(world))


def test_nothing_was_delivered_yet() -> None:
    warehouse = Warehouse(World(PLAIN, day("2023-03-15")))
    for relation in ("marts.fct_leg", "marts.agg_lane_day", "marts.feed_day", "kpi.value", "quality.file"):
        assert warehouse.rows(f"SELECT count(*) FROM {relation}") == [(0,)], relation
    assert warehouse.rows("SELECT count(*) FROM marts.dim_branch") == [(4,)]
    assert warehouse.rows("SELECT count(*) FROM marts.scope") == [(1 + 4 + 4 + 12,)]


# ---------------------------------------------------------------------------------------------- any rows


# A branch that moves and changes its code, one that opens and takes over that code, an old network's file.
CHANGING = [
    period("xa", "1"),
    period("xb", "01", closed="2023-04-30"),
    period("xb", "9", opened="2023-06-01"),
    period("ya", "001", closed="2023-09-30", form="koha_csv"),
    period("yb", "3", opened="2023-02-01", closed="2023-06-30"),
    period("yb", "01", opened="2023-07-01"),
]
EXPORTS = [
    File(branch, day(date), format=form)
    for date in ("2023-01-02", "2023-04-11", "2023-10-30")
    for branch, form in [("xa", "dnb_tsv"), ("xb", "dnb_tsv"), ("ya", "dnb_tsv"), ("yb", "dnb_tsv"),
                         ("network", "koha_csv")]
]  # fmt: skip
NIGHT = day("2023-11-02")
MOMENTS = {
    "requested": ["2022-12-28 09:00", "2023-03-25 12:00", "2023-10-28 12:00"],
    "shipped": ["", "2022-12-30 16:00", "2023-04-06 16:00", "2023-10-27 16:00"],
    "received": ["", "", "", "2022-12-31 23:30", "2023-01-01 00:30", "2023-04-11 10:00", "2023-10-30 09:00"],
    "changed": ["2023-04-11 10:00", "2023-04-11 11:00", "2023-10-30 09:00"],
}


@st.composite
def rows_of_exports(draw: st.DrawFn) -> list[Row]:
    rows = []
    for _ in range(draw(st.integers(1, 14))):
        supplier = draw(st.sampled_from(["01", "01", "1", "001", "3", "9", "", "404"]))
        row = Row(
            file=draw(st.integers(1, len(EXPORTS) + 1)),
            number=draw(st.sampled_from(["1", "2", "3"])),
            supplier=supplier,
            pickup=draw(st.sampled_from(["1", "1", "01", "001", "3", "9"])),
            status=draw(st.sampled_from("AZ" if supplier == "" else "ATOBUZ")),
            reason=draw(st.sampled_from(["", "1", "8"])),
            shipped="" if supplier == "" else draw(st.sampled_from(MOMENTS["shipped"])),
            received="" if supplier == "" else draw(st.sampled_from(MOMENTS["received"])),
            requested=draw(st.sampled_from(MOMENTS["requested"])),
            changed=draw(st.sampled_from(MOMENTS["changed"])),
            closed=draw(st.sampled_from(["", "2023-10-30 12:00"])),
            item=draw(st.sampled_from(["", "11", "12"])),
        )
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def changing() -> Warehouse:
    return Warehouse(
        World(CHANGING, NIGHT, EXPORTS, [Row(1, "1", "01", "1", "T", "2023-01-02 09:00", "2022-12-30 16:00")])
    )


@settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(rows=rows_of_exports(), corrected=st.sampled_from([1, 6, 7, 8, 15]))
def test_any_rows_give_the_naive_figures(changing: Warehouse, rows: list[Row], corrected: int) -> None:
    """The last file of the world corrects another: rows of that one leave the figures."""
    world = World(CHANGING, NIGHT, [*EXPORTS, EXPORTS[corrected - 1]], rows)
    changing.rebuild(world)
    assert_same(changing, Naive(world))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_many_rows_give_the_naive_figures(changing: Warehouse, seed: int) -> None:
    """More rows than Hypothesis draws: every branch tells of hundreds of reservations."""
    rng = random.Random(seed)
    branches = [("xa", "1"), ("xb", "01"), ("ya", "001"), ("yb", "3")]
    rows = []
    for number in range(300):
        (a, a_code), (b, b_code) = rng.choice(branches), rng.choice(branches)
        shipped = rng.choice(MOMENTS["shipped"])
        for teller in rng.sample([a, b], rng.choice([1, 2, 2])):
            status = rng.choice("AAATOZ")
            received = rng.choice(MOMENTS["received"])
            file = next(i for i, f in enumerate(EXPORTS, start=1) if f.branch == teller and f.date == day("2023-04-11"))
            changed = rng.choice(MOMENTS["changed"])
            reason = rng.choice(["", "8"])
            rows.append(Row(file, str(number), a_code, b_code, status, changed, shipped, received, reason=reason))
    world = World(CHANGING, NIGHT, EXPORTS, rows)
    changing.rebuild(world)
    naive = Naive(world)
    assert len({leg.state for leg in naive.legs}) >= 6
    assert_same(changing, naive)
