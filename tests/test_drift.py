"""Drift: faults planted in the exports of a simulated network, each found where it is; and nothing before them.

`bench/drift.py` measures the same over ten years.
"""

from __future__ import annotations

import csv
import datetime as dt
import importlib.util
import json
import math
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pendel import contracts, figures, present
from pendel.cli import cli
from pendel.places import PROJECT, Places
from pendel.simulate import simulate
from pendel.words import set_language
from tests.pipeline import night, places_in
from tests.test_simulate import write_reference

DAY = dt.timedelta(days=1)
FAULTY_FROM = dt.date(2024, 6, 10)
AS_OF = dt.date(2024, 6, 25)
LAST = dt.date(2024, 7, 6)

BRANCHES = "branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on\n" + "".join(
    f"{code},Place {code.upper()},{'XXXXYYZZ'[number - 1]},,{number},dnb_tsv,2024-01-02,{LAST}\n"
    for number, code in enumerate("abcdefgh", start=1)
)
PUBLISHED = "year,kpi,value,source\n2024,deliveries_total,26000,none\n2024,deliveries_between_organisations,7000,none\n"
NUMBER = {code: str(number) for number, code in enumerate("abcdefgh", start=1)}


def load_bench() -> Any:
    """The module bench/drift.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("bench_drift", PROJECT / "bench" / "drift.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


Row = dict[str, str]


def exported_on(path: Path) -> dt.date:
    return dt.date.fromisoformat(path.stem[-10:])


def read(path: Path) -> list[Row]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def write(path: Path, header: list[str], rows: list[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, header, delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def plant(raw: Path) -> None:
    """Spoil the exports, of a branch each in its own way."""
    moved: dict[dt.date, list[Row]] = {}
    for path in sorted(raw.rglob("*.tsv")):  # e before f: what f takes from e is known when f's turn comes
        branch, on = path.relative_to(raw).parts[0], exported_on(path)
        if on < FAULTY_FROM:
            continue
        with path.open(encoding="utf-8") as stream:
            header = stream.readline().rstrip("\r\n").split("\t")
        rows = read(path)
        since = str(FAULTY_FROM)  # a row that closes an older receipt stays as it is, or the past would change as well
        mine = [row for row in rows if row["pickupBranchId"] == NUMBER[branch] and row["receivedAt"] >= since]
        supplied = [row for row in rows if row["supplyingBranchId"] == NUMBER[branch] and row not in mine]
        if branch == "a":  # tells no receipts any more
            rows = [row for row in rows if row not in mine]
        elif branch == "b":  # tells no sendings any more
            for row in supplied:
                row["shippedAt"] = ""
        elif branch == "c":  # one column is a copy of the other
            for row in mine:
                row["shippedAt"] = row["receivedAt"]
        elif branch == "d" and on.isoweekday() == 6:  # exports on Sundays too
            sunday = on + DAY
            write(path.with_name(path.name.replace(str(on), str(sunday))), header, [])
        elif branch == "e":  # some of its receipts stand in the export of f
            moved[on] = [row for row in mine if int(row["reservationId"][-1]) < 7 and row["supplyingBranchId"] != "6"]
            rows = [row for row in rows if row not in moved[on]]
        elif branch == "f":
            rows += [row | {"pickupBranchId": NUMBER["f"]} for row in moved[on]]
        elif branch == "g":  # receipts told twice, under other numbers, of other items
            head = len("2024-06-10.")
            rows += [
                row
                | {
                    "reservationId": f"{row['reservationId'][:head]}9{row['reservationId'][-5:]}",
                    "itemId": f"9{row['itemId'][1:]}",
                }
                for row in mine
            ]
        elif branch == "h":  # a column that is not filled any more
            for row in mine:
                row["materialType"] = ""
        write(path, header, rows)


FOUND = {
    ("no_receipts", "received", "", "", "a"),
    ("zero", "sent", "", "", "b"),
    ("copied", "shipped_at", "", "", "c"),
    ("closed_day", "exports", "", "", "d"),
    ("shifted", "received", "", "", "f"),
    ("doubled", "received", "", "", "g"),
    ("empty", "material_type", "", "", "h"),
}


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> tuple[Places, Places]:
    """Half a year of a network that goes wrong in June: as the run of AS_OF saw it, and two weeks later."""
    folder = tmp_path_factory.mktemp("drift")
    reference = write_reference(folder / "reference", BRANCHES, PUBLISHED)
    then, later = places_in(folder / "then", reference), places_in(folder / "later", reference)
    simulate(2024, later.raw, reference)
    plant(later.raw)
    for path in later.raw.rglob("*.tsv"):
        if exported_on(path) < AS_OF:
            target = then.raw / path.relative_to(later.raw)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target)
    night(then, AS_OF)
    night(later, LAST + DAY)
    return then, later


def test_each_planted_fault_is_found_where_it_is_and_nothing_else(network: tuple[Places, Places]) -> None:
    with figures.published(network[0]) as con:
        found = con.execute("SELECT kind, figure, supplying_branch, pickup_branch, branch FROM marts.drift").fetchall()
        (other,) = con.execute("SELECT other_branch FROM marts.drift WHERE kind = 'shifted'").fetchall()
        stretches = con.execute("SELECT kind, since, until FROM marts.drift").fetchall()
    assert set(found) == FOUND
    assert other == ("e",)
    for kind, since, until in stretches:
        assert FAULTY_FROM <= since <= until < AS_OF, kind


def test_nothing_is_found_before_the_faults_nor_in_a_branchs_first_weeks(network: tuple[Places, Places]) -> None:
    marts = load_bench().Marts(network[1].published)
    nights = [dt.date(2024, 1, 3) + i * DAY for i in range(0, (FAULTY_FROM - dt.date(2024, 1, 3)).days + 1, 9)]
    assert {night: marts.at(night) for night in nights} == {night: set() for night in nights}


def test_marts_cut_off_before_a_day_tell_what_the_run_of_that_day_told(network: tuple[Places, Places]) -> None:
    """What bench/drift.py rests on: it builds no warehouse for each of its nights."""
    marts = load_bench().Marts(network[1].published)
    assert marts.at(AS_OF) == FOUND


def test_missing_exports_are_no_drift(network: tuple[Places, Places]) -> None:
    """Nobody's exports of two weeks arrived: nothing was told, and nothing is compared."""
    marts = load_bench().Marts(network[1].published)
    since = FAULTY_FROM - 14 * DAY
    marts.con.execute(
        f"UPDATE kept.feed_day SET state = 'missing' WHERE export_date >= DATE '{since}';"
        f"UPDATE kept.agg_branch_day SET received = 0, sent = 0 WHERE date >= DATE '{since}';"
        f"UPDATE kept.agg_lane_day SET delivered = 0, sent = 0 WHERE date >= DATE '{since}'"
    )
    assert marts.at(FAULTY_FROM) == set()
    marts.con.execute("UPDATE kept.feed_day SET state = 'received'")
    assert {kind for kind, *_ in marts.at(FAULTY_FROM)} == {"zero"}


HOLIDAYS = {dt.date(2024, 4, 1), dt.date(2024, 5, 9), dt.date(2024, 5, 20)}
SPOILED_FROM = dt.date(2024, 5, 6)  # well before the exports are spoiled
TRANSPORT = [
    day for day in (SPOILED_FROM + i * DAY for i in range(35)) if day.isoweekday() <= 5 and day not in HOLIDAYS
]


def test_an_item_told_twice_is_found_in_a_thin_lane(network: tuple[Places, Places]) -> None:
    """Two of it are none yet; of a branch that tells all its receipts twice, its lanes are not told of again."""
    bench = load_bench()
    marts = bench.Marts(network[1].published)
    on, *_ = days = TRANSPORT[:3]
    received = f"state = 'delivered' AND received_at::DATE BETWEEN DATE '{on}' AND DATE '{days[-1]}'"
    (supplier, pickup), *_ = marts.con.execute(
        f"SELECT supplying_branch, pickup_branch FROM kept.fct_leg WHERE {received} "
        "GROUP BY ALL HAVING count(*) = 3 AND count(DISTINCT received_at::DATE) > 1 ORDER BY ALL"
    ).fetchall()
    lane = f"{received} AND supplying_branch = '{supplier}' AND pickup_branch = '{pickup}'"
    again = bench.RECEIVED_AGAIN
    others = again.replace("AS reservation_id", "AS reservation_id, item_barcode || '+' AS item_barcode")
    night = days[-1] + DAY
    for fault, found in (
        (f"{again} WHERE {lane} QUALIFY row_number() OVER (ORDER BY reservation_id) <= 2", set()),
        (f"{again} WHERE {lane}", {("doubled", "items_received", supplier, pickup, "")}),
        # another item each time: too few to tell
        (f"{others} WHERE {lane}", set()),
        (f"{again} WHERE {received} AND pickup_branch = '{pickup}'", {("doubled", "items_received", "", "", pickup)}),
    ):  # fmt: skip
        marts.con.begin()
        marts.con.execute(fault)
        assert marts.at(night) == found, fault
        marts.con.rollback()
    sent = f"supplying_branch = '{supplier}' AND shipped_at::DATE BETWEEN DATE '{on}' AND DATE '{days[-1]}'"
    marts.con.execute(f"{bench.SENT_AGAIN} WHERE {sent} AND state <> 'local'")
    assert marts.at(night) == {("doubled", "items_sent", "", "", supplier)}


def test_a_branch_that_gets_nothing_is_told_whatever_another_gains(network: tuple[Places, Places]) -> None:
    """When F, of the same organisation, has what E misses, both are told; in a busy season its gain is no shift."""
    marts = load_bench().Marts(network[1].published)
    first, *_, last = TRANSPORT[:5]
    these = f"date BETWEEN DATE '{first}' AND DATE '{last}'"
    zero, shifted = ("zero", "received", "", "", "e"), ("shifted", "received", "", "", "f")
    nothing = (
        f"UPDATE kept.agg_branch_day SET received = 0 WHERE {these} AND branch = 'e';"
        f"UPDATE kept.agg_lane_day SET sent = 0, delivered = 0 WHERE {these} AND pickup_branch = 'e';"
    )
    moved = (
        "UPDATE kept.agg_branch_day AS f SET received = f.received + e.received FROM kept.agg_branch_day AS e "
        f"WHERE f.{these} AND f.branch = 'f' AND e.branch = 'e' AND e.date = f.date;"
    )
    busy = (
        f"UPDATE kept.agg_branch_day SET received = round(1.3 * received), sent = round(1.3 * sent) WHERE {these};"
        f"UPDATE kept.agg_branch_day SET received = round(1.2 * received) WHERE {these} AND branch = 'f';"
    )
    for season, found in (("", {zero}), (moved, {zero, shifted}), (busy, {zero})):
        marts.con.begin()
        marts.con.execute(season + nothing)
        assert marts.at(last + DAY) == found, season
        marts.con.rollback()


def test_equal_counts_are_found_as_soon_as_they_are_no_accident(network: tuple[Places, Places]) -> None:
    """The stretch of a lane must be long; of a branch all of whose lanes are equal, two days are."""
    marts = load_bench().Marts(network[1].published)
    con = marts.con
    since = f"date >= DATE '{SPOILED_FROM}'"
    supplier, pickup = con.execute(
        f"SELECT supplying_branch, pickup_branch FROM kept.agg_lane_day WHERE {since} AND date < DATE '{FAULTY_FROM}' "
        "GROUP BY ALL ORDER BY sum(delivered) DESC, 1, 2 LIMIT 1"
    ).fetchall()[0]
    con.begin()
    con.execute(
        f"UPDATE kept.agg_lane_day SET sent = delivered WHERE {since} "
        f"AND supplying_branch = '{supplier}' AND pickup_branch = '{pickup}'"
    )
    lane = (
        "SELECT l.date, sent, delivered FROM kept.agg_lane_day AS l JOIN kept.dim_date USING (date) "
        f"WHERE is_transport_day AND supplying_branch = '{supplier}' AND pickup_branch = '{pickup}' "
        f"AND date < DATE '{FAULTY_FROM}' ORDER BY date"
    )
    chance, found = 1.0, {}
    for day, sent, delivered in con.execute(lane).fetchall():
        if sent != delivered:
            chance = 1.0
        elif delivered:
            chance /= math.sqrt(4 * math.pi * delivered)
        found[day] = chance <= 1e-6
    days = [day for day in TRANSPORT if day < FAULTY_FROM]
    first = next(day for day in days if found[day])
    assert days[4] < first < days[-1]
    key = ("copied", "delivered", supplier, pickup, "")
    for day in days:
        assert (key in marts.at(day + DAY)) == found[day], day
    con.rollback()
    con.begin()  # the sums of a branch are equal, its lanes are not: that is no more than one accident a day
    con.execute(
        "UPDATE kept.agg_branch_day AS b SET received = l.sent FROM (SELECT date, sum(sent) AS sent "
        f"FROM kept.agg_lane_day WHERE pickup_branch = '{pickup}' GROUP BY date) AS l "
        f"WHERE b.date = l.date AND b.branch = '{pickup}' AND b.{since}"
    )
    assert marts.at(days[1] + DAY) == set()
    con.rollback()
    con.execute(f"UPDATE kept.agg_lane_day SET sent = delivered WHERE {since} AND pickup_branch = '{pickup}'")
    assert marts.at(days[0] + DAY) == set()
    assert marts.at(days[1] + DAY) == {("copied", "received", "", "", pickup)}


@pytest.fixture(scope="module")
def level(network: tuple[Places, Places]) -> Any:
    """The marts of a network in which every branch receives and sends a hundred every day, and lanes nothing."""
    marts = load_bench().Marts(network[1].published)
    marts.con.execute(
        "UPDATE kept.agg_branch_day SET received = 100, sent = 100; DELETE FROM kept.fct_leg;"
        "UPDATE kept.agg_lane_day SET delivered = 0, sent = 0; UPDATE kept.feed_day SET state = 'received';"
        "DELETE FROM kept.file; UPDATE kept.agg_branch_day SET received = 0 "
        "WHERE date IN (SELECT date FROM kept.dim_date WHERE NOT is_transport_day)"
    )
    return marts


DAYS = [day for day in TRANSPORT if day < FAULTY_FROM][::-1]
"""Transport days before the night, the newest first."""


def told(level: Any) -> set[tuple[Any, ...]]:
    """The rows of marts.drift of that night."""
    level.at(DAYS[0] + DAY)
    sql = (PROJECT / "sql" / "marts" / "drift.sql").read_text(encoding="utf-8")
    columns = "kind, figure, supplying_branch, pickup_branch, branch, other_branch, since, until, unit, observed, usual"
    return {
        (*row[:-2], *(round(number, 4) for number in row[-2:]))
        for row in level.con.execute(f"SELECT {columns} FROM ({sql})").fetchall()
    }


OFTEN = {
    # what branches receive a day, the newest day first, where a hundred (or the third) is usual → what is found
    "five in a hundred": ("e 5 5", "zero e"),
    "six in a hundred": ("e 5 6", ""),
    "nothing on one day": ("e 0", ""),
    "twelve of usual": ("e 0 0 0", "zero e", 4),
    "eleven and a half of usual": ("e 0 0 0", "", 3),
    "nothing of thirty": ("e 0 0 0 0 0 0 0 0 0 0", "zero e", 3),
    "nothing of ten": ("e 0 0 0 0 0 0 0 0 0 0", "", 1),
    "sixty in a hundred more": ("e 160 160", "doubled e"),
    "a little less": ("e 159 160", ""),
    "on three days": ("e 160 160 160", "doubled e"),
    "one crowded day": ("e 200 149", ""),
    "less crowded": ("e 200 150", "doubled e"),
    "four deviations above a tenth more": ("e 22 23", "doubled e", 10),
    "almost": ("e 22 22", "", 10),
    "too few to say": ("e 21 21 0", "", 7),
    "a fifth more everywhere": ("all 120 120 120 120 120", ""),
    "a season that is taken for one": ("all 120 120 120 120 120; e 192 192", "doubled e"),
    "in that season almost": ("all 120 120 120 120 120; e 191 192", ""),
    "of few branches it is no season": ("a 120 120 120 120 120; b 120 120 120 120 120; e 160 160", "doubled e"),
    "a doubling of everything": ("all 200 200", " ".join(f"doubled {branch}" for branch in "abcdefgh")),
    "a quarter moved": ("e 75 75; f 125 125", "shifted f"),
    "less than a quarter": ("e 76 75; f 124 125", ""),
    "a quarter of one": ("e 77 76; f 126 126", "shifted f"),
    "not seven deviations": ("e 78 77; f 125 125", ""),
    "half as much": ("e 40 40; f 130 130", "shifted f"),
    "not half as much": ("e 40 40; f 129 130", ""),
    "twice as much": ("e 75 75; f 150 150", "shifted f"),
    "more than twice": ("e 75 75; f 150 151", ""),
    "a gain that is no accident": ("e 64 64; f 118 119", "shifted f"),
    "a gain that may be one": ("e 64 64; f 118 118", ""),
    "of another organisation": ("e 75 75; g 125 125", ""),
    "on other days": ("e 100 100 75 75; f 125 125", ""),
    "in a season": ("all 120 120 120 120 120; e 90 90; f 150 150", "shifted f"),
    "what others gain too": ("all 120 120 120 120 120; e 75 75; f 125 125", ""),
}


@pytest.mark.parametrize("name", OFTEN)
def test_where_the_bounds_of_counts_lie(level: Any, name: str) -> None:
    given, found, *usual = OFTEN[name]
    level.con.begin()
    try:
        for number in usual:
            level.con.execute(f"UPDATE kept.agg_branch_day SET received = {number} WHERE branch = 'e' AND received > 0")
        for part in given.split("; "):
            branch, *counts = part.split()
            for day, count in zip(DAYS, counts, strict=False):
                level.con.execute(
                    f"UPDATE kept.agg_branch_day SET received = {count}"
                    f"{f', sent = {count}' if branch == 'all' else ''} WHERE date = DATE '{day}'"
                    f"{f' AND branch = {branch!r}' if branch != 'all' else ''}"
                )
        which = {(kind, branch) for kind, figure, _, _, branch in level.at(DAYS[0] + DAY) if figure == "received"}
        assert which == set(zip(found.split()[::2], found.split()[1::2], strict=True))
        for kind, figure, *_, branch, other, since, until, unit, observed, usually in told(level):
            assert unit == "reservations"
            if figure == "received":
                n = sum(since <= day <= until for day in DAYS)
                received = f"SELECT sum(received) FROM kept.agg_branch_day WHERE branch = '{branch}' AND date"
                assert until == DAYS[0]
                assert level.con.execute(f"{received} BETWEEN ? AND ?", [since, until]).fetchone() == (observed,)
                season = 1.2 if kind == "shifted" and given.startswith("all") else 1
                assert usually == pytest.approx(season * n * (usual[0] if usual else 100))
                assert other == ("e" if kind == "shifted" else "")
    finally:
        level.con.rollback()


HISTORY = {"n": 10, "no_shipped_at": 0, "no_material_type": 0, "days": 60}


def legs(recent: list[dict[str, int]], **history: int) -> str:
    """SQL: what E received from F, a day a dict, the newest first: how many, and how many of them with what fault, or
    of how many items. Before them lie `days` days with so many a day.
    """
    usual = HISTORY | history
    older = [
        day for day in (DAYS[0] - i * DAY for i in range(22, 130)) if day.isoweekday() <= 5 and day not in HOLIDAYS
    ]
    lines, number = [], 0
    for day, of in [*zip(DAYS, recent, strict=False), *((day, usual) for day in older[: usual["days"]])]:
        for i in range(of["n"]):
            number += 1
            at, before = f"'{day} 10:00'", f"'{day - DAY} 10:00'"
            shipped = at if i < of.get("copied", 0) else "NULL" if i < of.get("no_shipped_at", 0) else before
            material = "NULL" if i < of.get("no_material_type", 0) else "'boek'"
            item = -(i % of["of_items"]) - 1 if "of_items" in of else number
            lines.append(f"('{number}', 'f', 'e', 'delivered', {at}, {shipped}, {material}, '{item}')")
    columns = "reservation_id, supplying_branch, pickup_branch, state, received_at, pickup_shipped_at"
    return f"INSERT INTO kept.fct_leg ({columns}, pickup_material_type, item_barcode) VALUES {', '.join(lines)};"


def sunday(weeks: int) -> dt.date:
    return DAYS[0] - (DAYS[0].isoweekday() + 7 * weeks) * DAY


def closed(*weeks: int, active: bool = True, network: bool = False) -> str:
    """SQL: exports of E of the Sundays so many weeks before the last one."""
    return "".join(f"INSERT INTO kept.file VALUES ('e', '{sunday(week)}', {active}, {network});" for week in weeks)


def on_sunday(week: int, count: int) -> str:
    """SQL: so many receipts of E on a Sunday."""
    where = f"branch = 'e' AND date = DATE '{sunday(week)}'"
    return f"UPDATE kept.agg_branch_day SET received = {count} WHERE {where};"


SENT = (
    "UPDATE kept.fct_leg SET shipped_at = received_at, received_at = NULL, state = 'in_transit', supplier_file_id = 1;"
)
THREE = DAYS[2], DAYS[0]
MOMENTS = [
    # what E received, or its closed days → what is told: kind, figure, branch, since, until, unit, observed, usual
    (legs([{"n": 7, "copied": 4}, {"n": 7, "copied": 3}, {"n": 6, "copied": 3}]),
     ("copied", "shipped_at", "e", *THREE, "pct", 50, 0)),
    (legs([{"n": 4, "copied": 3}, {"n": 3, "copied": 3}, {"n": 3, "copied": 3}]), None),
    (legs([{"n": 7, "copied": 4}, {"n": 7, "copied": 3}, {"n": 7, "copied": 3}]), None),
    (legs([{"n": 1}, {"n": 1}, {"n": 1}, {"n": 20, "copied": 20}]), None),
    (legs([{"n": 10, "no_material_type": 5}, {"n": 10}, {"n": 10}]),
     ("empty", "material_type", "e", *THREE, "pct", 16.6667, 0)),
    (legs([{"n": 10}, {"n": 10}, {"n": 10, "no_shipped_at": 5}]),
     ("empty", "shipped_at", "e", *THREE, "pct", 16.6667, 0)),
    (legs([{"n": 10, "no_material_type": 4}, {"n": 10}, {"n": 10}]), None),
    (legs([{"n": 10}, {"n": 10}, {"n": 10}, {"n": 10, "no_material_type": 10}]), None),
    (legs([{"n": 100, "no_material_type": 12}]), ("empty", "material_type", "e", DAYS[0], DAYS[0], "pct", 12, 0)),
    (legs([{"n": 100, "no_material_type": 10}]), None),
    (legs([{"n": 30, "no_material_type": 26}], no_material_type=5),
     ("empty", "material_type", "e", DAYS[0], DAYS[0], "pct", 86.6667, 50)),
    (legs([{"n": 30, "no_material_type": 25}], no_material_type=5), None),
    (legs([{"n": 10, "no_material_type": 10}], days=10),
     ("empty", "material_type", "e", DAYS[0], DAYS[0], "pct", 100, 0)),
    (legs([{"n": 10, "no_material_type": 10}], n=9, days=11), None),
    (legs([{"n": 7, "of_items": 4}]), ("doubled", "items_received", "e", DAYS[0], DAYS[0], "reservations", 7, 4)),
    (legs([{"n": 6, "of_items": 4}]), None),
    (legs([{"n": 14, "of_items": 10}]), ("doubled", "items_received", "e", DAYS[0], DAYS[0], "reservations", 14, 10)),
    (legs([{"n": 14, "of_items": 11}]), None),
    (legs([{"n": 4, "of_items": 4}, {"n": 4, "of_items": 4}]), None),  # on another day an item may come again
    (legs([{"n": 4, "of_items": 2}, {"n": 1}, {"n": 3, "of_items": 2}]),
     ("doubled", "items_received", "e", *THREE, "reservations", 8, 5)),
    (legs([{"n": 1}, {"n": 1}, {"n": 1}, {"n": 9, "of_items": 3}]), None),
    (legs([{"n": 7, "of_items": 4}]) + "UPDATE kept.fct_leg SET item_barcode = NULL;", None),
    (legs([{"n": 7, "of_items": 4}]) + "UPDATE kept.fct_leg SET supplying_branch = '';", None),
    (legs([{"n": 7, "of_items": 4}]) + SENT, ("doubled", "items_sent", "f", DAYS[0], DAYS[0], "reservations", 7, 4)),
    (legs([{"n": 7, "of_items": 4}]) + SENT + "UPDATE kept.fct_leg SET supplier_file_id = NULL;", None),
    (legs([{"n": 7, "of_items": 4}]) + SENT + "UPDATE kept.fct_leg SET state = 'local';", None),
    (closed(0), ("closed_day", "exports", "e", sunday(0), sunday(0), "exports", 1, 0)),
    (closed(0, 2), ("closed_day", "exports", "e", sunday(2), sunday(0), "exports", 2, 0)),
    (closed(0, 4), ("closed_day", "exports", "e", sunday(0), sunday(0), "exports", 1, 0.1875)),
    (closed(0, 4, 5), None),
    (closed(4), None),
    (closed(0, active=False), None),
    (closed(0, network=True), None),
    (on_sunday(0, 5), ("closed_day", "received", "e", sunday(0), sunday(0), "reservations", 5, 0)),
    (on_sunday(0, 4), None),
    (on_sunday(0, 5) + on_sunday(4, 8), ("closed_day", "received", "e", sunday(0), sunday(0), "reservations", 5, 1.5)),
    (on_sunday(0, 5) + on_sunday(4, 9), None),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(MOMENTS)))
def test_where_the_bounds_of_moments_items_and_closed_days_lie(level: Any, number: int) -> None:
    sql, found = MOMENTS[number]
    level.con.begin()
    try:
        level.con.execute(sql)
        kinds = {(kind, figure, branch, *rest) for kind, figure, _, _, branch, _, *rest in told(level)}
        assert kinds == ({found} if found else set())
    finally:
        level.con.rollback()


def test_status_says_it_in_sentences(network: tuple[Places, Places], monkeypatch: pytest.MonkeyPatch) -> None:
    with figures.published(network[0]) as con:
        drift = figures.summary(con)["drift"]
    assert json.loads(json.dumps(drift)) == drift
    for lang, words in (
        ("nl", "Place A levert aan, maar meldt sinds"),
        ("en", "Place A delivers exports, but has told"),
    ):
        set_language(lang)
        sentences = [present.drift_sentence(item) for item in drift]
        assert len(set(sentences)) == len(FOUND)
        (told,) = [sentence for sentence in sentences if sentence.startswith(words)]
    set_language("nl")
    shifted = next(item for item in drift if item["kind"] == "shifted")
    assert "Place F" in present.drift_sentence(shifted)
    assert "Place E" in present.drift_sentence(shifted)
    run = figures.RunResult("20240625T010000Z-1", "2024-06-25T01:00:00Z", str(AS_OF), published=True, finished_at="x")
    run.warnings = sorted(f"drift_{kind}" for kind, *_ in FOUND)
    with figures.published(network[0]) as con:
        run.summary = figures.summary(con)
    run.write(network[0])
    given = ["--lang", "en", "status", "--raw", str(network[0].raw), "--warehouse", str(network[0].warehouse)]
    shown = CliRunner().invoke(cli, given, env={"COLUMNS": "300"})
    assert shown.exit_code == 1, shown.output
    assert told in shown.output
    printed = json.loads(CliRunner().invoke(cli, [*given, "--format", "json"]).output)
    assert told in [item["text"]["en"] for item in printed["drift"]]
    assert all(item["text"]["nl"] != item["text"]["en"] for item in printed["drift"])
    assert {item["severity"] for item in printed["drift"]} == {"warning"}
    monkeypatch.setenv("PENDEL_LANG", "en")
    assert told in present.run_markdown(run)


def test_every_kind_and_figure_has_its_sentence(network: tuple[Places, Places]) -> None:
    columns = contracts.tables()["marts.drift"]["columns"]
    kinds, of_figures = columns["kind"]["one_of"], columns["figure"]["one_of"]
    assert {key.split(".")[0] for key in contracts.drifts()} == set(kinds)
    assert {key.split(".")[1] for key in contracts.drifts()} == set(of_figures)
    with duckdb.connect() as con:
        sql = (PROJECT / "sql" / "marts" / "drift.sql").read_text(encoding="utf-8")
        assert con.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    for kind in kinds:
        assert f"'{kind}' AS kind" in sql
