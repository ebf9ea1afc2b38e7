"""Removing raw files whose rows are safe in the bronze store: the figures do not change by it.

What is removed tells who reads what; what bronze keeps does not. Every purge is a line of `purges.jsonl` in the
warehouse's folder, so that a raw file that is gone on purpose can be told from one that was lost.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import re
from collections import Counter
from dataclasses import dataclass, field

from pendel import bronze
from pendel.places import Places, UserError
from pendel.reading import FoundFile, find_files, sha256_of


@dataclass(frozen=True)
class Purgeable:
    """A raw file that can be removed: its rows are stored, and its bytes are those that were read."""

    file: FoundFile
    file_id: int
    branch: str
    sha256: str
    export_date: dt.date


@dataclass(frozen=True)
class PurgePlan:
    """What a purge would remove, in order of export date, and how many files it keeps for which reason.

    The reasons: `recent`, `unknown` (not taken in yet), `changed` (since it was read), `rejected` (it is tried again
    when the register changes), `not_stored` (its rows are not all in bronze), `unreadable`.
    """

    before: dt.date
    files: list[Purgeable]
    kept: Counter[str] = field(default_factory=Counter)

    @property
    def size_bytes(self) -> int:
        """Of all files to be removed."""
        return sum(file.file.size_bytes for file in self.files)


def days(text: str) -> int:
    """The number of days that '90d' says. Raises UserError for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})d", text.strip())
    if not found:
        raise UserError("{text} is no number of days. Write 90d for ninety days.", text=text)
    return int(found[1])


def plan(places: Places, today: dt.date, older_than: int) -> PurgePlan:
    """What can be removed of the exports that were made more than `older_than` days before `today`.

    An export's age is that of its export date: what was delivered late, or put back, is no younger by it. Files that
    were never read have no export date and are never removed. The caller holds the lock.
    Raises UserError when the raw folder or the bronze store is not there.
    """
    before = today - dt.timedelta(days=older_than)
    if not places.bronze.exists():
        raise UserError("There was no run yet in {folder}. Run `pendel nightly` first.", folder=places.warehouse)
    ledger = bronze.stored_files(places)
    known = {(stored.path_key, stored.sha256): stored for stored in ledger}
    paths = {stored.path_key for stored in ledger}
    found = PurgePlan(before, [])
    for file in find_files(places.raw):
        key = bronze.path_key(file.path)
        sha256 = _sha256(places, file)
        stored = known.get((key, sha256 or ""))
        reason = None
        if sha256 is None:
            reason = "unreadable"
        elif stored is None:
            reason = "changed" if key in paths else "unknown"
        elif not stored.is_safe:
            reason = "not_stored" if stored.verdict == "read" else "rejected"
        elif stored.export_date is None or stored.export_date >= before:
            reason = "recent"
        else:
            found.files.append(Purgeable(file, stored.file_id, stored.branch, sha256, stored.export_date))
        if reason:
            found.kept[reason] += 1
    found.files.sort(key=lambda file: (file.export_date, file.file_id))
    return found


def purge(places: Places, planned: PurgePlan, purged_at: dt.datetime) -> list[Purgeable]:
    """Remove the planned files, each after another look at its bytes; returns those that are gone.

    A file that changed meanwhile, or cannot be removed, stays. The line in `purges.jsonl` is written first: a purge
    that is broken off leaves no file gone without it. The caller holds the lock.
    """
    sound = [file for file in planned.files if _sha256(places, file.file) == file.sha256]
    if not sound:
        return []
    line = {
        "purged_at": f"{purged_at:%Y-%m-%dT%H:%M:%SZ}",
        "exported_before": str(planned.before),
        "count": len(sound),
        "size_bytes": sum(file.file.size_bytes for file in sound),
        "file_ids": sorted(file.file_id for file in sound),
    }
    with open(places.warehouse / "purges.jsonl", "a", encoding="utf-8") as book:
        book.write(json.dumps(line) + "\n")
        book.flush()
        os.fsync(book.fileno())
    gone = []
    for file in sound:
        try:
            os.unlink(f"{places.raw}/{file.file.path}")
        except OSError:
            continue
        gone.append(file)
    return gone


def _sha256(places: Places, file: FoundFile) -> str | None:
    """Of a file's bytes now; None when it cannot be read."""
    try:
        return sha256_of(places.raw, file)
    except OSError:
        return None
