"""What there is to carry on the transport days to come, as the last run forecast it, and how good that has been.

Nothing is computed here: `sql/marts/forecast_*.sql` does, and `docs/forecast.md` says how.
"""

from __future__ import annotations

from typing import Any

from pendel.figures import OF_BEFORE, NoFigures, dicts, published, rounded_row
from pendel.places import Places, UserError

BY = {"branch": ["branch", "direction"], "lane": ["supplying_branch", "pickup_branch", "method"]}
"""What a forecast can be split by, and the columns that say of what a row is."""


def forecast(places: Places, by: str = "branch", branch: str | None = None) -> dict[str, Any]:
    """The forecast for the ten transport days from the day of the run, as `pendel forecast --format json` prints it.

    `by`: branch (what each branch sends, and what is sent to it) or lane. `branch`: only what concerns that branch.
    Items are None where a lane has no history. `backtest` tells the error of the past eight weeks.

    Raises NoFigures when nothing was published, or nothing is forecast, UserError for a branch that is not known.
    """
    with published(places) as con:
        run = dicts(con, "SELECT run_id, as_of FROM quality.run WHERE is_this_run")[0]
        if branch is not None:
            known = [row["branch"] for row in dicts(con, "SELECT branch FROM marts.dim_branch ORDER BY branch")]
            if branch not in known:
                raise UserError(
                    "There is no branch {branch}. Known are: {known}.", branch=branch, known=", ".join(known)
                )
        concerned = "branch = $branch" if by == "branch" else "$branch IN (supplying_branch, pickup_branch)"
        try:
            rows = dicts(
                con,
                f"""
                SELECT date, {", ".join(BY[by])}, forecast_items AS items, low_items AS low, high_items AS high,
                    crates, high_crates
                FROM marts.forecast_{by}_day
                WHERE $branch IS NULL OR {concerned}
                ORDER BY date, {", ".join(f"{name} DESC" if name == "direction" else name for name in BY[by])}
                """,
                {"branch": branch},
            )
            parameter = dicts(con, "SELECT items_per_crate FROM marts.parameter")[0]
            backtest = dicts(
                con,
                """
                SELECT scope, forecasts, items, wape, naive_wape, improvement, band_held
                FROM marts.forecast_error
                WHERE scope <> 'lane'
                ORDER BY scope
                """,
            )
            lanes = dicts(
                con,
                """
                SELECT count(DISTINCT (supplying_branch, pickup_branch)) AS lanes,
                    count(DISTINCT (supplying_branch, pickup_branch)) FILTER (method = 'naive') AS naive_lanes
                FROM marts.forecast_lane_day
                """,
            )[0]
        except OF_BEFORE:
            rows = []
    if not rows:
        raise NoFigures("The published warehouse holds no forecast. Run `pendel nightly` first.")
    return {
        "as_of": run["as_of"].isoformat(),
        "by": by,
        "items_per_crate": parameter["items_per_crate"],
        "crates_are": "estimate",
        **lanes,
        "forecast": [row | {"date": row["date"].isoformat()} for row in rows],
        "backtest": [rounded_row(row) for row in backtest],
    }
