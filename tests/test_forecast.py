"""The forecast: against the same method written once more as loops, without a look at what came later, and in use."""

from __future__ import annotations

import datetime as dt
import math
import random
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
import pytest

from pendel.places import SQL
from tests.test_models import quantile

MODELS = ("profile", "trial", "lane_day", "branch_day", "error")
DAY = dt.timedelta(days=1)
AS_OF = dt.date(2023, 6, 7)
"""A Wednesday: a week that begins a day too early or too late has other transport days in it."""
HOLIDAYS = {
    dt.date(2021, 4, 5),
    dt.date(2022, 4, 18),
    dt.date(2022, 4, 27),
    dt.date(2023, 4, 10),
    dt.date(2023, 4, 27),
    dt.date(2023, 5, 18),
    dt.date(2023, 5, 29),
    dt.date(2022, 12, 26),
}
FIRST = dt.date(2020, 11, 2)
"""Longer ago than anything is learnt from."""
BRANCHES = {"xa": 20.0, "xb": 6.0, "ya": 1.0}
DAYS = [FIRST + i * DAY for i in range((AS_OF - FIRST).days + 60)]
TRANSPORT = [day for day in DAYS if day.isoweekday() <= 5 and day not in HOLIDAYS]
WORKS = frozenset(TRANSPORT)
Lane = tuple[str, str]


def history(seed: int = 1) -> dict[tuple[dt.date, str, str], int]:
    """What each lane sent: fewer on Mondays, more after a holiday, more from May to August."""
    dice = random.Random(seed)
    found = {}
    for day in DAYS:
        for one in BRANCHES:
            for other in BRANCHES:
                if one != other and day < AS_OF:
                    mean = BRANCHES[one] * BRANCHES[other] ** 0.3 / 2 * (0.6 if day.isoweekday() == 1 else 1.1)
                    mean *= (1.5 if day - DAY in HOLIDAYS else 1) * (1.3 if 5 <= day.month <= 8 else 1)
                    works = day in WORKS
                    found[day, one, other] = sum(dice.random() < mean / 50 for _ in range(50)) if works else 0
    return found


class World:
    """The relations that the forecast reads, and what it makes of them."""

    def __init__(
        self, sent: dict[tuple[dt.date, str, str], int], missing: set[tuple[str, dt.date]], closed: dt.date | None
    ) -> None:
        self.con = duckdb.connect()
        self.con.execute(
            """
            CREATE SCHEMA marts; CREATE SCHEMA reference;
            CREATE TABLE reference.run (as_of DATE);
            CREATE TABLE reference.transport_day (date DATE);
            CREATE TABLE reference.parameter (items_per_crate INTEGER);
            CREATE TABLE reference.branch (branch VARCHAR, opened_on DATE, closed_on DATE);
            CREATE TABLE marts.feed_day (branch VARCHAR, export_date DATE, state VARCHAR);
            CREATE TABLE marts.agg_lane_day (date DATE, supplying_branch VARCHAR, pickup_branch VARCHAR, sent INTEGER);
            INSERT INTO reference.parameter VALUES (7)
            """
        )
        self.con.execute("INSERT INTO reference.run VALUES (?)", [AS_OF])
        anyhow = random.Random(3).sample(TRANSPORT, len(TRANSPORT))
        self.con.executemany("INSERT INTO reference.transport_day VALUES (?)", [[day] for day in anyhow])
        self.con.executemany(
            "INSERT INTO reference.branch VALUES (?, NULL, ?)",
            [[branch, closed if branch == "ya" else None] for branch in BRANCHES],
        )
        if missing:
            states = {(branch, TRANSPORT[-1 - ago]): "late" for branch in BRANCHES for ago in range(90)}
            states |= {day: ("missing", "rejected")[nth % 2] for nth, day in enumerate(sorted(missing))}
            rows = [[branch, day, state] for (branch, day), state in states.items()]
            self.con.executemany("INSERT INTO marts.feed_day VALUES (?, ?, ?)", rows)
        if sent:
            rows = ", ".join(f"(DATE '{day}', '{one}', '{other}', {n})" for (day, one, other), n in sent.items())
            self.con.execute(f"INSERT INTO marts.agg_lane_day VALUES {rows}")
        for model in MODELS:
            self.build(model)

    def build(self, model: str) -> None:
        sql = (SQL / "marts" / f"forecast_{model}.sql").read_text(encoding="utf-8")
        self.con.execute(f"CREATE OR REPLACE TABLE marts.forecast_{model} AS {sql}")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.con.execute(sql).fetchall()


Missing = set[tuple[str, dt.date]]
MISSING: Missing = {("xb", dt.date(2023, 5, 3)), ("xb", dt.date(2023, 6, 2))}
CLOSED = dt.date(2023, 6, 9)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(history(), MISSING, CLOSED)
    yield made
    made.con.close()


# ---------------------------------------------------------------------------------------------- once more, in loops


def kind(day: dt.date) -> str:
    if any(before in HOLIDAYS and before.isoweekday() <= 5 for before in between(day, -1)):
        return "after"
    return "before" if any(after in HOLIDAYS and after.isoweekday() <= 5 for after in between(day, 1)) else ""


def between(day: dt.date, step: int) -> Iterator[dt.date]:
    """The days that are no transport days from here to the next, or last, one."""
    day += step * DAY
    while day not in WORKS and FIRST <= day <= DAYS[-1]:
        yield day
        day += step * DAY


def mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0


class Loops:
    """The profile and seasonal naive of one origin."""

    def __init__(self, sent: dict[tuple[dt.date, str, str], int], origin: dt.date, missing: Missing = MISSING) -> None:
        self.told: dict[dt.date, dict[Lane, int]] = defaultdict(dict)
        for (day, one, other), n in sent.items():
            if day < origin and day in WORKS and (one, day) not in missing:
                self.told[day][one, other] = n
        network = {day: mean(list(lanes.values())) for day, lanes in sorted(self.told.items())}
        ordinary = [day for day in network if kind(day) == "" and day >= origin - 364 * DAY]
        level = mean([network[day] for day in ordinary])
        weekdays = {day.isoweekday() for day in ordinary}
        self.weekday = {w: mean([network[d] for d in ordinary if d.isoweekday() == w]) / level for w in weekdays}
        usual: dict[str, list[tuple[float, float]]] = {"after": [], "before": []}
        days = [day for day in network if day >= origin - 728 * DAY]
        for at, day in enumerate(days):
            before = [d for d in days[max(at - 20, 0) : at] if kind(d) == "" and self.weekday[d.isoweekday()]]
            around = [network[d] / self.weekday[d.isoweekday()] for d in before]
            if kind(day) and around:
                usual[kind(day)].append((network[day], self.weekday[day.isoweekday()] * mean(around)))
        self.neighbour = {"": 1.0, "after": 1.0, "before": 1.0}
        for name, pairs in usual.items():
            if not pairs:
                continue
            drawn = 3 * mean([u for _, u in pairs])
            usually = sum(u for _, u in pairs) + drawn
            self.neighbour[name] = (sum(n for n, _ in pairs) + drawn) / usually if usually else 1.0
        past = [(day, (origin - day).days, lane, n) for day, lanes in self.told.items() for lane, n in lanes.items()]
        past = [(day, (ago - 1) // 7, lane, n) for day, ago, lane, n in past if ago <= 26 * 7]
        self.level: dict[Lane, float] = {}
        for lane in {lane for _, _, lane, _ in past}:
            own = [(0.5 ** (age / 8), n) for _, age, found, n in past if found == lane]
            self.level[lane] = sum(w * n for w, n in own) / sum(w for w, _ in own)
        came = sum(0.5 ** (age / 2) * n for _, age, _, n in past)
        self.now = came / sum(0.5 ** (age / 2) * self.level[lane] for _, age, lane, _ in past)
        self.should_have_come: dict[Lane, float] = {}
        for lane, level in self.level.items():
            last = min((age for _, age, found, n in past if found == lane and n), default=0)
            days = sum(found == lane and age < last for _, age, found, _ in past)
            self.should_have_come[lane] = level * days
        self.origin = origin
        factors = {d: self.weekday[d.isoweekday()] for d in network if kind(d) == ""}
        self.plain = {d: network[d] / factor for d, factor in factors.items() if factor}

    def season(self, day: dt.date) -> float:
        """How the days around it were a year ago against those before the origin then; and two years ago."""
        found = [1.0]
        for back in (364 * DAY, 728 * DAY):
            then = self.origin - back
            weights = {d: 0.5 ** (((then - d).days - 1) // 7 / 2) for d in self.plain if then - 56 * DAY <= d < then}
            around = [n for d, n in self.plain.items() if abs(d + back - day) <= 4 * DAY]
            if len(weights) >= 20 and around:
                usual = sum(w * self.plain[d] for d, w in weights.items()) / sum(weights.values())
                found.append(mean(around) / usual)
        return mean(found)

    def expected(self, lane: Lane, day: dt.date) -> float:
        factors = self.weekday.get(day.isoweekday(), 1) * self.neighbour[kind(day)] * self.season(day)
        return 0 if self.should_have_come[lane] >= 8 else self.level[lane] * self.now * factors

    def naive(self, lane: Lane, day: dt.date) -> int | None:
        same = [
            d for d, lanes in self.told.items()
            if d.isoweekday() == day.isoweekday() and lane in lanes and kind(d) == "" and d >= self.origin - 28 * DAY
        ]  # fmt: skip
        return self.told[max(same)][lane] if same else None


@pytest.mark.parametrize("weeks_back", [0, 1, 2, 5, 9, 10, 16])
def test_the_profile_is_that_of_the_loops(weeks_back: int, world: World) -> None:
    assert_profile(world, weeks_back, history(), MISSING, CLOSED)


def assert_profile(
    made: World,
    weeks_back: int,
    sent: dict[tuple[dt.date, str, str], int],
    missing: Missing,
    closed: dt.date | None = None,
) -> None:
    origin = AS_OF - 7 * weeks_back * DAY
    loops = Loops(sent, origin, missing)
    found = made.rows(
        "SELECT date, supplying_branch, pickup_branch, expected_items, naive_items, is_closed, horizon "
        f"FROM marts.forecast_profile WHERE weeks_back = {weeks_back}"
    )
    coming = [day for day in TRANSPORT if day >= origin][:10]
    assert {row[0] for row in found} <= set(coming)
    tried = sum(day in coming and day < AS_OF and (one, day) not in missing for day, one, _ in sent)
    assert len(found) == (tried if weeks_back else 60)
    for day, one, other, expected, naive, is_closed, horizon in found:
        assert horizon == coming.index(day) + 1
        if weeks_back == 0 and closed and day > closed and "ya" in (one, other):
            assert (expected, naive, is_closed) == (0, 0, True)
        elif (one, other) not in loops.level:
            assert (expected, naive, is_closed) == (None, None, False)
        else:
            assert not is_closed
            assert expected == pytest.approx(loops.expected((one, other), day), abs=1e-4)
            assert naive == loops.naive((one, other), day)


def test_the_season_is_that_of_the_years_before() -> None:
    """Before May nobody has seen more yet this year, but in the years before."""
    loops = Loops(history(), dt.date(2023, 4, 24))
    assert 1.1 < loops.season(dt.date(2023, 5, 8)) < 1.3
    assert loops.season(dt.date(2023, 4, 25)) < 1.05
    assert Loops(history(), dt.date(2021, 10, 4)).season(dt.date(2021, 10, 5)) == 1


def nearest(number: float) -> int:
    return math.floor(number + 0.5)


def trial(made: World) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """(weeks back, supplying, pick-up branch, date) → method, expected and forecast items, band, naive, sent."""
    profile = made.rows(
        "SELECT weeks_back, date, supplying_branch, pickup_branch, is_closed, expected_items, naive_items, sent "
        "FROM marts.forecast_profile ORDER BY ALL"
    )
    found = {}
    for nth in range(9):
        origin = AS_OF - 7 * nth * DAY
        own = [row for row in profile if row[0] == nth]
        past = [row for row in profile if nth < row[0] <= nth + 8 and row[1] < origin]
        outcomes: dict[Lane, list[tuple[int, int]]] = defaultdict(list)
        for _, _, one, other, _, expected, naive, sent in past:
            if expected is not None and naive is not None:
                outcomes[one, other].append((abs(median_below(expected) - sent), abs(naive - sent)))
        every = [miss for misses in outcomes.values() for miss in misses]
        fits_network = bool(every) and sum(m for m, _ in every) < sum(n for _, n in every)
        chosen: dict[str, list[tuple[Any, ...]]] = {"own": [], "past": []}
        for when, rows in (("own", own), ("past", past)):
            for weeks, day, one, other, is_closed, expected, naive, sent in rows:
                misses = outcomes[one, other]
                fits = sum(m for m, _ in misses) < sum(n for _, n in misses) if len(misses) >= 20 else fits_network
                if is_closed:
                    made_of = ("closed", expected, median_below(expected))
                elif not fits and naive is not None:
                    made_of = ("naive", naive, naive)
                elif expected is None:
                    made_of = ("unknown", None, None)
                else:
                    made_of = ("profile", expected, median_below(expected))
                chosen[when].append((weeks, day, one, other, *made_of, naive, sent))
        sums: dict[str, list[tuple[Any, ...]]] = {"own": [], "past": []}
        for when, rows in chosen.items():
            parts: dict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
            for row in rows:
                for one, other in ((row[2], ""), ("", row[3]), ("", "")):
                    parts[row[0], row[1], one, other].append(row)
            for key, rows_of in parts.items():
                known = [row[5] for row in rows_of if row[5] is not None]
                naives = [row[7] for row in rows_of]
                sents = [row[8] for row in rows_of if row[8] is not None]
                expected = round(sum(known), 4) if known else None
                sums[when].append(
                    (*key, expected, None if None in naives else sum(naives), sum(sents) if sents else None)
                )
        of_sums: dict[Lane, list[tuple[int, int]]] = defaultdict(list)
        for _, _, one, other, expected, naive, sent in sums["past"]:
            if expected is not None and naive is not None:
                of_sums[one, other].append((abs(nearest(expected) - sent), abs(naive - sent)))
        for when, rows in sums.items():
            for weeks, day, one, other, expected, naive, sent in rows:
                misses = of_sums[one, other]
                fits = len(misses) < 20 or sum(m for m, _ in misses) < sum(n for _, n in misses)
                if fits or naive is None:
                    made_of = ("sum", expected, None if expected is None else nearest(expected))
                else:
                    made_of = ("naive", naive, naive)
                chosen[when].append((weeks, day, one, other, *made_of, naive, sent))
        spreads: dict[str, list[float]] = defaultdict(list)
        for _, _, one, other, _, expected, _, _, sent in chosen["past"]:
            if expected is not None:
                spreads[size(one, other, expected)].append(abs(sent - expected) / math.sqrt(expected + 0.25))
        for _, day, one, other, method, expected, forecast, naive, sent in chosen["own"]:
            low = high = 0 if method == "closed" else None
            if method != "closed" and expected is not None:
                spread = quantile(spreads[size(one, other, expected)], 0.8)
                reach = (1.28 if spread is None else spread) * math.sqrt(expected + 0.25)
                low = max(min(forecast, math.ceil(expected - reach)), 0)
                high = max(forecast, math.floor(expected + reach))
            found[nth, one, other, day] = (method, expected, forecast, low, high, naive, sent)
    return found


def median_below(expected: float) -> int:
    return max(math.floor(expected + 1 / 3 - 0.02 / expected), 0) if expected else 0


def size(one: str, other: str, expected: float) -> str:
    if not (one and other):
        return "out" if one else "in" if other else "all"
    return str(sum(expected >= bound for bound in (1, 4, 16)))


def assert_made_of_the_profiles(made: World) -> None:
    """The trials, what is shown of them, and their errors, against loops over the profiles."""
    expected = trial(made)
    found = made.rows(
        "SELECT weeks_back, supplying_branch, pickup_branch, date, method, expected_items, forecast_items, low_items, "
        "high_items, naive_items, sent FROM marts.forecast_trial"
    )
    assert len(found) == len(expected)
    for row in found:
        assert row[4:] == pytest.approx(expected[row[:4]]), row[:4]
    coming = {key[1:]: values for key, values in expected.items() if key[0] == 0}

    def crates(items: int | None) -> int | None:
        return None if items is None else math.ceil(items / 7)

    lanes = made.rows(
        "SELECT supplying_branch, pickup_branch, date, method, expected_items, forecast_items, low_items, high_items, "
        "crates, high_crates FROM marts.forecast_lane_day"
    )
    assert len(lanes) == sum(bool(one and other) for one, other, _ in coming)
    for row in lanes:
        of = coming[row[:3]][:5]
        assert row[3:] == pytest.approx((*of, crates(of[2]), crates(of[4])))
    branches = made.rows(
        "SELECT branch, direction, date, forecast_items, low_items, high_items, crates, low_crates, high_crates "
        "FROM marts.forecast_branch_day"
    )
    assert len(branches) == sum(bool(one) != bool(other) for one, other, _ in coming)
    for branch, direction, date, *rest in branches:
        of = coming[branch, "", date] if direction == "out" else coming["", branch, date]
        assert rest == [*of[2:5], *(crates(items) for items in of[2:5])]

    groups: dict[tuple[str, str, str], list[tuple[Any, ...]]] = defaultdict(list)
    for (weeks, one, other, _), (_, mean_items, forecast, low, high, naive, sent) in expected.items():
        if weeks and None not in (forecast, naive, sent):
            outcome = (sent, abs(forecast - sent), abs(naive - sent), low <= sent <= high)
            if one and other:
                groups["lane", one, other].append(outcome)
                groups["all_lanes", "", ""].append(outcome)
                if mean_items < 1:
                    groups["sparse_lanes", "", ""].append(outcome)
            else:
                groups["branch_out" if one else "branch_in" if other else "network", "", ""].append(outcome)
    errors = made.rows(
        "SELECT scope, supplying_branch, pickup_branch, forecasts, items, wape, naive_wape, improvement, band_held "
        "FROM marts.forecast_error"
    )
    assert {row[:3] for row in errors} == set(groups)
    for row in errors:
        outcomes = groups[row[:3]]
        items, missed, naive_missed, held = (sum(outcome[at] for outcome in outcomes) for at in range(4))
        assert row[3:] == pytest.approx((
            len(outcomes), items, missed / items if items else None, naive_missed / items if items else None,
            1 - missed / naive_missed if naive_missed else None, held / len(outcomes),
        ))  # fmt: skip


def median_of_counts(expected: float) -> int:
    """The median of a Poisson distribution, by adding its chances."""
    total, term, n = math.exp(-expected), math.exp(-expected), 0
    while total < 0.5:
        n += 1
        term *= expected / n
        total += term
    return n


def test_a_lanes_forecast_is_a_median(world: World) -> None:
    found = world.rows(
        "SELECT expected_items, forecast_items FROM marts.forecast_trial "
        "WHERE method = 'profile' AND expected_items > 0"
    )
    assert len(found) > 100
    assert sum(items == median_of_counts(expected) for expected, items in found) >= 0.98 * len(found)
    assert all(abs(items - median_of_counts(expected)) <= 1 for expected, items in found)


def test_the_trials_and_their_errors_are_those_of_the_loops(world: World) -> None:
    assert_made_of_the_profiles(world)
    assert {scope for (scope,) in world.rows("SELECT scope FROM marts.forecast_error")} == {
        "lane", "branch_out", "branch_in", "network", "all_lanes", "sparse_lanes",
    }  # fmt: skip
    (found,) = world.rows("SELECT improvement, band_held FROM marts.forecast_error WHERE scope = 'all_lanes'")
    assert found[0] > 0.2
    assert 0.7 <= found[1] <= 0.9


def test_what_comes_after_an_origin_changes_nothing_there(world: World) -> None:
    origin = AS_OF - 21 * DAY
    sent = {key: n if key[0] < origin else 3 * n + 7 for key, n in history().items()}
    other = World(sent, MISSING, CLOSED)
    asked = (
        "SELECT origin, date, supplying_branch, pickup_branch, method, expected_items, forecast_items, low_items, "
        f"high_items, naive_items FROM marts.forecast_trial WHERE origin <= DATE '{origin}' ORDER BY ALL"
    )
    assert world.rows(asked) == other.rows(asked)
    assert len(world.rows(asked)) > 6 * 6 * 9
    later = asked.replace("<=", ">")
    assert world.rows(later) != other.rows(later)
    other.con.close()


def test_a_lane_that_the_profile_serves_worse_gets_seasonal_naive() -> None:
    sent = history()
    for day in DAYS:
        if (day, "xb", "ya") in sent and day in WORKS:  # Fridays alone: no weekday of the network's
            sent[day, "xb", "ya"] = 8 if day.isoweekday() == 5 else 0
    made = World(sent, set(), None)
    asked = "SELECT DISTINCT supplying_branch, pickup_branch FROM marts.forecast_lane_day WHERE method = 'naive'"
    assert made.rows(asked) == [("xb", "ya")]
    fridays = made.rows(
        "SELECT isodow(date) = 5, forecast_items FROM marts.forecast_lane_day "
        "WHERE supplying_branch = 'xb' AND pickup_branch = 'ya'"
    )
    assert set(fridays) == {(True, 8), (False, 0)}
    assert_made_of_the_profiles(made)
    made.con.close()


def test_a_branch_whose_sum_the_profile_serves_worse_gets_that_of_seasonal_naive() -> None:
    """What it sends is the same every week; to which of two branches is chance, which the profile serves better."""
    sent, dice = history(), random.Random(2)
    for day in TRANSPORT:
        if (day, "ya", "xa") in sent:
            n = 12 if day.isoweekday() == 1 else 20
            sent[day, "ya", "xa"] = sum(dice.random() < 0.5 for _ in range(n))
            sent[day, "ya", "xb"] = n - sent[day, "ya", "xa"]
    sent[AS_OF - 23 * DAY, "ya", "xa"] += 5  # seasonal naive misses it, too: twice
    made = World(sent, set(), None)
    asked = "SELECT DISTINCT supplying_branch, method FROM marts.forecast_trial WHERE weeks_back = 0 AND pickup_branch"
    assert dict(made.rows(f"{asked} = ''")) == {"xa": "sum", "xb": "sum", "ya": "naive", "": "sum"}
    assert ("ya", "profile") in made.rows(f"{asked} <> ''")
    mondays = made.rows(
        "SELECT isodow(date) = 1, forecast_items FROM marts.forecast_branch_day "
        "WHERE branch = 'ya' AND direction = 'out' GROUP BY ALL"
    )
    assert set(mondays) == {(True, 12), (False, 20)}
    assert_made_of_the_profiles(made)
    made.con.close()
    # a Monday far off, of which seasonal naive makes two more: what came after an origin does not choose for it
    sent[AS_OF - 23 * DAY, "ya", "xa"] += 250
    later = World(sent, set(), None)
    asked = (
        "SELECT DISTINCT weeks_back, method FROM marts.forecast_trial WHERE supplying_branch = 'ya' "
        "AND pickup_branch = '' AND weeks_back IN (2, 3)"
    )
    assert dict(later.rows(asked)) == {2: "sum", 3: "naive"}
    assert_made_of_the_profiles(later)
    later.con.close()


def outlier(sent: dict[tuple[dt.date, str, str], int], one: str, other: str, *items: int) -> None:
    """Other numbers on a Monday three weeks before the run, and on those around it."""
    monday = AS_OF - 23 * DAY
    for week, n in enumerate(items):
        sent[monday + 7 * (week - len(items) // 2) * DAY, one, other] = n


def test_one_day_far_off_does_not_decide_which_method_serves_better() -> None:
    """Seasonal naive is nearer on the one day, or further off; all days together say something else."""
    sent = history()
    for day in WORKS:
        if (day, "xb", "ya") in sent:
            sent[day, "xb", "ya"] = 8 if day.isoweekday() == 5 else 0
    outlier(sent, "xb", "ya", 40)
    outlier(sent, "xa", "xb", 30, 70, 30)
    made = World(sent, set(), None)
    asked = "SELECT DISTINCT supplying_branch, pickup_branch FROM marts.forecast_lane_day WHERE method = 'naive'"
    assert made.rows(asked) == [("xb", "ya")]
    assert_made_of_the_profiles(made)
    made.con.close()


def test_what_opened_of_late_gets_what_serves_the_network() -> None:
    """Its lanes have less than twenty days to try; of a branch that was silent for four weeks naive knows nothing."""
    sent = {key: n for key, n in history().items() if "ya" not in key or key[0] >= AS_OF - 13 * DAY}
    silent = {("xb", AS_OF - ago * DAY) for ago in range(15, 43)}  # the four weeks before an origin
    silent |= {("xa", AS_OF - ago * DAY) for ago in range(22, 49)}  # but for their first day
    made = World(sent, silent, None)
    for weeks_back in (0, 2, 3, 16):
        assert_profile(made, weeks_back, sent, silent)
    asked = "SELECT DISTINCT method FROM marts.forecast_lane_day WHERE 'ya' IN (supplying_branch, pickup_branch)"
    assert made.rows(asked) == [("profile",)]
    unknown = (
        "SELECT count(*) FROM marts.forecast_trial WHERE supplying_branch = 'xb' AND sent IS NOT NULL "
        "AND naive_items IS NULL AND forecast_items IS NOT NULL"
    )
    assert made.rows(unknown)[0][0] > 0
    assert_made_of_the_profiles(made)
    made.con.close()


def test_a_network_of_two_days_knows_no_thursday() -> None:
    sent = {key: n for key, n in history().items() if key[0] >= AS_OF - 2 * DAY}
    made = World(sent, set(), None)
    assert_profile(made, 0, sent, set())
    weekdays = made.rows("SELECT DISTINCT method, isodow(date) FROM marts.forecast_lane_day ORDER BY ALL")
    assert weekdays == [("naive", 1), ("naive", 2), ("profile", 3), ("profile", 4), ("profile", 5)]
    assert_made_of_the_profiles(made)
    made.con.close()


def test_a_closed_branch_gets_nothing_however_wide_the_band() -> None:
    """Lanes on which three come together, or none: one more than expected would be nothing strange."""
    dice = random.Random(4)
    sent = {key: 3 * (dice.random() < 0.25) if "ya" in key and key[0] in WORKS else n for key, n in history().items()}
    made = World(sent, set(), CLOSED)
    asked = (
        "SELECT date > DATE '2023-06-09', max(high_items) FROM marts.forecast_lane_day "
        "WHERE 'ya' IN (supplying_branch, pickup_branch) AND expected_items < 1 GROUP BY ALL"
    )
    found = dict(made.rows(asked))
    assert found[True] == 0
    assert found[False] > 1
    assert_made_of_the_profiles(made)
    made.con.close()


def test_a_branch_that_closes_or_stops(world: World) -> None:
    closed = "date > DATE '2023-06-09'"
    of_ya = world.rows(
        f"SELECT DISTINCT forecast_items, low_items, high_items, crates FROM marts.forecast_branch_day "
        f"WHERE branch = 'ya' AND {closed}"
    )
    assert of_ya == [(0, 0, 0, 0)]
    methods = world.rows(
        "SELECT DISTINCT method FROM marts.forecast_lane_day "
        f"WHERE {closed} AND (supplying_branch = 'ya' OR pickup_branch = 'ya')"
    )
    assert methods == [("closed",)]
    # the register does not know it, but nothing has come for two weeks
    sent = {key: 0 if key[1] == "xa" and key[0] >= AS_OF - 14 * DAY else n for key, n in history().items()}
    stopped = World(sent, set(), None)
    asked = (
        "SELECT DISTINCT expected_items FROM marts.forecast_profile WHERE supplying_branch = 'xa' AND weeks_back = 0"
    )
    assert stopped.rows(asked) == [(0,)]
    assert_made_of_the_profiles(stopped)
    stopped.con.close()


def test_a_lane_has_stopped_when_eight_items_should_have_come() -> None:
    last = {("xa", "ya"): 5, ("xb", "ya"): 3, ("ya", "xa"): 9, ("ya", "xb"): 12, ("xb", "xa"): 3}
    sent = {
        key: 0 if key[0] >= AS_OF - 7 * last.get(key[1:], 0) * DAY else n // 3 + (key[0] in WORKS and key[1] == "ya")
        for key, n in history().items()
    }
    sent[AS_OF - 5 * DAY, "ya", "xa"] = 1  # a single item in that week
    sent |= {(AS_OF, one, other): 9 for _, one, other in sent}  # the day of the run tells nothing yet
    made = World(sent, set(), None)
    should_have_come = []
    for weeks_back in range(12):
        assert_profile(made, weeks_back, sent, set())
        should_have_come += Loops(sent, AS_OF - 7 * weeks_back * DAY).should_have_come.values()
    assert {6, 8} <= {math.floor(items) for items in should_have_come}, "on either side of eight"
    made.con.close()


@pytest.mark.parametrize(
    ("first", "says"),
    [
        (dt.date(2022, 4, 19), "the first day is that after a holiday, and has no usual before it"),
        (dt.date(2022, 5, 11), "exactly twenty days before this day a year ago; of a week before only fifteen"),
        (dt.date(2021, 5, 10), "two years and a month"),
    ],
)
def test_a_young_network(first: dt.date, says: str) -> None:
    sent = {key: n for key, n in history().items() if key[0] >= first}
    made = World(sent, set(), None)
    for weeks_back in range(17):
        assert_profile(made, weeks_back, sent, set())
    made.con.close()


def test_a_network_that_sends_nothing_on_mondays_and_nothing_around_its_first_holiday() -> None:
    begun = dt.date(2023, 1, 16)
    sent = {key: n if key[0].isoweekday() > 1 else 0 for key, n in history().items()}
    made = World(sent, set(), None)
    silent = {key: n if key[0] >= begun else 0 for key, n in history().items() if key[0] >= dt.date(2022, 11, 1)}
    young = World(silent, set(), None)
    for weeks_back in range(17):
        assert_profile(made, weeks_back, sent, set())
        assert_profile(young, weeks_back, silent, set())
    made.con.close()
    young.con.close()


def test_a_network_that_is_silent_expects_nothing() -> None:
    made = World(dict.fromkeys(history(), 0), set(), None)
    assert set(made.rows("SELECT expected_items FROM marts.forecast_profile")) == {(0,)}
    assert set(made.rows("SELECT expected_items, forecast_items, high_items FROM marts.forecast_trial")) == {(0, 0, 0)}
    made.con.close()


def test_a_lane_without_history_is_empty() -> None:
    sent = {key: n for key, n in history().items() if "ya" not in key}
    made = World(sent, set(), None)
    asked = "SELECT DISTINCT method, forecast_items, crates FROM marts.forecast_lane_day WHERE supplying_branch = 'ya'"
    assert made.rows(asked) == [("unknown", None, None)]
    assert_made_of_the_profiles(made)
    made.con.close()


def test_a_network_without_history_is_empty() -> None:
    made = World({}, set(), None)
    asked = "SELECT method, forecast_items, count(*) FROM marts.forecast_lane_day GROUP BY ALL"
    assert made.rows(asked) == [("unknown", None, 60)]
    assert_made_of_the_profiles(made)
    made.con.close()


def test_branches_add_up_what_their_lanes_expect(world: World) -> None:
    assert world.rows(
        "SELECT DISTINCT method FROM marts.forecast_trial WHERE weeks_back = 0 AND pickup_branch = ''"
    ) == [("sum",)]
    expected: dict[tuple[dt.date, str, str], float] = defaultdict(float)
    for day, one, other, items in world.rows(
        "SELECT date, supplying_branch, pickup_branch, expected_items FROM marts.forecast_lane_day"
    ):
        expected[day, one, "out"] += items
        expected[day, other, "in"] += items
    found = world.rows(
        "SELECT date, branch, direction, forecast_items, crates, high_items, high_crates FROM marts.forecast_branch_day"
    )
    assert {row[:3] for row in found} == set(expected)
    for day, branch, direction, items, crates, high, high_crates in found:
        assert items == pytest.approx(expected[day, branch, direction], abs=0.51)
        assert (crates, high_crates) == (math.ceil(items / 7), math.ceil(high / 7))
        assert high >= items
