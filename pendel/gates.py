"""The gates: Great Expectations checks what came in and what was built; one pure function decides.

Great Expectations is imported where something is checked, since importing it takes seconds. Its suites are generated
from the contracts of `expectations/` (`suites()`), and committed in `expectations/suites/`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import duckdb

from pendel.bronze import RuleResult
from pendel.contracts import Rule, rules, sql_files, tables

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class CheckResult:
    """One expectation executed: `passed` is False too when it could not be executed (`error` says why)."""

    suite: str
    check: str
    severity: Severity
    passed: bool
    unexpected: int | None
    error: str | None = None


@dataclass(frozen=True)
class Decision:
    """Whether a build may be published, and what held it back or is to be shown."""

    publish: bool
    held_back_by: list[str]
    warnings: list[str]


def decide(results: Sequence[CheckResult]) -> Decision:
    """A critical check that failed, or could not be executed, holds the publication back; so does checking nothing."""
    failed = [result for result in results if not result.passed]
    held = sorted({result.check for result in failed if result.severity == "critical" or result.error})
    if not results:
        held = ["nothing_was_checked"]
    shown = sorted({result.check for result in failed} - set(held))
    return Decision(not held, held, shown)


def _rows_expectation(check: str, query: str, severity: str) -> dict[str, Any]:
    return {
        "type": "unexpected_rows_expectation",
        "kwargs": {"unexpected_rows_query": query},
        "meta": {"check": check},
        "severity": severity,
    }


def arrival_suite(arrival: Iterable[Rule]) -> dict[str, Any]:
    """The suite on a run's incoming rows: one expectation a row rule."""
    return {
        "name": "incoming",
        "expectations": [
            _rows_expectation(
                rule.rule,
                # str.format of Great Expectations knows {batch}: other braces are doubled
                f"SELECT file_id, row FROM {{batch}} WHERE {rule.where.replace('{', '{{').replace('}', '}}')}",
                "critical" if rule.action == "quarantine" else "warning",
            )
            for rule in arrival
        ],
    }


def table_suites() -> list[dict[str, Any]]:
    """A suite for every relation of `expectations/tables/`: its key is unique, its values are what their column allows.

    One expectation for all values of a relation: an expectation costs some twenty milliseconds, however small.
    """
    suites = []
    for relation, spec in tables().items():
        if spec.get("written_after_checks"):
            continue
        key = ", ".join(spec["key"])
        offending = [offence for name, column in spec["columns"].items() for offence in _offences(name, column)]
        unique = f"SELECT {key} FROM {{batch}} GROUP BY {key} HAVING count(*) > 1"
        sound = f"SELECT {key} FROM {{batch}} WHERE {' OR '.join(offending)}"
        suites.append(
            {
                "name": relation,
                "expectations": [
                    _rows_expectation(f"{relation}: key", unique, "critical"),
                    _rows_expectation(f"{relation}: values", sound, "critical"),
                ],
            }
        )
    return suites


def _offences(name: str, column: dict[str, Any]) -> Iterable[str]:
    """SQL that is true where a value is missing, unknown, or out of its range."""
    if not column["empty"]:
        yield f"{name} IS NULL"
    if "one_of" in column:
        yield f"{name} NOT IN ({', '.join(repr(str(value)) for value in column['one_of'])})"
    if "least" in column:
        yield f"{name} < {column['least']}"
    if "most" in column:
        yield f"{name} > {column['most']}"


def check_suites() -> dict[str, dict[str, Any]]:
    """A suite a relation for the files of `sql/checks/`, each a SELECT of offending rows."""
    suites: dict[str, dict[str, Any]] = {}
    for file in sql_files("checks"):
        body = "\n".join(line for line in file.sql.splitlines() if not line.startswith("--")).strip().rstrip(";")
        on = file.head["on"]
        suite = suites.setdefault(on, {"name": on, "expectations": []})
        suite["expectations"].append(_rows_expectation(file.name, body, file.head["severity"]))
    return suites


def suites() -> dict[str, dict[str, Any]]:
    """All suites by name, as generated from the contracts: what `expectations/suites/` holds."""
    found = {"incoming": arrival_suite(rule for rule in rules() if rule.stage == "arrival")}
    checks = check_suites()
    for suite in table_suites():
        suite["expectations"] += checks.pop(suite["name"], {"expectations": []})["expectations"]
        found[suite["name"]] = suite
    return found | checks


class Checker:
    """Great Expectations upon one DuckDB connection."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        """`con` stays the caller's: the checks run on a cursor of it, and see what it has committed."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the imports of Great Expectations
            import great_expectations as gx
            from duckdb_sqlalchemy import ConnectionWrapper
            from sqlalchemy import event
            from sqlalchemy.engine.cursor import FullyBufferedCursorFetchStrategy
            from sqlalchemy.pool import StaticPool

        for name in ("great_expectations", "great_expectations.data_context.types.base"):
            logging.getLogger(name).setLevel(logging.ERROR)
        catalog = con.execute("SELECT current_catalog()").fetchone()
        assert catalog is not None
        self._cursor = con.cursor()
        self._cursor.execute(f'USE "{catalog[0]}"')  # a cursor starts in the connection's first catalog

        context: Any = gx.get_context(mode="ephemeral")
        context.variables.progress_bars = {"globally": False}
        self._source: Any = context.data_sources.add_sql(
            "pendel",
            connection_string="duckdb:///:memory:",
            kwargs={"creator": lambda: ConnectionWrapper(self._cursor), "poolclass": StaticPool},
        )
        self._gx = gx

        # Without a buffered cursor every expectation ends in "list index out of range": Great Expectations runs its
        # next statement on DuckDB's only cursor before it has fetched the rows of the one before.
        def buffer(conn: Any, cursor: Any, statement: str, parameters: Any, context: Any, executemany: bool) -> None:
            if cursor.description:
                rows = cursor.fetchall()
                context.cursor_fetch_strategy = FullyBufferedCursorFetchStrategy(cursor, initial_buffer=rows)

        for engine in {self._source.get_engine(), self._source.get_execution_engine().engine}:
            event.listen(engine, "after_cursor_execute", buffer)

    def __enter__(self) -> Checker:
        return self

    def __exit__(self, *_: object) -> None:
        self._cursor.close()

    def run(self, suite: dict[str, Any]) -> list[CheckResult]:
        """Execute a suite on the relation of its name (`schema.name`, or a bare name).

        An expectation that cannot be executed, and a relation that is not there, come out as failed with an error.
        """
        name = suite["name"]
        schema, _, table = name.rpartition(".")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                if name in {asset.name for asset in self._source.assets}:
                    self._source.delete_asset(name)
                asset = self._source.add_table_asset(name, table_name=table, schema_name=schema or None)
                batch = asset.add_batch_definition_whole_table("all").get_batch()
                validated = batch.validate(
                    self._gx.ExpectationSuite(name=name, expectations=suite["expectations"]),
                    result_format={"result_format": "BASIC", "partial_unexpected_count": 0},
                )
        except Exception as error:
            reason = type(error).__name__
            return [
                CheckResult(name, item["meta"]["check"], item["severity"], False, None, reason)
                for item in suite["expectations"]
            ]
        results = [self._result(name, result.to_json_dict()) for result in validated.results]
        missing = {item["meta"]["check"] for item in suite["expectations"]} - {result.check for result in results}
        return results + [CheckResult(name, check, "critical", False, None, "no result") for check in sorted(missing)]

    @staticmethod
    def _result(suite: str, found: dict[str, Any]) -> CheckResult:
        config, result, raised = (
            found["expectation_config"],
            found.get("result") or {},
            found.get("exception_info") or {},
        )
        single = raised if "raised_exception" in raised else {}
        nested = [info for info in raised.values() if isinstance(info, dict)]
        error = None
        if single.get("raised_exception") or nested or not result:
            # The class of the error alone: a message can quote the value that caused it.
            text = str(single.get("exception_message") or (nested[0].get("exception_message") if nested else ""))
            error = text.split(":")[0][:80] or "not executed"
        unexpected = result.get("unexpected_count")
        if config["type"] == "unexpected_rows_expectation":
            unexpected = result.get("observed_value")
        severity: Severity = "warning" if config.get("severity") == "warning" else "critical"
        passed = bool(found["success"]) and error is None
        return CheckResult(suite, config["meta"]["check"], severity, passed, unexpected, error)


def judge_rows(con: duckdb.DuckDBPyConnection, arrival: Sequence[Rule]) -> list[RuleResult]:
    """The gate on incoming rows (see `bronze.take_in`): how often each rule applied; None: not to be told."""
    with Checker(con) as checker:
        results = {result.check: result for result in checker.run(arrival_suite(arrival))}
    return [
        RuleResult(
            rule.rule,
            rule.action,
            None if results[rule.rule].error else (results[rule.rule].unexpected or 0),
            results[rule.rule].error,
        )
        for rule in arrival
    ]


def check_build(con: duckdb.DuckDBPyConnection, renewed: dict[str, str] | None = None) -> list[CheckResult]:
    """The gate on a built warehouse: every suite but that on incoming rows, on the relations of `con`.

    `renewed` (see `building.Build`) gives the new rows of relations that were carried over: the other rows passed this
    gate when they were built, and what is asked of them is asked of each reservation by itself.
    The suites run as one, on one batch, each query naming its relation: a batch of its own costs a suite more than
    its checks do.
    """
    checked: list[dict[str, Any]] = []
    relation_of: dict[str, str] = {}
    for name, suite in suites().items():
        if name == "incoming":
            continue
        batch = (renewed or {}).get(name, name)
        for item in suite["expectations"]:
            query = item["kwargs"]["unexpected_rows_query"].replace("{batch}", batch)
            # Great Expectations grumbles about a query that does not name its batch.
            checked.append(item | {"kwargs": {"unexpected_rows_query": f"{query} /* together with {{batch}} */"}})
            relation_of[item["meta"]["check"]] = name
    with Checker(con) as checker:
        results = checker.run({"name": "quality.run", "expectations": checked})
    return [replace(result, suite=relation_of[result.check]) for result in results]
