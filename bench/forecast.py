"""How good the forecast is on simulated years: against seasonal naive, overall and where it is hard.

    python bench/forecast.py [FOLDER] [SEED …]

Simulates two years for each seed (not the demo's, on which the method was made) and builds their warehouse, then makes
the forecast anew as of a day in every eighth week of the second year, so that every week is tried; the register closes
and opens a branch in it. FOLDER keeps what is made, for a second look (a temporary folder without it).
"""

from __future__ import annotations

import datetime as dt
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from pendel import reference
from pendel.places import PROJECT, Places
from pendel.simulate import simulate
from tests.pipeline import night

YEARS = (2023, 2024)
REGISTER = PROJECT / "data" / "reference"
MODELS = ("forecast_profile", "forecast_trial", "forecast_error")
SCORED = """
    weeks_back > 0 AND sent IS NOT NULL AND naive_items IS NOT NULL AND forecast_items IS NOT NULL
    AND supplying_branch <> '' AND pickup_branch <> ''
"""


def warehouse(folder: Path, seed: int) -> Path:
    """The warehouse of two simulated years."""
    places = Places.of(raw=folder / "raw", reference=REGISTER, warehouse=folder / "warehouse")
    if not places.published.exists():
        for year in YEARS:
            simulate(year, places.raw, REGISTER, seed=seed, continues=year > YEARS[0])
        night(places, dt.date(YEARS[-1] + 1, 1, 1))
    return places.published


def trials(published: Path) -> duckdb.DuckDBPyConnection:
    """All trials of the last year: the models of the forecast, built as of several days."""
    network = reference.read_reference(REGISTER)
    con = duckdb.connect()
    con.execute(f"ATTACH '{published}' AS built (READ_ONLY)")
    con.execute("CREATE SCHEMA marts; CREATE SCHEMA reference; CREATE TABLE reference.run (as_of DATE)")
    for name in ("agg_lane_day", "feed_day"):
        con.execute(f"CREATE VIEW marts.{name} AS FROM built.marts.{name}")
    con.execute("CREATE TABLE reference.branch (branch VARCHAR, opened_on DATE, closed_on DATE)")
    periods = [[b.branch, b.opened_on, b.closed_on] for b in network.branches]
    con.executemany("INSERT INTO reference.branch VALUES (?, ?, ?)", periods)
    con.execute("CREATE TABLE reference.transport_day AS SELECT date FROM built.marts.dim_date WHERE is_transport_day")
    seconds = []
    for week in range(8, 53, 8):
        as_of = dt.date(YEARS[-1], 1, 1) + dt.timedelta(weeks=week)
        con.execute("DELETE FROM reference.run")
        con.execute("INSERT INTO reference.run VALUES (?)", [as_of])
        start = time.process_time()
        for name in MODELS:
            sql = (PROJECT / "sql" / "marts" / f"{name}.sql").read_text(encoding="utf-8")
            con.execute(f"CREATE OR REPLACE TABLE marts.{name} AS {sql}")
        seconds.append(time.process_time() - start)
        kept = f"SELECT *, DATE '{as_of}' AS as_of FROM marts.forecast_trial WHERE {SCORED}"
        con.execute(f"{'CREATE TABLE trial AS' if week == 8 else 'INSERT INTO trial'} {kept}")
    print(f"  {sum(seconds) / len(seconds):.2f} s of processor time a forecast with its trials")
    return con


def tell(con: duckdb.DuckDBPyConnection, closing: str, closed_on: dt.date) -> None:
    """Print the errors, per group of trials."""
    easter = "(SELECT date FROM built.marts.dim_date WHERE year = year(as_of) AND holiday = 'Tweede paasdag')"
    near = f"BETWEEN DATE '{closed_on}' - 28 AND DATE '{closed_on}' + 100"
    for name, where in {
        "all lanes": "true",
        "sparse lanes (below 1 a day)": "expected_items < 1",
        "very sparse (below 0,5 a day)": "expected_items < 0.5",
        "a branch that closes, around it": f"'{closing}' IN (supplying_branch, pickup_branch) AND date {near}",
        "the others, around that": f"'{closing}' NOT IN (supplying_branch, pickup_branch) AND date {near}",
        "the week after Easter": f"date - 1 BETWEEN {easter} AND {easter} + 6",
        "seasonal naive by its own choice": "method = 'naive'",
    }.items():
        row = con.execute(
            f"""
            SELECT count(*), sum(abs(forecast_items - sent)) / sum(sent), sum(abs(naive_items - sent)) / sum(sent),
                1 - sum(abs(forecast_items - sent)) / sum(abs(naive_items - sent)),
                avg((sent BETWEEN low_items AND high_items)::INTEGER)
            FROM trial WHERE {where}
            """
        ).fetchone()
        if row and row[0]:
            n, wape, naive, better, held = row
            print(
                f"  {name:34}{n:7}  error {wape:6.3f}  naive {naive:6.3f}  smaller by {better:6.1%}  band {held:6.1%}"
            )


def main() -> None:
    """Measure all seeds."""
    seeds = [int(seed) for seed in sys.argv[2:]] or [101, 102, 103]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(temporary)
        network = reference.read_reference(REGISTER)
        closing, closed_on = max(
            (b.branch, b.closed_on) for b in network.branches if b.closed_on and b.closed_on.year == YEARS[-1]
        )
        for seed in seeds:
            print(f"seed {seed}")
            tell(trials(warehouse(folder / str(seed), seed)), closing, closed_on)


if __name__ == "__main__":
    main()
