"""Simulator of the nightly reservation exports that the branches of a register would deliver in a year.

The branches' real exports are not public. This module writes exports in the same formats, calibrated so that the
deliveries of a year (receipts whose local date falls in the year) meet ``published_figures.csv`` exactly. What is
drawn besides (volumes per branch, transit times, what goes wrong) is an assumption; see ``simulation.yaml``.

It is deliberately independent of the rest of the package: it imports nothing from it and does not read the export
contracts, so that an error in one is not mirrored in the other. Formats and headers are written out here once more.

Conventions
-----------
* Times are local wall-clock times, Europe/Amsterdam, counted in whole seconds since 1970 *as if every day had
  86,400 seconds*. Nothing is planned between 02:00 and 03:00, so no time is doubled or missing on a clock change.
* A day is counted from 1 January of the simulated year (0); -1 means: not in this year, or never.
* The export of a day holds the reservations whose transport moved that day, that were requested while no branch could
  supply them (a small share), or that were closed without a loan. A reservation that turned into a loan leaves the
  reservation file, so a loan on a later day than the receipt is not exported (assumption).
* Legs that were sent in the last days of a year are under way at its end. ``simulate(year + 1, continues=True)`` with
  the same seed and reference delivers them in January, counted in the next year's totals. Receipts that are closed as
  not collected only after the end of the year are not closed in the next one.
* Files that are already in ``raw`` are overwritten where the names are equal, and otherwise left alone.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import holidays
import numpy as np
import numpy.typing as npt
import yaml

__all__ = ["SimulationError", "SimulationSummary", "simulate"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
ObjectArray = npt.NDArray[np.object_]

_TIME_ZONE = ZoneInfo("Europe/Amsterdam")
_UNIX_DAY_0 = date(1970, 1, 1)
_DAY = 86_400  # seconds
_NEVER = -1

# ---------------------------------------------------------------------------------------------------------------------
# Formats: written out here independently of the export contracts.

_CANONICAL = (
    "reservation_id",
    "item_barcode",
    "material_type",
    "supplying_branch",
    "pickup_branch",
    "status",
    "close_reason",
    "requested_at",
    "shipped_at",
    "received_at",
    "collected_at",
    "closed_at",
    "changed_at",
)
_COLUMN = {name: position for position, name in enumerate(_CANONICAL)}
_DATE_COLUMNS = frozenset(_COLUMN[name] for name in _CANONICAL if name.endswith("_at"))

_DUTCH_HEADERS = (
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
)
_ENGLISH_HEADERS = (
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
)

# What a cell of a row holds: text; a float is an Excel date serial, an int an Excel number.
Cell = str | float | int
Row = Sequence[Cell]


@dataclass(frozen=True)
class _Format:
    """How one kind of export is written."""

    headers: tuple[str, ...]
    file_name: str
    delimiter: str  # empty: a workbook
    encoding: str
    line_end: str
    datetime_format: str
    personal: tuple[str, ...]  # headers of columns with personal data that the vendor's export can hold

    @property
    def workbook(self) -> bool:
        return not self.delimiter


_DUTCH_PERSONAL = ("Lezernummer", "Naam", "E-mail", "Titel")
_FORMATS = {
    "fmb_csv": _Format(
        _DUTCH_HEADERS,
        "reserveringen_{code}_{day:%Y%m%d}.csv",
        ";",
        "cp1252",
        "\r\n",
        "%d-%m-%Y %H:%M",
        _DUTCH_PERSONAL,
    ),
    "dnb_tsv": _Format(
        _ENGLISH_HEADERS,
        "{code}-reservations-{day:%Y-%m-%d}.tsv",
        "\t",
        "utf-8",
        "\n",
        "%Y-%m-%dT%H:%M:%S",
        ("patronId", "patronName", "patronEmail", "title"),
    ),
    "excel": _Format(
        _DUTCH_HEADERS, "reserveringen {code} {day:%Y-%m-%d}.xlsx", "", "", "", "%d-%m-%Y %H:%M", _DUTCH_PERSONAL
    ),
}

# Obviously fake readers: a leak of personal data can be searched for by the name.
_FAKE_READERS = (
    ("P1000001", "Zoë Kanarie", "zoe.kanarie@example.org", "De geheime tuin; een dagboek"),
    ("P1000002", "Jan Kanarie", "jan.kanarie@example.org", 'Het "grote" kanarieboek'),
    ("P1000003", "Fatima Kanarie", "fatima.kanarie@example.org", "Leven met schulden"),
    ("P1000004", "Piet-Hein van Kanarie", "piet.kanarie@example.org", "Café Kanarie"),
)
# Pass the eleven test; well-known test numbers, not of a person.
_FAKE_SERVICE_NUMBERS = ("111222333", "123456782")


class SimulationError(ValueError):
    """What was asked cannot be simulated; the message says what is wrong and where."""


@dataclass(frozen=True)
class SimulationSummary:
    """What was written. All numbers are counts; organisations are codes of the register.

    ``rows`` counts the data rows in every file that can be read: not those of files that ought to be rejected
    (``imperfections``) or that repeat another file byte for byte.
    """

    year: int
    seed: int
    files: int
    rows: int
    deliveries: int
    deliveries_between_organisations: int
    deliveries_by_organisation_pair: dict[tuple[str, str], int]
    """(supplying organisation, pick-up organisation) to deliveries, organisation to itself included."""
    legs: dict[str, int]
    """State at the moment after the last export of the year to number of legs."""
    planted: int


# ---------------------------------------------------------------------------------------------------------------------
# Reference data


@dataclass(frozen=True)
class _Assumptions:
    """``simulation.yaml``; a key that is left out keeps the plain default given here."""

    weights: Mapping[str, float] = field(default_factory=dict)
    default_weight: float = 1.0
    supply_exponent: float = 1.0
    demand_exponent: float = 1.0
    growth_per_year: float = 0.0
    deliveries_per_weight: float = 0.3
    holidays: str = "NL"
    working_holidays: Sequence[str] = ("Good Friday",)
    month_profile: Sequence[float] = (1.0,) * 12
    weekday_profile: Sequence[float] = (1.0, 1.0, 1.0, 1.0, 1.0, 0.0)
    day_noise: float = 0.0
    transit_transport_days: Mapping[str, Sequence[float]] = field(default_factory=dict)
    wait_days_mean: float = 6.0
    wait_days_max: int = 60
    shares: Mapping[str, float] = field(default_factory=dict)
    not_collected_days: Sequence[int] = (10, 21)
    cancel_reasons: Mapping[str, float] = field(default_factory=lambda: {"5": 1.0})
    material_types: Mapping[str, float] = field(default_factory=lambda: {"boek": 1.0})
    planted_rows_per_kind: float = 0.0001
    planted_files_per_kind: float = 0.002

    def share(self, name: str) -> float:
        return float(self.shares.get(name, _DEFAULT_SHARES[name]))

    def transit(self, kind: str) -> FloatArray:
        """Chances of 1, 2, 3, ... transport days on a lane of that kind; they add up to 1."""
        chances: FloatArray = np.array(self.transit_transport_days.get(kind, (0.6, 0.3, 0.1)), dtype=np.float64)
        chances /= chances.sum()
        return chances


_DEFAULT_SHARES = {
    "collected_same_day": 0.2,
    "reader_told": 0.5,
    "not_collected": 0.1,
    "request_exported": 0.01,
    "still_requested": 0.004,
    "cancelled_before_sending": 0.01,
    "cancelled_after_sending": 0.004,
    "lost": 0.002,
    "supplied_again": 0.005,
    "redirected": 0.003,
    "undone_received_again": 0.001,
    "undone_not_received": 0.0005,
    "local": 0.05,
}


def _read_assumptions(path: Path) -> _Assumptions:
    if not path.exists():
        return _Assumptions()
    content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    known = {entry.name for entry in fields(_Assumptions)}
    if not isinstance(content, dict) or (unknown := set(content) - known):
        named = ", ".join(sorted(map(str, unknown))) if isinstance(content, dict) else "no mapping"
        raise SimulationError(f"{path}: not known to the simulator: {named}. Known: {', '.join(sorted(known))}.")
    if unknown := set(content.get("shares", {})) - set(_DEFAULT_SHARES):
        raise SimulationError(f"{path}: shares: not known to the simulator: {', '.join(sorted(unknown))}.")
    result = _Assumptions(**content)
    # The reservation numbers of requests made in the year before have a range of their own, of one year before.
    if not 0 <= result.wait_days_max <= 250:
        raise SimulationError(f"{path}: wait_days_max is {result.wait_days_max}; it must be between 0 and 250.")
    if any(not 1 <= len(chances) <= 10 for chances in result.transit_transport_days.values()):
        raise SimulationError(f"{path}: transit_transport_days: give the chances of 1 to at most 10 transport days.")
    return result


@dataclass(frozen=True)
class _Period:
    """One row of the register: a branch from its first day to its last, both open."""

    code: str
    export_format: str
    opened: date
    closed: date


@dataclass(frozen=True)
class _Network:
    branches: tuple[str, ...]
    periods: tuple[tuple[_Period, ...], ...]  # per branch, in order of opening
    organisation: IntArray  # per branch
    organisations: tuple[str, ...]

    def is_open(self, first: date, days: int) -> BoolArray:
        """Branch by day: open on that day."""
        result = np.zeros((len(self.branches), days), dtype=np.bool_)
        for branch, periods in enumerate(self.periods):
            for period in periods:
                start = max(0, (period.opened - first).days)
                stop = min(days, (period.closed - first).days + 1)
                if start < stop:
                    result[branch, start:stop] = True
        return result

    def period_on(self, branch: int, day: date) -> _Period:
        """The row of the register that holds on a day; on a day closed, the one before it (or else the first)."""
        found = self.periods[branch][0]
        for period in self.periods[branch]:
            if period.opened <= day:
                found = period
        return found


def _read_csv(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    if not path.exists():
        raise SimulationError(f"{path}: no such file.")
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        missing = [name for name in needed if name not in (reader.fieldnames or ())]
        if missing:
            raise SimulationError(f"{path}: column missing: {', '.join(missing)}.")
        return [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]


def _read_network(reference: Path) -> _Network:
    path = reference / "branches.csv"
    rows = _read_csv(path, ("branch", "organisation", "ils_code", "export_format", "opened_on", "closed_on"))
    organisations: dict[str, int] = {}
    if (reference / "organisations.csv").exists():
        for row in _read_csv(reference / "organisations.csv", ("organisation",)):
            organisations.setdefault(row["organisation"], len(organisations))
    periods: dict[str, list[_Period]] = {}
    organisation_of: dict[str, int] = {}
    for number, row in enumerate(rows, start=2):
        if row["export_format"] not in _FORMATS:
            raise SimulationError(
                f"{path}, row {number}: the simulator writes {', '.join(_FORMATS)}; not {row['export_format']!r}."
            )
        try:
            opened = date.fromisoformat(row["opened_on"]) if row["opened_on"] else date.min
            closed = date.fromisoformat(row["closed_on"]) if row["closed_on"] else date.max
        except ValueError as error:
            raise SimulationError(f"{path}, row {number}: {error}; write dates as 2024-03-30.") from error
        branch = row["branch"]
        if not branch or not row["ils_code"] or not row["organisation"]:
            raise SimulationError(f"{path}, row {number}: branch, organisation and ils_code must be filled in.")
        periods.setdefault(branch, []).append(_Period(row["ils_code"], row["export_format"], opened, closed))
        organisation_of[branch] = organisations.setdefault(row["organisation"], len(organisations))
    if not periods:
        raise SimulationError(f"{path}: there is no branch in it.")
    return _Network(
        branches=tuple(periods),
        periods=tuple(tuple(sorted(found, key=lambda period: period.opened)) for found in periods.values()),
        organisation=np.array([organisation_of[branch] for branch in periods], dtype=np.int64),
        organisations=tuple(organisations),
    )


_TOTAL = "deliveries_total"
_BETWEEN = "deliveries_between_organisations"


def _read_published(path: Path) -> dict[str, dict[int, int]]:
    """Key figure to year to value; only the two that the simulator is calibrated to."""
    result: dict[str, dict[int, int]] = {_TOTAL: {}, _BETWEEN: {}}
    if path.exists():
        for number, row in enumerate(_read_csv(path, ("year", "kpi", "value")), start=2):
            if row["kpi"] in result:
                try:
                    result[row["kpi"]][int(row["year"])] = int(row["value"])
                except ValueError as error:
                    raise SimulationError(f"{path}, row {number}: year and value must be whole numbers.") from error
    return result


# ---------------------------------------------------------------------------------------------------------------------
# The plan of a year: everything that follows from the reference data without drawing


@dataclass(frozen=True)
class _Calendar:
    first: date
    days: int
    transport: BoolArray  # Monday to Friday less public holidays
    export: BoolArray  # Monday to Saturday less public holidays
    weekday: IntArray  # Monday = 0
    month: IntArray  # January = 0
    transport_days: IntArray  # the days of the year on which transport moves
    transport_before: IntArray  # per day: transport days of the year before it

    @property
    def start(self) -> int:
        """Seconds of 1 January 00:00."""
        return (self.first - _UNIX_DAY_0).days * _DAY

    def date(self, day: int) -> date:
        return self.first + timedelta(days=int(day))


def _calendar(year: int, assumptions: _Assumptions) -> _Calendar:
    first = date(year, 1, 1)
    days = (date(year + 1, 1, 1) - first).days
    dates = [first + timedelta(days=day) for day in range(days)]
    public = holidays.country_holidays(assumptions.holidays, years=year, language="en_US")
    free = np.array([day in public and public[day] not in assumptions.working_holidays for day in dates])
    weekday = np.array([day.weekday() for day in dates], dtype=np.int64)
    transport = (weekday < 5) & ~free
    return _Calendar(
        first=first,
        days=days,
        transport=transport,
        export=(weekday < 6) & ~free,
        weekday=weekday,
        month=np.array([day.month - 1 for day in dates], dtype=np.int64),
        transport_days=np.flatnonzero(transport),
        transport_before=np.cumsum(transport) - transport,
    )


@dataclass(frozen=True)
class _Lane:
    supplier: int
    pickup: int
    kind: str
    day_weight: FloatArray  # per day: relative number of receipts, before the day's noise
    longest: IntArray  # per day: most transport days that a receipt may have been under way
    target: float = 0.0  # expected deliveries in the year


@dataclass(frozen=True)
class _Plan:
    year: int
    calendar: _Calendar
    open: BoolArray  # branch by day
    next_export: IntArray  # branch by day: the branch's first export on or after it, or -1
    lanes: tuple[_Lane, ...]
    pair_targets: dict[tuple[int, int], int]  # (organisation, organisation) to deliveries in the year
    demand: FloatArray
    supply: FloatArray


def _plan(year: int, network: _Network, assumptions: _Assumptions, published: dict[str, dict[int, int]]) -> _Plan:
    calendar = _calendar(year, assumptions)
    is_open = network.is_open(calendar.first, calendar.days)
    if not is_open.any():
        raise SimulationError(f"No branch of the register is open in {year}.")
    exports = is_open & calendar.export
    next_export = np.full((len(network.branches), calendar.days), _NEVER, dtype=np.int64)
    following = np.full(len(network.branches), _NEVER, dtype=np.int64)
    for day in range(calendar.days - 1, -1, -1):
        following = np.where(exports[:, day], day, following)
        next_export[:, day] = following

    weight = np.array(
        [float(assumptions.weights.get(branch, assumptions.default_weight)) for branch in network.branches]
    )
    supply, demand = weight**assumptions.supply_exponent, weight**assumptions.demand_exponent
    profile = np.asarray(assumptions.month_profile, dtype=np.float64)[calendar.month]
    weekday = np.append(np.asarray(assumptions.weekday_profile, dtype=np.float64), 0.0)
    day_weight = profile * weekday[calendar.weekday] * calendar.export

    lanes: list[_Lane] = []
    sizes: list[float] = []
    for supplier in range(len(network.branches)):
        for pickup in range(len(network.branches)):
            if supplier == pickup:
                continue
            same = network.organisation[supplier] == network.organisation[pickup]
            kind = "within_organisation" if same else "between_organisations"
            chances = assumptions.transit(kind)
            both = is_open[supplier] & is_open[pickup]
            # Nothing is under way across a day on which one of the two is closed, nor across New Year's Day: what was
            # sent in the year before is another year's leg. So a receipt can have been under way for at most the
            # transport days since then.
            through_closed = np.where(both, 0, calendar.transport_before + calendar.transport)
            longest = np.minimum(calendar.transport_before - np.maximum.accumulate(through_closed), len(chances))
            reached = np.append(0.0, np.cumsum(chances))[np.maximum(longest, 0)]
            weights = np.where(both, day_weight * reached, 0.0)
            if weights.sum() > 0:
                lanes.append(_Lane(supplier, pickup, kind, weights, longest))
                sizes.append(float(supply[supplier] * demand[pickup] * weights.sum()))

    size = np.array(sizes, dtype=np.float64)
    pair = [(int(network.organisation[lane.supplier]), int(network.organisation[lane.pickup])) for lane in lanes]
    between = np.array([supplying != receiving for supplying, receiving in pair], dtype=np.bool_)
    capacity = float((weight[:, None] * is_open).sum() / calendar.days)
    targets = _lane_kind_targets(year, size, between, published, assumptions, capacity)
    pair_targets: dict[tuple[int, int], int] = {}
    for chosen, total in ((~between, targets[0]), (between, targets[1])):
        keys = sorted({pair[number] for number in np.flatnonzero(chosen)})
        shares = [sum(size[number] for number in np.flatnonzero(chosen) if pair[number] == key) for key in keys]
        pair_targets.update(zip(keys, _apportion(total, shares), strict=True))
    pair_size = {key: sum(size[n] for n in range(len(lanes)) if pair[n] == key) for key in pair_targets}
    lanes = [
        _Lane(
            lane.supplier,
            lane.pickup,
            lane.kind,
            lane.day_weight,
            lane.longest,
            pair_targets[key] * float(own) / float(pair_size[key]),
        )
        for lane, key, own in zip(lanes, pair, size, strict=True)
    ]
    return _Plan(year, calendar, is_open, next_export, tuple(lanes), pair_targets, demand, supply)


def _lane_kind_targets(
    year: int,
    size: FloatArray,
    between: BoolArray,
    published: dict[str, dict[int, int]],
    assumptions: _Assumptions,
    capacity: float,
) -> tuple[int, int]:
    """Deliveries of a year within organisations, and between them."""

    def grown(figures: dict[int, int]) -> int | None:
        if not figures:
            return None
        nearest = min(figures, key=lambda known: (abs(known - year), known))
        return round(figures[nearest] * (1 + assumptions.growth_per_year) ** (year - nearest))

    total, crossing = grown(published[_TOTAL]), grown(published[_BETWEEN])
    if total is None:
        total = max(crossing or 0, round(capacity * assumptions.deliveries_per_weight))
    if crossing is None:
        crossing = round(total * float(size[between].sum() / size.sum())) if len(size) else 0
    if not 0 <= crossing <= total:
        raise SimulationError(f"{year}: {_BETWEEN} ({crossing}) must lie between 0 and {_TOTAL} ({total}).")
    for wanted, possible, what in (
        (crossing, between.any(), "between branches of different organisations"),
        (total - crossing, (~between).any(), "between branches of one organisation"),
    ):
        if wanted and not possible:
            raise SimulationError(f"{year}: {wanted} deliveries {what} are wanted, but no two such branches are open.")
    return total - crossing, crossing


def _apportion(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers in proportion to the shares that add up to the total (largest remainders)."""
    if not shares:
        return []
    exact = np.asarray(shares, dtype=np.float64) / sum(shares) * total
    result = np.floor(exact).astype(np.int64)
    order = np.argsort(result - exact, kind="stable")
    result[order[: total - int(result.sum())]] += 1
    return [int(value) for value in result]


# ---------------------------------------------------------------------------------------------------------------------
# Legs

# Ranges of the serial in a reservation number. A number is given by day of request, so the ranges keep apart what
# different years' simulations give to the same day.
_SERIAL_OWN = 1  # requested in the simulated year
_SERIAL_BEFORE = 500_001  # requested in the year before
_SERIAL_TAIL = 700_001  # under way at the end of the year: known to two years' simulations
_SERIAL_PLANTED = 900_001

_STATES = ("requested", "in_transit", "delivered", "local", "unconfirmed", "cancelled", "superseded")
_STATE = {name: number for number, name in enumerate(_STATES)}


@dataclass
class _Legs:
    """Columns of equal length, one element a leg. Times in seconds, days of the year; -1 where there is none."""

    supplier: IntArray  # branch; -1: not known
    pickup: IntArray
    sent_day: IntArray
    received_day: IntArray
    requested: IntArray
    sent: IntArray
    received: IntArray
    barcode: IntArray
    material: IntArray
    number_day: IntArray  # days since 1970
    number_serial: IntArray  # 0: not given yet
    state: IntArray

    def __len__(self) -> int:
        return len(self.supplier)

    def take(self, index: IntArray) -> _Legs:
        return _Legs(*(getattr(self, entry.name)[index] for entry in fields(self)))

    @staticmethod
    def join(parts: Iterable[_Legs]) -> _Legs:
        every = list(parts)
        return _Legs(*(np.concatenate([getattr(part, entry.name) for part in every]) for entry in fields(_Legs)))


class _Dice:
    """What is drawn in more than one place; every purpose has a stream of its own, so that none shifts another."""

    def __init__(self, assumptions: _Assumptions, seed: int, year: int, stream: int) -> None:
        self.assumptions = assumptions
        self.random = np.random.default_rng([seed, year, stream])

    def seconds(self, size: int, earliest: float, latest: float) -> IntArray:
        """Seconds of the day between two hours of the clock."""
        return self.random.integers(int(earliest * 3600), int(latest * 3600) + 1, size)

    def barcodes(self, size: int) -> IntArray:
        """14 digits, a quarter of them starting with a zero."""
        return self.random.integers(0, 40_000_000_000_000, size)

    def one_of(self, relative: Mapping[str, float], size: int) -> IntArray:
        chances = np.array(list(relative.values()), dtype=np.float64)
        return self.random.choice(len(chances), size, p=chances / chances.sum())

    def request_times(self, sent: IntArray) -> IntArray:
        """Moments between 06:00 and midnight, before the sending; on the day of sending at the latest 10 minutes."""
        size = len(sent)
        wait = self.random.exponential(self.assumptions.wait_days_mean, size).astype(np.int64)
        wait = np.minimum(wait, self.assumptions.wait_days_max)
        midnight, moment = sent - sent % _DAY, sent % _DAY
        latest = np.where(wait == 0, moment - 600, _DAY - 60)
        earliest = 6 * 3600
        at = earliest + (self.random.random(size) * (latest - earliest)).astype(np.int64)
        requested: IntArray = midnight - wait * _DAY + at
        return requested

    def some(self, share: float, of: int, among: IntArray) -> IntArray:
        """A sample without repetition, in ascending order; at least one where the share is positive."""
        wanted = max(1, round(share * of)) if share > 0 else 0
        return np.sort(self.random.choice(among, min(wanted, len(among)), replace=False))


def _transport_seconds(dice: _Dice, size: int) -> IntArray:
    return dice.seconds(size, 8.5, 16.5)


def _receipt_seconds(dice: _Dice, saturday: BoolArray) -> IntArray:
    """Opening hours: 9:00 to 17:30, Saturday 10:00 to 13:00."""
    size = len(saturday)
    return np.where(saturday, dice.seconds(size, 10, 13), dice.seconds(size, 9, 17.5))


def _blank(size: int) -> IntArray:
    return np.full(size, _NEVER, dtype=np.int64)


def _make_legs(dice: _Dice, supplier: IntArray, pickup: IntArray, sent: IntArray, start: int, state: str) -> _Legs:
    """Legs that were sent at the given moments and not received."""
    size = len(supplier)
    return _Legs(
        supplier=supplier,
        pickup=pickup,
        sent_day=(sent - start) // _DAY,
        received_day=_blank(size),
        requested=dice.request_times(sent),
        sent=sent,
        received=_blank(size),
        barcode=dice.barcodes(size),
        material=dice.one_of(dice.assumptions.material_types, size),
        number_day=_blank(size),
        number_serial=np.zeros(size, dtype=np.int64),
        state=np.full(size, _STATE[state], dtype=np.int64),
    )


def _tail(plan: _Plan, network: _Network, assumptions: _Assumptions, seed: int) -> tuple[_Legs, IntArray]:
    """Legs under way at the end of the plan's year, and on which transport day of the next year each arrives (0, ...).

    Depends on nothing but the reference data and the seed, so that the next year's simulation can draw it again.
    """
    dice = _Dice(assumptions, seed, plan.year, 1)
    calendar = plan.calendar
    days = calendar.transport_days
    last_weeks: BoolArray = np.asarray(network.is_open(calendar.date(calendar.days - 21), 42).all(axis=1))
    supplier: list[int] = []
    pickup: list[int] = []
    sent_day: list[int] = []
    arrival: list[int] = []
    for lane in plan.lanes:
        if not (last_weeks[lane.supplier] and last_weeks[lane.pickup]):
            continue  # who closes about New Year sends nothing that cannot arrive
        chances = assumptions.transit(lane.kind)
        per_day = lane.target / len(days)
        for left in range(min(len(chances), len(days))):
            # Sent with `left` transport days of the year still to come: only what takes longer arrives in the next.
            longer = chances[left:]
            count = int(dice.random.poisson(per_day * longer.sum())) if longer.sum() > 0 else 0
            if count:
                supplier += [lane.supplier] * count
                pickup += [lane.pickup] * count
                sent_day += [int(days[-1 - left])] * count
                arrival += dice.random.choice(len(longer), count, p=longer / longer.sum()).tolist()
    sent = calendar.start + np.array(sent_day, dtype=np.int64) * _DAY
    sent += _transport_seconds(dice, len(sent))
    legs = _make_legs(
        dice,
        np.array(supplier, dtype=np.int64),
        np.array(pickup, dtype=np.int64),
        sent,
        calendar.start,
        "in_transit",
    )
    _number(legs, network, np.full(len(legs), _SERIAL_TAIL, dtype=np.int64))
    return legs, np.array(arrival, dtype=np.int64)


def _number(legs: _Legs, network: _Network, first: IntArray) -> None:
    """Give reservation numbers to legs that have none: per organisation of the pick-up branch and day of request."""
    todo = np.flatnonzero(legs.number_serial == 0)
    organisation, day = network.organisation[legs.pickup[todo]], legs.requested[todo] // _DAY
    order = np.lexsort((legs.requested[todo], day, organisation, first[todo]))
    sorted_first, sorted_organisation, sorted_day = first[todo][order], organisation[order], day[order]
    starts = np.ones(len(order), dtype=np.bool_)
    starts[1:] = (np.diff(sorted_first) != 0) | (np.diff(sorted_organisation) != 0) | (np.diff(sorted_day) != 0)
    position = np.arange(len(order), dtype=np.int64)
    rank = position - np.maximum.accumulate(np.where(starts, position, 0)) if len(order) else position
    legs.number_day[todo[order]] = sorted_day
    legs.number_serial[todo[order]] = sorted_first + rank


# ---------------------------------------------------------------------------------------------------------------------
# Rows


@dataclass
class _Rows:
    """Columns of equal length, one element a row of an export; ``leg`` points into the legs. -1: empty."""

    leg: IntArray
    exporter: IntArray
    day: IntArray  # day of the export
    status: ObjectArray
    supplier: IntArray
    pickup: IntArray
    sent: IntArray
    received: IntArray
    collected: IntArray
    closed: IntArray
    reason: ObjectArray
    changed: IntArray

    def __len__(self) -> int:
        return len(self.leg)

    def take(self, index: IntArray) -> _Rows:
        return _Rows(*(getattr(self, entry.name)[index] for entry in fields(self)))


class _RowBook:
    """Collects the rows of the year, a batch at a time."""

    def __init__(self) -> None:
        self.batches: list[_Rows] = []

    def add(
        self,
        leg: IntArray,
        exporter: IntArray,
        day: IntArray,
        status: str | ObjectArray,
        *,
        supplier: IntArray | None = None,
        pickup: IntArray,
        sent: IntArray | None = None,
        received: IntArray | None = None,
        collected: IntArray | None = None,
        closed: IntArray | None = None,
        reason: ObjectArray | str = "",
        changed: IntArray,
    ) -> None:
        def text(value: str | ObjectArray) -> ObjectArray:
            return np.full(len(leg), value, dtype=object) if isinstance(value, str) else value

        def number(value: IntArray | None) -> IntArray:
            return _blank(len(leg)) if value is None else value

        self.batches.append(
            _Rows(
                leg,
                exporter,
                day,
                text(status),
                number(supplier),
                pickup,
                number(sent),
                number(received),
                number(collected),
                number(closed),
                text(reason),
                changed,
            )
        )

    def rows(self) -> _Rows:
        """Every row, by branch, export day and moment of the last change."""
        every = _Rows(
            *(np.concatenate([getattr(batch, entry.name) for batch in self.batches]) for entry in fields(_Rows))
        )
        return every.take(np.lexsort((every.leg, every.changed, every.day, every.exporter)))


# ---------------------------------------------------------------------------------------------------------------------
# The year


def _draw_deliveries(plan: _Plan, network: _Network, dice: _Dice, carried: _Legs) -> _Legs:
    """The legs received in the year: the carried ones first, then what is still wanted per pair of organisations."""
    calendar = plan.calendar
    noise = np.exp(dice.random.normal(0.0, dice.assumptions.day_noise, calendar.days))
    already = Counter(
        (int(network.organisation[s]), int(network.organisation[p]))
        for s, p in zip(carried.supplier, carried.pickup, strict=True)
    )
    parts: list[_Legs] = [carried]
    for pair, target in plan.pair_targets.items():
        lanes = [
            lane
            for lane in plan.lanes
            if (int(network.organisation[lane.supplier]), int(network.organisation[lane.pickup])) == pair
        ]
        expected = np.array([lane.target for lane in lanes])
        if not expected.sum():
            continue
        counts = dice.random.multinomial(target - already[pair], expected / expected.sum())
        for lane, count in zip(lanes, counts, strict=True):
            if not count:
                continue
            weights = lane.day_weight * noise
            received_day = dice.random.choice(calendar.days, count, p=weights / weights.sum())
            reached = np.append(0.0, np.cumsum(dice.assumptions.transit(lane.kind)))
            drawn = dice.random.random(count) * reached[lane.longest[received_day]]
            under_way = np.searchsorted(reached[1:], drawn, side="right") + 1
            under_way = np.minimum(under_way, lane.longest[received_day])
            sent_day = calendar.transport_days[calendar.transport_before[received_day] - under_way]
            sent = calendar.start + sent_day * _DAY + _transport_seconds(dice, count)
            legs = _make_legs(
                dice,
                np.full(count, lane.supplier, dtype=np.int64),
                np.full(count, lane.pickup, dtype=np.int64),
                sent,
                calendar.start,
                "delivered",
            )
            legs.received_day = received_day.astype(np.int64)
            saturday = calendar.weekday[received_day] == 5
            legs.received = calendar.start + received_day * _DAY + _receipt_seconds(dice, saturday)
            parts.append(legs)
    return _Legs.join(parts)


def _carry_over(
    plan: _Plan, network: _Network, assumptions: _Assumptions, published: dict[str, dict[int, int]], seed: int
) -> _Legs:
    """What was under way at the end of the year before, as delivered in the plan's year."""
    try:
        before = _plan(plan.year - 1, network, assumptions, published)
    except SimulationError:  # the network did not exist then
        return _no_legs()
    legs, arrival = _tail(before, network, assumptions, seed)
    dice = _Dice(assumptions, seed, plan.year, 2)
    # Never more than the year's total of that pair of organisations: the rest stays under way.
    kept: list[int] = []
    room = dict(plan.pair_targets)
    for number, (supplier, pickup) in enumerate(zip(legs.supplier, legs.pickup, strict=True)):
        pair = (int(network.organisation[supplier]), int(network.organisation[pickup]))
        if room.get(pair, 0) > 0:
            room[pair] -= 1
            kept.append(number)
    index = np.array(kept, dtype=np.int64)
    legs, arrival = legs.take(index), arrival[index]
    legs.sent_day = _blank(len(legs))  # the sending is in the exports of the year before
    legs.received_day = plan.calendar.transport_days[arrival]
    legs.received = plan.calendar.start + legs.received_day * _DAY
    legs.received += _receipt_seconds(dice, np.zeros(len(legs), dtype=np.bool_))
    legs.state = np.full(len(legs), _STATE["delivered"], dtype=np.int64)
    return legs


def _no_legs() -> _Legs:
    return _Legs(*(np.zeros(0, dtype=np.int64) for _ in fields(_Legs)))


def _choose(dice: _Dice, relative: Mapping[str, float], size: int) -> ObjectArray:
    """Keys of a table of relative frequencies."""
    keys = np.array([str(key) for key in relative], dtype=object)
    chosen: ObjectArray = keys[dice.one_of(relative, size)]
    return chosen


@dataclass(frozen=True)
class _Year:
    legs: _Legs
    rows: _Rows


def _draw_year(
    plan: _Plan, network: _Network, assumptions: _Assumptions, seed: int, carried: _Legs, tail: _Legs
) -> _Year:
    """Every leg of the year and every row that tells of it."""
    dice = _Dice(assumptions, seed, plan.year, 0)
    calendar, next_export = plan.calendar, plan.next_export
    start = calendar.start
    delivered = _draw_deliveries(plan, network, dice, carried)
    count = len(delivered)
    own = np.flatnonzero(delivered.sent_day >= 0)  # sent in this year

    def exported_after(branch: IntArray, day: IntArray) -> IntArray:
        """The branch's first export on or after the day; -1 when there is none in this year."""
        inside = (day >= 0) & (day < calendar.days)
        return np.where(inside, next_export[branch, np.clip(day, 0, calendar.days - 1)], _NEVER)

    def at(day: IntArray, earliest: float, latest: float) -> IntArray:
        return start + day * _DAY + dice.seconds(len(day), earliest, latest)

    # --- which deliveries have a history; none has two of them
    free = own

    def pick(share: str, among: IntArray) -> IntArray:
        nonlocal free
        chosen = dice.some(assumptions.share(share), count, among)
        free = np.setdiff1d(free, chosen)
        return chosen

    sent_position = calendar.transport_before[np.maximum(delivered.sent_day, 0)]
    under_way = calendar.transport_before[np.maximum(delivered.received_day, 0)] - sent_position
    twice = pick("undone_received_again", free[under_way[free] >= 3])
    again = pick("supplied_again", free[sent_position[free] >= 2])
    redirected = pick("redirected", free)
    announced_pickup = delivered.pickup.copy()
    for number in redirected:
        same = network.organisation == network.organisation[delivered.pickup[number]]
        same &= plan.open[:, delivered.sent_day[number]]
        same[[delivered.pickup[number], delivered.supplier[number]]] = False
        if same.any():
            announced_pickup[number] = dice.random.choice(np.flatnonzero(same))

    # The first supplier of what is supplied again: a request older by as much as the first attempt is earlier.
    first_supplier, first_day, first_of = [], [], []
    for number in again:
        position = int(sent_position[number]) - int(dice.random.integers(2, 9))
        attempt = int(calendar.transport_days[max(0, position)])
        others = plan.open[:, attempt].copy()
        others[[delivered.pickup[number], delivered.supplier[number]]] = False
        if others.any():
            chances = plan.supply * others
            first_supplier.append(int(dice.random.choice(len(others), p=chances / chances.sum())))
            first_day.append(attempt)
            first_of.append(int(number))
            delivered.requested[number] -= (delivered.sent_day[number] - attempt) * _DAY

    # --- further legs, each after the example of a delivery: lane, days and hours of the same kind
    def example(share: str, state: str) -> _Legs:
        chosen = dice.some(assumptions.share(share), count, own)
        legs = delivered.take(chosen)
        fresh = _make_legs(dice, legs.supplier, legs.pickup, legs.sent, start, state)
        fresh.received_day, fresh.received = legs.received_day, legs.received
        return fresh

    lost = example("lost", "in_transit")
    undone = example("undone_not_received", "in_transit")
    waiting = example("still_requested", "requested")
    early = example("cancelled_before_sending", "cancelled")
    late = example("cancelled_after_sending", "cancelled")
    local = example("local", "local")
    local.supplier = local.pickup.copy()

    # What has no place in an export of this year is left out.
    waiting = waiting.take(np.flatnonzero(exported_after(waiting.pickup, (waiting.requested - start) // _DAY) >= 0))
    early_end = exported_after(early.pickup, early.sent_day + 1 + dice.random.integers(0, 11, len(early)))
    early, early_end = early.take(np.flatnonzero(early_end >= 0)), early_end[early_end >= 0]
    late_end = exported_after(late.pickup, late.sent_day + 1 + dice.random.integers(0, 6, len(late)))
    late, late_end = late.take(np.flatnonzero(late_end >= 0)), late_end[late_end >= 0]
    undone_end = exported_after(undone.pickup, undone.received_day + 1)
    undone, undone_end = undone.take(np.flatnonzero(undone_end >= 0)), undone_end[undone_end >= 0]

    # Of those whose request was cancelled or still stands, some have a supplier that has not sent.
    early_named = dice.random.random(len(early)) < 0.4
    waiting_named = dice.random.random(len(waiting)) < 0.4
    late_named = dice.random.random(len(late)) < 0.8
    parts = {
        "delivered": delivered,
        "lost": lost,
        "undone": undone,
        "waiting": waiting,
        "early": early,
        "late": late,
        "local": local,
        "tail": tail,
    }
    legs = _Legs.join(parts.values())
    ends = np.cumsum([len(part) for part in parts.values()])
    index = {name: np.arange(end - len(part), end) for (name, part), end in zip(parts.items(), ends, strict=True)}
    _number(legs, network, np.where(legs.requested >= start, _SERIAL_OWN, _SERIAL_BEFORE))

    # The first leg of what is supplied again has the same reservation number, and another item.
    of = np.array(first_of, dtype=np.int64)
    first = legs.take(of)
    first.supplier = np.array(first_supplier, dtype=np.int64)
    first.sent_day = np.array(first_day, dtype=np.int64)
    first.sent = np.maximum(at(first.sent_day, 8.5, 16.5), first.requested + 600)
    first.received_day, first.received = _blank(len(of)), _blank(len(of))
    first.barcode = dice.barcodes(len(of))
    first.state = np.full(len(of), _STATE["superseded"], dtype=np.int64)
    index["first"] = np.arange(len(legs), len(legs) + len(of))
    legs = _Legs.join((legs, first))
    announced_pickup = np.append(announced_pickup, legs.pickup[count:])

    book = _RowBook()

    def told(leg: IntArray, exporter: IntArray, day: IntArray, status: str | ObjectArray, **columns: Any) -> None:
        given = {"supplier": legs.supplier[leg], "pickup": legs.pickup[leg]}
        book.add(leg, exporter, day, status, **{**given, **columns})

    def sending(leg: IntArray) -> None:
        """The supplying branch's row of the sending."""
        sent = legs.sent[leg]
        day, pickup = legs.sent_day[leg], announced_pickup[leg]
        told(leg, legs.supplier[leg], day, "T", pickup=pickup, sent=sent, changed=sent)

    def assigned(leg: IntArray) -> None:
        """The supplying branch's row of a request that it has not sent (yet)."""
        told(leg, legs.supplier[leg], legs.sent_day[leg], "A", changed=legs.sent[leg])

    def request(leg: IntArray) -> IntArray:
        """The pick-up branch's row of a request without a supplier; returns the legs that have one."""
        day = exported_after(legs.pickup[leg], (legs.requested[leg] - start) // _DAY)
        day = np.where(day <= legs.sent_day[leg], day, _NEVER)
        kept, day = leg[day >= 0], day[day >= 0]
        told(kept, legs.pickup[kept], day, "A", supplier=_blank(len(kept)), changed=legs.requested[kept])
        return kept

    def receipt(leg: IntArray, *, local: bool) -> None:
        """The pick-up branch's row of the receipt, and of the closing of what nobody collects."""
        size = len(leg)
        received = legs.received[leg]
        chance = dice.random.random(size)
        at_once = chance < assumptions.share("collected_same_day")
        never = chance > 1 - assumptions.share("not_collected")
        collected = np.where(at_once, received + dice.random.integers(600, 9000, size), _NEVER)
        tells = ~at_once & (dice.random.random(size) < assumptions.share("reader_told"))
        changed = np.where(tells, received + dice.random.integers(60, 1800, size), np.maximum(received, collected))
        status = np.where(at_once, "U", np.where(tells, "B", "O")).astype(object)
        sent = _blank(size) if local else legs.sent[leg]
        day = legs.received_day[leg]
        told(leg, legs.pickup[leg], day, status, sent=sent, received=received, collected=collected, changed=changed)
        least, most = assumptions.not_collected_days
        end = exported_after(legs.pickup[leg], day + dice.random.integers(int(least), int(most) + 1, size))
        closed = at(end, 9, 17)
        left = np.flatnonzero(never & (end >= 0))
        told(
            leg[left],
            legs.pickup[leg[left]],
            end[left],
            "Z",
            sent=sent[left],
            received=received[left],
            closed=closed[left],
            reason="8",
            changed=closed[left],
        )

    everything = index["delivered"]
    sending(np.concatenate((own, index["lost"], index["undone"], index["late"], index["tail"])))
    receipt(everything, local=False)
    receipt(index["local"], local=True)
    # Which requests were exported before there was a supplier.
    request(dice.some(assumptions.share("request_exported"), count, free))
    # The first supplier sends in vain, or does not find the item.
    not_found = dice.random.random(len(of)) < 0.5
    sending(index["first"][~not_found])
    assigned(index["first"][not_found])

    # A receipt by mistake on the next transport day, undone on the one after it, before the real receipt.
    mistake = calendar.transport_days[sent_position[twice] + 1]
    undoing = calendar.transport_days[sent_position[twice] + 2]
    for leg, false_day, undo_day in (
        (twice, mistake, undoing),
        (index["undone"], legs.received_day[index["undone"]], undone_end),
    ):
        sent = legs.sent[leg]
        false_receipt, undo = at(false_day, 9, 17), at(undo_day, 9, 17)
        told(leg, legs.pickup[leg], false_day, "O", sent=sent, received=false_receipt, changed=false_receipt)
        told(leg, legs.pickup[leg], undo_day, "T", sent=sent, changed=undo)

    # Still requested at the end of the year.
    leg = index["waiting"]
    day = exported_after(legs.pickup[leg], (legs.requested[leg] - start) // _DAY)
    told(leg, legs.pickup[leg], day, "A", supplier=_blank(len(leg)), changed=legs.requested[leg])
    assigned(leg[waiting_named & (day <= legs.sent_day[leg])])

    # Cancelled before anything was sent: with a supplier or without one.
    leg, closed = index["early"], at(early_end, 9, 17)
    request(leg)
    assigned(leg[early_named])
    told(
        leg,
        legs.pickup[leg],
        early_end,
        "Z",
        supplier=np.where(early_named, legs.supplier[leg], _NEVER),
        closed=closed,
        reason=_choose(dice, assumptions.cancel_reasons, len(leg)),
        changed=closed,
    )
    # Cancelled while under way; the pick-up branch does not always know of the sending.
    leg, closed = index["late"], at(late_end, 9, 17)
    told(
        leg,
        legs.pickup[leg],
        late_end,
        "Z",
        supplier=np.where(late_named, legs.supplier[leg], _NEVER),
        sent=np.where(late_named, legs.sent[leg], _NEVER),
        closed=closed,
        reason=_choose(dice, assumptions.cancel_reasons, len(leg)),
        changed=closed,
    )
    return _Year(legs, book.rows())


# ---------------------------------------------------------------------------------------------------------------------
# Texts


class _Texts:
    """Turns rows into cells, a whole branch at a time."""

    def __init__(self, plan: _Plan, network: _Network, legs: _Legs, materials: Sequence[str]) -> None:
        self.calendar = plan.calendar
        self.network = network
        self.legs = legs
        self.materials = np.array([*materials], dtype=object)
        # From 300 days before the year (the oldest request) until its end.
        self.day_0 = plan.calendar.start // _DAY - 300
        self.dates = [_UNIX_DAY_0 + timedelta(days=self.day_0 + n) for n in range(300 + plan.calendar.days)]
        codes = [
            [network.period_on(branch, plan.calendar.date(day)).code for day in range(plan.calendar.days)]
            for branch in range(len(network.branches))
        ]
        # One column more: branch -1 is empty.
        self.codes = np.array([*codes, [""] * plan.calendar.days], dtype=object)
        self.tables: dict[str, tuple[ObjectArray, ObjectArray]] = {}

    def moments(self, layout: str, moments: IntArray) -> ObjectArray:
        if layout not in self.tables:
            date_layout, time_layout = layout[:8], layout[8:]
            minutes = [time(second // 3600, second // 60 % 60, second % 60) for second in range(_DAY)]
            self.tables[layout] = (
                np.array([day.strftime(date_layout) for day in self.dates], dtype=object),
                np.array([moment.strftime(time_layout) for moment in minutes], dtype=object),
            )
        days, times = self.tables[layout]
        result = np.full(len(moments), "", dtype=object)
        known = np.flatnonzero(moments >= 0)
        result[known] = days[moments[known] // _DAY - self.day_0] + times[moments[known] % _DAY]
        return result

    @staticmethod
    def serials(moments: IntArray) -> ObjectArray:
        """Excel's day numbers, to the minute; 1-1-1970 is day 25569."""
        result = np.full(len(moments), "", dtype=object)
        known = np.flatnonzero(moments >= 0)
        result[known] = 25_569.0 + (moments[known] // 60 * 60) / _DAY
        return result

    def cells(self, rows: _Rows, form: _Format) -> list[tuple[Cell, ...]]:
        """Rows in canonical column order."""
        legs, leg = self.legs, rows.leg
        moments = self.serials if form.workbook else lambda values: self.moments(form.datetime_format, values)
        days = np.array([day.isoformat() for day in self.dates], dtype=object)[legs.number_day[leg] - self.day_0]
        numbers = [f"{day}.{serial:05d}" for day, serial in zip(days, legs.number_serial[leg].tolist(), strict=True)]
        # An item is known as soon as there is a supplying branch.
        barcodes = [
            f"{barcode:014d}" if supplier >= 0 else ""
            for barcode, supplier in zip(legs.barcode[leg].tolist(), rows.supplier.tolist(), strict=True)
        ]
        columns: list[Iterable[Any]] = [
            numbers,
            barcodes,
            self.materials[legs.material[leg]],
            self.codes[rows.supplier, rows.day],
            self.codes[rows.pickup, rows.day],
            rows.status,
            rows.reason,
            moments(legs.requested[leg]),
            moments(rows.sent),
            moments(rows.received),
            moments(rows.collected),
            moments(rows.closed),
            moments(rows.changed),
        ]
        return list(zip(*columns, strict=True))


# ---------------------------------------------------------------------------------------------------------------------
# Files


def _workbook(headers: Sequence[str], rows: Iterable[Row], created: datetime) -> bytes:
    import xlsxwriter  # only branches that export workbooks need it

    buffer = io.BytesIO()
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_numbers": False})
    book.set_properties({"created": created, "author": "pendel simulator"})
    sheet = book.add_worksheet("Reserveringen")
    moment = book.add_format({"num_format": "dd-mm-yyyy hh:mm"})
    for column, header in enumerate(headers):
        sheet.write_string(0, column, header)
    for number, row in enumerate(rows, start=1):
        for column, cell in enumerate(row):
            if isinstance(cell, float):
                sheet.write_number(number, column, cell, moment)
            elif isinstance(cell, int):
                sheet.write_number(number, column, cell)
            elif cell:
                sheet.write_string(number, column, cell)
    book.close()
    return buffer.getvalue()


def _content(form: _Format, headers: Sequence[str], rows: Sequence[Row], created: datetime) -> bytes:
    """The bytes of an export, quoted where needed."""
    if form.workbook:
        return _workbook(headers, rows, created)
    return _delimited(form, headers, rows).encode(form.encoding)


def _delimited(form: _Format, headers: Sequence[str], rows: Sequence[Row]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=form.delimiter, lineterminator=form.line_end, quoting=csv.QUOTE_MINIMAL)
    writer.writerow(headers)
    writer.writerows(rows)
    return buffer.getvalue()


def _gzip(content: bytes) -> bytes:
    return gzip.compress(content, mtime=0)


def _zip(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


@dataclass
class _Export:
    """One branch's export of one day, before it is written."""

    branch: str
    day: date
    form: _Format
    code: str
    rows: list[list[Cell]]

    @property
    def name(self) -> str:
        return self.form.file_name.format(code=self.code, day=self.day)

    @property
    def created(self) -> datetime:
        """The evening of the export day, 22:00 local."""
        return datetime.combine(self.day, time(22))

    def content(self, rows: Sequence[Row] | None = None) -> bytes:
        return _content(self.form, self.form.headers, self.rows if rows is None else rows, self.created)


class _Writer:
    """Writes files and keeps the counts of what ought to become of them."""

    def __init__(self, raw: Path) -> None:
        self.raw = raw
        self.files = Counter[str]()
        self.rows = Counter[str]()
        self.planted: list[dict[str, Any]] = []

    def write(self, export: _Export, name: str, content: bytes, *, folder: str = "", later: float = 0) -> str:
        """Write a file that arrived ``later`` hours after the evening of its day; the path in raw, for the truth."""
        path = self.raw / export.branch / (folder or str(export.day.year)) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        arrived = (export.created.replace(tzinfo=_TIME_ZONE)).timestamp() + later * 3600
        os.utime(path, (arrived, arrived))
        return path.relative_to(self.raw).as_posix()

    def plant(
        self, kind: str, export: _Export, file: str, outcome: str, row: int | None = None, note: str = ""
    ) -> None:
        self.planted.append(
            {"kind": kind, "branch": export.branch, "file": file, "row": row, "outcome": outcome, "note": note}
        )

    def count(self, state: str, rows: int, quarantined: int = 0, duplicate: int = 0) -> None:
        """A file in its final state, with the rows that are read from it."""
        self.files[state] += 1
        self.rows["read"] += rows
        self.rows["quarantined"] += quarantined
        self.rows["duplicate"] += duplicate
        self.rows["accepted"] += rows - quarantined - duplicate


# ---------------------------------------------------------------------------------------------------------------------
# Imperfections


@dataclass(frozen=True)
class _BadRow:
    """How a sound row is made bad. ``side``: which branch's row it is made from."""

    kind: str
    side: str  # supplier | pickup
    change: Callable[[list[Cell], _BadRowContext], None]
    outcome: str = "quarantined"


@dataclass(frozen=True)
class _BadRowContext:
    form: _Format
    day: date
    number: int
    unknown_code: str
    other_codes: tuple[str, ...]  # of two branches that have nothing to do with the export; may be empty

    def moment(self, value: datetime) -> Cell:
        if self.form.workbook:
            return (value - datetime(1899, 12, 30)).total_seconds() / _DAY
        return value.strftime(self.form.datetime_format)


def _setting(column: str, value: Cell) -> Callable[[list[Cell], _BadRowContext], None]:
    def change(row: list[Cell], _: _BadRowContext) -> None:
        row[_COLUMN[column]] = value

    return change


def _one_of(column: str, values: Sequence[Cell]) -> Callable[[list[Cell], _BadRowContext], None]:
    def change(row: list[Cell], context: _BadRowContext) -> None:
        row[_COLUMN[column]] = values[context.number % len(values)]

    return change


def _unknown_close_reason(row: list[Cell], _: _BadRowContext) -> None:
    row[_COLUMN["status"]] = "Z"
    row[_COLUMN["close_reason"]] = "3"
    row[_COLUMN["closed_at"]] = row[_COLUMN["changed_at"]]


def _unknown_branch(row: list[Cell], context: _BadRowContext) -> None:
    row[_COLUMN["pickup_branch"]] = context.unknown_code


def _not_involved(row: list[Cell], context: _BadRowContext) -> None:
    row[_COLUMN["supplying_branch"]], row[_COLUMN["pickup_branch"]] = context.other_codes


def _received_long_ago(row: list[Cell], context: _BadRowContext) -> None:
    row[_COLUMN["received_at"]] = context.moment(datetime(1999, 12, 31, 12))


def _received_in_future(row: list[Cell], context: _BadRowContext) -> None:
    row[_COLUMN["received_at"]] = context.moment(datetime.combine(context.day + timedelta(days=5), time(12)))


def _told_by_supplier_only(row: list[Cell], context: _BadRowContext) -> None:
    """Not bad, but told by the wrong side: a receipt that the pick-up branch does not know."""
    received = context.moment(datetime.combine(context.day, time(17, 45)))
    row[_COLUMN["status"]] = "O"
    row[_COLUMN["received_at"]] = row[_COLUMN["changed_at"]] = received


_BAD_ROWS = (
    _BadRow("reservation_number_missing", "supplier", _setting("reservation_id", "")),
    _BadRow("reservation_number_ill_formed", "pickup", _one_of("reservation_id", ("2023/05/12-0012", "12345"))),
    _BadRow("status_unknown", "pickup", _one_of("status", ("X", "7"))),
    _BadRow("close_reason_unknown", "supplier", _unknown_close_reason),
    _BadRow("branch_unknown", "supplier", _unknown_branch),
    _BadRow("branch_not_involved", "supplier", _not_involved),
    _BadRow("date_unreadable", "pickup", _one_of("received_at", ("gisteren", "32-13-2023 25:61"))),
    _BadRow("supplying_branch_missing", "pickup", _setting("supplying_branch", "")),
    _BadRow("item_barcode_missing", "supplier", _setting("item_barcode", "")),
    _BadRow("requested_at_missing", "supplier", _setting("requested_at", "")),
    _BadRow("changed_at_missing", "pickup", _setting("changed_at", "")),
    _BadRow("received_before_2000", "pickup", _received_long_ago),
    _BadRow("received_after_export", "pickup", _received_in_future),
    _BadRow("email_address", "supplier", _setting("material_type", "jan.kanarie@example.org")),
    _BadRow("citizen_service_number", "pickup", _one_of("material_type", _FAKE_SERVICE_NUMBERS)),
    _BadRow("unconfirmed_receipt", "supplier", _told_by_supplier_only, "unconfirmed"),
)

# Kinds of files; what each does stands in _write_planted.
_ALL, _TEXT, _BOOK = ("fmb_csv", "dnb_tsv", "excel"), ("fmb_csv", "dnb_tsv"), ("excel",)
_FILE_KINDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("missing_column", _ALL),
    ("empty_file", _ALL),
    ("truncated_gzip", _ALL),
    ("wrong_file_name", _ALL),
    ("wrong_encoding", _TEXT),
    ("not_a_workbook", _BOOK),
    ("late", _ALL),
    ("repeated", _ALL),
    ("corrected", _ALL),
    ("personal_columns", _ALL),
    ("shuffled_columns", _ALL),
    ("byte_order_mark", ("dnb_tsv",)),
    ("gzip", _ALL),
    ("zip", _ALL),
    ("numbers_and_text_dates", _BOOK),
)


@dataclass
class _Mischief:
    """What is planted where. Keys are (branch, day); files and rows are planted in different exports."""

    files: dict[tuple[int, int], str] = field(default_factory=dict)
    rows: dict[tuple[int, int], list[tuple[_BadRow | str, int, int]]] = field(default_factory=dict)
    """Per export: what, position of the row that it is made from, serial."""
    unconfirmed: int = 0


def _plan_mischief(
    plan: _Plan, network: _Network, year: _Year, spans: Mapping[tuple[int, int], tuple[int, int]], dice: _Dice
) -> _Mischief:
    """Choose the exports and rows. ``spans``: per export the first row and the row after the last."""
    mischief = _Mischief()
    rows, random = year.rows, dice.random
    # A file is worth spoiling when something in it would be missed.
    worth = [key for key, (begin, end) in spans.items() if end - begin >= 2]
    random.shuffle(worth)
    forms = {key: network.period_on(key[0], plan.calendar.date(key[1])).export_format for key in worth}
    per_kind = max(1, round(len(spans) * dice.assumptions.planted_files_per_kind))
    # At most half of the exports are spoiled as a whole: a small network keeps sound ones for the bad rows.
    room = len(worth) // 2
    for kind, possible in _FILE_KINDS:
        for key in [key for key in worth if forms[key] in possible and key not in mischief.files][:per_kind]:
            if len(mischief.files) < room:
                mischief.files[key] = kind

    lane_open = plan.open[rows.exporter, rows.day]
    spoiled = np.zeros((len(network.branches), plan.calendar.days), dtype=np.bool_)
    for branch, day in mischief.files:
        spoiled[branch, day] = True
    usable = lane_open & ~spoiled[rows.exporter, rows.day] & (rows.supplier != rows.pickup) & (rows.supplier >= 0)
    received = usable & (rows.exporter == rows.pickup) & (rows.received >= 0)
    # The pick-up branch of a sending must be open that day too, since a receipt may be written into the row.
    sides = {
        "supplier": np.flatnonzero(
            usable & (rows.exporter == rows.supplier) & (rows.status == "T") & plan.open[rows.pickup, rows.day]
        ),
        "pickup": np.flatnonzero(received & (rows.status != "Z")),
    }
    amount = max(1, round(len(rows) * dice.assumptions.planted_rows_per_kind))
    serial = _SERIAL_PLANTED
    taken: set[int] = set()

    def choose(among: IntArray) -> list[int]:
        free = among[~np.isin(among, list(taken))]
        return sorted(random.choice(free, min(amount, len(free)), replace=False).tolist())

    for bad in _BAD_ROWS:
        if bad.kind == "branch_not_involved" and len(network.branches) < 3:
            continue
        chosen = choose(sides[bad.side])
        for row in chosen:
            key = (int(rows.exporter[row]), int(rows.day[row]))
            mischief.rows.setdefault(key, []).append((bad, row - spans[key][0], serial))
            serial += 1
        if bad.outcome == "unconfirmed":
            mischief.unconfirmed += len(chosen)
    for kind, among in (
        ("duplicate_row", np.flatnonzero(usable)),
        ("status_zero", np.flatnonzero(received & (rows.status == "O"))),
    ):
        for row in choose(among):
            key = (int(rows.exporter[row]), int(rows.day[row]))
            mischief.rows.setdefault(key, []).append((kind, row - spans[key][0], 0))
            taken.add(row)  # not both a duplicate and a zero: the two would not be equal
    return mischief


def _write_with_bad_rows(
    writer: _Writer,
    export: _Export,
    edits: Sequence[tuple[_BadRow | str, int, int]],
    unknown_code: str,
    all_codes: Sequence[str],
) -> None:
    """An export in which some rows are bad, double, or have a zero for a letter. Row 1 is the header."""
    sound = [list(row) for row in export.rows]
    planted: list[tuple[str, int, str]] = []
    quarantined = duplicate = 0
    for edit, position, serial in edits:
        row = list(sound[position])
        if isinstance(edit, _BadRow):
            row[_COLUMN["reservation_id"]] = f"{str(row[0])[:10]}.{serial}"
            others = tuple(code for code in all_codes if code != export.code)
            context = _BadRowContext(export.form, export.day, serial, unknown_code, others[:2])
            edit.change(row, context)
            quarantined += edit.outcome == "quarantined"
            export.rows.append(row)
            planted.append((edit.kind, len(export.rows) + 1, edit.outcome))
        elif edit == "duplicate_row":
            export.rows.append(row)
            duplicate += 1
            planted.append((edit, len(export.rows) + 1, "duplicate"))
        else:
            export.rows[position][_COLUMN["status"]] = "0"
            planted.append((edit, position + 2, "corrected"))
    file = writer.write(export, export.name, export.content())
    for kind, number, outcome in planted:
        writer.plant(kind, export, file, outcome, number)
    state = "partly_accepted" if quarantined else "accepted"
    writer.count(state, len(export.rows), quarantined=quarantined, duplicate=duplicate)


def _with_readers(export: _Export) -> tuple[list[str], list[list[Cell]]]:
    """Headers and rows with the columns of a reader and a title around the others."""
    number, name, email, title = export.form.personal
    headers = [number, name, *export.form.headers, email, title]
    rows: list[list[Cell]] = []
    for position, row in enumerate(export.rows):
        reader = _FAKE_READERS[position % len(_FAKE_READERS)]
        rows.append([reader[0], reader[1], *row, reader[2], reader[3]])
    return headers, rows


def _write_planted(writer: _Writer, export: _Export, kind: str, dice: _Dice) -> None:
    """An export whose file is bad, late, double, corrected or unusual; the good export always arrives in the end."""
    form, name, rows, created = export.form, export.name, export.rows, export.created
    headers, size = form.headers, len(export.rows)
    good = export.content()

    def accepted(file_name: str, content: bytes, *, later: float = 0, note: str = "") -> None:
        file = writer.write(export, file_name, content, later=later)
        writer.plant(kind, export, file, "accepted", note=note)
        writer.count("accepted", size)

    def rejected(file_name: str, content: bytes, good_name: str, good_content: bytes) -> None:
        file = writer.write(export, file_name, content)
        writer.plant(kind, export, file, "rejected")
        writer.files["rejected"] += 1
        writer.write(export, good_name, good_content, later=0.5)
        writer.count("accepted", size)

    if kind == "missing_column":
        missing = _COLUMN["changed_at"]
        without = [[*row[:missing], *row[missing + 1 :]] for row in rows]
        rest = [*headers[:missing], *headers[missing + 1 :]]
        rejected(name, _content(form, rest, without, created), f"{name}.gz", _gzip(good))
    elif kind == "empty_file":
        rejected(name, b"", f"{name}.gz", _gzip(good))
    elif kind == "truncated_gzip":
        packed = _gzip(good)
        rejected(f"{name}.gz", packed[: len(packed) // 2], name, good)
    elif kind == "wrong_file_name":
        suffix = Path(name).suffix
        rejected(f"export van {export.day:%d-%m}{suffix}", good, f"{name}.gz", _gzip(good))
    elif kind == "wrong_encoding":
        # A letter e with two dots, as cp1252 writes it, is not UTF-8; UTF-16 read as cp1252 has no known headers.
        encoding = "cp1252" if form.encoding == "utf-8" else "utf-16"
        rejected(name, _delimited(form, *_with_readers(export)).encode(encoding), f"{name}.gz", _gzip(good))
    elif kind == "not_a_workbook":
        rejected(name, "Reserveringsnummer;Status\r\n".encode("cp1252"), f"{name}.gz", _gzip(good))
    elif kind == "late":
        days = int(dice.random.integers(2, 7))
        accepted(name, good, later=24 * days, note=f"{days} days late")
    elif kind == "repeated":
        file = writer.write(export, name, good)
        writer.count("accepted", size)
        again = writer.write(export, name, good, folder="repeated", later=1)
        writer.plant(kind, export, again, "skipped", note=f"the same bytes as {file}")
        writer.files["skipped"] += 1
    elif kind == "corrected":
        # The first version lacks every third row and tells of one that never was.
        first = [list(row) for position, row in enumerate(rows) if position % 3 != 0]
        phantom = list(rows[-1])
        phantom[_COLUMN["reservation_id"]] = f"{str(phantom[0])[:10]}.{_SERIAL_PLANTED + 90_000}"
        first.append(phantom)
        file = writer.write(export, name, export.content(first))
        writer.plant(kind, export, file, "superseded")
        writer.count("superseded", len(first))
        file = writer.write(export, name, good, folder="corrected", later=48)
        writer.plant(kind, export, file, "accepted", note="supersedes the first version")
        writer.count("accepted", size)
    elif kind == "personal_columns":
        accepted(name, _content(form, *_with_readers(export), created), note=", ".join(form.personal))
    elif kind == "shuffled_columns":
        order = dice.random.permutation(len(headers)).tolist()
        shuffled = [[row[column] for column in order] for row in rows]
        accepted(name, _content(form, [headers[column] for column in order], shuffled, created))
    elif kind == "byte_order_mark":
        accepted(name, b"\xef\xbb\xbf" + good)
    elif kind == "gzip":
        accepted(f"{name}.gz", _gzip(good))
    elif kind == "zip":
        accepted(f"{name}.zip", _zip(name, good))
    elif kind == "numbers_and_text_dates":
        barcode = _COLUMN["item_barcode"]
        for row in rows:
            # A number would lose a leading zero.
            if (text := str(row[barcode])) and not text.startswith("0"):
                row[barcode] = int(text)
            for column in _DATE_COLUMNS:
                if isinstance(serial := row[column], float):
                    moment = datetime(1899, 12, 30) + timedelta(minutes=round(serial * 1440))
                    row[column] = moment.strftime(form.datetime_format)
        accepted(name, export.content())
    else:
        raise AssertionError(kind)


# ---------------------------------------------------------------------------------------------------------------------
# The whole


def simulate(
    year: int,
    raw: Path,
    reference: Path,
    *,
    seed: int = 1,
    imperfections: bool = False,
    continues: bool = False,
    truth: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> SimulationSummary:
    """Write the exports that the branches in a register would have delivered in a year.

    ``raw/<branch>/<year>/<file>``: one file a branch and export day (Monday to Saturday less public holidays, while
    the branch is open), in the format that the register gives for that day; its modification time is 22:00 local
    (Europe/Amsterdam) of its day. The same arguments give the same contents.

    ``reference`` holds ``branches.csv``, ``organisations.csv``, ``published_figures.csv`` and ``simulation.yaml``; only
    the first is needed. ``imperfections`` adds bad rows and files, without changing any delivery. ``continues``: the
    exports of the year before were simulated with the same seed, so what was under way arrives. ``truth``: where to
    write what was generated, as JSON (outside ``raw``). ``progress(done, total)`` is called with numbers of exports.

    Raises SimulationError when the reference data cannot be simulated.
    """
    if not 1900 <= year <= 2200:
        raise SimulationError(f"{year} is not a year between 1900 and 2200.")
    if seed < 0:
        raise SimulationError(f"The seed is {seed}; it must be 0 or more.")
    if truth is not None and truth.resolve().is_relative_to(raw.resolve()):
        raise SimulationError(f"{truth}: the truth must not stand among the exports ({raw}).")
    network = _read_network(reference)
    assumptions = _read_assumptions(reference / "simulation.yaml")
    published = _read_published(reference / "published_figures.csv")

    plan = _plan(year, network, assumptions, published)
    tail, _ = _tail(plan, network, assumptions, seed)
    carried = _carry_over(plan, network, assumptions, published, seed) if continues else _no_legs()
    drawn = _draw_year(plan, network, assumptions, seed, carried, tail)

    writer = _Writer(raw)
    unconfirmed = _write_exports(writer, plan, network, assumptions, drawn, seed, imperfections, progress)
    result = _truth(plan, network, drawn.legs, writer, seed, unconfirmed)
    if truth is not None:
        truth.parent.mkdir(parents=True, exist_ok=True)
        truth.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    deliveries = result["deliveries"]
    return SimulationSummary(
        year=year,
        seed=seed,
        files=result["files"],
        rows=result["rows"],
        deliveries=deliveries["total"],
        deliveries_between_organisations=deliveries["between_organisations"],
        deliveries_by_organisation_pair={
            (entry["supplying_organisation"], entry["pickup_organisation"]): entry["value"]
            for entry in deliveries["by_organisation_pair"]
        },
        legs=result["legs"],
        planted=len(result["planted"]),
    )


def _write_exports(
    writer: _Writer,
    plan: _Plan,
    network: _Network,
    assumptions: _Assumptions,
    drawn: _Year,
    seed: int,
    imperfections: bool,
    progress: Callable[[int, int], None] | None,
) -> int:
    """Write every export; returns how many unconfirmed legs were planted."""
    calendar, rows = plan.calendar, drawn.rows
    texts = _Texts(plan, network, drawn.legs, list(assumptions.material_types))
    exports = [
        (branch, int(day))
        for branch in range(len(network.branches))
        for day in np.flatnonzero(plan.open[branch] & calendar.export)
    ]
    position = rows.exporter * calendar.days + rows.day
    wanted = np.array([branch * calendar.days + day for branch, day in exports], dtype=np.int64)
    begins, ends = np.searchsorted(position, wanted), np.searchsorted(position, wanted, side="right")
    spans = {key: (int(begin), int(end)) for key, begin, end in zip(exports, begins, ends, strict=True)}
    if sum(end - begin for begin, end in spans.values()) != len(rows):
        raise AssertionError("a row was drawn for a day on which its branch makes no export")

    dice = _Dice(assumptions, seed, plan.year, 3)
    mischief = _plan_mischief(plan, network, drawn, spans, dice) if imperfections else _Mischief()
    known = {period.code for periods in network.periods for period in periods}
    unknown_code = next(code for number in range(9999, 0, -1) if (code := str(number)) not in known)

    done = 0
    for branch, name in enumerate(network.branches):
        mine = [key for key in exports if key[0] == branch]
        for export_format in dict.fromkeys(period.export_format for period in network.periods[branch]):
            form = _FORMATS[export_format]
            days = [
                key for key in mine if network.period_on(branch, calendar.date(key[1])).export_format == export_format
            ]
            if not days:
                continue
            index = np.concatenate([np.arange(*spans[key]) for key in days])
            cells = texts.cells(rows.take(index), form)
            at = 0
            for key in days:
                size = spans[key][1] - spans[key][0]
                day = calendar.date(key[1])
                found = cells[at : at + size]
                at += size
                export = _Export(name, day, form, str(texts.codes[branch, key[1]]), [])
                if key in mischief.files:
                    export.rows = [list(row) for row in found]
                    _write_planted(writer, export, mischief.files[key], dice)
                elif key in mischief.rows:
                    export.rows = [list(row) for row in found]
                    codes = [
                        str(texts.codes[other, key[1]]) for other in range(len(network.branches)) if other != branch
                    ]
                    _write_with_bad_rows(writer, export, mischief.rows[key], unknown_code, codes)
                else:
                    # Sound values hold no delimiter and no quote, so joining them is enough.
                    if form.workbook:
                        content = export.content(found)
                    else:
                        lines = [form.delimiter.join(form.headers)]
                        lines += map(form.delimiter.join, found)  # type: ignore[arg-type]
                        content = (form.line_end.join(lines) + form.line_end).encode(form.encoding)
                    writer.write(export, export.name, content)
                    writer.count("accepted", size)
                done += 1
                if progress is not None:
                    progress(done, len(exports))
    return mischief.unconfirmed


def _truth(plan: _Plan, network: _Network, legs: _Legs, writer: _Writer, seed: int, unconfirmed: int) -> dict[str, Any]:
    """What was generated, as the truth file tells it."""
    delivered = legs.take(np.flatnonzero(legs.state == _STATE["delivered"]))
    organisations, branches = network.organisations, network.branches
    from_organisation = network.organisation[delivered.supplier]
    to_organisation = network.organisation[delivered.pickup]
    pairs = Counter(zip(from_organisation.tolist(), to_organisation.tolist(), strict=True))
    lanes = Counter(zip(delivered.supplier.tolist(), delivered.pickup.tolist(), strict=True))
    months = Counter(plan.calendar.month[delivered.received_day].tolist())
    states = Counter(legs.state.tolist())
    states[_STATE["unconfirmed"]] += unconfirmed
    if {key: value for key, value in plan.pair_targets.items() if value} != dict(pairs):
        raise AssertionError("the deliveries drawn do not meet their targets")
    return {
        "year": plan.year,
        "seed": seed,
        "files": sum(writer.files.values()),
        "rows": writer.rows["read"],
        "deliveries": {
            "total": len(delivered),
            "between_organisations": int(np.count_nonzero(from_organisation != to_organisation)),
            "by_organisation_pair": [
                {
                    "supplying_organisation": organisations[supplying],
                    "pickup_organisation": organisations[receiving],
                    "value": pairs[supplying, receiving],
                }
                for supplying in range(len(organisations))
                for receiving in range(len(organisations))
            ],
            "by_lane": [
                {"supplying_branch": branches[supplier], "pickup_branch": branches[pickup], "value": value}
                for (supplier, pickup), value in sorted(lanes.items())
            ],
            "by_month": {f"{plan.year}-{month + 1:02d}": months[month] for month in range(12)},
        },
        "legs": {name: states[number] for name, number in _STATE.items()},
        "expected": {
            "files": {
                state: writer.files[state]
                for state in ("accepted", "partly_accepted", "rejected", "superseded", "skipped")
            },
            "rows": {state: writer.rows[state] for state in ("read", "accepted", "quarantined", "duplicate")},
        },
        "planted": writer.planted,
    }
