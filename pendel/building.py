"""Building the warehouse: bronze and reference data in, a new database out, moved into place when the gates agree.

Every relation is one SELECT in one file of `sql/`, whose folder and name are the relation's schema and name. The order
follows from what the SELECTs refer to, as DuckDB itself parses them.
"""

from __future__ import annotations

import datetime as dt
import functools
import graphlib
import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pandas as pd

from pendel.bronze import INSTANTS, Run, typed_again
from pendel.contracts import PLACES_OF_A_ROW, columns, corrections, export_formats, kpis, rules, sql_files, tables
from pendel.gates import CheckResult
from pendel.places import EXPECTATIONS, NO_EXTENSIONS, NOTIFICATIONS, SQL, Places, UserError, escaped
from pendel.reference import Parameters, Reference, public_holidays

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
    """One file of `sql/`: a relation, how it is kept, the relations it reads, and by what its rows are renewed when a
    build continues the published warehouse (`renew`: see `_conditions`; None: the whole relation).
    """

    relation: str
    sql: str
    materialize: str
    renew: str | None
    reads: frozenset[str]

    @property
    def layer(self) -> str:
        """The schema: staging, marts, quality or kpi."""
        return self.relation.split(".")[0]


def _reference_rules() -> str:
    return " ".join(f"WHEN {rule.where} THEN '{rule.rule}'" for rule in rules() if rule.stage == "reference")


def _literal(name: str, value: Any) -> str:
    if value is None or value == "":
        return "NULL"
    if name in columns() and columns()[name].kind == "datetime":
        return f"TIMESTAMP '{dt.datetime.fromisoformat(str(value)):%Y-%m-%d %H:%M:%S}'"
    if name == "row":
        return str(int(value))
    text = str(value).replace("'", "''")
    return f"DATE '{text}'" if name == "export_date" else f"'{text}'"


def _stored(name: str) -> str:
    """A column of a row, or a place of it, as bronze calls it: `f` is the file, `r` the row."""
    if name in PLACES_OF_A_ROW:
        return {"branch": "f.branch", "file": "f.path", "row": "r.row", "export_date": "f.export_date"}[name]
    return {"supplying_branch": "r.supplying_code", "pickup_branch": "r.pickup_code"}.get(name, f"r.{name}")


def _which_correction() -> str:
    """The WHEN parts of a CASE that numbers the correction of a row."""
    whens = []
    for correction in corrections():
        matches = [
            f"{_stored(name)} IS NOT DISTINCT FROM {_literal(name, value)}" for name, value in correction.match.items()
        ]
        whens.append(f"WHEN {' AND '.join(matches)} THEN {correction.number}")
    return " ".join(whens) or "WHEN false THEN 0"


def _overrides() -> str:
    """What stands in the REPLACE of the corrected rows."""
    values: dict[str, list[str]] = {}
    for correction in corrections():
        for name, value in correction.set.items():
            column = _stored(name).removeprefix("r.")
            values.setdefault(column, []).append(f"WHEN {correction.number} THEN {_literal(name, value)}")
            if name in INSTANTS:
                instant = _literal(name, None if value is None else _utc(str(value)))
                values.setdefault(f"{name}_utc", []).append(f"WHEN {correction.number} THEN {instant}")
    cases = [f"CASE correction {' '.join(whens)} ELSE {column} END AS {column}" for column, whens in values.items()]
    return ", ".join(cases) or "file_id AS file_id"


def _utc(text: str) -> dt.datetime:
    """A local time of the network in UTC; the first of a doubled hour, as everywhere."""
    (zone,) = {spec.time_zone for spec in export_formats().values()}
    local = dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=0)
    return local.astimezone(dt.UTC).replace(tzinfo=None)


def _dropped() -> str:
    return ", ".join(str(c.number) for c in corrections() if c.action == "drop") or "0"


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("type") == "BASE_TABLE" and node.get("schema_name"):
            yield f"{node['schema_name']}.{node['table_name']}"
        for value in node.values():
            yield from _references(value)
    elif isinstance(node, list):
        for value in node:
            yield from _references(value)


def filled_in(sql: str) -> str:
    """A SELECT of a model with what contracts, corrections and rules say in the place of its words with a dollar."""
    for name, text in {
        "$reference_rules": _reference_rules, "$which_correction": _which_correction,
        "$overrides": _overrides, "$dropped": _dropped, "$typed_again": typed_again,
    }.items():  # fmt: skip
        sql = sql.replace(name, text()) if name in sql else sql
    return sql


@functools.cache
def models() -> tuple[Model, ...]:
    """The models of `sql/` in the order in which they can be built.

    Raises ValueError for a model that reads what it may not or what is not there, and for a cycle.
    """
    found: dict[str, Model] = {}
    with duckdb.connect() as con:
        for layer in MAY_READ:
            for file in sql_files(layer):
                sql = filled_in(file.sql)
                row = con.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
                tree = json.loads(row[0]) if row else {"error": True}
                if tree["error"]:
                    raise ValueError(f"{layer}/{file.name}.sql: {tree.get('error_message')}")
                relation = f"{layer}.{file.name}"
                found[relation] = Model(
                    relation, sql, file.head["materialize"], file.head.get("renew"), frozenset(_references(tree))
                )
    for model in found.values():
        for read in model.reads:
            if read.split(".")[0] not in MAY_READ[model.layer]:
                raise ValueError(f"{model.relation} may not read {read}: see MAY_READ")
            if read.split(".")[0] in MAY_READ and read not in found:
                raise ValueError(f"{model.relation} reads {read}, which is not there")
    sorter = graphlib.TopologicalSorter({m.relation: {r for r in m.reads if r in found} for m in found.values()})
    return tuple(found[relation] for relation in sorter.static_order())


def upstream(relation: str) -> list[Model]:
    """A relation's model and all that it rests on, in the order in which they can be built."""
    found, needed = [], {relation}
    for model in reversed(models()):
        if model.relation in needed:
            found.append(model)
            needed |= model.reads
    return found[::-1]


def create_models(con: duckdb.DuckDBPyConnection, chosen: Sequence[Model] | None = None) -> None:
    """Create the models on a connection that has the schemas `bronze` and `reference`."""
    for model in models() if chosen is None else chosen:
        kind = {"table": "TABLE", "view": "VIEW"}[model.materialize]
        con.execute(f"CREATE OR REPLACE {kind} {model.relation} AS\n{model.sql}")


def kpi_rows(reference: Reference) -> list[tuple[object, ...]]:
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


def load_reference(
    con: duckdb.DuckDBPyConnection,
    reference: Reference,
    run: Run,
    closed: Path | None = None,
    made_by: dict[str, str] | None = None,
) -> None:
    """Fill the schema `reference`: what the models know about the network, the formats, the days, this run, and the
    years that were closed (`history.close_year`, in the folder `closed`), with which of the `ingredients` that this
    build is `made_by` have changed since.
    """

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
        "transit_norm_transport_days INTEGER, overdue_after_transport_days INTEGER, "
        "unsent_after_transport_days INTEGER, export_late_after_days INTEGER, items_per_crate INTEGER",
        [(parameters.transit_norm_transport_days, parameters.overdue_after_transport_days,
          parameters.unsent_after_transport_days, parameters.export_late_after_days, parameters.items_per_crate)],
    )  # fmt: skip
    table(
        "kpi",
        "kpi VARCHAR, position INTEGER, unit VARCHAR, label_nl VARCHAR, label_en VARCHAR, definition_nl VARCHAR, "
        "definition_en VARCHAR",
        kpi_rows(reference),
    )
    table("run", "run_id VARCHAR, started_at_utc TIMESTAMP, as_of DATE", [(run.run_id, run.started_at, run.as_of)])
    table(
        "correction",
        "correction INTEGER, action VARCHAR, reason VARCHAR, expected_rows INTEGER",
        [(c.number, c.action, c.reason, c.expect) for c in corrections()],
    )
    years = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(closed.glob("*.json"))] if closed else []
    table(
        "closed_year",
        "year INTEGER, closed_at_utc TIMESTAMP, closed_by VARCHAR, run_id VARCHAR, last_file_id INTEGER",
        [(y["year"], y["closed_at_utc"], y["closed_by"], y["run_id"], y["last_file_id"]) for y in years],
    )
    table(
        "changed_ingredient",
        "year INTEGER, name VARCHAR",
        [(y["year"], name) for y in years for name in changed_ingredients(y["ingredients"], made_by or {})],
    )
    con.execute(f"CREATE TABLE reference.frozen_figure ({FIGURE})")
    for y in years:
        con.execute("INSERT INTO reference.frozen_figure FROM read_parquet(?)", [f"{closed}/{y['year']}.parquet"])
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
    transport = _transport_days(parameters, max(first.toordinal(), run.as_of.toordinal() - RECALLED), run.as_of)
    table("transport_day", "date DATE", [(day,) for day in transport])


RECALLED = 7 * 120
"""Days before the run of which a forecast knows whether they were transport days."""


def _transport_days(parameters: Parameters, first: int, as_of: dt.date) -> list[dt.date]:
    """The transport days from a day (its ordinal) to well after the run: the year after it may not have begun."""
    days = [dt.date.fromordinal(n) for n in range(first, min(as_of.toordinal() + 120, dt.date.max.toordinal()))]
    off = public_holidays(parameters, sorted({day.year for day in days}))
    return [day for day in days if day.isoweekday() in parameters.transport_weekdays and day not in off]


def _span(con: duckdb.DuckDBPyConnection, as_of: dt.date) -> tuple[dt.date, dt.date]:
    """From 1 January of the first year in which anything was sent, received or exported, to the end of the last."""
    # year() of the ends: a far date is none that Python knows
    found = con.execute(
        "SELECT year(min(received_at)), year(min(shipped_at)), year(max(received_at)), year(max(shipped_at)) "
        "FROM bronze.row"
    ).fetchone()
    exported = con.execute("SELECT year(min(export_date)), year(max(export_date)) FROM bronze.file").fetchone()
    assert found is not None
    assert exported is not None
    years = [int(year) for year in (*found, *exported, as_of.year) if year is not None]
    return dt.date(max(min(years), 1970), 1, 1), dt.date(min(max(years), as_of.year + 1), 12, 31)


FIGURE = (
    "kpi VARCHAR, year INTEGER, month INTEGER, dimension VARCHAR, supplying_organisation VARCHAR, "
    "pickup_organisation VARCHAR, supplying_branch VARCHAR, pickup_branch VARCHAR, branch VARCHAR, value DOUBLE"
)
"""The columns of a figure that is kept: its key in kpi.value, and its value."""

DECIDING = ("bronze", "building", "contracts", "reading", "reference")
"""The modules of this package that decide on figures."""


def ingredients(reference: Reference) -> dict[str, str]:
    """All that decides on the figures besides the exports: hashes of the SQL, the contracts, modules of this package
    and the reference data, by path, and the versions of the libraries that compute.
    """
    found = {f"sql/{m.relation.replace('.', '/')}.sql": _sha256(m.sql.encode()) for m in models()}
    here = Path(__file__).parent
    files = {f"pendel/{name}.py": here / f"{name}.py" for name in DECIDING}
    for kind, folder in (("sql", SQL), ("expectations", EXPECTATIONS), ("reference", reference.folder)):
        for path in sorted(folder.rglob("*")):
            if path.suffix in {".sql", ".yaml", ".csv"} and path.name != NOTIFICATIONS:
                files[f"{kind}/{path.relative_to(folder).as_posix()}"] = path
    for name, path in files.items():
        found.setdefault(name, _sha256(path.read_bytes()))
    for library in ("duckdb", "pandas", "pyarrow", "holidays", "great-expectations"):
        found[library] = importlib.metadata.version(library)
    return found


def changed_ingredients(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """The names of what is not the same in both, or only in one."""
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _recipe(con: duckdb.DuckDBPyConnection, made_by: dict[str, str], closed: Path) -> str:
    """A hash of all that decides on the figures besides the rows and the day of the run."""
    span = con.execute("SELECT min(date), max(date) FROM reference.day").fetchone()
    first = con.execute("SELECT min(export_date) FROM bronze.file WHERE verdict = 'read'").fetchone()
    years = [path.read_text(encoding="utf-8") for path in sorted(closed.glob("*.json"))]
    return _sha256(json.dumps([made_by, str(span), str(first), years]).encode())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class Build:
    """A warehouse that is built and not yet published: `con` is open on it, with bronze attached.

    `mark`: what is left beside it when it is published. `ingredients`: what it was made by (see the function).
    `renewed`: relations that were carried over from the published warehouse and of which some rows are new, and the
    relation that holds these alone.
    """

    con: duckdb.DuckDBPyConnection
    path: Path
    mark: dict[str, str]
    ingredients: dict[str, str]
    renewed: dict[str, str] = field(default_factory=dict)


@contextmanager
def built(places: Places, reference: Reference, run: Run, afresh: bool = False) -> Iterator[Build]:
    """Build a warehouse in a temporary file beside the published one; the file is gone afterwards unless `publish`
    moved it.

    Where it can, it continues the published warehouse: the same SELECTs on the rows of the reservations that new files
    speak of, and on the years that these touch. It is built whole where anything else than the exports changed
    (`ingredients`), where the published file is not the one that this product left there, and when `afresh` asks for
    it.
    """
    for left_over in places.warehouse.glob("pendel.building-*"):
        left_over.unlink()  # of a run that was killed; the lock is ours
    path = places.warehouse / f"pendel.building-{run.run_id}.duckdb"
    # ten years built anew do not fit in one gigabyte; a year takes less than one
    con = duckdb.connect(config=NO_EXTENSIONS | {"memory_limit": "2GB", "temp_directory": str(places.spill)})
    try:
        con.execute(f"ATTACH '{escaped(places.bronze)}' AS store (READ_ONLY)")
        for schema in ("bronze", "staging", "reference"):
            con.execute(f"ATTACH ':memory:' AS {schema}")
        for table in ("run", "file", "row", "quarantine", "warning"):
            con.execute(f"CREATE VIEW bronze.{table} AS SELECT * FROM store.{table}")
        made_by = ingredients(reference)
        load_reference(con, reference, run, places.closed, made_by)
        mark = {"run_id": run.run_id, "as_of": str(run.as_of), "recipe": _recipe(con, made_by, places.closed)}
        before = None if afresh else _carried_over(con, places, path, mark["recipe"])
        if before is None:
            con.execute(f"ATTACH '{escaped(path)}' AS warehouse (STORAGE_VERSION '{STORAGE_VERSION}')")
            con.execute("USE warehouse")
            con.execute("CREATE SCHEMA marts; CREATE SCHEMA kpi; CREATE SCHEMA quality")
            create_models(con)
            yield Build(con, path, mark, made_by)
        else:
            yield Build(con, path, mark, made_by, _renew(con, before, run.as_of))
    finally:
        con.close()
        path.unlink(missing_ok=True)
        Path(f"{path}.wal").unlink(missing_ok=True)


def _carried_over(con: duckdb.DuckDBPyConnection, places: Places, path: Path, recipe: str) -> dt.date | None:
    """Attach a copy of the published warehouse, if a build of this recipe may continue it: the day of its run."""
    with suppress(OSError, ValueError, KeyError, duckdb.Error):
        mark = json.loads(places.mark.read_text(encoding="utf-8"))
        stat = places.published.stat()
        if (mark["recipe"], mark["size_bytes"], mark["mtime_ns"]) == (recipe, stat.st_size, stat.st_mtime_ns):
            shutil.copyfile(places.published, path)
            if _sha256_of(path) != mark["sha256"]:
                raise ValueError  # a damaged block would hold up this night and all that follow
            con.execute(f"ATTACH '{escaped(path)}' AS warehouse")
            con.execute("USE warehouse")
            strange = con.execute(
                "SELECT count(*) FROM quality.file ANTI JOIN store.file USING (file_id, run_id) "
                "WHERE state NOT IN ('rejected', 'skipped')"  # such a file can be judged again
            ).fetchone()
            if strange == (0,):
                return dt.date.fromisoformat(mark["as_of"])
            con.execute("USE memory; DETACH warehouse")
    path.unlink(missing_ok=True)
    return None


def _renew(con: duckdb.DuckDBPyConnection, before: dt.date, as_of: dt.date) -> dict[str, str]:
    """Bring the warehouse of the day `before` up to date: see `built`. Returns `Build.renewed`.

    A reservation's legs rest on the rows that speak of it, and on nothing else that may have changed: where no changed
    file speaks of it, they stay as they are. What is counted by day or period is counted again from the first to the
    last year in which a leg appeared, changed or vanished, of the changed files' dates, between the two runs, and
    of the figures of now.
    """
    first, *others = sorted(models(), key=lambda model: model.relation != "staging.file")
    create_models(con, [first])
    con.execute(
        """
        CREATE TABLE reference.changed_file AS
            SELECT f.file_id, f.export_date
            FROM staging.file AS f
            LEFT JOIN quality.file AS b ON f.file_id = b.file_id
            WHERE (b.state IN ('accepted', 'partly_accepted')) IS DISTINCT FROM f.is_active;
        CREATE TABLE reference.changed_reservation AS
            SELECT DISTINCT reservation_id FROM store.row
            WHERE file_id IN (SELECT file_id FROM reference.changed_file);
        DROP VIEW bronze.row;
        CREATE TABLE bronze.row AS
            SELECT * FROM store.row WHERE reservation_id IN (SELECT reservation_id FROM reference.changed_reservation)
        """
    )
    years = {(day - dt.timedelta(days=1)).year for day in (before, as_of)}
    dated = con.execute("SELECT DISTINCT year(export_date) FROM reference.changed_file WHERE export_date IS NOT NULL")
    years |= {year for (year,) in dated.fetchall()}
    years |= _current_year(con)

    def condition(model: Model) -> str:
        first, last = min(years), max(years)
        return {
            "reservation_id": "reservation_id IN (SELECT reservation_id FROM reference.changed_reservation)",
            "file_id": "file_id IN (SELECT file_id FROM reference.changed_file)",
            "year": f"year BETWEEN {first} AND {last}",
            "date": f"date BETWEEN DATE '{first}-01-01' AND DATE '{last}-12-31'",
        }[model.renew or ""]

    renewed = {}
    for model in others:
        if model.materialize == "view" or model.renew is None:
            create_models(con, [model])
            if model.relation == "marts.period":
                years |= _current_year(con)
        else:
            # ranges, since DuckDB takes them down to the scan
            if model.relation == "marts.fct_leg":
                years |= _years(con)
            con.execute(f"DELETE FROM {model.relation} WHERE {condition(model)}")
            con.execute(f"INSERT INTO {model.relation} SELECT * FROM (\n{model.sql}\n) WHERE {condition(model)}")
            if model.relation == "marts.fct_leg":
                years |= _years(con)
        if model.renew == "reservation_id":
            renewed[model.relation] = f"staging.renewed_{model.relation.split('.')[1]}"
            con.execute(
                f"CREATE TABLE {renewed[model.relation]} AS SELECT * FROM {model.relation} WHERE {condition(model)}"
            )
    return renewed


def _current_year(con: duckdb.DuckDBPyConnection) -> set[int]:
    """The year in which the figures of now stand."""
    return {year for (year,) in con.execute("SELECT year FROM marts.period WHERE is_current").fetchall()}


def _years(con: duckdb.DuckDBPyConnection) -> set[int]:
    """The years in which anything befell the legs of the changed reservations."""
    found = con.execute(
        """
        SELECT DISTINCT year(happened_at)
        FROM (
            SELECT unnest([shipped_at, received_at, unconfirmed_received_at]) AS happened_at
            FROM marts.fct_leg
            WHERE reservation_id IN (SELECT reservation_id FROM reference.changed_reservation)
        )
        WHERE happened_at IS NOT NULL
        """
    ).fetchall()
    return {year for (year,) in found}


def finish(build: Build, run: Run, results: Sequence[CheckResult]) -> None:
    """Write the gates' results and the descriptions of all columns into the warehouse."""
    con = build.con
    con.execute("BEGIN")  # hundreds of descriptions, each of which would wait for the disk
    con.execute(
        "CREATE OR REPLACE TABLE quality.check_result (run_id VARCHAR, suite VARCHAR, check_name VARCHAR, "
        "severity VARCHAR, passed BOOLEAN, unexpected BIGINT, error VARCHAR)"
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
    con.execute("COMMIT")


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
    mark = build.mark | {"sha256": _sha256_of(build.path)}
    for attempt in range(5):
        try:
            os.replace(build.path, places.published)
            stat = places.published.stat()
            left = mark | {"size_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
            # The warehouse is published: without a mark the next night builds it whole, and that is all.
            with suppress(OSError):
                places.mark.write_text(json.dumps(left, indent=1), encoding="utf-8")
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
