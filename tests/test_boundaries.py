"""What the checks let pass and what they refuse, on either side of every condition they have.

`test_gates.py` plants a fault for every check and runs Great Expectations on it. Here the same SQL is asked directly:
each part of a condition has a case that only that part decides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import duckdb
import pytest

from pendel import contracts, gates
from pendel.building import MAY_READ
from tests.test_models import PLAIN, File, Row, Warehouse, World, day, deliveries, period

# yd has two periods, with April between them; all but yd are always open.
PERIODS = [
    *PLAIN[:3],
    period("yd", "4", opened="2023-02-10", closed="2023-03-31"),
    period("yd", "5", opened="2023-05-01"),
]
FILES = [File("network", day("2023-03-13"), format="koha_csv"), File("xa", day("2023-03-13"))]
LOCAL = Row(2, "closed", "1", "1", "Z", "2023-03-13 12:00", "2023-03-10 12:00", "2023-03-13 12:00", reason="1")
WORLD = World(
    PERIODS,
    day("2023-06-01"),
    FILES,
    [*deliveries({"xa>xb": 5, "xb>xa": 2, "xa>ya": 3, "ya>xa": 1}), LOCAL],
    published=[{"year": "2023", "kpi": "deliveries_total", "value": "11", "source": "report"}],
    held=[(1, 90, "unknown_status")],
    warned=[(1, 2, "missing_hour")],
)
A_LEG = "reservation_id = 'xa>xb 0'"
ANOTHER = "reservation_id = 'xa>xb 1'"


@pytest.fixture(scope="module")
def sound() -> Iterator[Warehouse]:
    warehouse = Warehouse(WORLD)
    yield warehouse
    warehouse.con.close()


@pytest.fixture
def con(sound: Warehouse) -> Iterator[duckdb.DuckDBPyConnection]:
    """A sound warehouse; what is done to it is undone afterwards."""
    sound.con.execute("BEGIN")
    yield sound.con
    sound.con.execute("ROLLBACK")


def offending(con: duckdb.DuckDBPyConnection, check: str) -> list[tuple[Any, ...]]:
    (file,) = [file for file in contracts.sql_files("checks") if file.name == check]
    return con.execute(file.sql.replace("{batch}", file.head["on"])).fetchall()


DIRECTIONS = "between_organisations_is_the_sum_of_its_directions"
OPEN = "delivered_between_two_open_branches"
LANES = "deliveries_equal_lanes"
PUBLISHED = "figure_differs_from_published"
BALANCES = "lending_balances_add_up_to_zero"
REGISTER = "most_rows_count"
ACTIVE = "one_active_file_a_day"
PARTS = "parts_add_up"
ROW_ONCE = "receipt_row_counted_once"
WHOSE = "receipt_row_is_the_pickup_branchs"
CONSERVED = "rows_are_conserved"

A_DIRECTION = "kpi = 'deliveries_total' AND dimension = 'organisation' AND supplying_organisation = 'X'"
ACROSS, WITHIN = f"{A_DIRECTION} AND pickup_organisation = 'Y'", f"{A_DIRECTION} AND pickup_organisation = 'X'"
BOTH = "kpi = 'deliveries_between_organisations' AND dimension = 'total'"
A_BALANCE = "kpi = 'lender_balance' AND branch = 'xa'"


def plus(condition: str, more: int = 1) -> str:
    return f"UPDATE kpi.value SET value = value + {more} WHERE {condition};"


def received(branch: str, side: str, date: str) -> str:
    return f"UPDATE marts.fct_leg SET {side}_branch = '{branch}', received_at = '{date} 00:00' WHERE {A_LEG}"


def held(count: int, superseded: bool = False, stage: str = "reference") -> str:
    return (
        "INSERT INTO quality.quarantined_row BY NAME SELECT 1 AS file_id, 1000 + i AS row, 'unknown_branch' AS rule, "
        f"'{stage}' AS stage, {superseded} AS is_superseded FROM range({count}) AS r (i);"
    )


def accepted(count: int, state: str = "accepted") -> str:
    return (
        "UPDATE quality.file SET rows_accepted = 0;"
        f"UPDATE quality.file SET rows_accepted = {count}, state = '{state}' WHERE file_id = 1;"
    )


def another_file(**changed: str) -> str:
    replaced = ", ".join(f"{value} AS {name}" for name, value in ({"file_id": "77"} | changed).items())
    return f"INSERT INTO quality.file SELECT * REPLACE ({replaced}) FROM quality.file WHERE file_id = 2"


def moved(**columns: int) -> str:
    changes = ", ".join(f"{name} = {name} + {more}" for name, more in columns.items())
    return f"UPDATE quality.file SET {changes} WHERE file_id = 1"


TOTALS = "kpi = 'deliveries_total' AND"
CASES = [
    # the check, whether it refuses, what was done
    (DIRECTIONS, True, "one direction too many", plus(f"{ACROSS} AND month = 3")),
    (DIRECTIONS, True, "one direction too few", plus(f"{ACROSS} AND month = 3", -1)),
    (DIRECTIONS, True, "the sum too many", plus(f"{BOTH} AND month = 0")),
    (DIRECTIONS, True, "one month for another", plus(f"{ACROSS} AND month = 3") + plus(f"{ACROSS} AND month = 2", -1)),
    (DIRECTIONS, True, "no sum where nothing was delivered", f"DELETE FROM kpi.value WHERE {BOTH} AND month = 1"),
    (DIRECTIONS, True, "no directions", "DELETE FROM kpi.value WHERE dimension = 'organisation'"),
    (DIRECTIONS, True, "no directions where one was delivered",
     "DELETE FROM kpi.value WHERE dimension = 'organisation' AND month = 0; UPDATE kpi.value SET value = 1 "
     f"WHERE {BOTH} AND month = 0"),
    (DIRECTIONS, False, "no directions where nothing was delivered",
     "DELETE FROM kpi.value WHERE dimension = 'organisation' AND month = 1"),
    (DIRECTIONS, False, "within an organisation", plus(f"{WITHIN} AND month = 3")),
    (DIRECTIONS, False, "another figure", plus("kpi = 'unconfirmed'")),
    (DIRECTIONS, False, "the lanes", plus(f"{TOTALS} dimension = 'lane'")),
    *(
        (OPEN, refused, f"{side} yd on {date}", received("yd", side, date))
        for side in ("supplying", "pickup")
        for date, refused in (("2023-02-09", True), ("2023-02-10", False), ("2023-03-31", False), ("2023-04-01", True),
                              ("2023-04-30", True), ("2023-05-01", False))
    ),
    (OPEN, True, "from a branch to itself", received("xb", "supplying", "2023-03-13")),
    (OPEN, True, "to no branch", received("zz", "pickup", "2023-03-13")),
    (OPEN, True, "from no branch", received("zz", "supplying", "2023-03-13")),
    (OPEN, False, "long ago, between two that were always open", received("xb", "pickup", "1980-01-01")),
    (LANES, True, "one for another day",
     f"UPDATE marts.fct_leg SET received_at = '2023-03-14 09:00' WHERE {A_LEG}"),
    (LANES, True, "a day that no lane knows", f"UPDATE marts.fct_leg SET received_at = '2020-01-01' WHERE {A_LEG}"),
    (LANES, True, "a day of the lanes alone",
     "DELETE FROM marts.fct_leg WHERE state = 'delivered'"),
    (LANES, False, "a day without a lane or a delivery", "DELETE FROM marts.agg_lane_day WHERE date = '2023-03-14'"),
    (LANES, False, "what was sent", "UPDATE marts.agg_lane_day SET sent = sent + 1"),
    (PUBLISHED, False, "no difference", "UPDATE kpi.published SET difference = 0"),
    (PUBLISHED, False, "nothing to compare with", "UPDATE kpi.published SET computed = NULL, difference = NULL"),
    *((PUBLISHED, True, f"{off} off", f"UPDATE kpi.published SET difference = {off}") for off in (1, -1)),
    (BALANCES, True, "one month for another",
     plus(f"{A_BALANCE} AND month = 3") + plus(f"{A_BALANCE} AND month = 2", -1)),
    (BALANCES, True, "too few", plus(f"{A_BALANCE} AND month = 3", -1)),
    (BALANCES, False, "one branch for another",
     plus(f"{A_BALANCE} AND month = 3") + plus("kpi = 'lender_balance' AND branch = 'ya' AND month = 3", -1)),
    (BALANCES, False, "another figure", plus("kpi = 'unconfirmed'")),
    (REGISTER, False, "a hundred rows", accepted(0) + held(100)),
    (REGISTER, True, "a hundred and one", accepted(0) + held(101)),
    (REGISTER, False, "half", accepted(200) + held(200)),
    (REGISTER, True, "more than half", accepted(200) + held(201)),
    (REGISTER, False, "half, of a file with held rows", accepted(200, "partly_accepted") + held(200)),
    (REGISTER, True, "more than half, of a file with held rows", accepted(200, "partly_accepted") + held(201)),
    (REGISTER, True, "few count", accepted(9999, "superseded") + held(201)),
    (REGISTER, False, "rows that were replaced", accepted(0) + held(500, superseded=True)),
    (REGISTER, False, "rows held on arrival", accepted(0) + held(500, stage="arrival")),
    (REGISTER, False, "rows of two files",
     accepted(150) + "UPDATE quality.file SET rows_accepted = 150 WHERE file_id = 2;" + held(250)),
    (ACTIVE, True, "two", another_file()),
    (ACTIVE, True, "one with held rows", another_file(state="'partly_accepted'")),
    *((ACTIVE, False, f"one {state}", another_file(state=f"'{state}'"))
      for state in ("superseded", "rejected", "skipped")),
    (ACTIVE, False, "of two branches", another_file(branch="'xb'")),
    (ACTIVE, False, "of two formats", another_file(format="'excel'")),
    (ACTIVE, False, "of two days", another_file(export_date="DATE '2023-03-14'")),
    *(
        (PARTS, True, f"no {dimension} in a month without any",
         f"DELETE FROM kpi.value WHERE {TOTALS} dimension = '{dimension}' AND month = 1")
        for dimension in ("organisation", "branch", "lane")
    ),
    *(
        (PARTS, True, f"a {dimension} too many", plus(f"{TOTALS} dimension = '{dimension}' AND month = 3 AND "
                                                      "(branch = 'xa' OR supplying_organisation <> '')"))
        for dimension in ("organisation", "branch", "lane")
    ),
    (PARTS, True, "one month for another",
     plus(f"{TOTALS} branch = 'xa' AND month = 3") + plus(f"{TOTALS} branch = 'xa' AND month = 2", -1)),
    (PARTS, True, "a month in all its parts, and not in its year",
     "".join(plus(f"{TOTALS} {part} AND month = 2") for part in (
         "dimension = 'total'", "branch = 'xa'", "supplying_branch = 'xa' AND pickup_branch = 'xb'",
         "dimension = 'organisation' AND supplying_organisation = 'X' AND pickup_organisation = 'Y'"))),
    (PARTS, True, "no year", f"DELETE FROM kpi.value WHERE {TOTALS} month = 0"),
    (PARTS, True, "no months", f"DELETE FROM kpi.value WHERE {TOTALS} month > 0"),
    (PARTS, False, "another figure", plus("kpi = 'unconfirmed' AND branch = 'xa' AND month = 0")),
    (ROW_ONCE, True, "one row twice", f"UPDATE marts.fct_leg SET pickup_row = 2 WHERE {A_LEG} OR {ANOTHER}"),
    (ROW_ONCE, False, "the same row of two files",
     f"UPDATE marts.fct_leg SET pickup_row = 2 WHERE {A_LEG} OR {ANOTHER};"
     f"UPDATE marts.fct_leg SET pickup_file_id = 2 WHERE {A_LEG}"),
    (WHOSE, False, "its own file", "UPDATE marts.fct_leg SET pickup_file_id = 2 WHERE pickup_branch = 'xa'"),
    (WHOSE, True, "the file of another", f"UPDATE marts.fct_leg SET pickup_file_id = 2 WHERE {A_LEG}"),
    (WHOSE, False, "a file with held rows", "UPDATE quality.file SET state = 'partly_accepted'"),
    *((WHOSE, True, f"a file that was {state}", f"UPDATE quality.file SET state = '{state}' WHERE file_id = 1")
      for state in ("superseded", "rejected", "skipped")),
    (WHOSE, True, "no such file", f"UPDATE marts.fct_leg SET pickup_file_id = 99 WHERE {A_LEG}"),
    *((CONSERVED, True, f"{name} {more:+}", moved(**{name: more}))
      for name in ("rows_read", "rows_accepted", "rows_quarantined", "rows_duplicate") for more in (1, -1)),
    (CONSERVED, False, "held after all", moved(rows_accepted=-1, rows_quarantined=1)),
    (CONSERVED, False, "a duplicate after all", moved(rows_accepted=-1, rows_duplicate=1)),
    (CONSERVED, False, "other rows", moved(rows_other=1)),
]  # fmt: skip


def test_a_sound_warehouse_passes_all_checks(con: duckdb.DuckDBPyConnection) -> None:
    assert {file.name: offending(con, file.name) for file in contracts.sql_files("checks")} == {
        file.name: [] for file in contracts.sql_files("checks")
    }


@pytest.mark.parametrize(("check", "refused", "what", "sql"), CASES, ids=[f"{c[0]}: {c[2]}" for c in CASES])
def test_a_check_refuses_what_it_should_and_no_more(
    con: duckdb.DuckDBPyConnection, check: str, refused: bool, what: str, sql: str
) -> None:
    con.execute(sql)
    assert bool(offending(con, check)) is refused, what


# ------------------------------------------------------------------------------------------- values and keys


COUNTS = {
    "marts.agg_lane_day": "sent delivered",
    "marts.agg_branch_day": "sent received supplied",
    "marts.agg_feed_period": "expected arrived",
    "marts.agg_delivery_period": "delivered delivered_between_organisations not_collected unannounced unconfirmed "
    "in_transit overdue with_transit_time within_transit_norm",
    "quality.file": "rows_read rows_accepted rows_quarantined rows_duplicate rows_other",
    "marts.dim_date": "transport_day_number",
    "kpi.definition": "position",
    "marts.parameter": "transit_norm_transport_days overdue_after_transport_days export_late_after_days",
    "marts.forecast_profile": "expected_items naive_items sent",
    "marts.forecast_trial": "expected_items forecast_items low_items high_items naive_items sent",
    "marts.forecast_lane_day": "expected_items forecast_items low_items high_items crates high_crates",
    "marts.forecast_branch_day": "forecast_items low_items high_items crates low_crates high_crates",
}
LENGTHS = {
    "marts.fct_leg": "transit_calendar_days transit_transport_days fill_days",
    "marts.fct_delivery": "transit_calendar_days transit_transport_days fill_days",
    "marts.agg_delivery_period": "transit_transport_days_median transit_transport_days_p90 "
    "transit_calendar_days_median transit_calendar_days_p90 fill_days_median",
}
NUMBERED = {
    "marts.feed_day": "file_id",
    "quality.file": "file_id",
    "quality.quarantined_row": "file_id row",
    "quality.warning": "file_id row",
}
MONTHS = ("marts.period", "marts.agg_feed_period", "marts.agg_delivery_period", "kpi.value")
STATES = {
    "marts.fct_leg": "requested in_transit delivered local unconfirmed cancelled superseded",
    "marts.feed_day": "received late rejected missing",
    "quality.file": "accepted partly_accepted rejected superseded skipped",
}
FORECASTS = [f"marts.forecast_{name}" for name in ("profile", "trial", "lane_day", "branch_day")]
METHODS = "profile naive closed unknown sum"
UNITS = "reservations balance days transport_days pct"
VALUES = [
    # relation, column, what it may be, what it may not be
    *((relation, name, ["0", "1", "250000"], ["-1"]) for relation, names in COUNTS.items() for name in names.split()),
    *((relation, name, ["0", "0.5"], ["-0.5"]) for relation, names in LENGTHS.items() for name in names.split()),
    *((relation, name, ["1", "2"], ["0", "-1"]) for relation, names in NUMBERED.items() for name in names.split()),
    *((relation, "month", ["0", "1", "12"], ["-1", "13"]) for relation in MONTHS),
    *((relation, "state", [*map(repr, states.split())], ["'lost'", "''", "'Delivered'"])
      for relation, states in STATES.items()),
    *((relation, "unit", [*map(repr, UNITS.split())], ["'crates'", "''"])
      for relation in ("kpi.definition", "kpi.value")),
    *((relation, "completeness", ["0", "0.5", "1"], ["-0.01", "1.01"]) for relation in ("kpi.value", "kpi.published")),
    *((relation, "dimension", ["'total'", "'organisation'", "'branch'", "'lane'"], ["''", "'town'"])
      for relation in ("marts.scope", "marts.agg_delivery_period", "kpi.value")),
    *((relation, "weeks_back", ["0", "16"], ["-1", "17"]) for relation in FORECASTS[:2]),
    *((relation, "horizon", ["1", "10"], ["0", "11"]) for relation in FORECASTS),
    *((relation, "method", [*map(repr, METHODS.split())], ["'best'", "''"]) for relation in FORECASTS[1:3]),
    ("marts.forecast_branch_day", "direction", ["'out'", "'in'"], ["'both'", "''"]),
    ("marts.parameter", "items_per_crate", ["1", "30"], ["0", "-1"]),
    ("marts.dim_branch", "latitude", ["-90", "52.4", "90"], ["-90.1", "90.1"]),
    ("marts.dim_branch", "longitude", ["-180", "5.2", "180"], ["-180.1", "180.1"]),
    ("marts.dim_date", "iso_week", ["1", "53"], ["0", "54"]),
    ("marts.dim_date", "iso_weekday", ["1", "7"], ["0", "8"]),
    ("marts.fct_leg", "close_reason", [f"'{code}'" for code in "01456789"], ["'2'", "'3'", "''", "'10'"]),
    ("quality.quarantined_row", "stage", ["'arrival'", "'reference'"], ["'reading'", "''"]),
]  # fmt: skip


@pytest.mark.parametrize(("relation", "column", "good", "bad"), VALUES, ids=[f"{v[0]}.{v[1]}" for v in VALUES])
def test_a_value_is_in_its_range(
    con: duckdb.DuckDBPyConnection, relation: str, column: str, good: list[str], bad: list[str]
) -> None:
    """Asked of a sound row that bears the value."""
    (item,) = [
        item for item in gates.suites()[relation]["expectations"] if item["meta"]["check"] == f"{relation}: values"
    ]
    query = item["kwargs"]["unexpected_rows_query"]

    def refused(value: str) -> bool:
        row = f"(SELECT * REPLACE ({value} AS {column}) FROM (FROM {relation} LIMIT 1))"
        assert con.execute(f"SELECT count(*) FROM {row}").fetchone() == (1,)
        return bool(con.execute(query.replace("{batch}", row)).fetchall())

    assert [value for value in good if refused(value)] == []
    assert [value for value in bad if not refused(value)] == []


def test_every_value_that_is_held_to_something_has_a_case() -> None:
    """`quality.check_result` is written after the checks."""
    held_to = {
        (relation, name)
        for relation, spec in contracts.tables().items()
        for name, column in spec["columns"].items()
        if column.keys() & {"least", "most", "one_of"} and not spec.get("written_after_checks")
    }
    empty = {"kpi.closed_year", "kpi.restatement", "marts.closed_year_file", "quality.correction",
             "quality.corrected_row", "marts.forecast_error"}  # fmt: skip
    # nothing was closed or corrected in this world, and no forecast of it has an outcome: no row can bear a value
    held_to = {(relation, name) for relation, name in held_to if relation not in empty}
    assert held_to - {("marts.dim_date", "month"), ("marts.fct_delivery", "month")} == {v[:2] for v in VALUES}


def test_the_key_of_a_relation_is_the_same_in_its_sql_and_in_its_contract() -> None:
    in_sql = {
        f"{layer}.{file.name}": file.head["key"].split(", ")
        for layer in MAY_READ
        for file in contracts.sql_files(layer)
    }
    described = {relation: spec["key"] for relation, spec in contracts.tables().items() if relation in in_sql}
    assert {relation: in_sql[relation] for relation in described} == described
    assert described.keys() == {relation for relation in in_sql if not relation.startswith("staging.")}


def test_a_key_that_stands_twice_is_refused(con: duckdb.DuckDBPyConnection) -> None:
    """Every row doubled, in every relation; and no row refused that stands there once."""
    for relation, suite in gates.suites().items():
        for item in suite["expectations"]:
            if item["meta"]["check"] == f"{relation}: key":
                query = item["kwargs"]["unexpected_rows_query"]
                twice = f"(FROM {relation} UNION ALL FROM {relation})"
                distinct = con.execute(f"SELECT count(*) FROM {relation}").fetchone()
                assert (len(con.execute(query.replace("{batch}", twice)).fetchall()),) == distinct, relation
                assert con.execute(query.replace("{batch}", relation)).fetchall() == [], relation


# ------------------------------------------------------------------------------------------- what no figure shows


def test_a_lane_bears_the_organisations_of_its_branches(sound: Warehouse) -> None:
    lanes = sound.rows(
        "SELECT DISTINCT supplying_branch, pickup_branch, supplying_organisation, pickup_organisation "
        "FROM marts.agg_lane_day"
    )
    assert len(lanes) == 12
    for supplier, pickup, *organisations in lanes:
        assert organisations == [supplier[0].upper(), pickup[0].upper()]


def test_a_branch_is_described_by_its_last_period_and_one_without_dates_too() -> None:
    moved = [period("xb", "8"), period("xb", "9", opened="2022-01-01")]
    places = [(51.0, 5.0), (52.0, 6.0), (53.0, 7.0)]
    periods = [
        replace(p, latitude=latitude, longitude=longitude)
        for p, (latitude, longitude) in zip([period("xa", "1"), *moved], places, strict=True)
    ]
    warehouse = Warehouse(World(periods, day("2023-06-01")))
    assert warehouse.rows(
        "SELECT branch, name, municipality, ils_code, export_format, latitude, longitude "
        "FROM marts.dim_branch ORDER BY branch"
    ) == [
        ("xa", "xa 1", "town 1", "1", "dnb_tsv", 51.0, 5.0),
        ("xb", "xb 9", "town 9", "9", "dnb_tsv", 53.0, 7.0),
    ]
    other = [replace(p, export_format="excel") if p.ils_code == "9" else p for p in periods]
    warehouse = Warehouse(World(other, day("2023-06-01")))
    assert warehouse.rows("SELECT export_format FROM marts.dim_branch ORDER BY branch") == [("dnb_tsv",), ("excel",)]


@pytest.mark.parametrize(
    ("status", "state", "announced"),
    [("A", "requested", False), ("Z", "cancelled", False), *((status, "in_transit", True) for status in "TOBUR")],
)
def test_what_the_supplier_says_without_a_date_of_sending(status: str, state: str, announced: bool) -> None:
    files = [File("xa", day("2023-03-13")), File("xb", day("2023-03-13"))]
    told = Row(1, "7", "1", "01", status, "2023-03-13 12:00")
    receipt = Row(2, "7", "1", "01", "O", "2023-03-13 12:00", received="2023-03-13 12:00")
    sending = Warehouse(World(PLAIN, day("2023-04-01"), files, [told]))
    assert list(sending.states().values()) == [state]
    both = Warehouse(World(PLAIN, day("2023-04-01"), files, [told, receipt]))
    assert both.rows("SELECT state, is_unannounced FROM marts.fct_leg") == [("delivered", not announced)]


@pytest.mark.parametrize(
    ("status", "state", "closed"),
    [("Z", "cancelled", (dt.datetime(2023, 3, 15, 9), "5")), ("A", "in_transit", (None, None))],
)
def test_a_closed_row_without_supplier_closes_the_leg_with_its_own_date_and_reason(
    status: str, state: str, closed: tuple[object, object]
) -> None:
    files = [File("xa", day("2023-03-13")), File("xb", day("2023-03-15"))]
    sent = Row(1, "7", "1", "01", "T", "2023-03-13 12:00", "2023-03-13 12:00")
    word = Row(2, "7", "", "01", status, "2023-03-15 12:00", closed="2023-03-15 09:00", reason="5")
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), files, [sent, word]))
    assert warehouse.rows("SELECT state, closed_at, close_reason FROM marts.fct_leg") == [(state, *closed)]


def test_a_reservation_number_of_another_organisation_is_another_reservation() -> None:
    """Two suppliers for it in one organisation say nothing of the leg with the same number in the other."""
    files = [File(branch, day("2023-03-13")) for branch in ("xa", "xb", "ya")]
    rows = [
        Row(2, "7", "1", "01", "T", "2023-03-13 10:00", "2023-03-13 09:00"),
        Row(2, "7", "2", "01", "T", "2023-03-13 12:00", "2023-03-13 11:00"),
        Row(3, "7", "1", "001", "T", "2023-03-13 11:00", "2023-03-13 10:00"),
    ]
    assert Warehouse(World(PLAIN, day("2023-04-01"), files, rows)).states() == {
        ("X", "7", "xa"): "superseded",
        ("X", "7", "yb"): "in_transit",
        ("Y", "7", "xa"): "in_transit",
    }


@pytest.mark.parametrize(("supplier", "state"), [("xa", "delivered"), ("xb", "local")])
def test_a_leg_bears_when_it_was_received_and_collected(supplier: str, state: str) -> None:
    code = {"xa": "1", "xb": "01"}[supplier]
    row = Row(1, "7", code, "01", "U", "2023-03-14 12:00", "2023-03-13 09:00", "2023-03-14 10:00",
              collected="2023-03-14 12:00")  # fmt: skip
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), [File("xb", day("2023-03-14"))], [row]))
    assert warehouse.rows("SELECT state, received_at, collected_at FROM marts.fct_leg") == [
        (state, dt.datetime(2023, 3, 14, 10), dt.datetime(2023, 3, 14, 12))
    ]
