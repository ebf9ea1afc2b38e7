"""What must hold of whole nights, whatever happens to the files: order, repetition, purging, crashes, readers."""

from __future__ import annotations

import datetime as dt
import os
import random
import re
import shutil
import subprocess
import sys
import textwrap
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import bronze, building, purging
from pendel.places import Busy, Places
from pendel.reference import read_reference
from pendel.simulate import simulate
from tests.pipeline import AS_OF, BRANCHES, PUBLISHED, night, places_in
from tests.test_simulate import write_reference

FIGURES = {
    "kpi.value": "* EXCLUDE (value, completeness), round(value, 9) AS value, round(completeness, 9) AS completeness",
    "kpi.published": "*",
    "marts.fct_leg": "* EXCLUDE (supplier_file_id, pickup_file_id)",
    "marts.agg_lane_day": "*",
    "marts.forecast_trial": "* REPLACE (round(expected_items, 3) AS expected_items)",
    "marts.forecast_error": "scope, supplying_branch, pickup_branch, forecasts, items, round(wape, 9), band_held",
    "quality.file": "* EXCLUDE (file_id, run_id, arrived_at, is_settled)",
    "quality.quarantined_row": "* EXCLUDE (file_id)",
    "quality.warning": "* EXCLUDE (file_id)",
}
"""What is compared of two warehouses: everything but the numbers of runs and files, the time of arrival, and which
rejected files ask for nothing more, since that is so of those that are gone."""

Figures = dict[str, list[tuple[Any, ...]]]


def figures(places: Places) -> Figures:
    with duckdb.connect(str(places.published), read_only=True) as con:
        return {
            relation: sorted(con.execute(f"SELECT {columns} FROM {relation}").fetchall(), key=repr)
            for relation, columns in FIGURES.items()
        }


def waiting(places: Places) -> list[tuple[str]]:
    """The rejected files that ask for somebody."""
    with duckdb.connect(str(places.published), read_only=True) as con:
        return con.execute(
            "SELECT file FROM quality.file WHERE state = 'rejected' AND NOT is_settled ORDER BY file"
        ).fetchall()


def assert_same(one: Figures, other: Figures) -> None:
    for relation in FIGURES:
        assert one[relation] == other[relation], relation


# ---------------------------------------------------------------------------------------------- a network and its year


@dataclass
class Network:
    raw: Path
    reference: Path
    first_night: Places
    figures: Figures
    begun: Path | None = None

    def install(self, folder: Path) -> Places:
        """An installation of its own, with nothing delivered."""
        return places_in(folder, self.reference)

    def deliver(self, places: Places, files: Iterable[Path], times: dict[Path, int] | None = None) -> None:
        """Copy exports (relative to the raw folder) with the time at which they arrived."""
        for file in files:
            target = places.raw / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.raw / file, target)
            if times:
                os.utime(target, ns=(times[file], times[file]))

    def files(self) -> list[Path]:
        """All exports, in order of arrival."""
        found = [path for path in self.raw.rglob("*") if path.is_file()]
        found.sort(key=lambda path: (path.stat().st_mtime_ns, path.relative_to(self.raw).as_posix()))
        return [path.relative_to(self.raw) for path in found]

    def after_one_night(self, folder: Path) -> tuple[Places, list[Path]]:
        """An installation that has published the first exports, and the exports that have not come yet."""
        files = self.files()
        if not self.begun:
            places = self.install(self.raw.parent / "begun")
            self.deliver(places, files[:40])
            night(places, AS_OF)
            self.begun = places.raw.parent
        shutil.copytree(self.begun, folder, dirs_exist_ok=True)
        return self.install(folder), files[40:]

    def shuffled(self, seed: int) -> list[Path]:
        """All exports in another order; of one branch and day the order stays, since the later one replaces."""
        rng = random.Random(seed)
        groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
        for file in self.files():
            groups[file.parts[0], "".join(re.findall(r"[0-9]", file.name))[-8:]].append(file)
        order = [key for key, group in groups.items() for _ in group]
        rng.shuffle(order)
        return [groups[key].pop(0) for key in order]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    folder = tmp_path_factory.mktemp("network")
    reference = write_reference(folder / "reference", BRANCHES, PUBLISHED)
    simulate(2024, folder / "raw", reference, imperfections=True, truth=folder / "truth.json")
    places = Places.of(raw=folder / "raw", reference=reference, warehouse=folder / "warehouse")
    summary = night(places, AS_OF)
    # otherwise what is compared below would be a comparison of nothing with nothing
    assert summary["legs"]["delivered"] == 241
    assert all(summary["files"].values())
    assert all(figures(places).values())
    return Network(folder / "raw", reference, places, figures(places))


def test_files_are_in_another_order(network: Network) -> None:
    assert sorted(network.shuffled(1)) == sorted(network.files())
    assert network.shuffled(1) != network.shuffled(2)


def test_the_order_of_arrival_changes_nothing(network: Network, tmp_path: Path) -> None:
    places = network.install(tmp_path)
    order = network.shuffled(1)
    start = 1_715_000_000 * 10**9
    network.deliver(places, order, {file: start + i * 10**9 for i, file in enumerate(order)})
    night(places, AS_OF)
    assert_same(figures(places), network.figures)


@pytest.mark.parametrize("raw", ["kept", "purged", "gone"])
def test_several_nights_are_as_one(network: Network, tmp_path: Path, raw: str) -> None:
    """The files come in another order, over two nights; purged: after each night what is safe in bronze is removed;
    gone: everything, by somebody who knows no better.
    """
    places = network.install(tmp_path)
    order = network.shuffled(3)
    for part in (order[: len(order) // 3], order[len(order) // 3 :]):
        network.deliver(places, part)
        night(places, AS_OF)
        if raw == "gone":
            shutil.rmtree(places.raw)
            places.raw.mkdir()
        elif raw == "purged":
            planned = purging.plan(places, AS_OF + dt.timedelta(days=365), older_than=1)
            assert len(planned.files) > len(part) // 2
            assert purging.purge(places, planned, dt.datetime(2025, 5, 10)) == planned.files
    assert_same(figures(places), network.figures)
    if raw != "kept":
        night(places, AS_OF)
        assert_same(figures(places), network.figures)
    assert len(waiting(network.first_night)) > 1
    assert waiting(places) == ([] if raw == "gone" else waiting(network.first_night))
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM file").fetchone() == (len(order),)


def test_a_night_with_nothing_new_changes_nothing(network: Network, tmp_path: Path) -> None:
    places = network.install(tmp_path)
    network.deliver(places, network.files())
    first = night(places, AS_OF)
    stored = everything_in_bronze(places)
    assert night(places, AS_OF) == first
    assert_same(figures(places), network.figures)
    assert everything_in_bronze(places) == stored


def test_files_put_back_with_other_time_stamps_change_nothing(network: Network, tmp_path: Path) -> None:
    """As after a restored backup, or a copy to another disk: an export that was in time does not become late."""
    places = network.install(tmp_path)
    files = network.files()[:30]
    network.deliver(places, files)
    first = night(places, AS_OF)
    before = figures(places)
    for file in files:
        os.utime(places.raw / file)
    again = night(places, AS_OF)
    assert_same(figures(places), before)
    assert again["feed"] == first["feed"]


def everything_in_bronze(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        return {
            table: sorted(con.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in ("file", "row", "quarantine", "warning")
        }


def test_a_new_file_changes_only_the_lanes_of_its_branch(network: Network, tmp_path: Path) -> None:
    exports = [file for file in network.files() if file.parts[:2] == ("ba", "2024") and not is_replaced(file, network)]
    late = max(exports, key=lambda file: (network.raw / file).stat().st_size)
    branch = late.parts[0]
    places = network.install(tmp_path)
    network.deliver(places, [file for file in network.files() if file != late])
    night(places, AS_OF)
    without = by_lane(places)
    network.deliver(places, [late])
    night(places, AS_OF)
    assert_same(figures(places), network.figures)
    changed = {key for key, value in by_lane(places).items() if value != without[key]}
    assert any(key[0] == "deliveries_total" for key in changed)
    assert {key for key in changed if branch not in key[-2:]} == set()


def is_replaced(file: Path, network: Network) -> bool:
    return (network.raw / "ba" / "corrected" / file.name).exists()


def by_lane(places: Places) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    with duckdb.connect(str(places.published), read_only=True) as con:
        rows = con.execute(
            "SELECT kpi, year, month, supplying_branch, pickup_branch, round(value, 9), round(completeness, 9) "
            "FROM kpi.value WHERE dimension = 'lane'"
        ).fetchall()
    return {row[:5]: row[5:] for row in rows}


# ------------------------------------------------------------------------------- continued, or built afresh


@pytest.fixture(scope="module")
def turn_of_the_year(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Five weeks around New Year, with late, repeated, corrected and broken exports."""
    folder = tmp_path_factory.mktemp("turn")
    branches = re.sub("2024-03-18", "2023-12-11", re.sub("2024-04-27", "2024-01-20", BRANCHES))
    branches = branches.replace("2024-03-30", "2023-12-23").replace("2024-04-15", "2024-01-02")
    reference = write_reference(folder / "reference", branches, PUBLISHED.replace("2024", "2023"))
    for year in (2023, 2024):
        simulate(
            year, folder / "raw", reference, imperfections=True, continues=year > 2023, truth=folder / f"{year}.json"
        )
    return Network(folder / "raw", reference, Places.of(raw=folder / "raw"), {})


def contents(con: duckdb.DuckDBPyConnection) -> Figures:
    """All that is in a warehouse, but for the list of runs and the results of checks."""
    relations = con.execute(
        "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = current_catalog() "
        "AND table_name NOT IN ('run', 'check_result')"
    ).fetchall()
    return {name: sorted(con.execute(f"SELECT * FROM {name}").fetchall(), key=repr) for (name,) in relations}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_continued_warehouse_is_the_one_that_is_built_afresh(
    turn_of_the_year: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Nights of some files each, in any order of arrival, on days that go on, stand still and even go back."""
    places = turn_of_the_year.install(tmp_path)
    rng = random.Random(seed)
    order = turn_of_the_year.shuffled(seed)
    ends = [*sorted(rng.sample(range(len(order)), 6)), len(order), len(order)]
    days = [dt.date(2024, 1, 5) + dt.timedelta(days=rng.choice([0, 1, 9, -1, -8])) for _ in ends]
    continued = []
    renew = building._renew
    monkeypatch.setattr(building, "_renew", lambda *given: continued.append(given) or renew(*given))
    for start, end, day in zip([0, *ends], ends, days, strict=False):
        turn_of_the_year.deliver(places, order[start:end])
        night(places, day)
        with duckdb.connect(str(places.published), read_only=True) as con:
            found = contents(con)
        reference = read_reference(places.reference)
        run = bronze.Run.start(day)
        with building.built(places, reference, run, afresh=True) as build:
            expected = contents(build.con)
        assert found == expected, (start, end, day)
    assert len(continued) >= 4
    years = {row[1] for row in found["kpi.value"]}
    assert len(years) == 2


def test_the_figures_of_now_move_on_to_the_new_year(
    turn_of_the_year: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until an export of the new year comes they stand under the old one, renewed from day to day."""
    places = turn_of_the_year.install(tmp_path)
    files = turn_of_the_year.shuffled(1)
    is_old = {path: "2023" in path.name for path in files}
    continued = []
    renew = building._renew
    monkeypatch.setattr(building, "_renew", lambda *given: continued.append(given) or renew(*given))
    shown = []
    for day, delivered in (
        ("2023-12-30", [path for path in files if is_old[path]]), ("2024-01-02", []), ("2024-01-12", []),
        ("2024-01-13", [path for path in files if not is_old[path]]), ("2024-01-02", []),
    ):  # fmt: skip
        turn_of_the_year.deliver(places, delivered)
        night(places, dt.date.fromisoformat(day))
        with duckdb.connect(str(places.published), read_only=True) as con:
            found = contents(con)
            shown.append(con.execute("SELECT year, month FROM kpi.value WHERE kpi = 'overdue' AND dimension = 'total' "
                                     "ORDER BY month").fetchall())  # fmt: skip
        run = bronze.Run.start(dt.date.fromisoformat(day))
        with building.built(places, read_reference(places.reference), run, afresh=True) as build:
            assert found == contents(build.con), day
    assert shown == [[(2023, 0), (2023, 12)]] * 3 + [[(2024, 0), (2024, 1)]] * 2
    assert len(continued) >= 3


CHANGES: dict[str, Callable[[Places], None]] = {
    "the register": lambda places: append(places.reference / "branches.csv", "zz,Zed,Y,,zz,dnb_tsv,2024-05-01,\n"),
    "a parameter": lambda places: append(places.reference / "simulation.yaml", "# any file there\n"),
    "the published file": lambda places: os.utime(places.published),
    "the mark": lambda places: places.mark.write_text("{"),
    "no mark": lambda places: places.mark.unlink(),
    "bronze from elsewhere": lambda places: another_bronze(places),
}


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def another_bronze(places: Places) -> None:
    with duckdb.connect(str(places.bronze)) as con:
        con.execute("UPDATE file SET run_id = 'another'")


@pytest.mark.parametrize("change", [None, *CHANGES])
def test_what_is_continued_and_what_is_built_whole(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str | None
) -> None:
    places, rest = network.after_one_night(tmp_path)
    shutil.copytree(places.reference, tmp_path / "reference")
    places = places_in(tmp_path, tmp_path / "reference")
    night(places, AS_OF)
    if change:
        CHANGES[change](places)
    network.deliver(places, rest[:3])
    continued = []
    renew = building._renew
    monkeypatch.setattr(building, "_renew", lambda *given: continued.append(given) or renew(*given))
    night(places, AS_OF)
    assert bool(continued) == (change is None)


# ---------------------------------------------------------------------------------------------- crashes


class Crash(Exception):
    pass


def crash(*_: object, **__: object) -> None:
    raise Crash


CRASHES = {
    "before the commit": (bronze, "_check_sums"),
    "before publishing": (building, "publish"),
}


@pytest.mark.parametrize("when", CRASHES)
def test_a_night_that_fails_leaves_yesterday_and_the_next_one_mends_it(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    places, rest = network.after_one_night(tmp_path)
    yesterday, stored = figures(places), everything_in_bronze(places)
    assert yesterday["marts.fct_leg"] != network.figures["marts.fct_leg"]
    network.deliver(places, rest)
    module, function = CRASHES[when]
    with monkeypatch.context() as patched:
        patched.setattr(module, function, crash)
        with pytest.raises(Crash):
            night(places, AS_OF)
    assert_same(figures(places), yesterday)
    if module is bronze:
        assert everything_in_bronze(places) == stored
    assert {path.name for path in places.warehouse.iterdir() if path.is_file()} <= {
        "bronze.duckdb", "bronze.lock", "pendel.duckdb", "published.json",
    }  # fmt: skip
    night(places, AS_OF)
    assert_same(figures(places), network.figures)


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another process, that takes lines and gives lines."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
    )


KILLED = """
    import datetime, os, sys
    from pathlib import Path
    from pendel import bronze, building, purging
    from pendel.places import Places
    from tests.pipeline import night
    raw, reference, warehouse, module, function = sys.argv[1:]
    real = getattr({"bronze": bronze, "building": building}[module], function)
    def kill(*arguments, **named):
        if function == "create_models":
            real(*arguments, **named)
        os._exit(9)
    setattr({"bronze": bronze, "building": building}[module], function, kill)
    night(Places(Path(raw), Path(reference), Path(warehouse)), datetime.date(2024, 5, 10))
"""


@pytest.mark.parametrize(("module", "function"), [("bronze", "_check_sums"), ("building", "create_models")])
def test_a_process_that_was_killed(network: Network, tmp_path: Path, module: str, function: str) -> None:
    """The process ends at once: no exception, no cleaning up; with rows half stored, or a warehouse half built."""
    places, rest = network.after_one_night(tmp_path)
    yesterday = figures(places)
    network.deliver(places, rest)
    with python(KILLED, places.raw, places.reference, places.warehouse, module, function) as process:
        assert process.wait() == 9
    assert_same(figures(places), yesterday)
    left = [path.name for path in places.warehouse.glob("pendel.building-*")]
    assert bool(left) == (module == "building")
    night(places, AS_OF)
    assert_same(figures(places), network.figures)
    assert list(places.warehouse.glob("pendel.building-*")) == []


# ---------------------------------------------------------------------------------------------- the lock


def test_another_run_is_busy(network: Network, tmp_path: Path) -> None:
    places = network.install(tmp_path)
    network.deliver(places, network.files()[:5])
    other = bronze.Run.start(AS_OF)
    with bronze.locked(places, other):
        with pytest.raises(Busy, match=f"{other.run_id}.*process {os.getpid()}"):
            night(places, AS_OF)
        assert not places.bronze.exists()
        assert not places.published.exists()
        # and the refused run has not let go of what is not its own
        with pytest.raises(Busy):
            night(places, AS_OF)
    night(places, AS_OF)
    assert places.published.exists()


def test_a_run_in_another_process_is_busy(network: Network, tmp_path: Path) -> None:
    places = network.install(tmp_path)
    code = """
        import datetime, sys
        from pathlib import Path
        from pendel import bronze
        from pendel.places import Places
        places = Places(Path(), Path(), Path(sys.argv[1]))
        run = bronze.Run("the-other-run", datetime.datetime(2024, 5, 10, 3), datetime.date(2024, 5, 10))
        with bronze.locked(places, run):
            print("locked", flush=True)
            sys.stdin.readline()
    """
    with python(code, places.warehouse) as process:
        assert process.stdout
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(Busy, match="the-other-run") as raised:
            night(places, AS_OF)
        assert raised.value.values["pid"] == process.pid
        process.kill()  # its lock goes with it
    night(places, AS_OF)
    assert places.published.exists()


# ---------------------------------------------------------------------------------------------- readers


READER = """
    import sys
    import duckdb
    path = sys.argv[1]
    held = duckdb.connect(path, read_only=True)
    def figures(con):
        return con.execute("SELECT count(*), count(received_at) FROM marts.fct_leg").fetchone()
    before = figures(held)
    print("reading", flush=True)
    sys.stdin.readline()  # a new warehouse was published
    print(before == figures(held), *before, flush=True)
    held.close()
    print(*figures(duckdb.connect(path, read_only=True)), flush=True)
"""
RESTLESS = """
    import os, sys, threading
    import duckdb
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    seen, reads = [], 0
    print("reading", flush=True)
    while not stop.is_set() or reads < 3:
        with duckdb.connect(sys.argv[1], read_only=True) as con:
            run = con.execute("SELECT run_id FROM quality.run WHERE is_this_run").fetchone()[0]
            total = con.execute("SELECT sum(delivered) FROM marts.agg_lane_day").fetchone()[0]
            assert con.execute("SELECT count(*) FROM marts.fct_delivery").fetchone()[0] == total
        reads += 1
        if run not in seen:
            seen.append(run)
    print(len(seen), flush=True)
"""


def test_readers_keep_reading_while_a_new_warehouse_is_published(network: Network, tmp_path: Path) -> None:
    places, rest = network.after_one_night(tmp_path)
    with python(READER, places.published) as patient, python(RESTLESS, places.published) as restless:
        for process in (patient, restless):
            assert process.stdout
            assert process.stdout.readline() == "reading\n"
        network.deliver(places, rest)
        night(places, AS_OF)
        old, _ = patient.communicate("published\n", timeout=60)
        seen, _ = restless.communicate("published\n", timeout=60)
    same, new = old.splitlines()
    assert same.startswith("True ")
    legs = len(network.figures["marts.fct_leg"])
    received = sum(row[10] is not None for row in network.figures["marts.fct_leg"])
    assert new == f"{legs} {received}"
    assert same != f"True {new}"
    assert (patient.returncode, restless.returncode) == (0, 0)
    assert seen == "2\n"


# ---------------------------------------------------------------------------------------------- the published file


def test_the_published_file_is_one_that_every_duckdb_opens(network: Network) -> None:
    published = network.first_night.published
    header = published.read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 64  # the storage of v1.0.0, says DuckDB's own table of versions
    assert [path.name for path in published.parent.glob("pendel*")] == ["pendel.duckdb"]
    with duckdb.connect(str(published), read_only=True) as con:
        tags = con.execute("SELECT tags FROM duckdb_databases() WHERE database_name = 'pendel'").fetchone()
        assert tags is not None
        assert tags[0]["storage_version"].startswith("v1.0.0")
        size = con.execute("SELECT wal_size FROM pragma_database_size() WHERE database_name = 'pendel'").fetchone()
        assert size == ("0 bytes",)


def test_nothing_of_the_pipeline_is_left_in_the_published_file(network: Network) -> None:
    with duckdb.connect(str(network.first_night.published), read_only=True) as con:
        relations = con.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = 'pendel' UNION ALL "
            "SELECT schema_name, view_name FROM duckdb_views() WHERE database_name = 'pendel' AND NOT internal"
        ).fetchall()
        assert {schema for schema, _ in relations} == {"marts", "kpi", "quality"}
        schemas = con.execute(
            "SELECT DISTINCT schema_name FROM duckdb_schemas() WHERE database_name = 'pendel' AND NOT internal"
        ).fetchall()
        assert {schema for (schema,) in schemas} - {"main"} == {"marts", "kpi", "quality"}
        for schema, relation in relations:  # a view on what is not there would fail
            assert con.execute(f"SELECT count(*) FROM {schema}.{relation}").fetchone() is not None
        texts = con.execute("SELECT sql FROM duckdb_views() WHERE NOT internal").fetchall()
        assert texts
        for (text,) in texts:
            assert not re.search(r"\b(staging|reference|bronze|warehouse)\.", text), text


def test_where_an_open_file_cannot_be_replaced(
    network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows: tried again, and in the end published under a dated name beside the old one."""
    places, rest = network.after_one_night(tmp_path)
    before = figures(places)
    replace: Callable[..., None] = os.replace
    refusals: list[int] = []
    pauses: list[float] = []

    def stubborn(source: Path, target: Path) -> None:
        if Path(target).name == "pendel.duckdb" and refusals[-1] > 0:
            refusals[-1] -= 1
            raise PermissionError
        replace(source, target)

    monkeypatch.setattr(building.os, "replace", stubborn)
    monkeypatch.setattr(building, "publish", lambda b, p, real=building.publish: real(b, p, pauses.append))
    network.deliver(places, rest)
    refusals.append(5)
    night(places, AS_OF)
    assert_same(figures(places), before)
    (dated,) = places.warehouse.glob("pendel-*.duckdb")
    assert re.fullmatch(r"pendel-20[0-9]{2}-[0-9]{2}-[0-9]{2}\.duckdb", dated.name)
    with duckdb.connect(str(dated), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM quality.file").fetchone() == (len(network.files()),)
    assert pauses == sorted(pauses)
    assert len(pauses) == 5
    refusals.append(2)
    night(places, AS_OF)
    assert_same(figures(places), network.figures)
    assert refusals == [0, 0]
