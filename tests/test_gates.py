"""The gates: the decision, the suites, and every check seen to fail for the fault that it is there for."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pendel import bronze, building, contracts, gates
from pendel.gates import CheckResult, Decision
from tests.test_models import PLAIN, File, Warehouse, World, day, deliveries, period

SUITES = Path(__file__).parents[1] / "expectations" / "suites"
CHECKS = Path(__file__).parents[1] / "sql" / "checks"


# ---------------------------------------------------------------------------------------------- the decision


GOOD = CheckResult("marts.x", "good", "critical", True, 0)
CRITICAL = CheckResult("marts.x", "critical", "critical", False, 3)
WARNING = CheckResult("marts.x", "warning", "warning", False, 1)
UNEXECUTED = CheckResult("marts.x", "unexecuted", "warning", False, None, "CatalogException")


@pytest.mark.parametrize(
    ("results", "decision"),
    [
        ([], Decision(False, ["nothing_was_checked"], [])),
        ([GOOD], Decision(True, [], [])),
        ([GOOD, CRITICAL], Decision(False, ["critical"], [])),
        ([WARNING, GOOD], Decision(True, [], ["warning"])),
        ([WARNING, CRITICAL, CRITICAL], Decision(False, ["critical"], ["warning"])),
        ([GOOD, UNEXECUTED], Decision(False, ["unexecuted"], [])),
    ],
)
def test_the_decision(results: list[CheckResult], decision: Decision) -> None:
    assert gates.decide(results) == decision


# ---------------------------------------------------------------------------------------------- the suites


def test_committed_suites_are_those_of_the_contracts() -> None:
    committed = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in SUITES.glob("*.json")}
    assert committed == gates.suites()


def test_every_relation_rule_and_check_is_in_a_suite() -> None:
    suites = gates.suites()
    names = {suite: [item["meta"]["check"] for item in spec["expectations"]] for suite, spec in suites.items()}
    for relation, spec in contracts.tables().items():
        if relation != "quality.check_result":
            assert f"{relation}: key" in names[relation]
            assert spec["key"]
    checks = {path.stem: path.read_text(encoding="utf-8") for path in CHECKS.glob("*.sql")}
    assert checks
    for check, text in checks.items():
        head = dict(line[3:].split(": ", 1) for line in text.splitlines()[:2])
        assert check in names[head["on"]]
        (item,) = [item for item in suites[head["on"]]["expectations"] if item["meta"]["check"] == check]
        assert item["severity"] == head["severity"]
    assert names["incoming"] == [rule.rule for rule in contracts.rules() if rule.stage == "arrival"]
    every = [check for found in names.values() for check in found]
    assert len(every) == len(set(every))


# ---------------------------------------------------------------------------------------------- a built warehouse


PUBLISHED = [
    {"year": "2023", "kpi": "deliveries_total", "value": "15", "source": "report"},
    {"year": "2023", "kpi": "deliveries_between_organisations", "value": "4", "source": ""},
]
# yb closed in February: nothing can have been delivered there since.
PERIODS = [*PLAIN[:3], period("yb", "2", closed="2023-02-28"), period("yc", "3")]
FILES = [File("network", day("2023-03-13"), format="koha_csv"), File("xa", day("2023-03-13"))]
WORLD = World(
    PERIODS,
    day("2023-04-01"),
    FILES,
    deliveries({"xa>xb": 5, "xb>xa": 2, "xa>ya": 3, "ya>xa": 1}),
    published=[{**PUBLISHED[0], "value": "11"}, PUBLISHED[1]],
)
SPOILED = (
    "marts.fct_leg", "marts.agg_lane_day", "marts.agg_branch_day", "marts.dim_branch", "marts.feed_day", "marts.drift",
    "kpi.value", "kpi.published", "kpi.restatement", "quality.correction", "quality.file", "quality.quarantined_row",
)  # fmt: skip
"""The tables in which faults are planted."""


@pytest.fixture(scope="module")
def sound() -> Iterator[Warehouse]:
    warehouse = Warehouse(WORLD)
    warehouse.con.execute("ATTACH ':memory:' AS kept")
    yield warehouse
    warehouse.con.close()


@pytest.fixture
def warehouse(sound: Warehouse) -> Iterator[Warehouse]:
    """A sound warehouse to plant a fault in: its tables are put back afterwards."""
    con = sound.con
    for relation in SPOILED:
        con.execute(f'CREATE TABLE kept.main."{relation}" AS FROM {relation}')
    yield sound
    for relation in SPOILED:
        con.execute(f'DELETE FROM {relation}; INSERT INTO {relation} FROM kept.main."{relation}"')
        con.execute(f'DROP TABLE kept.main."{relation}"')


def failing(warehouse: Warehouse, suites: Sequence[dict[str, Any]]) -> list[CheckResult]:
    """What fails of some suites."""
    with gates.Checker(warehouse.con) as checker:
        results = [result for suite in suites for result in checker.run(suite)]
    expected = [item["meta"]["check"] for suite in suites for item in suite["expectations"]]
    assert sorted(result.check for result in results) == sorted(expected)
    return [result for result in results if not result.passed]


def test_a_sound_warehouse_passes(sound: Warehouse) -> None:
    results = gates.check_build(sound.con)
    assert [result for result in results if not result.passed or result.error] == []
    assert len(results) == sum(len(s["expectations"]) for name, s in gates.suites().items() if name != "incoming")
    assert gates.decide(results) == Decision(True, [], [])


A_LEG = "reservation_id = 'xa>xb 0'"
DOUBLED_LEG = f"""
    INSERT INTO marts.fct_leg SELECT * REPLACE ('doubled' AS reservation_id) FROM marts.fct_leg WHERE {A_LEG};
    UPDATE marts.agg_lane_day SET delivered = delivered + 1
    WHERE date = '2023-03-13' AND supplying_branch = 'xa' AND pickup_branch = 'xb'"""
RESTATED = (
    "INSERT INTO kpi.restatement BY NAME SELECT 'deliveries_total' AS kpi, 2022 AS year, 0 AS month, "
    "'total' AS dimension, '' AS supplying_organisation, '' AS pickup_organisation, '' AS supplying_branch, "
    "'' AS pickup_branch, '' AS branch, 7 AS frozen, 8 AS computed, 1 AS difference, "
)

FAULTS = [
    (
        "restatement_is_explained",
        "a closed year that changed by itself",
        RESTATED + "0 AS late_files, [] AS changed_rules",
    ),
    (
        "correction_applies",
        "a row that was corrected at its source",
        "INSERT INTO quality.correction VALUES (1, 'drop', 'why', 1, 0)",
    ),
    ("closed_year_is_restated", "a late file", RESTATED + "1 AS late_files, [] AS changed_rules"),
    ("closed_year_is_restated", "a changed rule", RESTATED + "0 AS late_files, ['rules.yaml'] AS changed_rules"),
    # the check that must fail, the only one; and the fault
    ("receipt_row_counted_once", "a delivery doubled by a join", DOUBLED_LEG),
    ("deliveries_equal_lanes", "a lost row", f"DELETE FROM marts.fct_leg WHERE {A_LEG}"),
    (
        "deliveries_equal_lanes",
        "a lane that counts too many",
        "UPDATE marts.agg_lane_day SET delivered = 1 WHERE date = '2023-03-14' AND supplying_branch = 'xa' "
        "AND pickup_branch = 'xb'",
    ),
    ("deliveries_equal_lanes", "a lost day", "DELETE FROM marts.agg_lane_day WHERE date = '2023-03-13'"),
    (
        "receipt_row_is_the_pickup_branchs",
        "a delivery counted by the supplier's row",
        f"UPDATE marts.fct_leg SET pickup_file_id = 2 WHERE {A_LEG}",
    ),
    (
        "receipt_row_is_the_pickup_branchs",
        "deliveries counted from a superseded file",
        "UPDATE quality.file SET state = 'superseded' WHERE file_id = 1",
    ),
    (
        "receipt_row_is_the_pickup_branchs",
        "a delivery of a file that nobody knows",
        f"UPDATE marts.fct_leg SET pickup_file_id = 99 WHERE {A_LEG}",
    ),
    (
        "delivered_between_two_open_branches",
        "a local reservation counted",
        f"UPDATE marts.fct_leg SET pickup_branch = supplying_branch WHERE {A_LEG}",
    ),
    (
        "delivered_between_two_open_branches",
        "a branch outside the register",
        f"UPDATE marts.fct_leg SET pickup_branch = 'elsewhere' WHERE {A_LEG}",
    ),
    (
        "between_organisations_is_the_sum_of_its_directions",
        "between the organisations, one direction forgotten",
        "UPDATE kpi.value SET value = 3 WHERE kpi = 'deliveries_between_organisations' AND dimension = 'total' "
        "AND month = 3",
    ),
    (
        "lending_balances_add_up_to_zero",
        "a balance that is off by one",
        "UPDATE kpi.value SET value = value + 1 WHERE kpi = 'lender_balance' AND branch = 'xa' AND month = 0",
    ),
    (
        "parts_add_up",
        "a lane that does not add up",
        "UPDATE kpi.value SET value = value + 1 WHERE kpi = 'deliveries_total' AND month = 3 "
        "AND supplying_branch = 'xa' AND pickup_branch = 'ya'",
    ),
    (
        "parts_add_up",
        "a branch that does not add up",
        "UPDATE kpi.value SET value = 0 WHERE kpi = 'deliveries_total' AND month = 0 AND branch = 'xa'",
    ),
    (
        "parts_add_up",
        "a month that does not add up",
        "UPDATE kpi.value SET value = value + 1 WHERE kpi = 'deliveries_total' AND month = 5 AND dimension = 'total'",
    ),
    (
        "figure_differs_from_published",
        "a published figure that differs",
        "UPDATE kpi.published SET published = 12, difference = -1 WHERE kpi = 'deliveries_total'",
    ),
    (
        "published_figure_is_known",
        "a misspelt figure",
        "UPDATE kpi.published SET kpi = 'deliveries_totaal' WHERE kpi = 'deliveries_total'",
    ),
    (
        "one_active_file_a_day",
        "two files that count of one day",
        "INSERT INTO quality.file SELECT * REPLACE (77 AS file_id) FROM quality.file WHERE file_id = 2",
    ),
    (
        "rows_are_conserved",
        "a row that was read and is nowhere",
        "UPDATE quality.file SET rows_read = rows_read + 1 WHERE file_id = 1",
    ),
    (
        "most_rows_count",
        "a register that lost its codes",
        "INSERT INTO quality.quarantined_row BY NAME SELECT 1 AS file_id, 1000 + i AS row, 'unknown_branch' AS rule, "
        "'reference' AS stage, false AS is_superseded FROM range(1000) AS r (i)",
    ),
]
KINDS = ("no_receipts", "zero", "copied", "shifted", "doubled", "empty", "closed_day")
FAULTS += [
    # how a fault in the exports becomes such a row is seen in test_drift.py
    (
        f"drift_{kind}",
        f"a drift of the kind {kind}",
        f"INSERT INTO marts.drift VALUES ('{kind}', 'received', '', '', 'xa', '', '2023-03-13', '2023-03-17', 0, 20, "
        "'reservations')",
    )
    for kind in KINDS
]


def test_every_check_has_a_fault() -> None:
    assert {check for check, _, _ in FAULTS} == {path.stem for path in CHECKS.glob("*.sql")}


@pytest.mark.parametrize(("check", "fault", "sql"), FAULTS, ids=[f"{check}: {fault}" for check, fault, _ in FAULTS])
def test_a_fault_makes_its_check_fail_and_no_other(warehouse: Warehouse, check: str, fault: str, sql: str) -> None:
    warehouse.con.execute(sql)
    found = failing(warehouse, list(gates.check_suites().values()))
    assert [(result.check, result.error) for result in found] == [(check, None)], fault
    assert found[0].unexpected
    warns = ("figure_differs_from_published", "published_figure_is_known", "closed_year_is_restated")
    is_warning = check in warns or check.startswith("drift_")
    assert gates.decide(found) == (Decision(True, [], [check]) if is_warning else Decision(False, [check], []))


@pytest.mark.parametrize("closed", ["pickup_branch", "supplying_branch"])
def test_a_delivery_on_a_day_on_which_a_branch_was_closed_is_found(warehouse: Warehouse, closed: str) -> None:
    """As it would come about: a leg that the row rules let through, and everything else built upon it."""
    organisation = closed.replace("branch", "organisation")
    warehouse.con.execute(
        f"UPDATE marts.fct_leg SET {closed} = 'yb', {organisation} = 'Y' WHERE {A_LEG};"
        "DROP TABLE marts.agg_lane_day; DROP TABLE marts.agg_branch_day"
    )
    again = [m for m in building.models() if m.relation in ("marts.agg_lane_day", "marts.agg_branch_day")]
    building.create_models(warehouse.con, again)
    found = failing(warehouse, [gates.check_suites()["marts.fct_delivery"]])
    assert [(result.check, result.unexpected) for result in found] == [("delivered_between_two_open_branches", 1)]


@pytest.mark.parametrize(
    ("relation", "kind", "sql"),
    [
        ("marts.fct_leg", "key", f"INSERT INTO marts.fct_leg SELECT * FROM marts.fct_leg WHERE {A_LEG}"),
        ("marts.fct_leg", "values", f"UPDATE marts.fct_leg SET state = 'lost' WHERE {A_LEG}"),
        ("marts.fct_leg", "values", f"UPDATE marts.fct_leg SET pickup_branch = NULL WHERE {A_LEG}"),
        ("marts.fct_leg", "values", f"UPDATE marts.fct_leg SET transit_calendar_days = -1 WHERE {A_LEG}"),
        ("marts.dim_branch", "key", "INSERT INTO marts.dim_branch SELECT * FROM marts.dim_branch WHERE branch = 'xa'"),
        ("marts.feed_day", "values", "UPDATE marts.feed_day SET state = 'present' WHERE branch = 'xa'"),
        ("kpi.value", "values", "UPDATE kpi.value SET completeness = 1.5 WHERE kpi = 'unconfirmed' AND month = 1"),
    ],
)
def test_keys_and_values_are_what_the_contract_says(warehouse: Warehouse, relation: str, kind: str, sql: str) -> None:
    warehouse.con.execute(sql)
    found = failing(warehouse, [gates.suites()[relation]])
    assert [(result.check, result.severity, result.error) for result in found] == [
        (f"{relation}: {kind}", "critical", None)
    ]


def test_a_column_or_relation_that_is_not_there_counts_as_failed(sound: Warehouse) -> None:
    suite = {
        "name": "kpi.published",
        "expectations": [
            {
                "type": "expect_column_values_to_not_be_null",
                "kwargs": {"column": "not_there"},
                "meta": {"check": "column"},
                "severity": "warning",
            },
            {
                "type": "unexpected_rows_expectation",
                "kwargs": {"unexpected_rows_query": "SELECT not_there FROM {batch} WHERE not_there = 1"},
                "meta": {"check": "query"},
                "severity": "warning",
            },
            {
                "type": "expect_column_values_to_not_be_null",
                "kwargs": {"column": "year"},
                "meta": {"check": "sound"},
                "severity": "warning",
            },
        ],
    }
    with gates.Checker(sound.con) as checker:
        results = {result.check: result for result in checker.run(suite)}
        elsewhere = checker.run(suite | {"name": "kpi.not_there"})
    assert results["sound"].passed
    for check in ("column", "query"):
        assert not results[check].passed, check
        assert results[check].error, check
    assert gates.decide(list(results.values())).held_back_by == ["column", "query"]
    assert [(result.passed, bool(result.error)) for result in elsewhere] == [(False, True)] * 3


def test_a_checker_can_run_a_suite_again(warehouse: Warehouse) -> None:
    suite = gates.suites()["quality.file"]
    with gates.Checker(warehouse.con) as checker:
        assert all(result.passed for result in checker.run(suite))
        warehouse.con.execute("UPDATE quality.file SET rows_read = rows_read + 1 WHERE file_id = 1")
        again = [(result.check, result.error) for result in checker.run(suite) if not result.passed]
    assert again == [("rows_are_conserved", None)]


# ---------------------------------------------------------------------------------------------- the descriptions


def test_every_column_is_described_and_every_description_is_of_a_column() -> None:
    warehouse = Warehouse(WORLD)
    run = bronze.Run("night", dt.datetime(2023, 1, 1), WORLD.as_of)
    building.finish(building.Build(warehouse.con, Path(), {}, {}), run, [CRITICAL, WARNING])
    built: dict[str, list[str]] = {}
    columns = warehouse.rows(
        "SELECT schema_name || '.' || table_name, column_name, comment FROM duckdb_columns() "
        "WHERE database_name = 'memory' AND NOT internal ORDER BY schema_name, table_name, column_index"
    )
    for relation, column, comment in columns:
        built.setdefault(relation, []).append(column)
        assert comment, (relation, column)
    assert built == {relation: list(spec["columns"]) for relation, spec in contracts.tables().items()}
    used = {column for names in built.values() for column in names}
    assert used == set(described_columns())
    assert warehouse.rows("SELECT suite, check_name, severity, passed, unexpected FROM quality.check_result") == [
        ("marts.x", "critical", "critical", False, 3),
        ("marts.x", "warning", "warning", False, 1),
    ]
    kinds = warehouse.rows(
        "SELECT schema_name || '.' || table_name, comment FROM duckdb_tables() WHERE database_name = 'memory' "
        "UNION ALL SELECT schema_name || '.' || view_name, comment FROM duckdb_views() "
        "WHERE database_name = 'memory' AND NOT internal"
    )
    comments = dict(kinds)
    for relation, spec in contracts.tables().items():
        assert comments[relation] == f"{spec['nl']} / {spec['en']}"


def described_columns() -> list[str]:
    lines = (SUITES.parent / "tables" / "columns.yaml").read_text(encoding="utf-8").splitlines()
    return [line.split(":")[0] for line in lines if line and not line.startswith(("#", " "))]
