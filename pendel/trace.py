"""From a figure to the rows of the files that it rests on, and from a file back to what became of its rows.

A figure is computed in `sql/kpi/value.sql` alone; what it rests on is selected by `sql/trace/`, and a test holds the
two together. Nothing is stored for it: the legs of a figure come from the published warehouse, the fate of a row from
that and the bronze store, opened for a moment and only to read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import duckdb

from pendel.contracts import sql_file
from pendel.figures import NoFigures, attach_store, dicts, published, rounded
from pendel.places import NO_EXTENSIONS, Places, UserError, escaped

Method = Literal["count", "balance", "share", "median", "p90"]
"""How a figure follows from the values of its rows."""

SCOPE = ["supplying_organisation", "pickup_organisation", "supplying_branch", "pickup_branch", "branch"]
FEED = "feed_completeness_pct"


def method(kpi: str, unit: str) -> Method:
    """How the figure follows from its rows: their count, the sum of ones and minus ones, the mean of ones and zeros, or
    the median or 90th percentile of their durations.
    """
    if unit == "reservations":
        return "count"
    if unit == "balance":
        return "balance"
    if unit == "pct":
        return "share"
    return "median" if kpi.endswith("_median") else "p90"


def figure(
    places: Places,
    kpi: str,
    year: int | None = None,
    month: int | None = None,
    supplier: str | None = None,
    pickup: str | None = None,
    branch: str | None = None,
    most: int | None = None,
) -> dict[str, Any]:
    """A key figure and the rows that it rests on, as `pendel trace --format json` prints it.

    `supplier` and `pickup` are a branch or an organisation each; without a year the newest there is. `count` is the
    number of all rows and `sum` what their values add up to (None for durations), however many are listed: `most`
    limits that. Raises UserError for a figure, branch or scope that is not known, NoFigures for a period without it.
    """
    with published(places) as con:
        try:
            return _figure(con, kpi, year, month, supplier, pickup, branch, most)
        except duckdb.CatalogException:
            raise UserError(
                "{file} was made by an earlier version. Run `pendel nightly` first.", file=places.published
            ) from None


def _figure(
    con: duckdb.DuckDBPyConnection,
    kpi: str,
    year: int | None,
    month: int | None,
    supplier: str | None,
    pickup: str | None,
    branch: str | None,
    most: int | None,
) -> dict[str, Any]:
    definition = dicts(con, "SELECT kpi, unit, label_nl, label_en FROM kpi.definition WHERE kpi = ?", [kpi])
    if not definition:
        known = con.execute("SELECT string_agg(kpi, ', ' ORDER BY position) FROM kpi.definition").fetchone()
        raise UserError("There is no key figure {kpi}. There are: {known}.", kpi=kpi, known=known[0] if known else "")
    unit = definition[0]["unit"]
    if year is None:
        newest = con.execute("SELECT max(year) FROM kpi.value WHERE kpi = ?", [kpi]).fetchone()
        year = newest[0] if newest and newest[0] else 0
    period = {"year": year, "month": month or 0}
    value, dimension, scope = _value(con, kpi, period, _scope(con, supplier, pickup, branch))
    name = "feed_day" if kpi == FEED else "leg"
    sql, parameters = _statement(name, {"kpi": kpi, **period, **scope})
    totals = con.execute(f"SELECT count(*), sum(value) FROM (\n{sql}\n)", parameters).fetchone()
    assert totals is not None
    rows = dicts(con, sql if most is None else f"{sql}\nLIMIT {most}", parameters)
    columns = [name for name, *_ in con.description or []]
    if unit not in ("days", "transport_days"):
        rows = [row | {"value": int(row["value"])} for row in rows]
    return {
        "kpi": kpi,
        "label": {"nl": definition[0]["label_nl"], "en": definition[0]["label_en"]},
        "year": year,
        **({"month": month} if month else {}),
        "dimension": dimension,
        "value": rounded(value, unit),
        "unit": unit,
        "method": method(kpi, unit),
        "count": totals[0],
        "sum": None if unit in ("days", "transport_days") else int(totals[1] or 0),
        "columns": columns,
        "rows": rows,
    }


def _value(
    con: duckdb.DuckDBPyConnection, kpi: str, period: dict[str, int], asked: dict[str, str]
) -> tuple[float | None, dict[str, str], dict[str, str]]:
    """The figure of a period and scope, the part of the scope that binds, and the whole scope.

    It is read from `kpi.value`; a count for one side of a lane is the sum of its lanes. Raises UserError for a scope
    for which the figure is not computed, NoFigures for a period without it.
    """
    parts = {name for name, value in asked.items() if value}
    dimensions: dict[frozenset[str], str] = {
        frozenset(): "total",
        frozenset({"branch"}): "branch",
        frozenset({"supplying_organisation", "pickup_organisation"}): "organisation",
    }
    dimension = dimensions.get(frozenset(parts), "lane")
    has = dict(
        con.execute(
            "SELECT dimension, any_value(unit) = 'reservations' FROM kpi.value WHERE kpi = ? GROUP BY dimension", [kpi]
        ).fetchall()
    )
    is_lane = parts == {"supplying_branch", "pickup_branch"}
    if is_lane and asked["supplying_branch"] == asked["pickup_branch"]:
        raise UserError("What {branch} keeps for itself is counted in no figure.", branch=asked["pickup_branch"])
    if has and (dimension not in has or (dimension == "lane" and not (is_lane or has["lane"]))):
        raise UserError(
            "{kpi} is not computed for that, but by: {known} (total without options, branch with --branch, the others "
            "with --from and --to).",
            kpi=kpi,
            known=", ".join(name for name in ("total", "organisation", "branch", "lane") if name in has),
        )
    bound = {name: asked[name] for name in SCOPE if name in parts}
    where = "".join(f" AND {name} = ${name}" for name in bound)
    found = con.execute(
        "SELECT count(*), sum(value) FROM kpi.value "
        f"WHERE kpi = $kpi AND year = $year AND month = $month AND dimension = $dimension{where}",
        {"kpi": kpi, **period, "dimension": dimension, **bound},
    ).fetchone()
    assert found is not None
    if not found[0]:
        known = con.execute(
            "SELECT DISTINCT CASE WHEN month = 0 THEN year::VARCHAR ELSE format('{}-{:02}', year, month) END AS period "
            "FROM kpi.value WHERE kpi = $kpi AND (month = 0 OR year = $year AND $month > 0) ORDER BY period",
            {"kpi": kpi, **period},
        ).fetchall()
        raise NoFigures(
            "There is no {kpi} of {period}. There is of: {known}.",
            kpi=kpi,
            period=f"{period['year']}-{period['month']:02}" if period["month"] else period["year"],
            known=", ".join(name for (name,) in known) or "–",
        )
    return found[1], bound, asked


def _scope(
    con: duckdb.DuckDBPyConnection, supplier: str | None, pickup: str | None, branch: str | None
) -> dict[str, str]:
    """The five parts of a figure's scope, '' where it does not bind. Raises UserError for what is not known."""
    scope = dict.fromkeys(SCOPE, "")
    branches = con.execute("SELECT branch, name FROM marts.dim_branch ORDER BY branch").fetchall()
    organisations = [(code, code) for (code,) in con.execute(
        "SELECT DISTINCT organisation FROM marts.dim_branch ORDER BY organisation").fetchall()]  # fmt: skip

    def one_of(known: list[tuple[str, str]], text: str) -> str | None:
        for same in (str, str.casefold):
            for code, name in known:
                if same(text) in (same(code), same(name)):
                    return code
        return None

    if branch is not None and (supplier is not None or pickup is not None):
        raise UserError("Give --branch, or --from and --to: not both.")
    for text, side in ((supplier, "supplying"), (pickup, "pickup"), (branch, "")):
        if text is None:
            continue
        code, part = one_of(branches, text), f"{side}_branch" if side else "branch"
        if code is None and side:
            code, part = one_of(organisations, text), f"{side}_organisation"
        if code is None:
            known = branches + organisations if side else branches
            raise UserError(
                "{text} is not in the register. There are: {known}.",
                text=text,
                known=", ".join(code for code, _ in known),
            )
        scope[part] = code
    return scope


# ---------------------------------------------------------------------------------------------- from a file


def files(places: Places, file: str, row: int | None = None) -> list[dict[str, Any]]:
    """What became of a file and of its rows, or of one: as `pendel trace --file --format json` prints it.

    `file` is a path as `quality.file` shows it, one below the raw folder, or the end of one that no other file has.
    A path at which other bytes arrived later gives a file for each, the newest first. Raises UserError for a file that
    is not known, or not the only one, NoFigures when nothing was published yet, Busy while a run writes to bronze.
    """
    with _workshop(places) as con:
        from pendel.bronze import path_key
        from pendel.reading import safe_path
        from pendel.reference import read_reference

        reference = read_reference(places.reference)
        found = dicts(con, _statement("file", {})[0])
        paths = _possible_paths(places, file)
        shown = safe_path(paths[-1], reference)
        keys = {path_key(path) for path in paths}
        chosen = [item for item in found if item["path_key"] in keys]
        chosen = chosen or [item for item in found if item["file"] in paths]
        chosen = chosen or [item for item in found if item["file"] == shown]
        chosen = chosen or [item for item in found if item["file"].endswith(paths[-1])]
        if not chosen:
            raise UserError("{file} is no file that was taken in. `pendel status` tells what was.", file=shown)
        if len({item["path_key"] for item in chosen}) > 1:
            names = sorted({item["file"] for item in chosen})
            raise UserError(
                "{n} files end in {file}: {names}. Give more of the path.",
                n=len({item["path_key"] for item in chosen}),
                file=shown,
                names=", ".join(names[:5]) + (", …" if len(names) > 5 else ""),
            )
        _prepare(con, places, [item["file_id"] for item in chosen], row)
        for item in chosen:
            sql, parameters = _statement("row", {"file_id": item["file_id"], "row": row or 0})
            readable = item["state"] in ("accepted", "partly_accepted", "superseded")
            item["rows"] = dicts(con, sql, parameters) if readable else []
            item["detail"] = json.loads(item["detail"])
            item["row"] = row
            del item["path_key"], item["file_id"]
    return chosen


def _possible_paths(places: Places, file: str) -> list[str]:
    """The paths below the raw folder that somebody may mean; the last one is what was typed."""
    typed = file.replace("\\", "/")
    paths = []
    for path in (Path(os.path.abspath(file)), Path(file).resolve(), places.raw / file):
        if path.is_relative_to(places.raw):
            paths.append(path.relative_to(places.raw).as_posix())
    return [*paths, typed]


@contextmanager
def _workshop(places: Places) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database with the published warehouse and bronze attached, both read-only."""
    with published(places):
        pass  # what is wrong with the published file is told by that
    if not places.bronze.exists():
        raise NoFigures("{file} is not there: what became of a file is kept in it.", file=places.bronze)
    con = duckdb.connect(config=NO_EXTENSIONS | {"memory_limit": "1GB"})
    try:
        con.execute(f"ATTACH '{escaped(places.published)}' AS warehouse (READ_ONLY)")
        attach_store(con, places)
        for schema in ("bronze", "staging", "reference"):
            con.execute(f"ATTACH ':memory:' AS {schema}")
        con.execute("USE warehouse")
        con.execute("CREATE TABLE bronze.file AS SELECT * FROM store.file")
        yield con
    finally:
        con.close()


def _prepare(con: duckdb.DuckDBPyConnection, places: Places, file_ids: list[int], row: int | None) -> None:
    """Build `staging` by its own SQL on the rows of the files' reservations alone, as the published warehouse saw them.

    Bronze is let go of before anything is computed: a night that starts meanwhile must be able to write to it.
    """
    from pendel.bronze import Run
    from pendel.building import create_models, load_reference, upstream
    from pendel.reference import read_reference

    con.execute("DELETE FROM bronze.file WHERE (file_id, run_id) NOT IN (SELECT (file_id, run_id) FROM quality.file)")
    con.execute(
        """
        CREATE TABLE bronze.row AS
            SELECT * FROM store.row WHERE file_id IN (SELECT file_id FROM bronze.file) AND reservation_id IN (
                SELECT reservation_id FROM store.row WHERE file_id IN $file_ids AND ($row = 0 OR row = $row))
        """,
        {"file_ids": file_ids, "row": row or 0},
    )
    con.execute("DETACH store")
    run = con.execute("SELECT run_id, started_at_utc, as_of FROM quality.run WHERE is_this_run").fetchone()
    assert run is not None
    load_reference(con, read_reference(places.reference), Run(*run))
    create_models(con, upstream("staging.told"))


# ---------------------------------------------------------------------------------------------- what they share


def _statement(name: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """A file of `sql/trace/` and the values of the parameters that it has."""
    sql = sql_file("trace", name).sql
    code = "\n".join(line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    return code, {name: values[name] for name in set(re.findall(r"\$(\w+)", code))}
