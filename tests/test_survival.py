"""What a run survives: a damaged or lost store, a full disk, a clock set back, others at work."""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pendel import bronze, figures, reading
from pendel.places import Damaged, Places, UserError
from pendel.reference import read_reference
from pendel.simulate import simulate
from tests.pipeline import AS_OF, BRANCHES, PUBLISHED, night, places_in
from tests.test_cli import Pendel, at, pendel  # noqa: F401
from tests.test_properties import Network
from tests.test_simulate import write_reference


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """Exports with late, repeated, corrected and broken ones among them, and nothing taken in."""
    folder = tmp_path_factory.mktemp("network")
    reference = write_reference(folder / "reference", BRANCHES, PUBLISHED)
    simulate(2024, folder / "raw", reference, imperfections=True, truth=folder / "truth.json")
    return Network(folder / "raw", reference, Places.of(raw=folder / "raw"), {})


@pytest.fixture(scope="module")
def nights(network: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation after three nights, in which files arrived in another order than their times tell."""
    folder = tmp_path_factory.mktemp("nights")
    places = network.install(folder)
    order = network.files()
    random.Random(4).shuffle(order)
    for part in (order[:50], order[50:51], order[51:]):
        network.deliver(places, part)
        night(places, AS_OF)
        write_manifest(places)
    return folder


@pytest.fixture
def places(nights: Path, network: Network, tmp_path: Path) -> Places:
    """That installation, for a test of its own."""
    shutil.copytree(nights, tmp_path, dirs_exist_ok=True)
    return places_in(tmp_path, network.reference)


def write_manifest(places: Places) -> None:
    """What a run writes of the files that it took in."""
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        ((run_id,),) = con.execute("SELECT run_id FROM run ORDER BY run_id DESC LIMIT 1").fetchall()
        inputs = con.execute(
            "SELECT file_id, path_key, sha256, arrived_at, verdict FROM file WHERE run_id = ? ORDER BY file_id DESC",
            [run_id],
        ).fetchall()
    (places.runs / run_id).mkdir(parents=True, exist_ok=True)
    told = [
        {"file_id": file_id, "path_key": key, "sha256": sha256, "arrived_at": arrived.isoformat(), "verdict": verdict}
        for file_id, key, sha256, arrived, verdict in inputs
    ]
    (places.runs / run_id / "manifest.json").write_text(json.dumps({"run_id": run_id, "inputs": told}))


def contents(places: Places) -> dict[str, list[tuple[Any, ...]]]:
    """All that is published but for runs: numbers of files, times of arrival and states of files are in it."""
    with duckdb.connect(str(places.published), read_only=True) as con:
        relations = con.execute(
            "SELECT schema_name || '.' || table_name FROM duckdb_tables() WHERE database_name = 'pendel' "
            "AND table_name NOT IN ('run', 'check_result')"
        ).fetchall()
        return {
            name: sorted(con.execute(f"SELECT COLUMNS(lambda c: c <> 'run_id') FROM {name}").fetchall(), key=repr)
            for (name,) in relations
        }


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its bytes."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("bronze.lock", "bronze.lock.json")
    }


# ---------------------------------------------------------------------------------------------- a store made again


def halved(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwritten(content: bytes) -> bytes:
    """Blocks in the middle, as by a bad sector: the file still opens."""
    start = 12288 + 262144
    return content[:start] + b"\xff" * (len(content) - start)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "halved": halved,
    "emptied": lambda content: b"",
    "no database": lambda content: b"a spreadsheet, perhaps" * 1000,
    "overwritten header": lambda content: content[:4200] + b"\xff" * 100 + content[4300:],
    "overwritten blocks": overwritten,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_store_is_refused_and_made_again(places: Places, damage: str) -> None:
    figures_before, raw_before = contents(places), tree(places.raw)
    content = DAMAGE[damage](places.bronze.read_bytes())
    places.bronze.write_bytes(content)
    for file in places.raw.rglob("*"):
        os.utime(file)  # the times of the files tell nothing any more: the order stands in the manifests
    with pytest.raises(Damaged, match=r"bronze\.duckdb.*pendel rebuild"):
        night(places, AS_OF)
    assert places.bronze.read_bytes() == content, "it is left for whoever wants to mend it"
    assert contents(places) == figures_before
    assert not bronze.is_sound(places)

    night(places, AS_OF, afresh=True)
    assert contents(places) == figures_before
    assert tree(places.raw) == raw_before
    assert bronze.is_sound(places)
    (aside,) = places.warehouse.glob("bronze.duckdb.set-aside-*")
    assert aside.read_bytes() == content
    night(places, AS_OF)
    assert contents(places) == figures_before


def test_a_sound_store_is_made_again_as_it_was(places: Places) -> None:
    before = contents(places)
    assert bronze.is_sound(places)
    night(places, AS_OF, afresh=True)
    assert contents(places) == before
    # and once more, of what the first rebuild told of itself
    write_manifest(places)
    night(places, AS_OF, afresh=True)
    assert contents(places) == before
    asides = list(places.warehouse.glob("bronze.duckdb.set-aside-*"))
    assert len(asides) == 2
    for aside in asides:
        with duckdb.connect(str(aside), read_only=True) as con:
            assert con.execute("SELECT count(*) > 0 FROM row").fetchone() == (True,)


def test_without_the_manifests_the_order_would_be_another(places: Places) -> None:
    """Otherwise the tests above would prove nothing of the manifests."""
    before = contents(places)
    shutil.rmtree(places.runs)
    night(places, AS_OF, afresh=True)
    assert contents(places) != before


def test_a_lost_store_is_not_quietly_begun_again(places: Places) -> None:
    before = contents(places)
    places.bronze.unlink()
    for _ in range(2):
        with pytest.raises(Damaged, match="earlier runs filled it"):
            night(places, AS_OF)
        assert not bronze.is_sound(places)
    assert contents(places) == before
    night(places, AS_OF, afresh=True)
    assert contents(places) == before


def test_purged_files_are_missed_before_anything_is_changed(places: Places) -> None:
    last = sorted(places.runs.glob("*/manifest.json"))[-1].parent.name
    bytes_of = {path: path.read_bytes() for path in places.raw.rglob("*") if path.is_file()}
    unique = [path for path, content in bytes_of.items() if list(bytes_of.values()).count(content) == 1]
    for path in unique[:3]:
        path.unlink()
    places.bronze.write_bytes(b"damaged")
    before = tree(places.warehouse)
    with pytest.raises(UserError, match="3 files that runs once took in") as raised:
        night(places, AS_OF, afresh=True)
    assert raised.value.values["last"] <= last
    assert not isinstance(raised.value, Damaged)
    assert tree(places.warehouse) == before
    for path in unique[:3]:
        path.write_bytes(bytes_of[path])
    night(places, AS_OF, afresh=True)


def test_moved_and_replaced_files_are_not_missed(places: Places) -> None:
    def delivered() -> list[tuple[Any, ...]]:
        with duckdb.connect(str(places.published), read_only=True) as con:
            return con.execute(
                "SELECT * EXCLUDE (supplier_file_id, pickup_file_id) FROM marts.fct_leg ORDER BY ALL"
            ).fetchall()

    text = next(path for path in sorted(places.raw.glob("ba/**/*.tsv")) if path.stat().st_size > 500)
    lines = text.read_bytes().splitlines(keepends=True)
    text.write_bytes(b"".join(lines[:-1]))  # a corrected export under the same name
    night(places, AS_OF)
    write_manifest(places)
    before = delivered()
    other = next(path for path in sorted(places.raw.glob("aa/**/*.csv")) if path != text)
    (other.parent / "moved").mkdir()
    shutil.move(other, other.parent / "moved" / other.name)
    night(places, AS_OF, afresh=True)
    assert delivered() == before

    # the same, replaced by what cannot be used: the export of before would count, and is gone
    write_manifest(places)
    text.write_bytes(b"no export")
    night(places, AS_OF)
    write_manifest(places)
    assert delivered() == before
    with pytest.raises(UserError, match="no longer in"):
        night(places, AS_OF, afresh=True)


def test_a_rebuild_of_which_a_branch_cannot_be_read_changes_nothing(places: Places) -> None:
    reference = read_reference(places.reference)
    plan = bronze.plan_afresh(places)
    batches = [reading.read_files(places.raw, files, set(), reference) for files in list(plan.files.values())[1:]]
    before = tree(places.warehouse)
    with pytest.raises(UserError, match="could not be read"):
        bronze.start_afresh(places, bronze.Run.start(AS_OF, places), plan, batches)
    assert tree(places.warehouse) == before


def test_files_of_a_run_without_a_manifest_are_known_too(network: Network, tmp_path: Path) -> None:
    """It was killed, or the disk was full, when its files were in the store: the next run tells of them."""
    places = network.install(tmp_path)
    order = network.files()
    random.Random(4).shuffle(order)
    for part in (order[:50], order[50:90], order[90:]):
        network.deliver(places, part)
        night(places, AS_OF)
        if part == order[50:90]:
            killed = max(places.runs.glob("*/manifest.json"))
            killed.unlink()
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        stored = set(con.execute("SELECT path_key, sha256 FROM file").fetchall())
    assert {(arrival.path_key, arrival.sha256) for arrival in bronze.arrivals(places)} == stored
    before = contents(places)
    for file in places.raw.rglob("*"):
        os.utime(file)  # so that nothing but the manifests tells the order
    night(places, AS_OF, afresh=True)
    assert contents(places) == before


def test_arrivals(tmp_path: Path) -> None:
    """In the order of the runs, then of the files' numbers; of a file that two runs took in the first."""
    places = places_in(tmp_path)
    assert bronze.arrivals(places) == []

    def manifest(run_id: str, *inputs: tuple[int, str, str, str]) -> Path:
        path = places.runs / run_id / "manifest.json"
        path.parent.mkdir(parents=True)
        names = ("file_id", "path_key", "sha256", "arrived_at")
        told = [dict(zip(names, item, strict=True)) | {"verdict": "read", "more": 1} for item in inputs]
        path.write_text(json.dumps({"inputs": told, "outputs": []}))
        return path

    manifest("20240103T000000Z-0000", (3, "a", "1", "2024-01-03T01:00:00"), (2, "c", "1", "2024-01-01T01:00:00"))
    manifest("20240102T000000Z-ffff", (2, "b", "1", "2024-01-02T03:00:00"), (1, "a", "1", "2024-01-02T04:00:00"))
    (places.runs / "20240101T000000Z-0000").mkdir()
    found = [(arrival.turn, arrival.path_key, str(arrival.arrived_at)) for arrival in bronze.arrivals(places)]
    assert found == [
        (0, "a", "2024-01-02 04:00:00"),
        (1, "b", "2024-01-02 03:00:00"),
        (2, "c", "2024-01-01 01:00:00"),
    ]
    assert bronze.arrivals(places)[2].run_id == "20240103T000000Z-0000"
    manifest("20240104T000000Z-0000").write_text('{"inputs": [{"file_id": 1}]}')
    with pytest.raises(UserError, match=r"20240104T000000Z-0000/manifest\.json"):
        bronze.arrivals(places)


@pytest.mark.parametrize("answer", ["no\n", "\n"])
def test_rebuild_asks_when_there_is_no_need(
    places: Places,
    pendel: Pendel,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
) -> None:
    before = tree(places.warehouse)
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    done = pendel("rebuild", *at(places))
    assert done.code == 0
    assert "is in orde" in done.err
    assert tree(places.warehouse) == before


# ---------------------------------------------------------------------------------------------- the published file


def test_a_damaged_warehouse_is_said_to_be_so_and_built_again(places: Places, pendel: Pendel) -> None:  # noqa: F811
    before = contents(places)
    stat = places.published.stat()
    content = places.published.read_bytes()
    places.published.write_bytes(overwritten(content))
    os.utime(places.published, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # a bad sector changes no time
    done = pendel("query", "SELECT * FROM marts.fct_leg", "--lang", "en", *at(places))
    assert done.code != 0
    assert "Traceback" not in done.err
    night(places, AS_OF)
    assert contents(places) == before

    places.published.write_bytes(b"x" * 9000)
    done = pendel("kpi", "--lang", "en", *at(places))
    assert (done.code, done.out) == (2, "")
    assert "cannot be read" in done.err
    assert "pendel nightly" in done.err
    night(places, AS_OF)
    assert contents(places) == before


# ---------------------------------------------------------------------------------------------- a full disk


LIMITED = """
    import datetime, resource, sys
    from pathlib import Path
    from pendel.places import Places, UserError
    from tests.pipeline import night
    raw, reference, warehouse, most = sys.argv[1:]
    if int(most):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(most), int(most)))
    try:
        night(Places(Path(raw), Path(reference), Path(warehouse)), datetime.date(2024, 5, 10))
    except UserError as error:
        print(error)
"""


def other_night(places: Places, most: int = 0) -> subprocess.CompletedProcess[str]:
    """A night in another process, in which no file may grow beyond `most` bytes."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(LIMITED), *map(str, vars(places).values()), str(most)],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=120,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is POSIX'")
@pytest.mark.parametrize("share", [0.0, 0.3, 0.8])
def test_a_full_disk(network: Network, tmp_path: Path, share: float) -> None:
    """Nothing can be written beyond a size: of the first bytes, of the store, of the warehouse."""
    places, rest = network.after_one_night(tmp_path)
    before = contents(places)
    network.deliver(places, rest)
    most = 10 if share == 0 else int(share * places.published.stat().st_size)
    done = other_night(places, most)
    assert "There is no room left in" in done.stdout, done.stderr
    assert done.stderr == ""
    assert contents(places) == before
    assert not list(places.warehouse.glob("pendel.building-*"))
    night(places, AS_OF)
    expected = network.install(tmp_path / "expected")
    network.deliver(expected, network.files()[:40])
    night(expected, AS_OF)
    network.deliver(expected, network.files()[40:])
    night(expected, AS_OF)
    assert contents(places) == contents(expected)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of three megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_small_disk(network: Network, tmp_path: Path, small_disk: Path, pendel: Pendel) -> None:  # noqa: F811
    places = network.install(tmp_path)
    network.deliver(places, network.files())
    small = Places(places.raw, places.reference, small_disk / "warehouse")
    with pytest.raises(UserError, match="There is no room left in"):
        night(small, AS_OF)
    assert not small.published.exists()
    done = pendel("nightly", "--lang", "en", *at(small))
    assert done.code == 2
    assert "and a run needs 50 MB" in done.err


# ---------------------------------------------------------------------------------------------- a clock set back


def test_a_clock_set_back(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs are in the order in which they were, whatever the clock says: status, the store, the warehouse."""
    places = network.install(tmp_path)
    files = network.files()
    real = dt.datetime
    clock = [real(2030, 1, 1, 3, tzinfo=dt.UTC)]

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return clock[0].astimezone(tz)

    ids = []
    for number, now in enumerate(
        (clock[0], clock[0], real(2024, 5, 10, 3, tzinfo=dt.UTC), real(2024, 5, 10, 2, tzinfo=dt.UTC))
    ):
        clock[0] = now
        with monkeypatch.context() as patched:
            patched.setattr(bronze.dt, "datetime", Clock)
            run = bronze.Run.start(AS_OF, places)
        assert run.started_at == now.replace(tzinfo=None)
        with bronze.locked(places, run):
            figures.RunResult(run.run_id, f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}", str(AS_OF), published=True).write(
                places
            )
        network.deliver(places, files[number * 5 : number * 5 + 5])
        night(places, AS_OF)
        ids.append(run.run_id)
        last = figures.last_run(places)
        assert last is not None
        assert last.run_id == run.run_id
        assert figures.status(places)["last_run"]["started_at"] == f"{now:%Y-%m-%dT%H:%M:%SZ}"
    assert ids == sorted(ids)
    assert len({run_id.split("-")[0] for run_id in ids}) == 4
    with duckdb.connect(str(places.published), read_only=True) as con:
        assert con.execute("SELECT count(*) FROM quality.file").fetchone() == (20,)
    # a folder that is no run's does not count
    (places.runs / "zzz").mkdir()
    assert bronze.Run.start(AS_OF, places).run_id.startswith("20300101T03")


# ---------------------------------------------------------------------------------------------- several at once


def test_two_runs_at_once(network: Network, tmp_path: Path) -> None:
    """Real processes: each publishes or is told who is busy, and everything is there once."""
    places = network.install(tmp_path)
    network.deliver(places, network.files())
    code = textwrap.dedent(LIMITED)
    command = [sys.executable, "-c", code, *map(str, (places.raw, places.reference, places.warehouse, 0))]
    running = [
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
        )
        for _ in range(3)
    ]
    ends = [process.communicate(timeout=120) for process in running]
    assert all(err == "" for _, err in ends)
    refused = [out for out, _ in ends if out]
    assert all("Another run is busy" in out for out in refused)
    assert len(refused) < 3
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        assert (
            con.execute("SELECT count(*), count(DISTINCT path_key) FROM file").fetchone() == (len(network.files()),) * 2
        )
    once = network.install(tmp_path / "once")
    network.deliver(once, network.files())
    night(once, AS_OF)
    assert contents(places) == contents(once)


def test_what_a_killed_run_spilled_is_thrown_away(network: Network, tmp_path: Path) -> None:
    places = network.install(tmp_path)
    network.deliver(places, network.files()[:5])
    places.spill.mkdir(parents=True)
    (places.spill / "duckdb_temp_storage-0.tmp").write_bytes(b"rows")
    night(places, AS_OF)
    assert not places.spill.exists()


def test_what_does_not_fit_in_memory_stays_in_the_warehouses_folder(network: Network, tmp_path: Path) -> None:
    places = network.install(tmp_path)
    places.warehouse.mkdir()
    with bronze._workshop(places) as con:
        assert con.execute("SELECT current_setting('temp_directory')").fetchone() == (str(places.spill),)


READER = """
    import duckdb, sys
    con = duckdb.connect(sys.argv[1], read_only=True)
    print("reads", flush=True)
    sys.stdin.read()
"""


@contextmanager
def reader(places: Places) -> Iterator[subprocess.Popen[str]]:
    """Another process that reads bronze until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(READER), str(places.bronze)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "reads\n"
        yield process


def test_a_run_waits_for_who_reads_the_store(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places, rest = network.after_one_night(tmp_path)
    network.deliver(places, rest)
    before = contents(places)
    with reader(places) as process:
        monkeypatch.setattr(bronze, "PATIENCE", 0.0)
        with pytest.raises(UserError, match=r"bronze\.duckdb is being read by another program.*run again"):
            night(places, AS_OF)
        assert contents(places) == before
        monkeypatch.undo()
        waited = []

        def end(seconds: float) -> None:
            waited.append(seconds)
            process.communicate("")

        monkeypatch.setattr(bronze, "sleep", end)
        night(places, AS_OF)
    assert len(waited) == 1
    assert contents(places) != before


# ---------------------------------------------------------------------------------------------- the torture itself


def test_a_short_torture() -> None:
    """A few rounds of each part; `python bench/torture.py` has hundreds."""
    done = subprocess.run(
        [sys.executable, "bench/torture.py", "readers", "--rounds", "3"],
        capture_output=True, text=True, cwd=Path(__file__).parents[1], timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("readers: publications 3, readers 8, reads ")
