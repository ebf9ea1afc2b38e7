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

from pendel import building, contracts, gates
from pendel.building import MAY_READ
from pendel.figures import TASKS
from tests.test_models import PLAIN, File, Row, Warehouse, World, day, deliveries, period

# yd has two periods, with April between them; all but yd are always open.
PERIODS = [
    *PLAIN[:3],
    period("yd", "4", opened="2023-02-10", closed="2023-03-31"),
    period("yd", "5", opened="2023-05-01"),
]
FILES = [File("network", day("2023-03-13"), format="koha_csv"), File("xa", day("2023-03-13"))]
LOCAL = Row(2, "closed", "1", "1", "Z", "2023-03-13 12:00", "2023-03-10 12:00", "2023-03-13 12:00", reason="1")
SENT = Row(2, "sent", "1", "01", "T", "2023-03-13 12:00", "2023-03-13 12:00")
WORLD = World(
    PERIODS,
    day("2023-06-01"),
    FILES,
    [*deliveries({"xa>xb": 5, "xb>xa": 2, "xa>ya": 3, "ya>xa": 1}), LOCAL, SENT],
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
CORRECTED = "correction_applies"
EXPLAINED = "restatement_is_explained"
RESTATED = "closed_year_is_restated"

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


def corrected(expected: int, found: int) -> str:
    return f"INSERT INTO quality.correction VALUES (7, 'drop', 'why', {expected}, {found})"


def restated(late_files: int, *rules: str) -> str:
    return (
        "INSERT INTO kpi.restatement BY NAME SELECT 'deliveries_total' AS kpi, 2022 AS year, "
        f"{late_files} AS late_files, {list(rules)} AS changed_rules"
    )


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
    *((CORRECTED, refused, f"{found} of {expected}", corrected(expected, found))
      for expected, found, refused in ((2, 2, False), (2, 1, True), (2, 3, True))),
    *((check, refused is (check == RESTATED), f"{late} late files, {rules}", restated(late, *rules))
      for check in (EXPLAINED, RESTATED)
      for late, rules, refused in ((0, [], False), (1, [], True), (2, [], True), (0, ["a"], True), (1, ["a"], True))),
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
    "kpi.lane": "delivered still_in_transit still_overdue delivered_before",
    "marts.dim_date": "transport_day_number",
    "kpi.definition": "position",
    "marts.parameter": "transit_norm_transport_days overdue_after_transport_days unsent_after_transport_days "
    "export_late_after_days",
    "marts.lane_usual": "delivered usually_delivered least_delivered most_delivered",
    "kpi.closed_year": "late_files",
    "kpi.restatement": "late_files",
    "quality.correction": "corrected_rows",
}
LENGTHS = {
    "marts.fct_leg": "transit_calendar_days transit_transport_days fill_days",
    "marts.fct_delivery": "transit_calendar_days transit_transport_days fill_days",
    "marts.agg_delivery_period": "transit_transport_days_median transit_transport_days_p90 "
    "transit_calendar_days_median transit_calendar_days_p90 fill_days_median",
}
LENGTHS["kpi.lane"] = (
    "transit_transport_days_median transit_transport_days_p90 transit_calendar_days_median transit_calendar_days_p90 "
    "transit_transport_days_median_before"
)
NUMBERED = {
    "marts.feed_day": "file_id",
    "quality.file": "file_id",
    "quality.quarantined_row": "file_id row",
    "quality.warning": "file_id row",
    "quality.correction": "correction expected_rows",
    "marts.parameter": "items_per_crate",
    "quality.corrected_row": "file_id row correction",
    "marts.closed_year_file": "file_id",
}
SHARES = ("within_transit_norm_pct", "within_transit_norm_pct_before")
MONTHS = (
    "marts.period",
    "marts.agg_feed_period",
    "marts.agg_delivery_period",
    "kpi.value",
    "kpi.lane",
    "kpi.restatement",
)
NOTHING_YET = {
    "kpi.closed_year": "2022, '2024-01-01', 'me', 'a run', 0, []",
    "kpi.restatement": "'deliveries_total', 2022, 0, 'total', '', '', '', '', '', 1, 2, 1, 0, []",
    "marts.closed_year_file": "2022, 1, 'xa', 'a file', '2023-01-01'",
    "quality.correction": "1, 'drop', 'why', 1, 1",
    "quality.corrected_row": "1, 'xa', 'a file', 2, 1",
    "marts.drift": "'zero', 'sent', '', '', 'xa', '', '2023-01-02', '2023-01-04', 0, 15, 'reservations'",
    "marts.forecast_profile": "1, '2023-01-09', '2023-01-09', 1, 'xa', 'xb', false, 2.5, 3, 2",
    "marts.forecast_trial": "1, '2023-01-09', '2023-01-09', 1, 'xa', 'xb', 'profile', 2.5, 2, 1, 4, 3, 2",
    "marts.forecast_lane_day": "'2023-01-09', 1, 'xa', 'xb', 'profile', 2.5, 2, 1, 4, 0.1, 0.2",
    "marts.forecast_branch_day": "'2023-01-09', 1, 'xa', 'out', 2, 1, 4, 0.1, 0.1, 0.2",
    "marts.forecast_error": "'lane', 'xa', 'xb', 10, 20, 0.3, 0.4, 0.25, 0.8",
}
"""A sound row of what is empty in this world: nothing was closed or corrected, nothing drifted, and it is too short to
forecast from.
"""
STATES = {
    "marts.fct_leg": "requested in_transit delivered local unconfirmed cancelled superseded",
    "marts.feed_day": "received late rejected missing",
    "quality.file": "accepted partly_accepted rejected superseded skipped",
}
DRIFTS = "no_receipts zero copied shifted doubled empty closed_day"
DRIFTING = "received sent delivered items_received items_sent shipped_at material_type exports"
METHODS = "profile naive closed unknown sum"
SCOPES = "all_lanes sparse_lanes lane branch_out branch_in network"
NO_LESS_THAN_NOTHING = {
    "marts.drift": "observed usual",
    "marts.forecast_profile": "weeks_back expected_items naive_items sent",
    "marts.forecast_trial": "weeks_back expected_items forecast_items low_items high_items naive_items sent",
    "marts.forecast_lane_day": "expected_items forecast_items low_items high_items crates high_crates",
    "marts.forecast_branch_day": "forecast_items low_items high_items crates low_crates high_crates",
    "marts.forecast_error": "items wape naive_wape band_held",
}
UNITS = "reservations balance days transport_days pct"
VALUES = [
    # relation, column, what it may be, what it may not be
    *((relation, name, ["0", "1", "250000"], ["-1"]) for relation, names in COUNTS.items() for name in names.split()),
    *((relation, name, ["0", "0.5"], ["-0.5"]) for relation, names in LENGTHS.items() for name in names.split()),
    *((relation, name, ["1", "2"], ["0", "-1"]) for relation, names in NUMBERED.items() for name in names.split()),
    *((relation, name, ["0", "1"], ["-1"]) for relation, names in NO_LESS_THAN_NOTHING.items()
      for name in names.split()),
    *((relation, "horizon", ["1", "10"], ["0", "11"])
      for relation in NO_LESS_THAN_NOTHING if relation not in ("marts.drift", "marts.forecast_error")),
    *((relation, "method", [*map(repr, METHODS.split())], ["'guess'", "''"])
      for relation in ("marts.forecast_trial", "marts.forecast_lane_day")),
    *((relation, "weeks_back", ["16"], ["17"]) for relation in ("marts.forecast_profile", "marts.forecast_trial")),
    ("marts.forecast_branch_day", "direction", ["'out'", "'in'"], ["'both'", "''"]),
    ("marts.forecast_error", "scope", [*map(repr, SCOPES.split())], ["'branch'", "''"]),
    ("marts.forecast_error", "forecasts", ["1"], ["0"]),
    ("marts.forecast_error", "improvement", ["-3", "1"], ["1.01"]),
    ("marts.forecast_error", "band_held", ["1"], ["1.01"]),
    ("marts.drift", "kind", [*map(repr, DRIFTS.split())], ["'drift'", "''"]),
    ("marts.drift", "figure", [*map(repr, DRIFTING.split())], ["'balance'", "''"]),
    ("marts.drift", "unit", ["'reservations'", "'exports'", "'pct'"], ["'items'", "''"]),
    *((relation, "month", ["0", "1", "12"], ["-1", "13"]) for relation in MONTHS),
    *((relation, "state", [*map(repr, states.split())], ["'lost'", "''", "'Delivered'"])
      for relation, states in STATES.items()),
    *((relation, "unit", [*map(repr, UNITS.split())], ["'crates'", "''"])
      for relation in ("kpi.definition", "kpi.value")),
    *((relation, "completeness", ["0", "0.5", "1"], ["-0.01", "1.01"])
      for relation in ("kpi.value", "kpi.published", "kpi.lane")),
    *(("kpi.lane", name, ["0", "0.5", "100"], ["-0.5", "100.5"]) for name in SHARES),
    ("kpi.lane", "compared_month", ["0", "1", "12"], ["-1", "13"]),
    ("kpi.lane", "delivered_change_pct", ["-100", "0", "250.5"], ["-100.5"]),
    *((relation, "dimension", ["'total'", "'organisation'", "'branch'", "'lane'"], ["''", "'town'"])
      for relation in ("marts.scope", "marts.agg_delivery_period", "kpi.value", "kpi.restatement")),
    ("marts.search_item", "task", [*map(repr, TASKS)], ["'look'", "''"]),
    ("marts.search_item", "told_by_export_state", ["'received'", "'late'", "'rejected'", "'missing'", "NULL"],
     ["'skipped'", "''"]),
    ("quality.correction", "action", ["'drop'", "'override'"], ["'forget'", "''"]),
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
    if relation in NOTHING_YET:
        con.execute(f"INSERT INTO {relation} VALUES ({NOTHING_YET[relation]})")
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


# ------------------------------------------------------------------------------------------- what each column holds

HELD_ON_ARRIVAL = """
INSERT INTO bronze.quarantine (file_id, row, rule, reservation_id, item_barcode, material_type, supplying_branch,
    pickup_branch, status, close_reason, requested_at, shipped_at, received_at, collected_at, closed_at, changed_at)
VALUES (3, 70, 'unknown_status', 'number', 'item', 'material', 'supplier', 'pickup', 'status', 'reason', 'requested',
    'shipped', 'received', 'collected', 'closed', 'changed');
UPDATE bronze.file SET branch = 'xb', path = 'the path', path_key = 'the key', size_bytes = 60, mtime_ns = 61,
    sha256 = 'the bytes', detail = '{"a": 1}', judged_by = 'the register', rows_read = 51, rows_accepted = 40,
    rows_quarantined = 7, rows_duplicate = 4, rows_other = 3, dropped_columns = ['Naam'], run_id = 'earlier'
WHERE file_id = 3;
INSERT INTO bronze.run VALUES ('earlier', '2022-12-31 10:00', '2022-12-31');
"""


@pytest.fixture(scope="module")
def described() -> Iterator[Warehouse]:
    """No two columns of a row have the same value."""
    files = [
        File("xa", day("2023-03-16"), arrived=dt.datetime(2023, 3, 17, 4)),
        File("xb", day("2023-03-15")),
        File("xb", day("2023-03-14"), arrived=dt.datetime(2023, 3, 15, 6)),
        File("ya", day("2023-03-16")),
    ]
    rows = [
        Row(2, "delivered", "01", "1", "T", "2023-03-08 08:05", "2023-03-06 10:00", item="123", material="DVD"),
        Row(1, "sent", "1", "001", "T", "2023-03-16 12:00", "2023-03-09 10:00", item="234", material="CD"),
        Row(1, "delivered", "01", "1", "U", "2023-03-13 12:00", "2023-03-06 11:00", "2023-03-08 09:00",
            requested="2023-03-01 08:00", collected="2023-03-10 15:00", item="1234", material="BOEK"),
        Row(1, "unknown", "77", "1", "O", "2023-03-13 13:00", "2023-03-07 11:00", "2023-03-08 10:00",
            requested="2023-03-02 08:00", item="345"),
        Row(2, "sent", "1", "001", "T", "2023-03-16 12:00", "2023-03-09 10:00"),
        Row(3, "three", "01", "1", "A", "2023-03-14 12:00"),
        Row(4, "four", "1", "001", "A", "2023-03-14 12:00"),
        Row(4, "sent", "1", "001", "T", "2023-03-14 12:00"),
    ]  # fmt: skip
    published = [{"year": "2023", "kpi": "deliveries_total", "value": "3", "source": "report"}]
    warned = [(1, 3, "missing_hour")]
    world = World(PLAIN, day("2023-03-18"), files, rows, published, warned=warned)
    warehouse = Warehouse(world)
    warehouse.con.execute(HELD_ON_ARRIVAL)
    building.create_models(warehouse.con)
    yield warehouse
    warehouse.con.close()


MARCH = {name: dt.datetime(2023, 3, *moment) for name, moment in {
    "sent": (6, 10), "received": (8, 9), "under way": (9, 10), "late": (17, 4), "later": (15, 6)}.items()}  # fmt: skip
COLUMNS: list[tuple[str, str, tuple[Any, ...]]] = [
    ("quality.file", "file_id = 1",
     (1, "night", "xa", "xa/file 1", "dnb_tsv", day("2023-03-16"), MARCH["late"], "partly_accepted", None, "{}",
      3, 2, 1, 0, 0, None, False)),
    ("quality.file", "file_id = 3",
     (3, "earlier", "xb", "the path", "dnb_tsv", day("2023-03-14"), MARCH["later"], "partly_accepted", None,
      '{"a": 1}', 51, 40, 7, 4, 3, ["Naam"], False)),
    ("quality.quarantined_row", "file_id = 1",
     (1, "xa", "xa/file 1", 4, "unknown_branch", "reference", False, "unknown", "345", "77", "1", "O",
      "2023-03-02 08:00:00", "2023-03-07 11:00:00", "2023-03-08 10:00:00", "2023-03-13 13:00:00",
      ["supplying_branch"], ["77"])),
    ("quality.quarantined_row", "row = 70",
     (3, "xb", "the path", 70, "unknown_status", "arrival", False, "number", "item", "supplier", "pickup", "status",
      "requested", "shipped", "received", "changed", ["status"], ["status"])),
    ("quality.warning", "true", (1, "xa", "xa/file 1", 3, "missing_hour")),
    ("quality.run", "run_id = 'earlier'", ("earlier", dt.datetime(2022, 12, 31, 10), day("2022-12-31"), False)),
    ("quality.run", "run_id = 'night'", ("night", dt.datetime(2023, 1, 1), day("2023-03-18"), True)),
    ("marts.under_way", "true",
     ("Y", "sent", "xa", "ya", "X", "234", "CD", MARCH["under way"], 6, True, 1, 2, 4, 3)),
    ("marts.fct_leg", "reservation_id = 'delivered'",
     ("X", "delivered", "xb", "xa", "X", "delivered", "123", "BOEK", dt.datetime(2023, 3, 1, 8), MARCH["sent"],
      MARCH["received"], dt.datetime(2023, 3, 10, 15), None, None, None, False, False, 47 / 24, 2, 169 / 24, 2, 2, 1,
      3, dt.datetime(2023, 3, 6, 11), "BOEK")),
    ("marts.fct_delivery", "true",
     (day("2023-03-08"), 2023, 3, "X", "delivered", "xb", "xa", "X", False, MARCH["sent"], MARCH["received"], 47 / 24,
      2, 169 / 24, False, False, 1, 3)),
    ("marts.feed_day", "branch = 'xa' AND file_id = 1",
     ("xa", "X", day("2023-03-16"), "received", 1, MARCH["late"])),
    ("marts.feed_day", "branch = 'xb' AND file_id = 3",
     ("xb", "X", day("2023-03-14"), "received", 3, MARCH["later"])),
    ("marts.parameter", "true", (2, 5, 5, 1, 30)),
]  # fmt: skip


@pytest.mark.parametrize(("relation", "which", "expected"), COLUMNS, ids=[f"{c[0]}: {c[1]}" for c in COLUMNS])
def test_every_column_holds_what_it_says(
    described: Warehouse, relation: str, which: str, expected: tuple[Any, ...]
) -> None:
    (found,) = described.rows(f"SELECT * FROM {relation} WHERE {which}")
    assert list(found) == [pytest.approx(value) if isinstance(value, float) else value for value in expected]


def test_a_published_figure_bears_its_source_and_completeness(described: Warehouse) -> None:
    total = "SELECT value, completeness FROM kpi.value WHERE kpi = 'deliveries_total' AND dimension = 'total' "
    ((computed, complete),) = described.rows(total + "AND year = 2023 AND month = 0")
    assert 0 < complete < 1
    assert described.rows("SELECT * FROM kpi.published") == [
        (2023, "deliveries_total", 3, computed, computed - 3, complete, "report")
    ]


def test_the_definitions_are_those_of_the_contract(described: Warehouse) -> None:
    world = World(PLAIN, day("2023-03-18"))
    assert described.rows("SELECT * FROM kpi.definition ORDER BY position") == building.kpi_rows(world.reference())


# ------------------------------------------------------------------------------------------- periods


def test_what_is_under_way_in_two_organisations_counts_twice() -> None:
    files = [File("xb", day("2023-03-13"))]
    rows = [Row(1, "7", "01", pickup, "T", "2023-03-13 10:00", "2023-03-13 09:00") for pickup in ("1", "001")]
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), files, rows))
    assert warehouse.figure("in_transit", 2023) == 2


def test_what_is_only_asked_for_happens_in_no_period() -> None:
    files = [File("xa", day("2023-03-13"))]
    rows = [
        Row(1, "7", "01", "1", "A", "2023-03-13 10:00"),
        Row(1, "8", "01", "1", "Z", "2023-03-13 10:00", closed="2023-03-13 10:00", reason="5"),
        Row(1, "9", "1", "1", "O", "2023-03-13 10:00", received="2023-03-13 10:00"),
    ]
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), files, rows))
    assert sorted(warehouse.states().values()) == ["cancelled", "local", "requested"]
    assert warehouse.rows("SELECT * FROM marts.agg_delivery_period") == []


# ------------------------------------------------------------------------------------------- what the register says


def test_when_branches_are_open_and_what_their_codes_mean() -> None:
    """Branches without dates, with one period and with two; codes that passed on; the first and the last day."""
    periods = [
        period("xa", "1"),
        period("xb", "2", opened="2022-03-01", closed="2022-12-31"),
        period("xb", "5", opened="2023-02-01"),
        period("xc", "8", form="koha_csv"),
        period("xc", "9", opened="2023-01-01", form="koha_csv"),
        period("ya", "2", opened="2023-02-10"),
        period("yb", "4", closed="2023-03-31"),
        period("yc", "5", opened="2022-05-01", closed="2022-06-30"),
        period("yc", "6", opened="2022-09-01", closed="2023-01-05"),
    ]
    files = [
        File("xa", day("2021-12-31"), verdict="rejected"),
        File("xa", day("2022-06-01")),
        File("network", day("2023-03-01"), format="koha_csv"),
        File("xa", day("2023-03-01"), verdict="rejected"),
        File("xb", day("2023-03-01")),
    ]
    warehouse = Warehouse(World(periods, day("2023-04-11"), files))
    first, last = day("0001-01-01"), day("9999-12-31")
    assert warehouse.rows(
        "SELECT branch, is_always_open, list_sort([(p.opened_on, p.closed_on) FOR p IN open_periods]) "
        "FROM staging.branch_open ORDER BY branch"
    ) == [
        ("xa", True, [(first, last)]),
        ("xb", False, [(day("2022-03-01"), day("2022-12-31")), (day("2023-02-01"), last)]),
        ("xc", True, [(first, last), (day("2023-01-01"), last)]),
        ("ya", False, [(day("2023-02-10"), last)]),
        ("yb", False, [(first, day("2023-03-31"))]),
        ("yc", False, [(day("2022-05-01"), day("2022-06-30")), (day("2022-09-01"), day("2023-01-05"))]),
    ]
    assert warehouse.rows("SELECT * FROM staging.branch_code ORDER BY ils_code, valid_from") == [
        ("1", "xa", "X", first, last),
        ("2", "xb", "X", first, day("2023-02-10")),
        ("2", "ya", "Y", day("2023-02-10"), last),
        ("4", "yb", "Y", first, last),
        ("5", "yc", "Y", first, day("2023-02-01")),
        ("5", "xb", "X", day("2023-02-01"), last),
        ("6", "yc", "Y", first, last),
        ("8", "xc", "X", first, last),
        ("9", "xc", "X", first, last),
    ]
    assert warehouse.rows(
        "SELECT branch, organisation, export_format, min(date), max(date), count(*) FROM staging.branch_day "
        "GROUP BY ALL ORDER BY branch"
    ) == [
        ("xa", "X", "dnb_tsv", day("2022-01-01"), day("2023-04-10"), 465),
        ("xb", "X", "dnb_tsv", day("2022-03-01"), day("2023-04-10"), 306 + 69),
        ("xc", "X", "koha_csv", day("2022-01-01"), day("2023-04-10"), 465),
        ("ya", "Y", "dnb_tsv", day("2023-02-10"), day("2023-04-10"), 60),
        ("yb", "Y", "dnb_tsv", day("2022-01-01"), day("2023-03-31"), 455),
        ("yc", "Y", "dnb_tsv", day("2022-05-01"), day("2023-01-05"), 61 + 127),
    ]
    assert warehouse.rows(
        "SELECT branch, name, organisation, organisation_name, municipality, ils_code, export_format, opened_on, "
        "closed_on, is_open FROM marts.dim_branch ORDER BY branch"
    ) == [
        ("xa", "xa 1", "X", "Org X", "town 1", "1", "dnb_tsv", None, None, True),
        ("xb", "xb 5", "X", "Org X", "town 5", "5", "dnb_tsv", day("2022-03-01"), None, True),
        ("xc", "xc 9", "X", "Org X", "town 9", "9", "koha_csv", None, None, True),
        ("ya", "ya 2", "Y", "Org Y", "town 2", "2", "dnb_tsv", day("2023-02-10"), None, True),
        ("yb", "yb 4", "Y", "Org Y", "town 4", "4", "dnb_tsv", None, day("2023-03-31"), False),
        ("yc", "yc 6", "Y", "Org Y", "town 6", "6", "dnb_tsv", day("2022-05-01"), day("2023-01-05"), False),
    ]
    periods_there = warehouse.rows("SELECT * FROM marts.period ORDER BY year, month")
    assert len(periods_there) == 2 * 13, "no export of 2021 was read"
    assert periods_there[0] == (2022, 0, day("2022-01-01"), day("2022-12-31"), False)
    assert periods_there[13] == (2023, 0, day("2023-01-01"), day("2023-12-31"), True)
    assert periods_there[16] == (2023, 3, day("2023-03-01"), day("2023-03-31"), False)
    assert periods_there[17] == (2023, 4, day("2023-04-01"), day("2023-04-30"), True)
    assert warehouse.rows(
        "SELECT branch, state, file_id FROM marts.feed_day WHERE export_date = '2023-03-01' ORDER BY branch"
    ) == [
        ("xa", "rejected", None),
        ("xb", "received", 5),
        ("xc", "received", 3),
        ("ya", "missing", None),
        ("yb", "missing", None),
    ]


@pytest.mark.parametrize(
    ("received", "days", "transport_days"),
    [("10:30", 0.5 / 24, 0), ("10:00", 0, 0), ("09:59", None, None)],
)
def test_how_long_a_short_way_took(received: str, days: float | None, transport_days: int | None) -> None:
    row = Row(1, "7", "1", "01", "O", "2023-03-14 12:00", "2023-03-14 10:00", f"2023-03-14 {received}",
              requested="2023-03-14 10:00")  # fmt: skip
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), [File("xb", day("2023-03-14"))], [row]))
    expected = None if days is None else pytest.approx(days)
    assert warehouse.rows("SELECT transit_calendar_days, transit_transport_days, fill_days FROM marts.fct_leg") == [
        (expected, transport_days, expected)
    ]


def test_a_leg_that_its_supplier_closed_bears_when_and_why() -> None:
    row = Row(1, "7", "1", "01", "Z", "2023-03-15 12:00", closed="2023-03-15 09:00", reason="6")
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), [File("xa", day("2023-03-15"))], [row]))
    assert warehouse.rows("SELECT state, closed_at, close_reason FROM marts.fct_leg") == [
        ("cancelled", dt.datetime(2023, 3, 15, 9), "6")
    ]


def test_a_code_means_the_branch_that_opened_with_it_last() -> None:
    """Of two that opened at once the later by name; one without a date was there before all others."""
    periods = [period("xc", "1"), period("xa", "1", opened="2022-05-01"), period("xb", "2"), period("xa", "2")]
    periods += [period(branch, "3", opened="2023-01-01") for branch in ("xb", "xa")]
    warehouse = Warehouse(World(periods, day("2023-04-11")))
    first, last = day("0001-01-01"), day("9999-12-31")
    assert warehouse.rows("SELECT * FROM staging.branch_code ORDER BY ALL") == [
        ("1", "xa", "X", day("2022-05-01"), last),
        ("1", "xc", "X", first, day("2022-05-01")),
        ("2", "xa", "X", first, first),
        ("2", "xb", "X", first, last),
        ("3", "xa", "X", first, day("2023-01-01")),
        ("3", "xb", "X", day("2023-01-01"), last),
    ]


def test_files_rank_by_their_date_and_arrival_however_they_are_stored() -> None:
    dates = ["2023-03-15", "2023-03-14", "2023-03-14", "2023-03-14", "2023-03-13"]
    files = [File("xa", day(date), format=f"format {i}") for i, date in enumerate(dates)]
    warehouse = Warehouse(World(PLAIN, day("2023-04-11"), files))
    for order in ("file_id DESC", "hash(file_id)"):
        warehouse.con.execute(f"CREATE OR REPLACE TABLE bronze.stored AS FROM bronze.file ORDER BY {order}")
        warehouse.con.execute("DELETE FROM bronze.file; INSERT INTO bronze.file FROM bronze.stored")
        building.create_models(warehouse.con)
        ranks = warehouse.rows("SELECT file_id FROM staging.file ORDER BY file_rank")
        assert [number for (number,) in ranks] == [5, 2, 3, 4, 1]


@pytest.mark.parametrize("side", ["supplying", "pickup"])
def test_a_receipt_counts_on_the_days_on_which_both_branches_were_open(side: str) -> None:
    """yd was open from 10 February until 31 March, and from 1 May."""
    dates = {"2023-02-09": False, "2023-02-10": True, "2023-03-01": True, "2023-03-31": True, "2023-04-01": False,
             "2023-04-30": False, "2023-05-01": True}  # fmt: skip
    rows = []
    for date in dates:
        supplier, pickup = ("4", "1") if side == "supplying" else ("1", "4")
        rows.append(Row(1, date, supplier, pickup, "O", f"{date} 12:00", f"{date} 08:00", f"{date} 00:00"))
    files = [File("network", day("2023-05-20"), format="koha_csv")]
    periods = [period("xa", "1"), period("yd", "4", "2023-02-10", "2023-03-31"), period("yd", "4", "2023-05-01")]
    warehouse = Warehouse(World(periods, day("2023-06-01"), files, rows))
    counted = {number for _, number, _ in warehouse.states()}
    assert counted == {date for date, is_open in dates.items() if is_open}


@pytest.mark.parametrize("side", ["supplying", "pickup"])
@pytest.mark.parametrize(("exported", "branch"), [("2023-02-09", "xb"), ("2023-02-10", "yb")])
def test_a_code_means_a_branch_by_the_date_of_the_export(side: str, exported: str, branch: str) -> None:
    supplier, pickup = ("2", "1") if side == "supplying" else ("1", "2")
    row = Row(1, "7", supplier, pickup, "T", "2023-02-08 12:00", "2023-02-08 08:00")
    periods = [period("xa", "1"), period("xb", "2"), period("yb", "2", opened="2023-02-10")]
    files = [File("network", day(exported), format="koha_csv")]
    warehouse = Warehouse(World(periods, day("2023-03-01"), files, [row]))
    expected = (branch, "xa") if side == "supplying" else ("xa", branch)
    assert warehouse.rows("SELECT supplying_branch, pickup_branch FROM marts.fct_leg") == [expected]


# ------------------------------------------------------------------------------------------- what a value looks like

LETTERS = "abcdefghijklmnopqrst"
CODE_OF_12 = (["0", "A", "a", "_", "-", "0060-ab_CDEF"], ["", "0060-ab_CDEFg", "a b", "a.b"])
CODE_OF_2 = (["0", "A", "a", "zZ"], ["", "abc", "-"])
SHAPES = {
    # column: what is kept of it, and what is masked
    "reservation_id": (
        ["1", "1234567890", "2019-5-2.1", "2019-05-22.12345678", "2019-05-22-1"],
        ["", "12345678901", "219-5-2.1", "20190-5-2.1", "2019--2.1", "2019-005-2.1", "2019-5-.1", "2019-5-222.1",
         "2019-5-2.", "2019-5-2.123456789", "2019-5-2_1"],
    ),
    "item_barcode": (["0", "A", "a", ".", "-", LETTERS + "1234"], ["", LETTERS + "12345", "a b", "a@b"]),
    "material_type": (
        ["0", "AB", "ABC123", "boek", "Boek", "b", "b1", LETTERS, "boek a", "boek_a", "boek-a", "boek ab", "boek a1",
         f"boek {LETTERS}", "boek 1", "boek 1234", "boek a b c"],
        ["", " a", "ABC1234", LETTERS + "u", f"boek {LETTERS}u", "boek 12345", "boek ", "boek a b c d", "boek A",
         "bOEK"],
    ),
    "supplying_branch": CODE_OF_12,
    "pickup_branch": CODE_OF_12,
    "status": CODE_OF_2,
    "close_reason": CODE_OF_2,
    "received_at": (
        ["1-1-1", "2023-12-2023", "@2023-12-31", "1/1-1", "1.1-1", "1-1/1", "1-1.1", "1-1-1T1", "1-1-1 1", "1-1-1T:",
         "1-1-1T.", "1-1-1T-", "1-1-1 123456789012345"],
        ["20233-1-1", "-1-1", "1--1", "1-123-1", "1-1-", "1-1-20233", "1-1-1T", "1-1-1 1234567890123456", "1-1-1x1",
         "@@1-1-1", "1_1-1", "1-1_1"],
    ),
}  # fmt: skip
A_DATED_NUMBER = (
    ["2019-05-22.00012", "2019-05-22.000123"],
    ["", "2019-05-22.0001", "2019-05-22.0001234", "219-05-22.00012", "20190-05-22.00012", "2019-5-22.00012",
     "2019-005-22.00012", "2019-05-2.00012", "2019-05-222.00012", "2019-05-22x00012"],
)  # fmt: skip
NUMBERS = dict.fromkeys(("dnb_tsv", "excel", "fmb_csv"), A_DATED_NUMBER) | {
    "koha_csv": (["1", "1234567890"], ["", "12345678901", "1-1"])
}


def fitting(pattern: str, values: list[str]) -> list[str]:
    """Those that fit, as `bronze` asks it."""
    with duckdb.connect() as con:
        return [
            value
            for value in values
            if con.execute("SELECT regexp_full_match(?, ?)", [value, pattern]).fetchone() == (True,)
        ]


@pytest.mark.parametrize("column", SHAPES)
def test_what_a_sound_value_looks_like(column: str) -> None:
    kept, masked = SHAPES[column]
    assert fitting(contracts.columns()[column].shape, kept + masked) == kept


def test_every_column_has_a_shape_that_is_tested() -> None:
    assert {spec.shape for spec in contracts.columns().values()} == {
        contracts.columns()[column].shape for column in SHAPES
    }


@pytest.mark.parametrize("form", contracts.export_formats())
def test_what_a_reservation_number_looks_like(form: str) -> None:
    sound, unsound = NUMBERS[form]
    assert fitting(contracts.export_formats()[form].reservation_id_pattern, sound + unsound) == sound


def test_what_a_file_speaks_for() -> None:
    """The folder of a branch tells what that branch did, and one system alone tells of all."""
    perspectives = {name: spec.perspective for name, spec in contracts.export_formats().items()}
    assert perspectives == dict.fromkeys(perspectives, "branch") | {"koha_csv": "network"}


@pytest.mark.parametrize(("first", "then", "state"), [("T", "O", "delivered"), ("O", "T", "in_transit")])
def test_of_two_words_of_one_moment_the_later_export_counts(first: str, then: str, state: str) -> None:
    files = [File("xb", day("2023-03-15")), File("xb", day("2023-03-14"))]
    rows = [
        Row(file, "7", "1", "01", status, "2023-03-14 12:00", "2023-03-13 10:00", "2023-03-14 10:00" * (status == "O"))
        for file, status in ((2, first), (1, then))
    ]
    warehouse = Warehouse(World(PLAIN, day("2023-04-01"), files, rows))
    assert list(warehouse.states().values()) == [state]


@pytest.mark.parametrize("form", ["dnb_tsv", "excel", "fmb_csv"])
def test_what_a_library_system_of_the_network_can_say(form: str) -> None:
    """Its close reasons and status codes, zero for the letter O among them."""
    spec = contracts.export_formats()[form]
    assert "".join(map(str, spec.close_reasons)) == "01456789"
    assert spec.status_codes == {**dict(zip("ATOBURZ", "ATOBURZ", strict=True)), "0": "O"}
