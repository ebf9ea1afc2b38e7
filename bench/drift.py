"""How many false alarms `marts.drift` gives in years without faults, and which planted faults it finds, and when.

    python bench/drift.py --years 10                     simulates the years first (some minutes)
    python bench/drift.py --warehouse data/warehouse     on the marts of a warehouse that is there, read-only

The thresholds in `sql/marts/drift.sql` were chosen on the first half of the years; the second half tells how good they
are, which is why both are told apart.

The warehouse is not built for every night. The model's own SQL runs with the night's date in `reference.run`, on the
marts cut off before that day. That is the same: a day's counts rest on the rows dated that day, exported that evening,
and a leg's own row of its receipt tells all of it but its closing, which is hidden here until it happened. What a later
export changes of an earlier day (a receipt undone, one in a thousand) is the one difference. `tests/test_drift.py`
compares both on a simulated network.

Faults are planted in a copy of the marts around their date: in the legs, from which the days are counted again.
"""

from __future__ import annotations

import argparse
import datetime as dt
import tempfile
import time
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
        self.con = duckdb.connect(config={"threads": 2})
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
                SELECT *, closed_at AS closing FROM source.marts.fct_leg
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
                    CASE WHEN closing {before} THEN closed_at END AS closed_at,
                    CASE WHEN closing {before} THEN close_reason END AS close_reason
                )
                FROM kept.fct_leg
                WHERE received_at {before};
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
    """A planted fault: from `start` on; the kind that must find it, and after how many days it is there to be seen."""

    kind: str
    name: str
    start: dt.date
    sql: str
    days: int  # transport days, as docs/drift.md says; of closed_day: calendar days
    where: frozenset[str]  # branches of which one must stand in what is found


def faults(marts: Marts, starts: Sequence[dt.date], few: bool = False) -> Iterator[Fault]:
    """Faults of each kind, on large and small branches and lanes, on several dates."""
    con = marts.con
    branches = con.execute(
        "SELECT b.branch, b.organisation, avg(received) AS n FROM kept.agg_branch_day AS b "
        "JOIN kept.dim_date AS d ON b.date = d.date AND d.is_transport_day GROUP BY ALL ORDER BY n DESC, b.branch"
    ).fetchall()
    lanes = con.execute(
        "SELECT supplying_branch, pickup_branch, avg(delivered) AS n FROM kept.agg_lane_day AS l "
        "JOIN kept.dim_date AS d ON l.date = d.date AND d.is_transport_day GROUP BY ALL ORDER BY n DESC, 1, 2"
    ).fetchall()
    chosen = [branches[0], branches[len(branches) // 2], branches[-1]]
    if few:
        chosen = chosen[1:2]
    busy = [lane for lane in lanes if lane[2] >= 6]
    half = "hash(reservation_id) % 2 = 0"
    for start in starts:
        for branch, _, usual in chosen:
            received = f"pickup_branch = '{branch}' AND received_at >= DATE '{start}' AND state = 'delivered'"
            sent = f"supplying_branch = '{branch}' AND shipped_at >= DATE '{start}' AND state <> 'local'"
            stretch = max(2, -int(-15 // (0.75 * usual)))
            one = frozenset([branch])
            lost = f"UPDATE kept.fct_leg SET state = 'in_transit', received_at = NULL WHERE {received}"
            yield Fault("no_receipts", f"{branch} tells no receipts", start, lost, 5, one)
            yield Fault("zero", f"receipts of {branch}", start, lost, stretch, one)
            yield Fault("zero", f"sendings of {branch}", start,
                        f"UPDATE kept.fct_leg SET shipped_at = NULL WHERE {sent}", stretch, one)  # fmt: skip
            yield Fault("copied", f"{branch}, receipt copied into sending", start,
                        f"UPDATE kept.fct_leg SET pickup_shipped_at = received_at WHERE {received}",
                        5, one)  # fmt: skip
            again = (
                "INSERT INTO kept.fct_leg SELECT * REPLACE (reservation_id || '+' AS reservation_id) FROM kept.fct_leg"
            )
            yield Fault("doubled", f"receipts of {branch}", start, f"{again} WHERE {received}", 3, one)
            yield Fault("doubled", f"sendings of {branch}", start, f"{again} WHERE {sent}", 3, one)
            for column in ("pickup_material_type", "collected_at", "pickup_shipped_at", "closed_at"):
                since = (
                    f"closing >= DATE '{start}' AND pickup_branch = '{branch}'" if column == "closed_at" else received
                )
                lose = f"UPDATE kept.fct_leg SET {column} = NULL WHERE {since}"
                yield Fault("empty", f"{column} of {branch}", start, lose, 10, one)
                if column in ("pickup_material_type", "pickup_shipped_at"):
                    yield Fault("empty", f"half of {column} of {branch}", start, f"{lose} AND {half}", 10, one)
            yield Fault("closed_day", f"{branch} exports on Sundays and holidays", start,
                        f"INSERT INTO kept.file SELECT '{branch}', date, true, false FROM kept.dim_date "
                        f"WHERE NOT is_export_day AND date >= DATE '{start}'", 14, one)  # fmt: skip
            for days, weekday in ((2, "Saturday"), (1, "Sunday")):
                yield Fault("closed_day", f"{branch} registers Mondays' receipts on {weekday}", start,
                            f"UPDATE kept.fct_leg SET received_at = received_at - INTERVAL {days} DAY "
                            f"WHERE {received} AND isodow(received_at) = 1", 14, one)  # fmt: skip
        for lane in busy[:1] if few else (busy[0], busy[len(busy) // 2], busy[-1]):
            two = frozenset(lane[:2])
            of = f"supplying_branch = '{lane[0]}' AND pickup_branch = '{lane[1]}'"
            name = f"{lane[0]} to {lane[1]}"
            yield Fault("zero", name, start,
                        f"UPDATE kept.fct_leg SET state = 'requested', shipped_at = NULL, received_at = NULL "
                        f"WHERE {of} AND shipped_at >= DATE '{start}'", max(4, -int(-15 // (0.75 * lane[2]))) + 3,
                        two)  # fmt: skip
            yield Fault("copied", name, start,
                        f"UPDATE kept.fct_leg SET shipped_at = received_at "
                        f"WHERE {of} AND received_at >= DATE '{start}';"
                        f"UPDATE kept.fct_leg SET shipped_at = NULL WHERE {of} AND received_at IS NULL "
                        f"AND shipped_at >= DATE '{start}'", 13, two)  # fmt: skip
        for lane in busy[: 1 if few else 3]:
            of = f"supplying_branch = '{lane[0]}' AND pickup_branch = '{lane[1]}' AND received_at >= DATE '{start}'"
            yield Fault("doubled", f"{lane[0]} to {lane[1]}", start, f"{again} WHERE {of}", 5, frozenset(lane[:2]))
        for organisation in sorted({b[1] for b in branches}):
            mine = [b[0] for b in branches if b[1] == organisation]
            large, small = mine[0], mine[-1]
            received = f"received_at >= DATE '{start}' AND state = 'delivered'"

            def turned(pairs: dict[str, str], share: str = "true", received: str = received) -> str:
                cases = " ".join(f"WHEN '{a}' THEN '{b}'" for a, b in pairs.items())
                among = ", ".join(f"'{a}'" for a in pairs)
                return (
                    f"UPDATE kept.fct_leg SET pickup_branch = CASE pickup_branch {cases} END "
                    f"WHERE pickup_branch IN ({among}) AND {received} AND {share}"
                )

            both = frozenset([large, small])
            yield Fault("shifted", f"{large} and {small} swapped", start, turned({large: small, small: large}), 3, both)
            yield Fault("shifted", f"half of {large} as {small}", start, turned({large: small}, half), 3, both)
            rows = sorted(mine)
            yield Fault("shifted", f"{organisation} by one row", start,
                        turned(dict(zip(rows, rows[1:] + rows[:1], strict=True))), 3, frozenset(mine))  # fmt: skip


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
        bronze.take_in(places, network, run, batches, judge)
        build = stack.enter_context(building.built(places, network, run))
        building.finish(build, run, [])
        return building.publish(build, places)


def false_alarms(marts: Marts, nights: Sequence[dt.date], every: bool) -> dict[str, int]:
    """Episodes of each kind: warned of by a run, and not by the one before."""
    episodes: dict[str, int] = defaultdict(int)
    warned = 0
    before: set[Key] = set()
    for night in nights:
        now = marts.at(night)
        warned += len(now)
        for key in sorted(now - before):
            episodes[key[0]] += 1
            if every:
                print(f"  {night} {key}")
        before = now
    print(
        f"{nights[0]} to {nights[-1]}: {len(nights)} runs, {sum(episodes.values())} false alarms "
        f"({warned} warnings counted night by night)"
    )
    return episodes


def nights_after(marts: Marts, fault: Fault) -> tuple[dt.date | None, dt.date]:
    """The first run that finds a fault when it is there to be seen (None: none in time), and the last that may."""
    marts.plant(fault.sql)
    if fault.kind == "closed_day":
        ready = fault.start + fault.days * DAY
    else:
        stretch = marts.con.execute(
            "SELECT date FROM kept.dim_date WHERE is_transport_day AND date >= ? ORDER BY date LIMIT ?",
            [fault.start, fault.days],
        ).fetchall()
        ready = stretch[-1][0] + DAY
    (until,) = marts.con.execute(
        "SELECT max(date) + 1 FROM (SELECT date FROM kept.dim_date WHERE is_export_day AND date >= ? "
        "ORDER BY date LIMIT 3)",
        [ready - DAY],
    ).fetchone() or (ready,)
    night = ready
    while night <= until:
        for kind, _, supplier, pickup, branch in marts.at(night):
            if kind == fault.kind and fault.where & {supplier, pickup, branch}:
                return night, until
        night += DAY
    return None, until


def main() -> None:
    """Print false alarms and what was found, a line a kind."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--warehouse", type=Path)
    parser.add_argument("--every", type=int, default=1, help="look at every n-th night for false alarms")
    parser.add_argument("--no-faults", action="store_true")
    parser.add_argument("--few", action="store_true", help="plant on one branch and one lane")
    parser.add_argument("--no-alarms", action="store_true")
    parser.add_argument("--from", dest="starts", action="append", type=dt.date.fromisoformat, default=[],
                        help="plant the faults on this day")  # fmt: skip
    parser.add_argument("--half", type=int, default=0, help="false alarms of the first or second half of the years")
    parser.add_argument("--alarms", action="store_true", help="print every false alarm")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        source = given.warehouse / "pendel.duckdb" if given.warehouse else simulated(given.years, Path(name))
        marts = Marts(source, last=dt.date(2023, 12, 31))
        first = 2024 - given.years
        middle = first + given.years // 2
        started = time.process_time()
        halves = []
        for begin, end in ((first, middle), (middle, 2024)):
            days = (dt.date(end, 1, 1) - dt.date(begin, 1, 1)).days
            nights = [dt.date(begin, 1, 2) + i * DAY for i in range(0, days, given.every)]
            wanted = nights and not given.no_alarms and given.half in (0, len(halves) + 1)
            halves.append(false_alarms(marts, nights, given.alarms) if wanted else {})
        print(f"{time.process_time() - started:.0f} s of processor time")
        planted: dict[str, list[tuple[Fault, int | None]]] = defaultdict(list)
        if not given.no_faults:
            starts = given.starts or [dt.date(2020, 2, 4), dt.date(2023, 10, 2)]
            starts = [start for start in starts if start.year >= first + 1] or [dt.date(2023, 9, 7)]
            for start in starts:
                for fault in faults(marts, [start], given.few):
                    spoiled = Marts(source, start - BEFORE, start + AFTER)
                    found, _ = nights_after(spoiled, fault)
                    spoiled.con.close()
                    if given.alarms:
                        print(f"  {fault.kind}, {fault.name}, from {start}: {found}", flush=True)
                    planted[fault.kind].append((fault, (found - start).days if found else None))
        print(f"\n| kind | planted | found in time | calendar days to the run, median and most | false alarms "
              f"{first}-{middle - 1} | {middle}-2023 |\n|---|---:|---:|---:|---:|---:|")  # fmt: skip
        kinds = ["no_receipts", "zero", "copied", "shifted", "doubled", "empty", "closed_day"]
        for kind in kinds:
            took = sorted(days for _, days in planted[kind] if days is not None)
            told = f"{took[len(took) // 2]}, {took[-1]}" if took else "-"
            alarms = " | ".join(str(half.get(kind, 0)) for half in halves)
            print(f"| {kind} | {len(planted[kind])} | {len(took)} | {told} | {alarms} |")
        for kind in kinds:
            for fault, found_after in planted[kind]:
                if found_after is None:
                    print(f"not found in time: {fault.kind}, {fault.name}, from {fault.start}")


if __name__ == "__main__":
    main()
