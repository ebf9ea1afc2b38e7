"""Building the warehouse: bronze and reference data in, a fresh database out, moved into place when the gates agree.

Every relation is one SELECT in one file of `sql/`, whose folder and name are the relation's schema and name. The order
follows from what the SELECTs refer to, as DuckDB itself parses them.
"""

from __future__ import annotations

import datetime as dt
import functools
import graphlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from pendel.bronze import Run
from pendel.contracts import export_formats, kpis, rules, tables
from pendel.gates import CheckResult
from pendel.places import SQL, Places, UserError
from pendel.reference import Reference, public_holidays

MAY_READ = {
    "staging": {"bronze", "reference", "staging"},
    "marts": {"reference", "staging", "marts"},
    "quality": {"bronze", "reference", "staging", "quality"},
    "kpi": {"reference", "marts", "kpi"},
}
"""Which layer may read which."""

STORAGE_VERSION = "v1.0.0"
"""So that every DuckDB tool since 1.0 opens the published file, whatever version builds it."""


@dataclass(frozen=True)
class Model:
    """One file of `sql/`: a relation, how it is kept, and the relations it reads."""

    relation: str
    sql: str
    materialize: str
    reads: frozenset[str]

    @property
    def layer(self) -> str:
        """The schema: staging, marts, quality or kpi."""
        return self.relation.split(".")[0]


def _reference_rules() -> str:
    return " ".join(f"WHEN {rule.where} THEN '{rule.rule}'" for rule in rules() if rule.stage == "reference")


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and node.get("schema_name"):
            yield f"{node['schema_name']}.{node['table_name']}"
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


@functools.cache
def models() -> tuple[Model, ...]:
    """The models of `sql/` in the order in which they can be built.

    Raises ValueError for a model that reads what it may not or what is not there, and for a cycle.
    """
    found: dict[str, Model] = {}
    with duckdb.connect() as con:
        for layer in MAY_READ:
            for path in sorted((SQL / layer).glob("*.sql")):
                text = path.read_text(encoding="utf-8")
                header = dict(
                    line.removeprefix("-- ").split(": ", 1)
                    for line in text.splitlines()
                    if line.startswith("-- ") and ": " in line
                )
                sql = text.replace("$reference_rules", _reference_rules())
                row = con.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
                tree = json.loads(row[0]) if row else {"error": True}
                if tree["error"]:
                    raise ValueError(f"{path}: {tree.get('error_message')}")
                relation = f"{layer}.{path.stem}"
                found[relation] = Model(relation, sql, header["materialize"], frozenset(_references(tree)))
    for model in found.values():
        for read in model.reads:
            if read.split(".")[0] not in MAY_READ[model.layer]:
                raise ValueError(f"{model.relation} may not read {read}: see MAY_READ")
            if read.split(".")[0] in MAY_READ and read not in found:
                raise ValueError(f"{model.relation} reads {read}, which is not there")
    sorter = graphlib.TopologicalSorter({m.relation: {r for r in m.reads if r in found} for m in found.values()})
    return tuple(found[relation] for relation in sorter.static_order())


def create_models(con: duckdb.DuckDBPyConnection, chosen: Sequence[Model] | None = None) -> None:
    """Create the models on a connection that has the schemas `bronze` and `reference`."""
    for model in chosen or models():
        kind = {"table": "TABLE", "view": "VIEW"}[model.materialize]
        con.execute(f"CREATE {kind} {model.relation} AS\n{model.sql}")


def _kpi_rows(reference: Reference) -> list[tuple[object, ...]]:
    """The key figures with those of each organisation and ordered pair of organisations written out."""
    rows: list[tuple[object, ...]] = []
    norms = {
        "norm": str(reference.parameters.transit_norm_transport_days),
        "overdue": str(reference.parameters.overdue_after_transport_days),
    }
    organisations = list(reference.organisations)
    for template, spec in kpis().items():
        if "{from}" in template:
            fillings = [{"from": a, "to": b} for a in organisations for b in organisations if a != b]
        elif "{organisation}" in template:
            fillings = [{"organisation": a} for a in organisations]
        else:
            fillings = [{}]
        for filling in fillings:
            words = filling | norms
            kpi = template.format(**{key: code.lower() for key, code in filling.items()})
            texts = [spec[lang][part].format(**words) for part in ("label", "definition") for lang in ("nl", "en")]
            rows.append((kpi, len(rows), spec["unit"], *texts))
    return rows


def load_reference(con: duckdb.DuckDBPyConnection, reference: Reference, run: Run) -> None:
    """Fill the schema `reference`: what the models know about the network, the formats, the days and this run."""

    def table(name: str, columns: str, rows: Sequence[Sequence[object]]) -> None:
        con.execute(f"CREATE TABLE reference.{name} ({columns})")
        if rows:
            names = [column.split()[0] for column in columns.split(", ")]
            con.register("given", pd.DataFrame([list(row) for row in rows], columns=pd.Index(names), dtype=object))
            con.execute(f"INSERT INTO reference.{name} SELECT * FROM given")
            con.unregister("given")

    parameters = reference.parameters
    table(
        "branch",
        "branch VARCHAR, name VARCHAR, organisation VARCHAR, municipality VARCHAR, ils_code VARCHAR, "
        "export_format VARCHAR, opened_on DATE, closed_on DATE, latitude DOUBLE, longitude DOUBLE",
        [
            (b.branch, b.name, b.organisation, b.municipality, b.ils_code, b.export_format, b.opened_on, b.closed_on,
             b.latitude, b.longitude)
            for b in reference.branches
        ],
    )  # fmt: skip
    table("organisation", "organisation VARCHAR, name VARCHAR", list(reference.organisations.items()))
    published = [(int(r["year"]), r["kpi"], float(r["value"]), r.get("source", "")) for r in reference.published]
    table("published_figure", "year INTEGER, kpi VARCHAR, value DOUBLE, source VARCHAR", published)
    formats = [(f.format, f.perspective) for f in export_formats().values()]
    table("export_format", "format VARCHAR, perspective VARCHAR", formats)
    table(
        "parameter",
        "transit_norm_transport_days INTEGER, overdue_after_transport_days INTEGER, export_late_after_days INTEGER",
        [(parameters.transit_norm_transport_days, parameters.overdue_after_transport_days,
          parameters.export_late_after_days)],
    )  # fmt: skip
    table(
        "kpi",
        "kpi VARCHAR, position INTEGER, unit VARCHAR, label_nl VARCHAR, label_en VARCHAR, definition_nl VARCHAR, "
        "definition_en VARCHAR",
        _kpi_rows(reference),
    )
    table("run", "run_id VARCHAR, started_at_utc TIMESTAMP, as_of DATE", [(run.run_id, run.started_at, run.as_of)])
    first, last = _span(con, run.as_of)
    days = [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]
    off = public_holidays(parameters, range(first.year, last.year + 1))
    con.execute(
        "CREATE TABLE reference.day (date DATE, holiday VARCHAR, is_transport_day BOOLEAN, is_export_day BOOLEAN)"
    )
    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(pd.Series(days)),
            "holiday": [off.get(day) for day in days],
            "is_transport_day": [d.isoweekday() in parameters.transport_weekdays and d not in off for d in days],
            "is_export_day": [d.isoweekday() in parameters.export_weekdays and d not in off for d in days],
        }
    )
    con.register("days", frame)
    con.execute("INSERT INTO reference.day SELECT date::DATE, holiday, is_transport_day, is_export_day FROM days")
    con.unregister("days")


def _span(con: duckdb.DuckDBPyConnection, as_of: dt.date) -> tuple[dt.date, dt.date]:
    """From 1 January of the first year in which anything was sent, received or exported, to the end of the last."""
    found = con.execute(
        "SELECT min(year(least(received_at, shipped_at))), max(year(greatest(received_at, shipped_at))) FROM bronze.row"
    ).fetchone()
    exported = con.execute("SELECT min(year(export_date)), max(year(export_date)) FROM bronze.file").fetchone()
    assert found is not None
    assert exported is not None
    years = [int(year) for year in (*found, *exported, as_of.year) if year is not None]
    return dt.date(max(min(years), 1970), 1, 1), dt.date(min(max(years), as_of.year + 1), 12, 31)


@dataclass
class Build:
    """A warehouse that is built and not yet published: `con` is open on it, with bronze attached."""

    con: duckdb.DuckDBPyConnection
    path: Path


@contextmanager
def built(places: Places, reference: Reference, run: Run) -> Iterator[Build]:
    """Build a fresh warehouse in a temporary file beside the published one; the file is gone afterwards unless
    `publish` moved it.
    """
    for left_over in places.warehouse.glob("pendel.building-*"):
        left_over.unlink()  # of a run that was killed; the lock is ours
    path = places.warehouse / f"pendel.building-{run.run_id}.duckdb"
    con = duckdb.connect(
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "memory_limit": "1GB",
            "temp_directory": str(places.warehouse / "tmp"),
        }
    )
    try:
        con.execute(f"ATTACH '{_escaped(places.bronze)}' AS bronze (READ_ONLY)")
        con.execute("ATTACH ':memory:' AS staging")
        con.execute("ATTACH ':memory:' AS reference")
        con.execute(f"ATTACH '{_escaped(path)}' AS warehouse (STORAGE_VERSION '{STORAGE_VERSION}')")
        con.execute("USE warehouse")
        con.execute("CREATE SCHEMA marts; CREATE SCHEMA kpi; CREATE SCHEMA quality")
        load_reference(con, reference, run)
        create_models(con)
        yield Build(con, path)
    finally:
        con.close()
        path.unlink(missing_ok=True)
        Path(f"{path}.wal").unlink(missing_ok=True)


def _escaped(path: Path) -> str:
    return str(path).replace("'", "''")


def finish(build: Build, run: Run, results: Sequence[CheckResult]) -> None:
    """Write the gates' results and the descriptions of all columns into the warehouse."""
    con = build.con
    con.execute(
        "CREATE TABLE quality.check_result (run_id VARCHAR, suite VARCHAR, check_name VARCHAR, severity VARCHAR, "
        "passed BOOLEAN, unexpected BIGINT, error VARCHAR)"
    )
    for r in results:
        con.execute(
            "INSERT INTO quality.check_result VALUES (?, ?, ?, ?, ?, ?, ?)",
            [run.run_id, r.suite, r.check, r.severity, r.passed, r.unexpected, r.error],
        )
    kinds = {model.relation: model.materialize.upper() for model in models()}
    for relation, spec in tables().items():
        kind = kinds.get(relation, "TABLE")
        con.execute(f"COMMENT ON {kind} {relation} IS '{_text(spec)}'")
        for name, column in spec["columns"].items():
            con.execute(f"COMMENT ON COLUMN {relation}.{name} IS '{_text(column)}'")


def _text(spec: dict[str, Any]) -> str:
    unit = f" [{spec['unit']}]" if "unit" in spec else ""
    return f"{spec['nl']}{unit} / {spec['en']}{unit}".replace("'", "''")


def publish(build: Build, places: Places, pause: Callable[[float], None] = time.sleep) -> Path:
    """Move the build into place, closed and checkpointed. Readers keep what they have open; new ones get the new file.

    Where an open file cannot be replaced (Windows), it is tried again for a while and then published under a dated
    name. Returns the path published.
    """
    build.con.execute("USE memory")
    build.con.execute("CHECKPOINT warehouse")
    build.con.execute("DETACH warehouse")
    # A write-ahead log left beside the published file would make the new one unopenable.
    Path(f"{places.published}.wal").unlink(missing_ok=True)
    for attempt in range(5):
        try:
            os.replace(build.path, places.published)
            return places.published
        except PermissionError:
            pause(2.0**attempt)
    dated = places.published.with_name(f"pendel-{dt.date.today():%Y-%m-%d}.duckdb")
    try:
        os.replace(build.path, dated)
    except PermissionError:
        raise UserError(
            "{file} and {dated} are in use and cannot be replaced. Close the programs that have them open.",
            file=places.published,
            dated=dated,
        ) from None
    return dated
