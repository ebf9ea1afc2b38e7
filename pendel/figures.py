"""Reading what was published: key figures, status, quarantine, and queries of analysts.

Nothing is computed here: the numbers are selected from the relations that `sql/` built.
"""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any

import duckdb

from pendel.places import NO_EXTENSIONS, Busy, Places, UserError, escaped, is_held, write_whole

FILE_STATES = ["accepted", "partly_accepted", "rejected", "superseded", "skipped"]
LEG_STATES = ["requested", "in_transit", "delivered", "local", "unconfirmed", "cancelled", "superseded"]
TASKS = ["deliver_export", "register_receipt", "find_at_pickup", "find_at_supplier", "send"]
"""What a branch can be asked on its search list, in this order."""
WHOLE_UNITS = {"reservations", "balance"}
"""Units whose values are whole numbers."""


MOST_ROWS = 1_000_000
"""The most rows of an answer to a query: what the command line shows is held in memory."""

QUESTIONS = {duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI}
"""The statements that a query may be; DuckDB takes apart a PIVOT whose columns it has to find (MULTI)."""


OF_BEFORE = (duckdb.CatalogException, duckdb.BinderException)
"""What DuckDB raises when a warehouse that an older version published lacks a relation or column that is asked for."""


class NoFigures(UserError):
    """Nothing was published yet, or nothing for that period."""


@contextmanager
def published(places: Places) -> Iterator[duckdb.DuckDBPyConnection]:
    """The published warehouse, read-only, shut off from the machine's other files and from extensions, with no more
    of the machine than a query needs. What is set here cannot be set otherwise by what is asked.

    Raises NoFigures when nothing was published yet, UserError when the file is damaged.
    """
    if not places.published.exists():
        raise NoFigures(
            "{file} is not there: nothing was published yet. Run `pendel nightly` first.", file=places.published
        )
    try:
        with duckdb.connect(
            str(places.published),
            read_only=True,
            config=NO_EXTENSIONS
            | {
                "enable_external_access": "false",
                "memory_limit": "1GB",
                "threads": "2",
                "temp_directory": "",  # what does not fit in memory is refused, and fills no disk
                "lock_configuration": "true",
            },
        ) as con:
            yield con
    except duckdb.Error as error:
        # DuckDB compares the checksum of each block that it reads; without a first block it knows no database.
        if not isinstance(error, duckdb.IOException) and "Corrupt database" not in str(error):
            raise
        raise UserError(
            "{file} cannot be read. If it is damaged, run `pendel nightly`: it builds it again. (DuckDB says: {error})",
            file=places.published,
            error=str(error).splitlines()[0],
        ) from None


def attach_store(con: duckdb.DuckDBPyConnection, places: Places) -> None:
    """Attach bronze, read-only, as `store`. While it is attached no run can write: detach it before computing.

    Raises Busy while a run writes to it, UserError when it cannot be opened for another reason.
    """
    try:
        con.execute(f"ATTACH '{escaped(places.bronze)}' AS store (READ_ONLY)")
    except duckdb.IOException as error:
        if is_held(error):
            raise Busy("{file} is held by a run that is busy. Try again when it is done.", file=places.bronze) from None
        raise UserError(
            "{file} cannot be opened. Is it open in another program? (DuckDB says: {error})",
            file=places.bronze,
            error=str(error).splitlines()[0],
        ) from None


def dicts(con: duckdb.DuckDBPyConnection, sql: str, parameters: object = None) -> list[dict[str, Any]]:
    """The rows of a query, each a dictionary by the names of its columns."""
    result = con.execute(sql, parameters)
    names = [column[0] for column in result.description or []]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


DIMENSIONS: dict[str, list[str]] = {
    "total": [],
    "organisation": ["supplying_organisation", "pickup_organisation"],
    "branch": ["branch"],
    "lane": ["supplying_branch", "pickup_branch"],
    "month": [],
}
"""What `--by` can be, and the parts of the dimension that it prints."""


def key_figures(places: Places, year: int | None, month: int | None, by: str) -> dict[str, Any]:
    """The key figures of a period, as `pendel kpi --format json` prints them. Without a year: the newest there is.

    `exports_from` is the day of the first export, where that lies after the beginning of the period.

    Raises NoFigures when there are none of that period.
    """
    with published(places) as con:
        run = dicts(con, "SELECT run_id, started_at_utc, as_of FROM quality.run WHERE is_this_run")[0]
        if year is None:
            newest = con.execute("SELECT max(year) FROM kpi.value").fetchone()
            year = newest[0] if newest and newest[0] else run["as_of"].year
        rows = dicts(
            con,
            """
            SELECT v.*, d.label_nl, d.label_en, p.published, p.difference
            FROM kpi.value AS v
            JOIN kpi.definition AS d ON v.kpi = d.kpi
            LEFT JOIN kpi.published AS p
                ON v.kpi = p.kpi AND v.year = p.year AND v.month = 0 AND v.dimension = 'total'
            WHERE v.year = $year AND v.dimension = $dimension
                AND CASE WHEN $by_month THEN v.month > 0 AND (v.month = $month OR $month = 0) ELSE v.month = $month END
            ORDER BY d.position, v.month, v.supplying_organisation, v.pickup_organisation, v.supplying_branch,
                v.pickup_branch, v.branch
            """,
            {
                "year": year,
                "dimension": "total" if by == "month" else by,
                "by_month": by == "month",
                "month": month or 0,
            },
        )
        begun = dicts(
            con,
            """
            SELECT min(f.export_date) AS first FROM marts.feed_day AS f
            WHERE f.state <> 'not_begun'
            HAVING EXISTS (
                FROM marts.dim_date AS d
                WHERE d.is_export_day AND d.date < min(f.export_date)
                    AND d.year = $year AND (d.month = $month OR $month = 0))
            """,
            {"year": year, "month": month or 0},
        )
    if not rows:
        period = f"{year}-{month:02}" if month else str(year)
        raise NoFigures("There are no figures of {period}: no exports of it were taken in.", period=period)
    return {
        "year": year,
        **({"month": month} if month else {}),
        "generated_at": f"{run['started_at_utc']:%Y-%m-%dT%H:%M:%SZ}",
        "kpis": [
            {
                "id": row["kpi"],
                "dimension": {"month": f"{year}-{row['month']:02}"}
                if by == "month"
                else {name: row[name] for name in DIMENSIONS[by]},
                "value": rounded(row["value"], row["unit"]),
                "unit": row["unit"],
                "label": {"nl": row["label_nl"], "en": row["label_en"]},
                "completeness": None if row["completeness"] is None else round(row["completeness"], 6),
                "published": rounded(row["published"], row["unit"]),
                "difference": rounded(row["difference"], row["unit"]),
            }
            for row in rows
        ],
        "simulated": places.simulated.exists(),
        "exports_from": str(begun[0]["first"]) if begun else None,
    }


def lanes(places: Places, year: int | None, month: int | None) -> dict[str, Any]:
    """How each lane did in a period (`kpi.lane`), the busiest first: `year`, `month`, `norm` (transport days) and
    `lanes`, each the columns of the relation. Without a year: the newest there is.

    Raises NoFigures when there is nothing of that period.
    """
    with published(places) as con:
        found = dicts(
            con,
            """
            SELECT l.* EXCLUDE (year, month)
            FROM kpi.lane AS l
            WHERE l.year = coalesce($year, (SELECT max(year) FROM kpi.lane)) AND l.month = $month
            ORDER BY l.delivered DESC, l.supplying_branch, l.pickup_branch
            """,
            {"year": year, "month": month or 0},
        )
        newest = con.execute("SELECT max(year) FROM kpi.lane").fetchone()
        norm = con.execute("SELECT transit_norm_transport_days FROM marts.parameter").fetchone()
    assert newest is not None
    assert norm is not None
    year = year or newest[0]
    if not found:
        period = f"{year}-{month:02}" if month else str(year or "")
        raise NoFigures("There are no figures of {period}: no exports of it were taken in.", period=period)
    return {"year": year, "month": month, "norm": norm[0], "lanes": [rounded_row(lane) for lane in found]}


def rounded_row(row: dict[str, Any]) -> dict[str, Any]:
    """A row with its floats to six decimals: what is beyond them differs between machines."""
    return {name: round(value, 6) if isinstance(value, float) else value for name, value in row.items()}


def lending_balances(places: Places, year: int | None, month: int | None) -> dict[str, Any]:
    """What each branch lent and borrowed in a period (`kpi.value`), the largest balance first: `year`, `month` and
    `branches`, each with `branch`, `supplied`, `received`, `balance`. The balances add up to zero.

    Raises NoFigures when there is nothing of that period.
    """
    found = key_figures(places, year, month, "branch")
    branches: dict[str, dict[str, Any]] = {}
    parts = {"deliveries_supplied": "supplied", "deliveries_total": "received", "lender_balance": "balance"}
    for item in found["kpis"]:
        if item["id"] in parts:
            code = item["dimension"]["branch"]
            branches.setdefault(code, {"branch": code})[parts[item["id"]]] = item["value"]
    ordered = sorted(branches.values(), key=lambda branch: (-branch["balance"], branch["branch"]))
    names = ("branch", "supplied", "received", "balance")
    return {
        "year": found["year"],
        "month": month,
        "branches": [{name: branch[name] for name in names} for branch in ordered],
    }


def branch_names(places: Places) -> dict[str, str]:
    """Branch → its name, for people to read."""
    with published(places) as con:
        return dict(con.execute("SELECT branch, name FROM marts.dim_branch").fetchall())


def rounded(value: float | None, unit: str) -> int | float | None:
    """A figure as it is shown to programs: whole where its unit counts something, else to six digits."""
    if value is None:
        return None
    return round(value) if unit in WHOLE_UNITS else round(value, 6)


@dataclass
class RunResult:
    """What a run found and decided; `runs/<run_id>/result.json`, and what `pendel status` tells."""

    run_id: str
    started_at: str
    as_of: str
    finished_at: str | None = None
    published: bool = False
    held_back_by: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    failed_branches: list[str] = field(default_factory=list)
    files_seen: int = 0
    files_new: int = 0
    summary: dict[str, Any] = field(default_factory=dict)
    error: str | None = None

    def write(self, places: Places) -> None:
        """Keep the result; a reader sees the old one or the new one, never half."""
        folder = places.runs / self.run_id
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "result.json", json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def runs(places: Places) -> Iterator[RunResult]:
    """All runs, finished or not, the newest first."""
    for path in sorted(places.runs.glob("*/result.json"), reverse=True):
        yield RunResult(**json.loads(path.read_text(encoding="utf-8")))


def last_run(places: Places) -> RunResult | None:
    """The newest run, finished or not; None when there was none."""
    return next(runs(places), None)


def messages(places: Places) -> list[dict[str, Any]]:
    """What people were told, a message a recipient and line, the oldest first; one sent again stands twice."""
    if not places.messages.exists():
        return []
    found = []
    for line in places.messages.read_bytes().split(b"\n"):
        with suppress(ValueError):  # half a line, of a run that was killed or a full disk
            found.append(json.loads(line))
    return found


def unsent_messages(places: Places) -> list[dict[str, Any]]:
    """The last message to each recipient, where it could not be sent; one to nobody is about the settings."""
    last = {line["to"]: line for line in messages(places)}
    if "" in last and any(line["sent"] and line["at"] >= last[""]["at"] for line in last.values()):
        del last[""]  # the settings were mended since
    return [line for line in last.values() if not line["sent"]]


def summary(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What a built warehouse holds, over everything ever delivered: the sums of `pendel status`.

    `con` is open on the warehouse; no exports are expected of the day of the run itself.
    """

    def counts(sql: str, names: list[str]) -> dict[str, int]:
        found = dict(con.execute(sql).fetchall())
        return {name: found.get(name, 0) for name in names}

    rows = dicts(
        con,
        "SELECT coalesce(sum(rows_read), 0)::INTEGER AS read, coalesce(sum(rows_accepted), 0)::INTEGER AS accepted, "
        "coalesce(sum(rows_quarantined), 0)::INTEGER AS quarantined, "
        "coalesce(sum(rows_duplicate), 0)::INTEGER AS duplicate FROM quality.file",
    )[0]
    branches = dicts(
        con,
        """
        WITH feed AS (
            SELECT
                branch, count(*) FILTER (state <> 'not_begun') AS expected,
                count(*) FILTER (state IN ('received', 'late')) AS arrived,
                count(*) FILTER (state = 'late') AS late, count(*) FILTER (state = 'rejected') AS rejected,
                count(*) FILTER (state = 'missing') AS missing,
                list(export_date ORDER BY export_date DESC) FILTER (state = 'missing')[:3] AS missing_dates,
                max(export_date) FILTER (state IN ('received', 'late')) AS last_export
            FROM marts.feed_day GROUP BY branch
        ),
        held AS (
            -- a row that a correction drops needs nobody any more
            SELECT branch, count(*) AS rows_held FROM quality.quarantined_row
            WHERE NOT is_superseded AND rule <> 'dropped_by_correction' GROUP BY branch
        ),
        refused AS (
            SELECT branch, count(*) AS files_rejected FROM quality.file WHERE state = 'rejected' AND NOT is_settled
            GROUP BY branch
        ),
        unconfirmed AS (
            SELECT pickup_branch AS branch, count(*) AS unconfirmed FROM marts.fct_leg WHERE state = 'unconfirmed'
            GROUP BY pickup_branch
        ),
        named AS (
            SELECT branch, name, organisation FROM marts.dim_branch
            UNION ALL
            SELECT DISTINCT branch, branch, '' FROM quality.file
            WHERE branch NOT IN (SELECT branch FROM marts.dim_branch)
        )
        SELECT
            n.branch, n.name, n.organisation, coalesce(d.expected, 0) AS expected, coalesce(d.arrived, 0) AS arrived,
            coalesce(d.late, 0) AS late, coalesce(d.rejected, 0) AS rejected, coalesce(d.missing, 0) AS missing,
            coalesce(d.missing_dates, []) AS missing_dates, d.last_export,
            coalesce(r.files_rejected, 0) AS files_rejected, coalesce(h.rows_held, 0) AS rows_held,
            coalesce(u.unconfirmed, 0) AS unconfirmed
        FROM named AS n
        LEFT JOIN feed AS d ON n.branch = d.branch
        LEFT JOIN held AS h ON n.branch = h.branch
        LEFT JOIN refused AS r ON n.branch = r.branch
        LEFT JOIN unconfirmed AS u ON n.branch = u.branch
        ORDER BY files_rejected + rejected DESC, missing DESC, rows_held DESC, late DESC, n.branch
        """,
    )
    for branch in branches:
        branch["last_export"] = str(branch["last_export"]) if branch["last_export"] else None
        branch["missing_dates"] = [str(day) for day in branch["missing_dates"]]
    drift = dicts(
        con,
        """
        WITH named AS (SELECT branch, name FROM marts.dim_branch UNION ALL SELECT '', '')
        SELECT
            d.* REPLACE (d.since::VARCHAR AS since, d.until::VARCHAR AS until),
            CASE WHEN d.branch = '' THEN s.name || ' → ' || p.name ELSE coalesce(b.name, d.branch) END AS place,
            coalesce(o.name, d.other_branch) AS other_place
        FROM marts.drift AS d
        LEFT JOIN named AS b ON d.branch = b.branch
        LEFT JOIN named AS o ON d.other_branch = o.branch
        LEFT JOIN named AS s ON d.supplying_branch = s.branch
        LEFT JOIN named AS p ON d.pickup_branch = p.branch
        ORDER BY d.kind, d.figure, d.branch, d.supplying_branch, d.pickup_branch
        """,
    )
    return {
        "drift": drift,
        "files": counts("SELECT state, count(*) FROM quality.file GROUP BY state", FILE_STATES),
        "rows": rows,
        "legs": counts("SELECT state, count(*) FROM marts.fct_leg GROUP BY state", LEG_STATES),
        "feed": {name: sum(b[name] for b in branches) for name in ("expected", "arrived", "late", "missing")},
        "branches": branches,
        "rules": dict(
            con.execute(
                "SELECT rule, count(*) FROM quality.quarantined_row WHERE NOT is_superseded GROUP BY rule ORDER BY rule"
            ).fetchall()
        ),
        "warned_rows": dict(
            con.execute("SELECT rule, count(*) FROM quality.warning GROUP BY rule ORDER BY rule").fetchall()
        ),
        "published_figures": [
            row | {name: rounded(row[name], row["unit"]) for name in ("published", "computed", "difference")}
            for row in dicts(
                con,
                "SELECT p.* EXCLUDE (source), coalesce(d.unit, 'reservations') AS unit FROM kpi.published AS p "
                "LEFT JOIN kpi.definition AS d ON p.kpi = d.kpi ORDER BY p.year, p.kpi",
            )
        ],
        "corrections": dicts(con, "SELECT * FROM quality.correction ORDER BY correction"),
        "closed_years": [_closed_year(con, row) for row in dicts(con, "SELECT * FROM kpi.closed_year ORDER BY year")],
    }


MOST_CAUSES = 5
"""The most files that are named as the cause of a restatement."""


def _closed_year(con: duckdb.DuckDBPyConnection, closed: dict[str, Any]) -> dict[str, Any]:
    """A closed year, with the figures of the whole year that are computed differently now, and why that may be."""
    restated = dicts(
        con,
        "SELECT r.kpi, d.label_nl, d.label_en, d.unit, r.frozen, r.computed, r.difference FROM kpi.restatement AS r "
        "JOIN kpi.definition AS d ON r.kpi = d.kpi WHERE r.year = ? AND r.month = 0 AND r.dimension = 'total' "
        "ORDER BY d.position",
        [closed["year"]],
    )
    files = con.execute(
        f"SELECT file FROM marts.closed_year_file WHERE year = ? ORDER BY file_id DESC LIMIT {MOST_CAUSES}",
        [closed["year"]],
    ).fetchall()
    counted = con.execute("SELECT count(*) FROM kpi.restatement WHERE year = ?", [closed["year"]]).fetchone()
    return closed | {
        "closed_at_utc": f"{closed['closed_at_utc']:%Y-%m-%dT%H:%M:%SZ}",
        "restated_figures": counted[0] if counted else 0,
        "restatements": [
            {
                "kpi": row["kpi"],
                "label": {"nl": row["label_nl"], "en": row["label_en"]},
                "unit": row["unit"],
                **{name: rounded(row[name], row["unit"]) for name in ("frozen", "computed", "difference")},
            }
            for row in restated
        ],
        "last_late_files": [file for (file,) in files],
    }


def status(places: Places) -> dict[str, Any]:
    """The last run and the sums over everything ever delivered, as `pendel status --format json` prints them.

    Raises NoFigures when there was no run yet.
    """
    run = last_run(places)
    if run is None:
        raise NoFigures("There was no run yet in {folder}. Run `pendel nightly` first.", folder=places.warehouse)
    sums = run.summary or _summary_of_published(places)
    return {
        "last_run": {
            "id": run.run_id,
            "started_at": run.started_at,
            "finished_at": run.finished_at,
            "as_of": run.as_of,
            "published": run.published,
            "held_back_by": run.held_back_by,
            "warnings": run.warnings,
            "failed_branches": run.failed_branches,
            "error": run.error,
        },
        **sums,
        "unsent_messages": [
            {name: line[name] for name in ("at", "to", "subject", "error")} for line in unsent_messages(places)
        ],
        "needs_attention": needs_attention(run, sums) or bool(unsent_messages(places)),
    }


def arrived(sums: dict[str, Any]) -> bool:
    """Whether any export arrived that could be used."""
    return bool(sums["files"]["accepted"] + sums["files"]["partly_accepted"])


def _summary_of_published(places: Places) -> dict[str, Any]:
    with published(places) as con:
        return summary(con)


def needs_attention(run: RunResult, sums: dict[str, Any]) -> bool:
    """Whether somebody has to do something: the exit code of `pendel status`."""
    return bool(
        not run.published
        or not arrived(sums)
        or run.failed_branches
        or run.warnings
        or any(b["files_rejected"] or b["rows_held"] or b["missing"] or b["rejected"] or b["unconfirmed"]
               for b in sums["branches"])
    )  # fmt: skip


def quarantine(places: Places) -> list[dict[str, Any]]:
    """The rows that are held and the files that were rejected: branch, file, row (None for a file), rule, detail,
    export_date, columns (what is wrong where: `column`, the `header` that it has in the file, and its `value`, '***'
    where it may not be shown), and settled (a rejected file that needs nobody any more).
    """
    from pendel.contracts import export_formats  # `pendel --help` reads no YAML

    with published(places) as con:
        rows = dicts(
            con,
            """
            SELECT
                f.branch, f.file, NULL AS row, f.reason AS rule, f.detail, f.export_date, f.format,
                [] AS wrong_columns, [] AS wrong_values, f.is_settled AS settled
            FROM quality.file AS f
            WHERE f.state = 'rejected'
            UNION ALL
            SELECT
                q.branch, q.file, q.row, q.rule, '{}', f.export_date, f.format, q.wrong_columns, q.wrong_values, false
            FROM quality.quarantined_row AS q JOIN quality.file AS f USING (file_id)
            WHERE NOT q.is_superseded
            ORDER BY branch, file, row NULLS FIRST
            """,
        )
    for row in rows:
        row["detail"] = json.loads(row["detail"])
        spec = export_formats().get(row.pop("format"))
        wrong = zip(row.pop("wrong_columns"), row.pop("wrong_values"), strict=True)
        row["columns"] = [
            {"column": column, "header": spec.columns.get(column, column) if spec else column, "value": value}
            for column, value in wrong
        ]
    return rows


def morning(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What the morning page tells besides the last run, of the warehouse that `con` is open on.

    `as_of`; `names` and `organisations` (branch → name, organisation); `feed` (branch, export_date, state, rows), four
    weeks of it; `lanes`, the rows of marts.lane_usual; `under_way` (pickup_branch, by transport days since the sending:
    fresh 0 and 1, due 2, late from 3 on, overdue, unknown; oldest: the first day of sending); `days` (date, delivered,
    mean of seven days) of eight weeks; `this_year`: deliveries of the year of the day before the run; `absent`: which
    of these a warehouse of an older version cannot tell, and are empty.

    Raises one of OF_BEFORE when it cannot tell even its run and branches.
    """
    run = dicts(con, "SELECT run_id, as_of FROM quality.run WHERE is_this_run")[0]
    absent = []

    def part(name: str, sql: str, parameters: object = None) -> list[dict[str, Any]]:
        try:
            return dicts(con, sql, parameters)
        except OF_BEFORE:
            absent.append(name)
            return []

    day = {"as_of": run["as_of"]}
    this_year = part(
        "this_year",
        "SELECT max(value)::INTEGER AS deliveries FROM kpi.value WHERE kpi = 'deliveries_total' "
        "AND dimension = 'total' AND month = 0 AND year = year($as_of::DATE - 1)",
        day,
    )
    part("ahead", "SELECT 1 FROM marts.forecast_branch_day, marts.forecast_lane_day, marts.forecast_error LIMIT 0")
    return {
        **run,
        "names": dict(con.execute("SELECT branch, name FROM marts.dim_branch ORDER BY name").fetchall()),
        "organisations": dict(con.execute("SELECT branch, organisation FROM marts.dim_branch").fetchall()),
        "feed": part(
            "feed",
            """
            SELECT d.branch, d.export_date, d.state, coalesce(f.rows_read, 0) AS rows
            FROM marts.feed_day AS d
            LEFT JOIN quality.file AS f ON d.file_id = f.file_id
            WHERE d.export_date >= $as_of::DATE - 28
            ORDER BY d.export_date, d.branch
            """,
            day,
        ),
        "lanes": part(
            "lanes",
            """
            SELECT supplying_branch, pickup_branch, date, delivered, is_told, usually_delivered, least_delivered,
                most_delivered, is_unusual
            FROM marts.lane_usual
            ORDER BY supplying_branch, pickup_branch
            """,
        ),
        "under_way": part(
            "under_way",
            """
            SELECT
                pickup_branch,
                count(*) FILTER (in_transit_transport_days <= 1) AS fresh,
                count(*) FILTER (in_transit_transport_days = 2) AS due,
                count(*) FILTER (in_transit_transport_days >= 3 AND NOT is_overdue) AS late,
                count(*) FILTER (is_overdue) AS overdue,
                count(*) FILTER (in_transit_transport_days IS NULL) AS unknown,
                min(shipped_at)::DATE AS oldest
            FROM marts.under_way
            GROUP BY pickup_branch
            ORDER BY overdue DESC, late DESC, pickup_branch
            """,
        ),
        "days": part(
            "days",
            """
            WITH day AS (
                SELECT d.date, d.holiday, coalesce(sum(l.delivered), 0)::INTEGER AS delivered
                FROM marts.dim_date AS d
                LEFT JOIN marts.agg_lane_day AS l ON d.date = l.date
                WHERE d.date BETWEEN $as_of::DATE - 63 AND $as_of::DATE - 1
                GROUP BY d.date, d.holiday
            )
            SELECT *, avg(delivered) OVER (ORDER BY date ROWS 6 PRECEDING) AS mean
            FROM day
            QUALIFY row_number() OVER (ORDER BY date DESC) <= 56
            ORDER BY date
            """,
            day,
        ),
        "this_year": this_year[0]["deliveries"] if this_year else None,
        "absent": absent,
    }


def search_items(places: Places, branch: str | None = None) -> list[dict[str, Any]]:
    """What branches must look for, send, deliver or register (`marts.search_item`), by branch and task, the longest
    waiting first; of all branches, or of one by its code or name.

    Each item has the columns of the relation, the branch's `name`, and of both sides' rows the file
    (`supplier_file`, `pickup_file`) and the day of its export (`supplier_export_date`, `pickup_export_date`).
    Raises UserError for a branch that is not in the register, NoFigures when nothing was published yet.
    """
    with published(places) as con:
        known = con.execute("SELECT branch, name FROM marts.dim_branch ORDER BY branch").fetchall()
        wanted = [code for code, name in known if branch and branch.lower() in (code.lower(), name.lower())]
        if branch is not None and not wanted:
            raise UserError(
                "{text} is not in the register. There are: {known}.",
                text=branch,
                known=", ".join(code for code, _name in known),
            )
        return dicts(
            con,
            """
            SELECT
                b.name, i.branch, i.task, i.pickup_organisation, i.reservation_id, i.supplying_branch, i.pickup_branch,
                i.supplying_organisation, i.item_barcode, i.material_type, i.since, i.waiting_transport_days,
                i.told_by_export_of, i.told_by_export_state, i.supplier_file_id, i.supplier_row, i.pickup_file_id,
                i.pickup_row, s.file AS supplier_file, s.export_date AS supplier_export_date,
                p.file AS pickup_file, p.export_date AS pickup_export_date
            FROM marts.search_item AS i
            JOIN marts.dim_branch AS b ON i.branch = b.branch
            LEFT JOIN quality.file AS s ON i.supplier_file_id = s.file_id
            LEFT JOIN quality.file AS p ON i.pickup_file_id = p.file_id
            WHERE len($wanted) = 0 OR i.branch IN (SELECT unnest($wanted))
            ORDER BY
                b.name, list_position($tasks, i.task), i.waiting_transport_days DESC, i.since, i.pickup_organisation,
                i.reservation_id, i.supplying_branch
            """,
            {"wanted": wanted, "tasks": TASKS},
        )


def as_of(places: Places) -> dt.date:
    """The day that the run whose warehouse is published took for today. Raises NoFigures when there is none."""
    with published(places) as con:
        found = con.execute("SELECT as_of FROM quality.run WHERE is_this_run").fetchone()
    assert found is not None
    day: dt.date = found[0]
    return day


def query(places: Places, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Run one read-only statement on the published warehouse: column names and rows.

    Raises UserError for several statements, for one that asks nothing, for an answer of more than MOST_ROWS rows, and,
    with what DuckDB says, for a statement that DuckDB refuses.
    """
    if not sql.strip():
        raise UserError("Give a question in SQL, such as: SELECT * FROM kpi.published")
    with published(places) as con:
        try:
            statements = con.extract_statements(sql)
            if len(statements) > 1:
                raise UserError("This is more than one statement. Ask one question at a time, without ; in between.")
            if not statements or statements[0].type not in QUESTIONS:
                raise UserError(
                    "The published warehouse is only read: ask a question, such as SELECT * FROM kpi.published"
                )
            result = con.execute(statements[0])
            names = [column[0] for column in result.description or []]  # gone once the last row is fetched
            rows = result.fetchmany(MOST_ROWS + 1)
        except duckdb.Error as error:
            raise UserError("DuckDB says: {error}", error=error) from None
        except ValueError:  # a statement so new that DuckDB's bindings have no name for its kind
            raise UserError(
                "The published warehouse is only read: ask a question, such as SELECT * FROM kpi.published"
            ) from None
    if len(rows) > MOST_ROWS:
        raise UserError(
            "The answer has more than {n} rows. Ask for less, with WHERE, GROUP BY or LIMIT, or open {file} in Python "
            "or R.",
            n=MOST_ROWS,
            file=places.published,
        )
    return names, rows


def plain(value: Any) -> Any:
    """A value of DuckDB as JSON knows it: decimals are numbers, what is no number is nothing, keys are texts."""
    if isinstance(value, Decimal):
        return (int(value) if value == value.to_integral_value() else float(value)) if value.is_finite() else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, str | int) else str(value)


def today(time_zone: str) -> dt.date:
    """The day it is in the network's time zone."""
    from zoneinfo import ZoneInfo

    return dt.datetime.now(ZoneInfo(time_zone)).date()
