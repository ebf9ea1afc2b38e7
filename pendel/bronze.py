"""The bronze store: every file and every row ever delivered, and what became of each.

`bronze.duckdb` is private to the pipeline, has one writer (a lock), and is appended in one transaction a run: killed
before the commit, a run has never been; killed after it, the next run has nothing left to do. It holds all that is
needed to rebuild the warehouse when the raw files have been purged. Local times are kept as the branch wrote them
(`received_at`) beside their UTC instant (`received_at_utc`).

A store that is damaged or lost is made again from the raw files, which are taken in the order in which the runs'
manifests tell that they arrived (`arrivals`): raised as Damaged, mended by a plan and a `start_afresh`.
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import monotonic, sleep
from zoneinfo import ZoneInfo

import duckdb
import filelock
import numpy as np
import pandas as pd
import pyarrow as pa

from pendel.contracts import ExportFormat, Rule, columns, export_formats, rules
from pendel.places import NO_EXTENSIONS, Busy, Damaged, Places, UserError, escaped, is_full, is_held
from pendel.reading import (
    CELL_DATETIME_FORMAT,
    PASSING,
    Batch,
    Delivery,
    FoundFile,
    empty_rows,
    find_files,
    known_as,
    safe_path,
    sha256_of,
)
from pendel.reference import Reference

MASK = "***"
"""What stands in the place of a value that may not be kept."""

TEXTS = [name for name, column in columns().items() if column.kind != "datetime"]
DATETIMES = [name for name, column in columns().items() if column.kind == "datetime"]
JUDGED = [name for name in TEXTS if name in ("status", "close_reason")] + DATETIMES
"""Columns that are translated or parsed: what was delivered stands beside it under `<name>_text`."""

IS_SHIPPED = "(coalesce(status IN ('T', 'O', 'B', 'U', 'R'), false) OR shipped_at_text <> '' OR received_at_text <> '')"
"""SQL that is true for a row that tells of a sending."""

INSTANTS = ["requested_at", "shipped_at", "received_at", "collected_at"]
"""The date-times between which durations are computed, and which bronze therefore keeps in UTC too."""

SCHEMA = f"""
CREATE TABLE IF NOT EXISTS bronze.run (
  run_id VARCHAR PRIMARY KEY, started_at TIMESTAMP, as_of DATE);
CREATE TABLE IF NOT EXISTS bronze.file (
  file_id INTEGER PRIMARY KEY, run_id VARCHAR, branch VARCHAR, path VARCHAR, path_key VARCHAR,
  size_bytes BIGINT, mtime_ns BIGINT, arrived_at TIMESTAMP,
  sha256 VARCHAR, format VARCHAR, export_date DATE, verdict VARCHAR, reason VARCHAR, detail VARCHAR, judged_by VARCHAR,
  rows_read INTEGER, rows_accepted INTEGER, rows_quarantined INTEGER, rows_duplicate INTEGER, rows_other INTEGER,
  dropped_columns VARCHAR[]);
CREATE TABLE IF NOT EXISTS bronze.row (
  file_id INTEGER, row INTEGER, reservation_id VARCHAR, item_barcode VARCHAR, material_type VARCHAR,
  supplying_code VARCHAR, pickup_code VARCHAR, status VARCHAR, close_reason VARCHAR,
  {", ".join(f"{name} TIMESTAMP" for name in DATETIMES)},
  {", ".join(f"{name}_utc TIMESTAMP" for name in INSTANTS)});
CREATE TABLE IF NOT EXISTS bronze.quarantine (
  file_id INTEGER, row INTEGER, rule VARCHAR, {", ".join(f"{name} VARCHAR" for name in columns())});
CREATE TABLE IF NOT EXISTS bronze.warning (file_id INTEGER, row INTEGER, rule VARCHAR);
"""


RUN_ID = "%Y%m%dT%H%M%SZ"
"""The part of a run's id that sorts."""


@dataclass(frozen=True)
class Run:
    """One run of the pipeline: its id, its start (UTC), and the day it takes for today.

    Ids sort as the runs followed each other: they are the UTC second of the start, or, when the clock was set back or
    stands still in that second, the second after that of the run before.
    """

    run_id: str
    started_at: dt.datetime
    as_of: dt.date

    @classmethod
    def start(cls, as_of: dt.date, places: Places | None = None) -> Run:
        """A run that starts now, after all runs of `places`."""
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        second = now.replace(microsecond=0)
        for name in sorted((path.name for path in places.runs.glob("*")) if places else [], reverse=True):
            with suppress(ValueError):  # a folder that is no run's
                second = max(second, dt.datetime.strptime(name.split("-")[0], RUN_ID) + dt.timedelta(seconds=1))
                break
        return cls(f"{second:{RUN_ID}}-{os.urandom(2).hex()}", now, as_of)


@dataclass(frozen=True)
class Plan:
    """What a run has to read: new files by folder, in order of arrival, and what was read before.

    `withdrawn`: the ids of rejected files that are no longer there. `lost`, when the store is to be made again: what
    runs once read and is no longer there as it was.
    """

    files: dict[str, list[FoundFile]]
    known: set[str]
    seen: int
    withdrawn: frozenset[int] = frozenset()
    lost: list[Arrival] = field(default_factory=list)


@dataclass(frozen=True)
class Arrival:
    """A file as the first run that saw it noted it: `turn` is its place in the order of arrival."""

    turn: int
    run_id: str
    path_key: str
    sha256: str
    arrived_at: dt.datetime
    was_read: bool
    """By any run: one that was only ever rejected gave no row."""


@dataclass(frozen=True)
class RuleResult:
    """How often a row rule applied to a run's rows, as the gate counted it."""

    rule: str
    action: str
    count: int | None
    error: str | None = None


@dataclass(frozen=True)
class Intake:
    """What a run added to bronze."""

    files: dict[str, int]
    rows_read: int
    rows_accepted: int
    rows_quarantined: int
    rows_duplicate: int
    rule_results: list[RuleResult]


@contextmanager
def locked(places: Places, run: Run) -> Iterator[None]:
    """Hold the pipeline's lock. Raises Busy, naming who holds it, when another run is at work.

    What the body raises because the disk is full comes out as a UserError, and a bronze store that DuckDB stumbles over
    as Damaged.
    """
    places.warehouse.mkdir(parents=True, exist_ok=True)
    holder = places.lock.with_name("bronze.lock.json")
    lock = filelock.FileLock(places.lock)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        with suppress(OSError, ValueError, KeyError):
            held = json.loads(holder.read_text(encoding="utf-8"))
            raise Busy(
                "Another run is busy: {run_id}, process {pid}, since {started_at} (UTC). Wait until it is done.",
                run_id=held["run_id"],
                pid=held["pid"],
                started_at=held["started_at"],
            ) from None
        raise Busy("Another run is busy: it holds {file}. Wait until it is done.", file=lock.lock_file) from None
    try:
        with plainly(places):
            held_by = {"run_id": run.run_id, "pid": os.getpid(), "started_at": f"{run.started_at:%Y-%m-%d %H:%M:%S}"}
            holder.write_text(json.dumps(held_by), encoding="utf-8")
            shutil.rmtree(places.spill, ignore_errors=True)  # of a run that was killed; the lock is ours
            yield
    finally:
        shutil.rmtree(places.spill, ignore_errors=True)
        holder.unlink(missing_ok=True)
        lock.release()


NO_ROOM = 1_000_000
"""A disk with fewer bytes left is full: Prefect, whose database is there too, says so in many ways."""


@contextmanager
def plainly(places: Places) -> Iterator[None]:
    """What the body raises because the disk is full comes out as a UserError, and a store that DuckDB stumbles over as
    Damaged.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if is_full(error) or shutil.disk_usage(places.warehouse).free < NO_ROOM:
            raise _full(places) from None
        if isinstance(error, duckdb.Error) and not _is_sound(places.bronze):
            raise _damaged(places) from None
        raise


def _full(places: Places) -> UserError:
    return UserError(
        "There is no room left in {folder}. What was published before is still there. Make room, and run again.",
        folder=places.warehouse,
    )


def _damaged(places: Places) -> Damaged:
    return Damaged(
        "{file} is damaged. Run `pendel rebuild`: it sets that file aside and makes it again from the raw files.",
        file=places.bronze,
    )


def is_sound(places: Places) -> bool:
    """Whether the store is there, holds what runs stored, and every value in it can be read."""
    if not places.bronze.exists() or not _is_sound(places.bronze):
        return False
    with duckdb.connect(str(places.bronze), read_only=True, config=_CONFIG) as con:
        tables = con.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'file'").fetchone()
        return tables == (1,) and con.execute("SELECT count(*) > 0 FROM file").fetchone() == (True,)


def _is_sound(path: Path) -> bool:
    """Whether every value in the store can be read; one that is not there is sound."""
    if not path.exists():
        return True
    try:
        with duckdb.connect(config=_CONFIG) as con:
            con.execute(f"ATTACH '{escaped(path)}' AS store (READ_ONLY)")
            for (table,) in con.execute(
                "SELECT table_name FROM duckdb_tables() WHERE database_name = 'store'"
            ).fetchall():
                # DuckDB compares the checksum of each block that it reads
                con.execute(f"SELECT bit_xor(hash(t)) FROM store.{table} AS t").fetchall()
    except duckdb.Error as error:
        return not _is_damage(error)
    return True


def _is_damage(error: duckdb.Error) -> bool:
    """Whether a file that cannot be opened or read is broken, and not just out of reach, in use, or too new."""
    elsewhere = ("Cannot open file", "Permission denied", "Could not set lock", "with version number", "Out of Memory",
                 "Unique file handle")  # fmt: skip
    return not any(text in str(error) for text in elsewhere)


_CONFIG = NO_EXTENSIONS | {"memory_limit": "700MB"}


def path_key(path: str) -> str:
    """What the ledger knows a path by: the path itself may bear a reader's name (see `reading.safe_path`)."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def judged_by(reference: Reference) -> str:
    """A hash of all that decides whether a file can be read: a rejected file is tried again when it changes."""
    text = reference.fingerprint + "".join(spec.fingerprint for spec in export_formats().values())
    return hashlib.sha256(text.encode()).hexdigest()


PATIENCE = 10.0
"""For how many seconds a run waits for those who read bronze, which they do for a moment."""


def _attach(con: duckdb.DuckDBPyConnection, places: Places) -> None:
    """Attach bronze for writing; the caller holds the lock, so that another process that has it open only reads it.

    Waits until it is let go of. Raises UserError when that takes too long.
    """
    until = monotonic() + PATIENCE
    while True:
        try:
            con.execute(f"ATTACH '{escaped(places.bronze)}' AS bronze")
            return
        except duckdb.IOException as error:
            if not is_held(error):
                raise
        if monotonic() > until:
            raise UserError(
                "{file} is being read by another program, and a run cannot write to it. Close that program (or wait "
                "until it is done), and run again.",
                file=places.bronze,
            )
        sleep(0.1)


@contextmanager
def _workshop(places: Places) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database with bronze attached, when nobody reads it any more."""
    # Without a folder of its own, rows not yet judged would be spilled in the folder that the run was started in.
    con = duckdb.connect(config=_CONFIG | {"temp_directory": str(places.spill)})
    is_open = False
    try:
        _attach(con, places)
        con.execute(SCHEMA)
        is_open = True
        yield con
    except duckdb.Error as error:
        con.close()
        if is_full(error):
            raise _full(places) from None
        if not _is_sound(places.bronze):
            raise _damaged(places) from None
        if not is_open or isinstance(error, duckdb.IOException):
            raise UserError(
                "{file} cannot be opened. Is it open in another program? (DuckDB says: {error})",
                file=places.bronze,
                error=str(error).splitlines()[0],
            ) from None
        # What DuckDB says of a value that it cannot convert quotes the value: it goes into no log.
        raise RuntimeError(f"{type(error).__name__} in the bronze store") from None
    finally:
        con.close()


def arrivals(places: Places) -> list[Arrival]:
    """What the runs' manifests tell of the files that they took in, in the order in which these first arrived.

    Raises UserError for a manifest that cannot be read.
    """
    found: dict[tuple[str, str], Arrival] = {}
    for path in sorted(places.runs.glob("*/manifest.json")):
        try:
            inputs = json.loads(path.read_text(encoding="utf-8"))["inputs"]
            for item in sorted(inputs, key=lambda item: int(item["file_id"])):
                arrived_at = dt.datetime.fromisoformat(item["arrived_at"]).replace(tzinfo=None)
                key = (str(item["path_key"]), str(item["sha256"]))
                first = found.get(key) or Arrival(len(found), path.parent.name, *key, arrived_at, False)
                found[key] = replace(first, was_read=first.was_read or item["verdict"] == "read")
        except (OSError, ValueError, KeyError, TypeError):
            raise UserError(
                "{file} cannot be read. Restore it from a backup: the order in which files arrived stands there.",
                file=path,
            ) from None
    return list(found.values())


def plan_afresh(places: Places) -> Plan:
    """What a run has to read that makes the store again: every raw file, in the order in which they first arrived."""
    found = find_files(places.raw)
    known = {(arrival.path_key, arrival.sha256): arrival for arrival in arrivals(places)}
    hashes = {file: sha256_of(places.raw, file) for file in found}
    seen = {file: known.pop((path_key(file.path), hashes[file]), None) for file in found}
    # A file that was moved since is known by its bytes; there may be several, such as exports without rows.
    moved: dict[str, list[Arrival]] = defaultdict(list)
    for arrival in sorted(known.values(), key=lambda arrival: not arrival.was_read):
        moved[arrival.sha256].append(arrival)
    files: dict[str, list[FoundFile]] = defaultdict(list)
    for file in found:
        first = seen[file] or (moved[hashes[file]].pop(0) if moved[hashes[file]] else None)
        if first:
            file = replace(file, turn=first.turn, arrived_at=first.arrived_at)
        files[file.branch].append(file)
    lost = [arrival for left in moved.values() for arrival in left if arrival.was_read]
    return Plan(dict(files), set(), len(found), lost=lost)


def start_afresh(places: Places, run: Run, plan: Plan, batches: Sequence[Batch]) -> None:
    """Set the store aside, under another name in the same folder, so that `take_in` begins a new one.

    `batches` is all that was read of `plan`, which `plan_afresh` made. Raises UserError, with everything as it was,
    when some of it could not be read, or when files that the store was made of are no longer there. One that was
    replaced in its own place by a sound one is not missed: it was superseded.
    """
    read = {path_key(d.file.path): d.verdict for batch in batches for d in batch.deliveries}
    if len(read) != plan.seen:
        raise UserError("Some exports could not be read, and nothing was changed. Make them readable, and run again.")
    lost = [arrival for arrival in plan.lost if read.get(arrival.path_key) != "read"]
    if lost:
        runs = sorted({arrival.run_id for arrival in lost})
        raise UserError(
            "{n} files that runs once took in are no longer in {folder} (first run: {first}, last run: {last}). "
            "Nothing was changed. Restore these files, or {file} from a backup.",
            n=len(lost),
            folder=places.raw,
            first=runs[0],
            last=runs[-1],
            file=places.bronze,
        )
    aside = places.bronze.with_name(f"{places.bronze.name}.set-aside-{run.run_id.split('-')[0]}")
    for ending in ("", ".wal"):
        with suppress(FileNotFoundError):
            os.replace(f"{places.bronze}{ending}", f"{aside}{ending}")


def plan(places: Places, reference: Reference) -> Plan:
    """Compare the raw folder with the ledger: what is new, changed, or was rejected under other rules, and which
    rejected files somebody took away, to another folder or name, say.

    Raises Damaged when the store cannot be read, or is empty although earlier runs filled it.
    """
    found = {path_key(file.path): file for file in find_files(places.raw)}
    by = judged_by(reference)
    with _workshop(places) as con:
        lines = con.execute(
            "SELECT file_id, path_key, size_bytes, mtime_ns, verdict, reason, judged_by = ?, branch, sha256, "
            "CASE WHEN rows_read + rows_other = 0 THEN export_date END FROM bronze.file",
            [by],
        ).fetchall()
        if not lines and arrivals(places):
            raise Damaged(
                "{file} is empty or was not there, although earlier runs filled it. Restore it from a backup, or run "
                "`pendel rebuild`: it makes it again from the raw files.",
                file=places.bronze,
            )
    known: set[str] = set()
    withdrawn: set[int] = set()
    settled: set[tuple[str, int, int]] = set()
    refused: set[tuple[str, str, str]] = set()  # what still stands for the files that are like it
    like_refused: list[tuple[tuple[str, str, str], tuple[str, int, int]]] = []
    for file_id, key, size, mtime, verdict, reason, judged_so, branch, sha256, empty_on in lines:
        if verdict == "rejected" and key not in found:
            withdrawn.add(file_id)
        elif verdict == "rejected" and judged_so and reason not in PASSING:
            refused.add((branch, sha256, reason))
            settled.add((key, size, mtime))
        elif verdict == "skipped" and reason:
            like_refused.append(((branch, sha256, reason), (key, size, mtime)))
        elif verdict in ("read", "skipped"):
            settled.add((key, size, mtime))
        if verdict == "read":
            known.add(known_as(branch, sha256, empty_on))
    settled.update(file for like, file in like_refused if like in refused or known_as(*like[:2]) in known)
    files: dict[str, list[FoundFile]] = defaultdict(list)
    for key, file in found.items():
        if (key, file.size_bytes, file.mtime_ns) not in settled:
            files[file.branch].append(file)
    return Plan(dict(files), known, len(found), frozenset(withdrawn))


def take_in(
    places: Places,
    reference: Reference,
    run: Run,
    batches: Sequence[Batch],
    judge: Callable[[duckdb.DuckDBPyConnection, Sequence[Rule]], list[RuleResult]],
    withdrawn: frozenset[int] = frozenset(),
) -> Intake:
    """Judge the rows of a run and append files and rows to bronze, in one transaction; `withdrawn` as in the plan.

    `judge` executes the row rules as a gate (Great Expectations) on the table `incoming`; what it counts must be what
    the quarantine holds. Raises RuntimeError when a rule could not be executed or the sums do not hold: nothing is
    stored then, and the next run reads the files again.
    """
    arrival = [rule for rule in rules() if rule.stage == "arrival"]
    with _workshop(places) as con:
        touched, gone = _enter(con, reference, run, batches, withdrawn)
        _add_instants(con)
        con.execute(_incoming_sql(reference.parameters.transit_warning_days))
        results = judge(con, arrival)
        failed = [result.rule for result in results if result.count is None]
        if failed or len(results) != len(arrival):
            raise RuntimeError(f"row rules that could not be executed: {', '.join(failed) or 'some'}")
        con.execute(_held_sql(arrival))
        con.execute("BEGIN")
        con.execute("INSERT INTO bronze.run VALUES (?, ?, ?)", [run.run_id, run.started_at, run.as_of])
        for file_id, mtime_ns in touched:
            con.execute("UPDATE bronze.file SET mtime_ns = ? WHERE file_id = ?", [mtime_ns, file_id])
        for file_id in gone:
            con.execute("UPDATE bronze.file SET verdict = 'withdrawn' WHERE file_id = ?", [file_id])
        con.execute(_append_sql(arrival))
        _check_sums(con, run, results)
        con.execute("COMMIT")
        counted = con.execute(
            "SELECT verdict, count(*), sum(rows_read)::INT, sum(rows_accepted)::INT, sum(rows_quarantined)::INT, "
            "sum(rows_duplicate)::INT FROM bronze.file WHERE run_id = ? GROUP BY verdict",
            [run.run_id],
        ).fetchall()
        con.execute("CHECKPOINT bronze")
    read, accepted, quarantined, duplicate = (sum(line[i] for line in counted) for i in range(2, 6))
    return Intake({line[0]: line[1] for line in counted}, read, accepted, quarantined, duplicate, results)


LEDGER = [
    "file_id", "run_id", "branch", "path", "path_key", "size_bytes", "mtime_ns", "arrived_at", "sha256", "format",
    "export_date", "verdict", "reason", "detail", "judged_by", "rows_read", "rows_accepted", "rows_quarantined",
    "rows_duplicate", "rows_other", "dropped_columns",
]  # fmt: skip


def _enter(
    con: duckdb.DuckDBPyConnection,
    reference: Reference,
    run: Run,
    batches: Sequence[Batch],
    withdrawn: frozenset[int],
) -> tuple[list[tuple[int, int]], set[int]]:
    """Number the deliveries in order of arrival; leave them in `entered` (a line a file), `broken` and `delivered`
    (a line a row). Returns the (file_id, mtime_ns) of known files of which only the time stamp changed, and the file_id
    of the rejected ones that are gone: `withdrawn`, and those of which other bytes stand in the same place.
    """
    by = judged_by(reference)
    zone = ZoneInfo(reference.parameters.time_zone)
    before: dict[tuple[str, str], tuple[int, str]] = {}
    rejected: dict[tuple[str, str, str], int] = {}
    refused_at: dict[str, set[int]] = defaultdict(set)
    next_id = 1
    for file_id, branch, key, sha256, verdict, reason in con.execute(
        "SELECT file_id, branch, path_key, sha256, verdict, reason FROM bronze.file"
    ).fetchall():
        before[key, sha256] = (file_id, verdict)
        next_id = max(next_id, file_id + 1)
        if verdict == "rejected" and file_id not in withdrawn:
            rejected[branch, sha256, reason] = file_id
            refused_at[key].add(file_id)
    shown = functools.cache(functools.partial(safe_path, reference=reference))
    arrived = sorted(
        ((d, b, i) for b, batch in enumerate(batches) for i, d in enumerate(batch.deliveries)),
        key=lambda item: item[0].file.arrival,
    )
    ids = [np.full(len(batch.deliveries), -1, dtype=np.int32) for batch in batches]
    ledger: list[tuple[object, ...]] = []
    numbered: list[tuple[int, Delivery]] = []
    broken: list[tuple[int, int]] = []
    touched: list[tuple[int, int]] = []
    gone = set(withdrawn)
    for d, b, i in arrived:
        key = path_key(d.file.path)
        known = before.get((key, d.sha256))
        gone |= refused_at[key] - {known[0] if known else None}
        if known and d.verdict == "skipped" and known[1] in ("read", "skipped"):
            touched.append((known[0], d.file.mtime_ns))
            continue
        verdict, branch = d.verdict, shown(d.file.branch)
        if known:
            file_id = known[0]  # it was rejected, and is tried again under another register or format
        else:
            file_id, next_id = next_id, next_id + 1
        if verdict == "rejected" and rejected.setdefault((branch, d.sha256, d.reason or ""), file_id) != file_id:
            verdict = "skipped"  # like one that waits already
        ids[b][i] = file_id
        numbered.append((file_id, d))
        broken += [(file_id, row) for row in d.broken_rows]
        ledger.append(
            (file_id, run.run_id, branch, shown(d.file.path),
             key, d.file.size_bytes, d.file.mtime_ns,
             d.file.arrived_at or _clock(d.file.mtime_ns, zone), d.sha256,
             d.format, d.export_date, verdict, d.reason, json.dumps(d.detail), by, d.rows_read, 0, 0, d.rows_duplicate,
             d.rows_other, d.dropped_columns)
        )  # fmt: skip
    con.execute("CREATE TABLE entered AS SELECT * FROM bronze.file LIMIT 0")
    if ledger:
        con.register("ledger", pd.DataFrame(ledger, columns=pd.Index(LEDGER)))
        con.execute("INSERT INTO entered SELECT * FROM ledger")
    con.execute("CREATE TABLE broken (file_id INTEGER, row INTEGER)")
    if broken:
        con.register("broken_rows", pd.DataFrame(broken, columns=pd.Index(["file_id", "row"])))
        con.execute("INSERT INTO broken SELECT * FROM broken_rows")
    formats = {file_id: (d.format, d.export_date) for file_id, d in numbered}
    file_ids = np.concatenate(
        [ids[b][batch.rows["delivery"].to_numpy()] for b, batch in enumerate(batches)] or [np.array([], np.int32)]
    )
    used, position = np.unique(file_ids, return_inverse=True)
    told = [formats[int(file_id)] for file_id in used]
    table = pa.concat_tables([batch.rows for batch in batches] or [empty_rows()]).drop_columns(["delivery"])
    delivered = table.rename_columns(["row", *map(_delivered, columns())])
    for name, values in (
        ("export_date", pa.array([date for _, date in told], pa.date32()).take(pa.array(position))),
        ("format", pa.array([name for name, _ in told], pa.string()).take(pa.array(position))),
        ("file_id", pa.array(file_ids, pa.int32())),
    ):
        delivered = delivered.add_column(0, name, values)
    con.register("delivered", delivered)
    return touched, gone


def _clock(mtime_ns: int, zone: ZoneInfo) -> dt.datetime:
    """A file's own time as the network's wall clock showed it."""
    return dt.datetime.fromtimestamp(mtime_ns // 1_000_000_000, zone).replace(tzinfo=None)


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _by_format(value: Callable[[ExportFormat], str]) -> str:
    """A CASE that treats each format in its own way."""
    cases = " ".join(f"WHEN {_quote(spec.format)} THEN {value(spec)}" for spec in export_formats().values())
    return f"CASE format {cases} END"


def _delivered(name: str) -> str:
    """The column that holds a value as it was delivered."""
    return f"{name}_text" if name in JUDGED else name


def _parsed(name: str, spec: ExportFormat) -> str:
    """A date-time is read only if it is written in full: no year 25, no loose digits; DuckDB refuses 31 February."""
    text = _delivered(name)
    readings = []
    for pattern in [spec.datetime_format] + ([CELL_DATETIME_FORMAT] if spec.container == "xlsx" else []):
        # DuckDB takes a blank for a digit
        form = re.sub("%[mdHMS]", "[0-9]{2}", re.escape(pattern).replace("%Y", "[0-9]{4}"))
        sound = f"regexp_full_match({text}, {_quote(form)})"
        readings.append(f"CASE WHEN {sound} THEN try_strptime({text}, {_quote(pattern)}) END")
    return f"coalesce({', '.join(readings)}, NULL)"


def _mapped(name: str, codes: dict[str, str], unknown: str = "NULL") -> str:
    """A code translated by the format's own list."""
    cases = " ".join(f"WHEN {_quote(delivered)} THEN {_quote(code)}" for delivered, code in codes.items())
    return f"CASE {name}_text {cases} ELSE {unknown} END"


def _status(spec: ExportFormat) -> str:
    derived = {status: status for _, status in spec.status_from_dates or []} | {"A": "A"}
    return _mapped("status", derived if spec.status_from_dates else spec.status_codes)


def _close_reason(spec: ExportFormat) -> str:
    unknown = "''" if spec.close_reason_unknown == "empty" else "NULL"
    return _mapped("close_reason", {code: code for code in ["", *spec.close_reasons]}, unknown)


def _changed_at(spec: ExportFormat) -> str:
    # greatest() passes over what is empty
    return f"greatest({', '.join(spec.changed_at_from)}, NULL)" if spec.changed_at_from else "changed_at"


def typed_again() -> str:
    """Columns of a SELECT on a quarantined row whose text stands in `…_text`, beside its `format`: its codes, dates and
    times, and `is_shipped`, as they were when the row was judged.
    """
    parts = [f"{_by_format(_status)} AS status", f"{_by_format(_close_reason)} AS close_reason"]
    parts += [f"{_by_format(functools.partial(_parsed, name))} AS {name}" for name in DATETIMES if name != "changed_at"]
    own = functools.partial(_parsed, "changed_at")
    changed = _by_format(lambda spec: _changed_at(spec) if spec.changed_at_from else own(spec))
    return ", ".join([*parts, f"{changed} AS changed_at", f"{IS_SHIPPED} AS is_shipped"])


def _add_instants(con: duckdb.DuckDBPyConnection) -> None:
    """Leave in `instants`, row by row beside `delivered`, every date-time as local time and INSTANTS in UTC.

    Of the doubled hour in autumn the first is taken; a time in the hour that spring skips is read an hour later, and
    counted in `datetimes_moved` (the export contract). `unreadable` counts the date-times that could not be read.
    """
    read = ", ".join(f"{_by_format(functools.partial(_parsed, name))} AS {name}" for name in DATETIMES)
    unreadable = " + ".join(f"({name}_text <> '' AND {name} IS NULL)::INT" for name in DATETIMES)
    zones = sorted({spec.time_zone for spec in export_formats().values()})
    zone_of = _by_format(lambda spec: str(zones.index(spec.time_zone)))
    dates = ", ".join(name for name in DATETIMES if name != "changed_at")
    frame = con.sql(
        f"SELECT {dates}, {_by_format(_changed_at)} AS changed_at, {unreadable} AS unreadable, {zone_of} AS zone "
        f"FROM (SELECT format, {', '.join(f'{name}_text' for name in DATETIMES)}, {read} FROM delivered)"
    ).df()
    result = {name: frame[name].copy() for name in DATETIMES} | {
        f"{name}_utc": pd.Series(pd.NaT, index=frame.index, dtype=frame[name].dtype) for name in INSTANTS
    }
    moved = np.zeros(len(frame), dtype=np.int32)
    for number, zone in enumerate(zones):
        mine = frame.index if len(zones) == 1 else frame.index[frame["zone"] == number]
        for name in DATETIMES:
            local = frame.loc[mine, name]
            aware = local.dt.tz_localize(
                zone, ambiguous=np.ones(len(local), dtype=bool), nonexistent=pd.Timedelta(hours=1)
            )
            shifted = aware.dt.tz_localize(None)
            moved[mine] += (shifted.ne(local) & local.notna()).to_numpy().astype(np.int32)
            result[name].loc[mine] = shifted
            if name in INSTANTS:
                result[f"{name}_utc"].loc[mine] = aware.dt.tz_convert("UTC").dt.tz_localize(None)
    instants = pa.table(
        {name: pa.array(series, pa.timestamp("us"), from_pandas=True) for name, series in result.items()}
        | {"datetimes_moved": pa.array(moved), "unreadable_datetimes": pa.array(frame["unreadable"], pa.int32())}
    )
    con.register("instants", instants)


def _incoming_sql(transit_warning_days: int) -> str:
    """SQL that leaves the rows of the run, typed, in the table `incoming`."""
    texts = ", ".join(_delivered(name) for name in TEXTS if name != "reservation_id")
    sound = _by_format(lambda spec: f"regexp_full_match(reservation_id, {_quote(spec.reservation_id_pattern)})")
    return f"""
    -- nine digits that pass the eleven test of citizen service numbers, or an e-mail address
    CREATE MACRO eleven_test(digits) AS digits <> '000000000' AND
      (list_sum([(10 - i) * digits[i]::INT FOR i IN range(1, 9)]) - digits[9]::INT) % 11 = 0;
    CREATE MACRO looks_personal(value) AS
      CASE WHEN regexp_matches(value, '@|(^|[^0-9])[0-9]{{9}}($|[^0-9])')
           THEN regexp_matches(value, '[^@\\s|]+@[^@\\s|]+\\.[^@\\s|]+')
             OR coalesce(list_bool_or([eleven_test(part) FOR part IN regexp_split_to_array(value, '[^0-9]+')
                                       IF len(part) = 9]), false)
           ELSE false END;
    CREATE TABLE incoming AS
    WITH typed AS (
      SELECT *,
        {_by_format(_status)} AS status, {_by_format(_close_reason)} AS close_reason,
        {sound} AS reservation_id_sound
      FROM delivered POSITIONAL JOIN instants)
    SELECT *,
      {IS_SHIPPED} AS is_shipped,
      looks_personal(concat_ws('|', CASE WHEN NOT reservation_id_sound THEN reservation_id END, {texts}))
        AS is_personal,
      {transit_warning_days} AS transit_warning_days
    FROM typed;
    """


def _held_sql(arrival: Sequence[Rule]) -> str:
    """SQL that leaves in the table `held` the rows that go to quarantine, each with the first rule that it breaks."""
    broken = [rule for rule in arrival if rule.action == "quarantine"]
    first = " ".join(f"WHEN {rule.where} THEN {_quote(rule.rule)}" for rule in broken)
    return f"""
    CREATE TABLE held AS
      SELECT * FROM (SELECT file_id, row, CASE {first} END AS rule FROM incoming) WHERE rule IS NOT NULL
    """


def _append_sql(arrival: Sequence[Rule]) -> str:
    """SQL that moves the run's rows and files into bronze."""
    warned = " UNION ALL ".join(
        f"SELECT file_id, row, {_quote(rule.rule)} FROM incoming ANTI JOIN held USING (file_id, row) WHERE {rule.where}"
        for rule in arrival
        if rule.action == "warn"
    )
    masked = ", ".join(
        f"CASE WHEN {text} = '' OR (regexp_full_match({text}, {_quote(column.shape)}) "
        f"AND NOT looks_personal({text})) THEN {text} ELSE {_quote(MASK)} END"
        for text, column in ((_delivered(name), column) for name, column in columns().items())
    )
    # An allow-list: of a row that counts too, a value is kept only if it has the shape of its column.
    kept = {
        name: f"CASE WHEN {name} = '' OR regexp_full_match({name}, {_quote(columns()[name].shape)}) THEN {name} "
        f"ELSE {_quote(MASK)} END"
        for name in ("item_barcode", "material_type", "supplying_branch", "pickup_branch")
    }
    return f"""
    DELETE FROM bronze.file WHERE file_id IN (SELECT file_id FROM entered);
    INSERT INTO bronze.row
      SELECT file_id, row, reservation_id, nullif({kept["item_barcode"]}, ''), nullif({kept["material_type"]}, ''),
        {kept["supplying_branch"]}, {kept["pickup_branch"]}, status,
        nullif(close_reason, ''), {", ".join(DATETIMES)}, {", ".join(f"{name}_utc" for name in INSTANTS)}
      FROM incoming ANTI JOIN held USING (file_id, row);
    INSERT INTO bronze.quarantine BY NAME SELECT file_id, row, 'row_shape' AS rule FROM broken;
    INSERT INTO bronze.quarantine SELECT file_id, row, rule, {masked} FROM incoming JOIN held USING (file_id, row);
    INSERT INTO bronze.warning {warned};
    INSERT INTO bronze.file
      SELECT entered.* REPLACE (coalesce(accepted, 0) AS rows_accepted, coalesce(held, 0) AS rows_quarantined)
      FROM entered
      LEFT JOIN (SELECT file_id, count(*) AS accepted FROM bronze.row
        WHERE file_id IN (SELECT file_id FROM entered) GROUP BY file_id) USING (file_id)
      LEFT JOIN (SELECT file_id, count(*) AS held FROM bronze.quarantine
        WHERE file_id IN (SELECT file_id FROM entered) GROUP BY file_id) USING (file_id);
    """


def _check_sums(con: duckdb.DuckDBPyConnection, run: Run, results: Sequence[RuleResult]) -> None:
    """Every row read is accepted, quarantined or a duplicate; the gate and the quarantine agree on every rule."""
    unbalanced = con.execute(
        "SELECT path, rows_read, rows_accepted, rows_quarantined, rows_duplicate FROM bronze.file "
        "WHERE run_id = ? AND rows_read <> rows_accepted + rows_quarantined + rows_duplicate",
        [run.run_id],
    ).fetchall()
    if unbalanced:
        raise RuntimeError(f"rows got lost in {len(unbalanced)} files: the sums do not hold; nothing was stored")
    counted = {result.rule: result.count or 0 for result in results}
    held = con.execute("SELECT rule, count(*) FROM held GROUP BY rule").fetchall()
    if any(count > counted[rule] for rule, count in held):
        raise RuntimeError("the gate and the quarantine disagree on the rows to be held; nothing was stored")


@dataclass(frozen=True)
class StoredFile:
    """A file of the ledger; `is_safe`: all its rows are in the store."""

    file_id: int
    branch: str
    path_key: str
    sha256: str
    export_date: dt.date | None
    verdict: str
    is_safe: bool


def stored_files(places: Places) -> list[StoredFile]:
    """The ledger, with for every file whether it can be done without: it was read and all its rows are in the store,
    or its bytes are those of such a file of the same branch. The caller holds the lock.
    """
    with _workshop(places) as con:
        found = con.execute(
            """
            WITH stored AS (
                SELECT file_id, count(*) AS stored
                FROM (SELECT file_id FROM bronze.row UNION ALL SELECT file_id FROM bronze.quarantine)
                GROUP BY file_id
            ),
            ledger AS (
                SELECT
                    f.*, f.verdict = 'read' AND f.rows_accepted + f.rows_quarantined = coalesce(s.stored, 0) AS is_whole
                FROM bronze.file AS f
                LEFT JOIN stored AS s ON f.file_id = s.file_id
            )
            SELECT
                file_id, branch, path_key, sha256,
                -- of a file that was skipped before it was parsed the date is that of the file that it repeats
                coalesce(export_date, max(export_date) OVER (PARTITION BY branch, sha256)), verdict,
                -- a file that is like a rejected one is skipped too, and waits for another register as that one does
                verdict IN ('read', 'skipped') AND coalesce(bool_or(is_whole) OVER (PARTITION BY branch, sha256), false)
                    AND (is_whole OR verdict = 'skipped')
            FROM ledger
            """
        ).fetchall()
    return [StoredFile(*line) for line in found]
