"""What the pipeline promises to survive, tried until it is believed: an error here is a promise broken.

    python bench/torture.py                        every part, in full
    python bench/torture.py --short                every part, for a minute
    python bench/torture.py kill --rounds 1000 --seed 7

A part is a function `run(rounds, seed)` that returns its figures, listed in PARTS; it raises Broken when a promise does
not hold. One line of figures a part is printed; ends with 1 when a promise was broken.

kill     a night, or a rebuild of the store, is killed (SIGKILL) at a random moment of a random phase, or exactly before
         or after a statement, a rename, a message or half a write. The published file is then yesterday's or today's,
         whole, and so is the morning page; and one clean run later every published table and the page are what they
         would have been, every file and every row is there once, and everybody was told what they had to be told:
         nothing is lost, and nothing told twice but what was being sent when the kill came.
readers  eight processes read without pause while nights publish: no error, no half-built state, never an older one.
files    damaged exports of all formats: no crash, every row accounted for, and what an independent reader makes of them
         (bench/mutated_files.py).
canaries personal data planted everywhere, in nights that go well and wrong: found nowhere (bench/canaries.py).
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import http.server
import itertools
import json
import os
import random
import re
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from pendel import bronze, building, contracts, figures, gates, history, notify, page, reading
from pendel.places import NOTIFICATIONS, PROJECT, Damaged, Places
from pendel.reference import read_reference
from pendel.simulate import simulate
from tests.pipeline import AS_OF, BRANCHES, PUBLISHED, count_rules

PHASES = ["reading", "bronze", "build", "gates", "swap", "telling"]
MORNING = dt.datetime(2024, 5, 10, 6, tzinfo=dt.UTC)
"""When people are told and the page is written: by the real clock a morning could end between two nights."""
ADDRESS = "PENDEL_TORTURE"
"""The environment variable that holds where messages go."""

READERS = 8
CHECKED_SHARE = 0.3
"""The share of the rounds in which Great Expectations checks for real; in the others plain SQL counts the row rules."""


class Broken(Exception):
    """A promise that did not hold."""


def promise(kept: bool, text: str) -> None:
    """Raise Broken with the text unless it was kept."""
    if not kept:
        raise Broken(text)


# ---------------------------------------------------------------------------------------------- processes
# The parent imports everything and touches no DuckDB, so that it has no threads and a fork is cheap and safe.


class Child:
    """A forked process that runs `work(tell)`; what it tells comes out of `hear`, a line each."""

    def __init__(self, work: Callable[[Callable[[object], None]], None]) -> None:
        ear, mouth = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.close(ear)
                work(lambda said: void(os.write(mouth, json.dumps(said).encode() + b"\n")))
                code = 0
            except BaseException:
                with contextlib.suppress(OSError):
                    os.write(mouth, json.dumps({"error": traceback.format_exc()}).encode() + b"\n")
            finally:
                os._exit(code)
        os.close(mouth)
        self._ear = ear
        self._heard = b""
        self.code: int | None = None

    def hear(self, seconds: float | None = None) -> Any:
        """The next thing told; None when it has ended, or told nothing in these seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        while b"\n" not in self._heard:
            if until is not None and not select.select([self._ear], [], [], max(0.0, until - time.monotonic()))[0]:
                return None
            more = os.read(self._ear, 65536)
            if not more:
                return None
            self._heard += more
        line, _, self._heard = self._heard.partition(b"\n")
        return json.loads(line)

    def rest(self) -> list[Any]:
        """All that it still tells, until it has ended."""
        said = list(iter(self.hear, None))
        _, status = os.waitpid(self.pid, 0)
        self.code = os.waitstatus_to_exitcode(status)
        os.close(self._ear)
        return said

    def kill(self) -> None:
        """At once: no exception, no cleaning up."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


def void(_: object) -> None:
    """Drop a value."""


def apart(work: Callable[[], object]) -> Any:
    """What `work` returns in a process of its own. Raises Broken with its traceback when it fails."""
    child = Child(lambda tell: tell({"value": work()}))
    said = child.rest()
    promise(bool(said) and "value" in said[-1], f"a run that nobody disturbed failed: {said[-1:]}")
    return said[-1]["value"]


# ---------------------------------------------------------------------------------------------- a night


def night(places: Places, checked: bool, enter: Callable[[str], None], afresh: bool = False) -> None:
    """What `flows/nightly.py` does, told phase by phase; with `afresh`, the store is made again."""
    run = bronze.Run.start(AS_OF, places)
    reference = read_reference(places.reference)
    with bronze.locked(places, run), ExitStack() as stack:
        result = figures.RunResult(run.run_id, f"{run.started_at:%Y-%m-%dT%H:%M:%SZ}", str(AS_OF))
        enter("reading")
        result.write(places)
        plan = bronze.plan_afresh(places) if afresh else bronze.plan(places, reference)
        batches = [reading.read_files(places.raw, files, plan.known, reference) for files in plan.files.values()]
        enter("bronze")
        if afresh:
            bronze.start_afresh(places, run, plan, batches)
        bronze.take_in(places, reference, run, batches, gates.judge_rows if checked else count_rules, plan.withdrawn)
        enter("build")
        build = stack.enter_context(building.built(places, reference, run, afresh))
        enter("gates")
        results = gates.check_build(build.con, build.renewed) if checked else []
        if checked and not gates.decide(results).publish:
            raise Broken(f"held back by {gates.decide(results).held_back_by}")
        enter("swap")
        building.finish(build, run, results)
        history.record(places, build, run, results)
        result.summary = figures.summary(build.con)
        building.publish(build, places)
        result.published = True
        enter("telling")
        # on the page and in messages every night is of the same minute, so that they can be compared
        told = dataclasses.replace(result, run_id="-", started_at=f"{MORNING:%Y-%m-%dT%H:%M:%SZ}")
        told.finished_at = result.finished_at = told.started_at
        page.write(places, told, MORNING, reference.parameters.time_zone)
        notify.tell_run(places, told, now=MORNING)
        result.write(places)


@dataclass
class Points:
    """The exact points of a night at which it can end: before and after each statement, rename and write.

    Run in a forked process alone: it puts itself into DuckDB's and Python's own functions. `seen` is the phase of each
    point, in order; at number `deadly` the process kills itself.
    """

    deadly: int = -1
    phase: str = ""
    seen: list[str] = field(default_factory=list)

    def pass_by(self) -> None:
        """One point."""
        if len(self.seen) == self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        self.seen.append(self.phase)

    def lay(self) -> None:
        """Put the points where they belong."""
        connect, rename, write, opened, send = duckdb.connect, os.replace, Path.write_text, Path.open, notify.send
        points = self

        class Watched:
            def __init__(self, con: Any) -> None:
                self._con = con

            def __getattr__(self, name: str) -> Any:
                return getattr(self._con, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                self._con.close()

            def execute(self, *arguments: Any) -> Any:
                points.pass_by()
                done = self._con.execute(*arguments)
                points.pass_by()
                return done

        def watched_rename(*arguments: Any) -> None:
            points.pass_by()
            rename(*arguments)
            points.pass_by()

        def watched_write(path: Path, text: str, *arguments: Any, **named: Any) -> int:
            points.pass_by()
            if len(points.seen) == points.deadly:
                write(path, text[: len(text) // 2], *arguments, **named)
            points.pass_by()
            written = write(path, text, *arguments, **named)
            points.pass_by()
            return written

        def watched_open(path: Path, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            file = opened(path, mode, *arguments, **named)
            return Appended(file) if "a" in mode else file

        class Appended:
            def __init__(self, file: Any) -> None:
                self._file = file

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

            def __enter__(self) -> Any:
                return self

            def __exit__(self, *_: object) -> None:
                self._file.close()

            def write(self, content: Any) -> None:
                points.pass_by()
                if len(points.seen) == points.deadly:
                    self._file.write(content[: len(content) // 2])
                    self._file.flush()
                points.pass_by()
                self._file.write(content)
                self._file.flush()
                points.pass_by()

        def watched_send(*arguments: Any) -> str:
            points.pass_by()
            answer = send(*arguments)
            points.pass_by()
            return answer

        notify.send = watched_send
        Path.open = watched_open  # type: ignore[method-assign, assignment]
        duckdb.connect = lambda *arguments, **named: Watched(connect(*arguments, **named))  # type: ignore[assignment]
        os.replace = watched_rename  # type: ignore[assignment]
        Path.write_text = watched_write  # type: ignore[method-assign, assignment]


def told_night(
    places: Places, checked: bool, deadly: int | None, tell: Callable[[object], None], afresh: bool = False
) -> None:
    """A night in a forked process that tells its phases; with `deadly`, it has points, and dies at that one."""
    points = Points(-1 if deadly is None else deadly)

    def enter(phase: str) -> None:
        points.phase = phase
        tell({"phase": phase, "at": time.monotonic()})
        if deadly is not None:
            points.pass_by()

    if deadly is not None:
        points.lay()
    night(places, checked, enter, afresh)
    tell({"phase": "ended", "at": time.monotonic(), "points": points.seen})


# ---------------------------------------------------------------------------------------------- what must be the same


def contents(places: Places) -> dict[str, list[str]]:
    """The number of rows and an order-independent hash of every published table, without run ids and times."""
    found: dict[str, list[str]] = {}
    with duckdb.connect(str(places.published), read_only=True) as con:
        tables: dict[str, list[str]] = {}
        for table, column in con.execute(
            "SELECT schema_name || '.' || table_name, column_name FROM duckdb_columns() "
            "WHERE database_name = 'pendel' AND NOT internal"
        ).fetchall():
            tables.setdefault(table, []).append(column)
        for table, columns in tables.items():
            if table != "quality.run":
                kept = ", ".join(column for column in columns if column != "run_id")
                row = con.execute(f"SELECT count(*), sum(hash(t)) FROM (SELECT {kept} FROM {table}) AS t").fetchone()
                found[table] = [str(value) for value in row or ()]
        this = con.execute("SELECT count(*) FROM quality.run WHERE is_this_run").fetchone()
        promise(this == (1,), "the published warehouse does not know its run")
    promise(len(found) > 10, "too few tables are published to compare anything")
    return found


def ledger(places: Places, files: int) -> int:
    """Check that every file and every row is in the store once. Returns the number of rows."""
    with duckdb.connect(str(places.bronze), read_only=True) as con:
        for text, sql in {
            "a row is there twice": "SELECT file_id, row FROM row GROUP BY ALL HAVING count(*) > 1",
            "a held row is there twice": "SELECT file_id, row FROM quarantine GROUP BY ALL HAVING count(*) > 1",
            "a row is held and counted": "SELECT file_id, row FROM row SEMI JOIN quarantine USING (file_id, row)",
            "a row belongs to no file": "SELECT file_id FROM row ANTI JOIN file USING (file_id)",
            "a file is there twice": "SELECT path_key, sha256 FROM file GROUP BY ALL HAVING count(*) > 1",
            "the sums do not hold": "SELECT * FROM file WHERE rows_read <> rows_accepted + rows_quarantined "
            "+ rows_duplicate",
            "rows got lost": "SELECT f.file_id FROM file f LEFT JOIN row r USING (file_id) "
            "GROUP BY f.file_id, f.rows_accepted HAVING count(r.file_id) <> f.rows_accepted",
            "held rows got lost": "SELECT f.file_id FROM file f LEFT JOIN quarantine q USING (file_id) "
            "GROUP BY f.file_id, f.rows_quarantined HAVING count(q.file_id) <> f.rows_quarantined",
        }.items():
            promise(not con.execute(sql).fetchall(), text)
        promise(con.execute("SELECT count(*) FROM file").fetchone() == (files,), "a file is missing in the store")
        (rows,) = con.execute("SELECT count(*) FROM row").fetchone() or (0,)
    return int(rows)


def pages(places: Places) -> dict[str, str]:
    """The pages that were written, each of them whole."""
    found = {}
    for path in sorted(places.site.glob("*.html")):
        found[path.name] = path.read_text(encoding="utf-8")
        promise(found[path.name].rstrip().endswith("</html>"), f"half of {path.name} is shown")
    return found


def told(places: Places) -> list[list[str]]:
    """What was told, by the keys of each message that was sent."""
    return [sorted(line["keys"]) for line in figures.messages(places) if line["sent"]]


def listen(heard: Path, tell: Callable[[object], None]) -> None:
    """Take messages on a port of this machine, which is told, and write the subject of each on a line of `heard`."""

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with open(heard, "a", encoding="utf-8") as file:
                file.write(message["title"] + "\n")
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Hook) as server:
        tell({"port": server.server_address[1]})
        server.serve_forever()


# ---------------------------------------------------------------------------------------------- the network


@dataclass(frozen=True)
class Network:
    """Six weeks of exports of a small network, with late, repeated, corrected and broken ones."""

    folder: Path
    files: list[Path]

    @property
    def heard(self) -> Path:
        """The messages that arrived, a line each."""
        return self.folder / "heard"

    @property
    def reference(self) -> Path:
        """Its register."""
        return self.folder / "reference"

    def install(self, name: str) -> Places:
        """An installation with nothing delivered."""
        (self.folder / name / "raw").mkdir(parents=True)
        return Places(self.folder / name / "raw", self.reference, self.folder / name / "warehouse")

    def deliver(self, places: Places, files: Sequence[Path]) -> None:
        """Copy exports with their own times."""
        for file in files:
            (places.raw / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.folder / "exports" / file, places.raw / file)

    def hears(self) -> int:
        """How many messages arrived since this was asked before."""
        lines = self.heard.read_text(encoding="utf-8").count("\n")
        self.heard.write_text("", encoding="utf-8")
        return lines

    def corrected(self) -> list[Path]:
        """The exports that supersede others of their branch and day."""
        days = Counter(_day(file) for file in self.files)
        met: Counter[tuple[str, str]] = Counter()
        found = []
        for file in self.files:
            met[_day(file)] += 1
            if 1 < met[_day(file)] == days[_day(file)]:
                found.append(file)
        return found


def _day(file: Path) -> tuple[str, str]:
    return file.parts[0], "".join(re.findall("[0-9]", file.name))[-8:]


@contextmanager
def network() -> Iterator[Network]:
    """A network in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="pendel-torture-") as name:
        folder = Path(name)
        (folder / "reference").mkdir()
        (folder / "reference" / "branches.csv").write_text(BRANCHES, encoding="utf-8")
        (folder / "reference" / "organisations.csv").write_text("organisation,name\nX,Org X\nY,Org Y\n")
        (folder / "reference" / "published_figures.csv").write_text(PUBLISHED, encoding="utf-8")
        shutil.copy(PROJECT / "data" / "reference" / "simulation.yaml", folder / "reference")
        (folder / "reference" / NOTIFICATIONS).write_text(
            f"recipients:\n  - {{name: team, address_from: {ADDRESS}, also_when_fine: true}}\n", encoding="utf-8"
        )
        truth = folder / "truth.json"
        apart(lambda: void(simulate(2024, folder / "exports", folder / "reference", imperfections=True, truth=truth)))
        found = [path for path in (folder / "exports").rglob("*") if path.is_file()]
        found.sort(key=lambda path: (path.stat().st_mtime_ns, path.as_posix()))
        net = Network(folder, [path.relative_to(folder / "exports") for path in found])
        net.heard.touch()
        team = Child(lambda tell: listen(net.heard, tell))
        os.environ[ADDRESS] = f"json://127.0.0.1:{team.hear()['port']}"
        try:
            yield net
        finally:
            team.kill()
            team.rest()


# ---------------------------------------------------------------------------------------------- kill


@dataclass
class Scene:
    """A night about to begin, and how it ends when nobody disturbs it."""

    places: Places
    checked: bool
    files: int
    before: dict[str, list[str]] | None
    afresh: bool = False
    store: str = ""
    after: dict[str, list[str]] = field(default_factory=dict)
    lasts: dict[str, float] = field(default_factory=dict)
    points: list[str] = field(default_factory=list)
    rows: int = 0
    pages: dict[str, str] = field(default_factory=dict)
    told_before: int = 0
    told: list[list[str]] = field(default_factory=list)

    def copy(self, folder: Path) -> Places:
        """The same installation again; the raw files are shared, since nobody writes them."""
        shutil.rmtree(folder, ignore_errors=True)
        if self.places.warehouse.exists():
            shutil.copytree(self.places.warehouse, folder)
        return Places(self.places.raw, self.places.reference, folder)


def scenes(net: Network) -> dict[str, Scene]:
    """A first night, one that continues a published warehouse, one whose files supersede others: with and without
    Great Expectations. And rebuilds: of a sound store that has a write-ahead log beside it, and of a damaged one."""
    late = net.corrected()
    promise(len(late) > 2, "the simulated exports hold too few corrections")
    others = [file for file in net.files if file not in late]
    half = len(others) // 2
    # in another order than their times tell: a rebuild knows it from what the runs left
    mixed = random.Random(1).sample(net.files, len(net.files))
    found: dict[str, Scene] = {}
    for name, first, then, store in (
        ("first night", [], others[:half], ""),
        ("continued night", others[:half], others[half : half + 12], ""),
        ("superseding night", others, late, ""),
        ("rebuild, sound store", mixed[:-12], mixed[-12:], "logged"),
        ("rebuild, damaged store", mixed[:-12], mixed[-12:], "damaged"),
    ):
        for checked in (False,) if store else (False, True):
            places = net.install(f"{name} {checked}")
            parts = [first[: len(first) // 2], first[len(first) // 2 :]] if store else [first]
            for part in filter(None, parts):
                net.deliver(places, part)
                apart(lambda: night(places, False, void))  # noqa: B023
            before = apart(lambda: contents(places)) if first else None  # noqa: B023
            net.deliver(places, then)
            scene = Scene(places, checked, len(first) + len(then), before, bool(store), store)
            scene.told_before = len(told(places))
            expected = apart(lambda: _undisturbed(net, scene)) if store else None  # noqa: B023
            if store == "logged":
                _leave_a_log(places)
            elif store == "damaged":
                places.bronze.write_bytes(places.bronze.read_bytes()[:20000])
            copy = scene.copy(net.folder / "measured")
            marks = _killable(scene, copy, None).rest()
            promise(marks[-1].get("phase") == "ended", f"an undisturbed night failed: {marks[-1]}")
            for mark, after in itertools.pairwise(marks):
                scene.lasts[mark["phase"]] = after["at"] - mark["at"]
            scene.after = apart(lambda: contents(copy))  # noqa: B023
            promise(expected in (None, scene.after), "a rebuild makes another warehouse than the nights did")
            scene.rows = apart(lambda: ledger(copy, scene.files))  # noqa: B023
            scene.pages = pages(copy)
            scene.told = told(copy)[scene.told_before :]
            promise(scene.before != scene.after, "the night changes nothing: killing it proves nothing")
            promise(len(scene.pages) == 2, "a page is missing")
            copy = scene.copy(net.folder / "measured")
            scene.points = _killable(scene, copy, -1).rest()[-1]["points"]
            found[f"{name}{', checked' if checked else ''}"] = scene
    promise(all(scene.told for scene in found.values() if scene.before is None), "nobody was told anything")
    return found


def _undisturbed(net: Network, scene: Scene) -> dict[str, list[str]]:
    """What a night, which is no rebuild, publishes."""
    places = scene.copy(net.folder / "undisturbed")
    night(places, scene.checked, void)
    return contents(places)


def _leave_a_log(places: Places) -> None:
    """Kill a night that has nothing to do when its transaction is in the write-ahead log, and not in the store yet."""
    elsewhere = Places(places.warehouse / "nothing", places.reference, places.warehouse)
    elsewhere.raw.mkdir()
    folder = places.warehouse.with_name("copied")
    shutil.copytree(places.warehouse, folder)
    copy = Places(folder / "nothing", places.reference, folder)
    points = Child(lambda tell: told_night(copy, False, -1, tell)).rest()[-1]["points"]
    shutil.rmtree(folder)
    last = max(number for number, phase in enumerate(points) if phase == "bronze")
    Child(lambda tell: told_night(elsewhere, False, last - 1, tell)).rest()
    elsewhere.raw.rmdir()
    promise(Path(f"{places.bronze}.wal").exists(), "no write-ahead log was left")


def kill(rounds: int, seed: int) -> dict[str, object]:
    """`rounds` nights killed, each followed by one clean night: see the top of this file."""
    rng = random.Random(seed)
    warm_up()
    died: Counter[str] = Counter()
    how: Counter[str] = Counter()
    nights: Counter[str] = Counter()
    survived = missed = twice = 0
    with network() as net:
        plays = scenes(net)
        while sum(died.values()) < rounds:
            checked = rng.random() < CHECKED_SHARE
            name = rng.choice([name for name, scene in plays.items() if scene.checked == checked])
            scene = plays[name]
            phase = rng.choice(PHASES if checked else [phase for phase in PHASES if phase != "gates"])
            places = scene.copy(net.folder / "killed")
            by_timer = rng.random() < 0.6
            again = rng.random() < 0.5
            where = f"{name}, {phase}, seed {seed}, kill {sum(died.values())}"
            net.hears()
            in_phase = _kill_by_timer(scene, places, phase, rng) if by_timer else _kill_at(scene, places, phase, rng)
            if in_phase is None:
                missed += 1
                continue
            died[in_phase] += 1
            if sum(died.values()) % 25 == 0:
                print(f"kill: {sum(died.values())} of {rounds}", file=sys.stderr, flush=True)
            how["timer" if by_timer else "exact point"] += 1
            nights[name.removesuffix(", checked")] += 1
            try:
                if places.published.exists():
                    seen = apart(lambda: contents(places))  # noqa: B023
                    # results of checks are there or not with whether they were made, in the night before
                    promise(
                        seen in (scene.before, scene.after), "the published warehouse is neither the old nor the new"
                    )
                    survived += seen == scene.before
                else:
                    promise(scene.before is None, "the published warehouse is gone")
                pages(places)
                after, rows, rebuilt = apart(lambda: _clean_night(places, scene, again))  # noqa: B023
                promise(after == scene.after, "the tables differ after a clean run")
                promise(rows == scene.rows, f"{rows} rows are stored, not {scene.rows}")
                promise(pages(places) == scene.pages, "the pages differ after a clean run")
                new = told(places)[scene.told_before :]
                promise(new == scene.told, f"told were {new}, not {scene.told}")
                over = net.hears() - len(new)
                promise(over == 0 or (over == 1 and in_phase == "telling"), f"{over} messages too many arrived")
                twice += over
                last = figures.last_run(places)
                promise(last is not None and last.published, "the clean run is not the last run")
                left = [path.name for path in places.warehouse.glob("*building*")]
                left += [path.name for path in places.warehouse.glob("site/*.draft")]
                promise(not left and not places.spill.exists(), f"left behind: {left}")
                if scene.store == "damaged" or (scene.afresh and rebuilt):
                    kept = [path.read_bytes() for path in places.warehouse.glob("bronze.duckdb.set-aside-*")]
                    promise(scene.places.bronze.read_bytes() in kept, "the store of before was not kept")
            except Broken as broken:
                raise Broken(f"{where}: {broken}") from None
    return {
        "kills": sum(died.values()),
        **{f"in {phase}": died[phase] for phase in PHASES},
        **dict(how),
        **dict(nights),
        "old one still published": survived,
        "too late": missed,
        "messages sent again": twice,
    }


def _clean_night(places: Places, scene: Scene, again: bool) -> tuple[dict[str, list[str]], int, bool]:
    """After a rebuild that was killed: another one (with `again`), or a night, and a rebuild if that asks for one.
    Returns the tables, the number of rows, and whether it was rebuilt.
    """
    rebuilt = scene.afresh and again
    try:
        night(places, scene.checked, void, rebuilt)
    except Damaged:
        promise(scene.afresh, "a killed night left a damaged store")
        rebuilt = True
        night(places, scene.checked, void, True)
    return contents(places), ledger(places, scene.files), rebuilt


def warm_up() -> None:
    """Do in the parent, once for all forks, what takes long and leaves nothing but modules and contracts behind."""
    building.models()
    gates.suites()
    contracts.kpis()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apprise
        import duckdb_sqlalchemy  # noqa: F401
        import great_expectations  # noqa: F401

        apprise.Apprise.instantiate("json://localhost")  # which loads all that it can talk to


def _kill_by_timer(scene: Scene, places: Places, phase: str, rng: random.Random) -> str | None:
    """Kill a night at a random moment of a phase. Returns the phase in which it died; None when it had ended."""
    child = _killable(scene, places, None)
    now = None
    while (said := child.hear()) is not None and "error" not in said:
        now = said["phase"]
        if now == phase:
            time.sleep(rng.random() * scene.lasts[phase])
            break
    child.kill()
    return _phase_of_death(child, now)


def _kill_at(scene: Scene, places: Places, phase: str, rng: random.Random) -> str | None:
    """Let a night kill itself at a random one of its exact points in a phase."""
    deadly = rng.choice([number for number, at in enumerate(scene.points) if at == phase])
    return _phase_of_death(_killable(scene, places, deadly), None)


def _killable(scene: Scene, places: Places, deadly: int | None) -> Child:
    return Child(lambda tell: told_night(places, scene.checked, deadly, tell, scene.afresh))


def _phase_of_death(child: Child, now: str | None) -> str | None:
    for said in child.rest():
        promise("error" not in said, f"a night failed before it was killed: {said.get('error')}")
        now = said["phase"]
    return None if child.code == 0 or now == "ended" else now


# ---------------------------------------------------------------------------------------------- readers


def readers(rounds: int, seed: int) -> dict[str, object]:
    """READERS processes read while `rounds` nights publish: see the top of this file."""
    rng = random.Random(seed)
    with network() as net:
        warm_up()
        places = net.install("read")
        order = list(net.files)
        rng.shuffle(order)
        net.deliver(places, order[:10])
        apart(lambda: night(places, False, void))
        stop = net.folder / "stop"
        reading_processes = [Child(lambda tell, n=n: _read_on(places, stop, n, tell)) for n in range(READERS)]
        published = set()
        try:
            for number in range(rounds):
                net.deliver(places, order[10 + number : 11 + number])
                apart(lambda: night(places, False, void))
                last = figures.last_run(places)
                promise(last is not None and last.published, "a night was not published")
                published.add(last.run_id if last else "")
        finally:
            stop.touch()
            ends = [child.rest() for child in reading_processes]
    for end in ends:
        promise("error" not in end[-1], f"a reader failed: {end[-1].get('error')}")
    seen = [end[-1]["seen"] for end in ends]
    promise(min(seen) >= min(3, rounds), f"a reader saw only {min(seen)} publications")
    promise(len(published) == rounds, "runs bear the same id")
    return {
        "publications": rounds,
        "readers": READERS,
        "reads": sum(end[-1]["reads"] for end in ends),
        "fewest publications seen by a reader": min(seen),
        "most": max(seen),
        "reads over a publication": sum(end[-1]["over"] for end in ends),
    }


def _read_on(places: Places, stop: Path, number: int, tell: Callable[[object], None]) -> None:
    """Read until told to stop; each fourth reading is looked at again on the same connection after a while."""
    seen: list[str] = []
    reads = over = 0
    while not stop.exists() or reads == 0:
        opened = places.published.stat().st_ino
        with duckdb.connect(str(places.published), read_only=True) as con:
            first = _consistent(con)
            if (reads + number) % 4 == 0:
                time.sleep(0.5)
                promise(_consistent(con) == first, "what a reader has open changed under its hands")
                over += places.published.stat().st_ino != opened
        run = first[0]
        promise(not seen or run >= seen[-1], "a reader saw an older warehouse than before")
        if not seen or run != seen[-1]:
            seen.append(run)
        reads += 1
    tell({"seen": len(seen), "reads": reads, "over": over})


def _consistent(con: duckdb.DuckDBPyConnection) -> tuple[Any, ...]:
    """What one reading saw: the run, and tables that must agree with each other."""
    runs = con.execute("SELECT run_id FROM quality.run WHERE is_this_run").fetchall()
    promise(len(runs) == 1, "a warehouse without its run")
    checks = {
        "deliveries and lanes": ("count(*) FROM marts.fct_delivery", "sum(delivered) FROM marts.agg_lane_day"),
        "legs and lanes": (
            "count(*) FROM marts.fct_leg WHERE state = 'delivered'",
            "sum(delivered) FROM marts.agg_lane_day",
        ),
        "files and runs": (
            "count(DISTINCT run_id) FROM quality.file",
            "count(DISTINCT run_id) FROM quality.file JOIN quality.run USING (run_id)",
        ),
    }
    values = []
    for name, (one, other) in checks.items():
        found = con.execute(f"SELECT (SELECT {one}), (SELECT {other})").fetchone()
        promise(found is not None and found[0] == found[1], f"half built: {name} do not agree")
        values.append(found)
    return runs[0][0], str(values)


# ---------------------------------------------------------------------------------------------- all parts


@dataclass(frozen=True)
class Part:
    """A part, and how many rounds it has in full and in short."""

    run: Callable[[int, int], dict[str, object]]
    full: int
    short: int


def files(rounds: int, seed: int) -> dict[str, object]:
    """Damaged exports against the independent reader."""
    from bench import mutated_files

    found = mutated_files.run(rounds, seed)
    if found["disagreements"]:
        raise Broken(f"{len(found['disagreements'])} disagreements, the first: {found['disagreements'][0]}")
    return found


def canaries(rounds: int, seed: int) -> dict[str, object]:
    """Personal canaries."""
    from bench import canaries as planted

    found = planted.run(rounds, seed)
    if found["failures"]:
        raise Broken(f"{len(found['failures'])} leaks, the first: {found['failures'][0]}")
    return found


PARTS = {
    "kill": Part(kill, 300, 10),
    "readers": Part(readers, 100, 10),
    "files": Part(files, 10_000, 500),
    "canaries": Part(canaries, 4, 1),
}


def main() -> int:
    """Run the parts asked for; returns 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; without any: all")
    parser.add_argument("--rounds", type=int, help="how often (each part knows how often is enough)")
    parser.add_argument("--short", action="store_true", help="a few rounds of each")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    if unknown := set(asked.parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    broken = False
    for name in asked.parts or PARTS:
        part = PARTS[name]
        start = time.monotonic()
        try:
            found = part.run(asked.rounds or (part.short if asked.short else part.full), asked.seed)
        except Broken as error:
            print(f"{name}: BROKEN: {error}", flush=True)
            broken = True
        else:
            shown = ", ".join(f"{key} {value}" for key, value in found.items())
            print(f"{name}: {shown} ({time.monotonic() - start:.0f} s)", flush=True)
    return int(broken)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # DuckDB's bindings fill standard error at exit with what Great Expectations' imports still hold
