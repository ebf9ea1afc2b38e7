"""Figures with a memory: a manifest a run, what changed between two runs and why, and years that are closed.

A run leaves in `runs/<run_id>/`: `manifest.json` (the files it took in, hashes of all that decides on the figures,
row counts, gate results) and `figures.parquet` (its key figures, without those by lane). A closed year leaves in
`closed/`: `<year>.json` and `<year>.parquet` (all its figures, as published then).
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from pendel import building
from pendel.bronze import Run
from pendel.building import Build, changed_ingredients, ingredients
from pendel.contracts import sql_file
from pendel.figures import NoFigures, attach_store, dicts, published
from pendel.gates import CheckResult
from pendel.places import NO_EXTENSIONS, Places, UserError, escaped, write_whole
from pendel.reference import Reference

FIGURES = (
    "kpi, year, month, dimension, supplying_organisation, pickup_organisation, supplying_branch, pickup_branch, branch"
)
"""What tells one figure from another."""


def record(places: Places, build: Build, run: Run, results: Sequence[CheckResult]) -> Path:
    """Write the manifest and the figures of a run whose warehouse is built and checked, published or not.

    The files of earlier runs that took them in and were killed before they could write their own manifest stand in this
    one: no file is without. Returns the manifest's path. What is written last is the manifest: where it is, the run's
    figures are too.
    """
    con, folder = build.con, places.runs / run.run_id
    folder.mkdir(parents=True, exist_ok=True)
    con.execute(
        f"COPY (SELECT {FIGURES}, value FROM kpi.value WHERE dimension <> 'lane' ORDER BY ALL) "
        f"TO '{escaped(folder / 'figures.parquet')}' (FORMAT parquet, COMPRESSION zstd)"
    )
    taken_in = dicts(
        con,
        "SELECT file_id, branch, path AS file, path_key, sha256, size_bytes, arrived_at, export_date, verdict "
        "FROM store.file WHERE NOT list_contains(?, run_id) ORDER BY file_id",
        [[path.parent.name for path in places.runs.glob("*/manifest.json") if path.parent != folder]],
    )
    relations = [
        f"{schema}.{table}"
        for schema, table in con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'warehouse' ORDER BY ALL"
        ).fetchall()
    ]
    con.execute("USE warehouse")
    manifest = {
        "run_id": run.run_id,
        "started_at_utc": f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}",
        "as_of": str(run.as_of),
        "inputs": taken_in,
        "ingredients": build.ingredients,
        "rows": {name: _one(con, f"SELECT count(*) FROM {name}") for name in relations},
        "gates": [dataclasses.asdict(result) for result in results],
    }
    text = json.dumps(manifest, indent=1, default=str, ensure_ascii=False)
    write_whole(folder / "manifest.json", text + "\n")
    return folder / "manifest.json"


def _one(con: duckdb.DuckDBPyConnection, sql: str) -> Any:
    row = con.execute(sql).fetchone()
    return row[0] if row else None


# ---------------------------------------------------------------------------------------------- years that are closed


def close_year(places: Places, reference: Reference, year: int, closed_by: str) -> dict[str, Any]:
    """Freeze a year's figures as they are published now: later runs show anything else as a restatement.

    Raises NoFigures without figures of that year; UserError when it is not over on the day of the run that was
    published, when it was closed before, or when the published figures were made by other rules than those of now.
    """
    kept = places.closed / f"{year}.json"
    if kept.exists():
        before = json.loads(kept.read_text(encoding="utf-8"))
        raise UserError(
            "{year} was closed already: on {when} (UTC) by {who}. Its figures stay as they were then.",
            year=year,
            when=before["closed_at_utc"],
            who=before["closed_by"],
        )
    with published(places) as con:
        run_id, as_of = con.execute("SELECT run_id, as_of FROM quality.run WHERE is_this_run").fetchall()[0]
        if not _one(con, f"SELECT count(*) FROM kpi.value WHERE year = {year}"):
            raise NoFigures("There are no figures of {period}: no exports of it were taken in.", period=year)
        if as_of <= dt.date(year, 12, 31):
            raise UserError(
                "{year} is not over: the figures published are those as of {day}. Close it when the last exports of "
                "the year have been taken in.",
                year=year,
                day=as_of,
            )
        figures = con.execute(
            f"SELECT {FIGURES}, value FROM kpi.value WHERE year = {year} AND kpi NOT IN ('in_transit', 'overdue') "
            "ORDER BY ALL"
        ).df()
        last_file_id = _one(con, "SELECT coalesce(max(file_id), 0) FROM quality.file")
    made_by = manifest(places, run_id)["ingredients"]
    changed = changed_ingredients(made_by, ingredients(reference))
    if changed:
        raise UserError(
            "The published figures were made before {changed} changed. Run `pendel nightly` first, look at the "
            "figures, and close the year then.",
            changed=", ".join(changed[:3]),
        )
    places.closed.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as writer:
        writer.register("figures", figures)
        target = escaped(places.closed / f"{year}.parquet")
        writer.execute(f"COPY (FROM figures) TO '{target}' (FORMAT parquet, COMPRESSION zstd)")
    closing = {
        "year": year,
        "closed_at_utc": f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}",
        "closed_by": closed_by,
        "run_id": run_id,
        "last_file_id": last_file_id,
        "figures": len(figures),
        "ingredients": made_by,
    }
    write_whole(kept, json.dumps(closing, indent=1, ensure_ascii=False) + "\n")
    return closing


# ---------------------------------------------------------------------------------------------- what changed, and why


def runs(places: Places) -> list[str]:
    """The runs that left a manifest, in the order in which they took in their files."""
    found = {path.parent.name for path in places.runs.glob("*/manifest.json")}
    if not places.bronze.exists():
        return sorted(found)
    with _store(places) as con:
        known = [run for (run,) in con.execute("SELECT run_id FROM store.run ORDER BY rowid").fetchall()]
    return [run for run in known if run in found]


def manifest(places: Places, run_id: str) -> dict[str, Any]:
    """The manifest of a run, by its id or a beginning of it that no other has.

    Raises UserError, naming the last runs, when there is none.
    """
    found = [run for run in runs(places) if run.startswith(run_id)]
    if run_id in found:
        found = [run_id]
    if len(found) != 1:
        raise UserError(
            "{run} is no run, or the beginning of more than one. The last runs are: {runs}",
            run=run_id,
            runs=", ".join(runs(places)[-5:]) or "–",
        )
    result: dict[str, Any] = json.loads((places.runs / found[0] / "manifest.json").read_text(encoding="utf-8"))
    return result


def diff(places: Places, reference: Reference, one: str | None, other: str | None) -> dict[str, Any]:
    """Which figures differ between two runs, by how much, and by which files or rules; without runs, the last two.

    Returns `from` and `to` (run_id, as_of), `figures` (kpi, year, month, dimension, before, after, difference, unit),
    `rules` (what changed of SQL, contracts, reference data, libraries) and `files` (branch, file, export_date, and the
    deliveries that appeared and vanished by each, by the rules of now). Raises UserError for an unknown run, Busy
    while a run writes to bronze.
    """
    if one is None or other is None:
        last = runs(places)[-2:]
        if len(last) < 2:
            raise UserError("There are no two runs to compare yet in {folder}.", folder=places.runs)
        one, other = one or last[0], other or last[1]
    first, second = manifest(places, one), manifest(places, other)
    order = runs(places)
    if order.index(first["run_id"]) > order.index(second["run_id"]):
        first, second = second, first
    with duckdb.connect() as con:
        changed = dicts(
            con,
            sql_file("history", "figures_changed").sql,
            {
                "before": str(places.runs / first["run_id"] / "figures.parquet"),
                "after": str(places.runs / second["run_id"] / "figures.parquet"),
            },
        )
    units = _units(reference)
    changed = [figure | {"unit": units.get(figure["kpi"], "reservations")} for figure in changed]
    return {
        "from": {"run_id": first["run_id"], "as_of": first["as_of"]},
        "to": {"run_id": second["run_id"], "as_of": second["as_of"]},
        "figures": changed,
        "rules": changed_ingredients(first["ingredients"], second["ingredients"]),
        "files": _files_between(places, reference, first, second),
    }


def _units(reference: Reference) -> dict[str, str]:
    """Key figure → its unit."""
    return {str(row[0]): str(row[2]) for row in building.kpi_rows(reference)}


@contextmanager
def _store(places: Places) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database with bronze attached, read-only. Raises Busy while a run writes to it."""
    with duckdb.connect(config=NO_EXTENSIONS | {"memory_limit": "1GB"}) as con:
        attach_store(con, places)
        yield con


def _files_between(
    places: Places, reference: Reference, first: dict[str, Any], second: dict[str, Any]
) -> list[dict[str, Any]]:
    """The files that came after one run up to another, and the deliveries that appeared and vanished by each.

    The legs of the reservations that these files, and those that they replaced, speak of are built twice, from what
    had been taken in by either run: by the same SQL as every night.
    """
    with _store(places) as con:
        con.execute("CREATE SCHEMA side")
        for side, last in (("before", first), ("after", second)):
            con.execute(
                f"""
                CREATE TABLE side.{side}_file AS
                SELECT * FROM store.file
                WHERE run_id IN (SELECT run_id FROM store.run WHERE rowid <= (
                    SELECT rowid FROM store.run WHERE run_id = '{last["run_id"]}'))
                """
            )
        con.execute(
            """
            CREATE TABLE side.new_file AS SELECT * FROM side.after_file ANTI JOIN side.before_file USING (file_id);
            CREATE TABLE side.row AS
            SELECT * FROM store.row WHERE reservation_id IN (
                SELECT reservation_id FROM store.row WHERE file_id IN (
                    SELECT file_id FROM side.new_file
                    UNION
                    SELECT b.file_id FROM side.before_file AS b
                    JOIN side.new_file AS n USING (branch, format, export_date)))
            """
        )
        con.execute("DETACH store")  # a night that starts meanwhile must be able to write to it
        run = Run(second["run_id"], dt.datetime(1970, 1, 1), dt.date.fromisoformat(second["as_of"]))
        for side in ("before", "after"):
            for schema in ("bronze", "staging", "reference", "marts"):
                con.execute(f"ATTACH ':memory:' AS {schema}")
            con.execute(f"CREATE VIEW bronze.file AS FROM memory.side.{side}_file")
            con.execute("CREATE VIEW bronze.row AS FROM memory.side.row SEMI JOIN bronze.file USING (file_id)")
            building.load_reference(con, reference, run)
            building.create_models(con, building.upstream("marts.fct_leg"))
            con.execute(f"CREATE TABLE side.{side}_leg AS FROM marts.fct_leg")
            for schema in ("marts", "staging", "bronze", "reference"):
                con.execute(f"DETACH {schema}")
        return dicts(con, sql_file("history", "deliveries_changed").sql)
