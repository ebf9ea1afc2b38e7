"""The bronze store: every file and every row ever delivered, and what became of each.

`bronze.duckdb` is private to the pipeline, has one writer (a lock), and is appended in one transaction a run: killed
before the commit, a run has never been; killed after it, the next run has nothing left to do. It holds all that is
needed to rebuild the warehouse when the raw files have been purged. Local times are kept as the branch wrote them
(`received_at`) beside their UTC instant (`received_at_utc`).
"""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import duckdb
import filelock
import numpy as np
import pandas as pd
import pyarrow as pa

from pendel.contracts import ExportFormat, Rule, columns, export_formats, rules
from pendel.places import Busy, Places, UserError
from pendel.reading import (
    CELL_DATETIME_FORMAT,
    UNREAD,
    Batch,
    Delivery,
    FoundFile,
    empty_rows,
    find_files,
    known_as,
    safe_path,
)
from pendel.reference import Reference

MASK = "***"
"""What stands in the place of a value that may not be kept."""

TEXTS = [name for name, column in columns().items() if column.kind != "datetime"]
DATETIMES = [name for name, column in columns().items() if column.kind == "datetime"]
JUDGED = [name for name in TEXTS if name in ("status", "close_reason")] + DATETIMES
"""Columns that are translated or parsed: what was delivered stands beside it under `<name>_text`."""

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


@dataclass(frozen=True)
class Run:
    """One run of the pipeline: its id (UTC start, sortable), its start (UTC), and the day it takes for today."""

    run_id: str
    started_at: dt.datetime
    as_of: dt.date

    @classmethod
    def start(cls, as_of: dt.date) -> Run:
        """A run that starts now."""
        now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
        return cls(f"{now:%Y%m%dT%H%M%S}Z-{os.urandom(2).hex()}", now, as_of)


@dataclass(frozen=True)
class Plan:
    """What a run has to read: new files by folder, in order of arrival, and what was read before."""

    files: dict[str, list[FoundFile]]
    known: set[str]
    seen: int


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
    """Hold the pipeline's lock. Raises Busy, naming who holds it, when another run is at work."""
    places.warehouse.mkdir(parents=True, exist_ok=True)
    holder = places.warehouse / "bronze.lock.json"
    lock = filelock.FileLock(places.warehouse / "bronze.lock")
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
        holder.write_text(
            json.dumps({"run_id": run.run_id, "pid": os.getpid(), "started_at": f"{run.started_at:%Y-%m-%d %H:%M:%S}"}),
            encoding="utf-8",
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def path_key(path: str) -> str:
    """What the ledger knows a path by: the path itself may bear a reader's name (see `reading.safe_path`)."""
    return hashlib.sha256(path.encode("utf-8", "surrogateescape")).hexdigest()[:32]


def judged_by(reference: Reference) -> str:
    """A hash of all that decides whether a file can be read: a rejected file is tried again when it changes."""
    text = reference.fingerprint + "".join(spec.fingerprint for spec in export_formats().values())
    return hashlib.sha256(text.encode()).hexdigest()


@contextmanager
def _workshop(places: Places) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory database with bronze attached."""
    con = duckdb.connect(
        config={"autoinstall_known_extensions": "false", "autoload_known_extensions": "false", "memory_limit": "700MB"}
    )
    try:
        con.execute(f"ATTACH '{str(places.bronze).replace(chr(39), chr(39) * 2)}' AS bronze")
        con.execute(SCHEMA)
        yield con
    except duckdb.IOException as error:
        raise UserError(
            "{file} cannot be opened: {error}", file=places.bronze, error=str(error).splitlines()[0]
        ) from None
    except duckdb.Error as error:
        # What DuckDB says of a value that it cannot convert quotes the value: it goes into no log.
        raise RuntimeError(f"{type(error).__name__} in the bronze store") from None
    finally:
        con.close()


def plan(places: Places, reference: Reference) -> Plan:
    """Compare the raw folder with the ledger: what is new, changed, or was rejected under other rules."""
    found = find_files(places.raw)
    by = judged_by(reference)
    with _workshop(places) as con:
        ledger = con.sql(
            "SELECT path_key, size_bytes, mtime_ns, verdict, reason, judged_by, branch, sha256, "
            "CASE WHEN rows_read + rows_other = 0 THEN export_date END FROM bronze.file"
        )
        known: set[str] = set()
        settled: set[tuple[str, int, int]] = set()
        for key, size, mtime, verdict, reason, judged, branch, sha256, empty_on in ledger.fetchall():
            if verdict == "read":
                known.add(known_as(branch, sha256, empty_on))
            if verdict != "rejected" or (judged == by and reason not in UNREAD):
                settled.add((key, size, mtime))
    files: dict[str, list[FoundFile]] = defaultdict(list)
    for file in found:
        if (path_key(file.path), file.size_bytes, file.mtime_ns) not in settled:
            files[file.branch].append(file)
    return Plan(dict(files), known, len(found))


def take_in(
    places: Places,
    reference: Reference,
    run: Run,
    batches: Sequence[Batch],
    judge: Callable[[duckdb.DuckDBPyConnection, Sequence[Rule]], list[RuleResult]],
) -> Intake:
    """Judge the rows of a run and append files and rows to bronze, in one transaction.

    `judge` executes the row rules as a gate (Great Expectations) on the table `incoming`; what it counts must be what
    the quarantine holds. Raises RuntimeError when a rule could not be executed or the sums do not hold: nothing is
    stored then, and the next run reads the files again.
    """
    arrival = [rule for rule in rules() if rule.stage == "arrival"]
    with _workshop(places) as con:
        touched, gone = _enter(con, reference, run, batches)
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
            con.execute("DELETE FROM bronze.file WHERE file_id = ?", [file_id])
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
    con: duckdb.DuckDBPyConnection, reference: Reference, run: Run, batches: Sequence[Batch]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Number the deliveries in order of arrival; leave them in `entered` (a line a file), `broken` and `delivered`
    (a line a row). Returns the (file_id, mtime_ns) of known files of which only the time stamp changed, and the file_id
    of those that could not be read some night and now can: what they hold is entered anew.
    """
    by = judged_by(reference)
    zone = ZoneInfo(reference.parameters.time_zone)
    before: dict[tuple[str, str], tuple[int, str]] = {}
    rejected: set[tuple[str, str, str]] = set()
    unread: dict[str, int] = {}
    next_id = 1
    for file_id, branch, key, sha256, verdict, reason in con.execute(
        "SELECT file_id, branch, path_key, sha256, verdict, reason FROM bronze.file"
    ).fetchall():
        before[key, sha256] = (file_id, verdict)
        next_id = max(next_id, file_id + 1)
        if verdict == "rejected":
            rejected.add((branch, sha256, reason))
        if reason in UNREAD:
            unread[key] = file_id
    arrived = sorted(
        ((d, b, i) for b, batch in enumerate(batches) for i, d in enumerate(batch.deliveries)),
        key=lambda item: item[0].file.arrival,
    )
    ids = [np.full(len(batch.deliveries), -1, dtype=np.int32) for batch in batches]
    ledger: list[tuple[object, ...]] = []
    numbered: list[tuple[int, Delivery]] = []
    broken: list[tuple[int, int]] = []
    touched: list[tuple[int, int]] = []
    gone: list[int] = []
    for d, b, i in arrived:
        known = before.get((path_key(d.file.path), d.sha256))
        if known and d.verdict == "skipped":
            touched.append((known[0], d.file.mtime_ns))
            continue
        verdict, branch = d.verdict, safe_path(d.file.branch, reference)
        if known:
            file_id = known[0]  # it was rejected, and is tried again under another register or format
        else:
            file_id, next_id = next_id, next_id + 1
            if path_key(d.file.path) in unread:
                gone.append(unread[path_key(d.file.path)])
            if verdict == "rejected":
                again = (branch, d.sha256, d.reason or "")
                verdict = "skipped" if again in rejected else verdict
                rejected.add(again)
        ids[b][i] = file_id
        numbered.append((file_id, d))
        broken += [(file_id, row) for row in d.broken_rows]
        ledger.append(
            (file_id, run.run_id, branch, safe_path(d.file.path, reference),
             path_key(d.file.path), d.file.size_bytes, d.file.mtime_ns, _clock(d.file.mtime_ns, zone), d.sha256,
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
        form = re.sub("%[mdHMS]", "00", pattern.replace("%Y", "0000"))
        digits = f"translate({text}, '123456789', '000000000')"  # DuckDB takes a blank for a digit
        readings.append(f"CASE WHEN {digits} = {_quote(form)} THEN try_strptime({text}, {_quote(pattern)}) END")
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
    CREATE MACRO looks_personal(value) AS regexp_matches(value, '@|[0-9]{{9}}') AND (
      regexp_matches(value, '[^@\\s|]+@[^@\\s|]+\\.[^@\\s|]+')
      OR CASE WHEN regexp_matches(value, '(^|[^0-9])[0-9]{{9}}($|[^0-9])')
              THEN list_bool_or([eleven_test(part) FOR part IN regexp_split_to_array(value, '[^0-9]+')
                                 IF len(part) = 9]) ELSE false END);
    CREATE TABLE incoming AS
    WITH typed AS (
      SELECT *,
        {_by_format(_status)} AS status, {_by_format(_close_reason)} AS close_reason,
        {sound} AS reservation_id_sound
      FROM delivered POSITIONAL JOIN instants)
    SELECT *,
      coalesce(status IN ('T', 'O', 'B', 'U', 'R'), false) OR shipped_at_text <> '' OR received_at_text <> ''
        AS is_shipped,
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
