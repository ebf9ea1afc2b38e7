"""How many false alarms `marts.drift` gives in years without faults, and which planted faults it finds, and when.

    python bench/drift.py --years 10                     simulates the years first (some minutes)
    python bench/drift.py --warehouse data/warehouse     on the marts of a warehouse that is there, read-only

The rules were chosen on 2015 to 2017 of the default seed; what is reported is from other years or another seed.

The warehouse is not built for every night. The model's own SQL runs with the night's date in `reference.run`, on the
marts cut off before that day. A day's counts rest on the rows dated that day, exported that evening, so that is the
same; `tests/test_drift.py` compares both. What a later export changes of an earlier day (a receipt undone, one in a
thousand) is the one difference.

Faults are planted one by one in a copy of the marts around their date: in the legs, from which the days are counted
again. The runs are counted from the fault on: those of the mornings after a transport day (of `closed_day`: after a day
on which the branch is closed).
"""

from __future__ import annotations

import argparse
import datetime as dt
import math
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import duckdb

from pendel import bronze, building, reading
from pendel.places import Places
from pendel.reference import read_reference
from pendel.simulate import simulate

DAY = dt.timedelta(days=1)
BEFORE, AFTER = 150 * DAY, 60 * DAY
"""How much of the marts a fault is planted in: what the model looks at, and the nights in which it must be found."""

Key = tuple[str, str, str, str, str]
"""kind, figure, supplying branch, pick-up branch, branch"""

DRIFT = next(model for model in building.models() if model.relation == "marts.drift")


class Marts:
    """The marts that `marts.drift` reads, in memory, as a night would have seen them."""

    def __init__(self, source: Path, first: dt.date = dt.date.min, last: dt.date = dt.date.max) -> None:
        self.con = duckdb.connect(config={"threads": 1})
        con = self.con
        con.execute(f"ATTACH '{source}' AS source (READ_ONLY)")
        con.execute("CREATE SCHEMA kept; CREATE SCHEMA marts; CREATE SCHEMA reference; CREATE SCHEMA staging")
        within = f"BETWEEN DATE '{first}' AND DATE '{last}'"
        con.execute(
            f"""
            CREATE TABLE kept.feed_day AS FROM source.marts.feed_day WHERE export_date {within};
            CREATE TABLE kept.dim_date AS FROM source.marts.dim_date WHERE date {within};
            CREATE TABLE kept.agg_branch_day AS FROM source.marts.agg_branch_day WHERE date {within};
            CREATE TABLE kept.agg_lane_day AS FROM source.marts.agg_lane_day WHERE date {within};
            CREATE TABLE kept.file AS
                SELECT branch, export_date, true AS is_active, branch = 'network' AS is_network
                FROM source.quality.file
                WHERE state IN ('accepted', 'partly_accepted') AND export_date {within};
            CREATE TABLE kept.fct_leg AS
                SELECT * FROM source.marts.fct_leg
                WHERE received_at::DATE {within} OR shipped_at::DATE {within}
                ORDER BY received_at;
            DETACH source;
            CREATE TABLE reference.run AS SELECT DATE '{dt.date.max}' AS as_of;
            """
        )
        before = "< (SELECT as_of FROM reference.run)"
        con.execute(
            f"""
            CREATE VIEW marts.feed_day AS FROM kept.feed_day WHERE export_date {before};
            CREATE VIEW marts.dim_date AS FROM kept.dim_date;
            CREATE VIEW marts.agg_branch_day AS FROM kept.agg_branch_day WHERE date {before};
            CREATE VIEW marts.agg_lane_day AS FROM kept.agg_lane_day WHERE date {before};
            CREATE VIEW staging.file AS FROM kept.file WHERE export_date {before};
            CREATE VIEW marts.fct_leg AS
                SELECT * REPLACE (
                    CASE WHEN received_at {before} THEN received_at END AS received_at,
                    CASE WHEN received_at {before} OR received_at IS NULL THEN state ELSE 'in_transit' END AS state
                )
                FROM kept.fct_leg
                WHERE least(received_at, shipped_at) {before};
            """
        )

    def at(self, night: dt.date) -> set[Key]:
        """What the run of a day would have warned of."""
        self.con.execute("UPDATE reference.run SET as_of = ?", [night])
        found = self.con.execute(
            f"SELECT kind, figure, supplying_branch, pickup_branch, branch FROM ({DRIFT.sql})"
        ).fetchall()
        return {(kind, figure, supplier, pickup, branch) for kind, figure, supplier, pickup, branch in found}

    def plant(self, sql: str) -> None:
        """Spoil the kept marts, and count the days again where legs were changed."""
        self.con.execute(sql)
        if "fct_leg" not in sql:
            return
        self.con.execute(
            """
            CREATE OR REPLACE TABLE kept.agg_lane_day AS
            WITH d AS (
                SELECT supplying_branch, pickup_branch, received_at::DATE AS date, count(*) AS n
                FROM kept.fct_leg WHERE state = 'delivered' GROUP BY ALL
            ),
            s AS (
                SELECT supplying_branch, pickup_branch, shipped_at::DATE AS date, count(*) AS n
                FROM kept.fct_leg WHERE state <> 'local' AND shipped_at IS NOT NULL GROUP BY ALL
            )
            SELECT l.* REPLACE (coalesce(s.n, 0)::INTEGER AS sent, coalesce(d.n, 0)::INTEGER AS delivered)
            FROM kept.agg_lane_day AS l
            LEFT JOIN d USING (supplying_branch, pickup_branch, date)
            LEFT JOIN s USING (supplying_branch, pickup_branch, date);
            CREATE OR REPLACE TABLE kept.agg_branch_day AS
            WITH p AS (SELECT pickup_branch AS branch, date, sum(delivered) AS n FROM kept.agg_lane_day GROUP BY ALL),
            s AS (SELECT supplying_branch AS branch, date, sum(sent) AS n FROM kept.agg_lane_day GROUP BY ALL)
            SELECT b.* REPLACE (coalesce(p.n, 0)::INTEGER AS received, coalesce(s.n, 0)::INTEGER AS sent)
            FROM kept.agg_branch_day AS b LEFT JOIN p USING (branch, date) LEFT JOIN s USING (branch, date)
            """
        )


@dataclass(frozen=True)
class Fault:
    """A planted fault: what is spoiled from `start` on, and the branches of which one must stand in what is found."""

    kind: str
    group: str
    name: str
    start: dt.date
    sql: str
    where: frozenset[str]


SIZES = {20.0: "20 and more", 10.0: "10 to 20", 5.0: "5 to 10", 4.0: "4 to 5", 2.0: "2 to 4", 0.0: "below 2"}
"""The lanes, by what is delivered on a transport day; of each size one is spoiled."""


# what one side tells under a second number, the other side tells once
RECEIVED_AGAIN = (
    "INSERT INTO kept.fct_leg SELECT * REPLACE (reservation_id || '+' AS reservation_id, NULL AS supplier_file_id) "
    "FROM kept.fct_leg"
)
SENT_AGAIN = (
    "INSERT INTO kept.fct_leg SELECT * REPLACE (reservation_id || '+' AS reservation_id, 'in_transit' AS state, "
    "NULL AS received_at, NULL AS pickup_file_id) FROM kept.fct_leg"
)


def faults(marts: Marts, start: dt.date) -> Iterator[Fault]:
    """Faults of each kind: on a large, a middling and the smallest branch, and on a lane of each size."""
    con = marts.con
    branches = con.execute(
        "SELECT branch, organisation FROM kept.agg_branch_day GROUP BY ALL ORDER BY sum(received) DESC, branch"
    ).fetchall()
    lanes = con.execute(
        f"""
        SELECT supplying_branch, pickup_branch, a_day
        FROM (
            SELECT supplying_branch, pickup_branch, avg(delivered) AS a_day
            FROM kept.agg_lane_day JOIN kept.dim_date USING (date)
            WHERE is_transport_day AND date < DATE '{start}'
            GROUP BY ALL
        )
        ORDER BY hash(supplying_branch, pickup_branch, DATE '{start}')
        """
    ).fetchall()
    legs = "UPDATE kept.fct_leg SET"
    half = "AND hash(reservation_id) % 2 = 0"
    lost = "state = 'in_transit', received_at = NULL"
    for branch, _ in (branches[0], branches[len(branches) // 2], branches[-1]):
        received = f"WHERE pickup_branch = '{branch}' AND received_at >= DATE '{start}' AND state = 'delivered'"
        sent = f"WHERE supplying_branch = '{branch}' AND shipped_at >= DATE '{start}' AND state <> 'local'"
        planted = (
            ("no_receipts", "", f"{branch} tells no receipts", f"{legs} {lost} {received}"),
            ("zero", "", f"nothing is sent to {branch}",
             f"{legs} state = 'requested', received_at = NULL, shipped_at = NULL "
             f"WHERE pickup_branch = '{branch}' AND greatest(shipped_at, received_at) >= DATE '{start}'"),
            ("zero", "", f"sendings of {branch}", f"{legs} shipped_at = NULL {sent}"),
            ("copied", ", moments", f"moments of {branch}", f"{legs} pickup_shipped_at = received_at {received}"),
            ("copied", ", counts", f"counts of {branch}", _copied(start, f"WHERE pickup_branch = '{branch}'")),
            ("doubled", ", the same items", f"receipts of {branch}", f"{RECEIVED_AGAIN} {received}"),
            ("doubled", ", the same items", f"sendings of {branch}", f"{SENT_AGAIN} {sent}"),
            ("doubled", ", other items", f"receipts of {branch}, other items", _others(f"{RECEIVED_AGAIN} {received}")),
            ("doubled", ", other items", f"sendings of {branch}, other items", _others(f"{SENT_AGAIN} {sent}")),
            ("empty", ", all", f"material type of {branch}", f"{legs} pickup_material_type = NULL {received}"),
            ("empty", ", half", f"half of shipped at of {branch}",
             f"{legs} pickup_shipped_at = NULL {received} {half}"),
            ("closed_day", "", f"exports of {branch} on Sundays and holidays",
             f"INSERT INTO kept.file SELECT '{branch}', date, true, false FROM kept.dim_date "
             f"WHERE NOT is_export_day AND date >= DATE '{start}'"),
            ("closed_day", "", f"receipts of {branch}, Mondays' on Sunday",
             f"{legs} received_at = received_at - INTERVAL 1 DAY {received} AND isodow(received_at) = 1"),
        )  # fmt: skip
        for kind, how, name, sql in planted:
            yield Fault(kind, f"{kind}{how}: branches", name, start, sql, frozenset([branch]))
    at_most = math.inf
    for at_least, size in SIZES.items():
        found = [(supplier, pickup) for supplier, pickup, a_day in lanes if at_least <= a_day < at_most and a_day > 0.5]
        at_most = at_least
        for supplier, pickup in found[:1]:
            of = f"WHERE supplying_branch = '{supplier}' AND pickup_branch = '{pickup}'"
            received = f"{of} AND received_at >= DATE '{start}' AND state = 'delivered'"
            for kind, how, sql in (
                ("zero", "", f"{legs} {lost} {received}"),
                ("doubled", ", the same items", f"{RECEIVED_AGAIN} {received}"),
                ("doubled", ", other items", _others(f"{RECEIVED_AGAIN} {received}")),
                ("copied", ", counts", _copied(start, of)),
            ):
                group, name = f"{kind}{how}: lanes of {size} a day", f"lane {supplier} to {pickup}{how}"
                yield Fault(kind, group, name, start, sql, frozenset([supplier, pickup]))
    for organisation in sorted({organisation for _, organisation in branches}):
        mine = [branch for branch, of in branches if of == organisation]
        large, small, rows = mine[0], mine[-1], sorted(mine)
        for name, pairs, share in (
            (f"{large} and {small} swapped", {large: small, small: large}, ""),
            (f"half of {large} as {small}", {large: small}, half),
            (f"{organisation} by one row", dict(zip(rows, rows[1:] + rows[:1], strict=True)), ""),
        ):
            cases = " ".join(f"WHEN '{a}' THEN '{b}'" for a, b in pairs.items())
            among = ", ".join(f"'{a}'" for a in pairs)
            # what comes to stand at its own supplier is local, and leaves the count
            sql = (
                f"{legs} pickup_branch = CASE pickup_branch {cases} END WHERE pickup_branch IN ({among}) "
                f"AND received_at >= DATE '{start}' AND state = 'delivered' {share};"
                f"{legs} state = 'local' WHERE supplying_branch = pickup_branch AND received_at >= DATE '{start}'"
            )
            where = frozenset(pairs) | frozenset(pairs.values())
            yield Fault("shifted", "shifted: branches", name, start, sql, where)


def _others(again: str) -> str:
    """Legs told again as those of other items."""
    return again.replace("AS reservation_id", "AS reservation_id, item_barcode || '+' AS item_barcode")


def _copied(start: dt.date, of: str) -> str:
    """The date of sending made that of the receipt, so that both are counted on the same day."""
    legs = "UPDATE kept.fct_leg SET"
    return (
        f"{legs} shipped_at = received_at {of} AND received_at >= DATE '{start}';"
        f"{legs} shipped_at = NULL {of} AND received_at IS NULL AND shipped_at >= DATE '{start}'"
    )


def simulated(years: int, folder: Path) -> Path:
    """A warehouse of simulated years, without faults, up to and with 2023."""
    reference = Places.of().reference
    for year in range(2024 - years, 2024):
        simulate(year, folder / "raw", reference, continues=year > 2024 - years)
    places = Places.of(raw=folder / "raw", warehouse=folder / "warehouse")
    network = read_reference(places.reference)
    run = bronze.Run.start(dt.date(2024, 1, 1))

    def judge(con: duckdb.DuckDBPyConnection, rules: Sequence[object]) -> list[bronze.RuleResult]:
        return [bronze.RuleResult(rule.rule, rule.action, 0) for rule in rules]  # type: ignore[attr-defined]

    with bronze.locked(places, run), ExitStack() as stack:
        plan = bronze.plan(places, network)
        batches = [reading.read_files(places.raw, files, plan.known, network) for files in plan.files.values()]
        bronze.take_in(places, network, run, batches, judge, plan.withdrawn)
        build = stack.enter_context(building.built(places, network, run))
        building.finish(build, run, [])
        return building.publish(build, places)


def false_alarms(source: Path, nights: Sequence[dt.date], every: bool) -> dict[str, int]:
    """Episodes of each kind: warned of by a run, and not by the one before."""
    episodes: dict[str, int] = defaultdict(int)
    warned = 0
    before: set[Key] = set()
    for first in range(0, len(nights), 60):
        some = nights[first : first + 60]
        marts = Marts(source, some[0] - BEFORE, some[-1])
        for night in some:
            now = marts.at(night)
            warned += len(now)
            for key in sorted(now - before):
                episodes[key[0]] += 1
                if every:
                    print(f"  {night} {key}")
            before = now
        marts.con.close()
    print(
        f"{nights[0]} to {nights[-1]}: {len(nights)} runs, {sum(episodes.values())} false alarms "
        f"({warned} warnings counted night by night)"
    )
    return episodes


RUNS = 12
"""The runs after which a fault is given up."""


def runs_until_found(marts: Marts, fault: Fault) -> int | None:
    """The number of the run that finds a fault; None if none of the first ones does. The marts are as before then."""
    telling = "NOT is_export_day" if fault.kind == "closed_day" else "is_transport_day"
    days = marts.con.execute(
        f"SELECT date FROM kept.dim_date WHERE {telling} AND date >= ? ORDER BY date LIMIT ?", [fault.start, RUNS]
    ).fetchall()
    marts.con.begin()
    try:
        marts.plant(fault.sql)
        for number, (day,) in enumerate(days, start=1):
            for kind, _, supplier, pickup, branch in marts.at(day + DAY):
                if kind == fault.kind and fault.where & {supplier, pickup, branch}:
                    return number
    finally:
        marts.con.rollback()
    return None


def main() -> None:
    """Print false alarms, and what was found of what was planted, a line a kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--warehouse", type=Path)
    parser.add_argument("--first", type=int, help="the first year in which to look for false alarms")
    parser.add_argument("--last", type=int, default=2023, help="the last of them; 0: look for none")
    parser.add_argument("--every", type=int, default=1, help="look at every n-th night for false alarms")
    parser.add_argument("--from", dest="starts", action="append", type=dt.date.fromisoformat, default=[],
                        help="plant the faults on this day")  # fmt: skip
    parser.add_argument("--starts", dest="spread", type=int, default=0,
                        help="plant the faults on so many days, spread over the years from --first on")  # fmt: skip
    parser.add_argument("--each", action="store_true", help="print every false alarm and every fault")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = given.warehouse / "pendel.duckdb" if given.warehouse else simulated(given.years, Path(name))
        alarms: dict[str, int] = defaultdict(int)
        first = given.first or 2024 - given.years
        years = range(first, given.last + 1)
        for year in years:
            nights = [dt.date(year, 1, 2) + i * DAY for i in range(0, 365, given.every)]
            for kind, number in false_alarms(source, nights, given.each).items():
                alarms[kind] += number
        # no multiple of a season, and after the weeks in which there is no usual yet
        begin, end = dt.date(first, 6, 1), dt.date(2023, 11, 1)
        starts = given.starts + [begin + i * (end - begin) / max(1, given.spread - 1) for i in range(given.spread)]
        planted: dict[str, list[int | None]] = defaultdict(list)
        for start in starts:
            sound = Marts(source, start - BEFORE, start + AFTER)
            for fault in list(faults(sound, start)):
                found = runs_until_found(sound, fault)
                planted[fault.group].append(found)
                if given.each or found is None or found > 3:
                    print(f"  {fault.group}, {fault.name}, from {start}: run {found}", flush=True)
            sound.con.close()
        if planted:
            print("\n| fault | planted | found within three runs | within twelve |\n|---|---:|---:|---:|")
            for group, found_in in planted.items():
                runs = [run for run in found_in if run is not None]
                print(f"| {group} | {len(found_in)} | {sum(run <= 3 for run in runs)} | {len(runs)} |")
        if years:
            print(f"\n{sum(alarms.values())} false alarms in {12 * len(years)} months: {dict(alarms)}")


if __name__ == "__main__":
    main()
