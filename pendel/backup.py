"""A backup in one file, and an installation made again from it, on this machine or another.

In it: the bronze store, the published warehouse, what every run left, the closed years, the register and parameters,
and the declared corrections. The raw exports are not: they tell who reads what, and the store holds their rows.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from pendel import __version__
from pendel.places import EXPECTATIONS, Places, UserError

LISTING = "backup.json"
KEPT = ("bronze.duckdb", "bronze.duckdb.wal", "pendel.duckdb", "published.json", "purges.jsonl")
"""Of the files directly in the warehouse's folder: what cannot be done without, or would take a night to make."""

CHUNK = 1 << 20


def back_up(places: Places, to: Path, made_at: dt.datetime) -> dict[str, int]:
    """Write the backup `to`, a zip file, and read it again; returns its `files` and `size_bytes`.

    `made_at` is in UTC. The caller holds the lock. Raises UserError when there is nothing to back up, `to` exists, or
    its folder does not.
    """
    if not places.bronze.exists():
        raise UserError("There was no run yet in {folder}. Run `pendel nightly` first.", folder=places.warehouse)
    if to.exists():
        raise UserError("{file} is there already. Choose another name, or move it away.", file=to)
    if not to.parent.is_dir():
        raise UserError("{folder} is no folder. Make it first, or choose another.", folder=to.parent)
    draft = to.with_name(f"{to.name}.draft")
    try:
        listed = {}
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name, path in _parts(places):
                listed[name] = _pack(archive, name, path)
            listing = {"made_at": f"{made_at:%Y-%m-%dT%H:%M:%SZ}", "version": __version__, "sha256": listed}
            archive.writestr(LISTING, json.dumps(listing, indent=1))
        _check(places, draft)
        os.replace(draft, to)
    finally:
        draft.unlink(missing_ok=True)
    return {"files": len(listed), "size_bytes": to.stat().st_size}


def restore(places: Places, source: Path) -> dt.datetime:
    """Make the installation as it was; returns when the backup was made (UTC). The caller holds the lock.

    A file of the register that differs is kept under another name beside the one that is put back. The store comes
    last: what is broken off can be begun again. Raises UserError when there is a store already, or the backup is
    damaged or none.
    """
    if places.bronze.exists():
        raise UserError(
            "There is a store in {folder} already, and a backup is never put over it. Give another --home or "
            "--warehouse, or move {file} away.",
            folder=places.warehouse,
            file=places.bronze.name,
        )
    made_at = _check(places, source)
    unpacked = places.warehouse / "restoring"
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(source) as archive:
        for name in sorted(set(archive.namelist()) - {LISTING}):
            target = unpacked / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as packed, open(target, "wb") as file:
                shutil.copyfileobj(packed, file, CHUNK)
    names = [path.relative_to(unpacked).as_posix() for path in unpacked.rglob("*") if path.is_file()]
    for name in sorted(names, key=lambda name: (name == f"warehouse/{places.bronze.name}", name)):
        target = _target(places, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not name.startswith("warehouse/") and target.exists():
            if target.read_bytes() == (unpacked / name).read_bytes():
                continue
            os.replace(target, target.with_name(f"{target.name}.before-restore"))
        os.replace(unpacked / name, target)
    shutil.rmtree(unpacked)
    places.raw.mkdir(parents=True, exist_ok=True)
    return made_at


def _parts(places: Places) -> Iterator[tuple[str, Path]]:
    """What goes into a backup: its name there, and where it is."""
    for name in KEPT:
        if (places.warehouse / name).exists():
            yield f"warehouse/{name}", places.warehouse / name
    for folder in (places.runs, places.closed):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                yield f"warehouse/{path.relative_to(places.warehouse).as_posix()}", path
    for path in sorted(places.reference.iterdir()):
        if path.is_file():
            yield f"reference/{path.name}", path
    yield "expectations/corrections.yaml", EXPECTATIONS / "corrections.yaml"
    if places.simulated.exists():
        yield f"raw/{places.simulated.name}", places.simulated


def _target(places: Places, name: str) -> Path:
    """Where a part belongs."""
    root, _, rest = name.partition("/")
    folders = {"warehouse": places.warehouse, "reference": places.reference, "raw": places.raw}
    return folders.get(root, EXPECTATIONS) / rest


def _pack(archive: zipfile.ZipFile, name: str, path: Path) -> str:
    """Add a file; returns the hash of its bytes."""
    found = hashlib.sha256()
    with open(path, "rb") as file, archive.open(zipfile.ZipInfo.from_file(path, name), "w", force_zip64=True) as packed:
        while chunk := file.read(CHUNK):
            found.update(chunk)
            packed.write(chunk)
    return found.hexdigest()


def _is_ours(places: Places, name: str) -> bool:
    """Whether a part belongs in a backup: nothing leads outside the installation, or to its program."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
        return False
    match path.parts:
        case ("warehouse", part):
            return part in KEPT
        case ("warehouse", "runs" | "closed", *_) | ("reference", _):
            return True
    return name in ("expectations/corrections.yaml", f"raw/{places.simulated.name}")


def _check(places: Places, source: Path) -> dt.datetime:
    """Read a backup through; returns when it was made. Raises UserError when it is not whole, or no backup."""
    damaged = UserError("{file} is no backup of pendel, or a damaged one. Take another copy of it.", file=source)
    try:
        with zipfile.ZipFile(source) as archive:
            listing = json.loads(archive.read(LISTING))
            ours = all(_is_ours(places, name) for name in listing["sha256"])
            if not ours or set(archive.namelist()) != {LISTING, *listing["sha256"]}:
                raise damaged
            for name, sha256 in listing["sha256"].items():
                found = hashlib.sha256()
                with archive.open(name) as packed:
                    while chunk := packed.read(CHUNK):
                        found.update(chunk)
                if found.hexdigest() != sha256:
                    raise damaged
            return dt.datetime.strptime(listing["made_at"], "%Y-%m-%dT%H:%M:%SZ")
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, AttributeError, EOFError, zlib.error):
        raise damaged from None
    except FileNotFoundError:
        raise UserError("{file} is not there.", file=source) from None
