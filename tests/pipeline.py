"""A night without Prefect: what `flows/nightly.py` does, for tests that are about something else than the flow."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import bronze, building, figures, gates, history, reading
from pendel.places import Places
from pendel.reference import read_reference
from pendel.simulate import simulate

AS_OF = dt.date(2024, 5, 10)

# Two organisations, three formats, a branch that moves and changes its code; six weeks, so that a night takes a second.
BRANCHES = """\
branch,name,organisation,municipality,ils_code,export_format,opened_on,closed_on
aa,A one,X,,0060,fmb_csv,2024-03-18,2024-04-27
ab,A two,X,,060,fmb_csv,2024-03-18,2024-03-30
ab,A two again,X,,061,dnb_tsv,2024-04-15,2024-04-27
ba,B one,Y,,60,dnb_tsv,2024-03-18,2024-04-27
bb,B two,Y,,7,excel,2024-03-18,2024-04-27
"""
PUBLISHED = "year,kpi,value,source\n2024,deliveries_total,241,none\n2024,deliveries_between_organisations,101,none\n"


def night(places: Places, as_of: dt.date, checked: bool = False, afresh: bool = False) -> dict[str, Any]:
    """Take in, build and publish; returns `figures.summary`.

    With `checked`, the gates run too (seconds); with `afresh`, the store is made again.
    """
    reference = read_reference(places.reference)
    run = bronze.Run.start(as_of, places)
    with bronze.locked(places, run):
        plan = bronze.plan_afresh(places) if afresh else bronze.plan(places, reference)
        batches = [reading.read_files(places.raw, files, plan.known, reference) for files in plan.files.values()]
        if afresh:
            bronze.start_afresh(places, run, plan, batches)
        bronze.take_in(places, reference, run, batches, gates.judge_rows if checked else count_rules, plan.withdrawn)
        with building.built(places, reference, run, afresh) as build:
            results = gates.check_build(build.con, build.renewed) if checked else []
            if checked:
                assert gates.decide(results).publish, [result for result in results if not result.passed]
            building.finish(build, run, results)
            history.record(places, build, run, results)
            summary = figures.summary(build.con)
            building.publish(build, places)
    return summary


def simulated(folder: Path, reference: Path, year: int, as_of: dt.date) -> Places:
    """An installation in a folder that took in and published a simulated year."""
    simulate(year, folder / "raw", reference)
    places = places_in(folder, reference)
    night(places, as_of)
    return places


def count_rules(con: Any, rules: Any) -> list[bronze.RuleResult]:
    """The row rules counted by plain SQL instead of Great Expectations, which takes seconds to import."""
    counts = [con.execute(f"SELECT count(*) FROM incoming WHERE {rule.where}").fetchone()[0] for rule in rules]
    return [bronze.RuleResult(rule.rule, rule.action, count) for rule, count in zip(rules, counts, strict=True)]


def places_in(folder: Path, reference: Path | None = None) -> Places:
    """An installation in a folder, with its own raw and warehouse folders."""
    (folder / "raw").mkdir(parents=True, exist_ok=True)
    return Places.of(raw=folder / "raw", reference=reference, warehouse=folder / "warehouse")


def spied_on_databases(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the databases that are attached whenever the reference data are loaded, from now on."""
    attached: list[str] = []
    load = building.load_reference

    def spy(con: duckdb.DuckDBPyConnection, *rest: Any) -> None:
        attached.extend(name for (name,) in con.execute("SELECT database_name FROM duckdb_databases()").fetchall())
        load(con, *rest)

    monkeypatch.setattr(building, "load_reference", spy)
    return attached
